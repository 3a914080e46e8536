//! One connection: its messages are read, answered and written until something ends it.
//!
//! They are answered in their order, but for those that lack something: the ones behind them do not wait (RFC 7766
//! section 6.2.1.1). Nothing is read while replies cannot be written, or while too many messages wait.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::ops::ControlFlow::{self, Break, Continue};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};

use super::seats::Seat;
use crate::answer::Client;
use crate::server::waiting::{self, Attempt, Wait};
use crate::server::{Worker, pass_on_panic};

/// How many octets of replies are gathered before they are written; the last reply may go beyond.
const WRITE_OCTETS: usize = 16 * 1024;
/// How many messages of a connection may wait to be answered; it is read no further meanwhile.
const LATE_MAX: usize = 32;
/// How long after its last reply what a client still sends is thrown away.
///
/// Octets that come to a closed socket make the kernel reset the connection, and with it goes what the client has not
/// read yet. Long enough for our end to be seen by most clients, too short to hold up a restart.
const LINGER: Duration = Duration::from_millis(200);

/// What ended a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// The client sends no more.
    Client,
    /// The connection broke, most often as the client is gone.
    Broken,
    /// No message that could be answered came for too long.
    Idle,
    /// It has lasted as long as any may.
    Total,
    /// The client did not read its replies in time.
    Unread,
    /// Another connection has its seat.
    PushedOut,
    /// A message without octets was met: nothing after it makes sense.
    Malformed,
    /// The client is to get no answer.
    TurnedAway,
    /// The server stops.
    Stopping,
}

/// A connection and what it has under way; while it waits for a message it keeps no room for any.
pub(super) struct Connection<'w> {
    worker: &'w Rc<Worker>,
    stream: TcpStream,
    client: Client,
    seat: &'w Rc<Seat>,
    /// How long its first message may take.
    first_timeout: Duration,
    /// What was read and is not a whole message yet, or not answered yet.
    input: Vec<u8>,
    /// Replies that are not written yet.
    output: Vec<u8>,
    /// Messages whose answer lacks something.
    late: JoinSet<Option<Vec<u8>>>,
    /// When replies were last written.
    replied_at: Option<Instant>,
}

/// What one turn did.
struct Turn {
    /// How many replies it made.
    replies: u64,
    /// Whether any message was, or will be, answered. Only such a message buys time.
    is_use: bool,
    next: Next,
}

/// What is to be done after a turn's replies are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// More whole messages are in the input.
    Answer,
    /// The rest of a message is to be read.
    Read,
    /// As many messages wait to be answered as may.
    Wait,
    /// A message was met after which there is to be no other.
    Close(End),
}

/// What a connection that waits is waiting for.
enum Event {
    /// Octets, or the end of them.
    Come,
    /// A message that lacked something is answered, or gets no reply.
    Late(Result<Option<Vec<u8>>, JoinError>),
    /// Its seat is another's, so that it must end at once: there would be one more than may be.
    Lost,
    /// It is to end once what it has asked by now is answered.
    Leave(End),
}

