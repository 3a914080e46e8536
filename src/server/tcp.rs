//! Streams: messages behind a length of two octets (RFC 7766).
//!
//! They are answered in their order, but for those that lack something: the ones behind them do not wait (RFC 7766
//! section 6.2.1.1).

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};

use super::waiting::{self, Attempt, Wait};
use super::{Worker, pass_on_panic};
use crate::answer::{Client, Transport};

/// How many octets are read at once: some dozens of pipelined queries.
const READ_OCTETS: usize = 4096;
/// How many octets of replies are gathered before they are written; the last reply may go beyond.
const WRITE_OCTETS: usize = 16 * 1024;
/// What a connection keeps of each buffer's room while it waits.
const KEPT_OCTETS: usize = 4096;
/// How many messages of a connection may wait to be answered; it is read no further meanwhile.
const LATE_MAX: usize = 32;
/// How long no connection is taken after an error that no client causes, such as too many open files.
const ERROR_PAUSE: Duration = Duration::from_millis(50);

/// Takes connections until the worker stops, then waits for those it has.
pub(super) async fn serve(worker: Rc<Worker>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    while !worker.stopping.get() {
        tokio::select! {
            biased;
            () = worker.stopping.requested() => {}
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

/// Gives a connection a seat and a task of its own, or closes it if no seat can be had.
fn take(worker: &Rc<Worker>, connections: &mut JoinSet<()>, stream: TcpStream, address: SocketAddr) {
    let counters = &worker.counters().tcp;
    let (Some(seat), Ok(local)) = (worker.seats.take(), stream.local_addr()) else {
        return counters.refused.add(1);
    };
    counters.opened.add(1);
    let client = Client { address, local, transport: Transport::Tcp };
    let worker = worker.clone();
    connections.spawn_local(async move {
        // However a connection ends, it is over: the client sees it closed, and an operator the counters.
        let _ = converse(&worker, stream, &client, &seat).await;
        worker.seats.give_back(&seat);
        worker.counters().tcp.closed.add(1);
    });
}

/// Rests, unless the error concerns only the connection that could not be taken.
async fn rest_after(worker: &Worker, error: &io::Error) {
    if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        worker.counters().tcp.refused.add(1);
        tokio::time::sleep(ERROR_PAUSE).await;
    }
}

/// Answers one client's messages until it closes, breaks the rules, is too slow, or has to leave.
///
/// What it has asked by then is answered, unless it is the connection that broke.
async fn converse(worker: &Rc<Worker>, mut stream: TcpStream, client: &Client, seat: &Seat) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = Vec::new();
    let mut output = Vec::new();
    let mut late = JoinSet::new();
    let mut deadline = Instant::now() + worker.settings.tcp_idle_timeout;
    loop {
        let turn = answer_turn(worker, client, &mut input, &mut output, &mut late);
        if turn.requests > 0 {
            seat.busy.set(true);
            write(worker, &mut stream, &mut output, turn.replies).await?;
            deadline = Instant::now() + worker.settings.tcp_idle_timeout;
            seat.answered_at.set(Instant::now());
        }
        let may_read = match turn.next {
            Next::Answer => {
                tokio::task::yield_now().await;
                continue;
            }
            Next::Close => break,
            Next::Read if worker.stopping.get() => break,
            Next::Read => true,
            Next::Wait => false,
        };
        seat.busy.set(!late.is_empty());
        input.shrink_to(KEPT_OCTETS);
        input.reserve(READ_OCTETS);
        // Whoever waits for us is not idle.
        let spare = if late.is_empty() { Duration::ZERO } else { worker.settings.wait_timeout };
        let read = tokio::select! {
            biased;
            () = seat.leave.notified() => break,
            Some(ended) = late.join_next() => {
                let replies = take_late(worker, ended, &mut output);
                write(worker, &mut stream, &mut output, replies).await?;
                deadline = Instant::now() + worker.settings.tcp_idle_timeout;
                seat.answered_at.set(Instant::now());
                continue;
            }
            read = timeout_at(deadline + spare, stream.read_buf(&mut input)), if may_read => read??,
        };
        if read == 0 {
            break;
        }
        if read >= READ_OCTETS {
            // The client sends as fast as we read; the worker's other sockets come first now.
            tokio::task::yield_now().await;
        }
    }
    while let Some(ended) = late.join_next().await {
        let replies = take_late(worker, ended, &mut output);
        write(worker, &mut stream, &mut output, replies).await?;
    }
    Ok(())
}

/// What one turn did.
struct Turn {
    requests: u64,
    replies: u64,
    next: Next,
}

/// What is to be done after a turn's replies are written.
enum Next {
    /// More whole messages are in the input.
    Answer,
    /// The rest of a message is to be read.
    Read,
    /// As many messages wait to be answered as may.
    Wait,
    /// A message without octets was met, after which nothing makes sense; or whoever asks is to get no answer.
    Close,
}

/// Answers the whole messages in `input`, in order, until enough replies have gathered in `output`.
///
/// Those that lack something go to `late`.
fn answer_turn(
    worker: &Rc<Worker>,
    client: &Client,
    input: &mut Vec<u8>,
    output: &mut Vec<u8>,
    late: &mut JoinSet<Option<Vec<u8>>>,
) -> Turn {
    let counters = &worker.counters().tcp;
    let now = worker.clock.now();
    let mut reply = worker.reply.borrow_mut();
    let mut turn = Turn { requests: 0, replies: 0, next: Next::Answer };
    let mut rest = input.as_slice();
    while output.len() < WRITE_OCTETS {
        if late.len() >= LATE_MAX {
            turn.next = Next::Wait;
            break;
        }
        let Some((message, after)) = split_message(rest) else {
            turn.next = Next::Read;
            break;
        };
        if message.is_empty() {
            turn.next = Next::Close;
            break;
        }
        rest = after;
        turn.requests += 1;
        match waiting::attempt(worker, now, client, message, &mut reply) {
            Attempt::Silence => counters.dropped.add(1),
            Attempt::Close => {
                counters.dropped.add(1);
                turn.next = Next::Close;
                break;
            }
            Attempt::Reply => turn.replies += put(worker, &reply, output),
            Attempt::Wait(wait) => {
                late.spawn_local(answer_late(wait, *client, message.to_vec()));
            }
        }
    }
    counters.requests.add(turn.requests);
    let answered = input.len() - rest.len();
    input.drain(..answered);
    turn
}

/// Answers a message when it can be; `None` if it gets no reply.
async fn answer_late(wait: Wait, client: Client, message: Vec<u8>) -> Option<Vec<u8>> {
    let mut reply = Vec::new();
    wait.end(&client, &message, &mut reply).await.then_some(reply)
}

/// Appends the reply of a message that was answered late; returns how many replies that is.
fn take_late(worker: &Worker, ended: Result<Option<Vec<u8>>, JoinError>, output: &mut Vec<u8>) -> u64 {
    match ended {
        Ok(Some(reply)) => put(worker, &reply, output),
        Ok(None) => {
            worker.counters().tcp.dropped.add(1);
            0
        }
        Err(error) => {
            pass_on_panic(Err(error));
            0
        }
    }
}

/// Appends a reply behind its length; returns how many replies that is.
fn put(worker: &Worker, reply: &[u8], output: &mut Vec<u8>) -> u64 {
    let Ok(length) = u16::try_from(reply.len()) else {
        // No length prefix can announce it.
        worker.counters().tcp.send_failures.add(1);
        return 0;
    };
    output.extend_from_slice(&length.to_be_bytes());
    output.extend_from_slice(reply);
    1
}

/// Splits the first whole message from `input`: its octets without the prefix, and what follows.
fn split_message(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (prefix, rest) = input.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*prefix)))
}

