//! The query log: lines that workers write without waiting, and the thread that brings them to a file.
//!
//! `line.rs` is what a line says. A worker puts its lines where only the writer looks beside it, and never waits: of two
//! places the writer has one at the most, for the moment in which it takes what is there. What there is no room for is
//! left out and counted. Two places with a lock that is only ever tried, and no channel, as lines are then written within
//! `PAUSE` by a worker that sleeps as well.

mod line;

pub use line::Line;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, TryLockError};
use std::thread::{self, Thread};
use std::time::{Duration, SystemTime};

use crate::answer::{Account, Observer};
use crate::config::{Log, QueryClass};
use crate::diagnostic::Diagnostic;
use crate::metrics;
use crate::server::Clock;

/// How long lines wait to be written, if there are few.
const PAUSE: Duration = Duration::from_millis(500);
/// How many octets of lines of one worker are worth waking the writer.
const WAKE_OCTETS: usize = 256 << 10;
/// How many octets of lines of one worker may wait in each of its places; those beyond are left out.
const WAITING_OCTETS_MAX: usize = 4 << 20;
/// How long a stop waits for the last lines to be written.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// Where workers log queries.
pub(super) struct QueryLog {
    clerk: Clerk,
    /// Closed when the writer has ended.
    ended: Receiver<()>,
}

/// What each worker makes its own way to the log of.
#[derive(Clone)]
pub(super) struct Clerk {
    desk: Arc<Desk>,
    log: Log,
}

/// What workers and the writer share.
struct Desk {
    workers: Vec<Places>,
    writer: OnceLock<Thread>,
    is_stopping: AtomicBool,
    is_to_reopen: AtomicBool,
}

/// Where one worker puts its lines.
#[derive(Default)]
// As the counters of workers: no two of them share a pair of cache lines.
#[repr(align(128))]
struct Places([Mutex<Vec<u8>>; 2]);

impl QueryLog {
    /// Opens the log and starts its writer; `None` if no query is to be logged.
    pub(super) fn open(log: &Log, counters: &Arc<metrics::Server>, workers: usize) -> Result<Option<Self>, Diagnostic> {
        if log.queries.is_empty() {
            return Ok(None);
        }
        let sink = Sink::open(&log.query_file).map_err(|error| {
            Diagnostic::error(None, format!("cannot open the query log `{}`: {error}", log.query_file.display()))
                .help("name a file in `log.query-file` that may be written, or `\"\"` for standard error")
        })?;
        Self::start(log, sink, counters, workers).map(Some).map_err(|error| {
            Diagnostic::error(None, format!("the system gives the query log no thread: {error}"))
                .help("let the process have more threads, or log no queries")
        })
    }

    fn start(log: &Log, sink: Sink, counters: &Arc<metrics::Server>, workers: usize) -> io::Result<Self> {
        let desk = Arc::new(Desk {
            workers: (0..workers).map(|_| Places::default()).collect(),
            writer: OnceLock::new(),
            is_stopping: AtomicBool::new(false),
            is_to_reopen: AtomicBool::new(false),
        });
        let (ending, ended) = mpsc::channel::<()>();
        let counters = (0..workers).map(|index| counters.share(index)).collect();
        let mut writer = Writer { desk: desk.clone(), counters, sink, is_failing: false };
        let thread = thread::Builder::new().name("query-log".to_owned()).spawn(move || {
            writer.run();
            drop(ending);
        })?;
        desk.writer.get_or_init(|| thread.thread().clone());
        Ok(Self { clerk: Clerk { desk, log: log.clone() }, ended })
    }

    /// What workers make their way to the log of.
    pub(super) fn clerk(&self) -> Clerk {
        self.clerk.clone()
    }

    /// Has the file opened anew, as it may have been renamed.
    pub(super) fn reopen(&self) {
        self.clerk.desk.is_to_reopen.store(true, Ordering::Release);
        self.clerk.desk.wake();
    }

    /// Ends the log when all that is there is written, or after a while if it cannot be.
    pub(super) fn end(self) {
        self.clerk.desk.is_stopping.store(true, Ordering::Release);
        self.clerk.desk.wake();
        if let Err(RecvTimeoutError::Timeout) = self.ended.recv_timeout(END_TIMEOUT) {
            tracing::warn!("the query log takes too long to write: its last lines may be lost");
        }
    }
}

impl Clerk {
    /// Whom a worker tells of its queries.
    pub(super) fn observer(self, worker: usize, counters: metrics::Share, clock: Clock) -> Observer {
        let Self { desk, log } = self;
        let mut line = Line::new(log.format);
        // The first is logged, and after it each of so many.
        let mut passed_over = log.query_sample - 1;
        Box::new(move |account| {
            if !is_wanted(&log, &mut passed_over, account) {
                return;
            }
            let took = clock.monotonic().saturating_sub(account.now.monotonic);
            if !desk.put(worker, line.write(account, wall(), took)) {
                counters.answers.query_log_lost.add(1);
            }
        })
    }
}

