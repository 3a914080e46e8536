//! Requests whose answer lacks something: how many may wait for it, how long, and how they are asked again.

use std::cell::Cell;
use std::rc::Rc;

use tokio::time::{Instant, timeout_at};

use super::Worker;
use crate::answer::{Awaited, Client, Now, Outcome, Patience};

/// How often a request is asked again before it has to do with what there is.
///
/// One script may need one thing after another, but each time it runs anew.
const RETRIES_MAX: usize = 8;

/// What the first try to answer a request came to.
pub(super) enum Attempt {
    /// There is a reply.
    Reply,
    /// There is to be none.
    Silence,
    /// There is to be none, nor another by the same stream.
    Close,
    /// Something is lacking; the caller keeps the request and ends the wait.
    Wait(Wait),
}

/// How many requests of a worker wait.
pub(super) struct Places {
    taken: Cell<usize>,
    max: usize,
}

impl Places {
    /// Makes so many places.
    pub(super) fn new(max: usize) -> Self {
        Self { taken: Cell::new(0), max }
    }
}

/// A request's leave to wait, and what for.
pub(super) struct Wait {
    place: Place,
    awaited: Awaited,
    deadline: Instant,
}

/// One of a worker's places; free again when dropped, however the wait ends.
struct Place(Rc<Worker>);

impl Drop for Place {
    fn drop(&mut self) {
        let taken = &self.0.places.taken;
        taken.set(taken.get() - 1);
    }
}

/// Tries to answer a request into `out`, which is emptied first.
///
/// When too many wait already, it is answered as if its time were over.
pub(super) fn attempt(worker: &Rc<Worker>, now: Now, client: &Client, octets: &[u8], out: &mut Vec<u8>) -> Attempt {
    let awaited = match worker.answer(now, client, octets, Patience::Left, out) {
        Outcome::Reply => return Attempt::Reply,
        Outcome::Silence => return Attempt::Silence,
        Outcome::Close => return Attempt::Close,
        Outcome::Await(awaited) => awaited,
    };
    let counters = worker.counters();
    let taken = &worker.places.taken;
    if taken.get() < worker.places.max && !worker.stopping.get() {
        taken.set(taken.get() + 1);
        counters.waits.add(1);
        let deadline = Instant::now() + worker.settings.wait_timeout;
        return Attempt::Wait(Wait { place: Place(worker.clone()), awaited, deadline });
    }
    counters.waits_refused.add(1);
    match worker.answer(now, client, octets, Patience::Spent, out) {
        Outcome::Reply => Attempt::Reply,
        Outcome::Close => Attempt::Close,
        // Without patience nothing is awaited.
        Outcome::Silence | Outcome::Await(_) => Attempt::Silence,
    }
}

impl Wait {
    /// Waits for what is lacking and answers into `out`; again if more is, until there is no time or no try left.
    ///
    /// Returns whether there is a reply.
    pub(super) async fn end(self, client: &Client, octets: &[u8], out: &mut Vec<u8>) -> bool {
        let Self { place: Place(ref worker), mut awaited, deadline } = self;
        for retry in 1..=RETRIES_MAX {
            let came = tokio::select! {
                biased;
                // Who stops cannot wait.
                () = worker.stopping.requested() => false,
                waited = timeout_at(deadline, awaited) => waited.is_ok(),
            };
            let patience = if came && retry < RETRIES_MAX { Patience::Left } else { Patience::Spent };
            if !came {
                worker.counters().waits_expired.add(1);
            }
            match worker.answer(worker.clock.now(), client, octets, patience, out) {
                Outcome::Reply => return true,
                // What is to be closed is closed at the first try: it depends on nothing that is awaited.
                Outcome::Silence | Outcome::Close => return false,
                Outcome::Await(next) => awaited = next,
            }
        }
        false
    }
}
