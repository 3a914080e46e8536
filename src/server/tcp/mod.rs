//! Streams: messages behind a length of two octets (RFC 7766).
//!
//! Here connections are taken and counted. `connection.rs` is the life of one; `seats.rs` tells which may stay and which
//! makes room for another, and `networks.rs` how many each client network has.

mod connection;
mod networks;
mod seats;

pub(super) use seats::{Hall, Seats};

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use self::connection::{Connection, End};
use self::seats::Refusal;
use super::{Settings, Stopping, Worker, canonical, pass_on_panic, system};
use crate::answer::{Client, Transport};
use crate::metrics;

/// What the kernel keeps of a connection's replies that the client has not taken, in octets; Linux doubles it.
///
/// Left to itself Linux keeps up to 4 MiB for a client that never reads. The longest message fits, with its length.
const SEND_OCTETS: usize = 128 * 1024;
/// What it keeps of requests that were not read yet: by default it is as much, and grows.
const RECEIVE_OCTETS: usize = 64 * 1024;
/// How long no connection is taken after an error that no client causes, such as too many open files.
const ERROR_PAUSE: Duration = Duration::from_millis(50);

/// Takes connections until the address is to be left, then waits for those it has.
pub(super) async fn serve(worker: Rc<Worker>, listener: TcpListener, leaving: Rc<Stopping>) {
    prepare(&listener, worker.settings.tcp_fast_open);
    let mut connections = JoinSet::new();
    while !leaving.get() {
        tokio::select! {
            biased;
            () = leaving.requested() => {}
            Some(ended) = connections.join_next() => pass_on_panic(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => take(&worker, &mut connections, stream, address),
                Err(error) => rest_after(&worker, &error).await,
            },
        }
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        pass_on_panic(ended);
    }
}

/// Sets what connections inherit, and offers Fast Open; a system that has neither serves all the same.
fn prepare(listener: &TcpListener, fast_open: usize) {
    let socket = SockRef::from(listener);
    let _ = socket.set_send_buffer_size(SEND_OCTETS);
    let _ = socket.set_recv_buffer_size(RECEIVE_OCTETS);
    let _ = system::offer_fast_open(&socket, fast_open);
}

/// Gives a connection a seat and a task of its own, or closes it if it cannot have one.
fn take(worker: &Rc<Worker>, connections: &mut JoinSet<()>, stream: TcpStream, address: SocketAddr) {
    let counters = &worker.counters().tcp;
    // The client is gone again.
    let Ok(local) = stream.local_addr().map(canonical) else { return counters.refused.add(1) };
    let address = canonical(address);
    let seat = match worker.seats.take(address.ip()) {
        Ok(seat) => seat,
        Err(Refusal::Full) => return counters.refused.add(1),
        Err(Refusal::Network) => return counters.refused_by_network.add(1),
    };
    counters.opened.add(1);
    let Settings { tcp_first_timeout, tcp_idle_timeout, .. } = worker.settings;
    let run_short = worker.seats.run_short();
    let first_timeout = if run_short { tcp_first_timeout.min(tcp_idle_timeout) } else { tcp_idle_timeout };
    let client = Client { address, local, transport: Transport::Tcp };
    let worker = worker.clone();
    connections.spawn_local(async move {
        let mut connection = Connection::new(&worker, stream, client, (&seat, first_timeout));
        let end = connection.converse().await;
        // Before the client can know of it.
        count(end, &worker.counters().tcp);
        connection.end(end).await;
        worker.seats.give_back(&seat);
    });
}

/// Counts a connection that ends.
fn count(end: End, counters: &metrics::Tcp) {
    counters.closed.add(1);
    let way = match end {
        End::Client => &counters.closed_by_client,
        End::Broken => &counters.broken,
        End::Idle => &counters.closed_idle,
        End::Total => &counters.closed_old,
        End::Unread => &counters.closed_unread,
        End::PushedOut => &counters.pushed_out,
        End::Malformed => &counters.closed_malformed,
        End::Stopping => &counters.closed_stopping,
    };
    way.add(1);
}

/// Rests, unless the error concerns only the connection that could not be taken.
async fn rest_after(worker: &Worker, error: &io::Error) {
    if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        worker.counters().tcp.refused.add(1);
        tokio::time::sleep(ERROR_PAUSE).await;
    }
}
