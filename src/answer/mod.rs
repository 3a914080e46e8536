//! One request in, one outcome out; no socket, no await, no clock.

use std::net::SocketAddr;

/// When a query is answered: the one reading of the clocks that everything else is handed.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Seconds since 1970-01-01 00:00 UTC.
    pub unix_secs: u64,
    /// Time on a clock that never goes back, from an arbitrary start.
    pub monotonic: std::time::Duration,
}

/// How a request came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// One datagram.
    Udp,
    /// A stream with length prefixes.
    Tcp,
}

/// Who asks, and where.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// The sender.
    pub address: SocketAddr,
    /// The address the request was sent to.
    pub local: SocketAddr,
    /// How it came.
    pub transport: Transport,
}

/// What is to be done with a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The octets in `out` are sent.
    Reply,
    /// Nothing is sent.
    Silence,
}

/// One worker's way from requests to responses.
pub struct Responder {}

impl Responder {
    /// Answers one request: appends nothing or one whole message (without a length prefix) to `out`.
    pub fn respond(&mut self, now: Now, client: &Client, octets: &[u8], out: &mut Vec<u8>) -> Outcome {
        let _ = (now, client, octets, out);
        Outcome::Silence
    }
}
