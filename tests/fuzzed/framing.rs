//! Any pieces of a stream: however the octets come, they are the same messages, and each has its reply in its place.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use perigee::answer::{Client, Now, Occasion, Outcome};
use perigee::metrics;
use perigee::server::{self, Clock, Settings, Workers};

/// How long a failing check waits for octets that do not come.
const PATIENCE: Duration = Duration::from_secs(10);
/// Octets beyond these would test the kernel's buffers, and not what reads from them.
const STREAM_OCTETS_MAX: usize = 20_000;

/// Sends octets in pieces, each as long as its first octet says, and reads the replies of a server that echoes.
pub(crate) fn check(octets: &[u8]) {
    let mut stream = TcpStream::connect_timeout(&server(), PATIENCE).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_nodelay(true).expect("no delay");
    let mut sent = Vec::new();
    let mut rest = &octets[..octets.len().min(STREAM_OCTETS_MAX)];
    while let Some((length, after)) = rest.split_first() {
        let (piece, after) = after.split_at(after.len().min(usize::from(*length)));
        rest = after;
        sent.extend_from_slice(piece);
        // The server may have closed by now, having met what makes no sense.
        if stream.write_all(piece).is_err() {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
    let (expected, is_cut) = replies(&sent);
    let mut came = Vec::new();
    let ended = stream.read_to_end(&mut came);
    if is_cut {
        // What the server had not read when it closed makes the system throw away replies that were on their way.
        assert!(expected.starts_with(&came), "{came:02x?} for {sent:02x?}");
    } else {
        ended.expect("the server closes when there is nothing left to answer");
        assert_eq!(came, expected, "for {sent:02x?}");
    }
}

/// What the messages in a stream are answered with, and whether one without octets cuts it.
fn replies(mut stream: &[u8]) -> (Vec<u8>, bool) {
    let mut replies = Vec::new();
    while let Some((length, after)) = stream.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length));
        if length == 0 {
            return (replies, true);
        }
        let Some((message, after)) = after.split_at_checked(length) else { break };
        if !is_dropped(message) {
            replies.extend_from_slice(&stream[..2 + length]);
        }
        stream = after;
    }
    (replies, false)
}

/// Whether the server is silent to a message.
fn is_dropped(message: &[u8]) -> bool {
    message[0] == b'!'
}

/// The address of the one server of all checks.
fn server() -> SocketAddr {
    static SERVER: OnceLock<(Workers, SocketAddr)> = OnceLock::new();
    let start = || {
        let listeners = server::bind(&[SocketAddr::from(([127, 0, 0, 1], 0)).into()], 1).expect("a free port");
        let address = listeners.addresses()[0];
        let counters = Arc::new(metrics::Server::new(1));
        let workers = server::start(listeners, SETTINGS, Clock::start(), counters, |_| echo).expect("a worker");
        (workers, address)
    };
    SERVER.get_or_init(start).1
}

fn echo(_: Now, _: &Client, octets: &[u8], _: Occasion, out: &mut Vec<u8>) -> Outcome {
    if is_dropped(octets) {
        return Outcome::Silence;
    }
    out.extend_from_slice(octets);
    Outcome::Reply
}

const SETTINGS: Settings = Settings {
    udp_batch: 1,
    tcp_connections_max: 64,
    tcp_connections_per_network_max: 0,
    tcp_ipv4_prefix: 32,
    tcp_ipv6_prefix: 64,
    tcp_idle_timeout: PATIENCE,
    tcp_first_timeout: PATIENCE,
    tcp_total_timeout: None,
    tcp_write_timeout: PATIENCE,
    tcp_fast_open: 0,
    stop_timeout: PATIENCE,
    waits_max: 1,
    wait_timeout: PATIENCE,
};
