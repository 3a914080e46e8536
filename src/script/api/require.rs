//! Lua that the records of a zone share.

use super::{Api, CallError, Family};
use crate::script::modules::{Modules, RequireError};

/// The builtin that loads modules.
pub(super) const FAMILY: Family = Family { install };

/// How many names of modules a message lists.
const NAMES_TOLD_MAX: usize = 8;

/// Returns what a module of the zone returned: the builtin `require`.
///
/// A module is a file below the zone's `lua-dir`: `require('geo.helpers')` runs `geo/helpers.lua`, once in a run, with
/// globals of its own, and returns its value, which is read-only with all that is in it. Errors on a name without a
/// file, on modules that require each other in a circle, and on a module that returns nothing.
///
/// ```lua
/// www 60 IN LUA A "require('sites').any('berlin')"
/// ```
fn install(api: &mut Api<'_>) -> mlua::Result<()> {
    api.function("require", |context, arguments| {
        let name = arguments.text()?.to_string_lossy();
        let (required, modules) = (context.required(), context.policy().modules.clone());
        let value = match required {
            Some(required) => required.require(arguments.lua(), &modules, &name),
            // The library of all zones is run before any of them.
            None => Err(RequireError::Unknown),
        };
        value.map_err(|error| refusal(&name, &modules, error))
    })
}

fn refusal(name: &str, modules: &Modules, error: RequireError) -> CallError {
    CallError::refused(match error {
        RequireError::Lua(error) => return CallError::Lua(error),
        RequireError::Unknown => {
            let names: Vec<&str> = modules.names().take(NAMES_TOLD_MAX).collect();
            let there = match names[..] {
                [] => "the zone has no modules; name their directory with `lua-dir` in its `[[zone]]`".to_owned(),
                _ => format!("there are `{}`", names.join("`, `")),
            };
            format!("got `{name}`, which is no module: {there}")
        }
        RequireError::Circle(by) => {
            format!("got `{name}`, which is being loaded, from `{by}`: modules cannot require each other in a circle")
        }
        RequireError::Depth => format!("got `{name}` from too many modules that require each other in a row"),
        RequireError::Value(what) => format!("got `{name}`, which returned {what}; end the module with `return`"),
        RequireError::Tables => format!("got `{name}`, which returned too many tables"),
    })
}
