//! The table of health slots: the one place where those who answer and the checker meet.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::hysteresis::Run;
use super::overrides::{Action, Overrides};
use super::state::{self, Kept};
use super::{Check, Reason, Record, State};

/// All slots, one for each distinct check.
///
/// Its lock is taken at the first sight of a check, by zones coming and going, and by the checker's sweep; never
/// to read a state. A slot stays as long as a zone version claims it or queries ask for it:
///
/// ```text
/// claims   asked for                  the sweep
/// above 0  or not                     keeps it
/// 0        since the last sweep       keeps it for `forget` from now
/// 0        never claimed              keeps it for `forget` from the first sweep that sees it
/// 0        not since the last claim   drops it at the second sweep that sees it so
/// 0        longer than `forget` ago   drops it
/// ```
///
/// The second sweep, not the first: a check that the new version of a zone builds only at query time is asked for
/// in between, and keeps its state over the reload.
pub struct Table {
    inner: Mutex<Inner>,
    /// How often what operators say has changed.
    generation: AtomicU64,
    slots_max: usize,
    /// How many of them may be there only because queries ask.
    asked_max: usize,
    turned_away: AtomicU64,
}

/// Which part of the table queries cannot fill: of scripts that make a check of what is asked, whoever asks could
/// otherwise leave no room for the checks of the next zone.
const KEPT_FOR_ZONES: usize = 4;

/// What the table's lock guards.
#[derive(Default)]
struct Inner {
    slots: HashMap<ByCheck, Tenure>,
    /// How many of them no zone claims.
    unclaimed: usize,
    /// Slots the checker has not taken yet. Bounded, as every slot is announced once.
    news: Vec<Arc<Slot>>,
    /// Who waits for news.
    checker: Option<Waker>,
    overrides: Arc<Overrides>,
    /// What an earlier process knew of checks that nobody has asked for yet, by their identity.
    kept: HashMap<u64, Kept>,
    /// When that goes; set by the sweep.
    kept_until: Option<Duration>,
}

/// Why a slot stays, and until when.
#[derive(Default)]
struct Tenure {
    /// Zone versions that name the check, each as often as it names it.
    claims: usize,
    /// The records of those zone versions, and some of those that queries have shown to name it.
    records: Vec<Arc<Record>>,
    /// Whether it was claimed once.
    released: bool,
    /// When it goes if nobody asks; set by the sweep.
    until: Option<Duration>,
}

impl Table {
    /// Creates an empty table for at most `slots_max` checks, a quarter of them kept for those that zones claim.
    pub fn new(slots_max: usize) -> Self {
        let (generation, turned_away) = (AtomicU64::new(0), AtomicU64::new(0));
        let asked_max = slots_max - slots_max / KEPT_FOR_ZONES;
        Self { inner: Mutex::default(), generation, slots_max, asked_max, turned_away }
    }

    /// Finds the slot of `check`; at its first sight makes one and announces it to the checker.
    ///
    /// Callers may keep the slot and skip the table next time, until [`Slot::is_retired`]. When the table is full
    /// they get an unlisted slot, retired from the start and never probed, and the table counts it.
    pub fn slot(&self, check: &Check) -> Arc<Slot> {
        let has_room = |inner: &Inner| inner.slots.len() < self.slots_max && inner.unclaimed < self.asked_max;
        self.lock().slot(check, has_room).unwrap_or_else(|| self.turn_away(check))
    }

    /// Holds the slots of all `checks` in place for as long as the returned claims live.
    ///
    /// A new version of a zone makes its claims before the old one lets go, so the checks they share keep their
    /// state.
    pub fn claim(self: &Arc<Self>, checks: Vec<Named>) -> Claims {
        let mut inner = self.lock();
        let claim = |Named { check, records }: Named| {
            let has_room = |inner: &Inner| inner.slots.len() < self.slots_max;
            let Some(slot) = inner.slot(&check, has_room) else { return (self.turn_away(&check), records) };
            let is_first = inner.change(&check, |tenure| {
                tenure.claims += 1;
                tenure.until = None;
                tenure.records.extend(records.iter().cloned());
                tenure.claims == 1
            });
            inner.unclaimed -= usize::from(is_first == Some(true));
            (slot, records)
        };
        let (slots, records) = checks.into_iter().map(claim).unzip();
        Claims { slots, records, table: Arc::clone(self) }
    }

