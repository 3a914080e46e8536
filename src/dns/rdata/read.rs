//! Presentation form to wire form: a reader that walks fields, and what each kind of field does with it.

use std::net::{Ipv4Addr, Ipv6Addr};

use data_encoding::{BASE32_DNSSEC, BASE64, HEXUPPER_PERMISSIVE};

use super::layout::{Codes, DigestLengths, Kind, outline};
use super::{Field, NameRef, RdataError, Rtype, apl, bitmap, gateway, loc, svcb, time};
use crate::dns::Name;
use crate::dns::name::{NameError, unescape_one};

/// The longest character-string, in octets (RFC 1035 section 3.3).
const TEXT_OCTETS_MAX: usize = 255;

/// Walks the fields of one RDATA and appends its wire form.
pub(super) struct Reader<'r> {
    rtype: Rtype,
    fields: &'r [Field<'r>],
    /// How many fields have been taken.
    taken: usize,
    origin: NameRef<'r>,
    wire: &'r mut Vec<u8>,
    /// Where in `wire` the RDATA begins.
    start: usize,
}

impl<'r> Reader<'r> {
    /// Starts before the first field.
    pub(super) fn new(rtype: Rtype, fields: &'r [Field<'r>], origin: NameRef<'r>, wire: &'r mut Vec<u8>) -> Self {
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
        let length = u8::try_from(octets.len())
            .map_err(|_| self.error(format!("{name} is {} octets long; at most 255 fit", octets.len())))?;
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
        Name::parse(word, Some(self.origin)).map_err(|error| {
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

impl Kind {
    /// Reads one field of this kind, called `name` in messages.
    pub(super) fn read(self, name: &str, reader: &mut Reader<'_>) -> Result<(), RdataError> {
        match self {
            Self::U8 => reader.number(name, u8::MAX).map(|value| reader.push(&[value])),
            Self::U16 => reader.number(name, u16::MAX).map(|value| reader.push(&value.to_be_bytes())),
            Self::U32 => reader.number(name, u32::MAX).map(|value| reader.push(&value.to_be_bytes())),
            Self::U64 => reader.number(name, u64::MAX).map(|value| reader.push(&value.to_be_bytes())),
            Self::Code(codes) | Self::Named(codes) => read_code(name, codes, reader),
            Self::CertType => read_cert_type(name, reader),
            Self::Type => read_type(name, reader),
            Self::Seconds => read_seconds(name, reader),
            Self::Time => read_time(name, reader),
            Self::Ipv4 => reader.ipv4(name).map(|address| reader.push(&address.octets())),
            Self::Ipv6 => reader.ipv6(name).map(|address| reader.push(&address.octets())),
            Self::CompressibleName | Self::Name => reader.name(name).map(|domain| reader.push(domain.wire())),
            Self::Names => read_while_more(reader, |reader| Self::Name.read(name, reader)),
            Self::Text => read_text(name, "shorten it", reader),
            Self::OptionalText => read_while_more(reader, |reader| {
                read_text(name, "shorten it", reader)?;
                reader.finish()
            }),
            Self::Texts => {
                let help = "split it into several texts of at most 255 octets; who reads them joins them";
                read_text(name, help, reader)?;
                read_while_more(reader, |reader| read_text(name, help, reader))
            }
            Self::LongText => read_long_text(name, reader),
            Self::Uri => read_uri(name, reader),
            Self::Tag => read_tag(name, reader),
            Self::Salt => read_salt(name, reader),
            Self::Hash => read_hash(name, reader),
            Self::Hex => read_hex(name, reader),
            Self::Digest(lengths) => read_digest(name, lengths, reader),
            Self::Base64 => {
                if !reader.has_more() {
                    return Err(reader.missing(name));
                }
                Self::OptionalBase64.read(name, reader)
            }
            Self::OptionalBase64 => {
                let digits = reader.joined(name)?;
                reader.decode_base64(name, &digits).map(|octets| reader.push(&octets))
            }
            Self::IpsecKey => match reader.written()[2] {
                0 => Self::OptionalBase64.read(name, reader),
                _ => Self::Base64.read(name, reader),
            },
            Self::Types => {
                if !reader.has_more() {
                    return Err(reader.missing(name));
                }
                bitmap::read(name, reader)
            }
            Self::OptionalTypes => bitmap::read(name, reader),
            Self::Location => loc::read(reader),
            Self::Prefixes => read_while_more(reader, |reader| apl::read(name, reader)),
            Self::Gateway => gateway::read(name, reader),
            Self::Relay => gateway::read_relay(name, reader),
            Self::HostIdentity => gateway::read_host_identity(reader),
            Self::Parameters => svcb::read(name, reader),
            Self::Groups => read_groups(name, reader),
            Self::Eui(length) => read_eui(name, length, reader),
            Self::Nsap => read_nsap(name, reader),
        }
    }
}

/// Runs `read` until no field is left.
fn read_while_more(
    reader: &mut Reader<'_>,
    read: impl Fn(&mut Reader<'_>) -> Result<(), RdataError>,
) -> Result<(), RdataError> {
    while reader.has_more() {
        read(reader)?;
    }
    Ok(())
}

fn read_code(name: &str, codes: &Codes, reader: &mut Reader<'_>) -> Result<(), RdataError> {
    let word = reader.word(name)?;
    let named = codes.iter().find(|(mnemonic, _)| word.eq_ignore_ascii_case(mnemonic.as_bytes()));
    let code = match named {
        Some((_, code)) => Some(*code),
        None => parse_number(word).and_then(|value| u8::try_from(value).ok()),
    };
    let code = code.ok_or_else(|| {
        let known: Vec<String> = codes.iter().map(|(mnemonic, code)| format!("{code} {mnemonic}")).collect();
        let refusal = reader.not(name, word, "a known mnemonic or a number from 0 to 255");
        refusal.help(format!("the known ones are {}", known.join(", ")))
    })?;
    reader.push(&[code]);
    Ok(())
}

/// Certificate types (RFC 4398 section 2.1).
pub(super) const CERT_TYPES: [(&str, u16); 10] = [
    ("PKIX", 1),
    ("SPKI", 2),
    ("PGP", 3),
    ("IPKIX", 4),
    ("ISPKI", 5),
    ("IPGP", 6),
    ("ACPKIX", 7),
    ("IACPKIX", 8),
    ("URI", 253),
    ("OID", 254),
];

fn read_cert_type(name: &str, reader: &mut Reader<'_>) -> Result<(), RdataError> {
    let word = reader.word(name)?;
    let named = CERT_TYPES.iter().find(|(mnemonic, _)| word.eq_ignore_ascii_case(mnemonic.as_bytes()));
    let code = match named {
        Some((_, code)) => Some(*code),
        None => parse_number(word).and_then(|value| u16::try_from(value).ok()),
    };
    let code = code.ok_or_else(|| {
        reader.not(name, word, "a known mnemonic or a number from 0 to 65535").help("write `PKIX`, `PGP` or the number")
    })?;
    reader.push(&code.to_be_bytes());
    Ok(())
}

fn read_type(name: &str, reader: &mut Reader<'_>) -> Result<(), RdataError> {
    let rtype = reader.rtype(name)?;
    reader.push(&rtype.0.to_be_bytes());
    Ok(())
}

fn read_seconds(name: &str, reader: &mut Reader<'_>) -> Result<(), RdataError> {
    let word = reader.word(name)?;
    let seconds = time::parse_seconds(word).ok_or_else(|| {
        reader
            .not(name, word, format!("a number of seconds from 0 to {}", u32::MAX))
            .help("write seconds as in `3600`, or units as in `1h30m`")
    })?;
    reader.push(&seconds.to_be_bytes());
    Ok(())
}

fn read_time(name: &str, reader: &mut Reader<'_>) -> Result<(), RdataError> {
    let word = reader.word(name)?;
    let seconds = time::parse_time(word).ok_or_else(|| {
        reader
            .not(name, word, "a time between 1970 and 2106")
            .help("write `YYYYMMDDHHmmSS` in UTC, or seconds since the start of 1970")
    })?;
    reader.push(&seconds.to_be_bytes());
    Ok(())
}

fn read_text(name: &str, help: &str, reader: &mut Reader<'_>) -> Result<(), RdataError> {
    let text = reader.field(name)?.text;
    let octets = unescape(text).ok_or_else(|| bad_escape(name, text, reader))?;
    if octets.len() > TEXT_OCTETS_MAX {
        let message =
            format!("{name} {} is {} octets long; a character-string holds at most 255", quote(text), octets.len());
        return Err(reader.error(message).help(help));
    }
    reader.push_counted(name, &octets)
}

fn read_long_text(name: &str, reader: &mut Reader<'_>) -> Result<(), RdataError> {
    let text = reader.field(name)?.text;
    let octets = unescape(text).ok_or_else(|| bad_escape(name, text, reader))?;
    reader.push(&octets);
    Ok(())
}

fn read_uri(name: &str, reader: &mut Reader<'_>) -> Result<(), RdataError> {
    let before = reader.written().len();
    read_long_text(name, reader)?;
    if reader.written().len() == before {
        return Err(reader.error(format!("{name} is empty")).help("write a URI in quotes (RFC 7553 section 4.4)"));
    }
    Ok(())
}

fn read_tag(name: &str, reader: &mut Reader<'_>) -> Result<(), RdataError> {
    let word = reader.word(name)?;
    if word.is_empty() || !word.iter().all(u8::is_ascii_alphanumeric) {
        return Err(reader.not(name, word, "made of letters and digits").help("write `issue`, `issuewild` or `iodef`"));
    }
    reader.push_counted(name, word)
}

fn read_salt(name: &str, reader: &mut Reader<'_>) -> Result<(), RdataError> {
    let word = reader.word(name)?;
    if word == b"-" {
        reader.push(&[0]);
        return Ok(());
    }
    let octets = reader.decode_hex(name, word)?;
    reader.push_counted(name, &octets)
}

fn read_hash(name: &str, reader: &mut Reader<'_>) -> Result<(), RdataError> {
    let word = reader.word(name)?;
    let octets = BASE32_DNSSEC.decode(word).ok().filter(|octets| !octets.is_empty());
    let octets = octets.ok_or_else(|| {
        reader.not(name, word, "in base32hex").help("write digits from `0` to `9` and `a` to `v`, without `=`")
    })?;
    reader.push_counted(name, &octets)
}

fn read_hex(name: &str, reader: &mut Reader<'_>) -> Result<(), RdataError> {
    if !reader.has_more() {
        return Err(reader.missing(name));
    }
    let digits = reader.joined(name)?;
    reader.decode_hex(name, &digits).map(|octets| reader.push(&octets))
}

fn read_digest(name: &str, lengths: &DigestLengths, reader: &mut Reader<'_>) -> Result<(), RdataError> {
    let code = *reader.written().last().expect("the table puts a code before every digest");
    let before = reader.written().len();
    read_hex(name, reader)?;
    let length = reader.written().len() - before;
    match lengths.check(code, length) {
        Ok(()) => Ok(()),
        Err(expected) => Err(reader
            .error(format!("{name} of kind {code} is {length} octets long, not {expected}"))
            .help("look for missing digits, or another kind")),
    }
}

impl DigestLengths {
    /// Checks the length of a digest of kind `code`; an error says what it should be.
    pub(super) fn check(&self, code: u8, length: usize) -> Result<(), String> {
        match self.known.iter().find(|(known, _)| *known == code) {
            Some((_, expected)) if *expected == length => Ok(()),
            Some((_, expected)) => Err(expected.to_string()),
            None if length >= self.least => Ok(()),
            None => Err(format!("{} or more", self.least)),
        }
    }
}

fn read_groups(name: &str, reader: &mut Reader<'_>) -> Result<(), RdataError> {
    let word = reader.word(name)?;
    let groups: Option<Vec<u16>> = word.split(|octet| *octet == b':').map(parse_group).collect();
    match groups.as_deref() {
        Some(groups @ [_, _, _, _]) => {
            for group in groups {
                reader.push(&group.to_be_bytes());
            }
            Ok(())
        }
        _ => Err(reader
            .not(name, word, "four groups of hexadecimal digits")
            .help("write it as in `0014:4fff:ff20:ee64`, without `::`")),
    }
}

/// Reads one to four hexadecimal digits.
fn parse_group(digits: &[u8]) -> Option<u16> {
    if digits.is_empty() || digits.len() > 4 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn read_eui(name: &str, length: usize, reader: &mut Reader<'_>) -> Result<(), RdataError> {
    let word = reader.word(name)?;
    let octets: Option<Vec<u8>> = word
        .split(|octet| *octet == b'-')
        .map(|pair| match HEXUPPER_PERMISSIVE.decode(pair).ok()?[..] {
            [octet] => Some(octet),
            _ => None,
        })
        .collect();
    match octets.filter(|octets| octets.len() == length) {
        Some(octets) => {
            reader.push(&octets);
            Ok(())
        }
        None => Err(reader
            .not(name, word, format!("{length} pairs of hexadecimal digits"))
            .help("write it with dashes between the pairs, as in `00-00-5e-00-53-2a`")),
    }
}

fn read_nsap(name: &str, reader: &mut Reader<'_>) -> Result<(), RdataError> {
    let word = reader.word(name)?;
    let digits: Option<Vec<u8>> = word
        .strip_prefix(b"0x")
        .or_else(|| word.strip_prefix(b"0X"))
        .map(|digits| digits.iter().copied().filter(|octet| *octet != b'.').collect());
    let octets = digits.and_then(|digits| HEXUPPER_PERMISSIVE.decode(&digits).ok()).filter(|octets| !octets.is_empty());
    match octets {
        Some(octets) => {
            reader.push(&octets);
            Ok(())
        }
        None => {
            let refusal = reader.not(name, word, "in hexadecimal after `0x`");
            Err(refusal.help("write it as in `0x47.0005.80`; dots may stand anywhere"))
        }
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
