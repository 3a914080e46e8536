//! What a script returned, as RDATA.

use std::net::Ipv4Addr;

use mlua::{Lua, Table, Value};

use super::api::result::Denial;
use super::policy::Policy;
use crate::dns::{Rcode, Rtype, rdata};
use crate::zone::lexer;

/// The most octets of texts one run may return: as many as RDATA of [`RDATA_OCTETS_MAX`] takes with every octet escaped.
const TEXT_OCTETS_MAX: usize = 4 * RDATA_OCTETS_MAX;
/// The most octets of RDATA one run may make; no message is longer.
const RDATA_OCTETS_MAX: usize = 65_535;

/// The longest TTL there is (RFC 2181 section 8).
const TTL_MAX: u32 = 0x7fff_ffff;

/// What a returned value comes to.
#[derive(Debug)]
pub(super) struct Made {
    /// RDATA in wire form.
    pub(super) rdata: Vec<Vec<u8>>,
    /// The TTL it asks for.
    pub(super) ttl: Option<u32>,
    /// Whether there are to be no records, and what is answered instead.
    pub(super) denial: Option<Rcode>,
}

/// Why a returned value makes no records.
#[derive(Debug, thiserror::Error)]
pub(super) enum ValueError {
    /// Something other than a string, a number or a list of them.
    #[error("it returned {0}, not a string, a number or a list of them")]
    Kind(&'static str),
    /// A list with a key or a value that does not belong there.
    #[error("it returned a table with {0}, where a list holds strings and numbers only")]
    Entry(String),
    /// A field beside a list that says nothing sensible.
    #[error("it returned a table whose `{field}` is no {expected}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What it may be.
        expected: &'static str,
    },
    /// Records with an RCODE that goes without.
    #[error("it returned records together with `rcode={}`, which goes without", .0.0)]
    Contradiction(Rcode),
    /// Too many entries.
    #[error("it returned more than {0} records, all that {1} allows")]
    Count(usize, String),
    /// Too long texts.
    #[error("it returned texts of more than {TEXT_OCTETS_MAX} octets")]
    Texts,
    /// Too much RDATA.
    #[error("it returned records of more than {RDATA_OCTETS_MAX} octets in all")]
    Octets,
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

impl ValueError {
    /// Whether it is a bound on sizes that was met.
    pub(super) fn is_budget(&self) -> bool {
        match self {
            Self::Count(..) | Self::Texts | Self::Octets => true,
            Self::Kind(_) | Self::Entry(_) | Self::Field { .. } | Self::Contradiction(_) | Self::Rdata { .. } => false,
        }
    }
}

/// Reads what a script returned for type `covered`; an empty list means no records.
pub(super) fn make(lua: &Lua, value: &Value, covered: Rtype, policy: &Policy) -> Result<Made, ValueError> {
    let rdata = match value {
        Value::Table(list) => return make_list(lua, list, covered, policy),
        Value::String(text) if text.as_bytes().len() > TEXT_OCTETS_MAX => return Err(ValueError::Texts),
        Value::UserData(object) => {
            let denial = object.borrow::<Denial>().map_err(|_| ValueError::Kind(kind(value)))?;
            return Ok(Made { rdata: Vec::new(), ttl: denial.ttl, denial: Some(denial.rcode) });
        }
        other => one_to_rdata(&text(lua, other).ok_or_else(|| ValueError::Kind(kind(other)))?, covered)?,
    };
    if rdata.len() > RDATA_OCTETS_MAX {
        return Err(ValueError::Octets);
    }
    Ok(Made { rdata: vec![rdata], ttl: None, denial: None })
}

/// Reads a list whose keys are all numbers, or texts of numbers, in the order of `next`; fields may stand beside it.
fn make_list(lua: &Lua, list: &Table, covered: Rtype, policy: &Policy) -> Result<Made, ValueError> {
    let (mut fields, mut text_octets) = (None, 0);
    let mut rdata = Vec::new();
    for pair in list.pairs::<Value, Value>() {
        let (key, value) = pair.map_err(|_| ValueError::Entry("an entry that cannot be read".to_owned()))?;
        if !is_numeric(lua, &key) {
            let text = text(lua, &key).ok_or_else(|| ValueError::Entry(format!("{} for a key", kind(&key))))?;
            if !FIELDS.iter().any(|field| field.as_bytes() == text) {
                return Err(ValueError::Entry(format!("the key `{}`", text.escape_ascii())));
            }
            fields.get_or_insert(Fields::read(list)?);
            continue;
        }
        if rdata.len() == policy.limits.result_max {
            return Err(ValueError::Count(policy.limits.result_max, policy.key("result-max")));
        }
        // Before it is copied: a thousand entries may be one long text.
        text_octets += value.as_string().map_or(0, |text| text.as_bytes().len());
        if text_octets > TEXT_OCTETS_MAX {
            return Err(ValueError::Texts);
        }
        rdata.push(text(lua, &value).ok_or_else(|| ValueError::Entry(kind(&value).to_owned()))?);
    }
    let Fields { ttl, rcode, raw } = fields.unwrap_or_default();
    let read = |text: &Vec<u8>| if raw { raw_to_rdata(text, covered) } else { one_to_rdata(text, covered) };
    let rdata: Vec<Vec<u8>> = rdata.iter().map(read).collect::<Result<_, _>>()?;
    if rdata.iter().map(Vec::len).sum::<usize>() > RDATA_OCTETS_MAX {
        return Err(ValueError::Octets);
    }
    match rcode {
        Some(rcode) if rcode != Rcode::NOERROR && !rdata.is_empty() => Err(ValueError::Contradiction(rcode)),
        // Records with NOERROR are an answer like any other.
        rcode => Ok(Made { denial: rcode.filter(|_| rdata.is_empty()), rdata, ttl }),
    }
}

/// The fields that may stand beside the values of a list.
const FIELDS: [&str; 3] = ["ttl", "rcode", "raw"];

/// What the fields beside a list say.
#[derive(Default)]
struct Fields {
    ttl: Option<u32>,
    rcode: Option<Rcode>,
    /// Whether texts are the octets of a TXT as they stand.
    raw: bool,
}

impl Fields {
    fn read(list: &Table) -> Result<Self, ValueError> {
        let field = |name: &str| list.raw_get::<Value>(name).unwrap_or(Value::Nil);
        let (ttl_field, rcode_field) = (field("ttl"), field("rcode"));
        let expected = "TTL from 0 to 2147483647";
        let ttl = if ttl_field.is_nil() {
            None
        } else {
            Some(ttl(&ttl_field).ok_or(ValueError::Field { field: "ttl", expected })?)
        };
        let rcode = match (rcode_field.is_nil(), number(&rcode_field)) {
            (true, _) => None,
            (false, Some(0.0)) => Some(Rcode::NOERROR),
            (false, Some(2.0)) => Some(Rcode::SERVFAIL),
            (false, Some(3.0)) => Some(Rcode::NXDOMAIN),
            (false, Some(5.0)) => Some(Rcode::REFUSED),
            (false, _) => {
                let expected = "RCODE that can be answered: `pdns.NOERROR`, `SERVFAIL`, `NXDOMAIN` or `REFUSED`";
                return Err(ValueError::Field { field: "rcode", expected });
            }
        };
        Ok(Self { ttl, rcode, raw: field("raw").as_boolean().unwrap_or(false) })
    }
}

/// A whole number that is a TTL.
pub(super) fn ttl(value: &Value) -> Option<u32> {
    let number = number(value).filter(|number| number.fract() == 0.0)?;
    (0.0..=f64::from(TTL_MAX)).contains(&number).then_some(number as u32)
}

/// The octets of a TXT as they stand, cut into character-strings; for other types, their presentation form.
fn raw_to_rdata(text: &[u8], covered: Rtype) -> Result<Vec<u8>, ValueError> {
    if covered != Rtype::TXT {
        return one_to_rdata(text, covered);
    }
    const STRING_OCTETS_MAX: usize = 255;
    let mut rdata = Vec::with_capacity(text.len() + text.len() / STRING_OCTETS_MAX + 1);
    let mut chunks = text.chunks(STRING_OCTETS_MAX);
    // An empty text is one empty character-string.
    for string in std::iter::once(chunks.next().unwrap_or_default()).chain(chunks) {
        rdata.push(string.len() as u8);
        rdata.extend_from_slice(string);
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
    let fields = lexer::value_fields(presentation).map_err(|error| refused(error.to_string()))?;
    let mut wire = Vec::new();
    rdata::read(covered, &fields, None, &mut wire).map_err(|error| refused(error.to_string()))?;
    Ok(wire)
}

/// Reads a dotted quad: blanks around it are let go, and a leading zero does not make a number octal.
fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut parts = text.trim_ascii().split(|octet| *octet == b'.');
    for octet in &mut octets {
        let digits = parts.next().filter(|digits| !digits.is_empty())?;
        *octet = digits.iter().try_fold(0u8, |value, digit| {
            let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
            value.checked_mul(10)?.checked_add(digit)
        })?;
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
