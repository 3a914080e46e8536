//! The targets of a call: what is answered for each, where it is, and what is asked of it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use mlua::LuaString;

use super::kinds::{Template, known};
use crate::health::check::Host;
use crate::health::{Http, Kind};
use crate::script::api::CallError;
use crate::script::api::arguments::{Item, Options, read_address};

/// The most targets of one call, over all groups.
pub(super) const TARGETS_MAX: usize = 4096;
/// The greatest weight there is, as for those that targets give themselves.
const WEIGHT_MAX: f64 = i32::MAX as f64;
/// The fields of a target that is a table.
const FIELDS: [&str; 3] = ["answer", "probe", "weight"];

/// A target of a call.
pub(in crate::script) struct Target {
    /// What is answered if it is chosen.
    pub(in crate::script) answer: Answer,
    /// Where it is, as far as that is known; the unspecified address is nowhere.
    pub(in crate::script) place: IpAddr,
    /// The weight that the record gives it.
    pub(in crate::script) weight: Option<u32>,
    /// What is asked of it.
    pub(in crate::script) kind: Kind,
}

impl Target {
    /// A target whose address is answered.
    pub(in crate::script) fn at(address: IpAddr, kind: Kind) -> Self {
        Self { answer: Answer::Address(address), place: address, weight: None, kind }
    }
}

/// What is answered for a target.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::script) enum Answer {
    /// Its address.
    Address(IpAddr),
    /// Something else, as a zone file has it.
    Text(Arc<str>),
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// The targets of a call, in groups.
pub(in crate::script) type Groups = Vec<Vec<Target>>;

/// Where a probe goes, as it was written.
pub(super) struct Probe {
    /// The text, without the port.
    pub(super) text: Arc<str>,
    /// The host; `None` if it can be none.
    pub(super) host: Option<Host>,
    /// The port it has of its own.
    pub(super) port: Option<u16>,
}

impl Probe {
    /// Reads an address or the name of a host, with or without a port.
    fn read(text: &str) -> Result<Self, CallError> {
        if let Some(address) = read_plain(text)? {
            let port = Some(address.port()).filter(|_| read_address(text).is_some_and(|read| has_port(text, read)));
            if port == Some(0) {
                return Err(wrong_port(text, "0"));
            }
            let host = Some(Host::Address(address.ip()));
            return Ok(Self { text: address.ip().to_string().into(), host, port });
        }
        let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
        let is_address = name.parse::<IpAddr>().is_ok();
        if !is_address && !is_host_name(name) {
            return Err(refused(text, "is neither an address nor the name of a host"));
        }
        let port = port.map(|port| {
            let number = port.parse().ok().filter(|port| *port > 0);
            number.ok_or_else(|| wrong_port(text, port))
        });
        Ok(Self { text: name.into(), host: Some(Host::Name(name.into())), port: port.transpose()? })
    }

    /// What need be no address, as nothing is sent there.
    fn of_anything(text: &str) -> Self {
        Self::read(text).unwrap_or_else(|_| Self { text: text.into(), host: None, port: None })
    }

    /// The address, if it is one.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.host.as_ref().and_then(Host::address)
    }
}

/// Reads the target of `check`.
pub(super) fn read_probe(text: &str, template: &Template) -> Result<Probe, CallError> {
    if template.takes_anything() { Ok(Probe::of_anything(text)) } else { Probe::read(text) }
}

/// Reads the targets of `ifup`, each a text or a table.
pub(in crate::script) fn read_items(groups: &[Vec<Item>], template: &Template) -> Result<Groups, CallError> {
    bound(groups.iter().map(Vec::len))?;
    groups.iter().map(|group| group.iter().map(|item| read_item(item, template)).collect()).collect()
}

fn read_item(item: &Item, template: &Template) -> Result<Target, CallError> {
    let (answer, probe, weight) = match item {
        Item::Text(text) => (None, read_probe(text, template)?, None),
        Item::Fields(fields) => read_fields(fields, template)?,
    };
    let answer = match answer {
        Some(answer) => answer,
        None => match (probe.address(), template.takes_anything()) {
            (Some(address), _) => Answer::Address(address),
            (None, true) => Answer::Text(Arc::clone(&probe.text)),
            (None, false) => {
                let help = "is no address; what is answered can be given beside it: `{answer=…, probe=…}`";
                return Err(refused(&probe.text, help));
            }
        },
    };
    let address = match &answer {
        Answer::Address(address) => Some(*address),
        Answer::Text(_) => probe.address(),
    };
    let place = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    Ok(Target { answer, place, weight, kind: template.kind(&probe)? })
}

/// Reads a target that is a table: what is answered, where it is probed, and its weight.
fn read_fields(fields: &Options, template: &Template) -> Result<(Option<Answer>, Probe, Option<u32>), CallError> {
    known(fields, "field of a target", FIELDS)?;
    let weight = match fields.number("weight") {
        None => None,
        Some(Some(weight)) if weight.fract() == 0.0 && (0.0..=WEIGHT_MAX).contains(&weight) => Some(weight as u32),
        Some(_) => {
            let message = format!("got a target whose weight is no whole number from 0 to {WEIGHT_MAX}");
            return Err(CallError::refused(message));
        }
    };
    let (answer, probe) = (fields.text("answer")?, fields.text("probe")?);
    let Some(probe) = probe else {
        let answer = answer.ok_or_else(|| CallError::refused("got a target without `answer` and `probe`"))?;
        return Ok((None, read_probe(&answer, template)?, weight));
    };
    let answer = answer.map(|text| match text.parse() {
        Ok(address) => Answer::Address(address),
        Err(_) => Answer::Text(text.into()),
    });
    Ok((answer, read_probe(&probe, template)?, weight))
}

