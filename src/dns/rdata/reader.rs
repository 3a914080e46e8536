//! A reader that walks the fields of one RDATA.

use std::net::{Ipv4Addr, Ipv6Addr};

use data_encoding::{BASE64, HEXUPPER_PERMISSIVE};

use super::layout::outline;
use super::{Field, NameRef, RdataError, Rtype};
use crate::dns::Name;
use crate::dns::name::{NameError, unescape_one};

/// Walks the fields of one RDATA and appends its wire form.
pub(super) struct Reader<'r> {
    rtype: Rtype,
    fields: &'r [Field<'r>],
    /// How many fields have been taken.
    taken: usize,
    /// What completes relative names; without one names are absolute.
    origin: Option<NameRef<'r>>,
    wire: &'r mut Vec<u8>,
    /// Where in `wire` the RDATA begins.
    start: usize,
}

impl<'r> Reader<'r> {
    /// Starts before the first field.
    pub(super) fn new(
        rtype: Rtype,
        fields: &'r [Field<'r>],
        origin: Option<NameRef<'r>>,
        wire: &'r mut Vec<u8>,
    ) -> Self {
        let start = wire.len();
        Self { rtype, fields, taken: 0, origin, wire, start }
    }

    /// Takes the next field; errors if there is none, naming it `name`.
    pub(super) fn field(&mut self, name: &str) -> Result<Field<'r>, RdataError> {
        let field = *self.fields.get(self.taken).ok_or_else(|| self.missing(name))?;
        self.taken += 1;
        Ok(field)
    }

    /// Takes the next field, which must not stand in quotes.
    pub(super) fn word(&mut self, name: &str) -> Result<&'r [u8], RdataError> {
        let field = self.field(name)?;
        if field.quoted {
            let message = format!("{name} {} stands in quotes", quote(field.text));
            return Err(self.error(message).help("remove the quotes"));
        }
        Ok(field.text)
    }

    /// Takes the next field if it stands in quotes right behind the last: the value of `alpn="h2,h3"`.
    pub(super) fn take_adjacent_quoted(&mut self) -> Option<&'r [u8]> {
        let last = self.fields.get(self.taken.checked_sub(1)?)?;
        let next = self.fields.get(self.taken)?;
        let end = u64::from(last.column) + last.text.len() as u64;
        if !next.quoted || next.line != last.line || u64::from(next.column) != end {
            return None;
        }
        self.taken += 1;
        Some(next.text)
    }

    /// Whether there are fields left.
    pub(super) fn has_more(&self) -> bool {
        self.taken < self.fields.len()
    }

    /// How many fields have been taken; the next one's index.
    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    /// The RDATA so far.
    pub(super) fn written(&self) -> &[u8] {
        &self.wire[self.start..]
    }

    /// Appends octets.
    pub(super) fn push(&mut self, octets: &[u8]) {
        self.wire.extend_from_slice(octets);
    }

    /// Appends a length octet and what it counts; errors if that is more than 255 octets.
    pub(super) fn push_counted(&mut self, name: &str, octets: &[u8]) -> Result<(), RdataError> {
        let length = u8::try_from(octets.len()).map_err(|_| {
            self.error(format!("{name} is {} octets long; at most 255 fit", octets.len())).help("shorten it")
        })?;
        self.push(&[length]);
        self.push(octets);
        Ok(())
    }

    /// An error about the field taken last.
    pub(super) fn error(&self, message: impl Into<String>) -> RdataError {
        RdataError::new(self.taken.saturating_sub(1), message)
    }

    /// An error about a field that should come next and does not.
    pub(super) fn missing(&self, name: &str) -> RdataError {
        RdataError::new(self.fields.len(), format!("`{}` lacks its {name}", self.rtype))
            .help(format!("write `{}`", outline(self.rtype)))
    }

    /// Errors if fields are left over.
    pub(super) fn finish(&self) -> Result<(), RdataError> {
        match self.fields.get(self.taken) {
            None => Ok(()),
            Some(field) => {
                Err(RdataError::new(self.taken, format!("`{}` has no place for {}", self.rtype, quote(field.text)))
                    .help(format!("write `{}`", outline(self.rtype))))
            }
        }
    }

    /// Takes a number of at most `max`.
    pub(super) fn number<T: TryFrom<u64>>(&mut self, name: &str, max: T) -> Result<T, RdataError>
    where
        u64: From<T>,
    {
        let word = self.word(name)?;
        parse_number(word).and_then(|value| T::try_from(value).ok()).ok_or_else(|| {
            let refusal = self.not(name, word, format!("a number from 0 to {}", u64::from(max)));
            refusal.help(format!("write `{}`", outline(self.rtype)))
        })
    }

    /// Takes a domain name and completes it.
    pub(super) fn name(&mut self, name: &str) -> Result<Name, RdataError> {
        let word = self.word(name)?;
        let parsed = match self.origin {
            Some(origin) => Name::parse(word, Some(origin)),
            None => Name::parse_absolute(word),
        };
        parsed.map_err(|error| {
            let help = match error {
                NameError::LabelTooLong | NameError::NameTooLong => "shorten it; labels end at dots",
                NameError::EmptyLabel => "put one dot between labels, and none before the first",
                NameError::BadEscape => {
                    "write `\\.` for a dot in a label and `\\DDD` with three decimal digits up to 255"
                }
                NameError::Empty => "write `.` for the root, `@` for the origin",
                NameError::NoOrigin | NameError::Malformed => "write it in full, with a dot at the end",
            };
            self.not(name, word, format!("a domain name: {error}")).help(help)
        })
    }

    /// Takes a record type.
    pub(super) fn rtype(&mut self, name: &str) -> Result<Rtype, RdataError> {
        let word = self.word(name)?;
        Rtype::parse(word).ok_or_else(|| {
            self.not(name, word, "a record type").help("write a mnemonic as in `AAAA`, or `TYPE` and the number")
        })
    }

    /// Takes an IPv4 address.
    pub(super) fn ipv4(&mut self, name: &str) -> Result<Ipv4Addr, RdataError> {
        let word = self.word(name)?;
        parse_ascii(word).ok_or_else(|| {
            let refusal = self.not(name, word, "an IPv4 address");
            if parse_ascii::<Ipv6Addr>(word).is_some() {
                return refusal.help("an IPv6 address goes into an AAAA record");
            }
            refusal.help("write four numbers from 0 to 255 with dots between, as in `192.0.2.1`")
        })
    }

    /// Takes an IPv6 address.
    pub(super) fn ipv6(&mut self, name: &str) -> Result<Ipv6Addr, RdataError> {
        let word = self.word(name)?;
        parse_ascii(word).ok_or_else(|| {
            let refusal = self.not(name, word, "an IPv6 address");
            if parse_ascii::<Ipv4Addr>(word).is_some() {
                return refusal.help("an IPv4 address goes into an A record");
            }
            refusal.help("write hexadecimal groups with colons between, as in `2001:db8::1`")
        })
    }

    /// Takes all fields left and joins them: hexadecimal and base64 may be split anywhere.
    pub(super) fn joined(&mut self, name: &str) -> Result<Vec<u8>, RdataError> {
        let mut joined = Vec::new();
        while self.has_more() {
            joined.extend_from_slice(self.word(name)?);
        }
        Ok(joined)
    }

    /// Decodes hexadecimal digits of either letter case.
    pub(super) fn decode_hex(&self, name: &str, digits: &[u8]) -> Result<Vec<u8>, RdataError> {
        HEXUPPER_PERMISSIVE.decode(digits).map_err(|_| {
            self.not(name, digits, "in hexadecimal")
                .help("write an even number of digits from `0` to `9` and `a` to `f`")
        })
    }

    /// Decodes base64.
    pub(super) fn decode_base64(&self, name: &str, digits: &[u8]) -> Result<Vec<u8>, RdataError> {
        BASE64.decode(digits).map_err(|_| {
            self.not(name, digits, "in base64").help("look for a missing end: the digits, `=` included, come in fours")
        })
    }

    /// The error that `word` is not `expected`.
    pub(super) fn not(&self, name: &str, word: &[u8], expected: impl std::fmt::Display) -> RdataError {
        self.error(format!("{name} {} is not {expected}", quote(word)))
    }
}

