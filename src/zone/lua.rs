//! RDATA of the LUA type: covered type and script text, in presentation and wire form.

use std::fmt;
use std::sync::Arc;

use super::findings::{excerpt, nearest_mnemonic};
use super::{LuaData, Piece};
use crate::diagnostic::Position;
use crate::dns::Rtype;
use crate::dns::rdata::{Field, RdataError};

/// The most octets a character-string holds (RFC 1035 section 3.3).
const STRING_OCTETS_MAX: usize = 255;

/// The most octets RDATA holds: its length is told in 16 bits.
const RDATA_OCTETS_MAX: usize = 65_535;

impl LuaData {
    /// Reads the fields behind the type: the covered type, then the code in one or more pieces.
    ///
    /// Escapes stay as they are but for `\"`, which becomes a quote. The code is not compiled.
    pub(super) fn read(fields: &[Field<'_>], file: &Arc<str>) -> Result<Self, RdataError> {
        let Some((covered, code)) = fields.split_first() else {
            return Err(error(0, "a LUA record needs the type it answers for, then its code", EXAMPLE));
        };
        let covered = read_covered(covered)?;
        if code.is_empty() {
            return Err(error(1, "a LUA record needs code", EXAMPLE));
        }
        let pieces: Vec<Piece> = code.iter().map(|field| read_piece(field, file)).collect();
        if pieces.iter().all(|piece| piece.text.trim_ascii().is_empty()) {
            return Err(error(1, "the code of a LUA record is empty", EXAMPLE));
        }
        let octets = 2 + pieces.iter().map(wire_octets).sum::<usize>();
        if octets > RDATA_OCTETS_MAX {
            return Err(error(
                1,
                format!("the code takes {octets} octets on the wire, more than the {RDATA_OCTETS_MAX} of a record"),
                "move a part of it to a `LUA LUA` record and `include` it",
            ));
        }
        Ok(Self { covered, pieces })
    }

    /// Takes the wire form: two octets of covered type, then character-strings.
    ///
    /// A piece of more than 255 octets was cut for the wire, so a full string is joined with the next.
    /// Every piece gets `position`. `None` if the octets are malformed or hold no code.
    pub fn from_wire(octets: &[u8], position: &Position) -> Option<Self> {
        let (covered, mut rest) = octets.split_first_chunk::<2>()?;
        let mut pieces = Vec::new();
        let mut text = Vec::new();
        while let Some((&length, after)) = rest.split_first() {
            let (string, after) = after.split_at_checked(usize::from(length))?;
            text.extend_from_slice(string);
            rest = after;
            if string.len() < STRING_OCTETS_MAX || rest.is_empty() {
                let text = std::mem::take(&mut text).into_boxed_slice();
                pieces.push(Piece { text, position: position.clone() });
            }
        }
        let has_code = pieces.iter().any(|piece| !piece.text.trim_ascii().is_empty());
        has_code.then_some(Self { covered: Rtype(u16::from_be_bytes(*covered)), pieces })
    }

    /// Writes the wire form; a piece of more than 255 octets becomes several character-strings.
    pub fn to_wire(&self) -> Vec<u8> {
        let mut wire = self.covered.0.to_be_bytes().to_vec();
        for piece in &self.pieces {
            let mut rest = &piece.text[..];
            loop {
                let (string, after) = rest.split_at(rest.len().min(STRING_OCTETS_MAX));
                wire.push(u8::try_from(string.len()).expect("cut to at most 255 octets"));
                wire.extend_from_slice(string);
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
        }
        wire
    }
}

impl PartialEq for LuaData {
    /// Compares what the record says, not where it was written.
    fn eq(&self, other: &Self) -> bool {
        let texts = |data: &'_ Self| data.pieces.iter().map(|piece| piece.text.clone()).collect::<Vec<_>>();
        self.covered == other.covered && texts(self) == texts(other)
    }
}

impl Eq for LuaData {}

impl fmt::Display for LuaData {
    /// Writes presentation form: quoted pieces, or the form of RFC 3597 when quotes cannot carry the code.
    ///
    /// As no escape but `\"` is decoded, code with a backslash before a quote or at its end has no quoted form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.pieces.iter().all(|piece| fits_quotes(&piece.text)) {
            let wire = self.to_wire();
            return write!(f, "\\# {} {}", wire.len(), data_encoding::HEXUPPER.encode(&wire));
        }
        write!(f, "{}", self.covered)?;
        for piece in &self.pieces {
            write!(f, " \"{}\"", String::from_utf8_lossy(&piece.text).replace('"', "\\\""))?;
        }
        Ok(())
    }
}

/// What to do about a LUA record that lacks a part.
const EXAMPLE: &str = "write it as in `www 60 IN LUA A \"pickrandom({'192.0.2.1', '192.0.2.2'})\"`";

/// An error that blames the field at an index.
fn error(field: usize, message: impl Into<String>, help: impl Into<String>) -> RdataError {
    RdataError { field, message: message.into(), help: Some(help.into()) }
}

/// Reads the type the record answers for.
fn read_covered(field: &Field<'_>) -> Result<Rtype, RdataError> {
    let text = excerpt(field.text);
    if field.quoted {
        return Err(error(0, "the code of a LUA record has no type before it", EXAMPLE));
    }
    let Some(covered) = Rtype::parse(field.text) else {
        let help =
            nearest_mnemonic(field.text).map_or_else(|| EXAMPLE.to_owned(), |near| format!("did you mean `{near}`?"));
        return Err(error(0, format!("a LUA record cannot answer for `{text}`: no such type"), help));
    };
    if covered.is_meta() {
        return Err(error(0, format!("a LUA record cannot answer for `{text}`: no record has that type"), EXAMPLE));
    }
    Ok(covered)
}

/// Reads one piece of code.
fn read_piece(field: &Field<'_>, file: &Arc<str>) -> Piece {
    let quote = u32::from(field.quoted);
    let position = Position { file: file.clone(), line: field.line, column: field.column.saturating_add(quote) };
    Piece { text: decode_quotes(field.text).into_boxed_slice(), position }
}

/// Turns `\"` into a quote and leaves every other escape as it is.
pub(super) fn decode_quotes(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [octet, after @ ..] = rest {
        rest = match (octet, after) {
            (b'\\', [b'"', after @ ..]) => {
                decoded.push(b'"');
                after
            }
            (b'\\', [escaped, after @ ..]) => {
                decoded.extend([b'\\', *escaped]);
                after
            }
            _ => {
                decoded.push(*octet);
                after
            }
        };
    }
    decoded
}

/// How many octets a piece takes as character-strings.
fn wire_octets(piece: &Piece) -> usize {
    piece.text.len() + piece.text.len().div_ceil(STRING_OCTETS_MAX).max(1)
}

/// Whether text between quotes, with `"` written as `\"`, reads back as this text.
fn fits_quotes(text: &[u8]) -> bool {
    let mut rest = text;
    while let [octet, after @ ..] = rest {
        rest = match (octet, after) {
            (b'\\', [] | [b'"', ..]) => return false,
            (b'\\', [_, after @ ..]) => after,
            _ => after,
        };
    }
    std::str::from_utf8(text).is_ok()
}
