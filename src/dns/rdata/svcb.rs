//! Service parameters of SVCB and HTTPS (RFC 9460).

use std::net::{Ipv4Addr, Ipv6Addr};

use data_encoding::BASE64;

use super::RdataError;
use super::reader::{Reader, bad_escape, parse_ascii, parse_number, quote, unescape};
use super::writer::{Writer, quoted};

/// The keys that a client must know to use the record (RFC 9460 section 8).
const MANDATORY: u16 = 0;
/// The protocols on offer (RFC 9460 section 7.1).
const ALPN: u16 = 1;
/// The service's default protocol is not on offer (RFC 9460 section 7.1).
const NO_DEFAULT_ALPN: u16 = 2;
/// Reserved so that it is never a key (RFC 9460 section 14.3.2).
const INVALID: u16 = 65535;

/// How the value of a key looks in text.
#[derive(Clone, Copy)]
enum Shape {
    /// Keys between commas.
    Keys,
    /// Protocol identifiers between commas.
    Protocols,
    /// No value.
    Nothing,
    /// A number of 16 bits.
    Port,
    /// IPv4 addresses between commas.
    Ipv4s,
    /// IPv6 addresses between commas.
    Ipv6s,
    /// Base64.
    Base64,
    /// A URI template in UTF-8.
    Template,
    /// Any octets.
    Opaque,
}

/// The keys that have a name, each at the index that is its number, with a value as an example.
const KEYS: [(&str, u16, Shape, &str); 9] = [
    ("mandatory", 0, Shape::Keys, "alpn,port"),
    ("alpn", 1, Shape::Protocols, "h2,h3"),
    ("no-default-alpn", 2, Shape::Nothing, ""),
    ("port", 3, Shape::Port, "8443"),
    ("ipv4hint", 4, Shape::Ipv4s, "192.0.2.1,192.0.2.2"),
    ("ech", 5, Shape::Base64, "AEj+DQ=="),
    ("ipv6hint", 6, Shape::Ipv6s, "2001:db8::1,2001:db8::2"),
    ("dohpath", 7, Shape::Template, "/dns-query{?dns}"),
    ("ohttp", 8, Shape::Nothing, ""),
];

/// One parameter, and where it stood in the text.
struct Parameter {
    /// Its number.
    key: u16,
    /// Its value in wire form.
    value: Vec<u8>,
    /// The field that its key stood in.
    field: usize,
}

/// Reads all parameters, in any order.
pub(super) fn read(name: &str, reader: &mut Reader<'_>) -> Result<(), RdataError> {
    let mut parameters = Vec::new();
    while reader.has_more() {
        parameters.push(read_parameter(name, reader)?);
    }
    // The sort is stable: of two equal keys, the later one in the text is the one refused.
    parameters.sort_by_key(|parameter| parameter.key);
    for pair in parameters.windows(2) {
        if pair[0].key == pair[1].key {
            let message = format!("{name} `{}` stands twice", key_text(pair[1].key));
            return Err(RdataError::new(pair[1].field, message).help("keep one of them"));
        }
    }
    let borrowed: Vec<(u16, &[u8])> = parameters.iter().map(|p| (p.key, &p.value[..])).collect();
    if let Some(missing) = find_missing(&borrowed) {
        let field = parameters.iter().find(|p| p.key == missing.needed_by).map_or(0, |p| p.field);
        let (needed_by, key) = (key_text(missing.needed_by), key_text(missing.key));
        let error = RdataError::new(field, format!("`{needed_by}` needs `{key}`, which is not there"));
        return Err(error.help(format!("add `{key}`, or take out what needs it (RFC 9460 sections 7.1.1 and 8)")));
    }
    for parameter in &parameters {
        reader.push(&parameter.key.to_be_bytes());
        let length = u16::try_from(parameter.value.len()).map_err(|_| {
            let message = format!("`{}` is longer than 65535 octets", key_text(parameter.key));
            RdataError::new(parameter.field, message).help("shorten it")
        })?;
        reader.push(&length.to_be_bytes());
        reader.push(&parameter.value);
    }
    Ok(())
}

/// Writes all parameters.
pub(super) fn write(writer: &mut Writer<'_>) -> Option<()> {
    let mut parameters: Vec<(u16, &[u8])> = Vec::new();
    while !writer.is_at_end() {
        let key = writer.u16()?;
        let length = writer.u16()?;
        let value = writer.take(length.into())?;
        // Keys must ascend (RFC 9460 section 2.2).
        if key == INVALID || parameters.last().is_some_and(|(last, _)| *last >= key) {
            return None;
        }
        match shape_of(key).write(value)? {
            text if text.is_empty() => writer.word(key_text(key)),
            text => writer.word(format_args!("{}={text}", key_text(key))),
        }
        parameters.push((key, value));
    }
    if find_missing(&parameters).is_some() {
        // Such a record is well-formed but no resolver uses it; a text that says it is a mistake.
        writer.has_no_text();
    }
    Some(())
}

