//! What a script sees as its globals: the query's variables, the library's functions, the builtins.

use std::rc::Rc;

use mlua::{LuaString, Table, Value};

use super::api::{self, VARIABLES};
use super::context::Context;
use super::library::Library;
use super::modules::Required;
use super::sandbox::Sandbox;
use crate::diagnostic::Diagnostic;

/// A table of globals over the read-only base.
#[derive(Clone)]
pub(super) struct Environment {
    table: Table,
    required: Required,
}

impl Environment {
    /// Makes an empty environment over the builtins and the library; the variables appear in it as they are asked for.
    ///
    /// Returns the names that the library has set, too.
    pub(super) fn new(
        sandbox: &Sandbox,
        library: &Library,
        context: &Rc<Context>,
    ) -> Result<(Self, Vec<String>), Diagnostic> {
        // The library is not of any zone, and has none's modules.
        context.set_required(None);
        let made = Self::over_base(sandbox, context);
        let (environment, base) = made.map_err(|error| Diagnostic::error(None, error.to_string()))?;
        let names = library.run(sandbox, &environment, &base)?;
        base.set_readonly(true);
        let required = Required::new(&base, &environment);
        Ok((Self { table: environment, required }, names))
    }

    /// Makes an environment, and the table under it that is still to be made read-only.
    fn over_base(sandbox: &Sandbox, context: &Rc<Context>) -> mlua::Result<(Table, Table)> {
        let lua = &sandbox.lua;
        let environment = lua.create_table()?;
        let within = environment.clone();
        let context = Rc::clone(context);
        let ask = lua.create_function(move |lua, (_, name): (Value, LuaString)| {
            if name.as_bytes() == b"_G" {
                return Ok(Value::Table(within.clone()));
            }
            let value = |lua| api::variable(lua, &context, &name.as_bytes());
            // A module has globals of its own over the same base. It sees the record's variables, but nothing that a
            // record puts in their place.
            let known = within.raw_get::<Value>(&name)?;
            if !known.is_nil() {
                let is_variable =
                    known.is_userdata() && VARIABLES.iter().any(|variable| *name.as_bytes() == *variable.as_bytes());
                return if is_variable { Ok(known) } else { value(lua) };
            }
            let value = value(lua)?;
            if !value.is_nil() {
                // Asked for again it is the same object, changes and all, until the run ends.
                within.raw_set(name, value.clone())?;
            }
            Ok(value)
        })?;
        let variables = lua.create_table()?;
        variables.raw_set("__index", ask)?;
        let base = lua.create_table()?;
        for pair in sandbox.base.pairs::<Value, Value>() {
            let (name, value) = pair?;
            base.raw_set(name, value)?;
        }
        base.set_metatable(Some(variables))?;
        let metatable = lua.create_table()?;
        metatable.raw_set("__index", &base)?;
        metatable.raw_set("__metatable", false)?;
        metatable.set_readonly(true);
        environment.set_metatable(Some(metatable))?;
        Ok((environment, base))
    }

    /// The table that a script's functions take for their globals.
    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    /// The modules it has loaded.
    pub(super) fn required(&self) -> &Required {
        &self.required
    }

    /// Takes out all that a run left.
    pub(super) fn empty(&self) -> mlua::Result<()> {
        self.required.empty();
        if self.table.is_empty() { Ok(()) } else { self.table.clear() }
    }

    /// Takes out the variables of the last query, and leaves the globals that scripts have set.
    pub(super) fn renew(&self) -> mlua::Result<()> {
        VARIABLES.iter().try_for_each(|name| self.table.raw_set(*name, Value::Nil))
    }
}
