//! A server on a free port, questions to it, fake backends that can be told to fail.

pub(crate) mod authority; // a responder over zones given as text, without sockets
pub(crate) mod backend; // a web server that answers as it is told, and tells what it was asked
pub(crate) mod case; // runs the files in tests/cases
pub(crate) mod certificate; // an authority that issues whatever it is asked for
pub(crate) mod failing; // a target that fails in every way there is, and recovers
pub(crate) mod foreign; // a server of another make: a resolver or an authority
pub(crate) mod mmdb; // writes MaxMind DB files
pub(crate) mod powerdns; // a PowerDNS beside a perigee, asked the same
pub(crate) mod process; // a whole perigee, its files and its log
pub(crate) mod receiver; // who is told of flips: takes what is posted, or fails as it is told
pub(crate) mod resolver; // a resolver that answers as and when it is told
pub(crate) mod rig; // a zone, the checker of its targets and a responder in one runtime
pub(crate) mod sources; // the sources as rules about them see them

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use perigee::answer::{Client, Now, Occasion, Outcome};
use perigee::metrics;
use perigee::server::{self, Clock, Error, Orders, Settings, Stop, Workers};

/// How long a test waits for octets that must come; only a failing test waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Settings under which nothing happens by time alone.
pub(crate) const SETTINGS: Settings = Settings {
    udp_batch: 32,
    tcp_connections_max: 64,
    tcp_connections_per_network_max: 0,
    tcp_ipv4_prefix: 32,
    tcp_ipv6_prefix: 128,
    tcp_idle_timeout: PATIENCE,
    tcp_first_timeout: PATIENCE,
    tcp_total_timeout: None,
    tcp_write_timeout: PATIENCE,
    tcp_fast_open: 0,
    stop_timeout: PATIENCE,
    waits_max: 64,
    wait_timeout: PATIENCE,
};

/// The addresses that most tests listen on.
pub(crate) const LOOPBACK: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

/// Workers that serve until this is dropped.
pub(crate) struct Server {
    /// What is listened on, in the order asked for.
    pub(crate) addresses: Vec<SocketAddr>,
    workers: Option<Workers>,
}

impl Server {
    /// Starts workers on free ports whose requests go to what `factory` makes.
    pub(crate) fn start<F, R>(listen: &[&str], workers: usize, settings: Settings, factory: F) -> Self
    where
        F: Fn(usize) -> R + Send + Sync + 'static,
        R: FnMut(Now, &Client, &[u8], Occasion, &mut Vec<u8>) -> Outcome + 'static,
    {
        let listen: Vec<_> = listen.iter().map(|address| address.parse::<SocketAddr>().unwrap().into()).collect();
        let listeners = server::bind(&listen, workers).unwrap();
        let addresses = listeners.addresses().to_vec();
        let counters = Arc::new(metrics::Server::new(workers));
        let workers = server::start(listeners, settings, Clock::start(), counters, factory).unwrap();
        Self { addresses, workers: Some(workers) }
    }

    /// Starts two workers that send each request back.
    pub(crate) fn echo(listen: &[&str], settings: Settings) -> Self {
        Self::start(listen, 2, settings, |_| echo)
    }

    /// The handle that stops it.
    pub(crate) fn stop(&self) -> Stop {
        self.workers.as_ref().expect("taken only by `join`").stop()
    }

    /// The handle that tells the workers what to do.
    pub(crate) fn orders(&self) -> Orders {
        self.workers.as_ref().expect("taken only by `join`").orders()
    }

    /// One counter, summed over the workers.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        self.workers.as_ref().expect("taken only by `join`").counters().snapshot().get(name)
    }

    /// Waits until it has ended, which it does after a stop or a failure.
    pub(crate) fn join(mut self) -> Result<(), Error> {
        self.workers.take().expect("taken only here").join()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(workers) = self.workers.take() {
            workers.stop().request();
            let ended = workers.join();
            if !std::thread::panicking() {
                ended.unwrap();
            }
        }
    }
}

/// Sends a request back as the reply.
pub(crate) fn echo(_: Now, _: &Client, octets: &[u8], _: Occasion, out: &mut Vec<u8>) -> Outcome {
    out.extend_from_slice(octets);
    Outcome::Reply
}

/// Opens a UDP socket that hears from `server` alone.
pub(crate) fn udp_to(server: SocketAddr) -> UdpSocket {
    let any = if server.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
    let socket = UdpSocket::bind(any).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Takes the next datagram.
pub(crate) fn receive(socket: &UdpSocket) -> io::Result<Vec<u8>> {
    let mut octets = vec![0; 65_535];
    let length = socket.recv(&mut octets)?;
    octets.truncate(length);
    Ok(octets)
}

/// Asks once by UDP.
pub(crate) fn ask_udp(server: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let socket = udp_to(server);
    socket.send(request)?;
    receive(&socket)
}

/// Opens a TCP connection whose octets leave as they are written.
pub(crate) fn tcp_to(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&server, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Puts the length before a message (RFC 1035 section 4.2.2).
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap();
    [&length.to_be_bytes(), message].concat()
}

/// Reads one message and its length.
pub(crate) fn read_message(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// Asks once on an open connection.
pub(crate) fn ask_on(mut stream: &TcpStream, request: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(&framed(request))?;
    read_message(stream)
}

/// Asks once by TCP.
pub(crate) fn ask_tcp(server: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    ask_on(&tcp_to(server), request)
}
