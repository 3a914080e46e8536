//! `perigee health`: asks a running server one question, for whoever watches over it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::config::Config;
use crate::daemon::interfaces;
use crate::diagnostic::Diagnostic;
use crate::dns::probe::{self, ProbeError};
use crate::dns::{NameRef, Rtype};

/// How often the question is sent; a busy server may lose a datagram and is well for all that.
const ATTEMPTS: u32 = 3;
/// How long each attempt waits. All of them together stay below the shortest timeout that watchers use, some 5s.
const PATIENCE: Duration = Duration::from_secs(1);
/// The question's ID. It need not be random: the socket is new and hears from one address alone.
const ID: u16 = 0;
/// The longest response to a question without EDNS, in octets (RFC 1035 section 2.3.4).
const RESPONSE_OCTETS_MAX: usize = 512;

/// What `perigee health` is told.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The server's address and port [default: the first that the configuration listens on]
    #[arg(value_name = "ADDRESS")]
    pub address: Option<SocketAddr>,
}

/// Asks the running server one question; exits with 1 and a message if it does not answer.
pub fn run(config: Option<&Path>, arguments: &Arguments) -> ExitCode {
    let asked = Config::load(config, std::env::vars_os())
        .and_then(|(config, _)| check(&config, arguments.address).map_err(|ailment| vec![ailment]));
    match asked {
        Ok(()) => ExitCode::SUCCESS,
        Err(diagnostics) => {
            for diagnostic in diagnostics {
                eprintln!("{diagnostic}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Asks the server at `address` by UDP and returns why it is unwell.
///
/// Without an address, asks the first one that the configuration listens on, by loopback if it is a wildcard. Any
/// well-formed response will do, REFUSED included: it has passed through a worker. Takes 3 seconds at the most.
fn check(config: &Config, address: Option<SocketAddr>) -> Result<(), Diagnostic> {
    let server = match address {
        Some(address) => address,
        None => reachable(first(config)?),
    };
    ask(server, PATIENCE).map_err(|ailment| ailment.explain(server))
}

/// The first address that the configuration comes to on this machine.
fn first(config: &Config) -> Result<SocketAddr, Diagnostic> {
    let present = interfaces::present()
        .map_err(|error| Diagnostic::error(None, format!("the system does not tell its interfaces: {error}")))?;
    let wanted = interfaces::resolve(&config.server.listen[..1], config.server.freebind, &present);
    let wanted = wanted.map_err(|mut problems| problems.swap_remove(0))?;
    Ok(wanted.first().expect("what has no address is a problem").address)
}

/// Turns an address to listen on into one to ask.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V4(_) | IpAddr::V6(_) => return listen,
    };
    SocketAddr::new(ip, listen.port())
}

/// Asks until there is an answer or every attempt has waited for `patience`.
fn ask(server: SocketAddr, patience: Duration) -> Result<(), Ailment> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(patience))?;
    // The root is nobody's zone by accident, so most servers refuse this without a look at any data.
    let question = probe::question(ID, NameRef::ROOT, Rtype::SOA);
    let mut octets = [0; RESPONSE_OCTETS_MAX];
    for _ in 0..ATTEMPTS {
        socket.send(&question)?;
        match socket.recv(&mut octets) {
            Ok(length) => return probe::read_rcode(&octets[..length], ID).map(drop).map_err(Ailment::Confused),
            // Which of the two a timeout is depends on the system.
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Ailment::Silent(patience * ATTEMPTS))
}

/// What is wrong with a server.
#[derive(Debug)]
enum Ailment {
    /// Nothing has its port.
    Absent,
    /// It did not answer for so long.
    Silent(Duration),
    /// It answered with something else than a response.
    Confused(ProbeError),
    /// The system would not let it be asked.
    Unasked(io::Error),
}

impl From<io::Error> for Ailment {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::ConnectionRefused { Self::Absent } else { Self::Unasked(error) }
    }
}

impl Ailment {
    fn explain(self, server: SocketAddr) -> Diagnostic {
        let (message, help) = match self {
            Self::Absent => (
                format!("nothing answers on `{server}`: the port is closed"),
                "start it with `perigee serve`, or name an address it serves: `perigee health ADDRESS`",
            ),
            Self::Silent(waited) => (
                format!("`{server}` did not answer within {waited:?}"),
                "look at its log; it is stuck, overloaded, still starting, or behind a filter",
            ),
            Self::Confused(error) => (
                format!("`{server}` is no sound DNS server: {error}"),
                "find out which program has the port, as with `ss -lunp`",
            ),
            Self::Unasked(error) => {
                (format!("cannot ask `{server}`: {error}"), "name an address it serves: `perigee health ADDRESS`")
            }
        };
        Diagnostic::error(None, message).help(help)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// A socket that stands for a server, and its address.
    fn server() -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    /// Answers the question after `ignored` others by what `answer` makes of it.
    fn answer_one(socket: UdpSocket, ignored: usize, answer: impl Fn(&mut Vec<u8>) + Send + 'static) {
        thread::spawn(move || {
            let mut octets = [0; RESPONSE_OCTETS_MAX];
            for _ in 0..ignored {
                socket.recv_from(&mut octets).unwrap();
            }
            let (length, client) = socket.recv_from(&mut octets).unwrap();
            let mut message = octets[..length].to_vec();
            answer(&mut message);
            socket.send_to(&message, client).unwrap();
        });
    }

    fn respond(rcode: u8) -> impl Fn(&mut Vec<u8>) {
        move |message| {
            message[2] = 0x80;
            message[3] = rcode;
        }
    }

    fn health_of(address: SocketAddr) -> Result<(), String> {
        check(&Config::default(), Some(address)).map_err(|diagnostic| diagnostic.to_string())
    }

    #[test]
    fn any_response_is_well() {
        for rcode in [0, 2, 3, 5] {
            let (socket, address) = server();
            answer_one(socket, 0, respond(rcode));
            assert_eq!(health_of(address), Ok(()), "RCODE {rcode}");
        }
    }

    #[test]
    fn a_lost_datagram_is_no_ailment() {
        let (socket, address) = server();
        answer_one(socket, 1, respond(5));
        assert_eq!(health_of(address), Ok(()));
    }

    #[test]
    fn what_is_no_response_is_told() {
        type Case = (fn(&mut Vec<u8>), &'static str);
        let cases: [Case; 3] = [
            (|_| {}, "the answer is not a response"),
            (|message| message[0] = 1, "the answer is to question `256`, not `0`"),
            (|message| message.truncate(5), "the answer is malformed: unexpected end of input reached"),
        ];
        for (answer, expected) in cases {
            let (socket, address) = server();
            answer_one(socket, 0, answer);
            let told = health_of(address).unwrap_err();
            assert!(told.starts_with(&format!("error: `{address}` is no sound DNS server: {expected}\n")), "{told}");
        }
    }

    #[test]
    fn a_closed_port_is_told_at_once() {
        let (socket, address) = server();
        drop(socket);
        let expected = format!(
            "error: nothing answers on `{address}`: the port is closed\n  help: start it with `perigee serve`, or name \
             an address it serves: `perigee health ADDRESS`"
        );
        assert_eq!(health_of(address), Err(expected));
    }

    #[test]
    fn silence_is_told() {
        let (_socket, address) = server();
        let told = ask(address, Duration::from_millis(5)).unwrap_err().explain(address);
        assert_eq!(told.message, format!("`{address}` did not answer within 15ms"));
    }

    #[test]
    fn an_address_to_listen_on_becomes_one_to_ask() {
        let cases = [
            ("0.0.0.0:5353", "127.0.0.1:5353"),
            ("[::]:53", "[::1]:53"),
            ("192.0.2.1:5353", "192.0.2.1:5353"),
            ("[2001:db8::1]:53", "[2001:db8::1]:53"),
        ];
        for (listen, expected) in cases {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), expected);
        }
    }

    #[test]
    fn the_first_configured_address_is_asked() {
        let (socket, address) = server();
        answer_one(socket, 0, respond(0));
        let mut config = Config::default();
        config.server.listen =
            vec![SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()).into(), address.into()];
        check(&config, None).unwrap();
    }
}
