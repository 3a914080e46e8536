//! Addresses out of names and names out of addresses, for zones whose records need not be written down.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mlua::BString;

use super::arguments::{Arguments, read_address};
use super::object::{NetworkGroup, text_of};
use super::{Api, CallError, Family};
use crate::dns::Name;
use crate::script::context::Context;

/// Builtins that make addresses and names.
pub(super) const FAMILY: Family = Family { install };

/// The longest format and template. A name has 255 octets at most, and the octets of a format can become many.
const FORMAT_OCTETS_MAX: usize = 1024;

fn install(api: &mut Api<'_>) -> mlua::Result<()> {
    api.function("createForward", |context, arguments| {
        let template = arguments.optional_text()?;
        let name = context.qname();
        let labels = labels_of_wildcard(context, &name);
        let address = match template {
            None => forward(&labels),
            Some(template) => match_template(bounded(&template.as_bytes())?, &labels.join(&b'.'))?,
        };
        Ok(address.unwrap_or(Ipv4Addr::UNSPECIFIED).to_string())
    })?;
    api.function("createForward6", |context, _| {
        let name = context.qname();
        let address = forward6(&labels_of_wildcard(context, &name));
        Ok(text_of(address.unwrap_or(Ipv6Addr::UNSPECIFIED).into()))
    })?;
    api.function("createReverse", |context, arguments| {
        let name = context.qname();
        let labels: Vec<&[u8]> = name.as_ref().labels().collect();
        reverse(arguments, &labels, |labels| {
            let address = reversed_octets(labels)?;
            Some((IpAddr::V4(address), words(labels, address)))
        })
    })?;
    api.function("createReverse6", |context, arguments| {
        let name = context.qname();
        let labels: Vec<&[u8]> = name.as_ref().labels().collect();
        reverse(arguments, &labels, |labels: &[&[u8]; 32]| {
            let address = reversed_nibbles(labels)?;
            Some((IpAddr::V6(address), words6(labels, address)))
        })
    })?;
    api.function("filterForward", |_, arguments| {
        let text = arguments.text()?;
        let address = read_address(&text.to_string_lossy())
            .ok_or_else(|| CallError::refused(format!("got `{}`, which is no address", text.to_string_lossy())))?;
        let is_in = arguments.object::<NetworkGroup>("a NetmaskGroup")?.holds(address.ip());
        let fallback = arguments.optional_text()?;
        let allowed = is_in.then(|| BString::from(&*text.as_bytes()));
        Ok(filter(allowed, fallback.map(|text| BString::from(&*text.as_bytes())), address.is_ipv4()))
    })
}

/// The labels that a wildcard stands for; none where no wildcard led to the record.
fn labels_of_wildcard<'n>(context: &Context, name: &'n Name) -> Vec<&'n [u8]> {
    let labels: Vec<&[u8]> = name.as_ref().labels().collect();
    let count = context.wildcard().and_then(|behind| labels.len().checked_sub(behind)).unwrap_or(0);
    labels[..count].to_vec()
}

/// Refuses a format that is too long.
fn bounded(format: &[u8]) -> Result<&[u8], CallError> {
    if format.len() <= FORMAT_OCTETS_MAX {
        return Ok(format);
    }
    Err(CallError::refused(format!("got a format of more than {FORMAT_OCTETS_MAX} octets")))
}

/// Reads the IPv4 address in the labels that a wildcard stands for.
///
/// `createForward` reads `1.2.3.4`, `1-2-3-4` with anything in front, and eight hexadecimal digits with anything in
/// front; what is none of these gives 0.0.0.0. With a template, such as `ip-%1%-%2%-%3%-%4%`, it reads that and
/// nothing else.
///
/// ```lua
/// *.static 60 IN LUA A "createForward()"
/// *.dynamic 60 IN LUA A "createForward('host-%6%')"
/// ```
fn forward(labels: &[&[u8]]) -> Option<Ipv4Addr> {
    if let Some(octets) = labels.first_chunk::<4>() {
        return four(octets.map(inet_octet));
    }
    let label = labels.first()?;
    let digits = &label[label.iter().position(u8::is_ascii_hexdigit)?..];
    let parts: Vec<&[u8]> = digits.split(|octet| *octet == b'-').filter(|part| !part.is_empty()).collect();
    if let Some(octets) = parts.last_chunk::<4>() {
        return four(octets.map(decimal_octet));
    }
    digits.last_chunk::<8>().and_then(hex).map(Ipv4Addr::from)
}