    /// Notes that a query has shown a record to name a check.
    pub fn name(&self, slot: &Slot, record: &Arc<Record>) {
        self.lock().change(slot.check(), |tenure| {
            if tenure.records.len() < RECORDS_SEEN_MAX && !tenure.records.contains(record) {
                tenure.records.push(Arc::clone(record));
            }
        });
    }

    /// The records that name a check, each once.
    pub fn records(&self, check: &Check) -> Vec<Arc<Record>> {
        let mut records = self.lock().slots.get(check).map(|tenure| tenure.records.clone()).unwrap_or_default();
        records.sort();
        records.dedup();
        records
    }

    /// Takes up what operators say from now on.
    ///
    /// For one caller at a time. The lock is let go of in between: to hold many overrides against many checks takes
    /// long.
    pub fn set_overrides(&self, overrides: Arc<Overrides>) {
        let mut inner = self.lock();
        inner.overrides = overrides;
        // Whoever sees the new number finds the new overrides behind the lock.
        self.generation.fetch_add(1, Ordering::Release);
        let slots: Vec<Arc<Slot>> = inner.slots.keys().map(|ByCheck(slot)| Arc::clone(slot)).collect();
        drop(inner);
        for slots in slots.chunks(HEARING_AT_ONCE) {
            let mut inner = self.lock();
            for slot in slots {
                inner.change(slot.check(), |_| {});
            }
        }
    }

    /// What operators say.
    pub fn overrides(&self) -> Arc<Overrides> {
        Arc::clone(&self.lock().overrides)
    }

    /// Changes whenever what operators say does; for those who keep a copy.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Takes up what an earlier process knew; a check that is new to the table begins with it.
    pub fn restore(&self, kept: Vec<Kept>) {
        let mut inner = self.lock();
        inner.kept = kept.into_iter().map(|kept| (kept.identity, kept)).collect();
        inner.kept_until = None;
    }

    /// What is known of every check at a time, in seconds since 1970, for the next process; sorted.
    ///
    /// What an earlier process knew is passed on as it was while nobody has asked for its check.
    pub fn known(&self, now: u64) -> Vec<Kept> {
        let (slots, mut known): (Vec<Arc<Slot>>, Vec<Kept>) = {
            let inner = self.lock();
            let slots = inner.slots.keys().map(|ByCheck(slot)| Arc::clone(slot)).collect();
            (slots, inner.kept.values().cloned().collect())
        };
        known.extend(slots.iter().filter(|slot| slot.has_verdict()).map(|slot| slot.known(now)));
        known.sort_by(|one, other| (&one.check, one.identity).cmp(&(&other.check, other.identity)));
        known
    }

