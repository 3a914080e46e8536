//! Transports; octets only.
//!
//! Read `listen.rs` for how a port is taken, and `adopt.rs` for sockets that are handed over; then `udp.rs` and `tcp/` for
//! how requests come and replies go, and `waiting.rs` for those whose reply takes a while; `leisure.rs` tells how much a
//! worker has to do.
//! `linux.rs` holds the system calls that only Linux has, `portable.rs` does without them; both offer the same
//! names, and the one that fits is `system` to the rest. There is no DNS here: a message is octets that
//! someone else answers, by a function that each worker is given at its start.

mod adopt;
mod leisure;
mod listen;
mod tcp;
mod udp;
mod waiting;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(any(test, not(target_os = "linux")))]
#[cfg_attr(target_os = "linux", expect(dead_code, reason = "on Linux only its tests use it"))]
mod portable;

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
use portable as system;

pub use adopt::{Given, adopt};
pub use listen::{Listeners, Wanted, bind};

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet, LocalSet};

use crate::answer::{Client, Now, Occasion, Outcome, Patience};
use crate::metrics;
use leisure::Leisure;

/// How many octets of a stream are read at once: some hundred pipelined queries.
const STREAM_READ_OCTETS: usize = 16 * 1024;

/// How the transports behave.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How many datagrams are taken from the system at once; at least 1.
    pub udp_batch: usize,
    /// How many TCP connections may be open, over all workers; each worker may have one at least.
    pub tcp_connections_max: usize,
    /// How many of them the clients of one network may have; 0 for as many as there are.
    pub tcp_connections_per_network_max: usize,
    /// How many bits of an IPv4 address name its network; at most 32.
    pub tcp_ipv4_prefix: u8,
    /// How many bits of an IPv6 address name its network; at most 128.
    pub tcp_ipv6_prefix: u8,
    /// How long a TCP connection may be without a whole request that is answered.
    ///
    /// It also bounds how long a request may take to arrive, however many pieces it comes in.
    pub tcp_idle_timeout: Duration,
    /// The same for the first request of a connection that comes while few more may.
    pub tcp_first_timeout: Duration,
    /// How long a TCP connection may last, as soon as nothing is being answered; `None` for ever.
    pub tcp_total_timeout: Option<Duration>,
    /// How long a TCP client may take to read the replies that are written at once.
    pub tcp_write_timeout: Duration,
    /// How many connections that Fast Open lets ask with their first segment may be half open; 0 for no Fast Open.
    pub tcp_fast_open: usize,
    /// How long connections may go on after a stop to get what is being answered.
    pub stop_timeout: Duration,
    /// How many requests may wait for something their answer lacks, over all workers; each worker may have its share,
    /// at least 1. The others are answered without.
    pub waits_max: usize,
    /// How long each of them may wait, in all.
    pub wait_timeout: Duration,
}

/// The one source of time: both clocks, read together.
///
/// Every copy counts from the same start, so rooms that are handed copies can compare their times.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

/// The threads that serve.
#[derive(Debug)]
pub struct Workers {
    threads: Vec<JoinHandle<io::Result<()>>>,
    stop: Stop,
    orders: Orders,
    counters: Arc<metrics::Server>,
}

/// Asks the workers to stop; any copy does.
#[derive(Clone, Debug)]
pub struct Stop(watch::Sender<bool>);

/// Tells the workers what to do while they serve; any copy does.
#[derive(Clone, Debug)]
pub struct Orders(Arc<[mpsc::UnboundedSender<Order>]>);

/// What a worker is told.
#[derive(Debug)]
enum Order {
    /// Serve on these as well.
    Serve(Vec<listen::Sockets>),
    /// Serve on these addresses no longer.
    Leave(Arc<[SocketAddr]>),
    /// Say that you are there.
    Answer(oneshot::Sender<()>),
}

/// Why the workers do not serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system gave no thread, or no event queue within it.
    #[error("worker {worker} cannot run: {source}")]
    System {
        /// The worker's index.
        worker: usize,
        /// What the system said.
        source: io::Error,
    },
    /// A worker met a bug of ours.
    #[error("worker {worker} panicked: {message}")]
    Panicked {
        /// The worker's index.
        worker: usize,
        /// What the panic said.
        message: String,
    },
}

