//! What every system offers: clones of one socket, one datagram at a time.
//!
//! A socket bound to all addresses does not learn which one was asked, so `Client::local` is then the
//! unspecified address, and the system chooses where a reply leaves from.

use std::io;
use std::net::SocketAddr;

use socket2::Socket;
use tokio::net::UdpSocket;

use super::canonical;
use super::udp::{Held, REQUEST_OCTETS_MAX, Sending};
use super::waiting::{Attempt, Wait};
use crate::answer::{Client, Transport};
use crate::metrics;

/// Whether a listener needs `SO_REUSEADDR` to be bound again soon; on Windows that would share the port.
pub(super) const RESTART_NEEDS_REUSE: bool = cfg!(unix);

/// Makes `count` sockets of a bound one, by cloning it.
pub(super) fn share(first: Socket, count: usize, _another: impl Fn() -> io::Result<Socket>) -> io::Result<Vec<Socket>> {
    let mut sockets = vec![first];
    while sockets.len() < count {
        sockets.push(sockets[0].try_clone()?);
    }
    Ok(sockets)
}

/// Lets a socket be bound to an address that the machine does not have yet; here none can be.
pub(super) fn bind_ahead(_socket: &Socket, _address: SocketAddr) -> io::Result<()> {
    Ok(())
}

/// Sets the options of a UDP socket: here there is none beyond the common ones.
pub(super) fn prepare_udp(_socket: &Socket, _address: SocketAddr) -> io::Result<()> {
    Ok(())
}

/// Lets clients ask with their first segment: here they may not, as each system has its own way.
pub(super) fn offer_fast_open(_listener: &Socket, _queue: usize) -> io::Result<()> {
    Ok(())
}

/// Room for one datagram and its reply.
pub(super) struct Batch {
    bound: SocketAddr,
    // One octet more than a request may have, as that is how a longer one shows.
    octets: Box<[u8; REQUEST_OCTETS_MAX + 1]>,
    received: Option<(usize, SocketAddr)>,
    reply: Vec<u8>,
    reply_to: Option<SocketAddr>,
}

impl Batch {
    /// Makes room; the batch is of one, whatever `_capacity` asks for.
    pub(super) fn new(bound: SocketAddr, _capacity: usize) -> Self {
        let octets = Box::new([0; REQUEST_OCTETS_MAX + 1]);
        Self { bound, octets, received: None, reply: Vec::new(), reply_to: None }
    }

    /// How many datagrams fit.
    pub(super) fn capacity(&self) -> usize {
        1
    }

    /// Takes a datagram from the socket; `WouldBlock` if there is none.
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> io::Result<()> {
        self.received = Some(socket.try_recv_from(&mut self.octets[..])?);
        Ok(())
    }

    /// Calls `respond` for the datagram, and keeps the reply to be sent.
    ///
    /// Returns the datagram if it is to be answered later.
    pub(super) fn answer(
        &mut self,
        counters: &metrics::Udp,
        mut respond: impl FnMut(&Client, &[u8], &mut Vec<u8>) -> Attempt,
    ) -> Vec<(Held<Self>, Wait)> {
        let Some((length, address)) = self.received.take() else { return Vec::new() };
        if length > REQUEST_OCTETS_MAX {
            counters.truncated.add(1);
            return Vec::new();
        }
        if address.port() == 0 {
            counters.dropped.add(1);
            return Vec::new();
        }
        counters.requests.add(1);
        let client = Client { address: canonical(address), local: self.bound, transport: Transport::Udp };
        let request = &self.octets[..length];
        match respond(&client, request, &mut self.reply) {
            Attempt::Reply => self.reply_to = Some(address),
            Attempt::Silence => counters.dropped.add(1),
            Attempt::Wait(wait) => {
                let batch = Self { reply_to: Some(address), ..Self::new(self.bound, 1) };
                return vec![(Held { client, request: request.to_vec(), batch }, wait)];
            }
        }
        Vec::new()
    }

    /// Takes the reply of a batch that was made for it, to be sent.
    pub(super) fn put(&mut self, reply: Vec<u8>) {
        self.reply = reply;
    }

    /// Sends the reply; to be called again when the socket is writable if it is blocked.
    pub(super) fn send(&mut self, socket: &UdpSocket, counters: &metrics::Udp) -> Sending {
        let Some(address) = self.reply_to else { return Sending::Done };
        match socket.try_send_to(&self.reply, address) {
            Ok(_) => counters.replies.add(1),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Sending::Blocked,
            Err(_) => counters.send_failures.add(1),
        }
        self.reply_to = None;
        Sending::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets a batch take one datagram of `request`, and returns what came back from echoing it, if anything did.
    async fn echo(request: &[u8], counters: &metrics::Udp) -> Option<Vec<u8>> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let bound = socket.local_addr().unwrap();
        client.send_to(request, bound).await.unwrap();

        let mut batch = Batch::new(bound, 64);
        socket.readable().await.unwrap();
        batch.receive(&socket).unwrap();
        batch.answer(counters, |from, octets, reply| {
            assert_eq!((from.address, from.local), (client.local_addr().unwrap(), bound));
            reply.extend_from_slice(octets);
            Attempt::Reply
        });
        socket.writable().await.unwrap();
        assert_eq!(batch.send(&socket, counters), Sending::Done);
        if counters.replies.get() == 0 {
            return None;
        }
        let mut reply = vec![0; REQUEST_OCTETS_MAX];
        let (length, _) = client.recv_from(&mut reply).await.unwrap();
        reply.truncate(length);
        Some(reply)
    }

    #[tokio::test]
    async fn a_datagram_is_answered() {
        assert_eq!(echo(b"question", &metrics::Udp::default()).await.as_deref(), Some(b"question".as_slice()));
    }

    #[tokio::test]
    async fn a_datagram_that_is_too_long_is_counted_and_dropped() {
        let counters = metrics::Udp::default();
        assert_eq!(echo(&[0; REQUEST_OCTETS_MAX + 1], &counters).await, None);
        assert_eq!((counters.truncated.get(), counters.requests.get()), (1, 0));
    }

    #[test]
    fn workers_share_clones_of_one_socket() {
        let listener = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let bound = listener.local_addr().unwrap();
        let sockets = share(listener.into(), 3, || unreachable!("clones need no other socket")).unwrap();
        assert_eq!(sockets.len(), 3);
        for socket in sockets {
            assert_eq!(socket.local_addr().unwrap().as_socket(), Some(bound));
        }
    }
}
