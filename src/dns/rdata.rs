//! One table, type to fields, that reads and writes presentation and wire form of RDATA.

use super::{NameRef, Rtype};

/// One field of RDATA in presentation form, as it stands in the text.
#[derive(Clone, Copy, Debug)]
pub struct Field<'t> {
    /// The octets of the word, or those between the quotes; escapes are not decoded.
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
    let _ = (rtype, fields, origin, wire);
    todo!()
}

/// Writes presentation form: the type's own where `wire` is well-formed, that of RFC 3597 otherwise.
pub fn write(rtype: Rtype, wire: &[u8]) -> String {
    let _ = (rtype, wire);
    todo!()
}

/// Whether `wire` is a well-formed, uncompressed RDATA of `rtype`; unknown types always are.
pub fn is_well_formed(rtype: Rtype, wire: &[u8]) -> bool {
    let _ = (rtype, wire);
    todo!()
}
