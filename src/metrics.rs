//! Counters as plain atomic fields, one struct per subsystem.
//!
//! A counter only grows, from the start of the process on. Counting is one relaxed addition; who serves
//! requests counts once per batch, into a struct of its own, so that two workers never write one cache line.
//! What is counted by a name that only its counter knows stands behind a lock, and no query comes near it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What the transports count, worker by worker.
#[derive(Debug)]
pub struct Server {
    workers: Box<[Worker]>,
}

/// What one worker counts.
// 128 octets: x86-64 fetches cache lines in pairs, and some ARM cores have lines of that size.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Worker {
    /// Its datagrams.
    pub udp: Udp,
    /// Its streams.
    pub tcp: Tcp,
    /// Requests that waited for something their answer lacked.
    pub waits: Counter,
    /// Requests that could not, as too many did, and were answered without.
    pub waits_refused: Counter,
    /// Requests that waited in vain.
    pub waits_expired: Counter,
    /// What became of its requests.
    pub answers: Answers,
}

/// What one worker counts, for that worker to hold.
#[derive(Clone, Debug)]
pub struct Share {
    server: Arc<Server>,
    index: usize,
}

impl Deref for Share {
    type Target = Worker;

    fn deref(&self) -> &Worker {
        &self.server.workers[self.index]
    }
}

/// What is counted of answers, whatever they came by.
#[derive(Debug, Default)]
pub struct Answers {
    /// Messages that are no query that can be answered.
    pub refusals: Counter,
    /// Requests with a server cookie that is ours.
    pub cookies_valid: Counter,
    /// Requests with a client cookie alone.
    pub cookies_new: Counter,
    /// Requests with a server cookie that is not ours, or too old.
    pub cookies_bad: Counter,
    /// Queries whose script was not run, as the worker was asked for too much.
    pub shed: Counter,
    /// How many times a script was run in the VM.
    pub script_runs: Counter,
    /// How long that took, in microseconds.
    pub script_micros: Counter,
    /// Lines of the query log that could not be written.
    pub query_log_lost: Counter,
}

impl Answers {
    /// Counts runs of scripts that took so long together.
    pub fn spent(&self, runs: u64, time: Duration) {
        self.script_runs.add(runs);
        self.script_micros.add(u64::try_from(time.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX));
    }
}

/// What is counted of datagrams.
#[derive(Debug, Default)]
pub struct Udp {
    /// Datagrams that were read whole and came from a port that can be answered.
    pub requests: Counter,
    /// Datagrams sent.
    pub replies: Counter,
    /// Datagrams that got no reply on purpose, those from port 0 among them.
    pub dropped: Counter,
    /// Datagrams longer than the longest request; they get no reply.
    pub truncated: Counter,
    /// Errors of the system on receiving.
    pub receive_failures: Counter,
    /// Replies that the system would not send.
    pub send_failures: Counter,
}

/// What is counted of streams.
#[derive(Debug, Default)]
pub struct Tcp {
    /// Messages that were read whole.
    pub requests: Counter,
    /// Messages written whole.
    pub replies: Counter,
    /// Messages that got no reply on purpose.
    pub dropped: Counter,
    /// Replies that did not reach the client: it was gone, or did not read in time.
    pub send_failures: Counter,
    /// Connections that were taken.
    pub opened: Counter,
    /// Connections closed unheard, as all others were being answered or the system could give no more.
    pub refused: Counter,
    /// Connections closed unheard, as their client's network had as many as it may.
    pub refused_by_network: Counter,
    /// Connections that ended, whoever ended them: the sum of those below.
    pub closed: Counter,
    /// Connections whose client closed them.
    pub closed_by_client: Counter,
    /// Connections that broke, most often as the client was gone.
    pub broken: Counter,
    /// Connections closed as no message that could be answered came for too long.
    pub closed_idle: Counter,
    /// Connections closed as they had lasted as long as any may.
    pub closed_old: Counter,
    /// Connections reset as their client did not read its replies in time.
    pub closed_unread: Counter,
    /// Connections closed to make room for others.
    pub pushed_out: Counter,
    /// Connections closed at a message without octets.
    pub closed_malformed: Counter,
    /// Connections closed by a stop of the server.
    pub closed_stopping: Counter,
}

