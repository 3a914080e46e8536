//! Fields whose shape another field tells: gateways of IPSECKEY, relays of AMTRELAY, identities of HIP.

use std::net::{Ipv4Addr, Ipv6Addr};

use data_encoding::{BASE64, HEXUPPER};

use super::RdataError;
use super::reader::Reader;
use super::writer::Writer;

/// Reads a gateway; its kind is the second octet of the RDATA (RFC 4025 section 2.1).
pub(super) fn read(name: &str, reader: &mut Reader<'_>) -> Result<(), RdataError> {
    let kind = reader.written()[1];
    read_kind(name, kind, 1, reader)
}

/// Writes a gateway.
pub(super) fn write(writer: &mut Writer<'_>) -> Option<()> {
    let kind = *writer.rdata().get(1)?;
    write_kind(kind, writer)
}

/// Reads a discovery flag, a relay's kind, and the relay (RFC 8777 section 4.3).
pub(super) fn read_relay(name: &str, reader: &mut Reader<'_>) -> Result<(), RdataError> {
    let word = reader.word("discovery flag")?;
    let discovery: u8 = match word {
        b"0" => 0,
        b"1" => 0x80,
        _ => {
            let help = "write 1 if a gateway may skip the discovery, else 0 (RFC 8777 section 4.2.2)";
            return Err(reader.not("discovery flag", word, "0 or 1").help(help));
        }
    };
    let kind: u8 = reader.number("relay type", 127)?;
    reader.push(&[discovery | kind]);
    read_kind(name, kind, reader.taken() - 1, reader)
}

/// Writes a discovery flag, a relay's kind, and the relay.
pub(super) fn write_relay(writer: &mut Writer<'_>) -> Option<()> {
    let octet = writer.u8()?;
    let kind = octet & 0x7f;
    writer.word(octet >> 7);
    writer.word(kind);
    write_kind(kind, writer)
}

// kind  wire            text
// 0     nothing         .
// 1     4 octets        IPv4 address
// 2     16 octets       IPv6 address
// 3     a domain name   domain name

/// Reads what follows from `kind`, which stands in the field `kind_field`.
fn read_kind(name: &str, kind: u8, kind_field: usize, reader: &mut Reader<'_>) -> Result<(), RdataError> {
    match kind {
        0 => match reader.word(name)? {
            b"." => Ok(()),
            word => Err(reader.not(name, word, "`.`").help("kind 0 means that there is none, which is written `.`")),
        },
        1 => reader.ipv4(name).map(|address| reader.push(&address.octets())),
        2 => reader.ipv6(name).map(|address| reader.push(&address.octets())),
        3 => reader.name(name).map(|domain| reader.push(domain.wire())),
        _ => Err(RdataError::new(kind_field, format!("{name} of kind `{kind}` has no text")).help(
            "write kind 0 for none, 1 for an IPv4 address, 2 for an IPv6 address, 3 for a name; others only as \
             `\\# length hex`",
        )),
    }
}

/// Writes what follows from `kind`.
fn write_kind(kind: u8, writer: &mut Writer<'_>) -> Option<()> {
    match kind {
        0 => writer.word("."),
        1 => writer.array::<4>().map(|octets| writer.word(Ipv4Addr::from(octets)))?,
        2 => writer.array::<16>().map(|octets| writer.word(Ipv6Addr::from(octets)))?,
        3 => writer.name().map(|name| writer.word(name))?,
        _ => writer.give_up(),
    }
    Some(())
}

/// Reads a host identity: algorithm, tag in hexadecimal, key in base64 as one field (RFC 8005 section 6).
pub(super) fn read_host_identity(reader: &mut Reader<'_>) -> Result<(), RdataError> {
    let algorithm = reader.number("algorithm", u8::MAX)?;
    let word = reader.word("tag")?;
    let tag = reader.decode_hex("tag", word)?;
    let tag_length = u8::try_from(tag.len()).ok().filter(|length| *length > 0);
    let tag_length =
        tag_length.ok_or_else(|| reader.not("tag", word, "1 to 255 octets long").help("look for missing digits"))?;
    let word = reader.word("key")?;
    let key = reader.decode_base64("key", word)?;
    let key_length = u16::try_from(key.len()).ok().filter(|length| *length > 0);
    let key_length =
        key_length.ok_or_else(|| reader.not("key", word, "1 to 65535 octets long").help("look for missing digits"))?;
    reader.push(&[tag_length, algorithm]);
    reader.push(&key_length.to_be_bytes());
    reader.push(&tag);
    reader.push(&key);
    Ok(())
}

/// Writes a host identity.
pub(super) fn write_host_identity(writer: &mut Writer<'_>) -> Option<()> {
    let [tag_length, algorithm] = writer.array()?;
    let key_length = writer.u16()?;
    let tag = writer.take(tag_length.into())?;
    let key = writer.take(key_length.into())?;
    if tag.is_empty() || key.is_empty() {
        return None;
    }
    writer.word(algorithm);
    writer.word(HEXUPPER.encode(tag));
    writer.word(BASE64.encode(key));
    Some(())
}
