//! HTTP over one connection, in either version, with nothing left running when it is dropped.

use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{in_words, tls};
use crate::health::Reason;

/// How long the header of a reply may be, in octets; curl takes little more.
const HEADER_OCTETS_MAX: usize = 256 << 10;
/// How much of a body an HTTP/2 server may send before it is read.
const WINDOW_OCTETS: u32 = 256 << 10;

/// The versions of HTTP, for whom TLS has settled on one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// HTTP/1.1, or 1.0 if the server replies in that.
    One,
    /// HTTP/2.
    Two,
}

/// A connection that takes requests, one after the other.
pub(super) struct Link {
    sender: Sender,
    background: Background,
}

enum Sender {
    One(http1::SendRequest<Empty<Bytes>>),
    Two(http2::SendRequest<Empty<Bytes>>),
}

impl Link {
    /// Begins to speak HTTP on a connection.
    pub(super) async fn open<S>(stream: S, version: Version) -> Result<Self, Reason>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut background = Background::default();
        let sender = match version {
            Version::One => {
                let mut builder = http1::Builder::new();
                builder.title_case_headers(true).max_buf_size(HEADER_OCTETS_MAX).max_header_size(HEADER_OCTETS_MAX);
                let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|e| reason(&e))?;
                background.run(connection);
                Sender::One(sender)
            }
            Version::Two => {
                let mut builder = http2::Builder::new(background.started.clone());
                builder.initial_stream_window_size(WINDOW_OCTETS).initial_connection_window_size(WINDOW_OCTETS);
                builder.max_header_list_size(HEADER_OCTETS_MAX as u32);
                let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|e| reason(&e))?;
                background.run(connection);
                Sender::Two(sender)
            }
        };
        Ok(Self { sender, background })
    }

    /// The version it speaks.
    pub(super) fn version(&self) -> Version {
        match self.sender {
            Sender::One(_) => Version::One,
            Sender::Two(_) => Version::Two,
        }
    }

    /// Sends a request and returns the reply, its body still to be read.
    pub(super) async fn send(&mut self, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>, Reason> {
        let Self { sender, background } = self;
        let reply = match sender {
            Sender::One(sender) => background.beside(sender.send_request(request)).await,
            Sender::Two(sender) => background.beside(sender.send_request(request)).await,
        };
        reply.map_err(|error| reason(&error))
    }

    /// Reads the next piece of a body; `None` at its end.
    pub(super) async fn piece(&mut self, body: &mut Incoming) -> Result<Option<Bytes>, Reason> {
        loop {
            match self.background.beside(body.frame()).await {
                None => return Ok(None),
                Some(Err(error)) => return Err(reason(&error)),
                // What is no data are trailers, which say nothing that is asked for.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// Whether it takes another request, by all that has arrived up to now.
    pub(super) fn is_open(&mut self) -> bool {
        self.background.turn(&mut Context::from_waker(Waker::noop()));
        match &self.sender {
            Sender::One(sender) => sender.is_ready(),
            Sender::Two(sender) => sender.is_ready(),
        }
    }

    /// Says goodbye, as far as that takes no waiting, so that the server has no error to log.
    pub(super) fn close(self) {
        let Self { sender, mut background } = self;
        drop(sender);
        background.turn(&mut Context::from_waker(Waker::noop()));
    }
}

/// What a connection does beside requests and replies.
///
/// Run by who waits for a reply rather than as a task of its own, so that it ends with the probe: no server can keep a
/// connection alive that is not needed any more.
#[derive(Default)]
struct Background {
    running: Vec<Task>,
    started: Started,
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where the connection leaves what is to be run from now on.
#[derive(Clone, Default)]
struct Started(Arc<Mutex<Vec<Task>>>);

impl<F: Future + Send + 'static> Executor<F> for Started {
    fn execute(&self, future: F) {
        let task = Box::pin(async move { drop(future.await) });
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }
}

impl Background {
    /// Runs a future from now on.
    fn run(&mut self, future: impl Future + Send + 'static) {
        self.started.execute(future);
    }

    /// Waits for `work` while the rest goes on.
    async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|context| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(done);
            }
            // What this makes ready of the work wakes it.
            self.turn(context);
            Poll::Pending
        })
        .await
    }

    /// Lets everything run until it waits.
    fn turn(&mut self, context: &mut Context<'_>) {
        loop {
            self.running.retain_mut(|task| task.as_mut().poll(context).is_pending());
            let mut started = self.started.0.lock().unwrap_or_else(PoisonError::into_inner);
            if started.is_empty() {
                return;
            }
            self.running.append(&mut started);
        }
    }
}

/// Finds in an error of HTTP what an operator wants to know: the innermost cause that says it.
fn reason(error: &hyper::Error) -> Reason {
    if error.is_incomplete_message() {
        return Reason::Http("closed before the reply was whole".to_owned());
    }
    let mut cause: &(dyn Error + 'static) = error;
    loop {
        let wrapped = cause.downcast_ref::<h2::Error>().and_then(h2::Error::get_io);
        if let Some(io) = cause.downcast_ref::<io::Error>().or(wrapped) {
            return broken(io);
        }
        match cause.source() {
            Some(inner) => cause = inner,
            None => return Reason::Http(cause.to_string()),
        }
    }
}

/// Says why a connection broke that was there.
fn broken(error: &io::Error) -> Reason {
    let inner = error.get_ref().map(|inner| inner as &(dyn Error + 'static));
    if let Some(error) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return tls::tls(error);
    }
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Reason::Reset,
        io::ErrorKind::UnexpectedEof => Reason::Http("closed before the reply was whole".to_owned()),
        _ => Reason::Http(in_words(error)),
    }
}