/// What the health checker counts.
#[derive(Debug, Default)]
pub struct Health {
    /// Probes that were started.
    pub started: Counter,
    /// Probes that passed.
    pub passed: Counter,
    /// Probes that failed, by the name of the reason.
    failed: Mutex<BTreeMap<&'static str, u64>>,
    /// States that became another.
    pub flips: Counter,
    /// Probes that had not ended when the next of their check was due.
    pub overran: Counter,
    /// How late probes were started.
    pub late: Delays,
    /// Probes under way now.
    pub under_way: Gauge,
    /// Probes that are due now and wait for others to end.
    pub waiting: Gauge,
}

/// How many delays there were of each size.
#[derive(Debug, Default)]
pub struct Delays([Counter; DELAYS]);

/// Sizes of delays: up to 1 ms, 2, 4 and so on up to 32 s, and what is longer.
const DELAYS: usize = 17;

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts `more`.
    pub fn add(&self, more: u64) {
        // Most counters of a batch are 0; looking is cheaper than a locked instruction.
        if more > 0 {
            self.0.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// The number so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Gauge {
    /// Says what the number is now.
    pub fn set(&self, number: u64) {
        self.0.store(number, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Delays {
    /// Counts a delay.
    pub fn count(&self, delay: Duration) {
        let millis = u64::try_from(delay.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        // 1 is 2 to the 0th, as is nothing; what lies between two powers belongs to the greater.
        let size = u64::BITS - millis.saturating_sub(1).leading_zeros();
        self.0[(size as usize).min(DELAYS - 1)].add(1);
    }

    /// The name of each size, and how many there were of it.
    fn fields(&self) -> impl Iterator<Item = (String, u64)> {
        self.0.iter().enumerate().map(|(size, counter)| match size {
            size if size == DELAYS - 1 => ("more".to_owned(), counter.get()),
            size => (format!("{}ms", 1_u64 << size), counter.get()),
        })
    }
}

impl Health {
    /// Counts a verdict: why it is a failure, if it is, and whether a state became another.
    pub fn ended(&self, failed: Option<&'static str>, flipped: bool) {
        match failed {
            None => self.passed.add(1),
            Some(reason) => *self.failed.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() += 1,
        }
        self.flips.add(flipped.into());
    }

    /// The numbers now; of the reasons and the delays, those that are not 0.
    pub fn snapshot(&self) -> Snapshot {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let numbers = [
            ("started", self.started.get()),
            ("passed", self.passed.get()),
            ("failed", failed.values().sum()),
            ("flips", self.flips.get()),
            ("overran", self.overran.get()),
            ("under_way", self.under_way.get()),
            ("waiting", self.waiting.get()),
        ];
        let numbers = numbers.map(|(name, number)| (Cow::from(format!("probes_{name}")), number));
        let failed = failed.into_iter().map(|(reason, number)| (format!("probes_failed_{reason}"), number));
        let late = self.late.fields().map(|(size, number)| (format!("probes_late_{size}"), number));
        let rare = failed.chain(late).filter(|(_, number)| *number > 0);
        Snapshot(numbers.into_iter().chain(rare.map(|(name, number)| (name.into(), number))).collect())
    }
}

impl Server {
    /// Starts at 0 for each of `workers`.
    pub fn new(workers: usize) -> Self {
        Self { workers: (0..workers).map(|_| Worker::default()).collect() }
    }

    /// The counters of the worker with this index, which there must be.
    pub fn share(self: &Arc<Self>, index: usize) -> Share {
        assert!(index < self.workers.len(), "there are {} workers", self.workers.len());
        Share { server: self.clone(), index }
    }

    /// Sums each counter over the workers.
    pub fn snapshot(&self) -> Snapshot {
        let mut totals: Vec<_> = Worker::default().fields().into_iter().map(|(name, _)| (name, 0)).collect();
        for worker in &self.workers {
            for (total, (_, counter)) in totals.iter_mut().zip(worker.fields()) {
                total.1 += counter.get();
            }
        }
        Snapshot(totals.into_iter().map(|(name, total)| (Cow::from(name), total)).collect())
    }
}

impl Worker {
    /// Every counter with its name: the one list of them.
    fn fields(&self) -> Vec<(&'static str, &Counter)> {
        let Self { udp, tcp, waits, waits_refused, waits_expired, answers } = self;
        vec![
            ("udp_requests", &udp.requests),
            ("udp_replies", &udp.replies),
            ("udp_dropped", &udp.dropped),
            ("udp_truncated", &udp.truncated),
            ("udp_receive_failures", &udp.receive_failures),
            ("udp_send_failures", &udp.send_failures),
            ("tcp_requests", &tcp.requests),
            ("tcp_replies", &tcp.replies),
            ("tcp_dropped", &tcp.dropped),
            ("tcp_send_failures", &tcp.send_failures),
            ("tcp_opened", &tcp.opened),
            ("tcp_refused", &tcp.refused),
            ("tcp_refused_by_network", &tcp.refused_by_network),
            ("tcp_closed", &tcp.closed),
            ("tcp_closed_by_client", &tcp.closed_by_client),
            ("tcp_broken", &tcp.broken),
            ("tcp_closed_idle", &tcp.closed_idle),
            ("tcp_closed_old", &tcp.closed_old),
            ("tcp_closed_unread", &tcp.closed_unread),
            ("tcp_pushed_out", &tcp.pushed_out),
            ("tcp_closed_malformed", &tcp.closed_malformed),
            ("tcp_closed_stopping", &tcp.closed_stopping),
            ("waits", waits),
            ("waits_refused", waits_refused),
            ("waits_expired", waits_expired),
            ("refusals", &answers.refusals),
            ("cookies_valid", &answers.cookies_valid),
            ("cookies_new", &answers.cookies_new),
            ("cookies_bad", &answers.cookies_bad),
            ("shed", &answers.shed),
            ("script_runs", &answers.script_runs),
            ("script_micros", &answers.script_micros),
            ("query_log_lost", &answers.query_log_lost),
        ]
    }
}

/// Names and numbers at one moment; its text form is one line for a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot(Vec<(Cow<'static, str>, u64)>);

impl Snapshot {
    /// The numbers, in the order they are shown.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, number)| (&**name, *number))
    }

    /// These numbers, and behind them others.
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// The number with this name; 0 for a name that is not counted.
    pub fn get(&self, name: &str) -> u64 {
        self.iter().find(|(known, _)| *known == name).map_or(0, |(_, value)| value)
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{name}={value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshot_sums_over_workers() {
        let server = Arc::new(Server::new(2));
        server.share(0).udp.requests.add(3);
        server.share(1).udp.requests.add(4);
        server.share(1).tcp.refused.add(1);
        let snapshot = server.snapshot();
        assert_eq!(snapshot.get("udp_requests"), 7);
        assert_eq!(
            snapshot.to_string(),
            "udp_requests=7 udp_replies=0 udp_dropped=0 udp_truncated=0 udp_receive_failures=0 udp_send_failures=0 \
             tcp_requests=0 tcp_replies=0 tcp_dropped=0 tcp_send_failures=0 tcp_opened=0 tcp_refused=1 \
             tcp_refused_by_network=0 tcp_closed=0 tcp_closed_by_client=0 tcp_broken=0 tcp_closed_idle=0 tcp_closed_old=0 \
             tcp_closed_unread=0 tcp_pushed_out=0 tcp_closed_malformed=0 tcp_closed_stopping=0 \
             waits=0 waits_refused=0 waits_expired=0 refusals=0 cookies_valid=0 cookies_new=0 cookies_bad=0 shed=0 \
             script_runs=0 script_micros=0 query_log_lost=0"
        );
    }

    #[test]
    fn what_the_checker_counts_has_names() {
        let health = Health::default();
        health.started.add(3);
        health.waiting.set(2);
        health.waiting.set(1);
        health.ended(None, true);
        health.ended(Some("timed-out"), false);
        for (count, millis) in [0, 1, 2, 3, 4, 250, 32_768, 32_769, u64::MAX].into_iter().enumerate() {
            assert_eq!(health.late.fields().map(|(_, number)| number).sum::<u64>(), count as u64);
            health.late.count(Duration::from_millis(millis));
        }
        assert_eq!(
            health.snapshot().to_string(),
            "probes_started=3 probes_passed=1 probes_failed=1 probes_flips=1 probes_overran=0 probes_under_way=0 \
             probes_waiting=1 probes_failed_timed-out=1 probes_late_1ms=2 probes_late_2ms=1 probes_late_4ms=2 \
             probes_late_256ms=1 probes_late_32768ms=1 probes_late_more=2"
        );
    }

    #[test]
    fn workers_do_not_share_a_cache_line() {
        assert_eq!(align_of::<Worker>(), 128);
        assert_eq!(size_of::<Worker>() % 128, 0);
    }
}