    /// Hands new slots to the checker, or keeps its waker until there are some.
    ///
    /// For one caller: a second one's waker replaces the first's.
    pub fn poll_news(&self, context: &mut Context<'_>) -> Poll<Vec<Arc<Slot>>> {
        let mut inner = self.lock();
        if inner.news.is_empty() {
            inner.checker = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(mem::take(&mut inner.news))
    }

    /// Retires the slots that nobody claims or asks for any more; returns how many.
    ///
    /// `now` is the time since any fixed start.
    pub fn sweep(&self, now: Duration, forget: Duration) -> usize {
        let mut inner = self.lock();
        inner.forget_kept(now, forget);
        let before = inner.slots.len();
        inner.slots.retain(|ByCheck(slot), tenure| {
            let stays = tenure.outlasts(now, forget, slot.asked.swap(false, Ordering::Relaxed));
            if !stays {
                slot.retired.store(true, Ordering::Relaxed);
            }
            stays
        });
        let gone = before - inner.slots.len();
        inner.unclaimed -= gone;
        gone
    }

    /// How many slots there are.
    pub fn len(&self) -> usize {
        self.lock().slots.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How often a check got no slot because the table was full.
    pub fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }

    /// Makes an unlisted slot, and counts it.
    fn turn_away(&self, check: &Check) -> Arc<Slot> {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
        Arc::new(Slot { retired: AtomicBool::new(true), ..Slot::new(check.clone()) })
    }

    /// Takes the lock. A panic elsewhere cannot leave a map half changed, so poison is no reason to stop answering.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Finds or makes the slot of `check`; `None` when it is new and there is no room.
    fn slot(&mut self, check: &Check, has_room: impl FnOnce(&Self) -> bool) -> Option<Arc<Slot>> {
        if let Some((ByCheck(slot), _)) = self.slots.get_key_value(check) {
            return Some(Arc::clone(slot));
        }
        if !has_room(self) {
            return None;
        }
        let slot = Slot::new(check.clone());
        if let Some(kept) = self.kept_of(check) {
            slot.restore(&kept);
        }
        let (slot, tenure) = (Arc::new(slot), Tenure::default());
        slot.hear(&self.overrides, &tenure);
        self.slots.insert(ByCheck(Arc::clone(&slot)), tenure);
        self.unclaimed += 1;
        self.news.push(Arc::clone(&slot));
        if let Some(checker) = self.checker.take() {
            checker.wake();
        }
        Some(slot)
    }

    /// Takes what an earlier process knew of a check.
    fn kept_of(&mut self, check: &Check) -> Option<Kept> {
        if self.kept.is_empty() {
            return None;
        }
        let identity = state::identity(check);
        self.kept.get(&identity).filter(|kept| kept.check == state::shown(check))?;
        self.kept.remove(&identity)
    }

    /// Lets go of what an earlier process knew, `forget` after the first sweep.
    fn forget_kept(&mut self, now: Duration, forget: Duration) {
        if !self.kept.is_empty() && now >= *self.kept_until.get_or_insert_with(|| now.saturating_add(forget)) {
            self.kept = HashMap::new();
        }
    }

    /// Changes the tenure of a check, if it is in the table, and what operators say of it by that; returns what `change`
    /// does.
    fn change<T>(&mut self, check: &Check, change: impl FnOnce(&mut Tenure) -> T) -> Option<T> {
        let Self { slots, overrides, .. } = self;
        let slot = Arc::clone(&slots.get_key_value(check)?.0.0);
        let tenure = slots.get_mut(check)?;
        let changed = change(tenure);
        slot.hear(overrides, tenure);
        Some(changed)
    }
}

/// How many checks hear what operators say before others have their turn at the table.
const HEARING_AT_ONCE: usize = 64;

/// How many records are remembered of those that name a check and were shown only by queries.
const RECORDS_SEEN_MAX: usize = 16;

/// A check and the records that name it.
#[derive(Clone, Debug)]
pub struct Named {
    /// The check.
    pub check: Check,
    /// The records.
    pub records: Vec<Arc<Record>>,
}

impl From<Check> for Named {
    /// A check that no record is known to name.
    fn from(check: Check) -> Self {
        Self { check, records: Vec::new() }
    }
}

impl Tenure {
    /// Decides whether a slot stays beyond a sweep at `now`, by the rows above [`Table`].
    fn outlasts(&mut self, now: Duration, forget: Duration, asked: bool) -> bool {
        if self.claims > 0 {
            return true;
        }
        match self.until {
            Some(until) if !asked => now < until,
            None if self.released && !asked => {
                self.until = Some(now);
                true
            }
            Some(_) | None => {
                self.until = Some(now.saturating_add(forget));
                true
            }
        }
    }
}

/// A zone version's hold on the slots its records name.
///
/// Dropping it lets go of them all.
pub struct Claims {
    slots: Vec<Arc<Slot>>,
    /// The records that each is named by.
    records: Vec<Vec<Arc<Record>>>,
    table: Arc<Table>,
}

impl Claims {
    /// The slots, in the order of the checks they were claimed for.
    pub fn slots(&self) -> &[Arc<Slot>] {
        &self.slots
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        let mut inner = self.table.lock();
        // What is claimed is not retired, so a retired slot here is an unlisted one. The table may know its check
        // by now, but that is another's claim.
        let held = self.slots.iter().zip(&self.records).filter(|(slot, _)| !slot.is_retired());
        for (slot, records) in held {
            let is_last = inner.change(slot.check(), |tenure| {
                tenure.claims -= 1;
                let mut gone: HashSet<_> = records.iter().map(Arc::as_ptr).collect();
                tenure.records.retain(|record| !gone.remove(&Arc::as_ptr(record)));
                if tenure.claims == 0 {
                    tenure.released = true;
                    slot.asked.store(false, Ordering::Relaxed);
                }
                tenure.claims == 0
            });
            inner.unclaimed += usize::from(is_last == Some(true));
        }
    }
}

/// One check and what is known of its target, read without waiting.
pub struct Slot {
    check: Check,
    /// A packed [`Reading`].
    word: AtomicU64,
    /// Whether a query asked since the last sweep.
    asked: AtomicBool,
    /// Whether the table has let go of it.
    retired: AtomicBool,
    /// Whether it is not probed for now.
    paused: AtomicBool,
    /// Whether no answer hangs on its probes.
    moot: AtomicBool,
    /// Whether a probe has ended since the process began.
    probed: AtomicBool,
    last: Mutex<Last>,
}

/// What is known of a check beside what answers need.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Last {
    /// The verdicts that count.
    pub run: Run,
    /// When the state was reached, in seconds since 1970.
    pub since: u64,
    /// When the last probe ended, in seconds since 1970.
    pub at: u64,
    /// How long it took.
    pub took: Duration,
    /// Why it failed, if it did.
    pub reason: Option<Reason>,
}

