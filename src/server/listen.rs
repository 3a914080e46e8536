//! Taking ports: each address by UDP and TCP, with sockets for every worker.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use super::system;
use crate::diagnostic::{Diagnostic, Severity};

/// What the kernel may queue for each UDP socket, in octets; it grants at most `net.core.rmem_max`.
///
/// 4 MiB hold the queries of some 20 ms at a million a second: a worker may be off its core that long.
const UDP_BUFFER_OCTETS: usize = 4 * 1024 * 1024;
/// How many TCP connections the kernel may queue for each worker; it grants at most `net.core.somaxconn`.
const TCP_BACKLOG: i32 = 1024;
/// What to do about a port that may not be taken.
const PERMISSION_HELP: &str = "start as root with `server.user` set, or run with CAP_NET_BIND_SERVICE (by systemd \
                               `AmbientCapabilities=CAP_NET_BIND_SERVICE`, by hand `setcap cap_net_bind_service=+ep` \
                               on the program), or choose a port above 1023";
/// How often another free port is tried when the one found for UDP is taken for TCP.
const FREE_PORT_ATTEMPTS: usize = 16;

/// Bound sockets, a share for each worker.
#[derive(Debug)]
pub struct Listeners {
    addresses: Vec<SocketAddr>,
    warnings: Vec<Diagnostic>,
    shares: Vec<Vec<Sockets>>,
}

/// An address that is to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// The address; with port 0 for any that is free.
    pub address: SocketAddr,
    /// Whether it is taken even while the machine does not have it, where the system can do that.
    pub ahead: bool,
}

impl From<SocketAddr> for Wanted {
    fn from(address: SocketAddr) -> Self {
        Self { address, ahead: false }
    }
}

/// One worker's sockets on one address.
#[derive(Debug)]
pub(super) struct Sockets {
    /// The address, with its real port.
    pub(super) local: SocketAddr,
    pub(super) udp: UdpSocket,
    pub(super) tcp: TcpListener,
}

/// Takes every address of `listen` for UDP and TCP, for so many workers.
///
/// Port 0 is one free port, the same for both transports and all workers. An address that any other program
/// holds is refused, also if that is another perigee. `[::]` and `[::1]` are passed over with a warning on a
/// machine without IPv6, as containers often are, if there is another address. Returns every problem, not only
/// the first.
pub fn bind(listen: &[Wanted], workers: usize) -> Result<Listeners, Vec<Diagnostic>> {
    let mut listeners = Listeners::none(workers);
    let mut problems = Vec::new();
    for wanted @ Wanted { address, .. } in listen {
        match bind_address(*wanted, workers) {
            Ok(sockets) => listeners.add(sockets),
            Err(error) if is_for_want_of_ipv6(*address, &error) => {
                let message = format!("not listening on `{address}`: this machine has no IPv6 there");
                let help = "leave it out of `server.listen`, or see to it that the system has IPv6";
                listeners.warnings.push(Diagnostic::warning(None, message).help(help));
            }
            Err(error) => problems.push(explain(*address, &error)),
        }
    }
    if problems.is_empty() && listeners.addresses.is_empty() {
        problems
            .extend(listeners.warnings.drain(..).map(|warning| Diagnostic { severity: Severity::Error, ..warning }));
    }
    if problems.is_empty() { Ok(listeners) } else { Err(problems) }
}

/// Whether `address` is one that every machine with IPv6 has, and this one does not.
fn is_for_want_of_ipv6(address: SocketAddr, error: &io::Error) -> bool {
    let IpAddr::V6(ip) = address.ip() else { return false };
    // A kernel without IPv6 knows no such socket; one with IPv6 switched off only lacks the address.
    let is_missing = || Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP)).is_err();
    let is_off = error.kind() == io::ErrorKind::AddrNotAvailable;
    (ip.is_loopback() || ip.is_unspecified()) && (is_off || is_missing())
}

impl Listeners {
    /// The addresses that are served, with the ports that were found for port 0.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The addresses that are not, and need not be.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// How many workers there are to be.
    pub fn workers(&self) -> usize {
        self.shares.len()
    }

    /// Nothing yet, for so many workers.
    pub(super) fn none(workers: usize) -> Self {
        let shares = (0..workers).map(|_| Vec::new()).collect();
        Self { addresses: Vec::new(), warnings: Vec::new(), shares }
    }

