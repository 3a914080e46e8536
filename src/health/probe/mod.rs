//! One probe of each kind.
//!
//! Read [`Prober::probe`], which chooses among the files here: `http.rs` and `tcp.rs`.

mod http; // a request pinned to an address, and the reply that passes
mod tcp; // a connection

use std::io;
use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use tokio::time;

use super::tls::Trust;
use super::{Check, Kind, Reason, Verdict};

/// Octets of a body that are read when a check sets no limit of its own.
///
/// A page that says whether a service is well is short; a download behind the URL must not fill the memory.
pub const BODY_OCTETS_DEFAULT: u64 = 1 << 20;

/// The highest limit a check can set: a record is not to fill the memory either.
pub const BODY_OCTETS_MAX: u64 = 16 << 20;

/// Carries out probes.
pub struct Prober {
    trust: Trust,
}

impl Prober {
    /// Makes a prober that verifies certificates by the system's roots, read now, and by `extra_roots`.
    pub fn new(extra_roots: Vec<CertificateDer<'static>>) -> Self {
        Self { trust: Trust::new(extra_roots) }
    }

    /// Carries out one probe.
    ///
    /// Each has connections of its own: what passes is that the target accepts a new client.
    pub async fn probe(&self, check: &Check) -> Verdict {
        if check.timeout.is_zero() {
            // A connection that is there at the first look would still pass.
            return Verdict::Fail(Reason::TimedOut(check.timeout));
        }
        let outcome = match &check.kind {
            Kind::Tcp { target, dialogue: None } => {
                time::timeout(check.timeout, tcp::connect(target, check.source)).await
            }
            Kind::Http { address, request } => {
                time::timeout(check.timeout, self.get(address.as_ref(), check.source, request)).await
            }
            Kind::Tcp { .. }
            | Kind::Tls { .. }
            | Kind::Icmp(_)
            | Kind::Dns { .. }
            | Kind::Grpc { .. }
            | Kind::File { .. }
            | Kind::Exec { .. }
            | Kind::Fixed { .. } => Ok(Err(Reason::Unusable("this kind of check is not there yet".to_owned()))),
            Kind::Unusable { why, .. } => Ok(Err(Reason::Unusable(why.to_string()))),
        };
        match outcome {
            Ok(Ok(weight)) => Verdict::Pass { weight },
            Ok(Err(reason)) => Verdict::Fail(reason),
            Err(_) => Verdict::Fail(Reason::TimedOut(check.timeout)),
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
