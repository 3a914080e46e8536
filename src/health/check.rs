//! What to probe: a check, its kind, and what passes.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use regex::bytes::{Regex, RegexBuilder};

use super::hysteresis::Thresholds;
use crate::dns::{Name, Rcode, Rtype};

/// How long a probe may take when nobody says.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(2);

/// How many octets the texts of a check may have together.
///
/// A script may make each of them of a query, and the table holds a hundred thousand by default.
pub const TEXTS_OCTETS_MAX: usize = 8 << 10;

/// What to probe, and when its verdicts count.
///
/// Equal checks share one slot and one series of probes, so this holds exactly what a probe or its schedule
/// depends on. How a record chooses among targets is no part of it: records that differ in nothing else share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Check {
    /// What is asked, and of whom.
    pub kind: Kind,
    /// The local address to probe from; `None` leaves it to the system.
    pub source: Option<IpAddr>,
    /// How long the whole probe may take; zero fails at once.
    pub timeout: Duration,
    /// From the start of one probe to the start of the next; `None` is the checker's own interval.
    pub interval: Option<Duration>,
    /// How many verdicts make a state.
    pub thresholds: Thresholds,
    /// Where its probes may go.
    pub reach: Arc<Reach>,
}

impl Check {
    /// A check of this kind with everything else at its default.
    pub fn new(kind: Kind) -> Self {
        let (source, interval) = (None, None);
        let (thresholds, reach) = (Thresholds::default(), Arc::default());
        Self { kind, source, timeout: TIMEOUT_DEFAULT, interval, thresholds, reach }
    }

    /// How many octets its texts have together; scripts must not make one of more than [`TEXTS_OCTETS_MAX`].
    pub fn texts_octets(&self) -> usize {
        self.kind.texts_octets()
    }

    /// The address probed; `None` if it is not known before a name is resolved, or there is none.
    pub fn target(&self) -> Option<IpAddr> {
        self.kind.address()
    }
}

/// Which addresses a zone may have probed.
///
/// A zone has one, which its checks share: two of them are mostly compared by where they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// The networks that may be probed; `None` for all.
    pub allowed: Option<Vec<IpNet>>,
    /// Those of them that may not.
    pub refused: Vec<IpNet>,
}

impl Hash for Reach {
    /// Goes by how many networks there are: checks are looked up with every query, and most have the same reach.
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.allowed.as_ref().map(Vec::len), self.refused.len()).hash(state);
    }
}

impl Reach {
    /// Whether an address may be probed. One of IPv4 that is written as IPv6 is judged as what it is.
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let is_in = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&address));
        self.allowed.as_deref().is_none_or(is_in) && !self.refuses(address)
    }

    /// Whether an address is among those that may not be probed, or is a way to one that is.
    pub fn refuses(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let is_refused = |address: IpAddr| self.refused.iter().any(|network| network.contains(&address));
        is_refused(address) || translated(address).is_some_and(|address| is_refused(address.into()))
    }
}

/// The address of IPv4 that a translator or a tunnel makes of one of IPv6: NAT64 (RFC 6052), 6to4 (RFC 3056), or the
/// form that was once for tunnels (RFC 4291 section 2.5.5.1).
fn translated(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else { return None };
    let of = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0, 0, 0, 0, 0, 0, high @ 1..=0xffff, low] => Some(of(high, low)),
        [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

/// Where a probe goes: an address, or a name that the prober resolves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address.
    Address(IpAddr),
    /// A name; resolved anew for each probe.
    Name(Arc<str>),
}

