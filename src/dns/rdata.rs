//! One table, type to fields, that reads and writes presentation and wire form of RDATA.
//!
//! `layout.rs` is the table. `read.rs` and `write.rs` take each kind of field one way, with the cursors of
//! `reader.rs` and `writer.rs`; kinds with a grammar of their own (`svcb.rs`, `loc.rs`, `apl.rs`, `bitmap.rs`,
//! `gateway.rs`, `time.rs`) have both ways in one file. Absent on purpose: LUA, whose text is a script, and
//! types without a presentation format, which only have the form of RFC 3597.

mod apl;
mod bitmap;
mod gateway;
mod layout;
mod loc;
mod read;
mod reader;
mod svcb;
mod time;
mod write;
mod writer;

use std::borrow::Cow;
use std::ops::Range;

use data_encoding::HEXUPPER;

use self::layout::{Kind, layout, outline};
use self::reader::{Reader, quote};
pub use self::time::{TTL_SECS_MAX, parse_ttl};
use self::writer::Writer;
use super::{NameRef, Rtype};

/// The longest RDATA, in octets: its length has 16 bits on the wire.
const RDATA_OCTETS_MAX: usize = u16::MAX as usize;

/// One field of RDATA in presentation form, as it stands in the text.
#[derive(Clone, Copy, Debug)]
pub struct Field<'t> {
    /// The octets of the word, or those between the quotes; escapes are not decoded.
    ///
    /// A parameter of SVCB as in `alpn="h2,h3"` may be one word that has the quotes inside, or the
    /// word `alpn=` and right behind it, by line and column, a field in quotes.
    pub text: &'t [u8],
    /// Whether it stood in quotes.
    pub quoted: bool,
    /// The line it begins on, from 1.
    pub line: u32,
    /// The column of its first octet (the quote, if there is one), from 1.
    pub column: u32,
}

/// Why RDATA cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RdataError {
    /// Which field is wrong, counted from 0; the number of fields if one is missing.
    pub field: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl RdataError {
    /// An error about one field.
    fn new(field: usize, message: impl Into<String>) -> Self {
        Self { field, message: message.into(), help: None }
    }

    /// The same error with advice.
    fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

/// Reads presentation form and appends the wire form to `wire`.
///
/// `origin` completes relative names; without one they are absolute. Reads the RFC 3597 form
/// (`\# length hex`) for every type, and checks that it is a well-formed `rtype`.
/// On an error `wire` may hold a part.
pub fn read(
    rtype: Rtype,
    fields: &[Field<'_>],
    origin: Option<NameRef<'_>>,
    wire: &mut Vec<u8>,
) -> Result<(), RdataError> {
    let start = wire.len();
    let mut reader = Reader::new(rtype, fields, origin, wire);
    match (fields.first(), layout(rtype)) {
        (Some(Field { text: b"\\#", quoted: false, .. }), _) => read_generic(rtype, &mut reader)?,
        (_, Some(parts)) => {
            for &(name, kind) in parts {
                kind.read(name, &mut reader)?;
            }
        }
        (_, None) => {
            let help = format!("write `{}` (RFC 3597 section 5)", outline(rtype));
            return Err(RdataError::new(0, format!("`{rtype}` has no presentation form of its own")).help(help));
        }
    }
    reader.finish()?;
    let length = wire.len() - start;
    if length > RDATA_OCTETS_MAX {
        let message = format!("the data is {length} octets long; at most {RDATA_OCTETS_MAX} fit");
        return Err(RdataError::new(0, message).help("spread it over several records"));
    }
    Ok(())
}

/// Reads the form that any type has (RFC 3597 section 5).
fn read_generic(rtype: Rtype, reader: &mut Reader<'_>) -> Result<(), RdataError> {
    reader.word("mark")?;
    let length = usize::from(reader.number("length", u16::MAX)?);
    let digits = reader.joined("octets")?;
    let octets = reader.decode_hex("octets", &digits)?;
    if octets.len() != length {
        let message = format!("length `{length}` is not that of the {} octets after it", octets.len());
        return Err(RdataError::new(1, message).help(format!("write `\\# {}`", octets.len())));
    }
    if !is_well_formed(rtype, &octets) {
        let message = format!("{} is not a well-formed `{rtype}`", quote(&digits));
        return Err(RdataError::new(2.min(reader.taken() - 1), message).help(format!("write `{}`", outline(rtype))));
    }
    reader.push(&octets);
    Ok(())
}

/// Writes presentation form: the type's own where `wire` is well-formed, that of RFC 3597 otherwise.
///
/// A few well-formed octets have no text of their own either, such as an APL of an unknown address
/// family. Whatever is written for well-formed octets reads back as the same octets.
pub fn write(rtype: Rtype, wire: &[u8]) -> String {
    match walk(rtype, wire).and_then(Writer::into_text) {
        Some(text) => text,
        None if wire.is_empty() => "\\# 0".to_owned(),
        None => format!("\\# {} {}", wire.len(), HEXUPPER.encode(wire)),
    }
}

/// Whether `wire` is a well-formed, uncompressed RDATA of `rtype`; unknown types always are.
pub fn is_well_formed(rtype: Rtype, wire: &[u8]) -> bool {
    wire.len() <= RDATA_OCTETS_MAX && walk(rtype, wire).is_some()
}

/// Writes each field; `None` if the octets are not a well-formed `rtype`.
fn walk(rtype: Rtype, wire: &[u8]) -> Option<Writer<'_>> {
    let mut writer = Writer::new(wire);
    match layout(rtype) {
        Some(parts) => {
            for (_, kind) in parts {
                kind.write(&mut writer)?;
                if writer.has_given_up() {
                    break;
                }
            }
        }
        None => writer.give_up(),
    }
    writer.is_at_end().then_some(writer)
}

/// Returns where in `wire` names stand that may be compressed in messages (RFC 3597 section 4).
///
/// These are the names in the types of RFC 1035, and of no later one. Ends at the first malformed octet.
pub fn names_in(rtype: Rtype, wire: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut parts = layout(rtype).unwrap_or_default().iter();
    let mut at = 0;
    std::iter::from_fn(move || {
        let mut kind = parts.next()?.1;
        if matches!(kind, Kind::U16) {
            at += 2;
            kind = parts.next()?.1;
        }
        // Only a preference stands before compressible names, so any other kind ends them.
        if !matches!(kind, Kind::CompressibleName) {
            return None;
        }
        let (name, _) = NameRef::split_from(wire.get(at..)?).ok()?;
        let start = at;
        at += name.wire().len();
        Some(start..at)
    })
}

/// Returns the RDATA with the letters of its names in lower case.
///
/// Two records of one owner and type are the same one if these are equal: letter case tells names apart as little as it
/// does owners (RFC 4343 section 3), while all other octets count as they are (RFC 3597 section 6).
pub fn folded(rtype: Rtype, wire: &[u8]) -> Cow<'_, [u8]> {
    let mut folded = Cow::Borrowed(wire);
    let mut at = 0;
    for (_, kind) in layout(rtype).unwrap_or_default() {
        let Some(octets) = wire.get(at..).and_then(|rest| kind.octets(rest)) else { break };
        // The octets of lengths are below those of letters.
        let is_name = matches!(kind, Kind::Name | Kind::CompressibleName);
        if is_name && wire[at..at + octets].iter().any(u8::is_ascii_uppercase) {
            folded.to_mut()[at..at + octets].make_ascii_lowercase();
        }
        at += octets;
    }
    folded
}

