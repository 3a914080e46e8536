//! Which runs of scripts are not made when a worker is asked for more than it can do: the dearest first.
//!
//! What a script costs is known from its runs before, and what was asked for from what was run and what was not. So
//! whether there is an overload, and what there is room for, is worked out anew each [`INTERVAL`], from the cheapest
//! class of costs up. Nothing is drawn by lot: the same requests at the same times come to the same. Records that stand
//! in their zone, and plans, never come here.
//!
//! ```text
//! the worker               a run of class c                   is made
//! has time for all         light                              always
//!                          dear                               while what is dear in this batch stays in `batch-time`
//! was asked for too much   c and all below fit its time       as above
//!                          first that does not fit, light     while what is left of the time lasts
//!                          any other                          once in a while: a 500th of the time is for these
//! ```
//!
//! Light is what nobody notices who waits behind it. A batch is what is answered at one reading of the clock: whatever
//! else came with it waits for its scripts. The worker's time is what others leave of it, and `script-share` of it
//! whatever they leave.

use std::time::Duration;

use crate::config::Overload;

/// How often it is worked out what there is room for. A shorter time would take a burst for an overload.
const INTERVAL: Duration = Duration::from_millis(100);
/// How long a limit holds when there is no overload any more: a flood that pauses does not begin anew each time.
const HOLD: Duration = Duration::from_secs(2);
/// After how long without a shed run it is over, for those who are told.
const QUIET: Duration = Duration::from_secs(10);
/// The share of a worker's time that may be asked for. Past it queues grow long.
const FULL: f64 = 0.95;
/// The share of the time of which those runs are made that there is no room for: nobody's 99th percentile shows it, some
/// clients get their answer, and what a script costs now becomes known.
const TRICKLE: f64 = 0.002;
/// What a script is taken to cost that has not run yet.
const UNKNOWN: Duration = Duration::from_micros(100);
/// What it is held to cost at the most after its first run, which may have been interrupted, or have had it loaded.
const FIRST_MAX: Duration = Duration::from_micros(1600);
/// How much a cost may rise beyond one and a half times what it was, by one run.
const RISE: Duration = Duration::from_micros(5);
/// Classes of costs: below 2 us, below 4 us and so on, and what takes longer.
const CLASSES: usize = 20;
/// The first class that is not light: 256 us.
const DEAR: usize = 8;

/// How busy a worker is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Load {
    /// How long it has had nothing to do, in all; one that does not tell counts as busy all the time.
    pub idle: Duration,
}

/// What a run of a script costs, by the runs there were.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Cost(pub(super) Duration);

impl Cost {
    /// What the next run is expected to cost, by what is known.
    pub(super) fn expected(known: Option<Self>) -> Self {
        known.unwrap_or(Self(UNKNOWN))
    }

    /// What is known after another run, which took so long.
    ///
    /// A run may have been interrupted by others that the machine runs, so one alone does not raise it far; but a script
    /// that has become dear is known for it after some runs.
    pub(super) fn after(known: Option<Self>, took: Duration) -> Self {
        match known {
            None => Self(took.min(FIRST_MAX)),
            Some(Self(known)) if took > known => Self(took.min(known * 3 / 2 + RISE)),
            Some(Self(known)) => Self(known - (known - took) / 4),
        }
    }

    fn class(self) -> usize {
        let micros = u64::try_from(self.0.as_micros()).unwrap_or(u64::MAX);
        (micros.max(1).ilog2() as usize).min(CLASSES - 1)
    }
}

/// Which runs a worker makes.
pub(super) struct Shedding {
    settings: Overload,
    /// What was asked for in this interval, by class: what was run and what was not.
    asked: [Duration; CLASSES],
    /// How much of it was run.
    spent: Duration,
    /// When the interval began, and how much idle time there had been by then.
    begun: (Duration, Duration),
    limit: Option<Limit>,
    /// When there may be a run again of those that there is no room for.
    room: Duration,
    /// The batch that is being answered, and what light and dear runs took in it.
    batch: Duration,
    light: Duration,
    dear: Duration,
    episode: Option<Episode>,
}

/// What there is room for.
struct Limit {
    /// The first class of which not all can be run.
    class: usize,
    /// Which share of the time is left for it.
    share: f64,
    /// How many seconds of what is left may be run now, as of when; less than none when more was run.
    left: f64,
    left_at: Duration,
    /// When the overload was last seen.
    seen: Duration,
}

/// A time in which runs are shed.
struct Episode {
    shed: u64,
    last: Duration,
}