impl Host {
    /// The address, if it is one.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Name(_) => None,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The host.
    pub host: Host,
    /// The port.
    pub port: u16,
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self { host: Host::Address(address.ip()), port: address.port() }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(address) => write!(f, "{}", SocketAddr::new(*address, self.port)),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// What is asked, and of whom. What the targets of one list have in common is shared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Up if a TCP connection is made and, if there is a dialogue, what comes back is as expected.
    Tcp {
        /// Whom to connect to.
        target: Endpoint,
        /// What is sent and expected; without one, nothing is.
        dialogue: Option<Arc<Dialogue>>,
    },
    /// Up if a TLS handshake is completed.
    Tls {
        /// Whom to connect to.
        target: Endpoint,
        /// What is asked of the handshake.
        handshake: Arc<Handshake>,
    },
    /// Up if an HTTP or HTTPS request gets the expected reply.
    Http {
        /// The target, connected to whatever host the URL names; `None` is wherever that host resolves to.
        address: Option<Host>,
        /// What is sent and expected.
        request: Arc<Http>,
    },
    /// Up if an ICMP or ICMPv6 echo request is answered.
    Icmp(Host),
    /// Up if a DNS query gets the expected response.
    Dns {
        /// The server asked.
        target: Endpoint,
        /// What is asked and expected.
        query: Arc<Query>,
    },
    /// Up if `grpc.health.v1.Health/Check` says SERVING.
    Grpc {
        /// Whom to connect to.
        target: Endpoint,
        /// What is asked of it.
        call: Arc<Grpc>,
    },
    /// What a file says, that others write and perigee watches.
    File {
        /// The name of the file, in the directory of such files.
        file: Arc<str>,
        /// The entry that is looked for in it.
        entry: Arc<str>,
    },
    /// Up if a command exits with 0.
    Exec {
        /// The program, by its path, and its arguments; no shell reads them.
        command: Arc<[Box<str>]>,
        /// The target, which stands in the arguments for `%%ITEM%%` already.
        address: Option<IpAddr>,
    },
    /// Always up or always down; nothing is probed.
    Fixed {
        /// Whether it is up.
        up: bool,
        /// The weight it gives itself.
        weight: Option<u32>,
    },
    /// Always down: what was asked for makes no sense.
    Unusable {
        /// The target, if it is known.
        address: Option<IpAddr>,
        /// Why, for an operator.
        why: Arc<str>,
    },
}

impl Kind {
    /// A TCP connection to an address, and no more.
    pub fn tcp(target: SocketAddr) -> Self {
        Self::Tcp { target: target.into(), dialogue: None }
    }