impl<'w> Connection<'w> {
    pub(super) fn new(
        worker: &'w Rc<Worker>,
        stream: TcpStream,
        client: Client,
        (seat, first_timeout): (&'w Rc<Seat>, Duration),
    ) -> Self {
        let (input, output) = (Vec::new(), Vec::new());
        Self { worker, stream, client, seat, first_timeout, input, output, late: JoinSet::new(), replied_at: None }
    }

    /// Answers one client's messages until it closes, breaks the rules, is too slow, or has to leave; then see
    /// [`Self::end`].
    ///
    /// What it has asked by then is answered, unless the connection broke or its seat is another's.
    pub(super) async fn converse(&mut self) -> End {
        let Break(end) = self.serve().await;
        if matches!(end, End::Broken | End::Unread) {
            return end;
        }
        match self.end_waits().await {
            Continue(()) => end,
            Break(worse) => worse,
        }
    }

    /// Ends the connection, so that the client gets all of its replies if it reads them.
    pub(super) async fn end(mut self, end: End) {
        match end {
            End::Client | End::Broken => {}
            // Replies that nobody reads would stay with the kernel for minutes; a reset frees it of them.
            End::Unread => drop(self.stream.set_zero_linger()),
            // It has no seat any more, so that it may not stay a moment longer either.
            End::PushedOut => self.take_leave(Instant::now()).await,
            End::Idle | End::Total | End::Malformed | End::TurnedAway | End::Stopping => {
                let until = self.replied_at.map_or_else(Instant::now, |at| at + LINGER);
                self.take_leave(until).await;
            }
        }
    }

    /// Reads, answers and writes.
    async fn serve(&mut self) -> ControlFlow<End, Infallible> {
        if let Err(error) = self.stream.set_nodelay(true) {
            return broken(error);
        }
        let settings = &self.worker.settings;
        let opened = Instant::now();
        let mut deadline = opened + self.first_timeout;
        let mut leaving = None;
        let mut next = Next::Read;
        loop {
            if settings.tcp_total_timeout.is_some_and(|total| opened.elapsed() >= total) {
                leaving = Some(End::Total);
            }
            match (next, leaving) {
                (Next::Close(end), _) => return Break(end),
                (Next::Read, Some(end)) => return Break(end),
                (Next::Answer, _) => {}
                (Next::Read, None) | (Next::Wait, _) => {
                    self.rest();
                    let until = self.patience(opened, deadline);
                    match self.wait(until, next, leaving.is_some()).await {
                        Event::Come => {}
                        Event::Late(ended) => {
                            let replies = self.take_late(ended);
                            self.write(replies).await?;
                            deadline = Instant::now() + settings.tcp_idle_timeout;
                            next = if next == Next::Wait { Next::Answer } else { next };
                            continue;
                        }
                        Event::Lost => return Break(End::PushedOut),
                        Event::Leave(end) => leaving = Some(end),
                    }
                }
            }
            let turn = self.take_turn(next).await?;
            if turn.is_use {
                deadline = Instant::now() + settings.tcp_idle_timeout;
            }
            next = turn.next;
        }
    }

    /// Reads what has come, answers messages and writes, while no other connection does.
    ///
    /// So there is one turn at most between two looks at the worker's other sockets: however many connections want to be
    /// served, a datagram waits for one of them.
    async fn take_turn(&mut self, next: Next) -> ControlFlow<End, Turn> {
        let worker = self.worker;
        let alone = tokio::select! {
            biased;
            () = self.seat.lost() => return Break(End::PushedOut),
            alone = worker.turns.acquire() => alone,
        };
        if next == Next::Read {
            self.read_what_came().await?;
        }
        let turn = self.answer_turn();
        if turn.is_use {
            worker.seats.answering(self.seat);
        }
        self.write_at_once();
        tokio::task::yield_now().await;
        drop(alone);
        self.write(turn.replies).await?;
        Continue(turn)
    }

    /// Until when the next octets are waited for.
    fn patience(&self, opened: Instant, deadline: Instant) -> Instant {
        let settings = &self.worker.settings;
        // Whoever waits for us is not idle.
        let spare = if self.late.is_empty() { Duration::ZERO } else { settings.wait_timeout };
        let end = settings.tcp_total_timeout.map(|total| opened + total);
        end.map_or(deadline + spare, |end| end.min(deadline + spare))
    }

    /// Gives back what is not needed until something comes; if nothing is being answered, the seat may be lost.
    fn rest(&mut self) {
        if self.late.is_empty() {
            self.worker.seats.waiting(self.seat);
        }
        // Twice as much as there is, so that a message in many pieces is not moved for each of them.
        self.input.shrink_to(2 * self.input.len());
        self.output = Vec::new();
    }

    /// Waits for the next that happens; what would make it leave does not count if it is leaving already.
    async fn wait(&mut self, until: Instant, next: Next, is_leaving: bool) -> Event {
        let Self { worker, stream, seat, late, .. } = self;
        tokio::select! {
            biased;
            () = seat.lost() => Event::Lost,
            () = worker.stopping.requested(), if !is_leaving => Event::Leave(End::Stopping),
            Some(ended) = late.join_next() => Event::Late(ended),
            // An error here shows again when the stream is read.
            come = timeout_at(until, stream.readable()), if next == Next::Read => match come {
                Ok(_) => Event::Come,
                Err(_) => Event::Leave(End::Idle),
            },
        }
    }

    /// Reads once without waiting.
    async fn read_what_came(&mut self) -> ControlFlow<End> {
        let Self { worker, stream, input, .. } = self;
        let mut reading = pin!(read(worker, stream, input));
        match poll_fn(|context| Poll::Ready(reading.as_mut().poll(context))).await {
            Poll::Ready(Ok(0)) => Break(End::Client),
            Poll::Ready(Err(error)) => broken(error),
            Poll::Ready(Ok(_)) | Poll::Pending => Continue(()),
        }
    }

    /// Answers the whole messages of the input, in order, until enough replies have gathered.
    ///
    /// Those that lack something are answered late.
    fn answer_turn(&mut self) -> Turn {
        let counters = &self.worker.counters().tcp;
        let now = self.worker.clock.now();
        let mut reply = self.worker.reply.borrow_mut();
        let mut turn = Turn { replies: 0, is_use: false, next: Next::Answer };
        let (mut rest, mut requests) = (self.input.as_slice(), 0);
        while self.output.len() < WRITE_OCTETS {
            if self.late.len() >= LATE_MAX {
                turn.next = Next::Wait;
                break;
            }
            let Some((message, after)) = split_message(rest) else {
                turn.next = Next::Read;
                break;
            };
            if message.is_empty() {
                turn.next = Next::Close(End::Malformed);
                break;
            }
            rest = after;
            requests += 1;
            match waiting::attempt(self.worker, now, &self.client, message, &mut reply) {
                Attempt::Silence => {
                    counters.dropped.add(1);
                    continue;
                }
                Attempt::Close => {
                    counters.dropped.add(1);
                    turn.next = Next::Close(End::TurnedAway);
                    break;
                }
                Attempt::Reply => turn.replies += put(self.worker, &reply, &mut self.output),
                Attempt::Wait(wait) => {
                    self.late.spawn_local(answer_late(wait, self.client, message.to_vec()));
                }
            }
            turn.is_use = true;
        }
        counters.requests.add(requests);
        let answered = self.input.len() - rest.len();
        self.input.drain(..answered);
        turn
    }

    /// Gathers the reply of a message that was answered late; returns how many replies that is.
    fn take_late(&mut self, ended: Result<Option<Vec<u8>>, JoinError>) -> u64 {
        match ended {
            Ok(Some(reply)) => put(self.worker, &reply, &mut self.output),
            Ok(None) => {
                self.worker.counters().tcp.dropped.add(1);
                0
            }
            Err(error) => {
                pass_on_panic(Err(error));
                0
            }
        }
    }

    /// Writes as much of the replies that have gathered as the system takes at once.
    ///
    /// Each goes out together with its length (RFC 7766 section 8).
    fn write_at_once(&mut self) {
        // An error shows again when the rest is written.
        if !self.output.is_empty()
            && let Ok(octets) = self.stream.try_write(&self.output)
        {
            self.output.drain(..octets);
        }
    }

    /// Writes what is left of the replies that have gathered, which are so many.
    async fn write(&mut self, replies: u64) -> ControlFlow<End> {
        let counters = &self.worker.counters().tcp;
        let outcome = match timeout(self.worker.settings.tcp_write_timeout, self.stream.write_all(&self.output)).await {
            Ok(Ok(())) => Continue(()),
            Ok(Err(_)) => Break(End::Broken),
            Err(_) => Break(End::Unread),
        };
        let counter = if outcome.is_continue() { &counters.replies } else { &counters.send_failures };
        counter.add(replies);
        self.output.clear();
        if replies > 0 {
            self.replied_at = Some(Instant::now());
        }
        outcome
    }

    /// Answers the messages that still lack something.
    async fn end_waits(&mut self) -> ControlFlow<End> {
        while let Some(ended) = self.late.join_next().await {
            let replies = self.take_late(ended);
            self.write(replies).await?;
        }
        Continue(())
    }

    /// Says that nothing more comes; what the client sends until then is thrown away.
    async fn take_leave(&mut self, until: Instant) {
        if self.stream.shutdown().await.is_err() {
            return;
        }
        let Self { worker, stream, input, .. } = self;
        // There is a read in any case: an octet that has come is as bad as one that is to come.
        let _ = timeout_at(until, async {
            while read(worker, stream, input).await.is_ok_and(|octets| octets > 0) {
                input.clear();
            }
        })
        .await;
    }
}

/// The end of a connection by an error of the system.
fn broken<T>(_: io::Error) -> ControlFlow<End, T> {
    Break(End::Broken)
}

/// Waits for octets, and appends them to `input`; returns how many, which is none at the end.
///
/// The room that the system needs is the worker's: it is taken for the moment in which there is something.
async fn read(worker: &Worker, stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<usize> {
    poll_fn(|context| {
        let mut scratch = worker.scratch.borrow_mut();
        let mut octets = ReadBuf::new(&mut scratch);
        ready!(Pin::new(&mut *stream).poll_read(context, &mut octets))?;
        input.extend_from_slice(octets.filled());
        Poll::Ready(Ok(octets.filled().len()))
    })
    .await
}

/// Answers a message when it can be; `None` if it gets no reply.
async fn answer_late(wait: Wait, client: Client, message: Vec<u8>) -> Option<Vec<u8>> {
    let mut reply = Vec::new();
    wait.end(&client, &message, &mut reply).await.then_some(reply)
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
