//! How long a worker has had nothing to do.
//!
//! A full socket does not tell an overload: a burst fills it, and scripts of milliseconds let few requests gather while
//! they keep everybody waiting. That a worker has no idle moment left does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Clock;
use crate::answer::Load;

/// Sums up the moments in which a worker's thread waited for events; the clones of one count together.
#[derive(Clone)]
pub(super) struct Leisure {
    clock: Clock,
    sum: Arc<Sum>,
}

/// Nanoseconds, and how many moments there were. Only the worker's own thread comes here, in places that may not know:
/// hence the atomics.
// Of cache lines that no other worker has a share of.
#[derive(Default)]
#[repr(align(128))]
struct Sum {
    begun: AtomicU64,
    idle: AtomicU64,
    rests: AtomicU64,
}

impl Leisure {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, sum: Arc::default() }
    }

    /// Begins an idle moment.
    pub(super) fn begin(&self) {
        self.sum.begun.store(self.nanos(), Ordering::Relaxed);
    }

    /// Ends it.
    pub(super) fn end(&self) {
        let moment = self.nanos().saturating_sub(self.sum.begun.load(Ordering::Relaxed));
        let idle = self.sum.idle.load(Ordering::Relaxed);
        self.sum.idle.store(idle.saturating_add(moment), Ordering::Relaxed);
        self.sum.rests.store(self.sum.rests.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// What is known by now.
    pub(super) fn load(&self) -> Load {
        let idle = Duration::from_nanos(self.sum.idle.load(Ordering::Relaxed));
        Load { idle, rests: self.sum.rests.load(Ordering::Relaxed) }
    }

    /// The time since the clock's start; enough for five hundred years.
    fn nanos(&self) -> u64 {
        u64::try_from(self.clock.monotonic().as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_moments_are_summed_up() {
        let clock = Clock::start();
        let leisure = Leisure::new(clock);
        assert_eq!(leisure.load(), Load::default());
        let mut least = Duration::ZERO;
        for clone in [leisure.clone(), leisure.clone()] {
            let before = leisure.load().idle;
            clone.begin();
            let begun = clock.monotonic();
            while clock.monotonic() == begun {}
            least += clock.monotonic() - begun;
            clone.end();
            assert!(leisure.load().idle > before);
        }
        assert_eq!(leisure.load().rests, 2);
        assert!(leisure.load().idle >= least);
        assert!(leisure.load().idle <= clock.monotonic());
    }
}