    /// The address probed; `None` if it is not known before a name is resolved, or there is none.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp { target, .. } | Self::Tls { target, .. } | Self::Dns { target, .. } => target.host.address(),
            Self::Grpc { target, .. } => target.host.address(),
            Self::Http { address, .. } => address.as_ref().and_then(Host::address),
            Self::Icmp(host) => host.address(),
            Self::Exec { address, .. } | Self::Unusable { address, .. } => *address,
            Self::File { .. } | Self::Fixed { .. } => None,
        }
    }

    /// The target as an operator may name it: with its port, if it has one of its own, and without.
    pub fn targets(&self) -> Vec<String> {
        let both = |endpoint: &Endpoint| vec![endpoint.to_string(), endpoint.host.to_string()];
        match self {
            Self::Tcp { target, .. } | Self::Tls { target, .. } | Self::Dns { target, .. } => both(target),
            Self::Grpc { target, .. } => both(target),
            Self::Http { address, .. } => address.iter().map(ToString::to_string).collect(),
            Self::Icmp(host) => vec![host.to_string()],
            Self::Exec { address, .. } | Self::Unusable { address, .. } => {
                address.iter().map(ToString::to_string).collect()
            }
            Self::File { entry, .. } => vec![entry.to_string()],
            Self::Fixed { .. } => Vec::new(),
        }
    }

    /// How many octets its texts have together.
    fn texts_octets(&self) -> usize {
        let host = |host: &Host| match host {
            Host::Address(_) => 0,
            Host::Name(name) => name.len(),
        };
        match self {
            Self::Tcp { target, dialogue } => host(&target.host) + dialogue.as_ref().map_or(0, |it| it.texts_octets()),
            Self::Tls { target, handshake } => host(&target.host) + handshake.texts_octets(),
            Self::Http { address, request } => address.as_ref().map_or(0, host) + request.texts_octets(),
            Self::Icmp(target) => host(target),
            Self::Dns { target, query } => host(&target.host) + query.answer.as_ref().map_or(0, |it| it.0.len()),
            Self::Grpc { target, call } => host(&target.host) + call.texts_octets(),
            Self::File { file, entry } => file.len() + entry.len(),
            Self::Exec { command, .. } => command.iter().map(|part| part.len()).sum(),
            Self::Fixed { .. } => 0,
            Self::Unusable { why, .. } => why.len(),
        }
    }

    /// The regular expressions it goes by.
    pub fn patterns(&self) -> Vec<&Pattern> {
        match self {
            Self::Tcp { dialogue, .. } => dialogue.iter().flat_map(|dialogue| &dialogue.expect).collect(),
            Self::Http { request, .. } => request.regex.iter().chain(&request.weight).collect(),
            Self::Dns { query, .. } => query.answer.iter().collect(),
            Self::Tls { .. } | Self::Icmp(_) | Self::Grpc { .. } | Self::File { .. } => Vec::new(),
            Self::Exec { .. } | Self::Fixed { .. } | Self::Unusable { .. } => Vec::new(),
        }
    }

    /// Whether its probes go to a host whose addresses are known only when its name is resolved.
    pub fn resolves(&self) -> bool {
        let is_name = |host: &Host| host.address().is_none();
        match self {
            Self::Tcp { target, .. } | Self::Tls { target, .. } | Self::Dns { target, .. } => is_name(&target.host),
            Self::Grpc { target, .. } => is_name(&target.host),
            Self::Http { address, .. } => address.as_ref().is_none_or(is_name),
            Self::Icmp(host) => is_name(host),
            Self::File { .. } | Self::Exec { .. } | Self::Fixed { .. } | Self::Unusable { .. } => false,
        }
    }
}

/// A regular expression, as it was written. What cannot be compiled fails the probe.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern(pub Arc<str>);

/// How large one may be when it is compiled, and once more what it learns while it is used, in octets.
///
/// The time of a search grows with both this and what is searched, which is bounded as well. With both at their bounds the
/// worst expressions took about a second.
const PATTERN_SIZE_MAX: usize = 128 << 10;

impl Pattern {
    /// Compiles it, for octets that need not be text; or says why it cannot be.
    pub fn compile(&self) -> Result<Regex, String> {
        let mut builder = RegexBuilder::new(&self.0);
        let builder = builder.size_limit(PATTERN_SIZE_MAX).dfa_size_limit(PATTERN_SIZE_MAX);
        builder.build().map_err(|error| match error {
            // Its first lines show the expression, which whoever tells of it has already.
            regex::Error::Syntax(text) => {
                text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
            }
            regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
            other => other.to_string(),
        })
    }
}

/// What is said on a TCP connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Dialogue {
    /// What is sent once connected; may be nothing.
    pub send: Vec<u8>,
    /// What must come back, in the first octets that do; `None` for anything, even nothing.
    pub expect: Option<Pattern>,
    /// Whether TLS is spoken below, and how.
    pub tls: Option<Handshake>,
}

impl Dialogue {
    fn texts_octets(&self) -> usize {
        let expect = self.expect.as_ref().map_or(0, |pattern| pattern.0.len());
        self.send.len() + expect + self.tls.as_ref().map_or(0, Handshake::texts_octets)
    }
}

/// What is asked of a TLS handshake.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Handshake {
    /// The name in SNI, which the certificate must be for if it is verified; `None` for that of the target.
    pub server_name: Option<String>,
    /// Whether the certificate is verified.
    pub tls: Tls,
    /// For how much longer the certificate must be valid.
    pub expiry_min: Option<Duration>,
}