/// What is to be done about a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Decision {
    /// It is made.
    Run,
    /// It is not, and there were others before.
    Shed,
    /// It is not, and it is the first of its time.
    ShedFirst,
}

impl Shedding {
    pub(super) fn new(settings: Overload) -> Self {
        Self {
            settings,
            asked: [Duration::ZERO; CLASSES],
            spent: Duration::ZERO,
            begun: Default::default(),
            limit: None,
            room: Duration::ZERO,
            batch: Duration::ZERO,
            light: Duration::ZERO,
            dear: Duration::ZERO,
            episode: None,
        }
    }

    /// Decides whether a run is made that is expected to cost so much.
    pub(super) fn decide(&mut self, now: Duration, load: Load, cost: Cost) -> Decision {
        self.judge(now, load);
        if self.batch != now {
            (self.batch, self.light, self.dear) = (now, Duration::ZERO, Duration::ZERO);
        }
        if self.batch_has_room(cost) && self.limit_has_room(now, cost) {
            return Decision::Run;
        }
        self.asked[cost.class()] += cost.0;
        let episode = self.episode.get_or_insert(Episode { shed: 0, last: now });
        (episode.shed, episode.last) = (episode.shed + 1, now);
        if episode.shed == 1 { Decision::ShedFirst } else { Decision::Shed }
    }

    /// Accounts for a run that was expected to cost so much, and took so long.
    pub(super) fn account(&mut self, now: Duration, expected: Cost, took: Duration) {
        let class = expected.class();
        self.asked[class] += took;
        self.spent += took;
        *(if class < DEAR { &mut self.light } else { &mut self.dear }) += took;
        match &mut self.limit {
            Some(limit) if class == limit.class && class < DEAR => limit.left -= took.as_secs_f64(),
            Some(limit) if class >= limit.class => self.room = self.room.max(now) + took.div_f64(TRICKLE),
            Some(_) | None => {}
        }
    }

    /// Whether it was told that runs are shed, and not yet that this is over.
    pub(super) fn is_shedding(&self) -> bool {
        self.episode.is_some()
    }

    /// Ends a time in which runs were shed when it is over; returns how many were.
    pub(super) fn end(&mut self, now: Duration) -> Option<u64> {
        self.episode.take_if(|episode| episode.last + QUIET <= now).map(|episode| episode.shed)
    }

    /// Works out what there is room for, once an interval is over.
    fn judge(&mut self, now: Duration, load: Load) {
        let elapsed = now.saturating_sub(self.begun.0);
        if elapsed < INTERVAL {
            return;
        }
        let idle = load.idle.saturating_sub(self.begun.1);
        let others = elapsed.saturating_sub(idle).saturating_sub(self.spent);
        let asked: Duration = self.asked.iter().sum();
        let full = elapsed.mul_f64(FULL);
        let room = full.saturating_sub(others).max(elapsed.mul_f64(self.settings.script_share));
        if others + asked > full && asked > room {
            let mut below = Duration::ZERO;
            let class = self.asked.iter().position(|asked| {
                below += *asked;
                below > room
            });
            let class = class.expect("the sum of all classes is more than there is room for");
            let left = room.saturating_sub(below - self.asked[class]);
            let share = left.div_duration_f64(elapsed);
            // What was run too much of the same class in the last interval is still to be made up for.
            let before = self.limit.take().filter(|limit| limit.class == class);
            let (left, left_at) = before.map_or((0.0, now), |limit| (limit.left, limit.left_at));
            self.limit = Some(Limit { class, share, left, left_at, seen: now });
        } else if self.limit.as_ref().is_some_and(|limit| limit.seen + HOLD <= now) {
            self.limit = None;
        }
        (self.asked, self.spent, self.begun) = ([Duration::ZERO; CLASSES], Duration::ZERO, (now, load.idle));
    }

    /// Whether those who came with it can wait for this run as well.
    ///
    /// One dear run is always made, as a script that costs more than a batch may would never answer. The light ones have
    /// their own account, so that no dear run shuts them out.
    fn batch_has_room(&self, cost: Cost) -> bool {
        let is_room = self.light < 2 * self.settings.batch_time;
        is_room && (cost.class() < DEAR || self.dear.is_zero() || self.dear + cost.0 <= self.settings.batch_time)
    }

    fn limit_has_room(&mut self, now: Duration, cost: Cost) -> bool {
        let Some(limit) = &mut self.limit else { return true };
        let class = cost.class();
        if class < limit.class {
            return true;
        }
        if class > limit.class || class >= DEAR {
            return self.room <= now;
        }
        let more = now.saturating_sub(limit.left_at).as_secs_f64() * limit.share;
        (limit.left, limit.left_at) = ((limit.left + more).min(self.settings.batch_time.as_secs_f64()), now);
        limit.left > 0.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MICRO: Duration = Duration::from_micros(1);
    const MILLI: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);