/// Decodes the escapes of a character-string; `None` if one is malformed.
pub(super) fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&octet, after)) = rest.split_first() {
        let (value, after) = if octet == b'\\' { unescape_one(after)? } else { (octet, after) };
        octets.push(value);
        rest = after;
    }
    Some(octets)
}

/// The error that a text has a malformed escape.
pub(super) fn bad_escape(name: &str, text: &[u8], reader: &Reader<'_>) -> RdataError {
    reader
        .error(format!("{name} {} has a malformed escape", quote(text)))
        .help("write `\\\\` for a backslash and `\\DDD` with three decimal digits up to 255 for any octet")
}

/// Reads a number made of decimal digits alone.
pub(super) fn parse_number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    parse_ascii(text)
}

/// Parses octets through their type's own reading of text.
pub(super) fn parse_ascii<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Puts a text in backquotes for a message, shortened if it is long.
pub(super) fn quote(text: &[u8]) -> String {
    const CHARS_MAX: usize = 60;
    let text = String::from_utf8_lossy(text);
    let mut shown: String = text
        .chars()
        .take(CHARS_MAX)
        .flat_map(|c| match c.is_control() {
            true => c.escape_default().collect::<Vec<_>>(),
            false => vec![c],
        })
        .collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        shown.push_str("...");
    }
    format!("`{shown}`")
}
