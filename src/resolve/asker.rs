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