/// Where RDATA leads: what a client that has it asks for next, and so belongs into the additional section.
#[derive(Clone, Copy, Debug)]
pub struct Lead<'w> {
    /// The name that is asked for; the root means the owner (RFC 9460 section 2.5.2).
    pub name: NameRef<'w>,
    /// The types.
    pub rtypes: &'static [Rtype],
}

/// Returns where RDATA leads, if anywhere.
///
/// To addresses lead NS, MB, MD, MF, MX, AFSDB, RT, KX, SRV, SVCB, HTTPS, and NAPTR with the flag `A`; a SVCB or HTTPS of
/// alias mode also to its own type (RFC 9460 section 4.1), NAPTR with the flag `S` to SRV (RFC 2915 section 5), and LP
/// to locators (RFC 6742 section 3.2). A target of `.` means "none" and is left out, but for a SVCB or HTTPS of service
/// mode, where it means the owner. `None` also for malformed octets.
pub fn lead(rtype: Rtype, wire: &[u8]) -> Option<Lead<'_>> {
    const ADDRESSES: &[Rtype] = &[Rtype::A, Rtype::AAAA];
    let lead_at = |at: usize, rtypes| Some(Lead { name: NameRef::split_from(wire.get(at..)?).ok()?.0, rtypes });
    let is_alias = || wire.starts_with(&[0, 0]);
    let lead = match rtype {
        Rtype::NS | Rtype::MB | Rtype::MD | Rtype::MF => lead_at(0, ADDRESSES),
        Rtype::MX | Rtype::AFSDB | Rtype::RT | Rtype::KX => lead_at(2, ADDRESSES),
        Rtype::SRV => lead_at(6, ADDRESSES),
        Rtype::SVCB if is_alias() => lead_at(2, &[Rtype::SVCB, Rtype::A, Rtype::AAAA]),
        Rtype::HTTPS if is_alias() => lead_at(2, &[Rtype::HTTPS, Rtype::A, Rtype::AAAA]),
        Rtype::SVCB | Rtype::HTTPS => return lead_at(2, ADDRESSES),
        Rtype::LP => lead_at(2, &[Rtype::L32, Rtype::L64]),
        Rtype::NAPTR => {
            let mut writer = Writer::new(wire);
            writer.take(4)?;
            let [flags, _services, _regexp] = [writer.counted()?, writer.counted()?, writer.counted()?];
            let rtypes = match flags {
                b"A" | b"a" => ADDRESSES,
                b"S" | b"s" => &[Rtype::SRV],
                _ => return None,
            };
            writer.name().map(|name| Lead { name, rtypes })
        }
        _ => None,
    };
    lead.filter(|lead| !lead.name.is_root())
}

/// Returns the name whose addresses belong into the additional section beside this RDATA, if there is one.
pub fn target(rtype: Rtype, wire: &[u8]) -> Option<NameRef<'_>> {
    lead(rtype, wire).filter(|lead| lead.rtypes.contains(&Rtype::A)).map(|lead| lead.name)
}

#[cfg(test)]
mod tests;
