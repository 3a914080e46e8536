//! The background checker: when to probe, how many at once, and when to forget.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::future::{self, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;
use tokio::sync::{Notify, mpsc};
use tokio::task::{self, JoinError, JoinHandle, JoinSet};
use tokio::time::{self, Instant};

use super::hysteresis::{self, Flip};
use super::table::{Reading, Slot, Table};
use super::{Check, Reason, Verdict};
use crate::dns::Now;

/// How often the table is swept: a check whose record is gone is probed for at most twice as long.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The shortest interval between two probes of a check, so that a record's `interval=0` is no flood.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// The longest, so that no number in a record runs past the clock's range.
const INTERVAL_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How often a check that is not probed for now is looked at again.
const PAUSE_LOOK: Duration = Duration::from_secs(1);

/// How many turns that nobody waits for any more are let stand before they are looked for.
const TURNS_STALE_MAX: usize = 1024;

/// Picks checks that are to be probed at once.
type Wish = Box<dyn Fn(&Check) -> bool + Send>;

/// How the checker works.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// From the start of one probe to the start of the next, for checks that do not say.
    pub interval: Duration,
    /// By which share of its interval a probe may come early.
    pub jitter: f64,
    /// How long a check that no zone claims is kept after the last query that asked for it.
    pub forget: Duration,
    /// Probes under way at once; more wait their turn, first come, first served.
    pub concurrency: usize,
}

/// What a verdict made of a check.
#[derive(Clone)]
pub struct Outcome {
    /// The check.
    pub slot: Arc<Slot>,
    /// How long its probe took.
    pub took: Duration,
    /// Why it failed, if it did.
    pub reason: Option<Reason>,
    /// What that changed, if anything.
    pub flip: Option<Flip>,
}

/// What the checker is made with beside its settings.
pub struct Parts<P, C, O> {
    /// Carries out one probe.
    pub probe: P,
    /// The clock that queries are answered by.
    pub clock: C,
    /// Is told of each verdict, in their order.
    pub observe: O,
}

/// A running checker.
///
/// Dropping this handle leaves it running; the `shutdown` it was given ends it.
pub struct Checker {
    first_verdicts: Arc<Notify>,
    wishes: mpsc::UnboundedSender<Wish>,
    task: JoinHandle<()>,
}

