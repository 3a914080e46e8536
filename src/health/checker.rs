//! The background checker: when to probe, how many at once, and when to forget.

use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{self, Instant};
use tracing::field::display;

use super::hysteresis::{self, Flip, Run};
use super::table::{Reading, Slot, Table};
use super::{Reason, Verdict};

/// How often the table is swept: a check whose record is gone is probed for at most twice as long.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The shortest interval between two probes of a check, so that a record's `interval=0` is no flood.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// The longest, so that no number in a record runs past the clock's range.
const INTERVAL_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The part of an interval over which checks that began together are spread.
const SPREAD_DIVISOR: u32 = 10;

/// Passes in a row that bring a target up. One, as in PowerDNS; no record can say otherwise yet.
const RISE: u32 = 1;

/// How the checker works.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// From the start of one probe to the start of the next, for checks that do not say.
    pub interval: Duration,
    /// How long a check that no zone claims is kept after the last query that asked for it.
    pub forget: Duration,
    /// Probes under way at once; more wait their turn, first come, first served.
    pub concurrency: usize,
}

/// A running checker.
///
/// Dropping this handle leaves it running; the `shutdown` it was given ends it.
pub struct Checker {
    first_verdicts: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Checker {
    /// Starts to probe what the table holds and will hold, until `shutdown` ends.
    ///
    /// For one checker per table. `probe` may take its time: each check waits only for its own probes, as long as
    /// fewer than `concurrency` are under way. Needs a tokio runtime with time enabled.
    pub fn spawn<P, F>(
        table: Arc<Table>,
        settings: Settings,
        probe: P,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Self
    where
        P: Fn(Arc<Slot>) -> F + Send + Sync + 'static,
        F: Future<Output = Verdict> + Send + 'static,
    {
        let first_verdicts = Arc::new(Notify::new());
        let watcher = Arc::new(Watcher {
            settings,
            probe,
            turns: Semaphore::new(settings.concurrency.clamp(1, Semaphore::MAX_PERMITS)),
            first_verdicts: Arc::clone(&first_verdicts),
            spread: RandomState::new(),
        });
        Self { first_verdicts, task: tokio::spawn(run(table, watcher, shutdown)) }
    }

    /// Waits until each of `slots` has a verdict or `deadline` has passed; returns how many have none.
    ///
    /// Slots that a full table turned away are not waited for, but counted.
    pub async fn warm(&self, slots: &[Arc<Slot>], deadline: Duration) -> usize {
        let all = async {
            for slot in slots {
                self.first_verdict(slot).await;
            }
        };
        // The count says whether the deadline passed.
        let _ = time::timeout(deadline, all).await;
        slots.iter().filter(|slot| !slot.has_verdict()).count()
    }

    /// Waits until the checker has ended, which `shutdown` makes it do.
    pub async fn ended(self) {
        if let Err(error) = self.task.await {
            tracing::error!(%error, "health checker broke");
        }
    }

    /// Waits until `slot` has a verdict or will get none.
    async fn first_verdict(&self, slot: &Slot) {
        loop {
            // Made before the look at the slot: a verdict between the two still ends the wait.
            let verdict = self.first_verdicts.notified();
            if slot.has_verdict() || slot.is_retired() {
                return;
            }
            verdict.await;
        }
    }
}

/// Gives each new slot a watch of its own and sweeps the table, until `shutdown` ends.
async fn run<P, F>(table: Arc<Table>, watcher: Arc<Watcher<P>>, shutdown: impl Future<Output = ()>)
where
    P: Fn(Arc<Slot>) -> F + Send + Sync + 'static,
    F: Future<Output = Verdict> + Send + 'static,
{
    let start = Instant::now();
    let mut sweeps = time::interval(SWEEP_INTERVAL);
    let mut turned_away = 0;
    let mut shutdown = pin!(shutdown);
    // A watch is a task, some hundred octets while it sleeps, so that tokio's timers are the schedule.
    let mut watches = JoinSet::new();
    loop {
        tokio::select! {
            // Dropping the watches ends them and what they have under way.
            () = &mut shutdown => return,
            slots = poll_fn(|context| table.poll_news(context)) => {
                for slot in slots {
                    watches.spawn(Arc::clone(&watcher).watch(slot));
                }
            }
            _ = sweeps.tick() => {
                table.sweep(start.elapsed(), watcher.settings.forget);
                turned_away = report_turned_away(turned_away, table.turned_away());
            }
            Some(_) = watches.join_next() => {}
        }
    }
}

/// Warns when the table has begun to turn checks away; returns what to compare with next time.
fn report_turned_away(before: u64, now: u64) -> u64 {
    if before == 0 && now > 0 {
        tracing::warn!(turned_away = now, "health table is full, some targets are not probed");
    }
    now
}

/// What all watches share.
struct Watcher<P> {
    settings: Settings,
    probe: P,
    turns: Semaphore,
    first_verdicts: Arc<Notify>,
    /// Differs from process to process, so that servers started together do not probe together.
    spread: RandomState,
}

impl<P, F> Watcher<P>
where
    P: Fn(Arc<Slot>) -> F,
    F: Future<Output = Verdict> + Send + 'static,
{
    /// Probes one slot's target, the first time at once and then at its interval, until the slot is retired.
    async fn watch(self: Arc<Self>, slot: Arc<Slot>) {
        let interval = slot.check().interval.unwrap_or(self.settings.interval).clamp(INTERVAL_MIN, INTERVAL_MAX);
        let mut run = Run::default();
        let mut due = Instant::now();
        let mut spread = self.spread_of(&slot, interval);
        while !slot.is_retired() {
            let verdict = self.verdict(&slot).await;
            self.publish(&slot, &mut run, verdict);
            // Only the first gap is shortened. A probe longer than the interval is followed by the next at once.
            due = (due + interval - spread).max(Instant::now());
            spread = Duration::ZERO;
            time::sleep_until(due).await;
        }
    }

    /// By how much the first gap of a slot's probes is shorter than its interval.
    fn spread_of(&self, slot: &Slot, interval: Duration) -> Duration {
        let share = self.spread.hash_one(slot.check()) % 1024;
        interval / SPREAD_DIVISOR * u32::try_from(share).expect("a remainder of 1024") / 1024
    }

    /// Carries out one probe when its turn has come.
    async fn verdict(&self, slot: &Arc<Slot>) -> Verdict {
        let _turn = self.turns.acquire().await.expect("the semaphore is never closed");
        // A task of its own: what probing needs is freed between probes, and a panic in there costs one verdict
        // and not the watch. The set, because it takes the probe along when the watch ends.
        let mut probe = JoinSet::new();
        probe.spawn((self.probe)(Arc::clone(slot)));
        match probe.join_next().await {
            Some(Ok(verdict)) => verdict,
            Some(Err(_)) | None => Verdict::Fail(Reason::Broken),
        }
    }

    /// Tells the slot what a verdict has made of its state, and the log if that is a flip.
    fn publish(&self, slot: &Slot, run: &mut Run, verdict: Verdict) {
        let check = slot.check();
        let (passed, weight, reason) = match verdict {
            Verdict::Pass { weight } => (true, weight, None),
            Verdict::Fail(reason) => (false, slot.read().weight, Some(reason)),
        };
        let flip = hysteresis::observe(run, passed, check.minimum_failures, RISE);
        slot.publish(Reading { state: run.state(), weight });
        if !slot.is_retired() {
            report(slot, flip, reason.as_ref());
        }
        // Each first verdict is a flip, so who waits for one is woken no more often than needed.
        if flip.is_some() {
            self.first_verdicts.notify_waiters();
        }
    }
}

/// Logs a verdict: at info if it flips the state, else at debug.
fn report(slot: &Slot, flip: Option<Flip>, reason: Option<&Reason>) {
    let check = slot.check();
    let (target, reason) = (check.target().map(display), reason.map(display));
    match flip {
        Some(Flip { from, to }) => tracing::info!(target, %check, %from, %to, reason, "target flips"),
        None => tracing::debug!(target, %check, state = %slot.state(), reason, "target probed"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::future;
    use std::sync::Mutex;

    use super::*;
    use crate::health::{Check, Kind, State};

    const INTERVAL: Duration = Duration::from_secs(5);
    const FORGET: Duration = Duration::from_secs(60);

    /// Targets that answer as they are told, and a log of the probes that asked them.
    #[derive(Default)]
    struct Fake {
        /// By port; one that is not here answers at once and well.
        targets: Mutex<HashMap<u16, Behaviour>>,
        log: Mutex<Log>,
    }

    #[derive(Clone, Copy)]
    enum Behaviour {
        Fails,
        Takes(Duration),
        Panics,
    }

    #[derive(Default)]
    struct Log {
        /// Port and time of the start of each probe.
        starts: Vec<(u16, Instant)>,
        under_way: usize,
        most_under_way: usize,
    }

    impl Fake {
        fn tell(&self, port: u16, behaviour: Behaviour) {
            self.targets.lock().unwrap().insert(port, behaviour);
        }

        fn recover(&self, port: u16) {
            self.targets.lock().unwrap().remove(&port);
        }

        async fn probe(self: Arc<Self>, slot: Arc<Slot>) -> Verdict {
            let Kind::Tcp(target) = slot.check().kind else { panic!("the fake knows ports only") };
            let behaviour = self.targets.lock().unwrap().get(&target.port()).copied();
            {
                let mut log = self.log.lock().unwrap();
                log.starts.push((target.port(), Instant::now()));
                log.under_way += 1;
                log.most_under_way = log.most_under_way.max(log.under_way);
            }
            if let Some(Behaviour::Takes(time)) = behaviour {
                time::sleep(time).await;
            }
            self.log.lock().unwrap().under_way -= 1;
            match behaviour {
                None | Some(Behaviour::Takes(_)) => Verdict::Pass { weight: None },
                Some(Behaviour::Fails) => Verdict::Fail(Reason::Refused),
                Some(Behaviour::Panics) => panic!("told to"),
            }
        }

        /// When the probes of a port started.
        fn starts(&self, port: u16) -> Vec<Instant> {
            let log = self.log.lock().unwrap();
            log.starts.iter().filter(|(of, _)| *of == port).map(|(_, at)| *at).collect()
        }

        /// The gaps between the starts of a port's probes.
        fn gaps(&self, port: u16) -> Vec<Duration> {
            self.starts(port).windows(2).map(|pair| pair[1] - pair[0]).collect()
        }
    }

    /// A table, a checker on it and the fake it probes.
    struct Rig {
        table: Arc<Table>,
        checker: Checker,
        fake: Arc<Fake>,
    }

    impl Rig {
        fn start() -> Self {
            Self::start_with(1000, future::pending())
        }

        fn start_with(concurrency: usize, shutdown: impl Future<Output = ()> + Send + 'static) -> Self {
            let table = Arc::new(Table::new(20_000));
            let fake = Arc::new(Fake::default());
            let settings = Settings { interval: INTERVAL, forget: FORGET, concurrency };
            let target = Arc::clone(&fake);
            let probe = move |slot| Arc::clone(&target).probe(slot);
            let checker = Checker::spawn(Arc::clone(&table), settings, probe, shutdown);
            Self { table, checker, fake }
        }
    }

    fn check(port: u16) -> Check {
        Check {
            kind: Kind::Tcp(([192, 0, 2, 1], port).into()),
            source: None,
            timeout: Duration::from_secs(2),
            interval: None,
            minimum_failures: 1,
        }
    }

    /// Lets simulated time pass; the clock is paused in each test here, so nobody waits.
    async fn pass(seconds: u64) {
        time::sleep(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_check_is_probed_at_once_and_then_at_its_exact_interval() {
        let rig = Rig::start();
        pass(17).await;
        let seen = Instant::now();
        rig.table.slot(&check(1));
        rig.table.slot(&Check { interval: Some(Duration::from_secs(3)), ..check(2) });
        pass(31).await;
        for (port, interval) in [(1, INTERVAL), (2, Duration::from_secs(3))] {
            assert_eq!(rig.fake.starts(port)[0], seen);
            let gaps = rig.fake.gaps(port);
            // Tokio's timers count in milliseconds.
            assert!(gaps[0] >= interval * 9 / 10 && gaps[0] <= interval + Duration::from_millis(1), "{gaps:?}");
            for gap in &gaps[1..] {
                assert!(gap.abs_diff(interval) <= Duration::from_millis(1), "{gaps:?}");
            }
            assert!(gaps.len() >= 5);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn checks_seen_together_are_spread_after_their_first_probe() {
        let rig = Rig::start();
        for port in 0..100 {
            rig.table.slot(&check(port));
        }
        pass(6).await;
        let mut seconds: Vec<_> = (0..100).map(|port| rig.fake.starts(port)[1]).collect();
        seconds.sort();
        seconds.dedup();
        assert!(seconds.len() > 10, "{} different times", seconds.len());
    }

    #[tokio::test(start_paused = true)]
    async fn an_interval_of_zero_or_of_ages_is_bounded() {
        let rig = Rig::start();
        rig.table.slot(&Check { interval: Some(Duration::ZERO), ..check(1) });
        rig.table.slot(&Check { interval: Some(Duration::MAX), ..check(2) });
        pass(10).await;
        assert!(rig.fake.starts(1).len() <= 102);
        assert_eq!(rig.fake.starts(2).len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_target_goes_down_after_minimum_failures_and_up_after_one_pass() {
        let rig = Rig::start();
        let slot = rig.table.slot(&Check { minimum_failures: 3, ..check(1) });
        pass(1).await;
        assert_eq!(slot.state(), State::Up);
        rig.fake.tell(1, Behaviour::Fails);
        let mut states = Vec::new();
        for _ in 0..3 {
            pass(5).await;
            states.push(slot.state());
        }
        assert_eq!(states, [State::Up, State::Up, State::Down]);
        rig.fake.recover(1);
        pass(5).await;
        assert_eq!(slot.state(), State::Up);
    }

    #[tokio::test(start_paused = true)]
    async fn a_target_that_never_answered_is_down_from_its_first_result() {
        let rig = Rig::start();
        rig.fake.tell(1, Behaviour::Fails);
        let slot = rig.table.slot(&Check { minimum_failures: 3, ..check(1) });
        assert_eq!(slot.state(), State::Unknown);
        pass(1).await;
        assert_eq!(slot.state(), State::Down);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_target_delays_no_other() {
        let rig = Rig::start();
        rig.fake.tell(1, Behaviour::Takes(Duration::from_secs(1000)));
        rig.table.slot(&check(1));
        let other = rig.table.slot(&check(2));
        pass(32).await;
        let late = rig.table.slot(&check(3));
        pass(1).await;
        assert_eq!((other.state(), late.state()), (State::Up, State::Up));
        assert_eq!(rig.fake.starts(1).len(), 1);
        assert_eq!(rig.fake.starts(2).len(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_longer_than_the_interval_is_followed_by_the_next_at_once() {
        let rig = Rig::start();
        rig.fake.tell(1, Behaviour::Takes(Duration::from_secs(7)));
        rig.table.slot(&check(1));
        pass(30).await;
        for gap in rig.fake.gaps(1) {
            assert!(gap.abs_diff(Duration::from_secs(7)) <= Duration::from_millis(1), "{gap:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_probes_are_under_way_than_allowed_and_all_have_their_turn() {
        let rig = Rig::start_with(4, future::pending());
        for port in 0..40 {
            rig.fake.tell(port, Behaviour::Takes(Duration::from_millis(300)));
            rig.table.slot(&check(port));
        }
        pass(4).await;
        assert_eq!(rig.fake.log.lock().unwrap().most_under_way, 4);
        for port in 0..40 {
            assert_eq!(rig.fake.starts(port).len(), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_check_is_probed_no_more() {
        let rig = Rig::start();
        let (kept, dropped) = (rig.table.claim(&[check(1)]), rig.table.claim(&[check(1), check(2)]));
        pass(11).await;
        drop(dropped);
        pass(2).await;
        assert_eq!(rig.table.len(), 1);
        let before = rig.fake.starts(2).len();
        pass(60).await;
        assert_eq!(rig.fake.starts(2).len(), before);
        assert!(rig.fake.starts(1).len() > before + 10);
        assert_eq!(kept.slots()[0].state(), State::Up);
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_nobody_asks_for_is_forgotten() {
        let rig = Rig::start();
        let slot = rig.table.slot(&check(1));
        pass(40).await;
        slot.touch();
        pass(58).await;
        assert!(!slot.is_retired());
        pass(4).await;
        assert!(slot.is_retired());
        let before = rig.fake.starts(1).len();
        pass(100).await;
        assert_eq!(rig.fake.starts(1).len(), before);
        assert_eq!(rig.table.slot(&check(1)).state(), State::Unknown);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_panics_is_a_failure_and_the_check_lives_on() {
        let rig = Rig::start();
        rig.fake.tell(1, Behaviour::Panics);
        let slot = rig.table.slot(&check(1));
        pass(1).await;
        assert_eq!(slot.state(), State::Down);
        rig.fake.recover(1);
        pass(5).await;
        assert_eq!(slot.state(), State::Up);
    }

    #[tokio::test(start_paused = true)]
    async fn warming_ends_with_the_last_first_verdict() {
        let rig = Rig::start();
        rig.fake.tell(1, Behaviour::Takes(Duration::from_secs(2)));
        rig.fake.tell(2, Behaviour::Fails);
        let claims = rig.table.claim(&[check(1), check(2), check(3)]);
        let start = Instant::now();
        assert_eq!(rig.checker.warm(claims.slots(), Duration::from_secs(30)).await, 0);
        assert!(start.elapsed() < Duration::from_secs(3));
        assert_eq!(rig.checker.warm(claims.slots(), Duration::ZERO).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn warming_ends_at_its_deadline_and_says_how_many_are_unknown() {
        let rig = Rig::start();
        rig.fake.tell(1, Behaviour::Takes(Duration::from_secs(20)));
        let claims = rig.table.claim(&[check(1), check(2), check(3)]);
        let start = Instant::now();
        assert_eq!(rig.checker.warm(claims.slots(), Duration::from_secs(3)).await, 1);
        assert!(start.elapsed().abs_diff(Duration::from_secs(3)) <= Duration::from_millis(1));
    }

    #[tokio::test(start_paused = true)]
    async fn warming_does_not_wait_for_what_a_full_table_turned_away() {
        let table = Arc::new(Table::new(1));
        let settings = Settings { interval: INTERVAL, forget: FORGET, concurrency: 1 };
        let pass = |_| future::ready(Verdict::Pass { weight: None });
        let checker = Checker::spawn(Arc::clone(&table), settings, pass, future::pending());
        let claims = table.claim(&[check(1), check(2)]);
        let start = Instant::now();
        assert_eq!(checker.warm(claims.slots(), Duration::from_secs(30)).await, 1);
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn shutdown_ends_all_probes() {
        let rig = Rig::start_with(10, pass(12));
        rig.fake.tell(1, Behaviour::Takes(Duration::from_secs(1000)));
        rig.table.claim(&[check(1), check(2)]);
        rig.checker.ended().await;
        let before = rig.fake.log.lock().unwrap().starts.len();
        pass(100).await;
        assert_eq!(rig.fake.log.lock().unwrap().starts.len(), before);
        assert_eq!(Arc::strong_count(&rig.fake), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn each_flip_is_one_line_in_the_log() {
        /// A log in memory.
        #[derive(Clone, Default)]
        struct Lines(Arc<Mutex<Vec<u8>>>);
        impl std::io::Write for Lines {
            fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(octets);
                Ok(octets.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .without_time()
            .with_target(false)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let _logging = tracing::subscriber::set_default(subscriber);

        let rig = Rig::start();
        let _claims = rig.table.claim(&[check(1)]);
        pass(11).await;
        rig.fake.tell(1, Behaviour::Fails);
        pass(11).await;
        rig.fake.recover(1);
        pass(11).await;

        let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let flip = " INFO target flips target=192.0.2.1 check=tcp 192.0.2.1:1";
        let expected = [
            format!("{flip} from=unknown to=up"),
            format!("{flip} from=up to=down reason=connection refused"),
            format!("{flip} from=down to=up"),
        ];
        assert_eq!(log.lines().collect::<Vec<_>>(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn ten_thousand_checks_all_get_their_verdict_at_once() {
        let rig = Rig::start();
        let checks: Vec<_> = (0..10_000).map(check).collect();
        let claims = rig.table.claim(&checks);
        assert_eq!(rig.checker.warm(claims.slots(), Duration::from_secs(1)).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_weight_of_the_last_pass_is_kept() {
        let table = Arc::new(Table::new(1));
        let settings = Settings { interval: INTERVAL, forget: FORGET, concurrency: 1 };
        let verdicts = Mutex::new(vec![
            Verdict::Fail(Reason::Refused),
            Verdict::Pass { weight: Some(7) },
            Verdict::Pass { weight: Some(9) },
        ]);
        let next = move |_| future::ready(verdicts.lock().unwrap().pop().unwrap_or(Verdict::Fail(Reason::Refused)));
        let _checker = Checker::spawn(Arc::clone(&table), settings, next, future::pending());
        let slot = table.slot(&check(1));
        let mut readings = Vec::new();
        for _ in 0..3 {
            pass(1).await;
            readings.push((slot.state(), slot.read().weight));
            pass(4).await;
        }
        assert_eq!(readings, [(State::Up, Some(9)), (State::Up, Some(7)), (State::Down, Some(7))]);
    }
}
