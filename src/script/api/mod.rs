//! The builtins, one family a file, in reading order.
//!
//! A builtin is a plain Rust function first and a binding second. `Api::function` hands every binding the query's
//! context and its arguments, so none reaches for a global. The doc comment above a builtin is its manual.
//!
//! - `object.rs`: what scripts hold: names, addresses, networks
//! - `pick.rs`: choosing among values
//! - `view.rs`: choosing by the client's network
//! - `health.rs`: choosing among targets that are up
//! - `geo.rs`: where clients and targets are, and what is closest
//! - `result.rs`: results that say more than their records
//!
//! Under them, `arguments.rs` has the rules by which Lua values become arguments, the same for every builtin, and
//! `hash.rs` the function behind choices that stay.

pub(super) mod arguments;
pub(super) mod geo;
pub(super) mod hash;
pub(super) mod health;
mod object;
pub(super) mod pick;
pub(super) mod result;
mod view;

use std::rc::Rc;

use mlua::{IntoLuaMulti, Lua, MultiValue, Table};

use super::context::Context;
use arguments::Arguments;

/// A family of builtins.
struct Family {
    install: fn(&mut Api<'_>) -> mlua::Result<()>,
}

/// Every family, in reading order. One more is one more file and one more line.
const FAMILIES: &[Family] = &[object::FAMILY, pick::FAMILY, view::FAMILY, health::FAMILY, geo::FAMILY, result::FAMILY];

/// Adds every builtin to `base`.
pub(super) fn install(lua: &Lua, base: &Table, context: &Rc<Context>) -> mlua::Result<()> {
    let mut api = Api { lua, base, context };
    FAMILIES.iter().try_for_each(|family| (family.install)(&mut api))
}

pub(super) use object::variable;

/// Where families put their builtins.
struct Api<'a> {
    lua: &'a Lua,
    base: &'a Table,
    context: &'a Rc<Context>,
}

impl Api<'_> {
    /// Adds a builtin: `function` is handed the query's context and the arguments of a call.
    ///
    /// What it returns is made into Lua values after it. Its errors reach the script with the builtin's name in front.
    fn function<R: IntoLuaMulti>(
        &mut self,
        name: &'static str,
        function: impl Fn(&Context, &mut Arguments<'_>) -> Result<R, CallError> + 'static,
    ) -> mlua::Result<()> {
        let context = Rc::clone(self.context);
        let binding = self.lua.create_function(move |lua, values: MultiValue| {
            let mut arguments = Arguments::new(lua, values);
            let returned = function(&context, &mut arguments).and_then(|returned| {
                arguments.end()?;
                Ok(returned)
            });
            returned.map_err(|error| match error {
                CallError::Lua(error) => error,
                CallError::Refused(why) => mlua::Error::runtime(format!("`{name}` {why}")),
            })
        })?;
        self.base.raw_set(name, binding)
    }

    /// Adds a table of named numbers, which no script can change.
    fn constants(&mut self, name: &'static str, constants: &[(&str, i64)]) -> mlua::Result<()> {
        let table = self.lua.create_table()?;
        for (constant, number) in constants {
            table.raw_set(*constant, *number)?;
        }
        table.set_readonly(true);
        self.base.raw_set(name, table)
    }
}

/// Why a call of a builtin fails.
pub(in crate::script) enum CallError {
    /// Something the builtin will not work with; reads on from the builtin's name.
    Refused(String),
    /// An error of the VM.
    Lua(mlua::Error),
}

impl CallError {
    fn refused(why: impl Into<String>) -> Self {
        Self::Refused(why.into())
    }
}

impl From<mlua::Error> for CallError {
    fn from(error: mlua::Error) -> Self {
        Self::Lua(error)
    }
}
