//! The cache of names: the one place where those who answer and the asker meet.

use std::collections::HashMap;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use super::{Denial, Question, Reason, Record, Verdict};

/// The longest any answer is kept, whatever its TTL says: a day, as resolvers commonly have it.
const TTL_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How long after a failed look-up the next one may begin (RFC 9520 section 3.2 allows 1 s to 5 min).
const RETRY: Duration = Duration::from_secs(5);
/// How long past its end an answer is still used while look-ups fail (RFC 8767 section 5 suggests 1 to 3 days; names
/// that a load balancer asks for change faster than that).
const STALE_MAX: Duration = Duration::from_secs(60 * 60);
/// How long a name is kept that nobody asks for: as long as its last answer may be of use.
const IDLE_MAX: Duration = STALE_MAX;
/// The last part of an answer's time, in which asking for it has it looked up anew.
const REFRESH_DIVISOR: u32 = 10;
/// The part of a full table that makes room for new names, those that were not asked for the longest.
const EVICTION_DIVISOR: usize = 8;

/// Between which bounds answers are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifetimes {
    /// The shortest, whatever the TTL says.
    pub ttl_min: Duration,
    /// The longest that a name or type is held not to exist, and how long if the answer does not say.
    pub negative_ttl: Duration,
}

/// What is known of a name until another look-up ends; never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The records; none for any other outcome.
    pub records: Vec<Record>,
    /// Why there are none, unless it is that the name has none of the type.
    pub reason: Option<Reason>,
    /// When it came; the records' TTLs count from here.
    pub since: Duration,
    /// From when on asking for it has it looked up anew.
    refresh: Duration,
    /// When it ends.
    expires: Duration,
    /// Until when it will do where nothing better can be had.
    stale_until: Duration,
}

impl Answer {
    /// What a verdict makes of what was known:
    ///
    /// ```text
    /// verdict   known before             becomes known            for
    /// found     anything                 the records              the lowest TTL, within bounds
    /// denied    anything                 that there are none      the SOA's time, within bounds
    /// failed    an answer still of use   the same                 `RETRY`
    /// failed    a failure or nothing     the failure              `RETRY`
    /// ```
    fn settle(known: Option<&Self>, verdict: Verdict, now: Duration, lifetimes: Lifetimes) -> Self {
        match verdict {
            Verdict::Found(records) => {
                let lowest = records.iter().map(|record| record.ttl).min().unwrap_or(0);
                let ttl = Duration::from_secs(lowest.into());
                Self::fresh(records, None, now, ttl.clamp(lifetimes.ttl_min, TTL_MAX))
            }
            Verdict::Denied { denial, ttl } => {
                let ttl = ttl.unwrap_or(lifetimes.negative_ttl).min(lifetimes.negative_ttl);
                let reason = match denial {
                    Denial::NoData => None,
                    Denial::NxDomain => Some(Reason::NxDomain),
                };
                Self::fresh(Vec::new(), reason, now, ttl.max(lifetimes.ttl_min))
            }
            Verdict::Failed(reason) => {
                let retry = now.saturating_add(RETRY);
                match known.filter(|known| now < known.stale_until) {
                    Some(known) => Self { refresh: retry, expires: retry.min(known.stale_until), ..known.clone() },
                    None => Self {
                        records: Vec::new(),
                        reason: Some(reason),
                        since: now,
                        refresh: retry,
                        expires: retry,
                        stale_until: now,
                    },
                }
            }
        }
    }

    fn fresh(records: Vec<Record>, reason: Option<Reason>, now: Duration, ttl: Duration) -> Self {
        let expires = now.saturating_add(ttl);
        let refresh = expires.saturating_sub(ttl / REFRESH_DIVISOR);
        Self { records, reason, since: now, refresh, expires, stale_until: expires.saturating_add(STALE_MAX) }
    }
}

/// What the table can say of a name.
pub enum Reading {
    /// What is known.
    Known(Arc<Answer>),
    /// Nothing yet; a look-up is on its way.
    Pending(Awaited),
    /// Nothing now or later: there is no room for more names.
    TurnedAway,
}

