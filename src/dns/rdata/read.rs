//! What each kind of field does on the way from presentation to wire form.

use data_encoding::{BASE32_DNSSEC, HEXUPPER_PERMISSIVE};

use super::layout::{CERT_TYPES, Codes, DigestLengths, Kind};
use super::reader::{Reader, bad_escape, parse_number, quote, unescape};
use super::{RdataError, apl, bitmap, gateway, loc, svcb, time};

/// The longest character-string, in octets (RFC 1035 section 3.3).
const TEXT_OCTETS_MAX: usize = 255;

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

/// Reads a code of 8 bits by mnemonic or number.
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

/// Reads a certificate type by mnemonic or number.
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

/// Reads a record type.
fn read_type(name: &str, reader: &mut Reader<'_>) -> Result<(), RdataError> {
    let rtype = reader.rtype(name)?;
    reader.push(&rtype.0.to_be_bytes());
    Ok(())
}

/// Reads a span of seconds.
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

/// Reads a moment.
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

/// Reads a character-string; `help` is what to do with one that is too long.
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

/// Reads octets that have no length octet.
fn read_long_text(name: &str, reader: &mut Reader<'_>) -> Result<(), RdataError> {
    let text = reader.field(name)?.text;
    let octets = unescape(text).ok_or_else(|| bad_escape(name, text, reader))?;
    reader.push(&octets);
    Ok(())
}

/// Reads octets that are not empty.
fn read_uri(name: &str, reader: &mut Reader<'_>) -> Result<(), RdataError> {
    let before = reader.written().len();
    read_long_text(name, reader)?;
    if reader.written().len() == before {
        return Err(reader.error(format!("{name} is empty")).help("write a URI in quotes (RFC 7553 section 4.4)"));
    }
    Ok(())
}

/// Reads a tag of CAA.
fn read_tag(name: &str, reader: &mut Reader<'_>) -> Result<(), RdataError> {
    let word = reader.word(name)?;
    if word.is_empty() || !word.iter().all(u8::is_ascii_alphanumeric) {
        return Err(reader.not(name, word, "made of letters and digits").help("write `issue`, `issuewild` or `iodef`"));
    }
    reader.push_counted(name, word)
}

/// Reads a salt, `-` for none.
fn read_salt(name: &str, reader: &mut Reader<'_>) -> Result<(), RdataError> {
    let word = reader.word(name)?;
    if word == b"-" {
        reader.push(&[0]);
        return Ok(());
    }
    let octets = reader.decode_hex(name, word)?;
    reader.push_counted(name, &octets)
}

/// Reads a hash in base32hex.
fn read_hash(name: &str, reader: &mut Reader<'_>) -> Result<(), RdataError> {
    let word = reader.word(name)?;
    let octets = BASE32_DNSSEC.decode(word).ok().filter(|octets| !octets.is_empty());
    let octets = octets.ok_or_else(|| {
        reader.not(name, word, "in base32hex").help("write digits from `0` to `9` and `a` to `v`, without `=`")
    })?;
    reader.push_counted(name, &octets)
}

/// Reads the rest in hexadecimal.
fn read_hex(name: &str, reader: &mut Reader<'_>) -> Result<(), RdataError> {
    if !reader.has_more() {
        return Err(reader.missing(name));
    }
    let digits = reader.joined(name)?;
    reader.decode_hex(name, &digits).map(|octets| reader.push(&octets))
}

/// Reads the rest in hexadecimal, and checks its length against the code before it.
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

/// Reads four groups of hexadecimal digits.
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

/// Reads `length` pairs of hexadecimal digits.
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

/// Reads an OSI address.
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