/// A key that another one needs and that is not there.
struct Missing {
    /// The one that is not there.
    key: u16,
    /// The one that needs it.
    needed_by: u16,
}

/// Checks the rules between parameters.
///
/// An alias (priority 0) with parameters passes: it should have none, and resolvers skip them (RFC 9460
/// section 2.4.2).
fn find_missing(parameters: &[(u16, &[u8])]) -> Option<Missing> {
    let has = |key: u16| parameters.iter().any(|(other, _)| *other == key);
    parameters.iter().find_map(|&(needed_by, value)| {
        let key = match needed_by {
            MANDATORY => value.as_chunks().0.iter().map(|key| u16::from_be_bytes(*key)).find(|key| !has(*key)),
            NO_DEFAULT_ALPN => Some(ALPN).filter(|key| !has(*key)),
            _ => None,
        };
        key.map(|key| Missing { key, needed_by })
    })
}

/// Reads `key` or `key=value`; the value may stand in quotes.
fn read_parameter(name: &str, reader: &mut Reader<'_>) -> Result<Parameter, RdataError> {
    let word = reader.word(name)?;
    let (key_word, raw) = match word.iter().position(|octet| *octet == b'=') {
        Some(equals) => (&word[..equals], Some(&word[equals + 1..])),
        None => (word, None),
    };
    let field = reader.taken() - 1;
    let (key, shape) = parse_key(key_word).ok_or_else(|| {
        let error = reader.error(format!("{name} {} is not known", quote(key_word)));
        if parse_key(&key_word.to_ascii_lowercase()).is_some() {
            return error.help("write it in lower case");
        }
        let names: Vec<&str> = KEYS.iter().map(|(name, ..)| *name).collect();
        error.help(format!("the keys are {}, and `key0` to `key65534`", names.join(", ")))
    })?;
    let raw = match raw {
        Some(b"") => reader.take_adjacent_quoted().unwrap_or_default(),
        Some(raw) => raw.strip_prefix(b"\"").and_then(|raw| raw.strip_suffix(b"\"")).unwrap_or(raw),
        None => b"",
    };
    let text = unescape(raw).ok_or_else(|| bad_escape(name, raw, reader))?;
    if has_bare_quote(raw) {
        let error = RdataError::new(field, format!("value {} of `{}` has a quote inside", quote(raw), key_text(key)));
        return Err(error.help("put the quotes around the whole value, or write `\\\"` for a quote in it"));
    }
    // Reading checks the grammar of the text, writing that of the octets: `key1=...` skips the first.
    let value = shape.read(&text).filter(|value| shape_of(key).write(value).is_some());
    value.map(|value| Parameter { key, value, field }).ok_or_else(|| {
        let named = KEYS.iter().find(|(known, ..)| key_word == known.as_bytes());
        let help = match named {
            Some((known, _, Shape::Nothing, _)) => format!("write `{known}` without a value"),
            Some((known, _, _, value)) => format!("write it as in `{known}={value}`"),
            None => "write the octets of the wire form, with `\\DDD` for those that have no character".to_owned(),
        };
        let message = match raw {
            b"" => format!("`{}` lacks its value", key_text(key)),
            raw => format!("{} is not a value of `{}`", quote(raw), key_text(key)),
        };
        RdataError::new(field, message).help(help)
    })
}

/// Whether a text has a quote that no backslash precedes.
fn has_bare_quote(text: &[u8]) -> bool {
    let mut octets = text.iter();
    while let Some(octet) = octets.next() {
        match octet {
            b'"' => return true,
            b'\\' => _ = octets.next(),
            _ => {}
        }
    }
    false
}

/// Reads a key by name or as `keyNNNNN`, whose value is then that of the wire form (RFC 9460 section 2.1).
fn parse_key(word: &[u8]) -> Option<(u16, Shape)> {
    if let Some((_, key, shape, _)) = KEYS.iter().find(|(name, ..)| word == name.as_bytes()) {
        return Some((*key, *shape));
    }
    let digits = word.strip_prefix(b"key")?;
    if digits.len() > 1 && digits.starts_with(b"0") {
        return None;
    }
    let key = u16::try_from(parse_number(digits)?).ok().filter(|key| *key != INVALID)?;
    Some((key, Shape::Opaque))
}

/// The name of a key, or `keyNNNNN`.
fn key_text(key: u16) -> String {
    match KEYS.get(usize::from(key)) {
        Some((name, ..)) => (*name).to_owned(),
        None => format!("key{key}"),
    }
}

/// How the value of a key looks in text.
fn shape_of(key: u16) -> Shape {
    KEYS.get(usize::from(key)).map_or(Shape::Opaque, |(_, _, shape, _)| *shape)
}