    pub(super) fn into_shares(self) -> Vec<Vec<Sockets>> {
        self.shares
    }

    /// Adds an address, with sockets for each worker.
    pub(super) fn add(&mut self, sockets: Vec<Sockets>) {
        self.addresses.extend(sockets.first().map(|sockets| sockets.local));
        for (share, sockets) in self.shares.iter_mut().zip(sockets) {
            share.push(sockets);
        }
    }
}

/// Binds one address for all workers, UDP first.
///
/// The first UDP socket is bound before it is marked as sharing its port, so it finds any other program there,
/// one that shares its port too: of two perigees the second fails here. TCP needs `SO_REUSEADDR` for a quick
/// restart and would not tell as surely.
fn bind_address(wanted: Wanted, workers: usize) -> io::Result<Vec<Sockets>> {
    let (udp, tcp) = bind_first(wanted)?;
    let local = udp.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let another = Wanted { address: local, ..wanted };
    let udp = system::share(udp, workers, || open_udp(another))?;
    let tcp = system::share(tcp, workers, || open_tcp(another))?;
    let pairs = udp.into_iter().zip(tcp);
    pairs
        .map(|(udp, tcp)| {
            tcp.listen(TCP_BACKLOG)?;
            Ok(Sockets { local, udp: udp.into(), tcp: tcp.into() })
        })
        .collect()
}

/// Binds the sockets of the first worker: the same port for both transports.
fn bind_first(wanted: Wanted) -> io::Result<(Socket, Socket)> {
    let address = wanted.address;
    let attempts = if address.port() == 0 { FREE_PORT_ATTEMPTS } else { 1 };
    let mut outcome = Err(io::ErrorKind::AddrInUse.into());
    for _ in 0..attempts {
        let udp = open_udp(wanted)?;
        udp.bind(&address.into())?;
        let tcp = open_tcp(wanted)?;
        match tcp.bind(&udp.local_addr()?) {
            Ok(()) => return Ok((udp, tcp)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => outcome = Err(error),
            Err(error) => return Err(error),
        }
    }
    outcome
}

/// Makes a UDP socket for an address with all its options, not bound yet.
fn open_udp(wanted: Wanted) -> io::Result<Socket> {
    let socket = open(wanted, Type::DGRAM, Protocol::UDP)?;
    prepare_udp(&socket, wanted.address)?;
    Ok(socket)
}

/// Sets the options of a UDP socket that is bound to `address`, or is to be.
pub(super) fn prepare_udp(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    socket.set_recv_buffer_size(UDP_BUFFER_OCTETS)?;
    socket.set_send_buffer_size(UDP_BUFFER_OCTETS)?;
    system::prepare_udp(socket, address)
}

/// Makes a TCP socket for an address with all its options, not bound yet.
fn open_tcp(wanted: Wanted) -> io::Result<Socket> {
    let socket = open(wanted, Type::STREAM, Protocol::TCP)?;
    // A restart must not wait for the last connections of the process before it.
    socket.set_reuse_address(system::RESTART_NEEDS_REUSE)?;
    Ok(socket)
}

fn open(Wanted { address, ahead }: Wanted, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        // `[::]` and `0.0.0.0` are two addresses everywhere, whatever the system's default is.
        socket.set_only_v6(true)?;
    }
    if ahead {
        system::bind_ahead(&socket, address)?;
    }
    Ok(socket)
}