impl Slot {
    fn new(check: Check) -> Self {
        Self {
            check,
            word: AtomicU64::new(Reading::from(State::Unknown).pack()),
            paused: AtomicBool::new(false),
            moot: AtomicBool::new(false),
            probed: AtomicBool::new(false),
            last: Mutex::default(),
            asked: AtomicBool::new(false),
            retired: AtomicBool::new(false),
        }
    }

    /// What is probed.
    pub fn check(&self) -> &Check {
        &self.check
    }

    /// What is held to be true of the target.
    pub fn state(&self) -> State {
        self.read().state
    }

    /// All that is known of the target, in one load.
    pub fn read(&self) -> Reading {
        // No other memory hangs on the word, so relaxed order is enough.
        Reading::unpack(self.word.load(Ordering::Relaxed))
    }

    /// Whether a probe has ended.
    pub fn has_verdict(&self) -> bool {
        self.state() != State::Unknown
    }

    /// Notes that a query asked, so that the check is not forgotten.
    ///
    /// Takes no time: the sweep knows it. Stores only once between two sweeps, so that workers do not fight over
    /// the cache line.
    pub fn touch(&self) {
        if !self.asked.load(Ordering::Relaxed) {
            self.asked.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the table has let go of it: it is probed no more, and its state stays as it is.
    ///
    /// Who keeps a slot asks this before each use, and then the table for the new one.
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// Whether a probe has ended since the process began; a state may be known without.
    pub fn was_probed(&self) -> bool {
        self.probed.load(Ordering::Relaxed)
    }

    /// What is known beside what answers need.
    pub fn last(&self) -> Last {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether an operator wants it not to be probed for now.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// Whether no answer hangs on its probes for now: each record that names it is told what to hold of the target, or
    /// that it is paused.
    pub fn is_moot(&self) -> bool {
        self.moot.load(Ordering::Relaxed)
    }

    /// Takes up what operators say of it to the records that name it.
    fn hear(&self, overrides: &Overrides, tenure: &Tenure) {
        let (mut paused, mut moot) = (!overrides.is_empty(), !overrides.is_empty());
        let unnamed = tenure.records.is_empty().then_some(None);
        let named = tenure.records.iter().map(|record| Some(&**record));
        for record in unnamed.into_iter().chain(named) {
            if !moot {
                break;
            }
            let (pauses, decides) = match overrides.said_of(&self.check, record) {
                Some(Action::Pause) => (true, true),
                Some(Action::Up | Action::Down) => (false, true),
                Some(Action::Drain) | None => (false, false),
            };
            (paused, moot) = (paused && pauses, moot && decides);
        }
        self.paused.store(paused, Ordering::Relaxed);
        self.moot.store(moot, Ordering::Relaxed);
    }

    /// Begins where an earlier process ended. It counts as not probed.
    fn restore(&self, kept: &Kept) {
        let thresholds = self.check.thresholds;
        let below = |count: u16, threshold: u16| count.min(threshold.max(1) - 1);
        let (failures, passes) = match kept.run.state {
            State::Up => (below(kept.run.failures, thresholds.fall), below(kept.run.passes, thresholds.forgive)),
            State::Down | State::Unknown => (0, below(kept.run.passes, thresholds.rise)),
        };
        let run = Run { state: kept.run.state, failures, passes };
        let last = Last { run, since: kept.since, at: kept.at, ..Last::default() };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
        self.word.store(Reading { weight: kept.weight, ..run.state.into() }.pack(), Ordering::Relaxed);
    }

    /// What is known of it at a time, for the next process.
    fn known(&self, now: u64) -> Kept {
        let (last, reading) = (self.last(), self.read());
        Kept {
            identity: state::identity(&self.check),
            check: state::shown(&self.check),
            run: last.run,
            weight: reading.weight,
            since: last.since,
            at: last.at,
            watched: now,
            reason: last.reason.map(|reason| state::bounded(&reason.to_string())),
        }
    }

    /// Says something without a checker, for tests of those who read it.
    #[cfg(test)]
    pub(crate) fn set(&self, reading: Reading) {
        self.word.store(reading.pack(), Ordering::Relaxed);
    }

    /// Says what a probe has made known; for the checker alone.
    pub(super) fn publish(&self, reading: Reading, last: Last) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
        self.word.store(reading.pack(), Ordering::Relaxed);
        self.probed.store(true, Ordering::Relaxed);
    }
}

/// A slot as one record sees it: what is known of the target, and what an operator says of it.
#[derive(Clone)]
pub struct Seat {
    slot: Arc<Slot>,
    said: Option<Action>,
}

impl Seat {
    /// A slot of which an operator says this.
    pub fn new(slot: Arc<Slot>, said: Option<Action>) -> Self {
        Self { slot, said }
    }

    /// The slot.
    pub fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    /// What is to be held true of the target.
    ///
    /// An unknown state may change at any moment. What is paused does not change, however it wobbled.
    pub fn read(&self) -> Reading {
        let mut reading = self.slot.read();
        if reading.state == State::Unknown && !self.slot.is_retired() {
            reading.until = Some(Duration::ZERO);
        }
        if reading.until.is_some() && self.slot.is_paused() {
            reading.until = None;
        }
        match self.said {
            None | Some(Action::Pause) => reading,
            Some(Action::Up) => Reading { weight: reading.weight, ..State::Up.into() },
            Some(Action::Down) => State::Down.into(),
            Some(Action::Drain) => Reading { drained: true, ..reading },
        }
    }
}

/// What a slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What is held to be true of the target.
    pub state: State,
    /// The weight it last gave itself.
    pub weight: Option<u32>,
    /// When the state could change at the earliest, if it is wobbling: a time of the clock that queries are answered by.
    pub until: Option<Duration>,
    /// Whether an operator wants it chosen only when nothing else is up. Said by a [`Seat`], never by a slot.
    pub drained: bool,
}

/// The bits of the state.
const STATE_MASK: u64 = 0b11;
/// The flag of a known weight.
const WEIGHT_KNOWN: u64 = 0b100;
/// Where the 29 bits begin of the second at which the state could change, which is 0 if it does not wobble.
const UNTIL_SHIFT: u32 = 3;
/// The most seconds that fit: 17 years after the start.
const UNTIL_MAX: u64 = (1 << 29) - 1;
/// Where the 32 bits of the weight begin.
const WEIGHT_SHIFT: u32 = 32;

impl Reading {
    fn pack(self) -> u64 {
        let state = match self.state {
            State::Unknown => 0,
            State::Up => 1,
            State::Down => 2,
        };
        let until = self.until.map_or(0, |until| until.as_secs().clamp(1, UNTIL_MAX));
        let weight = self.weight.map_or(0, |weight| WEIGHT_KNOWN | u64::from(weight) << WEIGHT_SHIFT);
        state | until << UNTIL_SHIFT | weight
    }

