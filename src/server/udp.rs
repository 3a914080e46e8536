//! Datagrams: taken, answered and sent in batches.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::system::Batch;
use super::waiting::{self, Wait};
use super::{Stopping, Worker, pass_on_panic};
use crate::answer::Client;
use crate::metrics;

/// The longest request that is read, in octets; longer ones are counted and dropped.
///
/// Requests are some dozens of octets. What can be longer (updates, signed ones with long names) stays below
/// what EDNS commonly allows, and belongs on TCP above that.
pub(super) const REQUEST_OCTETS_MAX: usize = 4096;
/// How many datagrams a socket may have answered before the worker's other sockets get their turn.
const DATAGRAMS_PER_TURN: usize = 256;
/// How long the socket rests after an error of the system that no client causes, such as want of memory.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// Answers the datagrams of one socket until it is to be left.
pub(super) async fn serve(worker: Rc<Worker>, socket: UdpSocket, bound: SocketAddr, leaving: Rc<Stopping>) {
    let mut udp =
        Udp { socket: Rc::new(socket), batch: Batch::new(bound, worker.settings.udp_batch), late: JoinSet::new() };
    while !leaving.get() {
        tokio::select! {
            biased;
            Some(ended) = udp.late.join_next() => pass_on_panic(ended),
            // An error here shows again, with its kind, when the socket is read.
            _ = udp.socket.readable() => serve_turn(&worker, &mut udp).await,
            () = leaving.requested() => {}
        }
    }
    // What had come before the stop is answered: the port's other sockets cannot see it. To yield first lets
    // tokio learn that there is something.
    tokio::task::yield_now().await;
    serve_turn(&worker, &mut udp).await;
    while let Some(ended) = udp.late.join_next().await {
        pass_on_panic(ended);
    }
}

/// A socket and what is being answered.
struct Udp {
    socket: Rc<UdpSocket>,
    batch: Batch,
    /// Datagrams whose answer lacks something.
    late: JoinSet<()>,
}

/// A datagram that is answered later.
pub(super) struct Held<B> {
    pub(super) client: Client,
    pub(super) request: Vec<u8>,
    /// Room for the reply, which knows where it goes.
    pub(super) batch: B,
}

/// Answers what the socket holds, up to one turn's number.
async fn serve_turn(worker: &Rc<Worker>, Udp { socket, batch, late }: &mut Udp) {
    let counters = &worker.counters().udp;
    for _ in 0..DATAGRAMS_PER_TURN.div_ceil(batch.capacity()) {
        match batch.receive(socket) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => {
                counters.receive_failures.add(1);
                rest_after(&error).await;
                continue;
            }
        }
        let now = worker.clock.now();
        let held = batch.answer(counters, |client, octets, reply| waiting::attempt(worker, now, client, octets, reply));
        for (datagram, wait) in held {
            late.spawn_local(answer_late(worker.clone(), socket.clone(), datagram, wait));
        }
        send(socket, batch, counters).await;
    }
    tokio::task::yield_now().await;
}

/// Answers a datagram when it can be.
async fn answer_late(worker: Rc<Worker>, socket: Rc<UdpSocket>, mut datagram: Held<Batch>, wait: Wait) {
    let counters = &worker.counters().udp;
    let mut reply = Vec::new();
    if wait.end(&datagram.client, &datagram.request, &mut reply).await {
        datagram.batch.put(reply);
        send(&socket, &mut datagram.batch, counters).await;
    } else {
        counters.dropped.add(1);
    }
}

/// Sends the replies of a batch.
async fn send(socket: &UdpSocket, batch: &mut Batch, counters: &metrics::Udp) {
    while let Sending::Blocked = batch.send(socket, counters) {
        // An error here shows again when the rest of the batch is sent.
        let _ = socket.writable().await;
    }
}

/// Rests, unless the error only tells what became of an earlier reply.
async fn rest_after(error: &io::Error) {
    if !matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset) {
        tokio::time::sleep(ERROR_PAUSE).await;
    }
}

/// Whether all replies of a batch are on their way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sending {
    /// All that could be sent are sent.
    Done,
    /// The system takes no more for now.
    Blocked,
}