/// An HTTP request and the reply that passes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Http {
    /// The URL as written; `Host`, SNI and the port come from it. Other schemes than http and https always fail.
    pub url: String,
    /// The method.
    pub method: String,
    /// Text the body must contain, octet by octet.
    pub stringmatch: Option<String>,
    /// What must match somewhere in the body.
    pub regex: Option<Pattern>,
    /// The statuses that pass, after redirects; with none of them no status does.
    pub statuses: Vec<RangeInclusive<u16>>,
    /// The `User-Agent`; `None` is perigee and its version.
    pub useragent: Option<String>,
    /// Octets of the body to read, at most [`super::probe::BODY_OCTETS_MAX`]; 0 is
    /// [`super::probe::BODY_OCTETS_DEFAULT`].
    pub byteslimit: u64,
    /// More headers. `_` in a name stands for `-`; an empty value leaves a default header out; `Host` is replaced.
    pub headers: BTreeMap<String, String>,
    /// How certificates are met. Its `server_name` takes the place of the URL's host in SNI and verification.
    pub handshake: Handshake,
    /// How many redirects are followed; with none, the redirect itself is judged.
    pub redirects: u8,
    /// Whether a connection may serve more than one probe.
    pub keepalive: bool,
    /// Where the weight stands in the body: what the first group matches; `None` for what the body begins with.
    pub weight: Option<Pattern>,
}

impl Http {
    /// A GET of a URL with everything else at its default.
    pub fn get(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            method: "GET".to_owned(),
            stringmatch: None,
            regex: None,
            statuses: vec![200..=200],
            useragent: None,
            byteslimit: 0,
            headers: BTreeMap::new(),
            handshake: Handshake::default(),
            redirects: REDIRECTS_MAX,
            keepalive: false,
            weight: None,
        }
    }
}

impl Http {
    fn texts_octets(&self) -> usize {
        let texts = [Some(&self.url), Some(&self.method), self.stringmatch.as_ref(), self.useragent.as_ref()];
        let texts: usize = texts.into_iter().flatten().map(String::len).sum();
        let patterns: usize = [&self.regex, &self.weight].into_iter().flatten().map(|pattern| pattern.0.len()).sum();
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        texts + patterns + headers + size_of_val(&*self.statuses) + self.handshake.texts_octets()
    }
}

impl Handshake {
    fn texts_octets(&self) -> usize {
        self.server_name.as_ref().map_or(0, String::len)
    }
}

impl Grpc {
    fn texts_octets(&self) -> usize {
        let tls = self.tls.as_ref().map_or(0, Handshake::texts_octets);
        self.service.len() + self.authority.as_ref().map_or(0, String::len) + tls
    }
}

/// How many redirects are followed where nobody says, and the most there can be: as in PowerDNS.
pub const REDIRECTS_MAX: u8 = 10;

impl Default for Handshake {
    fn default() -> Self {
        Self { server_name: None, tls: Tls::AcceptAny, expiry_min: None }
    }
}

/// What is asked of a server's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Tls {
    /// Any certificate will do, as in PowerDNS.
    #[default]
    AcceptAny,
    /// It must be valid for the URL's host, by the roots the prober knows. If the URL names an address, it must be
    /// valid for the target's.
    Verify,
}

/// A DNS query and the response that passes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Query {
    /// The name asked for.
    pub qname: Name,
    /// The type asked for.
    pub qtype: Rtype,
    /// Whether it is asked over TCP.
    pub tcp: bool,
    /// Whether recursion is asked for.
    pub recursion: bool,
    /// The RCODE that passes.
    pub rcode: Rcode,
    /// What must match the RDATA of a record in the answer, in presentation form.
    pub answer: Option<Pattern>,
}

