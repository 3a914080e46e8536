//! One probe of each kind.
//!
//! Read [`Prober::probe`], which chooses among the files here; then `connect.rs` and `tls.rs`, on which the others build.

mod connect; // for all kinds: where a probe may go, and a connection to there
mod http; // a request pinned to an address, and the reply that passes
mod pattern; // for all kinds: regular expressions
mod resolve; // for all kinds: the addresses of a name
mod tcp; // a connection
mod tls; // for all kinds: a handshake, and what is asked of the certificate

use std::io;
use std::net::{IpAddr, SocketAddr};

use rustls::pki_types::CertificateDer;
use tokio::time;

use self::connect::Terms;
use self::pattern::Patterns;
use self::resolve::Names;
use super::tls::Trust;
use super::{Check, Kind, Reason, Verdict};

/// Octets of a body that are read when a check sets no limit of its own.
///
/// A page that says whether a service is well is short; a download behind the URL must not fill the memory.
pub const BODY_OCTETS_DEFAULT: u64 = 1 << 20;

/// The highest limit a check can set: a record is not to fill the memory either.
pub const BODY_OCTETS_MAX: u64 = 16 << 20;

/// What probes go by that is no part of a check.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The roots by which certificates are verified, beside those of the system.
    pub roots: Vec<CertificateDer<'static>>,
    /// The resolvers that are asked for addresses; none for those of the system.
    pub servers: Vec<SocketAddr>,
}

/// Carries out probes.
pub struct Prober {
    trust: Trust,
    names: Names,
    patterns: Patterns,
}

impl Prober {
    /// Makes a prober; reads the system's root certificates.
    pub fn new(settings: Settings) -> Self {
        let (trust, names) = (Trust::new(settings.roots), Names::new(settings.servers));
        Self { trust, names, patterns: Patterns::default() }
    }

    /// Carries out one probe.
    ///
    /// Each has connections of its own: what passes is that the target accepts a new client.
    pub async fn probe(&self, check: &Check) -> Verdict {
        if check.timeout.is_zero() {
            // A connection that is there at the first look would still pass.
            return Verdict::Fail(Reason::TimedOut(check.timeout));
        }
        let terms = Terms::of(check);
        match time::timeout_at(terms.deadline, self.carry_out(&check.kind, &terms)).await {
            Ok(Ok(weight)) => Verdict::Pass { weight },
            Ok(Err(reason)) => Verdict::Fail(reason),
            Err(_) => Verdict::Fail(Reason::TimedOut(check.timeout)),
        }
    }

    /// Probes in whatever time it takes; returns the weight that the target gave itself.
    async fn carry_out(&self, kind: &Kind, terms: &Terms<'_>) -> Result<Option<u32>, Reason> {
        match kind {
            Kind::Tcp { target, dialogue: None } => self.tcp(target, terms).await,
            Kind::Tls { target, handshake } => self.tls(target, handshake, terms).await,
            Kind::Http { address, request } => self.get(address.as_ref(), terms.source, request).await,
            Kind::Tcp { .. }
            | Kind::Icmp(_)
            | Kind::Dns { .. }
            | Kind::Grpc { .. }
            | Kind::File { .. }
            | Kind::Exec { .. }
            | Kind::Fixed { .. } => Err(Reason::Unusable("this kind of check is not there yet".to_owned())),
            Kind::Unusable { why, .. } => Err(Reason::Unusable(why.to_string())),
        }
    }
}

/// Refuses a source from which the target cannot be reached; hyper would probe from another, silently.
fn same_family(target: Option<IpAddr>, source: Option<IpAddr>) -> Result<(), Reason> {
    match (target, source) {
        (Some(target), Some(source)) if target.is_ipv4() != source.is_ipv4() => {
            Err(Reason::Unusable(format!("cannot probe `{target}` from `{source}`: not of one address family")))
        }
        (Some(_) | None, Some(_) | None) => Ok(()),
    }
}

/// Says why there is no connection.
fn not_connected(error: &io::Error) -> Reason {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Reason::Refused,
        io::ErrorKind::ConnectionReset => Reason::Reset,
        _ => Reason::NotConnected(in_words(error)),
    }
}

/// An error of the system in words, without its number where std has the words.
fn in_words(error: &io::Error) -> String {
    match error.kind() {
        kind @ (io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::AddrNotAvailable
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::PermissionDenied) => kind.to_string(),
        _ => error.to_string(),
    }
}