impl Checker {
    /// Starts to probe what the table holds and will hold, until `shutdown` ends.
    ///
    /// For one checker per table. A probe may take its time: each check waits only for its own probes, as long as
    /// fewer than `concurrency` are under way. Needs a tokio runtime with time enabled.
    pub fn spawn<P, F, C, O>(
        table: Arc<Table>,
        settings: Settings,
        parts: Parts<P, C, O>,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Self
    where
        P: Fn(Arc<Slot>) -> F + Send + 'static,
        F: Future<Output = Verdict> + Send + 'static,
        C: Fn() -> Now + Send + 'static,
        O: FnMut(&Outcome) + Send + 'static,
    {
        let first_verdicts = Arc::new(Notify::new());
        let (wishes, wished) = mpsc::unbounded_channel();
        let schedule = Schedule {
            settings,
            parts,
            first_verdicts: Arc::clone(&first_verdicts),
            spread: RandomState::new(),
            watches: Slab::new(),
            due: BinaryHeap::new(),
            waiting: VecDeque::new(),
            probes: JoinSet::new(),
            under_way: HashMap::new(),
            turns: 0,
        };
        Self { first_verdicts, wishes, task: tokio::spawn(run(table, schedule, wished, shutdown)) }
    }

    /// Waits until each of `slots` was probed or `deadline` has passed; returns how many have no state even so.
    ///
    /// Slots that a full table turned away are not waited for, but counted; those on whose probes nothing hangs, by
    /// what operators say, are neither.
    pub async fn warm(&self, slots: &[Arc<Slot>], deadline: Duration) -> usize {
        let all = async {
            for slot in slots {
                self.first_verdict(slot).await;
            }
        };
        // The count says whether the deadline passed.
        let _ = time::timeout(deadline, all).await;
        slots.iter().filter(|slot| !slot.has_verdict() && !slot.is_moot()).count()
    }

    /// Has the checks probed at once that `which` picks; their next probes keep to their beat.
    pub fn probe_now(&self, which: impl Fn(&Check) -> bool + Send + 'static) {
        // Who is not there any more needs no probes.
        let _ = self.wishes.send(Box::new(which));
    }

    /// Waits until the checker has ended, which `shutdown` makes it do.
    pub async fn ended(self) {
        if let Err(error) = self.task.await {
            tracing::error!(%error, "health checker broke");
        }
    }

    /// Waits until `slot` was probed or will not be.
    async fn first_verdict(&self, slot: &Slot) {
        loop {
            // Made before the look at the slot: a verdict between the two still ends the wait.
            let verdict = self.first_verdicts.notified();
            if slot.was_probed() || slot.is_retired() || slot.is_moot() {
                return;
            }
            verdict.await;
        }
    }
}

/// Takes up new slots, starts what is due and sweeps the table, until `shutdown` ends.
async fn run<P, F, C, O>(
    table: Arc<Table>,
    mut schedule: Schedule<P, C, O>,
    mut wishes: mpsc::UnboundedReceiver<Wish>,
    shutdown: impl Future<Output = ()>,
) where
    P: Fn(Arc<Slot>) -> F,
    F: Future<Output = Verdict> + Send + 'static,
    C: Fn() -> Now,
    O: FnMut(&Outcome),
{
    let start = Instant::now();
    let mut sweeps = time::interval(SWEEP_INTERVAL);
    let mut turned_away = 0;
    let mut shutdown = pin!(shutdown);
    loop {
        let next = schedule.next();
        tokio::select! {
            // Dropping the probes ends them.
            () = &mut shutdown => return,
            slots = poll_fn(|context| table.poll_news(context)) => slots.into_iter().for_each(|slot| schedule.add(slot)),
            Some(ended) = schedule.probes.join_next_with_id() => schedule.end(ended),
            () = until(next) => schedule.start_due(),
            Some(wish) = wishes.recv() => schedule.advance(&wish),
            _ = sweeps.tick() => {
                if table.sweep(start.elapsed(), schedule.settings.forget) > 0 {
                    schedule.drop_retired();
                }
                turned_away = report_turned_away(turned_away, table.turned_away());
            }
        }
    }
}

/// Waits until a moment; for ever if there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => time::sleep_until(moment).await,
        None => future::pending().await,
    }
}

/// Warns when the table has begun to turn checks away; returns what to compare with next time.
fn report_turned_away(before: u64, now: u64) -> u64 {
    if before == 0 && now > 0 {
        tracing::warn!(turned_away = now, "health table is full, some targets are not probed");
    }
    now
}

/// When each check is probed next, and which are being probed.
struct Schedule<P, C, O> {
    settings: Settings,
    parts: Parts<P, C, O>,
    first_verdicts: Arc<Notify>,
    /// Differs from process to process, so that servers started together do not probe together.
    spread: RandomState,
    watches: Slab<Watch>,
    /// Turns by their time. One that is no more its watch's is passed over.
    due: BinaryHeap<Reverse<Turn>>,
    /// Watches whose turn has come and that wait for another's probe to end.
    waiting: VecDeque<usize>,
    probes: JoinSet<Verdict>,
    under_way: HashMap<task::Id, usize>,
    /// How many turns were given.
    turns: u64,
}

/// When a watch is due: the time, the number of the turn, and the watch.
type Turn = (Instant, u64, usize);

/// One check and its probes.
struct Watch {
    slot: Arc<Slot>,
    /// The time its last probe was due at, by the beat of its interval.
    beat: Instant,
    /// The turn it waits for.
    turn: u64,
    /// When its probe started, while it is under way.
    started: Option<Instant>,
    /// Whether its turn has come and it waits for another's probe to end.
    is_waiting: bool,
    /// Whether it is to be probed again as soon as its probe has ended.
    again: bool,
    /// Whether it had its first probe, after which it is spread.
    is_spread: bool,
}

