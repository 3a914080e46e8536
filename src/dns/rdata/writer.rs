//! A writer that walks the octets of one RDATA.

use std::fmt::{Display, Write as _};

use super::NameRef;

/// Walks the octets of one RDATA and appends its fields in text.
///
/// Taking octets answers `None` where they are too few or wrong: the RDATA is then malformed.
pub(super) struct Writer<'w> {
    rdata: &'w [u8],
    rest: &'w [u8],
    text: String,
    has_text: bool,
}

impl<'w> Writer<'w> {
    /// Starts before the first octet.
    pub(super) fn new(rdata: &'w [u8]) -> Self {
        Self { rdata, rest: rdata, text: String::new(), has_text: true }
    }

    /// The text, unless a field had none.
    pub(super) fn into_text(self) -> Option<String> {
        self.has_text.then_some(self.text)
    }

    /// Notes that the RDATA is well-formed as far as it goes but cannot be said in its type's own text.
    pub(super) fn has_no_text(&mut self) {
        self.has_text = false;
    }

    /// Takes all octets left without a look: what stands there depends on a code that is not known.
    pub(super) fn give_up(&mut self) {
        self.take_rest();
        self.has_no_text();
    }

    /// Whether no field is to be written any more.
    pub(super) fn has_given_up(&self) -> bool {
        !self.has_text && self.is_at_end()
    }

    /// The whole RDATA, taken or not.
    pub(super) fn rdata(&self) -> &'w [u8] {
        self.rdata
    }

    /// The octet taken last.
    pub(super) fn last(&self) -> Option<u8> {
        let taken = self.rdata.len() - self.rest.len();
        self.rdata[..taken].last().copied()
    }

    /// Whether all octets have been taken.
    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes all octets left.
    pub(super) fn take_rest(&mut self) -> &'w [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Takes `length` octets.
    pub(super) fn take(&mut self, length: usize) -> Option<&'w [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    /// Takes as many octets as the array holds.
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*taken)
    }

    /// Takes 8 bits.
    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    /// Takes 16 bits.
    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// Takes 32 bits.
    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// Takes a length octet and what it counts.
    pub(super) fn counted(&mut self) -> Option<&'w [u8]> {
        let length = self.u8()?;
        self.take(length.into())
    }

    /// Takes an uncompressed domain name.
    pub(super) fn name(&mut self) -> Option<NameRef<'w>> {
        let (name, rest) = NameRef::split_from(self.rest).ok()?;
        self.rest = rest;
        Some(name)
    }

    /// Appends one field.
    pub(super) fn word(&mut self, word: impl Display) {
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        write!(self.text, "{word}").expect("a String takes all text");
    }
}

/// Puts octets in quotes, with escapes where text needs them (RFC 1035 section 5.1).
pub(super) fn quoted(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len() + 2);
    text.push('"');
    for &octet in octets {
        match octet {
            b'"' | b'\\' => text.extend(['\\', char::from(octet)]),
            b' '..=b'~' => text.push(char::from(octet)),
            _ => write!(text, "\\{octet:03}").expect("a String takes all text"),
        }
    }
    text.push('"');
    text
}
