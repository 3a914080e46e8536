//! One probe of each kind.
//!
//! Read [`Prober::probe`], which chooses among the files here; then `connect.rs` and `tls.rs`, on which the others build.

mod connect; // for all kinds: where a probe may go, and a connection to there
mod datagram; // for all kinds: who gets the packets
mod dialogue; // what is said on a connection
mod dns; // a query, and the response that passes
mod exec; // a program of the operator's
mod file; // what a file of states says
mod grpc; // a call, and the status that passes
mod http; // requests from hop to hop, and the reply that passes
mod icmp; // an echo
mod kept; // connections for more than one probe
mod link; // HTTP over one connection
mod pattern; // for all kinds: regular expressions
mod request; // what an HTTP check sends, and to whom
mod resolve; // for all kinds: the addresses of a name
mod tcp; // a connection
mod tls; // for all kinds: a handshake, and what is asked of the certificate

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rand::TryRng;
use rand::rngs::SysRng;
use tokio::sync::{Semaphore, watch};
use tokio::time;

use self::connect::Terms;
use self::kept::Kept;
use self::pattern::Patterns;
use self::resolve::Names;
use super::extfile::Files;
use super::tls::{Roots, Trust};
use super::{Check, Kind, Reason, Verdict};

/// Octets of a body that are read when a check sets no limit of its own.
///
/// A page that says whether a service is well is short; a download behind the URL must not fill the memory.
pub const BODY_OCTETS_DEFAULT: u64 = 1 << 20;

/// The highest limit a check can set: a record is not to fill the memory either.
pub const BODY_OCTETS_MAX: u64 = 16 << 20;

/// How many octets all bodies may have together that are read at a time, but for the first [`BODY_OCTETS_SMALL`] of each.
///
/// As many targets as there may be probes can send all that a check reads, and at the same time.
const BODIES_OCTETS_MAX: usize = 256 << 20;

/// How many octets of a body wait for no room: pages that say whether a service is well have fewer.
const BODY_OCTETS_SMALL: usize = 64 << 10;

/// What probes go by that is no part of a check.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The roots by which certificates are verified, beside those of the system.
    pub roots: Roots,
    /// The resolvers that are asked for addresses; none for those of the system.
    pub servers: Vec<SocketAddr>,
}

/// Carries out probes.
pub struct Prober {
    trust: Trust,
    names: Names,
    patterns: Patterns,
    kept: Kept,
    /// The room for bodies that are large.
    bodies: Semaphore,
    files: watch::Receiver<Arc<Files>>,
}

impl Prober {
    /// Makes a prober; reads the system's root certificates.
    pub fn new(settings: Settings) -> Self {
        let (trust, names) = (Trust::new(settings.roots), Names::new(settings.servers));
        let (files, bodies) = (watch::channel(Arc::default()).1, Semaphore::new(BODIES_OCTETS_MAX));
        Self { trust, names, patterns: Patterns::default(), kept: Kept::default(), bodies, files }
    }

    /// The same, with what files of states say.
    #[must_use]
    pub fn with_files(self, files: watch::Receiver<Arc<Files>>) -> Self {
        Self { files, ..self }
    }

    /// Carries out one probe.
    ///
    /// Each has connections of its own, but for HTTP checks that ask for another way: what passes is that the target
    /// accepts a new client.
    pub async fn probe(&self, check: &Check) -> Verdict {
        if check.timeout.is_zero() && takes_time(&check.kind) {
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
            Kind::Tcp { target, dialogue: Some(dialogue) } => self.converse(target, dialogue, terms).await,
            Kind::Tls { target, handshake } => self.tls(target, handshake, terms).await,
            Kind::Http { address, request } => self.get(address.as_ref(), request, terms).await,
            Kind::Icmp(host) => self.echo(host, terms).await,
            Kind::Dns { target, query } => self.dns(target, query, terms).await,
            Kind::Grpc { target, call } => self.grpc(target, call, terms).await,
            Kind::File { file, entry } => self.look_up(file, entry),
            Kind::Exec { command, .. } => exec::run(command).await,
            Kind::Fixed { up: true, weight } => Ok(*weight),
            Kind::Fixed { up: false, .. } => Err(Reason::Fixed),
            Kind::Unusable { why, .. } => Err(Reason::Unusable(why.to_string())),
        }
    }
}

/// Whether somebody is asked who may take time to answer.
fn takes_time(kind: &Kind) -> bool {
    match kind {
        Kind::Tcp { .. } | Kind::Tls { .. } | Kind::Http { .. } | Kind::Icmp(_) | Kind::Dns { .. } => true,
        Kind::Grpc { .. } | Kind::Exec { .. } => true,
        Kind::File { .. } | Kind::Fixed { .. } | Kind::Unusable { .. } => false,
    }
}

/// A number that nobody can guess.
fn random() -> Result<u64, Reason> {
    SysRng.try_next_u64().map_err(|error| Reason::Unusable(format!("the system has no random numbers: {error}")))
}

/// Refuses a source from which the target cannot be reached.
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

/// Says why a connection that was there gave no answer.
fn lost(error: &io::Error) -> Reason {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Reason::Closed,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => Reason::Reset,
        // What TLS cannot make sense of.
        io::ErrorKind::InvalidData => Reason::Tls(in_words(error)),
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