impl<P, F, C, O> Schedule<P, C, O>
where
    P: Fn(Arc<Slot>) -> F,
    F: Future<Output = Verdict> + Send + 'static,
    C: Fn() -> Now,
    O: FnMut(&Outcome),
{
    /// Takes up a slot, whose first probe is due at once.
    fn add(&mut self, slot: Arc<Slot>) {
        let now = Instant::now();
        let watch =
            Watch { slot, beat: now, turn: 0, started: None, is_waiting: false, again: false, is_spread: false };
        let id = self.watches.insert(watch);
        self.give_turn(id, now);
    }

    /// Has a watch probed at `at`, and at no other time it may have waited for.
    fn give_turn(&mut self, id: usize, at: Instant) {
        self.turns += 1;
        self.watches[id].turn = self.turns;
        self.due.push(Reverse((at, self.turns, id)));
        if self.due.len() > 2 * self.watches.len() + TURNS_STALE_MAX {
            self.due.retain(|Reverse((_, turn, id))| self.watches.get(*id).is_some_and(|watch| watch.turn == *turn));
        }
    }

    /// When something is due next.
    fn next(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((at, ..))| *at)
    }

    /// Starts all that is due, as far as there may be so many probes; the rest waits.
    fn start_due(&mut self) {
        let now = Instant::now();
        while self.next().is_some_and(|at| at <= now) {
            let Some(Reverse((_, turn, id))) = self.due.pop() else { return };
            let Some(watch) = self.watches.get_mut(id).filter(|watch| watch.turn == turn) else { continue };
            if watch.slot.is_retired() {
                self.watches.remove(id);
            } else if watch.slot.is_paused() {
                watch.beat = now;
                self.give_turn(id, now + PAUSE_LOOK);
            } else {
                watch.is_waiting = true;
                self.waiting.push_back(id);
            }
        }
        self.start_waiting();
    }

    /// Starts probes of those that wait, first come, first served.
    fn start_waiting(&mut self) {
        while self.under_way.len() < self.settings.concurrency.max(1) {
            let Some(id) = self.waiting.pop_front() else { return };
            let watch = &mut self.watches[id];
            (watch.is_waiting, watch.started) = (false, Some(Instant::now()));
            // A task of its own: what probing needs is freed between probes, and a panic costs one verdict.
            let probe = self.probes.spawn((self.parts.probe)(Arc::clone(&watch.slot)));
            self.under_way.insert(probe.id(), id);
        }
    }

    /// Takes the verdict of a probe that has ended, and gives its watch the next turn.
    fn end(&mut self, ended: Result<(task::Id, Verdict), JoinError>) {
        let (task, verdict) = match ended {
            Ok(ended) => ended,
            Err(error) => (error.id(), Verdict::Fail(Reason::Broken)),
        };
        let Some(id) = self.under_way.remove(&task) else { return };
        let now = Instant::now();
        let interval = self.interval(id);
        let watch = &mut self.watches[id];
        let took = watch.started.take().map_or(Duration::ZERO, |started| now - started);
        let slot = Arc::clone(&watch.slot);
        let gap = if watch.is_spread { interval } else { interval.mul_f64(self.fraction(id)) };
        let watch = &mut self.watches[id];
        watch.is_spread = true;
        // A probe longer than the interval is followed by the next at once.
        watch.beat = (watch.beat + gap).max(now);
        let again = mem::take(&mut watch.again);
        let early = interval.mul_f64(self.settings.jitter.clamp(0.0, 0.5) * self.fraction(id));
        let next = if again { now } else { (self.watches[id].beat - early).max(now) };
        self.publish(&slot, verdict, took, (next - now, interval));
        self.give_turn(id, next);
        self.start_waiting();
    }

    /// A number from 0 to 1 that is another one at each turn of each watch.
    fn fraction(&self, id: usize) -> f64 {
        // 32 bits fit into a float as they are.
        let share = u32::try_from(self.spread.hash_one((self.turns, id)) >> 32).expect("32 bits are left");
        f64::from(share) / f64::from(u32::MAX)
    }

    /// The interval of a watch.
    fn interval(&self, id: usize) -> Duration {
        let of_check = self.watches[id].slot.check().interval;
        of_check.unwrap_or(self.settings.interval).clamp(INTERVAL_MIN, INTERVAL_MAX)
    }

    /// Has the checks probed at once that a wish picks.
    fn advance(&mut self, wish: &Wish) {
        let now = Instant::now();
        let wished: Vec<usize> =
            self.watches.iter().filter(|(_, watch)| wish(watch.slot.check())).map(|(id, _)| id).collect();
        for id in wished {
            let watch = &mut self.watches[id];
            if watch.started.is_some() {
                watch.again = true;
            } else if !watch.is_waiting {
                self.give_turn(id, now);
            }
        }
    }

    /// Lets go of what the table has let go of, unless its probe is under way.
    fn drop_retired(&mut self) {
        self.watches.retain(|_, watch| !watch.slot.is_retired() || watch.started.is_some() || watch.is_waiting);
    }

    /// Tells the slot what a verdict has made of its state, and who observes. The next probe is due `ahead`, and those
    /// after it an interval apart.
    fn publish(&mut self, slot: &Arc<Slot>, verdict: Verdict, took: Duration, (ahead, interval): (Duration, Duration)) {
        let (passed, weight, reason) = match verdict {
            Verdict::Pass { weight } => (true, weight, None),
            Verdict::Fail(reason) => (false, slot.read().weight, Some(reason)),
        };
        let (now, thresholds) = ((self.parts.clock)(), slot.check().thresholds);
        let mut last = slot.last();
        let flip = hysteresis::observe(&mut last.run, passed, thresholds);
        if flip.is_some() {
            last.since = now.unix_secs;
        }
        (last.at, last.took, last.reason) = (now.unix_secs, took, reason.clone());
        let until = last
            .run
            .verdicts_to_change(thresholds)
            .map(|verdicts| now.monotonic + ahead + interval.saturating_mul(u32::from(verdicts.saturating_sub(1))));
        slot.publish(Reading { state: last.run.state, weight, until, drained: false }, last);
        if !slot.is_retired() {
            (self.parts.observe)(&Outcome { slot: Arc::clone(slot), took, reason, flip });
        }
        self.first_verdicts.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::future;
    use std::sync::Mutex;

    use super::*;
    use crate::health::hysteresis::Thresholds;
    use crate::health::table::Named;
    use crate::health::{Check, Kind, State, events};

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
            let Kind::Tcp { target, .. } = &slot.check().kind else { panic!("the fake knows ports only") };
            let behaviour = self.targets.lock().unwrap().get(&target.port).copied();
            {
                let mut log = self.log.lock().unwrap();
                log.starts.push((target.port, Instant::now()));
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
            let settings = Settings { interval: INTERVAL, jitter: 0.0, forget: FORGET, concurrency };
            let target = Arc::clone(&fake);
            let probe = move |slot| Arc::clone(&target).probe(slot);
            let checker = Checker::spawn(Arc::clone(&table), settings, parts(probe, &table), shutdown);
            Self { table, checker, fake }
        }
    }

    /// Checks that no record names.
    fn named<const N: usize>(checks: [Check; N]) -> Vec<Named> {
        checks.into_iter().map(Named::from).collect()
    }

    /// What a checker is made with: a probe, the simulated clock, and the log.
    fn parts<P>(probe: P, table: &Arc<Table>) -> Parts<P, impl Fn() -> Now + use<P>, impl FnMut(&Outcome) + use<P>> {
        let (start, table) = (Instant::now(), Arc::clone(table));
        let clock = move || Now { unix_secs: start.elapsed().as_secs(), monotonic: start.elapsed() };
        Parts { probe, clock, observe: move |outcome: &Outcome| events::log(outcome, &table) }
    }

    fn check(port: u16) -> Check {
        Check::new(Kind::tcp(([192, 0, 2, 1], port).into()))
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
            assert!(gaps[0] <= interval + Duration::from_millis(1), "{gaps:?}");
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
        let slot = rig.table.slot(&Check { thresholds: Thresholds { fall: 3, ..Thresholds::default() }, ..check(1) });
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
        let slot = rig.table.slot(&Check { thresholds: Thresholds { fall: 3, ..Thresholds::default() }, ..check(1) });
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
        assert!((7..=8).contains(&rig.fake.starts(2).len()));
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
            assert!(!rig.fake.starts(port).is_empty());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_check_is_probed_no_more() {
        let rig = Rig::start();
        let (kept, dropped) = (rig.table.claim(named([check(1)])), rig.table.claim(named([check(1), check(2)])));
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
        let claims = rig.table.claim(named([check(1), check(2), check(3)]));
        let start = Instant::now();
        assert_eq!(rig.checker.warm(claims.slots(), Duration::from_secs(30)).await, 0);
        assert!(start.elapsed() < Duration::from_secs(3));
        assert_eq!(rig.checker.warm(claims.slots(), Duration::ZERO).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn warming_ends_at_its_deadline_and_says_how_many_are_unknown() {
        let rig = Rig::start();
        rig.fake.tell(1, Behaviour::Takes(Duration::from_secs(20)));
        let claims = rig.table.claim(named([check(1), check(2), check(3)]));
        let start = Instant::now();
        assert_eq!(rig.checker.warm(claims.slots(), Duration::from_secs(3)).await, 1);
        assert!(start.elapsed().abs_diff(Duration::from_secs(3)) <= Duration::from_millis(1));
    }

    #[tokio::test(start_paused = true)]
    async fn warming_does_not_wait_for_what_a_full_table_turned_away() {
        let table = Arc::new(Table::new(1));
        let settings = Settings { interval: INTERVAL, jitter: 0.0, forget: FORGET, concurrency: 1 };
        let pass = |_| future::ready(Verdict::Pass { weight: None });
        let checker = Checker::spawn(Arc::clone(&table), settings, parts(pass, &table), future::pending());
        let claims = table.claim(named([check(1), check(2)]));
        let start = Instant::now();
        assert_eq!(checker.warm(claims.slots(), Duration::from_secs(30)).await, 1);
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn shutdown_ends_all_probes() {
        let rig = Rig::start_with(10, pass(12));
        rig.fake.tell(1, Behaviour::Takes(Duration::from_secs(1000)));
        rig.table.claim(named([check(1), check(2)]));
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
        let _claims = rig.table.claim(named([check(1)]));
        pass(11).await;
        rig.fake.tell(1, Behaviour::Fails);
        pass(11).await;
        rig.fake.recover(1);
        pass(11).await;

        let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let flip = " INFO target flips target=192.0.2.1 check=tcp 192.0.2.1:1";
        let expected = [
            format!("{flip} from=unknown to=up took_ms=0"),
            format!("{flip} from=up to=down reason=connection refused took_ms=0"),
            format!("{flip} from=down to=up took_ms=0"),
        ];
        assert_eq!(log.lines().collect::<Vec<_>>(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn ten_thousand_checks_all_get_their_verdict_at_once() {
        let rig = Rig::start();
        let checks: Vec<_> = (0..10_000).map(check).collect();
        let claims = rig.table.claim(checks.into_iter().map(Named::from).collect());
        assert_eq!(rig.checker.warm(claims.slots(), Duration::from_secs(1)).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_weight_of_the_last_pass_is_kept() {
        let table = Arc::new(Table::new(1));
        let settings = Settings { interval: INTERVAL, jitter: 0.0, forget: FORGET, concurrency: 1 };
        let verdicts = Mutex::new(vec![
            Verdict::Fail(Reason::Refused),
            Verdict::Pass { weight: Some(7) },
            Verdict::Pass { weight: Some(9) },
        ]);
        let next = move |_| future::ready(verdicts.lock().unwrap().pop().unwrap_or(Verdict::Fail(Reason::Refused)));
        let _checker = Checker::spawn(Arc::clone(&table), settings, parts(next, &table), future::pending());
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
