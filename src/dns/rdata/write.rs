//! Wire form to presentation form: a writer that walks octets, and what each kind of field does with it.

use std::fmt::{Display, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};

use data_encoding::{BASE32_DNSSEC, BASE64, HEXUPPER};

use super::layout::Kind;
use super::read::CERT_TYPES;
use super::{NameRef, Rtype, apl, bitmap, gateway, loc, svcb, time};

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

impl Kind {
    /// Writes one field of this kind; `None` if the octets are malformed.
    pub(super) fn write(self, writer: &mut Writer<'_>) -> Option<()> {
        match self {
            Self::U8 | Self::Code(_) => writer.u8().map(|value| writer.word(value)),
            Self::Named(codes) => writer.u8().map(|code| match codes.iter().find(|(_, known)| *known == code) {
                Some((mnemonic, _)) => writer.word(mnemonic),
                None => writer.word(code),
            }),
            Self::U16 => writer.u16().map(|value| writer.word(value)),
            Self::U32 | Self::Seconds => writer.u32().map(|value| writer.word(value)),
            Self::U64 => writer.array().map(|octets| writer.word(u64::from_be_bytes(octets))),
            Self::CertType => writer.u16().map(|code| write_cert_type(code, writer)),
            Self::Type => writer.u16().map(|number| writer.word(Rtype(number))),
            Self::Time => writer.u32().map(|seconds| writer.word(time::write_time(seconds))),
            Self::Ipv4 => writer.array::<4>().map(|octets| writer.word(Ipv4Addr::from(octets))),
            Self::Ipv6 => writer.array::<16>().map(|octets| writer.word(Ipv6Addr::from(octets))),
            Self::CompressibleName | Self::Name => writer.name().map(|name| writer.word(name)),
            Self::Names => write_until_end(writer, |writer| Self::Name.write(writer)),
            Self::Text => writer.counted().map(|octets| writer.word(quoted(octets))),
            Self::OptionalText => match writer.is_at_end() {
                true => Some(()),
                false => Self::Text.write(writer),
            },
            Self::Texts => {
                Self::Text.write(writer)?;
                write_until_end(writer, |writer| Self::Text.write(writer))
            }
            Self::LongText => {
                let octets = writer.take_rest();
                writer.word(quoted(octets));
                Some(())
            }
            Self::Uri => match writer.is_at_end() {
                true => None,
                false => Self::LongText.write(writer),
            },
            Self::Tag => write_tag(writer),
            Self::Salt => writer.counted().map(|octets| match octets {
                [] => writer.word("-"),
                octets => writer.word(HEXUPPER.encode(octets)),
            }),
            Self::Hash => {
                let octets = writer.counted().filter(|octets| !octets.is_empty())?;
                writer.word(BASE32_DNSSEC.encode(octets));
                Some(())
            }
            Self::Hex => write_rest(writer, |octets| HEXUPPER.encode(octets)),
            Self::Digest(lengths) => {
                let at = writer.rdata.len() - writer.rest.len();
                let code = writer.rdata[at.checked_sub(1)?];
                lengths.check(code, writer.rest.len()).ok()?;
                write_rest(writer, |octets| HEXUPPER.encode(octets))
            }
            Self::Base64 => write_rest(writer, |octets| BASE64.encode(octets)),
            Self::OptionalBase64 => match writer.is_at_end() {
                true => Some(()),
                false => Self::Base64.write(writer),
            },
            Self::IpsecKey => match writer.rdata().get(2)? {
                0 => Self::OptionalBase64.write(writer),
                _ => Self::Base64.write(writer),
            },
            Self::Types => match writer.is_at_end() {
                true => None,
                false => bitmap::write(writer),
            },
            Self::OptionalTypes => bitmap::write(writer),
            Self::Location => loc::write(writer),
            Self::Prefixes => write_until_end(writer, apl::write),
            Self::Gateway => gateway::write(writer),
            Self::Relay => gateway::write_relay(writer),
            Self::HostIdentity => gateway::write_host_identity(writer),
            Self::Parameters => svcb::write(writer),
            Self::Groups => write_groups(writer),
            Self::Eui(length) => write_eui(length, writer),
            Self::Nsap => write_rest(writer, |octets| format!("0x{}", HEXUPPER.encode(octets))),
        }
    }
}

/// Runs `write` until no octet is left.
fn write_until_end<'w>(writer: &mut Writer<'w>, write: impl Fn(&mut Writer<'w>) -> Option<()>) -> Option<()> {
    while !writer.is_at_end() {
        write(writer)?;
    }
    Some(())
}

/// Writes all octets left, of which there must be one at least.
fn write_rest(writer: &mut Writer<'_>, encode: impl Fn(&[u8]) -> String) -> Option<()> {
    let octets = writer.take_rest();
    if octets.is_empty() {
        return None;
    }
    writer.word(encode(octets));
    Some(())
}

fn write_cert_type(code: u16, writer: &mut Writer<'_>) {
    match CERT_TYPES.iter().find(|(_, known)| *known == code) {
        Some((mnemonic, _)) => writer.word(mnemonic),
        None => writer.word(code),
    }
}

fn write_tag(writer: &mut Writer<'_>) -> Option<()> {
    let tag = writer.counted()?;
    if tag.is_empty() || !tag.iter().all(u8::is_ascii_alphanumeric) {
        return None;
    }
    writer.word(tag.escape_ascii());
    Some(())
}

fn write_groups(writer: &mut Writer<'_>) -> Option<()> {
    let [a, b, c, d] = [writer.u16()?, writer.u16()?, writer.u16()?, writer.u16()?];
    writer.word(format_args!("{a:04x}:{b:04x}:{c:04x}:{d:04x}"));
    Some(())
}

fn write_eui(length: usize, writer: &mut Writer<'_>) -> Option<()> {
    let pairs: Vec<String> = writer.take(length)?.iter().map(|octet| format!("{octet:02x}")).collect();
    writer.word(pairs.join("-"));
    Some(())
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
