//! Results that say more than their records: a denial, an RCODE, or what was answered last.

use mlua::{BString, Function, LuaString, UserData, Value};

use super::{Api, CallError, Family};
use crate::config::RECORDS_MAX;
use crate::dns::Rcode;
use crate::script::context::Context;
use crate::script::sandbox::{is_memory_error, is_recursion_error};
use crate::script::value;

/// Builtins that make results.
pub(super) const FAMILY: Family = Family { install };

/// The most octets of a value that are remembered.
const REMEMBERED_OCTETS_MAX: usize = 65_535;

fn install(api: &mut Api<'_>) -> mlua::Result<()> {
    api.function("nodata", |_, arguments| Ok(Denial { rcode: Rcode::NOERROR, ttl: arguments.ttl()? }))?;
    api.function("nxdomain", |_, arguments| Ok(Denial { rcode: Rcode::NXDOMAIN, ttl: arguments.ttl()? }))?;
    api.function("refused", |_, _| Ok(Denial { rcode: Rcode::REFUSED, ttl: None }))?;
    api.function("servfail", |_, _| Ok(Denial { rcode: Rcode::SERVFAIL, ttl: None }))?;
    api.function("lastgood", |context, arguments| {
        let (given, name) = (arguments.value(), arguments.optional_text()?);
        let name = name.map(|name| name.to_string_lossy()).unwrap_or_default();
        let value = match given {
            Value::Function(function) => attempt(context, &function)?,
            other => other,
        };
        let Some(texts) = texts(arguments.lua(), &value)? else { return Ok(value) };
        let good = last_good(context, &name, &texts);
        Ok(Value::Table(arguments.lua().create_sequence_from(good.iter().map(|text| BString::from(&**text)))?))
    })
}

/// A result without records: `nodata()`, `nxdomain()`, `refused()`, `servfail()`.
///
/// The whole answer is that, whatever else the name holds; `nodata` speaks for its type alone. A TTL is that of the
/// denial: of the SOA in the answer (RFC 2308 section 5).
///
/// ```lua
/// gone 60 IN LUA A "netmask({'10.0.0.0/8'}) and '10.0.0.1' or nxdomain()"
/// ```
#[derive(Clone, Copy)]
pub(in crate::script) struct Denial {
    /// What is answered; NOERROR for NODATA.
    pub(in crate::script) rcode: Rcode,
    /// The TTL of the SOA, if not the zone's.
    pub(in crate::script) ttl: Option<u32>,
}

impl UserData for Denial {}

/// Calls a function; one that fails has no value.
///
/// A budget that is spent is not saved by this: the run ends at its next step.
fn attempt(context: &Context, function: &Function) -> Result<Value, CallError> {
    match context.call(function) {
        Ok(value) => Ok(value),
        Err(error) if is_memory_error(&error) || is_recursion_error(&error) => Err(CallError::Lua(error)),
        Err(_) => Ok(Value::Nil),
    }
}

/// The texts of a value that can be remembered: none for nothing, an empty text or an empty list.
///
/// `None` for what is no text, number or list of such: that is answered as it is.
fn texts(lua: &mlua::Lua, value: &Value) -> Result<Option<Vec<LuaString>>, CallError> {
    let texts = match value {
        Value::Nil => Vec::new(),
        Value::Table(_) => match super::arguments::list(lua, value) {
            Some(texts) => texts,
            None => return Ok(None),
        },
        other => match value::text(lua, other) {
            Some(text) if text.is_empty() => Vec::new(),
            Some(text) => vec![lua.create_string(text)?],
            None => return Ok(None),
        },
    };
    if texts.len() > RECORDS_MAX
        || texts.iter().map(|text| text.as_bytes().len()).sum::<usize>() > REMEMBERED_OCTETS_MAX
    {
        return Ok(None);
    }
    Ok(Some(texts))
}

/// Returns the value if it has texts, and otherwise what it last had in this record; nothing if it never had any.
///
/// The value may be a function, which is called; one that fails has nothing. `name` tells the calls of one record
/// apart. Each worker remembers for itself, whichever client the value was for, and forgets when it restarts.
///
/// ```lua
/// www 60 IN LUA A "lastgood(ifportup(443, {'192.0.2.1', '192.0.2.2'}, {backupSelector='empty'}))"
/// ```
fn last_good(context: &Context, name: &str, texts: &[LuaString]) -> Vec<Box<[u8]>> {
    let texts: Vec<Box<[u8]>> = texts.iter().map(|text| Box::from(&*text.as_bytes())).collect();
    if texts.is_empty() { context.recall(name) } else { context.remember(name, texts) }
}
