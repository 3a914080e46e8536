//! What a script returned, as RDATA.

use std::net::Ipv4Addr;

use mlua::{Lua, Table, Value};

use crate::dns::{Rtype, rdata};
use crate::zone::lexer;

/// The most records one run may make; a longer list is a mistake that no response could hold.
pub(super) const RECORDS_MAX: usize = 1024;

/// Why a returned value makes no records.
#[derive(Debug, thiserror::Error)]
pub(super) enum ValueError {
    /// Something other than a string, a number or a list of them.
    #[error("it returned {0}, not a string, a number or a list of them")]
    Kind(&'static str),
    /// A list with a key or a value that does not belong there.
    #[error("it returned a table with {0}, where a list holds strings and numbers only")]
    Entry(String),
    /// Too many entries.
    #[error("it returned more than {RECORDS_MAX} records")]
    Count,
    /// A text that is no RDATA of the type.
    #[error("it returned `{text}`, which is no {rtype}: {why}")]
    Rdata {
        /// What it returned.
        text: String,
        /// What was expected.
        rtype: Rtype,
        /// Why it is not.
        why: String,
    },
}

/// Reads what a script returned as RDATA of type `covered`, in wire form; an empty list means no records.
pub(super) fn to_rdata(lua: &Lua, value: &Value, covered: Rtype) -> Result<Vec<Vec<u8>>, ValueError> {
    match value {
        Value::Table(list) => list_to_rdata(lua, list, covered),
        other => Ok(vec![one_to_rdata(&text(lua, other).ok_or_else(|| ValueError::Kind(kind(other)))?, covered)?]),
    }
}

/// Reads a list whose keys are all numbers, or texts of numbers, in the order of `next`.
fn list_to_rdata(lua: &Lua, list: &Table, covered: Rtype) -> Result<Vec<Vec<u8>>, ValueError> {
    let mut rdata = Vec::new();
    for pair in list.pairs::<Value, Value>() {
        let (key, value) = pair.map_err(|_| ValueError::Entry("an entry that cannot be read".to_owned()))?;
        if !is_numeric(lua, &key) {
            let key = text(lua, &key).map_or_else(|| kind(&key).to_owned(), |key| key.escape_ascii().to_string());
            return Err(ValueError::Entry(format!("the key `{key}`")));
        }
        if rdata.len() == RECORDS_MAX {
            return Err(ValueError::Count);
        }
        let text = text(lua, &value).ok_or_else(|| ValueError::Entry(kind(&value).to_owned()))?;
        rdata.push(one_to_rdata(&text, covered)?);
    }
    Ok(rdata)
}

/// Whether a value is a number or the text of one.
pub(super) fn is_numeric(lua: &Lua, value: &Value) -> bool {
    match value {
        Value::Integer(_) | Value::Number(_) => true,
        Value::String(_) => lua.coerce_number(value.clone()).is_ok_and(|number| number.is_some()),
        _ => false,
    }
}

/// A number as a fraction; Luau hands over whole ones as integers.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        _ => None,
    }
}

/// The octets of a string, or of a number's text.
pub(super) fn text(lua: &Lua, value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        Value::Integer(_) | Value::Number(_) => Some(lua.coerce_string(value.clone()).ok()??.as_bytes().to_vec()),
        _ => None,
    }
}

/// A kind of value with its article, for messages.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Nil => "nothing",
        Value::Boolean(_) => "a boolean",
        Value::Integer(_) | Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Table(_) => "a table",
        Value::Function(_) => "a function",
        Value::UserData(_) => "an object; use its `toString`",
        _ => "a value",
    }
}

/// Reads one text as the presentation form of `covered`.
///
/// Names are absolute with or without their final dot. A TXT is put between quotes first, as in PowerDNS: blanks
/// stay, and a quotation mark in it ends the character-string.
pub(super) fn one_to_rdata(text: &[u8], covered: Rtype) -> Result<Vec<u8>, ValueError> {
    if covered == Rtype::A {
        return ipv4(text).map(|address| address.octets().to_vec()).ok_or_else(|| {
            let why = "expected four numbers from 0 to 255 with dots between them".to_owned();
            ValueError::Rdata { text: text.escape_ascii().to_string(), rtype: covered, why }
        });
    }
    let refused = |why: String| ValueError::Rdata { text: text.escape_ascii().to_string(), rtype: covered, why };
    let quoted;
    let presentation = if covered == Rtype::TXT {
        quoted = quote(text);
        &quoted
    } else {
        text
    };
    let fields = lexer::fields(presentation).map_err(|error| refused(error.to_string()))?;
    let mut wire = Vec::new();
    rdata::read(covered, &fields, None, &mut wire).map_err(|error| refused(error.to_string()))?;
    Ok(wire)
}

/// Reads a dotted quad: blanks around it are let go, and a leading zero does not make a number octal.
fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut parts = text.trim_ascii().split(|octet| *octet == b'.');
    for octet in &mut octets {
        let digits = parts.next().filter(|digits| (1..=3).contains(&digits.len()))?;
        let value = digits
            .iter()
            .try_fold(0u16, |value, digit| digit.is_ascii_digit().then(|| value * 10 + u16::from(digit - b'0')));
        *octet = u8::try_from(value?).ok()?;
    }
    parts.next().is_none().then_some(octets.into())
}

/// Puts a TXT value between quotes, and cuts it where a character-string is full.
///
/// A cut counts decoded octets, so that it never falls inside an escape.
fn quote(text: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(text.len() + 2 + text.len() / 64);
    quoted.push(b'"');
    let mut length = 0;
    let mut rest = text;
    while let Some((&octet, after)) = rest.split_first() {
        let escape = (octet == b'\\').then(|| crate::dns::name::unescape_one(after)).flatten();
        let after = escape.map_or(after, |(_, after)| after);
        let taken = &rest[..rest.len() - after.len()];
        if length == 255 && octet != b'"' {
            quoted.extend_from_slice(b"\" \"");
            length = 0;
        }
        quoted.extend_from_slice(taken);
        length = if octet == b'"' { 0 } else { length + 1 };
        rest = after;
    }
    quoted.push(b'"');
    quoted
}
