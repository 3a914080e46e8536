//! The worker's side of look-ups: the names it knows, what a run has asked for, and what it waits for.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::resolve::table::{Answer, Awaited, Reading, Slot, Table};
use crate::resolve::{Question, Reason};

/// How many slots a worker keeps before it ever looks for those it could let go of.
const SLOTS_MIN: usize = 256;
/// How many look-ups one run may ask for: a script that makes names up must not fill the table in one go.
pub(super) const LOOKUPS_MAX: usize = 32;

/// Whether a query can still wait for what its scripts look up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Patience {
    /// It can.
    Left,
    /// It has to be answered now.
    Spent,
}

/// What a look-up gives a run.
pub(super) enum Lookup {
    /// What is known.
    Known(Arc<Answer>),
    /// Nothing now, and this is why.
    Unknown(Reason),
    /// Nothing yet: the run is to end here, and to be started anew.
    Awaited,
    /// The run has asked for too much.
    TooMany,
}

/// The names a worker has seen, and what the run now has asked for.
#[derive(Default)]
pub(super) struct Lookups {
    /// The slots this worker has used: a look-up that is known costs a local search and one atomic load.
    slots: RefCell<HashMap<Question, Arc<Slot>>>,
    /// How many slots are let stand before those that are gone are looked for.
    slots_max: Cell<usize>,
    /// How many look-ups this run has asked for.
    asked: Cell<usize>,
    awaited: RefCell<Option<Awaited>>,
    /// What was asked for in trial runs, when somebody wants to know.
    discovered: RefCell<Option<Vec<Question>>>,
}

impl Lookups {
    /// Begins a run.
    pub(super) fn begin(&self) {
        self.asked.set(0);
        self.awaited.take();
    }

    /// What `table` knows of a question; a trial run knows nothing and is not to wait.
    pub(super) fn look_up(&self, table: &Table, question: Question, now: Duration, patience: Patience) -> Lookup {
        if self.asked.replace(self.asked.get() + 1) >= LOOKUPS_MAX {
            return Lookup::TooMany;
        }
        if let Some(discovered) = self.discovered.borrow_mut().as_mut() {
            discovered.push(question);
            return Lookup::Unknown(Reason::Timeout);
        }
        let known = self.slots.borrow().get(&question).filter(|slot| !slot.is_retired()).cloned();
        let slot = known.unwrap_or_else(|| self.first_sight(table, question, now));
        match (table.read(&slot, now), patience) {
            (Reading::Known(answer), _) => Lookup::Known(answer),
            (Reading::TurnedAway, _) => Lookup::Unknown(Reason::Overload),
            (Reading::Pending(awaited), Patience::Left) => {
                *self.awaited.borrow_mut() = Some(awaited);
                Lookup::Awaited
            }
            (Reading::Pending(_), Patience::Spent) => {
                slot.stale(now).map_or(Lookup::Unknown(Reason::Timeout), Lookup::Known)
            }
        }
    }

    /// Asks the table for the slot of a question this worker does not know, and keeps it if the table does.
    fn first_sight(&self, table: &Table, question: Question, now: Duration) -> Arc<Slot> {
        let slot = table.slot(&question, now);
        let mut slots = self.slots.borrow_mut();
        if slots.len() >= self.slots_max.get().max(SLOTS_MIN) {
            slots.retain(|_, slot| !slot.is_retired());
            // Looking again only when there are twice as many keeps the cost of it small for each name.
            self.slots_max.set(2 * slots.len());
        }
        if !slot.is_retired() {
            slots.insert(question, slot.clone());
        }
        slot
    }

    /// Whether the run ended to wait for a look-up.
    pub(super) fn is_awaiting(&self) -> bool {
        self.awaited.borrow().is_some()
    }

    /// What the last run waits for.
    pub(super) fn take_awaited(&self) -> Option<Awaited> {
        self.awaited.take()
    }

    /// Whether this trial run asked for a name.
    pub(super) fn has_asked(&self) -> bool {
        self.asked.get() > 0
    }

    /// Begins to collect questions in place of asking them.
    pub(super) fn discover(&self) {
        *self.discovered.borrow_mut() = Some(Vec::new());
    }

    /// Ends the collection; what was asked for since [`Lookups::discover`].
    pub(super) fn discovered(&self) -> Vec<Question> {
        self.discovered.take().unwrap_or_default()
    }
}