fn four(octets: [Option<u8>; 4]) -> Option<Ipv4Addr> {
    let [Some(a), Some(b), Some(c), Some(d)] = octets else { return None };
    Some(Ipv4Addr::new(a, b, c, d))
}

/// A number from 0 to 255 as C's `inet_aton` reads it: octal behind `0`, hexadecimal behind `0x`.
fn inet_octet(text: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(text).ok()?;
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    // A sign is none of its digits.
    digits.chars().all(|digit| digit.is_digit(radix)).then(|| u8::from_str_radix(digits, radix).ok())?
}

/// A decimal number from 0 to 255, with as many zeros in front as there may be.
fn decimal_octet(text: &[u8]) -> Option<u8> {
    text.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(text).ok()?.parse().ok())?
}

/// A hexadecimal number.
fn hex(digits: &[u8; 8]) -> Option<u32> {
    let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
    is_hex.then(|| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok())?
}

/// Reads an address by a template in which `%1%` to `%4%` stand for its octets, `%5%` for the four with dashes
/// between them and `%6%` for eight hexadecimal digits; letter case does not count.
///
/// `None` if the text does not have that form. Errors on a template that cannot give a whole address.
fn match_template(template: &[u8], text: &[u8]) -> Result<Option<Ipv4Addr>, CallError> {
    let malformed = || {
        CallError::refused(
            "got a template that is none; write `%1%` to `%4%`, `%5%` or `%6%` for an address, `%%` for a percent sign",
        )
    };
    let (mut octets, mut rest) = ([None; 4], Some(text));
    let mut given = [false; 4];
    for piece in pieces(template).ok_or_else(malformed)? {
        let taken = match piece {
            Piece::Text(literal) => rest.and_then(|rest| {
                let (head, rest) = rest.split_at_checked(literal.len())?;
                head.eq_ignore_ascii_case(literal).then_some(rest)
            }),
            Piece::Word(at @ 1..=4) => {
                given[at - 1] = true;
                take_octet(rest, &mut octets[at - 1])
            }
            Piece::Word(5) => {
                given = [true; 4];
                let mut taken = rest;
                for (at, octet) in octets.iter_mut().enumerate() {
                    let after = if at == 0 { taken } else { taken.and_then(|rest| rest.strip_prefix(b"-")) };
                    taken = take_octet(after, octet);
                }
                taken
            }
            Piece::Word(6) => {
                given = [true; 4];
                rest.and_then(|rest| rest.split_first_chunk::<8>()).and_then(|(digits, rest)| {
                    octets = hex(digits)?.to_be_bytes().map(Some);
                    Some(rest)
                })
            }
            Piece::Word(_) => return Err(malformed()),
        };
        rest = taken;
    }
    if given != [true; 4] {
        return Err(malformed());
    }
    Ok(rest.filter(|rest| rest.is_empty()).and_then(|_| four(octets)))
}

/// Takes the decimal digits that a text begins with.
fn take_octet<'t>(text: Option<&'t [u8]>, octet: &mut Option<u8>) -> Option<&'t [u8]> {
    let text = text?;
    let end = text.iter().position(|digit| !digit.is_ascii_digit()).unwrap_or(text.len());
    *octet = decimal_octet(&text[..end]);
    octet.is_some().then_some(&text[end..])
}