    /// A record that is asked for so often.
    #[derive(Clone, Copy, Debug)]
    struct Asked {
        cost: Duration,
        per_second: u32,
    }

    /// Runs a worker for some time with these records asked for, each spread evenly over time, and each answer beside the
    /// scripts taking a microsecond; returns how often each was run, and how long each run made those of its batch wait.
    fn work(records: &[Asked], time: Duration) -> (Vec<u32>, Vec<Duration>) {
        let mut shedding = Shedding::new(Overload::default());
        let mut costs = vec![None; records.len()];
        let (mut runs, mut batches) = (vec![0; records.len()], Vec::new());
        let (mut now, mut idle) = (SECOND, Duration::ZERO);
        let mut asked = vec![0_u32; records.len()];
        while now < SECOND + time {
            let begun = now;
            // What has come by now is one batch, of which no more than 64 are taken.
            let mut waiting = Vec::new();
            for (index, record) in records.iter().enumerate() {
                let due = (begun - SECOND).as_secs_f64() * f64::from(record.per_second);
                waiting.extend((asked[index]..due as u32).map(|_| index));
            }
            // The kernel drops what does not fit its queue.
            waiting.sort_by_key(|index| asked[*index]);
            waiting.iter().skip(64).for_each(|index| asked[*index] += 1);
            waiting.truncate(64);
            for index in waiting {
                asked[index] += 1;
                now += MICRO;
                let expected = Cost::expected(costs[index]);
                if shedding.decide(begun, Load { idle }, expected) == Decision::Run {
                    runs[index] += 1;
                    now += records[index].cost;
                    shedding.account(begun, expected, records[index].cost);
                    costs[index] = Some(Cost::after(costs[index], records[index].cost));
                }
            }
            batches.push(now - begun);
            if now == begun {
                (now, idle) = (now + 50 * MICRO, idle + 50 * MICRO);
            }
        }
        (runs, batches)
    }

    #[test]
    fn what_there_is_time_for_is_run() {
        let rows: &[&[Asked]] = &[
            &[Asked { cost: 9 * MILLI, per_second: 80 }],
            &[Asked { cost: 5 * MICRO, per_second: 100_000 }],
            &[Asked { cost: 200 * MICRO, per_second: 3000 }, Asked { cost: 2 * MILLI, per_second: 100 }],
        ];
        for records in rows {
            let (runs, _) = work(records, 5 * SECOND);
            for (record, runs) in records.iter().zip(runs) {
                assert!(runs >= record.per_second * 5 - 70, "{record:?}: {runs}");
            }
        }
    }

    #[test]
    fn the_dearest_is_shed_and_the_others_go_on() {
        let cheap = Asked { cost: 5 * MICRO, per_second: 1000 };
        let middling = Asked { cost: 500 * MICRO, per_second: 200 };
        let dear = Asked { cost: 9 * MILLI, per_second: 1100 };
        let (runs, batches) = work(&[cheap, middling, dear], 10 * SECOND);
        assert!(runs[0] >= 9_000, "{runs:?}");
        assert!(runs[1] >= 1_700, "{runs:?}");
        assert!((3..=40).contains(&runs[2]), "some are made all the same: {runs:?}");
        let late = batches.iter().filter(|batch| **batch > 5 * MILLI).sum::<Duration>();
        assert!(late < 10 * SECOND / 50, "{late:?}");
    }

    #[test]
    fn of_what_is_light_as_much_is_run_as_there_is_time_for() {
        let (runs, _) = work(&[Asked { cost: 100 * MICRO, per_second: 50_000 }], 5 * SECOND);
        assert!((30_000..=48_500).contains(&runs[0]), "{runs:?}");
    }

    #[test]
    fn scripts_have_their_share_however_much_else_there_is() {
        let mut shedding = Shedding::new(Overload::default());
        let cost = Cost(50 * MICRO);
        let (mut runs, mut now) = (0, SECOND);
        // Nothing is ever idle, and one in ten of what takes 10 us runs a script.
        while now < 3 * SECOND {
            let begun = now;
            for _ in 0..6 {
                now += 90 * MICRO;
                if shedding.decide(begun, Load::default(), cost) == Decision::Run {
                    (runs, now) = (runs + 1, now + cost.0);
                    shedding.account(begun, cost, cost.0);
                }
            }
        }
        let share = (runs * cost.0).div_duration_f64(2 * SECOND);
        assert!((0.2..0.4).contains(&share), "{share}");
    }