/// Whether a query is of a class that is logged, and the next one of those to be.
fn is_wanted(log: &Log, passed_over: &mut usize, account: &Account<'_>) -> bool {
    if log.queries.len() < QueryClass::WORDS.len() && !log.queries.contains(&account.class()) {
        return false;
    }
    *passed_over += 1;
    let is_next = *passed_over >= log.query_sample;
    if is_next {
        *passed_over = 0;
    }
    is_next
}

/// The time since 1970 by the system's clock.
fn wall() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

impl Desk {
    /// Leaves a line to be written; returns whether there was room.
    fn put(&self, worker: usize, line: &[u8]) -> bool {
        for place in &self.workers[worker].0 {
            let mut lines = match place.try_lock() {
                Ok(lines) => lines,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                // The writer takes what is there, and is not at the other place.
                Err(TryLockError::WouldBlock) => continue,
            };
            let before = lines.len();
            if before + line.len() > WAITING_OCTETS_MAX {
                return false;
            }
            lines.extend_from_slice(line);
            if before < WAKE_OCTETS && lines.len() >= WAKE_OCTETS {
                drop(lines);
                self.wake();
            }
            return true;
        }
        false
    }

    fn wake(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }
}

/// Where lines end up.
enum Sink {
    StandardError,
    File { path: PathBuf, file: File, is_torn: bool },
}

impl Sink {
    fn open(path: &Path) -> io::Result<Self> {
        if path.as_os_str().is_empty() {
            return Ok(Self::StandardError);
        }
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Self::File { path: path.to_owned(), file, is_torn: false })
    }

    /// Opens the file of that name anew, if it is one.
    fn reopen(&mut self) -> io::Result<()> {
        if let Self::File { path, .. } = self {
            *self = Self::open(path)?;
        }
        Ok(())
    }

    /// Writes whole lines; on an error tells how many were lost.
    ///
    /// A line that was cut off is ended before the next one is begun.
    fn write(&mut self, lines: &[u8]) -> Result<(), (io::Error, u64)> {
        let (written, outcome) = match self {
            Self::StandardError => write_all(&mut io::stderr().lock(), lines),
            Self::File { file, is_torn, .. } => {
                let end: &[u8] = if *is_torn { b"\n" } else { b"" };
                let (ended, outcome) = write_all(file, end);
                *is_torn &= ended == 0;
                let (written, outcome) = if outcome.is_ok() { write_all(file, lines) } else { (0, outcome) };
                *is_torn |= written > 0 && lines[written - 1] != b'\n';
                (written, outcome)
            }
        };
        let lost = lines[written..].iter().filter(|octet| **octet == b'\n').count();
        outcome.map_err(|error| (error, lost as u64))
    }
}

