//! Is a target up: what to probe, what one probe said, and what is held to be true.
//!
//! Read `table` next (where scripts and the checker meet), then `hysteresis` (verdicts to a state), `checker`
//! (when to probe) and `probe` (how). This file, `table` and `hysteresis` are pure: they wait for nothing, open
//! nothing and read no clock. Absent on purpose: which target to answer with; that is a script's choice.

pub mod checker; // background: when to probe, how many at once, when to forget
pub mod hysteresis; // pure rule: a run of verdicts to a state
pub mod probe; // one probe of each kind: HTTP(S) pinned to an address, TCP connect
pub mod table; // the shared table of slots: scripts read, the checker writes
mod tls; // whose certificates probes accept

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

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
    /// Failures in a row that bring a target down; 0 counts as 1.
    pub minimum_failures: u32,
}

/// What is asked, and of whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Up if a TCP connection is made; nothing is sent.
    Tcp(SocketAddr),
    /// Up if an HTTP or HTTPS GET gets the expected reply.
    Http {
        /// The target, connected to whatever host the URL names; `None` is wherever that host resolves to.
        address: Option<IpAddr>,
        /// What is sent and expected; shared by the targets of one list.
        request: Arc<Http>,
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
    /// The address probed; `None` if the system resolves it.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(target) => Some(target.ip()),
            Self::Http { address, .. } | Self::Unusable { address, .. } => *address,
        }
    }
}

/// An HTTP request and the reply that passes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Http {
    /// The URL as written; `Host`, SNI and the port come from it. Other schemes than http and https always fail.
    pub url: String,
    /// Text the body must contain, octet by octet.
    pub stringmatch: Option<String>,
    /// The one status that passes, after redirects; with `None` no status does.
    pub httpcode: Option<u16>,
    /// The `User-Agent`; `None` is perigee and its version.
    pub useragent: Option<String>,
    /// Octets of the body to read, at most [`probe::BODY_OCTETS_MAX`]; 0 is [`probe::BODY_OCTETS_DEFAULT`].
    pub byteslimit: u64,
    /// More headers. `_` in a name stands for `-`; an empty value leaves a default header out; `Host` is replaced.
    pub headers: BTreeMap<String, String>,
    /// Whether the server's certificate is verified.
    pub tls: Tls,
    /// How many redirects are followed; with none, the redirect itself is judged.
    pub redirects: u8,
}

/// How many redirects are followed where nobody says, and the most there can be: as in PowerDNS.
pub const REDIRECTS_MAX: u8 = 10;

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

impl Check {
    /// The address probed; `None` if the system resolves it.
    pub fn target(&self) -> Option<IpAddr> {
        self.kind.address()
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Tcp(target) => write!(f, "tcp {target}"),
            Kind::Http { address: Some(address), request } => write!(f, "{} at {address}", request.url),
            Kind::Http { address: None, request } => f.write_str(&request.url),
            Kind::Unusable { why, .. } => f.write_str(why),
        }
    }
}

/// What one probe said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The target answered as it should.
    Pass {
        /// The whole number its body began with, if there was one.
        weight: Option<u32>,
    },
    /// It did not.
    Fail(Reason),
}

/// Why a probe failed, in words for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The target's host answered that nothing listens there.
    Refused,
    /// No reply, or not the whole of it, in time.
    TimedOut(Duration),
    /// No connection for another cause, in the system's words.
    NotConnected(String),
    /// The TLS handshake failed.
    Tls(String),
    /// What came back was not HTTP, or stopped in the middle.
    Http(String),
    /// The wrong HTTP status.
    Status {
        /// The final one, after redirects.
        got: u16,
        /// The one that passes; `None` if none does.
        expected: Option<u16>,
    },
    /// The body does not contain this text.
    BodyLacks(String),
    /// More redirects than are followed.
    Redirects(u8),
    /// The check itself cannot be carried out: a URL, header or local address that makes no sense.
    Unusable(String),
    /// The probe itself broke: a bug of ours.
    Broken,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("connection refused"),
            Self::TimedOut(after) => write!(f, "timed out after {after:?}"),
            Self::NotConnected(what) => write!(f, "not connected: {what}"),
            Self::Tls(what) => write!(f, "tls: {what}"),
            Self::Http(what) => write!(f, "http: {what}"),
            Self::Status { got, expected: Some(expected) } => write!(f, "status {got}, expected {expected}"),
            Self::Status { got, expected: None } => write!(f, "status {got}, and `httpcode` is not a status"),
            Self::BodyLacks(text) => write!(f, "body does not contain `{text}`"),
            Self::Redirects(followed) => write!(f, "still redirected after {followed} redirects"),
            Self::Unusable(what) => f.write_str(what),
            Self::Broken => f.write_str("the probe broke; please report this"),
        }
    }
}

/// What is held to be true of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// No probe has ended yet.
    Unknown,
    /// It answers.
    Up,
    /// It does not.
    Down,
}

impl State {
    /// The state in one lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A check of `kind` with everything else at its default.
    fn check(kind: Kind) -> Check {
        Check { kind, source: None, timeout: Duration::from_secs(2), interval: None, minimum_failures: 1 }
    }

    fn http(url: &str) -> Arc<Http> {
        Arc::new(Http {
            url: url.to_owned(),
            stringmatch: None,
            httpcode: Some(200),
            useragent: None,
            byteslimit: 0,
            headers: BTreeMap::new(),
            tls: Tls::AcceptAny,
            redirects: REDIRECTS_MAX,
        })
    }

    #[test]
    fn a_check_is_shown_as_an_operator_would_say_it() {
        let www = http("https://www.example.com/");
        let address = Some("192.0.2.1".parse().unwrap());
        let rows = [
            (Kind::Tcp("192.0.2.1:443".parse().unwrap()), "tcp 192.0.2.1:443"),
            (Kind::Tcp("[2001:db8::1]:443".parse().unwrap()), "tcp [2001:db8::1]:443"),
            (Kind::Http { address, request: www.clone() }, "https://www.example.com/ at 192.0.2.1"),
            (Kind::Http { address: None, request: www }, "https://www.example.com/"),
            (Kind::Unusable { address, why: "no reason".into() }, "no reason"),
        ];
        for (kind, text) in rows {
            assert_eq!(check(kind).to_string(), text);
        }
    }

    #[test]
    fn a_reason_is_shown_as_an_operator_would_say_it() {
        let rows = [
            (Reason::Refused, "connection refused"),
            (Reason::TimedOut(Duration::from_secs(2)), "timed out after 2s"),
            (Reason::TimedOut(Duration::from_millis(1500)), "timed out after 1.5s"),
            (Reason::Status { got: 503, expected: Some(200) }, "status 503, expected 200"),
            (Reason::Status { got: 200, expected: None }, "status 200, and `httpcode` is not a status"),
            (Reason::BodyLacks("OK".to_owned()), "body does not contain `OK`"),
            (Reason::Redirects(10), "still redirected after 10 redirects"),
        ];
        for (reason, text) in rows {
            assert_eq!(reason.to_string(), text);
        }
    }

    #[test]
    fn checks_with_equal_requests_are_equal_whoever_allocated_them() {
        let address = Some("192.0.2.1".parse().unwrap());
        let one = check(Kind::Http { address, request: http("http://a.example/") });
        let same = check(Kind::Http { address, request: http("http://a.example/") });
        let other = check(Kind::Http { address, request: http("http://b.example/") });
        assert_eq!(one, same);
        assert_ne!(one, other);
    }
}
