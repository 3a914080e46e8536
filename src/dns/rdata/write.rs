//! What each kind of field does on the way from wire to presentation form.

use std::net::{Ipv4Addr, Ipv6Addr};

use data_encoding::{BASE32_DNSSEC, BASE64, HEXUPPER};

use super::layout::{CERT_TYPES, Kind};
use super::writer::{Writer, quoted};
use super::{Rtype, apl, bitmap, gateway, loc, svcb, time};

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
            Self::Hex => write_rest(writer, |octets| Some(HEXUPPER.encode(octets))),
            Self::Digest(lengths) => {
                let code = writer.last()?;
                write_rest(writer, |octets| lengths.check(code, octets.len()).is_ok().then(|| HEXUPPER.encode(octets)))
            }
            Self::Base64 => write_rest(writer, |octets| Some(BASE64.encode(octets))),
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
            Self::Nsap => write_rest(writer, |octets| Some(format!("0x{}", HEXUPPER.encode(octets)))),
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
fn write_rest(writer: &mut Writer<'_>, encode: impl Fn(&[u8]) -> Option<String>) -> Option<()> {
    let octets = writer.take_rest();
    if octets.is_empty() {
        return None;
    }
    writer.word(encode(octets)?);
    Some(())
}

/// Writes a certificate type by mnemonic if it has one.
fn write_cert_type(code: u16, writer: &mut Writer<'_>) {
    match CERT_TYPES.iter().find(|(_, known)| *known == code) {
        Some((mnemonic, _)) => writer.word(mnemonic),
        None => writer.word(code),
    }
}

/// Writes a tag of CAA.
fn write_tag(writer: &mut Writer<'_>) -> Option<()> {
    let tag = writer.counted()?;
    if tag.is_empty() || !tag.iter().all(u8::is_ascii_alphanumeric) {
        return None;
    }
    writer.word(tag.escape_ascii());
    Some(())
}

/// Writes four groups of hexadecimal digits.
fn write_groups(writer: &mut Writer<'_>) -> Option<()> {
    let [a, b, c, d] = [writer.u16()?, writer.u16()?, writer.u16()?, writer.u16()?];
    writer.word(format_args!("{a:04x}:{b:04x}:{c:04x}:{d:04x}"));
    Some(())
}

/// Writes `length` pairs of hexadecimal digits.
fn write_eui(length: usize, writer: &mut Writer<'_>) -> Option<()> {
    let pairs: Vec<String> = writer.take(length)?.iter().map(|octet| format!("{octet:02x}")).collect();
    writer.word(pairs.join("-"));
    Some(())
}