/// Writes and empties `output`, which holds so many replies.
async fn write(worker: &Worker, stream: &mut TcpStream, output: &mut Vec<u8>, replies: u64) -> io::Result<()> {
    let counters = &worker.counters().tcp;
    let written = timeout(worker.settings.tcp_write_timeout, stream.write_all(output)).await;
    let outcome = written.unwrap_or_else(|too_slow| Err(too_slow.into()));
    let counter = if outcome.is_ok() { &counters.replies } else { &counters.send_failures };
    counter.add(replies);
    output.clear();
    output.shrink_to(KEPT_OCTETS);
    outcome
}

/// The connections a worker may have, so that there is an end to them.
///
/// When all seats are taken, the one who has waited longest since its last whole request must leave: octets
/// that never become a request keep no seat.
pub(super) struct Seats {
    taken: RefCell<Vec<Rc<Seat>>>,
    max: usize,
}

/// One connection's leave to stay.
pub(super) struct Seat {
    /// Whether whole requests are there or replies are being written; such a connection is not asked to leave.
    busy: Cell<bool>,
    /// When it last had nothing more to answer; at first, when it came.
    answered_at: Cell<Instant>,
    /// Tells it to leave as soon as it has nothing to answer.
    leave: Notify,
}

impl Seats {
    /// Makes so many seats.
    pub(super) fn new(max: usize) -> Self {
        Self { taken: RefCell::default(), max }
    }

    /// Tells everyone to leave.
    pub(super) fn empty(&self) {
        for seat in self.taken.borrow().iter() {
            seat.leave.notify_one();
        }
    }

    /// Takes a seat, if need be from the one who has waited longest; `None` if everyone is being answered.
    fn take(&self) -> Option<Rc<Seat>> {
        let mut taken = self.taken.borrow_mut();
        if taken.len() >= self.max {
            let waiting = taken.iter().enumerate().filter(|(_, seat)| !seat.busy.get());
            let (longest, _) = waiting.min_by_key(|(_, seat)| seat.answered_at.get())?;
            taken.swap_remove(longest).leave.notify_one();
        }
        let answered_at = Cell::new(Instant::now());
        let seat = Rc::new(Seat { busy: Cell::new(false), answered_at, leave: Notify::new() });
        taken.push(seat.clone());
        Some(seat)
    }

    /// Frees a seat; one that was taken away is gone already.
    fn give_back(&self, seat: &Rc<Seat>) {
        self.taken.borrow_mut().retain(|taken| !Rc::ptr_eq(taken, seat));
    }
}