/// Starts one thread for each worker that `listeners` were bound for.
///
/// `factory` is called on each worker's own thread with the worker's index; what it returns answers that
/// worker's requests, one at a time, by appending a message without a length prefix to the (empty) buffer it
/// is given. `counters` are for as many workers. A request that awaits something is asked again when that has come, or
/// without patience when it has not in time. It need not be `Send`. When one worker ends, for whatever reason, all are
/// asked to stop.
pub fn start<F, R>(
    listeners: Listeners,
    settings: Settings,
    clock: Clock,
    counters: Arc<metrics::Server>,
    factory: F,
) -> Result<Workers, Error>
where
    F: Fn(usize) -> R + Send + Sync + 'static,
    R: FnMut(Now, &Client, &[u8], Occasion, &mut Vec<u8>) -> Outcome + 'static,
{
    let shares = listeners.into_shares();
    let hall = Arc::new(tcp::Hall::new(&settings, shares.len()));
    let places = (settings.waits_max / shares.len().max(1)).max(1);
    let stop = Stop(watch::Sender::new(false));
    let factory = Arc::new(factory);
    let mut threads = Vec::with_capacity(shares.len());
    let mut orders = Vec::with_capacity(shares.len());
    for (index, sockets) in shares.into_iter().enumerate() {
        let (counters, stop, factory, hall) = (counters.share(index), stop.clone(), factory.clone(), hall.clone());
        let (order, told) = mpsc::unbounded_channel();
        orders.push(order);
        // Linux keeps 15 octets of a thread's name, so a longer one would lose the number.
        let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            let _ending_stops_all = StopOnDrop(stop.clone());
            let leisure = Leisure::new(clock);
            let [parks, unparks] = [leisure.clone(), leisure.clone()];
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .enable_time()
                .on_thread_park(move || parks.begin())
                .on_thread_unpark(move || unparks.end())
                .build()?;
            let worker = Rc::new(Worker {
                respond: RefCell::new(Box::new(factory(index))),
                reply: RefCell::default(),
                scratch: RefCell::new(vec![0; STREAM_READ_OCTETS].into_boxed_slice()),
                settings,
                clock,
                leisure,
                seats: tcp::Seats::new(hall),
                turns: Semaphore::new(1),
                places: waiting::Places::new(places),
                stopping: Stopping::default(),
                counters,
            });
            LocalSet::new().block_on(&runtime, run(worker, sockets, stop, told))
        });
        threads.push(thread.map_err(|source| Error::System { worker: index, source })?);
    }
    Ok(Workers { threads, stop, orders: Orders(orders.into()), counters })
}

/// Serves on every socket, and does as it is told, until asked to stop; then until the connections are done or out of
/// time.
async fn run(
    worker: Rc<Worker>,
    sockets: Vec<listen::Sockets>,
    stop: Stop,
    mut told: mpsc::UnboundedReceiver<Order>,
) -> io::Result<()> {
    let mut served = Served::default();
    for sockets in sockets {
        served.add(&worker, sockets)?;
    }
    let mut stopped = std::pin::pin!(stop.requested());
    loop {
        tokio::select! {
            () = &mut stopped => break,
            Some(ended) = served.tasks.join_next() => pass_on_panic(ended),
            Some(order) = told.recv() => match order {
                Order::Serve(more) => for sockets in more {
                    // Without this share of it the address is served by the other workers.
                    if served.add(&worker, sockets).is_err() {
                        worker.counters().udp.receive_failures.add(1);
                    }
                },
                Order::Leave(addresses) => served.leave(&addresses),
                // Whoever has asked may have gone.
                Order::Answer(here) => drop(here.send(())),
            },
        }
    }
    worker.stopping.set();
    let Served { mut tasks, open } = served;
    open.values().for_each(|leaving| leaving.set());
    let all_ended = async {
        while let Some(ended) = tasks.join_next().await {
            pass_on_panic(ended);
        }
    };
    // Out of time, what is left is dropped with `tasks`.
    let _ = tokio::time::timeout(worker.settings.stop_timeout, all_ended).await;
    Ok(())
}

/// What one worker serves on.
#[derive(Default)]
struct Served {
    tasks: JoinSet<()>,
    /// What makes the tasks of each address end.
    open: HashMap<SocketAddr, Rc<Stopping>>,
}

impl Served {
    fn add(&mut self, worker: &Rc<Worker>, listen::Sockets { local, udp, tcp }: listen::Sockets) -> io::Result<()> {
        let (udp, tcp) = (tokio::net::UdpSocket::from_std(udp)?, tokio::net::TcpListener::from_std(tcp)?);
        let leaving = Rc::new(Stopping::default());
        self.tasks.spawn_local(udp::serve(worker.clone(), udp, local, leaving.clone()));
        self.tasks.spawn_local(tcp::serve(worker.clone(), tcp, leaving.clone()));
        self.open.insert(local, leaving);
        Ok(())
    }

    /// Takes no more on these addresses; what has come is answered, and connections go on as long as they last.
    fn leave(&mut self, addresses: &[SocketAddr]) {
        addresses.iter().filter_map(|address| self.open.remove(address)).for_each(|leaving| leaving.set());
    }
}

impl Workers {
    /// What the workers count.
    pub fn counters(&self) -> &Arc<metrics::Server> {
        &self.counters
    }

    /// A handle that stops the workers, and tells when they are stopping.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// A handle that tells the workers what to do.
    pub fn orders(&self) -> Orders {
        self.orders.clone()
    }