/// Reads the addresses of all groups.
pub(super) fn read_groups(groups: &[Vec<LuaString>], kind: impl Fn(SocketAddr) -> Kind) -> Result<Groups, CallError> {
    bound(groups.iter().map(Vec::len))?;
    let read = |text: &LuaString| {
        let target = read_target(&text.to_string_lossy())?;
        Ok(Target::at(target.ip(), kind(target)))
    };
    groups.iter().map(|group| group.iter().map(read).collect()).collect()
}

/// Reads an address, with or without a port.
pub(in crate::script) fn read_target(text: &str) -> Result<SocketAddr, CallError> {
    read_plain(text)?.ok_or_else(|| refused(text, "is no address"))
}

/// Reads an address that is the same in every network.
fn read_plain(text: &str) -> Result<Option<SocketAddr>, CallError> {
    if text.contains('%') {
        return Err(refused(text, "has a scope: what is on one link alone is not probed"));
    }
    Ok(read_address(text))
}

/// Refuses more targets than a call may have.
pub(super) fn bound(groups: impl Iterator<Item = usize>) -> Result<(), CallError> {
    if groups.sum::<usize>() > TARGETS_MAX {
        return Err(CallError::refused(format!("got more than {TARGETS_MAX} targets")));
    }
    Ok(())
}

/// What `ifportup` asks of a target: its own port, or else the one of the call.
pub(in crate::script) fn port_check(target: SocketAddr, port: u16) -> Kind {
    let port = if target.port() == 0 { port } else { target.port() };
    Kind::tcp(SocketAddr::new(target.ip(), port))
}

/// What `ifurlup` and `pickselfweighted` ask of a target: the URL has the port.
pub(in crate::script) fn url_check(target: SocketAddr, request: &Arc<Http>) -> Kind {
    Kind::Http { address: Some(Host::Address(target.ip())), request: Arc::clone(request) }
}

/// What `ifurlextup` asks: the URL's own host, wherever that is.
pub(in crate::script) fn own_url_check(request: Http) -> Kind {
    let address = super::request::literal_host(&request.url).map(Host::Address);
    Kind::Http { address, request: Arc::new(request) }
}

/// Whether a text that is an address has a port behind it, be it 0.
fn has_port(text: &str, address: SocketAddr) -> bool {
    match address {
        SocketAddr::V4(_) => text.contains(':'),
        SocketAddr::V6(_) => text.contains("]:"),
    }
}

/// Whether a text can be the name of a host, and no address that is written badly.
fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let fits = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(fits)
    };
    let bare = text.strip_suffix('.').unwrap_or(text);
    let last = bare.rsplit('.').next().unwrap_or_default();
    bare.len() <= 253 && bare.split('.').all(is_label) && !last.bytes().all(|octet| octet.is_ascii_digit())
}

fn wrong_port(text: &str, port: &str) -> CallError {
    refused(text, &format!("has the port `{port}`; ports go from 1 to 65535"))
}

fn refused(text: &str, why: &str) -> CallError {
    CallError::refused(format!("got the target `{text}`, which {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(String, Option<u16>), String> {
        match Probe::read(text) {
            Ok(probe) => Ok((probe.host.unwrap().to_string(), probe.port)),
            Err(CallError::Refused(why)) => Err(why),
            Err(CallError::Lua(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn a_probe_goes_to_an_address_or_a_name_with_a_port_or_without() {
        let rows = [
            ("192.0.2.1", "192.0.2.1", None),
            ("192.0.2.1:8080", "192.0.2.1", Some(8080)),
            ("2001:db8::1", "2001:db8::1", None),
            ("[2001:db8::1]", "2001:db8::1", None),
            ("[2001:db8::1]:8080", "2001:db8::1", Some(8080)),
            ("db.example.net", "db.example.net", None),
            ("db.example.net.:5432", "db.example.net.", Some(5432)),
            ("localhost", "localhost", None),
        ];
        for (text, host, port) in rows {
            assert_eq!(read(text), Ok((host.to_owned(), port)), "{text}");
        }
        let port = |port: &str| format!("has the port `{port}`; ports go from 1 to 65535");
        let neither = || "is neither an address nor the name of a host".to_owned();
        let scope = || "has a scope: what is on one link alone is not probed".to_owned();
        let rows = [
            ("192.0.2.1:0", port("0")),
            ("[2001:db8::1]:0", port("0")),
            ("192.0.2.1:65536", port("65536")),
            ("db.example.net:65536", port("65536")),
            ("db.example.net:0", port("0")),
            ("db.example.net:", port("")),
            ("300.1.2.3", neither()),
            ("010.0.0.1", neither()),
            ("", neither()),
            ("a..b", neither()),
            ("a b", neither()),
            ("fe80::1%eth0", scope()),
            ("[fe80::1%3]:80", scope()),
        ];
        for (text, why) in rows {
            assert_eq!(read(text), Err(format!("got the target `{text}`, which {why}")), "{text}");
        }
    }
}
