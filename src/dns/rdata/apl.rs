//! Address prefixes of APL (RFC 3123).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::RdataError;
use super::reader::{Reader, parse_ascii, parse_number};
use super::writer::Writer;

/// IPv4; with IPv6 the only address family that has a text (RFC 3123 section 4).
const FAMILY_IPV4: u16 = 1;
/// IPv6.
const FAMILY_IPV6: u16 = 2;
/// The bit that excludes the prefix; the other seven are the length.
const NEGATION: u8 = 0x80;

/// Reads one item, `[!]family:address/prefix`.
pub(super) fn read(name: &str, reader: &mut Reader<'_>) -> Result<(), RdataError> {
    let word = reader.word(name)?;
    let item = parse_item(word).ok_or_else(|| {
        reader
            .not(name, word, "an address prefix")
            .help("write `1:192.0.2.0/24` for IPv4, `2:2001:db8::/32` for IPv6, and `!` before it to exclude it")
    })?;
    reader.push(&item);
    Ok(())
}

/// Encodes one item; `None` if it is not one.
fn parse_item(word: &[u8]) -> Option<Vec<u8>> {
    let (negation, item) = match word.strip_prefix(b"!") {
        Some(item) => (NEGATION, item),
        None => (0, word),
    };
    let colon = item.iter().position(|octet| *octet == b':')?;
    let slash = item.iter().rposition(|octet| *octet == b'/')?;
    let address = item.get(colon + 1..slash)?;
    let (family, octets, prefix_max) = match parse_number(&item[..colon])? {
        1 => (FAMILY_IPV4, parse_ascii::<Ipv4Addr>(address)?.octets().to_vec(), 32),
        2 => (FAMILY_IPV6, parse_ascii::<Ipv6Addr>(address)?.octets().to_vec(), 128),
        _ => return None,
    };
    let prefix = u8::try_from(parse_number(&item[slash + 1..])?).ok().filter(|prefix| *prefix <= prefix_max)?;
    // Trailing zero octets must not be sent (RFC 3123 section 4).
    let length = octets.iter().rposition(|octet| *octet != 0).map_or(0, |last| last + 1);
    let length_octet = negation | u8::try_from(length).expect("an address has at most 16 octets");
    Some([&family.to_be_bytes()[..], &[prefix, length_octet], &octets[..length]].concat())
}

/// Writes one item; a family without a text is well-formed, but only RFC 3597's form can say it.
pub(super) fn write(writer: &mut Writer<'_>) -> Option<()> {
    let family = writer.u16()?;
    let [prefix, length_octet] = writer.array()?;
    let octets = writer.take((length_octet & !NEGATION).into())?;
    if octets.last() == Some(&0) {
        return None;
    }
    let address = match family {
        FAMILY_IPV4 if prefix <= 32 => IpAddr::from(padded::<4>(octets)?),
        FAMILY_IPV6 if prefix <= 128 => IpAddr::from(padded::<16>(octets)?),
        FAMILY_IPV4 | FAMILY_IPV6 => return None,
        _ => {
            writer.has_no_text();
            return Some(());
        }
    };
    let mark = if length_octet & NEGATION != 0 { "!" } else { "" };
    writer.word(format_args!("{mark}{family}:{address}/{prefix}"));
    Some(())
}

/// Puts back the zero octets that were left out at the end; `None` if there are too many octets.
fn padded<const N: usize>(octets: &[u8]) -> Option<[u8; N]> {
    let mut address = [0; N];
    address.get_mut(..octets.len())?.copy_from_slice(octets);
    Some(address)
}