/// All names that were asked for, each with its answer.
///
/// Its lock is taken at the first sight of a name, to call for a look-up, and by the asker's sweep; never to read an
/// answer. Nobody looks a name up but when it is asked for:
///
/// ```text
/// the answer               is read as   and
/// has long to go           known
/// is near its end          known        is looked up anew
/// ended                    pending      is looked up anew
/// was never there          pending      is looked up
/// ```
///
/// Whoever will not wait for a pending one takes [`Slot::stale`].
pub struct Table {
    inner: Mutex<Inner>,
    slots_max: usize,
    lifetimes: Lifetimes,
    turned_away: AtomicU64,
}

impl Default for Table {
    /// A table that turns every name away.
    fn default() -> Self {
        Self::new(0, Lifetimes::default())
    }
}

/// What the table's lock guards.
#[derive(Default)]
struct Inner {
    /// Each name with when it was last known to be asked for.
    slots: HashMap<Question, (Arc<Slot>, Duration)>,
    /// Slots whose look-up was called for. Bounded, as a slot is in here once at most.
    news: Vec<Arc<Slot>>,
    /// Who waits for news.
    asker: Option<Waker>,
}

impl Table {
    /// Creates an empty table for at most `slots_max` names.
    pub fn new(slots_max: usize, lifetimes: Lifetimes) -> Self {
        Self { inner: Mutex::default(), slots_max, lifetimes, turned_away: AtomicU64::new(0) }
    }

    /// Finds the slot of a question; makes one at its first sight.
    ///
    /// Callers may keep the slot and skip the table next time, until [`Slot::is_retired`]. When the table is full of
    /// names that are being looked up they get an unlisted slot, retired from the start, and the table counts it.
    pub fn slot(&self, question: &Question, now: Duration) -> Arc<Slot> {
        let mut inner = self.lock();
        if let Some((slot, _)) = inner.slots.get(question) {
            return Arc::clone(slot);
        }
        if inner.slots.len() >= self.slots_max {
            inner.evict(now);
        }
        let is_full = inner.slots.len() >= self.slots_max;
        let slot = Arc::new(Slot::new(question.clone(), is_full));
        if is_full {
            self.turned_away.fetch_add(1, Ordering::Relaxed);
        } else {
            inner.slots.insert(question.clone(), (Arc::clone(&slot), now));
        }
        slot
    }

    /// Reads a slot, and calls for a look-up where one is due.
    pub fn read(&self, slot: &Arc<Slot>, now: Duration) -> Reading {
        if slot.is_retired() {
            return Reading::TurnedAway;
        }
        slot.touch();
        // Read before the answer: an answer that comes in between ends the wait.
        let seen = slot.settled.load(Ordering::Acquire);
        let answer = slot.answer.load_full();
        let known = answer.filter(|answer| now < answer.expires);
        if known.as_ref().is_none_or(|answer| now >= answer.refresh) {
            self.call_for(slot);
        }
        match known {
            Some(answer) => Reading::Known(answer),
            None => Reading::Pending(Awaited { slot: Arc::clone(slot), seen }),
        }
    }

    /// Calls for look-ups of names that will be asked for; returns those to wait for.
    pub fn prepare(&self, questions: &[Question], now: Duration) -> Vec<Awaited> {
        let readings = questions.iter().map(|question| self.read(&self.slot(question, now), now));
        readings
            .filter_map(|reading| match reading {
                Reading::Pending(awaited) => Some(awaited),
                Reading::Known(_) | Reading::TurnedAway => None,
            })
            .collect()
    }

    /// Tells the asker of a slot, unless it knows.
    fn call_for(&self, slot: &Arc<Slot>) {
        if slot.called.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut inner = self.lock();
        inner.news.push(Arc::clone(slot));
        if let Some(asker) = inner.asker.take() {
            asker.wake();
        }
    }

    /// Says what a look-up came to; for the asker alone, once for each slot it was handed.
    ///
    /// Returns what is known now.
    pub fn publish(&self, slot: &Slot, verdict: Verdict, now: Duration) -> Arc<Answer> {
        let known = slot.answer.load_full();
        let answer = Arc::new(Answer::settle(known.as_deref(), verdict, now, self.lifetimes));
        slot.answer.store(Some(Arc::clone(&answer)));
        slot.called.store(false, Ordering::Release);
        slot.settled.fetch_add(1, Ordering::Release);
        let waiting = mem::take(&mut *slot.waiting());
        waiting.into_iter().for_each(Waker::wake);
        answer
    }

