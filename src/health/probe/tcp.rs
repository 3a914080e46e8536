//! TCP: a connection.

use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpSocket;

use super::{in_words, not_connected, same_family};
use crate::health::Reason;
use crate::health::check::{Endpoint, Host};

/// Makes a TCP connection and closes it.
pub(super) async fn connect(target: &Endpoint, source: Option<IpAddr>) -> Result<Option<u32>, Reason> {
    let target = match &target.host {
        Host::Address(address) => SocketAddr::new(*address, target.port),
        Host::Name(name) => return Err(Reason::Unresolved(name.to_string())),
    };
    same_family(Some(target.ip()), source)?;
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
    socket.connect(target).await.map_err(|error| not_connected(&error))?;
    Ok(None)
}
