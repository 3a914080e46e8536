//! The background asker: which names to look up, and how many at once.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time;

use super::table::{Slot, Table};
use super::{Question, Reason, Verdict};

/// How often names that nobody asks for are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);
/// How many look-ups may be under way; more wait their turn, first come, first served.
///
/// Each holds one socket of a process that commonly may have 1024.
const LOOKUPS_MAX: usize = 128;

/// Looks up what `table` calls for by `ask`, until `shutdown` ends.
///
/// For one asker per table. `clock` counts from the same start as the times that the table is read at. Needs a tokio
/// runtime with time enabled.
pub fn spawn<A, F>(
    table: Arc<Table>,
    ask: A,
    clock: impl Fn() -> Duration + Send + Sync + 'static,
    shutdown: impl Future<Output = ()> + Send + 'static,
) where
    A: Fn(Question) -> F + Send + Sync + 'static,
    F: Future<Output = Verdict> + Send + 'static,
{
    let asker = Arc::new(Asker { table, ask, clock, turns: Semaphore::new(LOOKUPS_MAX) });
    tokio::spawn(run(asker, shutdown));
}

/// What all look-ups share.
struct Asker<A, C> {
    table: Arc<Table>,
    ask: A,
    clock: C,
    turns: Semaphore,
}

/// Gives each slot that is called for a look-up of its own and sweeps the table, until `shutdown` ends.
async fn run<A, F, C>(asker: Arc<Asker<A, C>>, shutdown: impl Future<Output = ()>)
where
    A: Fn(Question) -> F + Send + Sync + 'static,
    F: Future<Output = Verdict> + Send + 'static,
    C: Fn() -> Duration + Send + Sync + 'static,
{
    let mut sweeps = time::interval(SWEEP_INTERVAL);
    let mut turned_away = 0;
    let mut shutdown = pin!(shutdown);
    let mut lookups = JoinSet::new();
    loop {
        tokio::select! {
            // Dropping the look-ups ends them.
            () = &mut shutdown => return,
            slots = poll_fn(|context| asker.table.poll_news(context)) => {
                for slot in slots {
                    lookups.spawn(Arc::clone(&asker).look_up(slot));
                }
            }
            _ = sweeps.tick() => {
                asker.table.sweep((asker.clock)());
                turned_away = report_turned_away(turned_away, asker.table.turned_away());
            }
            Some(_) = lookups.join_next() => {}
        }
    }
}

/// Warns when the table has begun to turn names away; returns what to compare with next time.
fn report_turned_away(before: u64, now: u64) -> u64 {
    if before == 0 && now > 0 {
        tracing::warn!(turned_away = now, "more names are looked up than `resolver.cache-max` holds");
    }
    now
}

impl<A, F, C> Asker<A, C>
where
    A: Fn(Question) -> F,
    F: Future<Output = Verdict> + Send + 'static,
    C: Fn() -> Duration,
{
    /// Carries out one look-up when its turn has come, and says what it came to.
    async fn look_up(self: Arc<Self>, slot: Arc<Slot>) {
        let turn = self.turns.acquire().await.expect("the semaphore is never closed");
        // A task of its own: a panic in there costs one answer, and no query waits for it in vain. The set, because
        // it takes the look-up along when this ends.
        let mut lookup = JoinSet::new();
        lookup.spawn((self.ask)(slot.question().clone()));
        let verdict = match lookup.join_next().await {
            Some(Ok(verdict)) => verdict,
            Some(Err(_)) | None => Verdict::Failed(Reason::Failed),
        };
        drop(turn);
        if let Verdict::Failed(reason) = verdict {
            tracing::debug!(question = %slot.question(), %reason, "look-up failed");
        }
        self.table.publish(&slot, verdict, (self.clock)());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::dns::Rtype;
    use crate::resolve::Denial;
    use crate::resolve::table::{Awaited, Lifetimes, Reading};

    const LIFETIMES: Lifetimes = Lifetimes { ttl_min: Duration::from_secs(1), negative_ttl: Duration::from_secs(60) };

    fn question(name: &str) -> Question {
        Question { name: name.parse().unwrap(), rtype: Rtype::A }
    }

    /// A table with an asker that never stops.
    fn ask_by<A, F>(ask: A) -> Arc<Table>
    where
        A: Fn(Question) -> F + Send + Sync + 'static,
        F: Future<Output = Verdict> + Send + 'static,
    {
        let table = Arc::new(Table::new(1000, LIFETIMES));
        spawn(table.clone(), ask, || Duration::ZERO, std::future::pending());
        table
    }

    fn call_for(table: &Table, name: &str) -> Awaited {
        let slot = table.slot(&question(name), Duration::ZERO);
        match table.read(&slot, Duration::ZERO) {
            Reading::Pending(awaited) => awaited,
            Reading::Known(_) | Reading::TurnedAway => panic!("{name} is not to be waited for"),
        }
    }

    fn reason(table: &Table, name: &str) -> Option<Reason> {
        let slot = table.slot(&question(name), Duration::ZERO);
        match table.read(&slot, Duration::ZERO) {
            Reading::Known(answer) => answer.reason,
            Reading::Pending(_) | Reading::TurnedAway => panic!("{name} is not known"),
        }
    }

    #[tokio::test]
    async fn what_is_called_for_is_looked_up_and_who_waits_is_woken() {
        let table = ask_by(async |_| Verdict::Denied { denial: Denial::NxDomain, ttl: None });
        call_for(&table, "www.example").await;
        assert_eq!(reason(&table, "www.example"), Some(Reason::NxDomain));
    }

    #[tokio::test]
    async fn a_look_up_that_breaks_is_one_that_failed() {
        let table = ask_by(async |question: Question| {
            assert_ne!(question.to_string(), "bug.example. A", "as this test wants it");
            Verdict::Failed(Reason::Refused)
        });
        call_for(&table, "bug.example").await;
        call_for(&table, "www.example").await;
        assert_eq!(reason(&table, "bug.example"), Some(Reason::Failed));
        assert_eq!(reason(&table, "www.example"), Some(Reason::Refused));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_are_under_way_than_may_be() {
        let (under_way, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (counted, highest) = (under_way.clone(), most.clone());
        let table = ask_by(move |_| {
            let (counted, highest) = (counted.clone(), highest.clone());
            async move {
                highest.fetch_max(counted.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                time::sleep(Duration::from_secs(1)).await;
                counted.fetch_sub(1, Ordering::Relaxed);
                Verdict::Failed(Reason::Timeout)
            }
        });
        let calls: Vec<_> =
            (0..3 * LOOKUPS_MAX).map(|number| call_for(&table, &format!("n{number}.example"))).collect();
        let start = time::Instant::now();
        for awaited in calls {
            awaited.await;
        }
        assert_eq!(most.load(Ordering::Relaxed), LOOKUPS_MAX);
        assert_eq!(start.elapsed().as_secs(), 3);
    }
}
