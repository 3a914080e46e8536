//! The rule that turns a run of verdicts into a state.

use super::State;

/// How many verdicts make a state; 0 counts as 1 throughout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Thresholds {
    /// Failures that bring a target down that is up: gdnsd's `down_thresh`, PowerDNS's `minimumFailures`.
    pub fall: u16,
    /// Passes in a row that bring a target up that is down: gdnsd's `up_thresh`.
    pub rise: u16,
    /// Passes in a row after which earlier failures are forgotten: gdnsd's `ok_thresh`. With 1 only failures in a row
    /// count.
    pub forgive: u16,
}

impl Default for Thresholds {
    /// As in PowerDNS: one verdict decides.
    fn default() -> Self {
        Self { fall: 1, rise: 1, forgive: 1 }
    }
}

/// Adds one verdict to a run; says so if the state flips.
///
/// ```text
/// state     verdict   then                        becomes
/// unknown   pass                                  up
/// unknown   fail                                  down
/// up        fail      failures < fall             up, failing
/// up        fail      failures = fall             down
/// up        pass      passes in a row < forgive   up, still failing if it was
/// up        pass      passes in a row = forgive   up, failures forgotten
/// down      pass      passes in a row < rise      down, rising
/// down      pass      passes in a row = rise      up
/// down      fail                                  down, passes forgotten
/// ```
///
/// The first verdict decides alone: a target that never answered is down from its first result, where PowerDNS
/// holds it up until `fall`.
pub fn observe(run: &mut Run, passed: bool, thresholds: Thresholds) -> Option<Flip> {
    let from = run.state;
    let to = match (from, passed) {
        (State::Unknown, true) => State::Up,
        (State::Unknown, false) => State::Down,
        (State::Up, false) => {
            (run.failures, run.passes) = (run.failures.saturating_add(1), 0);
            if run.failures >= thresholds.fall.max(1) { State::Down } else { State::Up }
        }
        (State::Up, true) => {
            run.passes = if run.failures == 0 { 0 } else { run.passes.saturating_add(1) };
            if run.passes >= thresholds.forgive.max(1) {
                (run.failures, run.passes) = (0, 0);
            }
            State::Up
        }
        (State::Down, true) => {
            run.passes = run.passes.saturating_add(1);
            if run.passes >= thresholds.rise.max(1) { State::Up } else { State::Down }
        }
        (State::Down, false) => {
            run.passes = 0;
            State::Down
        }
    };
    if from == to {
        return None;
    }
    *run = Run { state: to, failures: 0, passes: 0 };
    Some(Flip { from, to })
}

/// A state and the verdicts that speak against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// What is held to be true.
    pub state: State,
    /// While up: failures that are not forgotten.
    pub failures: u16,
    /// While up and failing, and while down: passes in a row.
    pub passes: u16,
}

/// What a verdict changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flip {
    /// The state until then.
    pub from: State,
    /// The state from then on.
    pub to: State,
}

impl Default for Run {
    /// Starts a run of which nothing is known.
    fn default() -> Self {
        Self { state: State::Unknown, failures: 0, passes: 0 }
    }
}

impl Run {
    /// How many more verdicts could change the state, if it is wobbling: some speak against it already.
    ///
    /// `None` for a state that nothing speaks against, and for an unknown one. At least 1, whatever the thresholds were
    /// by which the run came to be.
    pub fn verdicts_to_change(&self, thresholds: Thresholds) -> Option<u16> {
        match self.state {
            State::Up if self.failures > 0 => Some(thresholds.fall.saturating_sub(self.failures).max(1)),
            State::Down if self.passes > 0 => Some(thresholds.rise.saturating_sub(self.passes).max(1)),
            State::Up | State::Down | State::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spells the states of a run: `?`, `+` (up) and `-` (down), one before any verdict and one after each; and behind
    /// each how many verdicts could change it, if it wobbles.
    fn states(verdicts: &str, thresholds: Thresholds) -> String {
        let letter = |run: &Run| {
            let state = match run.state {
                State::Unknown => '?',
                State::Up => '+',
                State::Down => '-',
            };
            let left = run.verdicts_to_change(thresholds).map(|left| left.to_string());
            format!("{state}{}", left.unwrap_or_default())
        };
        let mut run = Run::default();
        let mut states = letter(&run);
        for verdict in verdicts.chars() {
            let before = run.state;
            let flip = observe(&mut run, verdict == 'p', thresholds);
            assert_eq!(flip, (before != run.state).then_some(Flip { from: before, to: run.state }));
            states += &letter(&run);
        }
        states
    }

    #[test]
    fn a_run_past_its_thresholds_changes_with_the_next_verdict() {
        for thresholds in [0, 1, 2, u16::MAX].map(|most| Thresholds { fall: most, rise: most, forgive: most }) {
            for (state, verdict) in [(State::Up, false), (State::Down, true)] {
                let mut run = Run { state, failures: u16::MAX, passes: u16::MAX };
                assert_eq!(run.verdicts_to_change(thresholds), Some(1));
                assert!(observe(&mut run, verdict, thresholds).is_some());
            }
        }
    }

    #[test]
    fn verdicts_become_states_by_the_thresholds() {
        let rows = [
            // verdicts   fall rise forgive  states
            ("p", 1, 1, 1, "?+"),
            ("f", 1, 1, 1, "?-"),
            ("f", 3, 1, 1, "?-"),
            ("p", 1, 3, 1, "?+"),
            ("pfpf", 1, 1, 1, "?+-+-"),
            ("pff", 2, 1, 1, "?++1-"),
            ("pfpfpff", 2, 1, 1, "?++1++1++1-"),
            ("pfffff", 3, 1, 1, "?++2+1---"),
            ("pfffp", 3, 1, 1, "?++2+1-+"),
            ("fpfpp", 1, 2, 1, "?--1--1+"),
            ("fppffpp", 2, 2, 1, "?--1++1--1+"),
            ("pfp", 0, 0, 0, "?+-+"),
            // Failures need not be in a row where forgiving takes longer.
            ("pfpf", 2, 1, 2, "?++1+1-"),
            ("pfppf", 2, 1, 2, "?++1+1++1"),
            ("pfpfpf", 3, 1, 10, "?++2+2+1+1-"),
            ("fpppp", 3, 4, 10, "?--3-2-1+"),
        ];
        for (verdicts, fall, rise, forgive, expected) in rows {
            let thresholds = Thresholds { fall, rise, forgive };
            assert_eq!(states(verdicts, thresholds), expected, "{verdicts} with {thresholds:?}");
        }
    }
}