/// Writes what it can; returns how many octets that is.
fn write_all(sink: &mut impl Write, octets: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < octets.len() {
        match sink.write(&octets[written..]) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

/// Who takes the lines of all workers to where they end up.
struct Writer {
    desk: Arc<Desk>,
    counters: Vec<metrics::Share>,
    sink: Sink,
    /// Whether it was told that lines cannot be written.
    is_failing: bool,
}

impl Writer {
    fn run(&mut self) {
        let mut lines = Vec::new();
        loop {
            // Before the lines are taken: those that come after the stop was asked for are nobody's.
            let is_stopping = self.desk.is_stopping.load(Ordering::Acquire);
            if self.desk.is_to_reopen.swap(false, Ordering::AcqRel) {
                self.reopen();
            }
            self.write_what_is_there(&mut lines);
            if is_stopping {
                return;
            }
            thread::park_timeout(PAUSE);
        }
    }

    fn reopen(&mut self) {
        match self.sink.reopen() {
            Ok(()) => tracing::info!("query log opened again"),
            Err(error) => tracing::error!(%error, "cannot open the query log again, the old file is written on"),
        }
    }

    fn write_what_is_there(&mut self, lines: &mut Vec<u8>) {
        let desk = self.desk.clone();
        for (places, counters) in desk.workers.iter().zip(self.counters.clone()) {
            for place in &places.0 {
                lines.clear();
                // After a burst its room is given back.
                lines.shrink_to(WAKE_OCTETS);
                std::mem::swap(&mut *place.lock().unwrap_or_else(PoisonError::into_inner), lines);
                if !lines.is_empty() {
                    let outcome = self.sink.write(lines);
                    self.tell(outcome, &counters);
                }
            }
        }
    }

    /// Tells when lines cannot be written, and when they can again.
    fn tell(&mut self, outcome: Result<(), (io::Error, u64)>, counters: &metrics::Share) {
        match outcome {
            Ok(()) if self.is_failing => tracing::info!("the query log can be written again"),
            Ok(()) => {}
            Err((error, lost)) => {
                counters.answers.query_log_lost.add(lost);
                if !self.is_failing {
                    tracing::error!(%error, "cannot write the query log: lines are lost, and counted");
                }
                self.is_failing = true;
                return;
            }
        }
        self.is_failing = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desk(workers: usize) -> Desk {
        Desk {
            workers: (0..workers).map(|_| Places::default()).collect(),
            writer: OnceLock::new(),
            is_stopping: AtomicBool::new(false),
            is_to_reopen: AtomicBool::new(false),
        }
    }

    /// A log that goes to a file, with its counters.
    fn log_to(path: &Path) -> (QueryLog, Arc<metrics::Server>) {
        let counters = Arc::new(metrics::Server::new(2));
        let log = Log { queries: vec![QueryClass::Answer], query_file: path.to_owned(), ..Log::default() };
        (QueryLog::open(&log, &counters, 2).expect("opened").expect("it is wanted"), counters)
    }

    #[test]
    fn what_there_is_no_room_for_is_left_out() {
        let desk = desk(2);
        let line = vec![b'x'; WAITING_OCTETS_MAX / 4];
        assert_eq!([0; 5].map(|worker| desk.put(worker, &line)), [true, true, true, true, false]);
        assert!(desk.put(1, &line), "another worker has places of its own");
        desk.workers[0].0[0].lock().unwrap().clear();
        assert!(desk.put(0, &line), "there is room again when the writer has been there");
    }

    #[test]
    fn a_worker_does_not_wait_for_the_writer() {
        let desk = desk(1);
        let [first, second] = &desk.workers[0].0;
        let taken = first.lock().unwrap();
        assert!(desk.put(0, b"line"));
        assert_eq!(*second.lock().unwrap(), b"line");
        let taken_too = second.lock().unwrap();
        assert!(!desk.put(0, b"line"), "it is left out rather than waited for");
        drop((taken, taken_too));
        assert!(desk.put(0, b"line"));
    }

    #[test]
    fn lines_of_all_workers_are_written_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("queries");
        std::fs::write(&path, "before\n").unwrap();
        let (log, counters) = log_to(&path);
        assert!(log.clerk.desk.put(0, b"one\n") && log.clerk.desk.put(1, b"two\n"));
        log.end();
        let lines = std::fs::read_to_string(&path).unwrap();
        let mut lines: Vec<_> = lines.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["before", "one", "two"]);
        assert_eq!(counters.snapshot().get("query_log_lost"), 0);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        // What is written there finds the disk full.
        let full = Path::new("/dev/full");
        if !full.exists() {
            return;
        }
        let (log, counters) = log_to(full);
        assert!(log.clerk.desk.put(0, b"one\ntwo\n") && log.clerk.desk.put(1, b"three\n"));
        log.end();
        assert_eq!(counters.snapshot().get("query_log_lost"), 3);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_told() {
        let log = Log { queries: vec![QueryClass::Answer], query_file: "/nowhere/queries".into(), ..Log::default() };
        let Err(told) = QueryLog::open(&log, &Arc::new(metrics::Server::new(1)), 1) else { panic!("it is open") };
        assert!(told.to_string().contains("cannot open the query log `/nowhere/queries`"), "{told}");
        assert!(told.help.is_some_and(|help| help.contains("log.query-file")));
    }

    #[test]
    fn without_a_class_there_is_no_log() {
        assert!(QueryLog::open(&Log::default(), &Arc::new(metrics::Server::new(1)), 1).is_ok_and(|log| log.is_none()));
    }

    #[test]
    fn a_write_that_fails_tells_how_far_it_came() {
        /// Takes so many octets, three at a time, and then no more.
        struct Narrow(usize);
        impl Write for Narrow {
            fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
                let more = octets.len().min(3).min(self.0);
                self.0 -= more;
                if more == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(more) }
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert!(matches!(write_all(&mut Narrow(99), b"12345678"), (8, Ok(()))));
        assert!(matches!(write_all(&mut Narrow(7), b"12345678"), (7, Err(_))));
        assert!(matches!(write_all(&mut Narrow(0), b""), (0, Ok(()))));
    }

    #[test]
    fn a_line_that_was_cut_off_is_ended_before_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("queries");
        std::fs::write(&path, "cut o").unwrap();
        let Ok(Sink::File { path, file, .. }) = Sink::open(&path) else { panic!("it is a file") };
        let mut sink = Sink::File { path: path.clone(), file, is_torn: true };
        sink.write(b"one\n").unwrap();
        sink.write(b"two\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "cut o\none\ntwo\n");
    }
}
