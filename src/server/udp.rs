//! Datagrams: taken, answered and sent in batches.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::UdpSocket;

use super::Worker;
use super::system::Batch;

/// The longest request that is read, in octets; longer ones are counted and dropped.
///
/// Requests are some dozens of octets. What can be longer (updates, signed ones with long names) stays below
/// what EDNS commonly allows, and belongs on TCP above that.
pub(super) const REQUEST_OCTETS_MAX: usize = 4096;
/// How many datagrams a socket may have answered before the worker's other sockets get their turn.
const DATAGRAMS_PER_TURN: usize = 256;
/// How long the socket rests after an error of the system that no client causes, such as want of memory.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// Answers the datagrams of one socket until the worker stops.
pub(super) async fn serve(worker: Rc<Worker>, socket: UdpSocket, bound: SocketAddr) {
    let mut batch = Batch::new(bound, worker.settings.udp_batch);
    while !worker.stopping.get() {
        tokio::select! {
            biased;
            // An error here shows again, with its kind, when the socket is read.
            _ = socket.readable() => serve_turn(&worker, &socket, &mut batch).await,
            () = worker.stopping.requested() => {}
        }
    }
    // What had come before the stop is answered: the port's other sockets cannot see it. To yield first lets
    // tokio learn that there is something.
    tokio::task::yield_now().await;
    serve_turn(&worker, &socket, &mut batch).await;
}

/// Answers what the socket holds, up to one turn's number.
async fn serve_turn(worker: &Worker, socket: &UdpSocket, batch: &mut Batch) {
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
        batch.answer(counters, |client, octets, reply| worker.answer(now, client, octets, reply));
        while let Sending::Blocked = batch.send(socket, counters) {
            // An error here shows again when the rest of the batch is sent.
            let _ = socket.writable().await;
        }
    }
    tokio::task::yield_now().await;
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
