//! The table of health slots: the one place where those who answer and the checker meet.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::{Check, State};

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
    slots_max: usize,
    turned_away: AtomicU64,
}

/// What the table's lock guards.
#[derive(Default)]
struct Inner {
    slots: HashMap<ByCheck, Tenure>,
    /// Slots the checker has not taken yet. Bounded, as every slot is announced once.
    news: Vec<Arc<Slot>>,
    /// Who waits for news.
    checker: Option<Waker>,
}

/// Why a slot stays, and until when.
#[derive(Default)]
struct Tenure {
    /// Zone versions that name the check, each as often as it names it.
    claims: usize,
    /// Whether it was claimed once.
    released: bool,
    /// When it goes if nobody asks; set by the sweep.
    until: Option<Duration>,
}

impl Table {
    /// Creates an empty table for at most `slots_max` checks.
    pub fn new(slots_max: usize) -> Self {
        Self { inner: Mutex::default(), slots_max, turned_away: AtomicU64::new(0) }
    }

    /// Finds the slot of `check`; at its first sight makes one and announces it to the checker.
    ///
    /// Callers may keep the slot and skip the table next time, until [`Slot::is_retired`]. When the table is full
    /// they get an unlisted slot, retired from the start and never probed, and the table counts it.
    pub fn slot(&self, check: &Check) -> Arc<Slot> {
        self.lock().slot(check, self.slots_max).unwrap_or_else(|| self.turn_away(check))
    }

    /// Holds the slots of all `checks` in place for as long as the returned claims live.
    ///
    /// A new version of a zone makes its claims before the old one lets go, so the checks they share keep their
    /// state.
    pub fn claim(self: &Arc<Self>, checks: &[Check]) -> Claims {
        let mut inner = self.lock();
        let claim = |check: &Check| match inner.slot(check, self.slots_max) {
            Some(slot) => {
                let tenure = inner.slots.get_mut(check).expect("a slot just found is in the table");
                tenure.claims += 1;
                tenure.until = None;
                slot
            }
            None => self.turn_away(check),
        };
        Claims { slots: checks.iter().map(claim).collect(), table: Arc::clone(self) }
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
        let before = inner.slots.len();
        inner.slots.retain(|ByCheck(slot), tenure| {
            let stays = tenure.outlasts(now, forget, slot.asked.swap(false, Ordering::Relaxed));
            if !stays {
                slot.retired.store(true, Ordering::Relaxed);
            }
            stays
        });
        before - inner.slots.len()
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
    /// Finds or makes the slot of `check`; `None` when it is new and the table is full.
    fn slot(&mut self, check: &Check, slots_max: usize) -> Option<Arc<Slot>> {
        if let Some((ByCheck(slot), _)) = self.slots.get_key_value(check) {
            return Some(Arc::clone(slot));
        }
        if self.slots.len() >= slots_max {
            return None;
        }
        let slot = Arc::new(Slot::new(check.clone()));
        self.slots.insert(ByCheck(Arc::clone(&slot)), Tenure::default());
        self.news.push(Arc::clone(&slot));
        if let Some(checker) = self.checker.take() {
            checker.wake();
        }
        Some(slot)
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
        for slot in self.slots.iter().filter(|slot| !slot.is_retired()) {
            let Some(tenure) = inner.slots.get_mut(slot.check()) else { continue };
            tenure.claims -= 1;
            if tenure.claims == 0 {
                tenure.released = true;
                slot.asked.store(false, Ordering::Relaxed);
            }
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
}

impl Slot {
    fn new(check: Check) -> Self {
        Self {
            check,
            word: AtomicU64::new(Reading { state: State::Unknown, weight: None }.pack()),
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

    /// Says something without a checker, for tests of those who read it.
    #[cfg(test)]
    pub(crate) fn set(&self, reading: Reading) {
        self.publish(reading);
    }

    /// Says what is now known; for the checker alone.
    pub(super) fn publish(&self, reading: Reading) {
        self.word.store(reading.pack(), Ordering::Relaxed);
    }
}

/// What a slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What is held to be true of the target.
    pub state: State,
    /// The weight it last gave itself.
    pub weight: Option<u32>,
}

/// The bits of the state; the 29 between the weight's flag and the weight are free.
const STATE_MASK: u64 = 0b11;
/// The flag of a known weight.
const WEIGHT_KNOWN: u64 = 0b100;
/// Where the 32 bits of the weight begin.
const WEIGHT_SHIFT: u32 = 32;

impl Reading {
    fn pack(self) -> u64 {
        let state = match self.state {
            State::Unknown => 0,
            State::Up => 1,
            State::Down => 2,
        };
        state | self.weight.map_or(0, |weight| WEIGHT_KNOWN | u64::from(weight) << WEIGHT_SHIFT)
    }

    fn unpack(word: u64) -> Self {
        let state = match word & STATE_MASK {
            1 => State::Up,
            2 => State::Down,
            _ => State::Unknown,
        };
        let weight = (word & WEIGHT_KNOWN != 0).then_some((word >> WEIGHT_SHIFT) as u32);
        Self { state, weight }
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
    use crate::health::Kind;

    const FORGET: Duration = Duration::from_secs(60);

    /// A check of a target that no other number gives.
    fn check(number: u16) -> Check {
        Check {
            kind: Kind::Tcp(([192, 0, 2, 1], number).into()),
            source: None,
            timeout: Duration::from_secs(2),
            interval: None,
            minimum_failures: 1,
        }
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

    const UP: Reading = Reading { state: State::Up, weight: None };

    #[test]
    fn equal_checks_share_a_slot() {
        let table = table();
        let slot = table.slot(&check(1));
        assert!(Arc::ptr_eq(&slot, &table.slot(&check(1))));
        assert!(Arc::ptr_eq(&slot, &table.claim(&[check(1)]).slots()[0]));
        assert!(!Arc::ptr_eq(&slot, &table.slot(&check(2))));
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn a_new_slot_is_unknown_until_its_first_verdict() {
        let slot = table().slot(&check(1));
        assert_eq!(slot.read(), Reading { state: State::Unknown, weight: None });
        assert!(!slot.has_verdict());
        slot.publish(UP);
        assert!(slot.has_verdict());
    }

    #[test]
    fn a_reading_survives_packing() {
        for state in [State::Unknown, State::Up, State::Down] {
            for weight in [None, Some(0), Some(1), Some(u32::MAX)] {
                let reading = Reading { state, weight };
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
    fn a_claimed_slot_stays_though_nobody_asks() {
        let table = table();
        let claims = table.claim(&[check(1)]);
        sweep(&table, 0..=1000);
        assert!(!claims.slots()[0].is_retired());
    }

    #[test]
    fn a_slot_goes_promptly_with_its_last_claim() {
        let table = table();
        let (one, other) = (table.claim(&[check(1), check(1)]), table.claim(&[check(1)]));
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
        let slot = Arc::clone(&table.claim(&[check(1)]).slots()[0]);
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
        let old = table.claim(&[check(1), check(2)]);
        old.slots()[0].publish(UP);
        let new = table.claim(&[check(1)]);
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
        let first = table.claim(&[check(1)]);
        let unlisted = table.claim(&[check(2)]);
        drop(first);
        sweep(&table, 1..=2);
        let claims = table.claim(&[check(2)]);
        drop(unlisted);
        sweep(&table, 3..=100);
        assert!(!claims.slots()[0].is_retired());
    }
}
