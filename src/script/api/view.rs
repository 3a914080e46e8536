//! Answers by the client's network.

use mlua::{LuaString, Value};

use super::arguments::{Rule, read_network};
use super::pick::pick_random;
use super::{Api, CallError, Family};
use crate::script::context::Context;

/// Builtins that look at the client's network.
pub(super) const FAMILY: Family = Family { install };

fn install(api: &mut Api<'_>) -> mlua::Result<()> {
    api.function("view", |context, arguments| {
        let rules = arguments.rules()?;
        match view(context, &rules)? {
            Some(value) => Ok(value.clone()),
            None => Ok(Value::String(arguments.lua().create_string("")?)),
        }
    })?;
    api.function("netmask", |context, arguments| is_in_any(context, &arguments.list()?))
}

/// Picks at random one value of the first rule with a network that holds `bestwho`.
///
/// A rule is `{networks, values}`. IPv4 networks hold no IPv6 clients and the other way about. Networks are read
/// only as far as they are needed. Errors on a rule without values, once it is reached. When no rule fits, the
/// result is an empty string, which is no address: end the list with `0.0.0.0/0` and `::/0`. A value may be anything
/// a record can return.
///
/// ```lua
/// src 60 IN LUA A "view({{{'192.168.0.0/16'}, {'192.168.1.54'}}, {{'0.0.0.0/0', '::/0'}, {'192.0.2.1'}}})"
/// ```
fn view<'r>(context: &Context, rules: &'r [Rule]) -> Result<Option<&'r Value>, CallError> {
    for rule in rules {
        let Rule { networks: Some(networks), values: Some(values) } = rule else {
            return Err(CallError::refused("got a rule that is not `{networks, values}`"));
        };
        if is_in_any(context, networks)? {
            let picked = pick_random(&mut *context.random(), values);
            return picked.map(Some).ok_or_else(|| CallError::refused("got a rule without values"));
        }
    }
    Ok(None)
}

/// Whether `bestwho` is in one of the networks.
///
/// ```lua
/// who 60 IN LUA TXT "netmask({'192.168.0.0/16', 'fd00::/8'}) and 'inside' or 'outside'"
/// ```
fn is_in_any(context: &Context, networks: &[LuaString]) -> Result<bool, CallError> {
    for text in networks {
        let network = text.to_str().ok().and_then(|text| read_network(&text));
        let network = network.ok_or_else(|| {
            let text = text.to_string_lossy();
            CallError::refused(format!("got `{text}`, which is no network; write `address/bits`"))
        })?;
        if network.is_some_and(|network| context.client_is_in(network)) {
            return Ok(true);
        }
    }
    Ok(false)
}
