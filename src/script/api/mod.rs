//! The builtins, one family a file, in reading order.
//!
//! A builtin is a plain Rust function first and a binding second. `Api::function` hands every binding the query's
//! context and its arguments, so none reaches for a global. The doc comment above a builtin is its manual.
//!
//! - `object/`: what scripts hold: names, addresses, networks, records; and the query's variables
//! - `constants.rs`: numbers by name
//! - `pick.rs`: choosing among values
//! - `view.rs`: choosing by the client's network
//! - `map.rs`: choosing by the most specific of many networks
//! - `synth.rs`: addresses out of names, and names out of addresses
//! - `health/`: choosing among targets that are up, and what hangs on several
//! - `geo.rs`: where clients and targets are, and what is closest
//! - `lookup.rs`: names in the DNS, records of this server, code in other records
//! - `require.rs`: modules of the zone
//! - `result.rs`: results that say more than their records
//! - `time.rs`: the time, and whether it is within a schedule
//! - `log.rs`: what scripts tell the operator
//!
//! Under them, `arguments.rs` has the rules by which Lua values become arguments, the same for every builtin,
//! `hash.rs` the function behind choices that stay, and `ring.rs` consistent hashing over it.

pub(super) mod arguments;
mod constants;
pub(super) mod geo;
pub(super) mod hash;
pub(super) mod health;
mod log;
pub(super) mod lookup;
mod map;
mod object;
pub(super) mod pick;
mod require;
pub(super) mod result;
pub(super) mod ring;
mod synth;
mod time;
mod view;

use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use mlua::{IntoLuaMulti, Lua, LuaOptions, MultiValue, StdLib, Table};

use super::context::Context;
use crate::health::table::Table as Slots;
use arguments::{Allowance, Arguments};

/// A family of builtins.
struct Family {
    install: fn(&mut Api<'_>) -> mlua::Result<()>,
}

/// Every family with the name that capabilities call it by, in reading order. One more is one more file and one more
/// line.
const FAMILIES: &[(&str, Family)] = &[
    ("object", object::FAMILY),
    ("constants", constants::FAMILY),
    ("pick", pick::FAMILY),
    ("view", view::FAMILY),
    ("map", map::FAMILY),
    ("synth", synth::FAMILY),
    ("health", health::FAMILY),
    ("geo", geo::FAMILY),
    ("lookup", lookup::FAMILY),
    ("result", result::FAMILY),
    ("time", time::FAMILY),
    ("require", require::FAMILY),
    ("log", log::FAMILY),
];

/// A builtin, as capabilities name it.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// What scripts call it.
    pub name: &'static str,
    /// The family it belongs to.
    pub family: &'static str,
}

/// Adds every builtin to `base`; returns which there are.
pub(super) fn install(lua: &Lua, base: &Table, context: &Rc<Context>) -> mlua::Result<Vec<Builtin>> {
    lua.set_app_data(Allowance::default());
    let mut builtins = Vec::new();
    for (family, Family { install }) in FAMILIES {
        install(&mut Api { lua, base, context, family, builtins: &mut builtins })?;
    }
    Ok(builtins)
}

/// Every builtin there is.
pub fn builtins() -> &'static [Builtin] {
    static BUILTINS: LazyLock<Vec<Builtin>> = LazyLock::new(|| {
        let made = Lua::new_with(StdLib::NONE, LuaOptions::new()).and_then(|lua| {
            let context = Rc::new(Context::new(Arc::new(Slots::new(0)), 0));
            install(&lua, &lua.create_table()?, &context)
        });
        made.expect("a state that holds nothing but the builtins can be made wherever a worker's can")
    });
    &BUILTINS
}

pub(super) use object::{VARIABLES, variable};

/// Where families put their builtins.
struct Api<'a> {
    lua: &'a Lua,
    base: &'a Table,
    context: &'a Rc<Context>,
    /// The family whose turn it is.
    family: &'static str,
    builtins: &'a mut Vec<Builtin>,
}

impl Api<'_> {
    /// Adds a builtin: `function` is handed the query's context and the arguments of a call.
    ///
    /// What it returns is made into Lua values after it. Its errors reach the script with the builtin's name in front.
    /// Whether the script's zone may call it, and what it may ask for, is seen to here and nowhere else.
    fn function<R: IntoLuaMulti>(
        &mut self,
        name: &'static str,
        function: impl Fn(&Context, &mut Arguments<'_>) -> Result<R, CallError> + 'static,
    ) -> mlua::Result<()> {
        let context = Rc::clone(self.context);
        let binding = self.lua.create_function(move |lua, values: MultiValue| {
            if let Some(why) = context.policy().refuses_call(name) {
                return Err(mlua::Error::runtime(context.deny(name, &why)));
            }
            let mut arguments = Arguments::new(lua, values);
            let returned = function(&context, &mut arguments);
            if let Some(why) = context.take_refusal() {
                return Err(mlua::Error::runtime(context.deny(name, &why)));
            }
            conclude(name, &arguments, returned)
        })?;
        self.builtins.push(Builtin { name, family: self.family });
        self.base.raw_set(name, binding)
    }

    /// Adds a table of named numbers, which no script can change.
    fn constants(&mut self, name: &'static str, constants: &[(&str, i64)]) -> mlua::Result<()> {
        self.base.raw_set(name, self.table_of(constants)?)
    }

    /// A table of named numbers, which no script can change.
    fn table_of(&self, constants: &[(&str, i64)]) -> mlua::Result<Table> {
        let table = self.lua.create_table()?;
        for (constant, number) in constants {
            table.raw_set(*constant, *number)?;
        }
        table.set_readonly(true);
        Ok(table)
    }
}

/// What a call comes to, once its arguments are all taken; errors get the name of what was called in front.
fn conclude<R>(name: &str, arguments: &Arguments<'_>, returned: Result<R, CallError>) -> mlua::Result<R> {
    let returned = returned.and_then(|returned| {
        arguments.end()?;
        Ok(returned)
    });
    if let Some(why) = arguments.exceeded() {
        return Err(mlua::Error::runtime(format!("`{name}` got {why}")));
    }
    returned.map_err(|error| match error {
        CallError::Lua(error) => error,
        CallError::Refused(why) => mlua::Error::runtime(format!("`{name}` {why}")),
    })
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