    fn unpack(word: u64) -> Self {
        let state = match word & STATE_MASK {
            1 => State::Up,
            2 => State::Down,
            _ => State::Unknown,
        };
        let weight = (word & WEIGHT_KNOWN != 0).then_some((word >> WEIGHT_SHIFT) as u32);
        let until = Some(word >> UNTIL_SHIFT & UNTIL_MAX).filter(|until| *until > 0).map(Duration::from_secs);
        Self { state, weight, until, drained: false }
    }
}

impl From<State> for Reading {
    /// A state, and no more.
    fn from(state: State) -> Self {
        Self { state, weight: None, until: None, drained: false }
    }
}

/// A slot as the key of its own check, so that the table holds each check once.
struct ByCheck(Arc<Slot>);

impl Borrow<Check> for ByCheck {
    fn borrow(&self) -> &Check {
        &self.0.check
    }
}

impl Hash for ByCheck {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.check.hash(state);
    }
}

impl PartialEq for ByCheck {
    fn eq(&self, other: &Self) -> bool {
        self.0.check == other.0.check
    }
}

impl Eq for ByCheck {}

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use super::*;
    use crate::health::hysteresis::Thresholds;
    use crate::health::{Kind, sentence};

    const FORGET: Duration = Duration::from_secs(60);

    /// A check of a target that no other number gives.
    fn check(number: u16) -> Check {
        Check::new(Kind::tcp(([192, 0, 2, 1], number).into()))
    }

    /// Checks that no record names.
    fn named<const N: usize>(checks: [Check; N]) -> Vec<Named> {
        checks.into_iter().map(Named::from).collect()
    }

    fn table() -> Arc<Table> {
        Arc::new(Table::new(8))
    }

    /// Sweeps at each second of `seconds`.
    fn sweep(table: &Table, seconds: std::ops::RangeInclusive<u64>) {
        for second in seconds {
            table.sweep(Duration::from_secs(second), FORGET);
        }
    }

    const UP: Reading = Reading { state: State::Up, weight: None, until: None, drained: false };

    #[test]
    fn equal_checks_share_a_slot() {
        let table = table();
        let slot = table.slot(&check(1));
        assert!(Arc::ptr_eq(&slot, &table.slot(&check(1))));
        assert!(Arc::ptr_eq(&slot, &table.claim(named([check(1)])).slots()[0]));
        assert!(!Arc::ptr_eq(&slot, &table.slot(&check(2))));
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn a_new_slot_is_unknown_until_its_first_verdict() {
        let slot = table().slot(&check(1));
        assert_eq!(slot.read(), Reading::from(State::Unknown));
        assert!(!slot.has_verdict());
        slot.publish(UP, Last::default());
        assert!(slot.has_verdict());
    }

    #[test]
    fn a_reading_survives_packing() {
        for state in [State::Unknown, State::Up, State::Down] {
            for weight in [None, Some(0), Some(1), Some(u32::MAX)] {
                let reading = Reading { weight, ..state.into() };
                assert_eq!(Reading::unpack(reading.pack()), reading);
            }
        }
    }

    #[test]
    fn each_slot_is_announced_once_and_wakes_who_waits() {
        struct Flag(AtomicBool);
        impl Wake for Flag {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let woken = Arc::new(Flag(AtomicBool::new(false)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        let table = table();

        assert!(table.poll_news(&mut context).is_pending());
        let slot = table.slot(&check(1));
        assert!(woken.0.load(Ordering::Relaxed));
        table.slot(&check(1));
        let Poll::Ready(news) = table.poll_news(&mut context) else { panic!("no news of a new slot") };
        assert!(news.len() == 1 && Arc::ptr_eq(&news[0], &slot));
        table.slot(&check(1));
        assert!(table.poll_news(&mut context).is_pending());
    }

    #[test]
    fn a_slot_found_by_a_query_goes_when_nobody_asked_for_forget() {
        let table = table();
        let slot = table.slot(&check(1));
        sweep(&table, 0..=59);
        slot.touch();
        sweep(&table, 60..=119);
        assert!(!slot.is_retired());
        sweep(&table, 120..=120);
        assert!(slot.is_retired());
        assert!(!Arc::ptr_eq(&slot, &table.slot(&check(1))));
    }

    #[test]
    fn queries_leave_room_for_the_checks_of_zones() {
        let table = table();
        let asked: Vec<_> = (0..100).map(|number| table.slot(&check(number))).collect();
        assert_eq!(asked.iter().filter(|slot| !slot.is_retired()).count(), 6);
        assert_eq!(table.turned_away(), 94);
        // What a zone claims frees its place among those that are only asked for, until the zone lets go of it.
        let claims = table.claim(named([check(0), check(0), check(98)]));
        assert!(claims.slots().iter().all(|slot| !slot.is_retired()));
        assert!(!table.slot(&check(99)).is_retired() && table.slot(&check(97)).is_retired());
        drop(claims);
        assert_eq!((table.len(), table.lock().unclaimed), (8, 8));
        sweep(&table, 0..=200);
        assert_eq!((table.len(), table.lock().unclaimed), (0, 0));
        assert!(!table.slot(&check(97)).is_retired());
    }

    #[test]
    fn a_claimed_slot_stays_though_nobody_asks() {
        let table = table();
        let claims = table.claim(named([check(1)]));
        sweep(&table, 0..=1000);
        assert!(!claims.slots()[0].is_retired());
    }

    #[test]
    fn a_slot_goes_promptly_with_its_last_claim() {
        let table = table();
        let (one, other) = (table.claim(named([check(1), check(1)])), table.claim(named([check(1)])));
        let slot = table.slot(&check(1));
        slot.touch();
        drop(one);
        sweep(&table, 1..=100);
        assert!(!slot.is_retired());
        slot.touch();
        drop(other);
        sweep(&table, 101..=102);
        assert!(slot.is_retired());
        assert!(table.is_empty());
    }

    #[test]
    fn a_released_slot_that_queries_still_ask_for_stays_until_idle() {
        let table = table();
        let slot = Arc::clone(&table.claim(named([check(1)])).slots()[0]);
        sweep(&table, 1..=1);
        slot.touch();
        sweep(&table, 2..=61);
        assert!(!slot.is_retired());
        sweep(&table, 62..=62);
        assert!(slot.is_retired());
    }

    #[test]
    fn state_survives_a_reload_that_claims_before_it_lets_go() {
        let table = table();
        let old = table.claim(named([check(1), check(2)]));
        old.slots()[0].publish(UP, Last::default());
        let new = table.claim(named([check(1)]));
        let gone = Arc::clone(&old.slots()[1]);
        drop(old);
        sweep(&table, 1..=100);
        assert_eq!(table.slot(&check(1)).state(), State::Up);
        assert!(!new.slots()[0].is_retired());
        assert!(gone.is_retired());
    }

    #[test]
    fn a_full_table_gives_unlisted_slots_and_counts_them() {
        let table = Arc::new(Table::new(1));
        let listed = table.slot(&check(1));
        let unlisted = table.slot(&check(2));
        assert!(unlisted.is_retired());
        assert_eq!(unlisted.state(), State::Unknown);
        assert!(Arc::ptr_eq(&listed, &table.slot(&check(1))));
        assert_eq!((table.len(), table.turned_away()), (1, 1));
    }

    #[test]
    fn letting_go_of_an_unlisted_slot_leaves_the_claims_of_others() {
        let table = Arc::new(Table::new(1));
        let first = table.claim(named([check(1)]));
        let unlisted = table.claim(named([check(2)]));
        drop(first);
        sweep(&table, 1..=2);
        let claims = table.claim(named([check(2)]));
        drop(unlisted);
        sweep(&table, 3..=100);
        assert!(!claims.slots()[0].is_retired());
    }

    /// A record of the zone `example.org`.
    fn record(name: &str) -> Arc<Record> {
        Arc::new(Record { zone: "example.org".into(), name: format!("{name}/A"), position: String::new() })
    }

    /// What operators say, in lines.
    fn say(table: &Table, lines: &[&str]) {
        let said = lines.iter().map(|line| sentence::parse(line).unwrap().unwrap());
        table.set_overrides(Arc::new(Overrides::new(said.collect())));
    }

    #[test]
    fn a_check_is_paused_when_every_record_that_names_it_is() {
        let table = table();
        let records = |names: &[&str]| names.iter().map(|name| record(name)).collect::<Vec<_>>();
        let claim = |names: &[&str]| table.claim(vec![Named { check: check(1), records: records(names) }]);
        let claims = claim(&["a", "b"]);
        let slot = Arc::clone(&claims.slots()[0]);
        let rows: [(&[&str], bool, bool); 8] = [
            (&[], false, false),
            (&["record a => pause"], false, false),
            (&["record a => pause", "record b/A => pause"], true, true),
            (&["record a => pause", "record b => down"], false, true),
            (&["zone example.org => pause", "record b => drain"], false, false),
            (&["zone example.org => pause", "record b => up"], false, true),
            (&["zone example.net => pause"], false, false),
            (&["target 192.0.2.1 => pause"], true, true),
        ];
        for (lines, paused, moot) in rows {
            say(&table, lines);
            assert_eq!((slot.is_paused(), slot.is_moot()), (paused, moot), "{lines:?}");
        }
        say(&table, &["record a => pause", "record b => pause"]);
        let more = claim(&["c"]);
        assert!(!slot.is_paused());
        drop(more);
        assert!(slot.is_paused());
        table.name(&slot, &record("d"));
        assert!(!slot.is_paused());
    }

    #[test]
    fn what_is_said_before_a_check_is_known_holds_from_its_first_sight() {
        let table = table();
        say(&table, &["target 192.0.2.1:1 => pause", "check tcp * => down", "target *:2 => pause"]);
        let flags = [1, 2].map(|number| table.slot(&check(number))).map(|slot| (slot.is_paused(), slot.is_moot()));
        assert_eq!(flags, [(false, true), (true, true)]);
    }

    #[test]
    fn a_seat_says_what_an_operator_says() {
        let until = Some(Duration::from_secs(9));
        let wobbling = Reading { weight: Some(7), until, ..UP };
        let slot = table().slot(&check(1));
        slot.set(wobbling);
        let rows = [
            (None, wobbling),
            (Some(Action::Up), Reading { until: None, ..wobbling }),
            (Some(Action::Down), Reading::from(State::Down)),
            (Some(Action::Drain), Reading { drained: true, ..wobbling }),
            (Some(Action::Pause), wobbling),
        ];
        for (said, expected) in rows {
            assert_eq!(Seat::new(Arc::clone(&slot), said).read(), expected, "{said:?}");
        }
        slot.paused.store(true, Ordering::Relaxed);
        assert_eq!(Seat::new(slot, Some(Action::Pause)).read(), Reading { until: None, ..wobbling });
    }

    /// A table that begins with what another knew.
    fn restored(known: Vec<Kept>) -> Arc<Table> {
        let table = table();
        table.restore(known);
        table
    }

    #[test]
    fn what_one_table_knows_another_begins_with() {
        let fall = |fall| Check { thresholds: Thresholds { fall, ..Thresholds::default() }, ..check(1) };
        let before = table();
        let run = Run { state: State::Up, failures: 2, passes: 0 };
        let last = Last { run, since: 5, at: 9, reason: Some(Reason::Refused), ..Last::default() };
        before.slot(&fall(3)).publish(Reading { weight: Some(7), ..UP }, last.clone());
        before.slot(&check(2));
        let known = before.known(100);
        assert_eq!(known.len(), 1);
        assert_eq!((known[0].watched, known[0].reason.as_deref()), (100, Some("connection refused")));

        let after = restored(known);
        let slot = after.slot(&fall(3));
        assert_eq!(slot.read(), Reading { weight: Some(7), ..UP });
        assert_eq!(slot.last(), Last { reason: None, ..last });
        assert!(slot.has_verdict() && !slot.was_probed());
        assert_eq!(after.slot(&fall(4)).state(), State::Unknown, "a check that differs in its thresholds is another");
    }

    #[test]
    fn what_was_known_is_passed_on_as_it_was_until_it_is_asked_for_or_forgotten() {
        let before = table();
        before.slot(&check(1)).publish(UP, Last { run: Run { state: State::Up, ..Run::default() }, ..Last::default() });
        let known = before.known(100);
        let after = restored(known.clone());
        assert_eq!(after.known(200), known);
        sweep(&after, 1..=60);
        assert_eq!(after.known(200), known);
        let taken = restored(known.clone());
        taken.slot(&check(1));
        assert_eq!(taken.known(200)[0].watched, 200);
        sweep(&after, 61..=61);
        assert_eq!(after.known(200), []);
        assert_eq!(after.slot(&check(1)).state(), State::Unknown);
    }

    #[test]
    fn a_run_that_no_verdicts_make_is_brought_into_bounds() {
        let kept = |run| Kept { run, ..table_of(&check(1)) };
        for (state, expected) in [(State::Up, 0), (State::Down, 0)] {
            let run = Run { state, failures: u16::MAX, passes: u16::MAX };
            let run = restored(vec![kept(run)]).slot(&check(1)).last().run;
            assert_eq!((run.state, run.failures, run.passes), (state, expected, expected));
        }
    }

    /// What is known of a check that is up.
    fn table_of(check: &Check) -> Kept {
        let table = table();
        table.slot(check).set(UP);
        table.known(1).remove(0)
    }
}