/// What is asked of a gRPC server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Grpc {
    /// The service; empty for the server as a whole.
    pub service: String,
    /// Whether TLS is spoken below, and how.
    pub tls: Option<Handshake>,
    /// The `:authority`; `None` for that of the target.
    pub authority: Option<String>,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Tcp { target, .. } => write!(f, "tcp {target}"),
            Kind::Tls { target, .. } => write!(f, "tls {target}"),
            Kind::Http { address: Some(address), request } => write!(f, "{} at {address}", request.url),
            Kind::Http { address: None, request } => f.write_str(&request.url),
            Kind::Icmp(host) => write!(f, "icmp {host}"),
            Kind::Dns { target, query } => write!(f, "dns {target} {} {}", query.qname, query.qtype),
            Kind::Grpc { target, call } if call.service.is_empty() => write!(f, "grpc {target}"),
            Kind::Grpc { target, call } => write!(f, "grpc {target} {}", call.service),
            Kind::File { file, entry } => write!(f, "file {file} {entry}"),
            Kind::Exec { command, .. } => write!(f, "exec {}", command.join(" ")),
            Kind::Fixed { up, .. } => write!(f, "fixed {}", if *up { "up" } else { "down" }),
            Kind::Unusable { why, .. } => f.write_str(why),
        }
    }
}

/// A record that names checks, for those who tell of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Record {
    /// The apex of its zone, without the final dot.
    pub zone: String,
    /// Its owner and its type, without the final dot: `www.example.org/A`.
    pub name: String,
    /// Where it stands: `file:line:column`.
    pub position: String,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_shown_as_an_operator_would_say_it() {
        let www = Arc::new(Http::get("https://www.example.com/"));
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let of_www = |address| Kind::Http { address, request: Arc::clone(&www) };
        let rows = [
            (Kind::tcp("192.0.2.1:443".parse().unwrap()), "tcp 192.0.2.1:443"),
            (Kind::tcp("[2001:db8::1]:443".parse().unwrap()), "tcp [2001:db8::1]:443"),
            (of_www(Some(Host::Address(address))), "https://www.example.com/ at 192.0.2.1"),
            (of_www(None), "https://www.example.com/"),
            (Kind::Icmp(Host::Name("gw.example".into())), "icmp gw.example"),
            (Kind::Fixed { up: false, weight: None }, "fixed down"),
            (Kind::Unusable { address: Some(address), why: "no reason".into() }, "no reason"),
        ];
        for (kind, text) in rows {
            assert_eq!(Check::new(kind).to_string(), text);
        }
    }

    #[test]
    fn checks_with_equal_requests_are_equal_whoever_allocated_them() {
        let http = |url: &str| Check::new(Kind::Http { address: None, request: Arc::new(Http::get(url)) });
        assert_eq!(http("http://a.example/"), http("http://a.example/"));
        assert_ne!(http("http://a.example/"), http("http://b.example/"));
    }

    #[test]
    fn what_is_refused_is_refused_in_either_form_of_an_address() {
        let reach = Reach {
            allowed: Some(vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()]),
            refused: vec!["10.1.0.0/16".parse().unwrap()],
        };
        let rows = [("10.2.0.1", true), ("::ffff:10.2.0.1", true), ("10.1.0.1", false), ("::ffff:10.1.0.1", false)];
        for (address, allowed) in rows.into_iter().chain([("192.0.2.1", false), ("2001:db8::1", true)]) {
            assert_eq!(reach.allows(address.parse().unwrap()), allowed, "{address}");
        }
        assert!(Reach::default().allows("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn what_is_refused_is_not_reached_by_translators_and_tunnels() {
        let refused = ["0.0.0.0/8", "169.254.0.0/16"].map(|network| network.parse().unwrap());
        let reach = Reach { allowed: None, refused: refused.to_vec() };
        let rows = [
            ("64:ff9b::169.254.169.254", false),
            ("64:ff9b::192.0.2.1", true),
            ("64:ff9b:1::169.254.169.254", true),
            ("2002:a9fe:a9fe::1", false),
            ("2002:c000:201::1", true),
            ("::169.254.169.254", false),
            ("::192.0.2.1", true),
            ("::1", true),
            ("2001:db8::a9fe:a9fe", true),
        ];
        for (address, allowed) in rows {
            assert_eq!(reach.allows(address.parse().unwrap()), allowed, "{address}");
        }
    }
}
