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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;
    use crate::dns::Rtype;

    const LIFETIMES: Lifetimes = Lifetimes { ttl_min: Duration::from_secs(1), negative_ttl: Duration::from_secs(60) };

    fn table(slots_max: usize) -> Table {
        Table::new(slots_max, LIFETIMES)
    }

    fn question(name: &str) -> Question {
        Question { name: name.parse().unwrap(), rtype: Rtype::A }
    }

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn record(ttl: u32, last: u8) -> Record {
        Record { owner: "www.example".parse().unwrap(), ttl, rdata: Box::new([192, 0, 2, last]) }
    }

    fn found(ttl: u32, last: u8) -> Verdict {
        Verdict::Found(vec![record(ttl, last)])
    }

    const TIMEOUT: Verdict = Verdict::Failed(Reason::Timeout);

    /// Counts how often it was woken.
    #[derive(Default)]
    struct Alarm(AtomicUsize);

    impl Wake for Alarm {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The slots that are to be looked up.
    fn news(table: &Table) -> Vec<Arc<Slot>> {
        match table.poll_news(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(slots) => slots,
            Poll::Pending => Vec::new(),
        }
    }

    /// What a reading says: the last octet of its addresses or its reason, or that there is none.
    fn told(reading: &Reading) -> String {
        match reading {
            Reading::Known(answer) => describe(answer),
            Reading::Pending(_) => "pending".to_owned(),
            Reading::TurnedAway => "turned away".to_owned(),
        }
    }

    fn describe(answer: &Answer) -> String {
        match answer.reason {
            Some(reason) => reason.to_string(),
            None => format!("{:?}", answer.records.iter().map(|record| record.rdata[3]).collect::<Vec<_>>()),
        }
    }

    #[test]
    fn an_answer_is_known_until_its_end_and_looked_up_anew_near_it() {
        let minute = |verdict: Verdict| (verdict, 60);
        let denied = |denial, ttl: Option<u64>| Verdict::Denied { denial, ttl: ttl.map(secs) };
        let day = 24 * 60 * 60;
        let rows = [
            (minute(found(60, 1)), "[1]"),
            (minute(Verdict::Found(vec![record(600, 1), record(60, 2)])), "[1, 2]"),
            ((found(0, 1), 1), "[1]"),
            ((found(u32::MAX, 1), day), "[1]"),
            ((denied(Denial::NxDomain, Some(30)), 30), "nxdomain"),
            (minute(denied(Denial::NxDomain, Some(3600))), "nxdomain"),
            (minute(denied(Denial::NoData, None)), "[]"),
            ((denied(Denial::NoData, Some(0)), 1), "[]"),
            ((TIMEOUT, 5), "timeout"),
        ];
        for ((verdict, lasts), expected) in rows {
            let table = table(1);
            let slot = table.slot(&question("www.example"), secs(10));
            assert_eq!(told(&table.read(&slot, secs(10))), "pending");
            assert_eq!(news(&table).len(), 1);
            let is_failure = matches!(verdict, Verdict::Failed(_));
            table.publish(&slot, verdict, secs(10));
            let end = secs(10 + lasts);
            let near = if is_failure { end } else { end - secs(lasts) / REFRESH_DIVISOR };
            let just = Duration::from_nanos(1);
            assert_eq!((told(&table.read(&slot, near - just)), news(&table).len()), (expected.to_owned(), 0));
            if !is_failure {
                assert_eq!((told(&table.read(&slot, near)), news(&table).len()), (expected.to_owned(), 1));
            }
            assert_eq!(told(&table.read(&slot, end - just)), expected);
            assert_eq!(told(&table.read(&slot, end)), "pending", "{expected} after {lasts} s");
        }
    }

    #[test]
    fn a_look_up_is_called_for_once_however_many_ask() {
        let table = table(1);
        let slot = table.slot(&question("www.example"), secs(0));
        for _ in 0..3 {
            assert_eq!(told(&table.read(&slot, secs(0))), "pending");
        }
        assert_eq!(news(&table).len(), 1);
        table.read(&slot, secs(1));
        assert_eq!(news(&table).len(), 0, "it is under way");
        table.publish(&slot, TIMEOUT, secs(2));
        table.read(&slot, secs(7));
        assert_eq!(news(&table).len(), 1);
    }

    #[test]
    fn an_answer_outlives_look_ups_that_fail_but_not_for_ever() {
        let table = table(1);
        let slot = table.slot(&question("www.example"), secs(0));
        table.read(&slot, secs(0));
        table.publish(&slot, found(60, 1), secs(0));
        assert_eq!(told(&table.read(&slot, secs(60))), "pending");
        assert_eq!(slot.stale(secs(60)).map(|answer| describe(&answer)).as_deref(), Some("[1]"));
        // The next look-up fails: what was known is served on, and asked for again soon.
        assert_eq!(describe(&table.publish(&slot, TIMEOUT, secs(62))), "[1]");
        assert_eq!(told(&table.read(&slot, secs(66))), "[1]");
        assert_eq!(told(&table.read(&slot, secs(67))), "pending");
        table.publish(&slot, Verdict::Failed(Reason::ServFail), secs(68));
        let end = secs(60) + STALE_MAX;
        assert!(slot.stale(end).is_none());
        assert_eq!(describe(&table.publish(&slot, Verdict::Failed(Reason::ServFail), end)), "servfail");
        // A failure is never served past its end, and whatever comes after it is.
        assert!(slot.stale(end + RETRY).is_none());
        assert_eq!(describe(&table.publish(&slot, found(60, 2), end)), "[2]");
    }

    #[test]
    fn a_wait_ends_with_the_look_up_whatever_it_came_to() {
        for verdict in [found(60, 1), TIMEOUT] {
            let table = table(1);
            let slot = table.slot(&question("www.example"), secs(0));
            let Reading::Pending(mut awaited) = table.read(&slot, secs(0)) else { panic!("nothing is known") };
            let alarm = Arc::new(Alarm::default());
            let waker = Waker::from(alarm.clone());
            let mut poll = || Pin::new(&mut awaited).poll(&mut Context::from_waker(&waker));
            assert!(poll().is_pending() && poll().is_pending());
            table.publish(&slot, verdict, secs(1));
            assert_eq!(alarm.0.load(Ordering::Relaxed), 1);
            assert!(poll().is_ready());
        }
    }

    #[test]
    fn a_wait_that_begins_as_the_look_up_ends_is_over() {
        let table = table(1);
        let slot = table.slot(&question("www.example"), secs(0));
        let Reading::Pending(mut awaited) = table.read(&slot, secs(0)) else { panic!("nothing is known") };
        table.publish(&slot, found(60, 1), secs(1));
        assert!(Pin::new(&mut awaited).poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }

    #[test]
    fn who_waits_for_news_is_woken() {
        let table = table(1);
        let alarm = Arc::new(Alarm::default());
        assert!(table.poll_news(&mut Context::from_waker(&Waker::from(alarm.clone()))).is_pending());
        let slot = table.slot(&question("www.example"), secs(0));
        assert_eq!(alarm.0.load(Ordering::Relaxed), 0);
        table.read(&slot, secs(0));
        assert_eq!(alarm.0.load(Ordering::Relaxed), 1);
        assert_eq!(news(&table).len(), 1);
    }

    #[test]
    fn a_name_that_nobody_asks_for_is_forgotten() {
        let table = table(2);
        let [idle, busy] = ["idle.example", "busy.example"].map(|name| table.slot(&question(name), secs(0)));
        for slot in [&idle, &busy] {
            table.read(slot, secs(0));
            table.publish(slot, found(60, 1), secs(0));
        }
        table.sweep(secs(1));
        table.read(&busy, IDLE_MAX);
        assert_eq!(table.sweep(secs(1) + IDLE_MAX), 1);
        assert!(idle.is_retired() && !busy.is_retired());
        assert_eq!(told(&table.read(&idle, IDLE_MAX)), "turned away");
        assert!(!Arc::ptr_eq(&idle, &table.slot(&question("idle.example"), IDLE_MAX)));
    }

    #[test]
    fn a_full_table_makes_room_but_not_of_look_ups_under_way() {
        let table = table(2);
        let old = table.slot(&question("old.example"), secs(0));
        let new = table.slot(&question("new.example"), secs(1));
        let third = table.slot(&question("third.example"), secs(2));
        assert!(old.is_retired() && !new.is_retired() && !third.is_retired());
        assert_eq!((table.len(), table.turned_away()), (2, 0));
        for slot in [&new, &third] {
            table.read(slot, secs(2));
        }
        let fourth = table.slot(&question("fourth.example"), secs(3));
        assert_eq!(told(&table.read(&fourth, secs(3))), "turned away");
        assert_eq!((table.len(), table.turned_away()), (2, 1));
    }

    #[test]
    fn letter_case_makes_no_other_name() {
        let table = table(2);
        let one = table.slot(&question("WWW.example"), secs(0));
        assert!(Arc::ptr_eq(&one, &table.slot(&question("www.EXAMPLE"), secs(0))));
    }
}