/// Says why `address` cannot be served, and what to do.
fn explain(address: SocketAddr, error: &io::Error) -> Diagnostic {
    let port = address.port();
    let (what, help) = match error.kind() {
        io::ErrorKind::PermissionDenied => ("permission denied".to_owned(), PERMISSION_HELP.to_owned()),
        io::ErrorKind::AddrInUse => (
            "another program holds this port".to_owned(),
            format!("stop it (`ss -lntup 'sport = :{port}'` names it) or choose another address or port"),
        ),
        io::ErrorKind::AddrNotAvailable => (
            "this machine does not have the address".to_owned(),
            "choose one that `ip address` lists, or `0.0.0.0` or `[::]` for all, or set `server.freebind` if it comes later"
                .to_owned(),
        ),
        // Kinds of the standard library, not ours: the list is open, and the system's words serve for the rest.
        _ => (error.to_string(), "see if the system offers this kind of address, and enough open files".to_owned()),
    };
    Diagnostic::error(None, format!("cannot listen on `{address}`: {what}")).help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    #[test]
    fn each_worker_gets_both_transports_on_one_port() {
        let listeners = bind(&[loopback(), "[::1]:0".parse().unwrap()].map(Wanted::from), 3).unwrap();
        let addresses = listeners.addresses().to_vec();
        assert_eq!(addresses.len() + listeners.warnings().len(), 2);
        assert_ne!(addresses[0].port(), 0);
        let shares = listeners.into_shares();
        assert_eq!(shares.len(), 3);
        for share in shares {
            for (sockets, address) in share.iter().zip(&addresses) {
                assert_eq!(sockets.udp.local_addr().unwrap(), *address);
                assert_eq!(sockets.tcp.local_addr().unwrap(), *address);
            }
        }
    }

    #[test]
    fn an_address_held_by_another_server_of_ours_is_refused() {
        let first = bind(&[loopback().into()], 2).unwrap();
        let problems = bind(&[first.addresses()[0].into()], 2).unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].message.ends_with("another program holds this port"), "{}", problems[0]);
    }

    #[test]
    fn an_address_held_for_tcp_alone_is_refused() {
        let other = TcpListener::bind(loopback()).unwrap();
        let problems = bind(&[other.local_addr().unwrap().into()], 1).unwrap_err();
        assert!(problems[0].message.ends_with("another program holds this port"), "{}", problems[0]);
    }

    #[test]
    fn only_the_want_of_ipv6_is_passed_over() {
        let missing = || io::Error::from(io::ErrorKind::AddrNotAvailable);
        let cases = [
            ("[::1]:53", missing(), true),
            ("[::]:53", missing(), true),
            ("[::1]:53", io::ErrorKind::AddrInUse.into(), false),
            ("[2001:db8::1]:53", missing(), false),
            ("127.0.0.1:53", missing(), false),
        ];
        for (address, error, expected) in cases {
            assert_eq!(is_for_want_of_ipv6(address.parse().unwrap(), &error), expected, "{address}: {error}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_address_that_may_come_later_is_taken_at_once() {
        let address: SocketAddr = "192.0.2.1:0".parse().unwrap();
        assert!(bind(&[address.into()], 1).is_err());
        let listeners = bind(&[Wanted { address, ahead: true }], 2).unwrap();
        assert_eq!(listeners.addresses()[0].ip(), address.ip());
    }

    #[test]
    fn every_problem_is_returned() {
        // Reserved addresses belong to no machine (RFC 1112 section 4).
        let listen = ["240.0.0.1:0", "127.0.0.1:0", "240.0.0.2:0"]
            .map(|address| Wanted::from(address.parse::<SocketAddr>().unwrap()));
        let problems = bind(&listen, 1).unwrap_err();
        let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
        let text = |address: &str| {
            format!(
                "error: cannot listen on `{address}`: this machine does not have the address\n  \
                 help: choose one that `ip address` lists, or `0.0.0.0` or `[::]` for all, or set `server.freebind` if it \
                 comes later"
            )
        };
        assert_eq!(texts, [text("240.0.0.1:0"), text("240.0.0.2:0")]);
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let address = "0.0.0.0:53".parse().unwrap();
        let cases = [
            (
                io::ErrorKind::PermissionDenied,
                "error: cannot listen on `0.0.0.0:53`: permission denied\n  \
                 help: start as root with `server.user` set, or run with CAP_NET_BIND_SERVICE (by systemd \
                 `AmbientCapabilities=CAP_NET_BIND_SERVICE`, by hand `setcap cap_net_bind_service=+ep` on the program), or \
                 choose a port above 1023",
            ),
            (
                io::ErrorKind::AddrInUse,
                "error: cannot listen on `0.0.0.0:53`: another program holds this port\n  \
                 help: stop it (`ss -lntup 'sport = :53'` names it) or choose another address or port",
            ),
        ];
        for (kind, expected) in cases {
            assert_eq!(explain(address, &kind.into()).to_string(), expected);
        }
    }
}