/// Reads the IPv6 address in the labels that a wildcard stands for.
///
/// `createForward6` reads eight labels, one label with dashes for colons, and the last 32 hexadecimal digits of one
/// label; what is none of these gives `::`.
///
/// ```lua
/// *.static6 60 IN LUA AAAA "createForward6()"
/// ```
fn forward6(labels: &[&[u8]]) -> Option<Ipv6Addr> {
    let text = match labels {
        [_, _, _, _, _, _, _, _] => labels.join(&b':'),
        [label] if label.contains(&b'-') => {
            label.to_ascii_lowercase().split(|octet| *octet == b'-').collect::<Vec<_>>().join(&b':')
        }
        [label] => {
            let digits = label.last_chunk::<32>()?;
            let (groups, _) = digits.as_chunks::<4>();
            groups.join(&b':')
        }
        _ => return None,
    };
    std::str::from_utf8(&text).ok()?.parse().ok()
}

/// The address that the first four labels spell from its last octet to its first.
fn reversed_octets(labels: &[&[u8]; 4]) -> Option<Ipv4Addr> {
    // C's `strtoul` takes a sign.
    let [d, c, b, a] = labels.map(|label| decimal_octet(label.strip_prefix(b"+").unwrap_or(label)));
    four([a, b, c, d])
}

/// What `createReverse` puts for `%1%` to `%6%`.
fn words(labels: &[&[u8]; 4], address: Ipv4Addr) -> Vec<Vec<u8>> {
    let octets = [3, 2, 1, 0].map(|at| labels[at]);
    let mut words: Vec<Vec<u8>> = octets.iter().map(|octet| octet.to_vec()).collect();
    words.push(octets.join(&b'-'));
    words.push(format!("{:08x}", address.to_bits()).into_bytes());
    words
}

/// The address that the first 32 labels spell from its last nibble to its first.
fn reversed_nibbles(labels: &[&[u8]; 32]) -> Option<Ipv6Addr> {
    let mut bits = 0u128;
    for label in labels.iter().rev() {
        let [digit] = label else { return None };
        bits = bits << 4 | u128::from(char::from(*digit).to_digit(16)?);
    }
    Some(bits.into())
}

/// What `createReverse6` puts for `%1%` to `%41%`.
fn words6(labels: &[&[u8]; 32], address: Ipv6Addr) -> Vec<Vec<u8>> {
    let nibbles: Vec<u8> = labels.iter().rev().filter_map(|label| label.first().copied()).collect();
    let mut dashed = text_of(address.into()).replace(':', "-");
    // An internationalized label begins like `aa--a`, and no label may begin or end with a dash.
    if dashed.ends_with('-') {
        dashed.push('0');
    }
    if dashed.starts_with('-') || dashed.get(2..4) == Some("--") {
        dashed.insert(0, '0');
    }
    let mut words: Vec<Vec<u8>> = nibbles.iter().map(|nibble| vec![*nibble]).collect();
    words.push(dashed.into_bytes());
    words.extend(nibbles.chunks(4).map(<[u8]>::to_vec));
    words
}

/// Names an address that is spelled from its end, as the names below `in-addr.arpa` and `ip6.arpa` do.
///
/// `createReverse` fills a format: `%1%` to `%4%` are the octets in reading order, `%5%` is all four with dashes
/// between them, `%6%` eight hexadecimal digits, `%%` a percent sign. `createReverse6` has the 32 nibbles, in `%33%`
/// the shortest form with dashes for colons, and in `%34%` to `%41%` the eight groups. A table of exceptions has names
/// for some addresses. A name with too few labels gives `unknown`, and what cannot be read `error`.
///
/// ```lua
/// *.2.0.192.in-addr.arpa 60 IN LUA PTR "createReverse('%5%.static.example.net', {['192.0.2.1']='gw.example.net'})"
/// *.8.b.d.0.1.0.0.2.ip6.arpa 60 IN LUA PTR "createReverse6('%33%.static6.example.net')"
/// ```
fn reverse<const N: usize>(
    arguments: &mut Arguments<'_>,
    labels: &[&[u8]],
    read: impl Fn(&[&[u8]; N]) -> Option<(IpAddr, Vec<Vec<u8>>)>,
) -> Result<BString, CallError> {
    let (format, exceptions) = (arguments.text()?, arguments.optional_texts()?.unwrap_or_default());
    let format = format.as_bytes();
    let format = bounded(&format)?;
    let Some(labels) = labels.first_chunk::<N>() else { return Ok("unknown".into()) };
    let Some((address, words)) = read(labels) else { return Ok("error".into()) };
    let mut exception = None;
    for (key, name) in &exceptions {
        match read_address(&key.to_string_lossy()) {
            None => return Ok("error".into()),
            Some(key) if key == SocketAddr::new(address, 0) => exception = Some(BString::from(&*name.as_bytes())),
            Some(_) => {}
        }
    }
    Ok(exception.or_else(|| fill(format, &words)).unwrap_or_else(|| "error".into()))
}

