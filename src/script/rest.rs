//! Which programs rest after they used up what a run may, so that together they take little of a worker.
//!
//! A run that spends its budget costs others up to the time limit, and it answers nobody: to run it again at once for
//! the next query is of use to no one. So the program rests, and its queries are failed without a run. It rests the
//! longer the more it cost, and the longer the more programs rest with it: with `share` for all of them, each of n that
//! took a time c may take it again after n * c / share. Rests that end together are no leave to run together: of those
//! that rested, one runs, and if it spends its budget again, the next one when the share has room for it.
//!
//! Only a run that spent its budget counts, and one that answers is forgiven. A wildcard whose script is dear for some
//! names is not silenced by those who ask for such a name and get an answer, and a script that fails within microseconds
//! rests for next to nothing.

use std::collections::HashMap;
use std::time::Duration;

/// How many programs of a zone may rest before those of it that never gave an answer rest as well.
///
/// Otherwise a zone with thousands of endless loops could spend one budget after the other, each for the first time.
const RESTING_OF_ZONE_MAX: usize = 16;
/// The longest rest: one who has mended what a script looks up need not wait for ever.
const REST_MAX: Duration = Duration::from_secs(300);
/// How long a program that has rested is known for one that did.
const KNOWN: Duration = Duration::from_secs(600);

/// The programs that rest, and those that did.
pub(super) struct Resting {
    /// The part of the time they may take together, from 0 to 1.
    share: f64,
    /// By their identity, so that a zone that is read anew wakes none.
    programs: HashMap<u64, Rest>,
    /// When the share has room for a run of one that has rested.
    room: Duration,
}

/// The rest of one program.
struct Rest {
    until: Duration,
    /// Tells zones apart.
    zone: usize,
}

impl Resting {
    pub(super) fn new(share: f64) -> Self {
        Self { share, programs: HashMap::new(), room: Duration::ZERO }
    }

    /// Whether no program rests or did: then there is nothing to ask.
    pub(super) fn is_empty(&self) -> bool {
        self.programs.is_empty()
    }

    /// Whether a program is to rest at `now`; `answered` is whether it ever gave an answer.
    pub(super) fn holds(&self, program: u64, zone: usize, answered: bool, now: Duration) -> bool {
        let has_room = self.room <= now;
        if let Some(rest) = self.programs.get(&program) {
            return rest.until > now || !has_room;
        }
        if answered || self.programs.len() < RESTING_OF_ZONE_MAX {
            return false;
        }
        let of_zone = || self.programs.values().filter(|rest| rest.zone == zone);
        let resting = of_zone().filter(|rest| rest.until > now).count();
        resting >= RESTING_OF_ZONE_MAX || (!has_room && of_zone().count() >= RESTING_OF_ZONE_MAX)
    }

    /// Lays a program to rest whose run took `cost`; returns for how long.
    pub(super) fn lay(&mut self, program: u64, zone: usize, cost: Duration, now: Duration) -> Duration {
        if self.share >= 1.0 || cost.is_zero() {
            return Duration::ZERO;
        }
        self.programs.retain(|_, rest| rest.until.saturating_add(KNOWN) > now);
        self.programs.remove(&program);
        let resting = self.programs.values().filter(|rest| rest.until > now).count() + 1;
        let rest = cost.mul_f64(resting as f64 / self.share).saturating_sub(cost).min(REST_MAX);
        self.programs.insert(program, Rest { until: now.saturating_add(rest), zone });
        let taken = self.room.max(now).saturating_add(cost.div_f64(self.share)).saturating_sub(cost);
        self.room = taken.min(now.saturating_add(REST_MAX));
        rest
    }

    /// Forgets that a program has rested, for it gave an answer.
    pub(super) fn forgive(&mut self, program: u64) {
        self.programs.remove(&program);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn a_program_rests_by_what_it_cost() {
        let mut resting = Resting::new(0.005);
        assert!(!resting.holds(1, 0, false, Duration::ZERO));
        assert_eq!(resting.lay(1, 0, 10 * MILLI, Duration::ZERO), 1990 * MILLI);
        for (at, rests) in [(0, true), (1989, true), (1990, false)] {
            assert_eq!(resting.holds(1, 0, true, at * MILLI), rests, "{at}");
            assert!(!resting.holds(2, 0, false, at * MILLI), "another runs");
        }
        let second = resting.lay(1, 0, MILLI / 100, 3000 * MILLI);
        assert!(second < 2 * MILLI, "a cheap one rests next to nothing: {second:?}");
        assert_eq!(resting.lay(3, 0, Duration::ZERO, Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn all_together_take_their_share_and_no_more() {
        const COUNT: u64 = 20;
        let (mut resting, cost, share) = (Resting::new(0.01), 5 * MILLI, 0.01);
        let (mut now, mut spent) = (Duration::ZERO, Duration::ZERO);
        let mut last = Duration::ZERO;
        let end = Duration::from_secs(600);
        while now < end {
            // Each is asked for a hundred times a second, as far as there is time.
            for program in 0..COUNT {
                if !resting.holds(program, program as usize, true, now) {
                    resting.lay(program, program as usize, cost, now);
                    // After the first offence of each, no two come close upon one another.
                    assert!(spent < cost * COUNT as u32 || now - last > 400 * MILLI, "{last:?} {now:?}");
                    last = now;
                    (now, spent) = (now + cost, spent + cost);
                }
            }
            now += 10 * MILLI;
        }
        assert!(spent < end.mul_f64(share * 1.1), "{spent:?} of {end:?}");
        assert!(spent > end.mul_f64(share * 0.5), "{spent:?} of {end:?}");
    }

    #[test]
    fn a_zone_of_many_spenders_rests_but_for_what_answered() {
        let mut resting = Resting::new(0.005);
        for program in 0..RESTING_OF_ZONE_MAX as u64 {
            assert!(!resting.holds(program, 7, false, Duration::ZERO), "{program}");
            resting.lay(program, 7, 10 * MILLI, Duration::ZERO);
        }
        assert!(resting.holds(99, 7, false, Duration::ZERO));
        assert!(!resting.holds(99, 7, true, Duration::ZERO));
        assert!(!resting.holds(99, 8, false, Duration::ZERO));
        // There is room again when the share has made up for all of them.
        assert!(resting.holds(99, 7, false, Duration::from_secs(31)));
        assert!(!resting.holds(99, 7, false, Duration::from_secs(32)));
    }

    #[test]
    fn one_that_answers_after_its_rest_is_forgiven() {
        let mut resting = Resting::new(0.005);
        resting.lay(1, 0, 10 * MILLI, Duration::ZERO);
        resting.lay(2, 0, 10 * MILLI, MILLI);
        // The rest of the first is over, and the share still makes up for both.
        assert!(resting.holds(1, 0, true, 3000 * MILLI));
        resting.forgive(1);
        assert!(!resting.holds(1, 0, true, 3000 * MILLI));
    }

    #[test]
    fn no_rest_is_longer_than_five_minutes() {
        let mut resting = Resting::new(0.0001);
        assert_eq!(resting.lay(1, 0, Duration::from_secs(1), Duration::ZERO), REST_MAX);
        assert!(!resting.holds(1, 0, false, REST_MAX));
    }

    #[test]
    fn with_all_of_a_worker_for_them_none_rests() {
        let mut resting = Resting::new(1.0);
        assert_eq!(resting.lay(1, 0, Duration::from_secs(1), Duration::ZERO), Duration::ZERO);
        assert!(!resting.holds(1, 0, false, Duration::ZERO));
    }
}
