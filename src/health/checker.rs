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
use super::{Check, Kind, Reason, Verdict};
use crate::dns::Now;
use crate::metrics::Health as Counters;

/// How often the table is swept: a check whose record is gone is probed for at most twice as long, and one that was
/// paused goes on within as long.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The shortest interval between two probes of a check, so that a record's `interval=0` is no flood.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// The longest, so that no number in a record runs past the clock's range.
const INTERVAL_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The most of its interval by which a probe may come early, whatever is set.
const JITTER_MAX: f64 = 0.5;

/// How many turns that nobody waits for any more are let stand before they are looked for.
const TURNS_STALE_MAX: usize = 1024;

/// How many commands run at once, over all zones; others wait. Each is a process, and may be a heavy one.
const COMMANDS_MAX: usize = 16;

/// How many wishes may wait to be heard before whoever has another waits too.
const WISHES_MAX: usize = 16;

/// A probe that has ended, or its task.
type Ended = Result<(task::Id, Verdict), JoinError>;

/// Picks checks that are to be probed at once.
type Wish = Box<dyn Fn(&Check) -> bool + Send>;

/// How the checker works.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// From the start of one probe to the start of the next, for checks that do not say.
    pub interval: Duration,
    /// By which share of its interval a probe may come early, half of it at the most.
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
    /// Where the checker counts what it does.
    pub counters: Arc<Counters>,
}