    /// Blocks until every worker has ended; returns the first failure.
    ///
    /// Does not ask them to stop: see [`Workers::stop`].
    pub fn join(self) -> Result<(), Error> {
        let mut outcome = Ok(());
        for (worker, thread) in self.threads.into_iter().enumerate() {
            let ended = match thread.join() {
                Ok(Ok(())) => Ok(()),
                Ok(Err(source)) => Err(Error::System { worker, source }),
                Err(panic) => Err(Error::Panicked { worker, message: panic_message(&*panic) }),
            };
            outcome = outcome.and(ended);
        }
        outcome
    }
}

impl Stop {
    /// Asks every worker to stop: take nothing more, finish what is being answered.
    pub fn request(&self) {
        self.0.send_replace(true);
    }

    /// Waits until a stop is requested, by anyone, or a worker has failed.
    pub async fn requested(&self) {
        let mut receiver = self.0.subscribe();
        receiver.wait_for(|stop| *stop).await.expect("`self` holds a sender, so the channel is open");
    }
}

impl Orders {
    /// Has the workers serve on these as well, which were bound for as many.
    pub fn serve(&self, listeners: Listeners) {
        for (worker, sockets) in self.0.iter().zip(listeners.into_shares()) {
            // A worker that has ended has asked all to stop.
            let _ = worker.send(Order::Serve(sockets));
        }
    }

    /// Has the workers close what they serve on these addresses.
    pub fn leave(&self, addresses: &[SocketAddr]) {
        let addresses: Arc<[SocketAddr]> = addresses.into();
        for worker in self.0.iter() {
            let _ = worker.send(Order::Leave(addresses.clone()));
        }
    }

    /// Waits until every worker has said that it is there; for ever, if one hangs.
    pub async fn roll_call(&self) {
        let calls: Vec<_> = self
            .0
            .iter()
            .map(|worker| {
                let (here, answer) = oneshot::channel();
                let _ = worker.send(Order::Answer(here));
                answer
            })
            .collect();
        for answer in calls {
            // A worker that has ended hangs no longer, and stops all.
            let _ = answer.await;
        }
    }
}

/// Stops all workers when the one that owns it ends: a server must not go on with fewer than it was told.
struct StopOnDrop(Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.request();
    }
}

impl Clock {
    /// Starts to count now.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Reads both clocks.
    pub fn now(&self) -> Now {
        // A clock set before 1970 is as good as one at 1970: both are wrong, and neither is ours to mend.
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now { unix_secs: unix.as_secs(), monotonic: self.monotonic() }
    }

    /// Reads the one that never goes back.
    pub fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// What the tasks of one worker share: it never leaves its thread.
struct Worker {
    respond: RefCell<Box<Respond>>,
    /// Where a stream's reply is built before its length is known.
    reply: RefCell<Vec<u8>>,
    /// Where a stream is read to, for the moment until its connection has taken what came.
    scratch: RefCell<Box<[u8]>>,
    settings: Settings,
    clock: Clock,
    leisure: Leisure,
    seats: tcp::Seats,
    /// Lets one stream after the other be read, answered and written.
    turns: Semaphore,
    places: waiting::Places,
    stopping: Stopping,
    counters: metrics::Share,
}

/// What answers a request; see [`start`]. A call through a pointer costs nothing beside the answer itself.
type Respond = dyn FnMut(Now, &Client, &[u8], Occasion, &mut Vec<u8>) -> Outcome;

impl Worker {
    /// Answers one request into `out`, which is emptied first; no reply has no octets.
    fn answer(&self, now: Now, client: &Client, octets: &[u8], patience: Patience, out: &mut Vec<u8>) -> Outcome {
        out.clear();
        // No task holds the borrow across an await, so it is free whenever a task runs.
        (self.respond.borrow_mut())(now, client, octets, Occasion { patience, load: self.leisure.load() }, out)
    }

    /// This worker's counters.
    fn counters(&self) -> &metrics::Worker {
        &self.counters
    }
}

/// Whether this worker, or what it serves on one address, is to end.
///
/// Local to the worker, as looking at the channel between threads would take a lock for every request.
#[derive(Default)]
struct Stopping {
    flag: Cell<bool>,
    changed: Notify,
}

impl Stopping {
    fn get(&self) -> bool {
        self.flag.get()
    }

    fn set(&self) {
        self.flag.set(true);
        self.changed.notify_waiters();
    }

    async fn requested(&self) {
        // One thread: nothing can come between the look and the wait.
        if !self.get() {
            self.changed.notified().await;
        }
    }
}

/// Lets a task's panic go on in the worker, which ends by it.
fn pass_on_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}

/// What a panic said, if it was words.
fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message").to_owned()
}

/// The address itself of one that IPv6 shows for IPv4, as a socket for both does.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => address,
        SocketAddr::V6(v6) => v6.ip().to_ipv4_mapped().map_or(address, |ip| SocketAddr::new(ip.into(), v6.port())),
    }
}
