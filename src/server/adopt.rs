//! Taking up sockets that are handed over: whoever started the process has bound them.

use std::fmt::Display;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{SockRef, Socket};

use super::listen::{Listeners, Sockets, prepare_udp};
use crate::diagnostic::Diagnostic;

/// A socket that is handed over, and what its giver calls it.
#[derive(Debug)]
pub struct Given<S> {
    /// What messages call it.
    pub name: String,
    /// The socket, bound; a TCP one listens.
    pub socket: S,
}

/// Takes up sockets in place of binding any, for so many workers, which share each.
///
/// Each address needs one for UDP and one for TCP: a server that lacks either is none (RFC 7766 section 5). They are not
/// bound a second time for the other workers, which may take rights that only their giver has. One for IPv6 may be for
/// IPv4 too. Returns every problem, not only the first.
pub fn adopt(
    udp: Vec<Given<UdpSocket>>,
    tcp: Vec<Given<TcpListener>>,
    workers: usize,
) -> Result<Listeners, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let udp = sound(udp, udp_address, &mut problems);
    let mut tcp = sound(tcp, tcp_address, &mut problems);
    let mut listeners = Listeners::none(workers);
    for (local, udp) in udp {
        let Some(place) = tcp.iter().position(|(other, _)| *other == local) else {
            problems.push(lonely("UDP", &udp.name, local, "TCP", "ListenStream"));
            continue;
        };
        let (_, tcp) = tcp.swap_remove(place);
        match share(local, &udp.socket, &tcp.socket, workers) {
            Ok(sockets) => listeners.add(sockets),
            Err(error) => problems.push(unfit(&udp.name, &format!("cannot be shared by the workers: {error}"))),
        }
    }
    problems.extend(tcp.iter().map(|(local, tcp)| lonely("TCP", &tcp.name, *local, "UDP", "ListenDatagram")));
    if problems.is_empty() { Ok(listeners) } else { Err(problems) }
}

/// Sorts out the sockets that can be served, each with its address.
fn sound<S>(
    given: Vec<Given<S>>,
    address: impl Fn(&S) -> Result<SocketAddr, String>,
    problems: &mut Vec<Diagnostic>,
) -> Vec<(SocketAddr, Given<S>)> {
    let mut sound: Vec<(SocketAddr, Given<S>)> = Vec::new();
    for given in given {
        match address(&given.socket) {
            Ok(local) if sound.iter().any(|(other, _)| *other == local) => {
                problems.push(unfit(&given.name, &format!("is a second one on `{local}`")));
            }
            Ok(local) => sound.push((local, given)),
            Err(why) => problems.push(unfit(&given.name, &why)),
        }
    }
    sound
}

/// The address of a UDP socket that anybody may send to.
fn udp_address(socket: &UdpSocket) -> Result<SocketAddr, String> {
    if let Ok(peer) = socket.peer_addr() {
        return Err(format!("hears from `{peer}` alone"));
    }
    bound(socket.local_addr())
}

/// The address of a TCP socket that takes connections.
fn tcp_address(socket: &TcpListener) -> Result<SocketAddr, String> {
    if SockRef::from(socket).is_listener().unwrap_or(false) {
        return bound(socket.local_addr());
    }
    Err("is one connection, and no listening socket; leave `Accept=` at `no`".to_owned())
}

fn bound(local: io::Result<SocketAddr>) -> Result<SocketAddr, String> {
    match local {
        Ok(local) if local.port() == 0 => Err("is bound to no port".to_owned()),
        Ok(local) => Ok(local),
        Err(error) => Err(format!("has no address: {error}")),
    }
}

/// Makes sockets for each worker that are one to the system.
fn share(local: SocketAddr, udp: &UdpSocket, tcp: &TcpListener, workers: usize) -> io::Result<Vec<Sockets>> {
    udp.set_nonblocking(true)?;
    tcp.set_nonblocking(true)?;
    let options = Socket::from(udp.try_clone()?);
    prepare_udp(&options, local)?;
    (0..workers).map(|_| Ok(Sockets { local, udp: udp.try_clone()?, tcp: tcp.try_clone()? })).collect()
}

/// Says what a socket lacks that is alone on its address.
fn lonely(transport: &str, name: &str, local: SocketAddr, other: &str, line: &str) -> Diagnostic {
    let what = format!("the {transport} socket `{name}` on `{local}` was handed over without one for {other}");
    Diagnostic::error(None, what).help(format!("add `{line}={local}` to the socket unit: a DNS server needs both"))
}

fn unfit(name: &str, why: &dyn Display) -> Diagnostic {
    Diagnostic::error(None, format!("the socket `{name}` that was handed over {why}"))
        .help("see what the socket unit, or whatever else starts perigee, binds for it")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given<S>(name: &str, socket: S) -> Given<S> {
        Given { name: name.to_owned(), socket }
    }

    /// Both transports on one free port.
    fn pair() -> (UdpSocket, TcpListener) {
        loop {
            let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
                return (udp, tcp);
            }
        }
    }

    #[test]
    fn workers_share_what_is_handed_over() {
        let (udp, tcp) = pair();
        let local = udp.local_addr().unwrap();
        let listeners = adopt(vec![given("a", udp)], vec![given("b", tcp)], 3).unwrap();
        assert_eq!(listeners.addresses(), [local]);
        let shares = listeners.into_shares();
        assert_eq!(shares.len(), 3);
        for share in shares {
            assert_eq!((share[0].udp.local_addr().unwrap(), share[0].tcp.local_addr().unwrap()), (local, local));
        }
    }

    #[test]
    fn sockets_that_cannot_be_served_are_told_of_all_at_once() {
        let (first, _) = pair();
        let (second, twin) = pair();
        let (third, tcp) = pair();
        let copy = second.try_clone().unwrap();
        let heard = third.local_addr().unwrap();
        third.connect(heard).unwrap();
        let at = |socket: &UdpSocket| socket.local_addr().unwrap();
        let (alone, twice) = (at(&first), at(&second));
        let udp = vec![given("one", first), given("two", second), given("two-again", copy), given("three", third)];
        let problems = adopt(udp, vec![given("twin", twin), given("four", tcp)], 1).unwrap_err();
        let text: Vec<_> = problems.iter().map(|problem| problem.message.clone()).collect();
        let expected = [
            format!("the socket `two-again` that was handed over is a second one on `{twice}`"),
            format!("the socket `three` that was handed over hears from `{heard}` alone"),
            format!("the UDP socket `one` on `{alone}` was handed over without one for TCP"),
            format!("the TCP socket `four` on `{heard}` was handed over without one for UDP"),
        ];
        assert_eq!(text, expected);
    }
}