/// A running checker.
///
/// Dropping this handle leaves it running; the `shutdown` it was given ends it.
pub struct Checker {
    first_verdicts: Arc<Notify>,
    wishes: mpsc::Sender<Wish>,
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
        let (wishes, wished) = mpsc::channel(WISHES_MAX);
        let schedule = Schedule::new(settings, parts);
        let first_verdicts = Arc::clone(&schedule.first_verdicts);
        Self { first_verdicts, wishes, task: tokio::spawn(run(table, schedule, wished, shutdown)) }
    }

    /// Waits until each of `slots` was probed or `deadline` has passed; returns how many have no state even so.
    ///
    /// Slots that a full table turned away, and those that are paused, are not waited for, but counted; those of which
    /// operators have decided are neither.
    pub async fn warm(&self, slots: &[Arc<Slot>], deadline: Duration) -> usize {
        let all = async {
            for slot in slots {
                self.first_verdict(slot).await;
            }
        };
        // The count says whether the deadline passed.
        let _ = time::timeout(deadline, all).await;
        let is_missing = |slot: &&Arc<Slot>| !slot.has_verdict() && (slot.is_paused() || !slot.is_moot());
        slots.iter().filter(is_missing).count()
    }

    /// Has the checks probed at once that `which` picks, beside the probes that are due by their beat.
    ///
    /// One that is being probed is probed again right after; one that is paused is not probed. Waits while too many
    /// others have asked for the same.
    pub async fn probe_now(&self, which: impl Fn(&Check) -> bool + Send + 'static) {
        // Who is not there any more needs no probes.
        let _ = self.wishes.send(Box::new(which)).await;
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
    mut wishes: mpsc::Receiver<Wish>,
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
            Some(ended) = schedule.probes.join_next_with_id() => schedule.end_all(ended),
            () = until(next) => schedule.start_due(),
            Some(wish) = wishes.recv() => schedule.advance(&wish),
            _ = sweeps.tick() => {
                if table.sweep(start.elapsed(), schedule.settings.forget) > 0 {
                    schedule.drop_retired();
                }
                schedule.resume();
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
    /// Those of them that wait for a command to end. They are not in the way of others.
    waiting_commands: VecDeque<usize>,
    /// How many commands run.
    commands: usize,
    /// Watches that were paused when their turn came, and the number of that turn.
    paused: Vec<(usize, u64)>,
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
    /// The time its probe is due by the beat of its interval: the one under way, or else the next.
    beat: Instant,
    /// The number of the turn it waits for or has, and the time of that.
    turn: (u64, Instant),
    /// When its probe started, while it is under way.
    started: Option<Instant>,
    /// Whether its turn has come and it waits for another's probe to end.
    is_waiting: bool,
    /// Whether the turn it waits for or has is beside its beat.
    is_extra: bool,
    /// Whether it is to be probed again as soon as its probe has ended.
    again: bool,
    /// Whether it had its first probe, after which it is spread.
    is_spread: bool,
}

impl Watch {
    /// The watch of a slot whose first probe is due now.
    fn new(slot: Arc<Slot>, now: Instant) -> Self {
        let (turn, started, is_waiting, is_extra) = ((0, now), None, false, false);
        Self { slot, beat: now, turn, started, is_waiting, is_extra, again: false, is_spread: false }
    }

    /// Whether its probe is a command.
    fn is_command(&self) -> bool {
        matches!(self.slot.check().kind, Kind::Exec { .. })
    }

    /// Whether it can go with its slot: nothing of it is under way.
    fn is_over(&self) -> bool {
        self.slot.is_retired() && self.started.is_none()
    }
}

impl<P, F, C, O> Schedule<P, C, O>
where
    P: Fn(Arc<Slot>) -> F,
    F: Future<Output = Verdict> + Send + 'static,
    C: Fn() -> Now,
    O: FnMut(&Outcome),
{
    /// A schedule of nothing yet.
    fn new(settings: Settings, parts: Parts<P, C, O>) -> Self {
        Self {
            settings,
            parts,
            first_verdicts: Arc::default(),
            spread: RandomState::new(),
            watches: Slab::new(),
            due: BinaryHeap::new(),
            waiting: VecDeque::new(),
            waiting_commands: VecDeque::new(),
            commands: 0,
            paused: Vec::new(),
            probes: JoinSet::new(),
            under_way: HashMap::new(),
            turns: 0,
        }
    }

    /// Takes up a slot, whose first probe is due at once.
    fn add(&mut self, slot: Arc<Slot>) {
        let now = Instant::now();
        let id = self.watches.insert(Watch::new(slot, now));
        self.give_turn(id, now);
    }

    /// Has a watch probed at `at`, and at no other time it may have waited for.
    fn give_turn(&mut self, id: usize, at: Instant) {
        self.turns += 1;
        self.watches[id].turn = (self.turns, at);
        self.due.push(Reverse((at, self.turns, id)));
        if self.due.len() > 2 * self.watches.len() + TURNS_STALE_MAX {
            self.due.retain(|Reverse((_, turn, id))| self.watches.get(*id).is_some_and(|watch| watch.turn.0 == *turn));
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
            let Some(watch) = self.watches.get_mut(id).filter(|watch| watch.turn.0 == turn) else { continue };
            watch.is_waiting = true;
            self.waiting.push_back(id);
        }
        self.start_waiting();
    }

    /// Starts probes of those that wait, first come, first served.
    fn start_waiting(&mut self) {
        while self.under_way.len() < self.settings.concurrency.max(1) {
            let Some(id) = self.next_waiting() else { break };
            let watch = &mut self.watches[id];
            watch.is_waiting = false;
            if watch.slot.is_retired() {
                self.watches.remove(id);
            } else if watch.slot.is_paused() {
                self.paused.push((id, watch.turn.0));
            } else {
                self.start(id);
            }
        }
        let counters = &self.parts.counters;
        counters.under_way.set(self.under_way.len() as u64);
        counters.waiting.set((self.waiting.len() + self.waiting_commands.len()) as u64);
    }

    /// Takes out who has waited longest of those that can start; commands that cannot step aside.
    fn next_waiting(&mut self) -> Option<usize> {
        if self.commands < COMMANDS_MAX
            && let Some(id) = self.waiting_commands.pop_front()
        {
            return Some(id);
        }
        while let Some(id) = self.waiting.pop_front() {
            if self.commands < COMMANDS_MAX || !self.watches[id].is_command() {
                return Some(id);
            }
            self.waiting_commands.push_back(id);
        }
        None
    }

    /// Starts the probe of a watch.
    fn start(&mut self, id: usize) {
        let (watch, now) = (&mut self.watches[id], Instant::now());
        watch.started = Some(now);
        self.commands += usize::from(watch.is_command());
        self.parts.counters.started.add(1);
        self.parts.counters.late.count(now.saturating_duration_since(watch.turn.1));
        // A task of its own: what probing needs is freed between probes, and a panic costs one verdict.
        let probe = self.probes.spawn((self.parts.probe)(Arc::clone(&watch.slot)));
        self.under_way.insert(probe.id(), id);
    }

    /// Takes the verdict of a probe that has ended, and those of all others that have by now.
    fn end_all(&mut self, ended: Ended) {
        self.end(ended);
        while let Some(ended) = self.probes.try_join_next_with_id() {
            self.end(ended);
        }
        self.start_waiting();
    }

    /// Takes the verdict of a probe that has ended, and gives its watch the next turn.
    fn end(&mut self, ended: Ended) {
        let (task, verdict) = match ended {
            Ok(ended) => ended,
            Err(error) => (error.id(), Verdict::Fail(Reason::Broken)),
        };
        let Some(id) = self.under_way.remove(&task) else { return };
        let now = Instant::now();
        let watch = &mut self.watches[id];
        self.commands -= usize::from(watch.is_command());
        let took = watch.started.take().map_or(Duration::ZERO, |started| now - started);
        let slot = Arc::clone(&watch.slot);
        self.move_beat(id, now);
        let next = self.next_probe(id, now);
        // What is paused stays what it is, though a probe was still under way; who waited for that waits no more.
        if slot.is_paused() {
            self.first_verdicts.notify_waiters();
        } else {
            self.publish(&slot, verdict, took, |this, verdicts| this.nth_probe(id, next, verdicts) - now);
        }
        self.give_turn(id, next);
    }

    /// Moves the beat of a watch on, whose probe has ended, to where the next is due.
    fn move_beat(&mut self, id: usize, now: Instant) {
        let interval = self.interval(id);
        let gap = if self.watches[id].is_spread { interval } else { interval.mul_f64(self.fraction(id)) };
        let watch = &mut self.watches[id];
        watch.is_spread = true;
        if !watch.is_extra {
            watch.beat += gap;
        }
        if watch.beat < now {
            // A probe longer than the interval is followed by the next at once.
            watch.beat = now;
            self.parts.counters.overran.add(1);
        }
    }

    /// When the next probe of a watch is due whose last one has ended: by its beat, or a little earlier.
    fn next_probe(&mut self, id: usize, now: Instant) -> Instant {
        let early = self.earliness_max(id).mul_f64(self.fraction(id));
        let watch = &mut self.watches[id];
        watch.is_extra = mem::take(&mut watch.again);
        if watch.is_extra { now } else { watch.beat.checked_sub(early).unwrap_or(now).max(now) }
    }

    /// When the probe with this number, counted from 1, can start at the earliest; the first is due at `next`.
    fn nth_probe(&self, id: usize, next: Instant, number: u16) -> Instant {
        let watch = &self.watches[id];
        // An extra probe is none of the beat's.
        let beats = u32::from(number.saturating_sub(1)).checked_sub(u32::from(watch.is_extra));
        match beats {
            Some(beats) if number > 1 => {
                let beat = watch.beat + self.interval(id).saturating_mul(beats);
                beat.checked_sub(self.earliness_max(id)).unwrap_or(next).max(next)
            }
            Some(_) | None => next,
        }
    }

    /// By how much a probe of a watch may come early.
    fn earliness_max(&self, id: usize) -> Duration {
        self.interval(id).mul_f64(self.settings.jitter.clamp(0.0, JITTER_MAX))
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
            } else if !watch.is_waiting && !watch.slot.is_paused() {
                // The first probe is that of its beat.
                watch.is_extra = watch.is_spread;
                self.give_turn(id, now);
            }
        }
    }

    /// Has those probed at once that were paused when their turn came and are not any more; after that they keep to the
    /// beat they had.
    fn resume(&mut self) {
        let now = Instant::now();
        for (id, turn) in mem::take(&mut self.paused) {
            let Some(watch) = self.watches.get(id).filter(|watch| watch.turn.0 == turn) else { continue };
            if watch.slot.is_paused() {
                self.paused.push((id, turn));
                continue;
            }
            let (interval, watch) = (self.interval(id), &mut self.watches[id]);
            let missed = now.saturating_duration_since(watch.beat).as_nanos() / interval.as_nanos();
            watch.beat += interval.saturating_mul(u32::try_from(missed + 1).unwrap_or(u32::MAX));
            watch.is_extra = watch.is_spread;
            self.give_turn(id, now);
        }
    }

    /// Lets go of what the table has let go of, unless its probe is under way.
    fn drop_retired(&mut self) {
        for waiting in [&mut self.waiting, &mut self.waiting_commands] {
            waiting.retain(|id| !self.watches[*id].is_over());
        }
        self.watches.retain(|_, watch| !watch.is_over());
    }

    /// Tells the slot what a verdict has made of its state, and who observes. `ahead` tells how long it is until the
    /// probe with a number, counted from the next one, can start at the earliest.
    fn publish(
        &mut self,
        slot: &Arc<Slot>,
        verdict: Verdict,
        took: Duration,
        ahead: impl FnOnce(&Self, u16) -> Duration,
    ) {
        let (passed, weight, reason) = match verdict {
            Verdict::Pass { weight } => (true, weight, None),
            Verdict::Fail(reason) => (false, slot.read().weight, Some(reason.bounded())),
        };
        let (now, thresholds) = ((self.parts.clock)(), slot.check().thresholds);
        let mut last = slot.last();
        let flip = hysteresis::observe(&mut last.run, passed, thresholds);
        if flip.is_some() {
            last.since = now.unix_secs;
        }
        (last.at, last.took, last.reason) = (now.unix_secs, took, reason.clone());
        let missing = last.run.verdicts_to_change(thresholds);
        let until = missing.map(|verdicts| now.monotonic.saturating_add(ahead(self, verdicts)));
        slot.publish(Reading { state: last.run.state, weight, until, drained: false }, last);
        self.parts.counters.ended(reason.as_ref().map(Reason::name), flip.is_some());
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

    use wildmatch::WildMatch;

    use super::*;
    use crate::health::hysteresis::Thresholds;
    use crate::health::overrides::{Action, Override, Overrides, Subject};
    use crate::health::table::Named;
    use crate::health::{State, events};

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
        counters: Arc<Counters>,
        start: Instant,
    }

    impl Rig {
        fn start() -> Self {
            Self::start_with(1000, future::pending())
        }

        fn start_with(concurrency: usize, shutdown: impl Future<Output = ()> + Send + 'static) -> Self {
            Self::start_as(Settings { interval: INTERVAL, jitter: 0.0, forget: FORGET, concurrency }, shutdown)
        }

        fn start_as(settings: Settings, shutdown: impl Future<Output = ()> + Send + 'static) -> Self {
            let table = Arc::new(Table::new(20_000));
            let fake = Arc::new(Fake::default());
            let target = Arc::clone(&fake);
            let probe = move |slot| Arc::clone(&target).probe(slot);
            let parts = parts(probe, &table);
            let (counters, start) = (Arc::clone(&parts.counters), Instant::now());
            let checker = Checker::spawn(Arc::clone(&table), settings, parts, shutdown);
            Self { table, checker, fake, counters, start }
        }

        /// How far a moment of the clock of queries is ahead.
        fn ahead(&self, until: Duration) -> Duration {
            until.saturating_sub(self.start.elapsed())
        }

        /// Pauses what a pattern holds; nothing if it is empty.
        fn pause(&self, pattern: &str) {
            let said = Override {
                subject: Subject::Check(WildMatch::new(pattern)),
                action: Action::Pause,
                until: None,
                author: None,
                reason: None,
            };
            self.table.set_overrides(Arc::new(Overrides::new(vec![said])));
        }
    }

    /// Waits until a port was probed so many times.
    async fn probed(rig: &Rig, port: u16, times: usize) {
        while rig.fake.starts(port).len() < times {
            time::sleep(Duration::from_millis(1)).await;
        }
        // The verdict is there before the next millisecond.
        time::sleep(Duration::from_millis(1)).await;
    }

    /// Checks that no record names.
    fn named<const N: usize>(checks: [Check; N]) -> Vec<Named> {
        checks.into_iter().map(Named::from).collect()
    }

    /// What a checker is made with: a probe, the simulated clock, and the log.
    fn parts<P>(probe: P, table: &Arc<Table>) -> Parts<P, impl Fn() -> Now + use<P>, impl FnMut(&Outcome) + use<P>> {
        let (start, table) = (Instant::now(), Arc::clone(table));
        let clock = move || Now { unix_secs: start.elapsed().as_secs(), monotonic: start.elapsed() };
        let observe = move |outcome: &Outcome| drop(events::log(outcome, &table));
        Parts { probe, clock, observe, counters: Arc::default() }
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
    async fn checks_seen_together_spread_over_the_whole_interval() {
        let rig = Rig::start();
        for port in 0..1000 {
            rig.table.slot(&check(port));
        }
        pass(31).await;
        // From the third probe on, in tenths of the interval: with even chances each has 100, and none is ever as far off.
        let mut tenths = [0; 10];
        for port in 0..1000 {
            let third = rig.fake.starts(port)[2] - rig.start;
            tenths[(third.as_millis() % INTERVAL.as_millis() / (INTERVAL.as_millis() / 10)) as usize] += 1;
        }
        assert!(tenths.iter().all(|count| (50..150).contains(count)), "{tenths:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_comes_early_by_its_jitter_at_most_and_never_late_and_the_beat_is_kept() {
        let jitter = 0.2;
        let settings = Settings { interval: INTERVAL, jitter, forget: FORGET * 1000, concurrency: 1000 };
        let rig = Rig::start_as(settings, future::pending());
        rig.table.slot(&check(1));
        pass(5001).await;
        let starts = rig.fake.starts(1);
        assert!((1000..=1002).contains(&starts.len()), "{}", starts.len());
        // The beat is where the latest of them are, as none is late.
        let phase = |at: &Instant| Duration::from_secs(5) + (*at - starts[1]);
        let after_beat = |at: &Instant, origin: Duration| {
            let phase = (phase(at) + INTERVAL).saturating_sub(origin).as_secs_f64() / INTERVAL.as_secs_f64();
            phase - phase.round()
        };
        let offsets: Vec<_> = starts[1..].iter().map(|at| after_beat(at, Duration::ZERO)).collect();
        let (first, last) = offsets.iter().fold((f64::MAX, f64::MIN), |(low, high), at| (low.min(*at), high.max(*at)));
        assert!(last - first <= jitter + 0.001, "from {first} to {last}");
        assert!(last - first > 0.9 * jitter, "from {first} to {last}");
        let mean = offsets.iter().sum::<f64>() / offsets.len() as f64;
        assert!((mean - (first + last) / 2.0).abs() < 0.02, "{mean} between {first} and {last}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wobbling_state_says_when_it_could_change_at_the_earliest() {
        let thresholds = Thresholds { fall: 3, rise: 2, forgive: 2 };
        for jitter in [0.0, 0.1] {
            let settings = Settings { interval: INTERVAL, jitter, forget: FORGET, concurrency: 1000 };
            let rig = Rig::start_as(settings, future::pending());
            let slot = rig.table.slot(&Check { thresholds, ..check(1) });
            // The verdict, and how many intervals it is to the one that could change the state.
            let rows: [(bool, f64); 11] = [
                (true, 0.0),
                (true, 0.0),
                (false, 2.0),
                (true, 2.0),
                (true, 0.0),
                (false, 2.0),
                (false, 1.0),
                (false, 0.0),
                (true, 1.0),
                (false, 0.0),
                (true, 1.0),
            ];
            let mut expected = Vec::new();
            for (number, (passes, intervals)) in rows.into_iter().enumerate() {
                if passes {
                    rig.fake.recover(1)
                } else {
                    rig.fake.tell(1, Behaviour::Fails)
                }
                probed(&rig, 1, number + 1).await;
                let until = slot.read().until;
                assert_eq!(until.is_some(), intervals > 0.0, "after verdict {number}");
                let Some(until) = until else { continue };
                let ahead = rig.ahead(until).as_secs_f64();
                let most = intervals * INTERVAL.as_secs_f64();
                // Both ends may be early, and seconds are cut off.
                let least = most - 2.0 * jitter * INTERVAL.as_secs_f64() - 1.01;
                assert!((least..=most + jitter * INTERVAL.as_secs_f64()).contains(&ahead), "{ahead} after {number}");
                expected.push((number + intervals as usize, until));
            }
            probed(&rig, 1, rows.len() + 2).await;
            let starts = rig.fake.starts(1);
            for (number, until) in expected {
                assert!(starts[number] - rig.start >= until, "probe {number} was before {until:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_asked_for_is_made_at_once_and_the_beat_is_kept() {
        let rig = Rig::start();
        rig.table.slot(&check(1));
        rig.table.slot(&check(2));
        probed(&rig, 1, 2).await;
        time::sleep(Duration::from_secs(2)).await;
        let now = Instant::now();
        rig.checker.probe_now(|check| check.kind.targets()[0].ends_with(":1")).await;
        pass(20).await;
        let starts = rig.fake.starts(1);
        assert!(starts[2] - now <= Duration::from_millis(1));
        assert!((starts[3] - starts[1]).abs_diff(INTERVAL) <= Duration::from_millis(1));
        for gap in &rig.fake.gaps(1)[3..] {
            assert!(gap.abs_diff(INTERVAL) <= Duration::from_millis(1), "{gap:?}");
        }
        for gap in &rig.fake.gaps(2)[1..] {
            assert!(gap.abs_diff(INTERVAL) <= Duration::from_millis(1), "{gap:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_asked_for_while_one_is_under_way_follows_it() {
        let rig = Rig::start();
        rig.fake.tell(1, Behaviour::Takes(Duration::from_secs(1)));
        rig.table.slot(&Check { interval: Some(Duration::from_secs(3600)), ..check(1) });
        time::sleep(Duration::from_millis(500)).await;
        for _ in 0..3 {
            rig.checker.probe_now(|_| true).await;
        }
        pass(4).await;
        let gaps = rig.fake.gaps(1);
        assert!(gaps.len() == 1 && gaps[0].abs_diff(Duration::from_secs(1)) <= Duration::from_millis(1), "{gaps:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_paused_check_is_not_probed_and_keeps_its_state_and_its_beat() {
        let rig = Rig::start();
        let claims = rig.table.claim(named([check(1)]));
        let slot = &claims.slots()[0];
        probed(&rig, 1, 2).await;
        let beat = rig.fake.starts(1)[1];
        rig.pause("*:1");
        rig.fake.tell(1, Behaviour::Fails);
        rig.checker.probe_now(|_| true).await;
        pass(42).await;
        assert_eq!((rig.fake.starts(1).len(), slot.state()), (2, State::Up));
        let resumed = Instant::now();
        rig.pause("nothing");
        pass(30).await;
        let starts = rig.fake.starts(1);
        assert!(starts[2] - resumed <= SWEEP_INTERVAL + Duration::from_millis(1));
        assert_eq!(slot.state(), State::Down);
        for start in &starts[3..] {
            let off = (*start - beat).as_millis() % INTERVAL.as_millis();
            assert!(off <= 1 || off >= INTERVAL.as_millis() - 1, "{off} ms off the beat");
        }
        assert!(starts.len() >= 7);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_ends_in_a_pause_changes_nothing() {
        let rig = Rig::start();
        let claims = rig.table.claim(named([check(1)]));
        pass(1).await;
        rig.fake.tell(1, Behaviour::Takes(Duration::from_secs(30)));
        pass(6).await;
        let before = claims.slots()[0].last();
        rig.pause("*:1");
        pass(60).await;
        assert_eq!(claims.slots()[0].last(), before);
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_goes_while_it_is_paused_or_waits_leaves_nothing_behind() {
        let rig = Rig::start_with(1, future::pending());
        rig.fake.tell(1, Behaviour::Takes(Duration::from_secs(100)));
        let first = rig.table.claim(named([check(1)]));
        rig.pause("*:2");
        let others = rig.table.claim(named([check(2), check(3)]));
        pass(3).await;
        assert_eq!((rig.counters.under_way.get(), rig.counters.waiting.get()), (1, 2));
        drop(others);
        pass(3).await;
        assert_eq!(rig.table.len(), 1);
        drop(first);
        pass(200).await;
        assert_eq!((rig.counters.under_way.get(), rig.counters.waiting.get()), (0, 0));
        assert!(rig.fake.starts(2).is_empty() && rig.fake.starts(3).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn zones_that_change_each_second_leave_nothing_behind() {
        let (table, fake) = (Arc::new(Table::new(1000)), Arc::new(Fake::default()));
        let target = Arc::clone(&fake);
        let probe = move |slot| Arc::clone(&target).probe(slot);
        let settings = Settings { interval: INTERVAL_MAX, jitter: 0.0, forget: FORGET, concurrency: 10 };
        let mut schedule = Schedule::new(settings, parts(probe, &table));
        let mut claims = table.claim(Vec::new());
        for second in 0..3000u16 {
            let renewed: Vec<Check> = (0..10)
                .map(|port| Check { interval: Some(INTERVAL_MAX), ..check(10 * second % 50_000 + port) })
                .collect();
            claims = table.claim(renewed.into_iter().map(Named::from).collect());
            for slot in poll_fn(|context| table.poll_news(context)).await {
                schedule.add(slot);
            }
            schedule.start_due();
            while let Some(ended) = schedule.probes.join_next_with_id().await {
                schedule.end_all(ended);
            }
            table.sweep(Duration::from_secs(second.into()), FORGET);
            schedule.drop_retired();
            time::advance(Duration::from_secs(1)).await;
        }
        assert!(schedule.watches.len() <= 20, "{} watches", schedule.watches.len());
        assert!(schedule.due.len() <= TURNS_STALE_MAX + 40, "{} turns", schedule.due.len());
        assert!(schedule.watches.capacity() <= 64 && schedule.due.capacity() <= 4096);
        drop(claims);
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
        // First come, first served.
        let first: Vec<u16> = rig.fake.log.lock().unwrap().starts[..40].iter().map(|(port, _)| *port).collect();
        assert_eq!(first, (0..40).collect::<Vec<_>>());
    }

    /// Commands that hang are probed by nothing but time here.
    #[tokio::test(start_paused = true)]
    async fn commands_that_hang_wait_for_each_other_and_delay_nobody_else() {
        let (table, started) = (Arc::new(Table::new(1000)), Arc::new(Mutex::new(Vec::new())));
        let log = Arc::clone(&started);
        let probe = move |slot: Arc<Slot>| {
            let is_command = matches!(slot.check().kind, Kind::Exec { .. });
            log.lock().unwrap().push(is_command);
            async move {
                time::sleep(Duration::from_secs(if is_command { 3600 } else { 0 })).await;
                Verdict::Pass { weight: None }
            }
        };
        let parts = parts(probe, &table);
        let counters = Arc::clone(&parts.counters);
        let settings = Settings { interval: INTERVAL, jitter: 0.0, forget: FORGET, concurrency: COMMANDS_MAX + 1 };
        let _checker = Checker::spawn(Arc::clone(&table), settings, parts, future::pending());
        let command =
            |number: usize| Check::new(Kind::Exec { command: [format!("{number}").into()].into(), address: None });
        let commands: Vec<_> = (0..300).map(|number| Named::from(command(number))).collect();
        let commands = table.claim(commands);
        let others = table.claim(named([1, 2, 3].map(check)));
        pass(60).await;
        let commands_started = started.lock().unwrap().iter().filter(|is_command| **is_command).count();
        assert_eq!(commands_started, COMMANDS_MAX);
        assert_eq!(counters.waiting.get(), 300 - COMMANDS_MAX as u64);
        assert!(started.lock().unwrap().len() >= COMMANDS_MAX + 3 * 11, "the others keep to their beat");
        // As the first end the next begin, and those that go leave nothing behind.
        pass(3600).await;
        let commands_started = started.lock().unwrap().iter().filter(|is_command| **is_command).count();
        assert_eq!(commands_started, 2 * COMMANDS_MAX);
        drop((commands, others));
        pass(2 * 3600).await;
        assert_eq!((counters.under_way.get(), counters.waiting.get()), (0, 0));
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
    async fn warming_does_not_wait_for_what_is_paused() {
        let rig = Rig::start();
        rig.pause("*:1");
        let claims = rig.table.claim(named([check(1), check(2)]));
        let start = Instant::now();
        assert_eq!(rig.checker.warm(claims.slots(), Duration::from_secs(30)).await, 1);
        assert!(start.elapsed() <= Duration::from_millis(1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_done_is_counted() {
        let rig = Rig::start_with(1, future::pending());
        rig.fake.tell(1, Behaviour::Fails);
        rig.fake.tell(2, Behaviour::Takes(Duration::from_secs(7)));
        let once = |port| Check { interval: Some(INTERVAL_MAX), ..check(port) };
        rig.table.slot(&once(1));
        rig.table.slot(&check(2));
        rig.table.slot(&once(3));
        pass(1).await;
        let counted = "probes_started=2 probes_passed=0 probes_failed=1 probes_flips=1 probes_overran=0 \
                       probes_under_way=1 probes_waiting=1 probes_failed_refused=1 probes_late_1ms=2";
        assert_eq!(rig.counters.snapshot().to_string(), counted);
        pass(9).await;
        let snapshot = rig.counters.snapshot();
        assert!(snapshot.get("probes_overran") > 0 && snapshot.get("probes_late_8192ms") > 0, "{snapshot}");
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
            format!("{flip} from=up to=down cause=refused reason=connection refused took_ms=0"),
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
        let readings = Arc::new(Mutex::new(Vec::new()));
        let read = Arc::clone(&readings);
        let observe = move |Outcome { slot, .. }: &Outcome| {
            read.lock().unwrap().push((slot.state(), slot.read().weight));
        };
        let Parts { probe, clock, counters, .. } = parts(next, &table);
        let parts = Parts { probe, clock, observe, counters };
        let _checker = Checker::spawn(Arc::clone(&table), settings, parts, future::pending());
        table.slot(&check(1));
        pass(11).await;
        let readings = readings.lock().unwrap()[..3].to_vec();
        assert_eq!(readings, [(State::Up, Some(9)), (State::Up, Some(7)), (State::Down, Some(7))]);
    }
}