/// A piece of a format.
enum Piece<'f> {
    Text(&'f [u8]),
    /// `%1%` and so on.
    Word(usize),
}

/// Takes a format apart; `None` if a percent sign begins neither a number nor another percent sign.
fn pieces(format: &[u8]) -> Option<Vec<Piece<'_>>> {
    let (mut pieces, mut rest) = (Vec::new(), format);
    while let Some(at) = rest.iter().position(|octet| *octet == b'%') {
        pieces.push(Piece::Text(&rest[..at]));
        let directive = &rest[at + 1..];
        let end = directive.iter().position(|octet| *octet == b'%')?;
        let number = &directive[..end];
        pieces.push(match number {
            b"" => Piece::Text(b"%"),
            digits if digits.iter().all(u8::is_ascii_digit) => {
                Piece::Word(std::str::from_utf8(digits).ok()?.parse().ok().filter(|number| *number > 0)?)
            }
            _ => return None,
        });
        rest = &directive[end + 1..];
    }
    pieces.push(Piece::Text(rest));
    Some(pieces)
}

/// Puts words into a format; a number without a word gives nothing.
fn fill(format: &[u8], words: &[Vec<u8>]) -> Option<BString> {
    let mut filled = Vec::new();
    for piece in pieces(format)? {
        match piece {
            Piece::Text(text) => filled.extend_from_slice(text),
            Piece::Word(number) => filled.extend_from_slice(words.get(number - 1).map_or(&[], Vec::as_slice)),
        }
    }
    Some(filled.into())
}