    #[test]
    fn a_batch_has_its_time() {
        let mut shedding = Shedding::new(Overload { batch_time: 10 * MILLI, ..Overload::default() });
        let mut run = |now: Duration, cost: Duration| {
            let made = shedding.decide(now, Load { idle: now }, Cost(cost)) == Decision::Run;
            if made {
                shedding.account(now, Cost(cost), cost);
            }
            made
        };
        let batch = |at: u32| SECOND + at * MILLI;
        for (now, cost, made) in [
            (batch(0), 4 * MILLI, true),
            (batch(0), 4 * MILLI, true),
            (batch(0), 4 * MILLI, false),
            (batch(0), 2 * MILLI, true),
            (batch(0), MILLI, false),
            (batch(0), 200 * MICRO, true),
            (batch(1), 30 * MILLI, true),
            (batch(1), MILLI, false),
            (batch(1), 200 * MICRO, true),
        ] {
            assert_eq!(run(now, cost), made, "{now:?} {cost:?}");
        }
        let light = (0..1000).filter(|_| run(batch(2), 200 * MICRO)).count();
        assert_eq!(light, 100, "light runs have an end too");
    }

    #[test]
    fn it_is_told_when_it_begins_and_when_it_is_over() {
        let mut shedding = Shedding::new(Overload::default());
        let mut decide = |now: Duration| {
            let decision = shedding.decide(now, Load { idle: now }, Cost(9 * MILLI));
            if decision == Decision::Run {
                shedding.account(now, Cost(9 * MILLI), 9 * MILLI);
            }
            (decision, shedding.end(now))
        };
        assert_eq!(decide(SECOND), (Decision::Run, None));
        assert_eq!(decide(SECOND), (Decision::ShedFirst, None));
        assert_eq!(decide(SECOND), (Decision::Shed, None));
        assert_eq!(decide(2 * SECOND), (Decision::Run, None));
        assert_eq!(decide(11 * SECOND), (Decision::Run, Some(2)));
        assert_eq!(decide(12 * SECOND), (Decision::Run, None));
        assert_eq!(decide(12 * SECOND), (Decision::ShedFirst, None));
    }

    #[test]
    fn one_odd_run_makes_no_script_dear() {
        let usual = 20 * MICRO;
        let mut cost = (0..20).fold(None, |cost, _| Some(Cost::after(cost, usual)));
        assert_eq!(cost, Some(Cost(usual)));
        cost = cost.map(|cost| Cost::after(Some(cost), 50 * MILLI));
        assert_eq!(cost, Some(Cost(35 * MICRO)));
        let runs = (1..).find(|_| {
            cost = Some(Cost::after(cost, 9 * MILLI));
            cost == Some(Cost(9 * MILLI))
        });
        assert!(runs.is_some_and(|runs| runs < 16), "but one that has become dear is soon known: {runs:?}");
        assert!(Cost::after(None, 9 * MILLI).class() >= DEAR, "and one that always was, at once");
    }

    proptest! {
        /// Whatever comes, no cheaper run is shed while a dearer one of the same batch is made after it, but for what
        /// trickles; and the same requests come to the same.
        #[test]
        fn the_dearer_go_first(requests in prop::collection::vec((0..40_u32, 1..20_000_u64, 0..100_u32), 1..300)) {
            let decide = || {
                let mut shedding = Shedding::new(Overload::default());
                let (mut now, mut idle) = (SECOND, Duration::ZERO);
                let mut decisions = Vec::new();
                for (pause, micros, rest) in &requests {
                    now += pause / 10 * 10 * MILLI;
                    idle += pause / 10 * 10 * MILLI * *rest / 100;
                    let cost = Cost(Duration::from_micros(*micros));
                    let trickles = shedding.room <= now && shedding.limit.is_some();
                    let made = shedding.decide(now, Load { idle }, cost) == Decision::Run;
                    if made {
                        shedding.account(now, cost, cost.0);
                    }
                    decisions.push((now, cost, made, trickles));
                }
                decisions
            };
            let decisions = decide();
            prop_assert_eq!(&decisions, &decide());
            for (index, (now, cost, made, _)) in decisions.iter().enumerate() {
                let after = decisions[index + 1..].iter().take_while(|(at, ..)| at == now);
                for (_, dearer, made_too, trickles) in after {
                    let shed_for_it = !made && *made_too && !trickles && dearer.class() > cost.class();
                    prop_assert!(!shed_for_it, "{cost:?} was shed and {dearer:?} made");
                }
            }
        }
    }
}
