//! Connections, for all kinds: the addresses that may be probed, and the first of them that takes a connection.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{self, Instant};

use super::{Prober, in_words, not_connected, same_family};
use crate::health::Reason;
use crate::health::check::{Check, Endpoint, Host, Reach};

/// How long the first address of a name has before the next is tried too (RFC 8305 section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// What holds for all that one probe connects to.
#[derive(Clone, Copy)]
pub(super) struct Terms<'c> {
    /// The local address to probe from.
    pub(super) source: Option<IpAddr>,
    /// Where the probe may go.
    pub(super) reach: &'c Arc<Reach>,
    /// When its time is over.
    pub(super) deadline: Instant,
}

impl<'c> Terms<'c> {
    /// Those of a check that is probed from now on.
    pub(super) fn of(check: &'c Check) -> Self {
        Self { source: check.source, reach: &check.reach, deadline: Instant::now() + check.timeout }
    }
}

impl Prober {
    /// Finds the addresses of a host that may be probed, in the order in which to try them; there is at least one.
    ///
    /// Whatever a probe sends to must come from here: an address that the zone may not have probed comes out of it in
    /// no form.
    pub(super) async fn addresses(&self, host: &Host, terms: &Terms<'_>) -> Result<Vec<IpAddr>, Reason> {
        match host {
            Host::Address(address) => {
                // One of IPv4 that is written as IPv6 is connected to by IPv4 in any case.
                let address = address.to_canonical();
                same_family(Some(address), terms.source)?;
                if terms.reach.allows(address) { Ok(vec![address]) } else { Err(Reason::NotAllowed(address)) }
            }
            Host::Name(name) => may_be_probed(name, self.names.addresses(name, terms.deadline).await?, terms),
        }
    }

    /// Connects to the first address of the target that takes a connection.
    pub(super) async fn connect(&self, target: &Endpoint, terms: &Terms<'_>) -> Result<TcpStream, Reason> {
        let addresses = self.addresses(&target.host, terms).await?;
        let socket = |address: &IpAddr| SocketAddr::new(*address, target.port);
        match addresses.as_slice() {
            [one] => open(socket(one), terms.source).await,
            several => first_to_open(several.iter().map(socket), terms.source).await,
        }
    }
}

/// Leaves out of the addresses of `name` those that cannot be reached from the source, or may not be probed.
fn may_be_probed(name: &str, mut addresses: Vec<IpAddr>, terms: &Terms<'_>) -> Result<Vec<IpAddr>, Reason> {
    addresses.iter_mut().for_each(|address| *address = address.to_canonical());
    addresses.retain(|address| same_family(Some(*address), terms.source).is_ok());
    let Some(first) = addresses.first().copied() else {
        let source = terms.source.map_or_else(String::new, |source| format!(" that `{source}` can reach"));
        return Err(Reason::Unresolved(format!("`{name}`: no address{source}")));
    };
    addresses.retain(|address| terms.reach.allows(*address));
    if addresses.is_empty() { Err(Reason::NotAllowed(first)) } else { Ok(addresses) }
}

/// Tries several targets, each with a head start before the next; says why the last to fail did when all do.
async fn first_to_open(
    mut targets: impl Iterator<Item = SocketAddr>,
    source: Option<IpAddr>,
) -> Result<TcpStream, Reason> {
    // Dropped with this call, and all attempts with it.
    let mut attempts = JoinSet::new();
    let mut outcome = Err(Reason::NotConnected("there is no address".to_owned()));
    loop {
        let next = targets.next();
        if let Some(target) = next {
            attempts.spawn(open(target, source));
        }
        let joined = match next {
            Some(_) => time::timeout(HEAD_START, attempts.join_next()).await.ok(),
            None => Some(attempts.join_next().await),
        };
        match joined {
            Some(Some(Ok(Ok(stream)))) => return Ok(stream),
            Some(Some(Ok(failed))) => outcome = failed,
            Some(Some(Err(_))) => outcome = Err(Reason::Broken),
            Some(None) => return outcome,
            // Nobody has failed; the next one runs beside.
            None => {}
        }
    }
}

/// Makes a TCP connection.
async fn open(target: SocketAddr, source: Option<IpAddr>) -> Result<TcpStream, Reason> {
    let socket = if target.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(|error| not_connected(&error))?;
    if let Some(source) = source {
        // Without this each local port could be taken only once in the minute after its last use, whatever the
        // target: with some thousand checks they would run out.
        socket.set_reuseaddr(true).map_err(|error| not_connected(&error))?;
        socket
            .bind(SocketAddr::new(source, 0))
            .map_err(|error| Reason::Unusable(format!("cannot probe from `{source}`: {}", in_words(&error))))?;
    }
    let stream = socket.connect(target).await.map_err(|error| not_connected(&error))?;
    // What a probe sends is short and waits for nothing.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}