/// Keeps an address that is in a group of networks, for names that anybody may ask for.
///
/// `filterForward` returns the address, or else `fallback`, which may be empty for no record at all; without one
/// 0.0.0.0 or `::`.
///
/// ```lua
/// *.static 60 IN LUA A "filterForward(createForward(), newNMG({'192.0.2.0/24'}), '')"
/// ```
fn filter(allowed: Option<BString>, fallback: Option<BString>, is_v4: bool) -> Vec<BString> {
    let nowhere = || if is_v4 { "0.0.0.0".into() } else { "::".into() };
    let address = allowed.or(fallback).unwrap_or_else(nowhere);
    if address.is_empty() { Vec::new() } else { vec![address] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Vec<&[u8]> {
        text.split('.').map(str::as_bytes).collect()
    }

    #[test]
    fn addresses_are_read_out_of_labels() {
        let cases = [
            ("1.2.3.4", "1.2.3.4"),
            ("1.2.3.4.anything", "1.2.3.4"),
            ("010.2.3.4", "8.2.3.4"),
            ("0x10.2.3.4", "16.2.3.4"),
            ("08.2.3.4", ""),
            ("1.2.3.256", ""),
            ("+1.2.3.4", ""),
            ("1.2.3", ""),
            ("1-2-3-4", "1.2.3.4"),
            ("1-2-3-4.foo", "1.2.3.4"),
            ("1-2-3-4.a.b.c", ""),
            ("ip-1-2-3-4", "1.2.3.4"),
            ("x-y-1-2-3-4", "1.2.3.4"),
            ("1-2-3-4-5", "2.3.4.5"),
            ("1--2-3-4-", "1.2.3.4"),
            ("01-002-3-4", "1.2.3.4"),
            ("1-2-3-256", ""),
            ("1-2-3-0x4", ""),
            ("1-2-3-4aa.foo.bar", ""),
            ("40414243", "64.65.66.67"),
            ("ip40414243", "64.65.66.67"),
            ("zz-deadbeef", "222.173.190.239"),
            ("DEADBEEF", "222.173.190.239"),
            ("ip4041424", ""),
            ("ip-441424", ""),
            ("40414243x", ""),
            ("0x414243", ""),
            ("some-text-with-more-than-five-dashes", ""),
            ("invalid.1.2.3.4", ""),
            ("xyz", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(forward(&labels(text)), expected.parse().ok(), "{text}");
        }
        assert_eq!(forward(&[]), None);
    }

    #[test]
    fn addresses_are_read_by_a_template() {
        let cases = [
            ("ip-%1%-%2%-%3%-%4%", "IP-1-2-3-004", "1.2.3.4"),
            ("%4%.%3%.%2%.%1%", "4.3.2.1", "1.2.3.4"),
            ("host-%5%.dyn", "host-1-2-3-4.dyn", "1.2.3.4"),
            ("%6%x", "01020304x", "1.2.3.4"),
            ("%%%6%", "%01020304", "1.2.3.4"),
            ("ip-%5%", "ip-1-2-3-256", ""),
            ("ip-%5%", "ip-1-2-3", ""),
            ("ip-%5%", "ip-1-2-3-4-5", ""),
            ("ip-%6%", "ip-0102030", ""),
        ];
        for (template, text, expected) in cases {
            let address = match_template(template.as_bytes(), text.as_bytes()).ok().unwrap();
            assert_eq!(address, expected.parse().ok(), "{template} {text}");
        }
        for template in ["", "%1%", "%7%", "%0%", "%5", "%x%", "%1%%2%%3%"] {
            assert!(match_template(template.as_bytes(), b"1-2-3-4").is_err(), "{template}");
        }
    }

    #[test]
    fn longer_addresses_are_read_out_of_labels() {
        let cases = [
            ("2001--db8", "2001::db8"),
            ("0--1", "::1"),
            ("0aa--1", "aa::1"),
            ("1-2-3-4-5-6-7-8", "1:2:3:4:5:6:7:8"),
            ("2001.DB8.0.0.0.0.0.1", "2001:db8::1"),
            ("20010db8000000000000000000000001", "2001:db8::1"),
            ("x20010DB8000000000000000000000001", "2001:db8::1"),
            ("1-2", ""),
            ("a.b", ""),
            ("2001.db8.0.0.0.0.1", ""),
            ("gg010db8000000000000000000000001", ""),
            ("20010db800000000000000000000000", ""),
            ("12345-1-1-1-1-1-1-1", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(forward6(&labels(text)), expected.parse().ok(), "{text}");
        }
    }

    #[test]
    fn formats_are_filled_and_what_is_malformed_is_none() {
        let words = [b"a".to_vec(), b"b".to_vec()];
        let cases = [
            ("%2%-%1%", Some("b-a")),
            ("%%%1%%%", Some("%a%")),
            ("%3%x", Some("x")),
            ("", Some("")),
            ("%0%", None),
            ("x%", None),
            ("%1", None),
            ("%x%", None),
            ("%-1%", None),
            ("%99999999999999999999%", None),
        ];
        for (format, expected) in cases {
            assert_eq!(fill(format.as_bytes(), &words), expected.map(BString::from), "{format}");
        }
    }

    #[test]
    fn dashed_addresses_are_no_internationalized_labels() {
        let cases = [
            ("2001::", "2001--0"),
            ("::1", "0--1"),
            ("aa::1", "0aa--1"),
            ("aaa::1", "aaa--1"),
            ("::", "0--0"),
            ("a:1::", "a-1--0"),
            ("::ffff:1.2.3.4", "0--ffff-1.2.3.4"),
        ];
        for (text, expected) in cases {
            let address: Ipv6Addr = text.parse().unwrap();
            let digits = format!("{:032x}", address.to_bits());
            let labels: Vec<&[u8]> = digits.as_bytes().rchunks(1).collect();
            let labels = labels.first_chunk::<32>().unwrap();
            assert_eq!(reversed_nibbles(labels), Some(address));
            assert_eq!(words6(labels, address)[32], expected.as_bytes(), "{text}");
        }
    }
}
