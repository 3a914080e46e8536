//! Where queries are taken, as an operator says it: an address, one on a named link, or all of an interface.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// The longest name of an interface that Linux has, in octets.
const INTERFACE_OCTETS_MAX: usize = 15;

/// One entry of `server.listen`. Which addresses it comes to is up to the machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Listen {
    /// An address; a link-local one has its scope by number.
    Address(SocketAddr),
    /// A link-local address, on the interface that is so called.
    OnLink(Ipv6Addr, String, u16),
    /// Every address of an interface.
    Interface(String, u16),
}

/// Text that stands for no place to listen on; it holds what to write in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoPlace(pub String);

/// What every such text is told of which nothing better is known.
pub(super) const FORM: &str =
    "write an address and a port: `192.0.2.1:53` or `[2001:db8::1]:53`, or an interface and a port: `eth0:53`";

impl Listen {
    /// The port.
    pub fn port(&self) -> u16 {
        match self {
            Self::Address(address) => address.port(),
            Self::OnLink(_, _, port) | Self::Interface(_, port) => *port,
        }
    }
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        Self::Address(address)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::OnLink(ip, link, port) => write!(f, "[{ip}%{link}]:{port}"),
            Self::Interface(interface, port) => write!(f, "{interface}:{port}"),
        }
    }
}

impl FromStr for Listen {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return of_address(address);
        }
        let advice = || NoPlace(advise(text).unwrap_or_else(|| FORM.to_owned()));
        let (host, port) = text.rsplit_once(':').ok_or_else(advice)?;
        let port = port.parse().map_err(|_| advice())?;
        let scoped = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).and_then(|ip| ip.split_once('%'));
        if let Some((ip, link)) = scoped {
            let ip = ip.parse::<Ipv6Addr>().ok().filter(|ip| ip.is_unicast_link_local() && is_interface(link));
            return ip
                .map(|ip| Self::OnLink(ip, link.to_owned(), port))
                .ok_or_else(|| NoPlace(format!("a scope is for a link-local address: `[fe80::1%eth0]:{port}`")));
        }
        match (is_interface(host) && host != "localhost", port) {
            (true, 0) => Err(NoPlace(format!("choose a port for the addresses of `{host}`: `{host}:53`"))),
            (true, port) => Ok(Self::Interface(host.to_owned(), port)),
            (false, _) => Err(advice()),
        }
    }
}

/// Takes an address, unless the system could not tell which link it is on.
fn of_address(address: SocketAddr) -> Result<Listen, NoPlace> {
    match address {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() && v6.scope_id() == 0 => {
            Err(NoPlace(format!("say on which interface: `[{}%eth0]:{}`", v6.ip(), v6.port())))
        }
        address => Ok(Listen::Address(address)),
    }
}

/// Whether an interface may be so called; what looks like a number or an address is taken for a slip in one.
fn is_interface(text: &str) -> bool {
    text.len() <= INTERFACE_OCTETS_MAX
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '/' | ':' | '%' | '[' | ']'))
}

/// Advises on what was written, if it is a known slip.
pub(super) fn advise(text: &str) -> Option<String> {
    let lone_port = text.trim_start_matches('*');
    if let Ok(port) = lone_port.strip_prefix(':').unwrap_or(lone_port).parse::<u16>() {
        return Some(format!("say on which address: `0.0.0.0:{port}` and `[::]:{port}` for all"));
    }
    if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Some(format!("add the port: `{}`", SocketAddr::new(address, 53)));
    }
    if is_interface(text) && text != "localhost" {
        return Some(format!("add the port: `{text}:53`"));
    }
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse::<u16>().ok()?;
    host.starts_with(|c: char| c.is_ascii_alphabetic())
        .then(|| format!("names are not looked up here; write the address: `127.0.0.1:{port}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_written_alike() {
        let on_link = |link: &str| Listen::OnLink("fe80::1".parse().unwrap(), link.to_owned(), 53);
        let rows = [
            ("192.0.2.1:53", Listen::Address("192.0.2.1:53".parse().unwrap())),
            ("[::]:0", Listen::Address("[::]:0".parse().unwrap())),
            ("[fe80::1%3]:53", Listen::Address("[fe80::1%3]:53".parse().unwrap())),
            ("[fe80::1%eth0]:53", on_link("eth0")),
            ("[fe80::1%br-1.20@x]:53", on_link("br-1.20@x")),
            ("eth0:53", Listen::Interface("eth0".into(), 53)),
            ("eth0.100:5353", Listen::Interface("eth0.100".into(), 5353)),
            ("_tun:53", Listen::Interface("_tun".into(), 53)),
        ];
        for (text, expected) in rows {
            assert_eq!(text.parse(), Ok(expected.clone()), "{text}");
            assert_eq!(expected.to_string(), text);
            assert_ne!(expected.port(), 1);
        }
    }

    #[test]
    fn what_is_no_place_gets_advice() {
        let rows = [
            ("", FORM),
            ("10.0.0.300:53", FORM),
            ("eth0:99999", FORM),
            ("a b:53", "names are not looked up here; write the address: `127.0.0.1:53`"),
            ("localhost:53", "names are not looked up here; write the address: `127.0.0.1:53`"),
            ("ns1.dc1.example.org:53", "names are not looked up here; write the address: `127.0.0.1:53`"),
            ("eth0", "add the port: `eth0:53`"),
            ("::1", "add the port: `[::1]:53`"),
            ("*:53", "say on which address: `0.0.0.0:53` and `[::]:53` for all"),
            ("eth0:0", "choose a port for the addresses of `eth0`: `eth0:53`"),
            ("[fe80::1]:53", "say on which interface: `[fe80::1%eth0]:53`"),
            ("[2001:db8::1%eth0]:53", "a scope is for a link-local address: `[fe80::1%eth0]:53`"),
            ("[fe80::1%]:53", "a scope is for a link-local address: `[fe80::1%eth0]:53`"),
        ];
        for (text, help) in rows {
            assert_eq!(text.parse::<Listen>(), Err(NoPlace(help.to_owned())), "{text}");
        }
    }
}
