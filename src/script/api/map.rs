//! Answers by tables of networks: the most specific network that holds the client.

use std::net::IpAddr;

use ipnet::IpNet;
use mlua::{IntoLua, Lua, LuaString, Table, Value};

use super::arguments::{read_address, read_network};
use super::object::Address;
use super::{Api, CallError, Family};
use crate::networks::{Map, Maps};
use crate::script::context::Context;
use crate::script::value::kind;

/// Builtins that look networks up.
pub(super) const FAMILY: Family = Family { install };

/// How many names of maps a message lists.
const NAMES_TOLD_MAX: usize = 8;

fn install(api: &mut Api<'_>) -> mlua::Result<()> {
    api.function("map", |context, arguments| {
        let (subject, address) = (arguments.value(), address(&arguments.value())?);
        match subject {
            Value::Table(table) => of_table(context, &table, address),
            Value::String(name) => of_file(context, arguments.lua(), &name, address),
            other => {
                let got = kind(&other);
                Err(CallError::refused(format!("needs a table of networks or the name of a map, and got {got}")))
            }
        }
    })
}

/// A value, and the network it is the value of; nothing for both when no network holds the address.
type Mapped = (Value, Option<String>);

/// Returns the value of the most specific network in a table that holds the client: the first form of `map`.
///
/// The keys are networks, `address/bits` or an address, each once; the values are whatever the script makes of them.
/// The second result is the network. A second argument, an address as text or object, is looked up in place of the
/// client. Errors on a key that is no network. A table is read anew each time: put what is long in a map file.
///
/// ```lua
/// site 60 IN LUA A "map{['10.0.0.0/8']='10.0.0.1', ['10.1.0.0/16']={'10.1.0.1', '10.1.0.2'}, ['0.0.0.0/0']='192.0.2.1'}"
/// ```
fn of_table(context: &Context, table: &Table, address: Option<IpAddr>) -> Result<Mapped, CallError> {
    let mut best: Option<(IpNet, Value)> = None;
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        let Some(network) = network(&key)? else { continue };
        let holds = match address {
            Some(address) => network.contains(&address),
            None => context.client_is_in(network),
        };
        if !holds {
            continue;
        }
        match &best {
            Some((known, _)) if *known == network => {
                // Which of them a table hands out first is nobody's choice.
                return Err(CallError::refused(format!("got the network `{network}` twice; give it once")));
            }
            Some((known, _)) if known.prefix_len() > network.prefix_len() => {}
            Some(_) | None => best = Some((network, value)),
        }
    }
    Ok(best.map_or((Value::Nil, None), |(network, value)| (value, Some(network.to_string()))))
}

/// A key of a table; `None` for a length past the family's, which matches nothing.
fn network(key: &Value) -> Result<Option<IpNet>, CallError> {
    let Value::String(text) = key else {
        return Err(CallError::refused(format!("got {} for a network; write `['10.0.0.0/8'] = value`", kind(key))));
    };
    let network = text.to_str().ok().and_then(|text| read_network(&text));
    network.ok_or_else(|| {
        let text = text.to_string_lossy();
        CallError::refused(format!("got `{text}`, which is no network; write `address/bits`"))
    })
}

/// Returns the value of the most specific network in a map file that holds the client: the second form of `map`.
///
/// A map is the file `NAME.csv` in `lua.map-dir`. With one column of values the result is a string, with more it is
/// a table of them by the names of their columns. The second result is the network. An address, as text or object, is
/// looked up in place of the client. Errors on a name that no map has.
///
/// ```lua
/// site 60 IN LUA A "map('sites', '10.1.2.3')"
/// ```
fn of_file(context: &Context, lua: &Lua, name: &LuaString, address: Option<IpAddr>) -> Result<Mapped, CallError> {
    let maps = &context.surroundings().maps;
    let map = name.to_str().ok().and_then(|name| maps.get(&*name)).ok_or_else(|| unknown(maps, name))?;
    let entry = match address {
        Some(address) => map.lookup(address).entry,
        None => context.look_client_up(|client| {
            let found = map.lookup(client);
            (found.entry, found.scope)
        }),
    };
    let Some((network, row)) = entry else { return Ok((Value::Nil, None)) };
    Ok((row_value(lua, map, *row)?, Some(network.to_string())))
}

/// A row as a string, or as a table by column.
fn row_value(lua: &Lua, map: &Map, row: u32) -> mlua::Result<Value> {
    match map.row(row) {
        [value] => (&**value).into_lua(lua),
        values => {
            let table = lua.create_table_with_capacity(0, values.len())?;
            for (column, value) in map.columns().iter().zip(values) {
                table.raw_set(&**column, &**value)?;
            }
            Ok(Value::Table(table))
        }
    }
}

fn unknown(maps: &Maps, name: &LuaString) -> CallError {
    let mut names: Vec<&str> = maps.keys().map(|name| &**name).collect();
    names.sort_unstable();
    let rest = names.len().saturating_sub(NAMES_TOLD_MAX);
    names.truncate(NAMES_TOLD_MAX);
    let there = match (names.is_empty(), rest) {
        (true, _) => "there are no maps".to_owned(),
        (false, 0) => format!("there are `{}`", names.join("`, `")),
        (false, rest) => format!("there are `{}` and {rest} more", names.join("`, `")),
    };
    let name = name.to_string_lossy();
    CallError::refused(format!("got `{name}`, which is no map: {there}; a map is `NAME.csv` in `lua.map-dir`"))
}

/// The address to look up: a text or an object; `None` for the client.
fn address(value: &Value) -> Result<Option<IpAddr>, CallError> {
    let refusal = || CallError::refused(format!("needs an address as argument 2, and got {}", kind(value)));
    let text = match value {
        Value::Nil => return Ok(None),
        Value::String(text) => text.to_string_lossy(),
        Value::UserData(object) => {
            return object.borrow::<Address>().map(|address| Some(address.0.ip())).map_err(|_| refusal());
        }
        _ => return Err(refusal()),
    };
    let address = read_address(&text).map(|address| address.ip());
    address.map(Some).ok_or_else(|| CallError::refused(format!("got `{text}`, which is no address")))
}