impl Shape {
    /// Reads a value whose escapes are decoded; `None` if it does not follow the grammar.
    fn read(self, text: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Keys => {
                let keys = text.split(|octet| *octet == b',').map(|word| parse_key(word).map(|(key, _)| key));
                let mut keys: Vec<u16> = keys.collect::<Option<_>>()?;
                keys.sort_unstable();
                Some(keys.into_iter().flat_map(u16::to_be_bytes).collect())
            }
            Self::Protocols => {
                let mut value = Vec::with_capacity(text.len() + 1);
                for protocol in split_value_list(text)? {
                    value.push(u8::try_from(protocol.len()).ok()?);
                    value.extend_from_slice(&protocol);
                }
                Some(value)
            }
            Self::Port => Some(u16::try_from(parse_number(text)?).ok()?.to_be_bytes().to_vec()),
            Self::Ipv4s => read_list(text, |word| parse_ascii::<Ipv4Addr>(word).map(|address| address.octets())),
            Self::Ipv6s => read_list(text, |word| parse_ascii::<Ipv6Addr>(word).map(|address| address.octets())),
            Self::Base64 => BASE64.decode(text).ok(),
            Self::Nothing | Self::Template | Self::Opaque => Some(text.to_vec()),
        }
    }

    /// Writes a value, empty if the key stands alone; `None` if the octets are malformed.
    fn write(self, value: &[u8]) -> Option<String> {
        match self {
            Self::Keys => {
                let keys = write_list(value, |key: [u8; 2]| u16::from_be_bytes(key))?;
                let is_strictly_ascending = keys.windows(2).all(|pair| pair[0] < pair[1]);
                // The list never names itself (RFC 9460 section 8).
                let is_sound = is_strictly_ascending && !keys.contains(&MANDATORY) && !keys.contains(&INVALID);
                is_sound.then(|| join(keys.into_iter().map(key_text)))
            }
            Self::Protocols => write_protocols(value),
            Self::Nothing => value.is_empty().then(String::new),
            Self::Port => Some(u16::from_be_bytes(value.try_into().ok()?).to_string()),
            Self::Ipv4s => Some(join(write_list(value, Ipv4Addr::from)?)),
            Self::Ipv6s => Some(join(write_list(value, <Ipv6Addr as From<[u8; 16]>>::from)?)),
            Self::Base64 => (!value.is_empty()).then(|| BASE64.encode(value)),
            Self::Template => is_doh_template(value).then(|| quoted(value)),
            Self::Opaque if value.is_empty() => Some(String::new()),
            Self::Opaque => Some(quoted(value)),
        }
    }
}

/// Splits at commas that no backslash precedes, and takes the backslashes out (RFC 9460 appendix A.1).
fn split_value_list(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut items = vec![Vec::new()];
    let mut octets = text.iter();
    while let Some(&octet) = octets.next() {
        match octet {
            b',' => items.push(Vec::new()),
            b'\\' => {
                let escaped = octets.next().filter(|octet| matches!(octet, b',' | b'\\'))?;
                items.last_mut()?.push(*escaped);
            }
            other => items.last_mut()?.push(other),
        }
    }
    Some(items)
}

/// Reads items between commas.
fn read_list<const N: usize>(text: &[u8], read: impl Fn(&[u8]) -> Option<[u8; N]>) -> Option<Vec<u8>> {
    let items: Option<Vec<[u8; N]>> = text.split(|octet| *octet == b',').map(read).collect();
    Some(items?.concat())
}

/// Cuts a value into items of one size; `None` if there is none or a rest.
fn write_list<const N: usize, T>(value: &[u8], item: impl Fn([u8; N]) -> T) -> Option<Vec<T>> {
    let (items, rest) = value.as_chunks::<N>();
    (!items.is_empty() && rest.is_empty()).then(|| items.iter().map(|octets| item(*octets)).collect())
}

/// Writes protocol identifiers between commas.
fn write_protocols(value: &[u8]) -> Option<String> {
    let mut list = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&length, after)) = rest.split_first() {
        let (protocol, after) = after.split_at_checked(length.into()).filter(|_| length > 0)?;
        if !list.is_empty() {
            list.push(b',');
        }
        for &octet in protocol {
            if matches!(octet, b',' | b'\\') {
                list.push(b'\\');
            }
            list.push(octet);
        }
        rest = after;
    }
    (!list.is_empty()).then(|| quoted(&list))
}

/// Whether a value is a relative URI template with a variable `dns` (RFC 9461 section 5).
fn is_doh_template(value: &[u8]) -> bool {
    let Ok(template) = std::str::from_utf8(value) else { return false };
    let mut expressions = template.split('{').skip(1).filter_map(|part| Some(part.split_once('}')?.0));
    template.starts_with('/')
        && expressions.any(|expression| {
            let variables = expression.trim_start_matches(['+', '#', '.', '/', ';', '?', '&']).split(',');
            variables.into_iter().any(|variable| variable == "dns")
        })
}

/// Puts commas between items.
fn join(items: impl IntoIterator<Item = impl ToString>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_key_stands_at_the_index_that_is_its_number() {
        assert!(KEYS.iter().enumerate().all(|(at, (_, key, ..))| at == usize::from(*key)));
    }
}