    /// Hands slots that are to be looked up to the asker, or keeps its waker until there are some.
    ///
    /// For one caller: a second one's waker replaces the first's.
    pub fn poll_news(&self, context: &mut Context<'_>) -> Poll<Vec<Arc<Slot>>> {
        let mut inner = self.lock();
        if inner.news.is_empty() {
            inner.asker = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(mem::take(&mut inner.news))
    }

    /// Retires the names that nobody asks for any more; returns how many.
    pub fn sweep(&self, now: Duration) -> usize {
        let mut inner = self.lock();
        let before = inner.slots.len();
        inner.slots.retain(|_, (slot, asked)| {
            if slot.asked.swap(false, Ordering::Relaxed) || slot.is_called() {
                *asked = now;
            }
            let stays = now.saturating_sub(*asked) < IDLE_MAX;
            if !stays {
                slot.retire();
            }
            stays
        });
        before - inner.slots.len()
    }

    /// How many names are kept.
    pub fn len(&self) -> usize {
        self.lock().slots.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How often a name got no slot because the table was full.
    pub fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }

    /// Takes the lock. A panic elsewhere cannot leave a map half changed, so poison is no reason to stop answering.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Retires the part of the names that was not asked for the longest; never one that is being looked up.
    fn evict(&mut self, now: Duration) {
        let last_asked = |(slot, asked): &(Arc<Slot>, Duration)| {
            if slot.asked.load(Ordering::Relaxed) { now } else { *asked }
        };
        let idle = self.slots.values().filter(|(slot, _)| !slot.is_called());
        let mut ages: Vec<Duration> = idle.map(last_asked).collect();
        let mut excess = (self.slots.len() / EVICTION_DIVISOR).max(1).min(ages.len());
        let Some(last) = excess.checked_sub(1) else { return };
        let (_, &mut oldest, _) = ages.select_nth_unstable(last);
        self.slots.retain(|_, entry| {
            let goes = excess > 0 && !entry.0.is_called() && last_asked(entry) <= oldest;
            if goes {
                excess -= 1;
                entry.0.retire();
            }
            !goes
        });
    }
}

/// One question and what is known of it, read without waiting.
pub struct Slot {
    question: Question,
    answer: ArcSwapOption<Answer>,
    /// Whether a look-up was called for and has not ended.
    called: AtomicBool,
    /// How many look-ups have ended.
    settled: AtomicU64,
    /// Whether a query asked since the last sweep.
    asked: AtomicBool,
    /// Whether the table has let go of it.
    retired: AtomicBool,
    /// Queries that wait for the look-up to end. Its lock is theirs and the asker's.
    waiting: Mutex<Vec<Waker>>,
}

impl Slot {
    fn new(question: Question, retired: bool) -> Self {
        Self {
            question,
            answer: ArcSwapOption::empty(),
            called: AtomicBool::new(false),
            settled: AtomicU64::new(0),
            asked: AtomicBool::new(false),
            retired: AtomicBool::new(retired),
            waiting: Mutex::default(),
        }
    }

    /// What is looked up.
    pub fn question(&self) -> &Question {
        &self.question
    }

    /// The last answer, if it will still do where nothing better can be had in time.
    pub fn stale(&self, now: Duration) -> Option<Arc<Answer>> {
        self.answer.load_full().filter(|answer| now < answer.stale_until)
    }

    /// Whether the table has let go of it: it is looked up no more.
    ///
    /// Who keeps a slot asks this before each use, and then the table for the new one.
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// Notes that it was asked for. Stores only once between two sweeps, so that workers do not fight over the line.
    fn touch(&self) {
        if !self.asked.load(Ordering::Relaxed) {
            self.asked.store(true, Ordering::Relaxed);
        }
    }

    fn is_called(&self) -> bool {
        self.called.load(Ordering::Acquire)
    }

    fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A look-up under way; ready when it has ended, whatever it came to.
pub struct Awaited {
    slot: Arc<Slot>,
    /// How many look-ups had ended when the wait began.
    seen: u64,
}

impl Awaited {
    /// What is looked up.
    pub fn question(&self) -> &Question {
        &self.slot.question
    }

    fn is_over(&self) -> bool {
        self.slot.settled.load(Ordering::Acquire) != self.seen
    }
}

impl Future for Awaited {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.is_over() {
            return Poll::Ready(());
        }
        let mut waiting = self.slot.waiting();
        if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            waiting.push(context.waker().clone());
        }
        // Looked at again with the waker in place: who ends the look-up wakes after it has said so.
        if self.is_over() { Poll::Ready(()) } else { Poll::Pending }
    }
}
