//! The rule that turns a run of verdicts into a state.

use super::State;

/// Adds one verdict to a run; says so if the state flips.
///
/// `fall` failures in a row bring a target down, `rise` passes in a row bring it up; 0 counts as 1.
///
/// ```text
/// state     verdict   in a row    becomes
/// unknown   pass      1           up
/// unknown   fail      1           down
/// up        pass      any         up
/// up        fail      < fall      up, failing
/// up        fail      = fall      down
/// down      fail      any         down
/// down      pass      < rise      down, rising
/// down      pass      = rise      up
/// ```
///
/// The first verdict decides alone: a target that never answered is down from its first result, where PowerDNS
/// holds it up until `fall`.
pub fn observe(run: &mut Run, passed: bool, fall: u32, rise: u32) -> Option<Flip> {
    let from = run.state;
    let (to, needed) = match (from, passed) {
        (State::Unknown, true) => (State::Up, 1),
        (State::Unknown, false) => (State::Down, 1),
        (State::Up, false) => (State::Down, fall),
        (State::Down, true) => (State::Up, rise),
        (State::Up, true) | (State::Down, false) => {
            run.against = 0;
            return None;
        }
    };
    run.against += 1;
    if run.against < needed {
        return None;
    }
    *run = Run { state: to, against: 0 };
    Some(Flip { from, to })
}

/// A state and the run of verdicts that speak against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    state: State,
    against: u32,
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
        Self { state: State::Unknown, against: 0 }
    }
}

impl Run {
    /// The state after the verdicts so far.
    pub fn state(&self) -> State {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spells the states of a run: `?`, `+` (up) and `-` (down), one before any verdict and one after each.
    fn states(verdicts: &str, fall: u32, rise: u32) -> String {
        let letter = |state| match state {
            State::Unknown => '?',
            State::Up => '+',
            State::Down => '-',
        };
        let mut run = Run::default();
        let mut states = String::from(letter(run.state()));
        for verdict in verdicts.chars() {
            let before = run.state();
            let flip = observe(&mut run, verdict == 'p', fall, rise);
            assert_eq!(flip, (before != run.state()).then_some(Flip { from: before, to: run.state() }));
            states.push(letter(run.state()));
        }
        states
    }

    #[test]
    fn verdicts_become_states_by_fall_and_rise() {
        let rows = [
            // verdicts   fall rise  states
            ("p", 1, 1, "?+"),
            ("f", 1, 1, "?-"),
            ("f", 3, 1, "?-"),
            ("p", 1, 3, "?+"),
            ("pfpf", 1, 1, "?+-+-"),
            ("pff", 2, 1, "?++-"),
            ("pfpfpff", 2, 1, "?++++++-"),
            ("pfffff", 3, 1, "?+++---"),
            ("pfffp", 3, 1, "?+++-+"),
            ("fpfpp", 1, 2, "?----+"),
            ("fppffpp", 2, 2, "?--++--+"),
            ("pfp", 0, 0, "?+-+"),
        ];
        for (verdicts, fall, rise, expected) in rows {
            assert_eq!(states(verdicts, fall, rise), expected, "{verdicts} with fall {fall}, rise {rise}");
        }
    }
}
