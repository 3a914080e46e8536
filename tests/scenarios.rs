//! Stories of targets that rise, fall, wobble and come back: each step, what is known of each target, and the answers.
//!
//! The files of `tests/scenarios` are stories in simulated time. A file begins with a remark; then come the records, behind
//! `--- zone`, and behind `--- story` the steps, each with what is then so:
//!
//! ```text
//! > start                           the checker is started, and a second passes
//! > 192.0.2.1 fails refused         what probes of a target come to from now on: `answers`, `answers 5` with a weight,
//! > 192.0.2.2 takes 3s              `fails REASON` with its name, `flaps N` (N passes, N failures and so on), or how long
//! > after 10s                       time passes
//! ```
//!
//! With `UPDATE=1` in the environment the stories are rewritten.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use perigee::health::table::Slot;
use perigee::health::{Reason, State, Verdict};
use tokio::time::{self, Instant};

use crate::support::rig::{Rig, TTL};

/// What probes of a target come to.
#[derive(Clone, Debug)]
struct Behaviour {
    verdicts: Verdicts,
    takes: Duration,
}

#[derive(Clone, Debug)]
enum Verdicts {
    Passes(Option<u32>),
    Fails(Reason),
    /// So many of one and then so many of the other; and how many there were.
    Flaps(u32, u32),
}

/// Targets by their addresses; one that is not here answers at once.
#[derive(Default)]
struct Targets(Mutex<HashMap<String, Behaviour>>);

impl Targets {
    /// Reads what a step says of a target.
    fn tell(&self, target: &str, said: &[&str]) {
        let mut targets = self.0.lock().unwrap();
        let behaviour = targets
            .entry(target.to_owned())
            .or_insert(Behaviour { verdicts: Verdicts::Passes(None), takes: Duration::ZERO });
        match said {
            ["answers"] => behaviour.verdicts = Verdicts::Passes(None),
            ["answers", weight] => behaviour.verdicts = Verdicts::Passes(Some(weight.parse().unwrap())),
            ["fails", reason] => behaviour.verdicts = Verdicts::Fails(reason_called(reason)),
            ["flaps", count] => behaviour.verdicts = Verdicts::Flaps(count.parse().unwrap(), 0),
            ["takes", time] => behaviour.takes = span(time),
            _ => panic!("nobody knows what it is that `{target}` {}", said.join(" ")),
        }
    }

    /// One probe of it; ends with the timeout of the check as those of the prober do.
    async fn probe(self: Arc<Self>, slot: Arc<Slot>) -> Verdict {
        let target = slot.check().target().expect("stories have addresses").to_string();
        let (verdict, takes) = {
            let mut targets = self.0.lock().unwrap();
            let Some(behaviour) = targets.get_mut(&target) else { return Verdict::Pass { weight: None } };
            let verdict = match &mut behaviour.verdicts {
                Verdicts::Passes(weight) => Verdict::Pass { weight: *weight },
                Verdicts::Fails(reason) => Verdict::Fail(reason.clone()),
                Verdicts::Flaps(count, seen) => {
                    *seen += 1;
                    let passes = (*seen - 1) / *count % 2 == 0;
                    if passes { Verdict::Pass { weight: None } } else { Verdict::Fail(Reason::Reset) }
                }
            };
            (verdict, behaviour.takes)
        };
        let timeout = slot.check().timeout;
        time::sleep(takes.min(timeout)).await;
        if takes >= timeout { Verdict::Fail(Reason::TimedOut(timeout)) } else { verdict }
    }
}

fn reason_called(name: &str) -> Reason {
    let reasons = [Reason::Refused, Reason::Reset, Reason::Closed, Reason::Fixed, Reason::Tls("told to".to_owned())];
    reasons.into_iter().find(|reason| reason.name() == name).unwrap_or_else(|| panic!("no reason here is `{name}`"))
}

fn span(text: &str) -> Duration {
    let seconds = text.strip_suffix('s').and_then(|number| number.parse().ok());
    Duration::from_secs_f64(seconds.unwrap_or_else(|| panic!("`{text}` is no number of seconds")))
}

/// Tells a story anew.
async fn tell(text: &str) -> String {
    // When a check is probed is left to chance, within its interval. What happens in the moment of a look could be told
    // either way, so such a story is begun again.
    const ATTEMPTS: usize = 20;
    const MOMENT: Duration = Duration::from_millis(5);
    for _ in 0..ATTEMPTS {
        let (told, looks, verdicts) = try_to_tell(text).await;
        if !looks.iter().any(|look| verdicts.iter().any(|at| look.max(at).duration_since(*look.min(at)) < MOMENT)) {
            return told;
        }
    }
    panic!("each look falls together with a probe");
}

/// Tells a story; also when it looked at the targets, and when there were verdicts.
async fn try_to_tell(text: &str) -> (String, Vec<Instant>, Vec<Instant>) {
    let (head, story) = text.split_once("--- story\n").expect("a story");
    let (_, zone) = head.split_once("--- zone\n").expect("a zone");
    let names: Vec<&str> = zone.lines().filter_map(|line| line.split(' ').next()).collect();
    let targets = Arc::new(Targets::default());
    let (mut told, mut rig, mut looks) = (format!("{head}--- story\n"), None, Vec::new());
    for step in story.lines().filter_map(|line| line.strip_prefix("> ")) {
        writeln!(told, "> {step}").unwrap();
        match step.split(' ').collect::<Vec<_>>()[..] {
            ["start"] => {
                let targets = Arc::clone(&targets);
                let config = "health.jitter = \"0%\"";
                rig = Some(Rig::start(config, zone, move |slot| Arc::clone(&targets).probe(slot)));
                time::sleep(Duration::from_secs(1)).await;
            }
            ["after", time] => time::sleep(span(time)).await,
            [target, ref said @ ..] => {
                targets.tell(target, said);
                continue;
            }
            [] => panic!("an empty step"),
        }
        looks.push(Instant::now());
        how_things_are(rig.as_mut().expect("a story starts before time passes"), &names, &mut told);
    }
    (told, looks, rig.expect("a story starts").verdict_times())
}

/// Writes what is known of each target, and the answers.
fn how_things_are(rig: &mut Rig, names: &[&str], told: &mut String) {
    let mut ttl_max = None;
    for slot in rig.slots() {
        let (check, last) = (slot.check(), slot.last());
        let verdict = last.reason.as_ref().map_or("passed", Reason::name);
        let verdict = if slot.state() == State::Unknown { "not probed" } else { verdict };
        let left = last.run.verdicts_to_change(check.thresholds);
        let wobbles = left.map(|left| format!(", {left} from changing")).unwrap_or_default();
        writeln!(told, "  {check}: {verdict}, {}{wobbles}", slot.state()).unwrap();
        let until = left.map(|left| u64::from(left) * check.interval.map_or(5, |interval| interval.as_secs()));
        ttl_max = until.into_iter().chain(ttl_max).min();
    }
    for name in names {
        let (answer, ttl) = rig.answer(name);
        // How far the next probe is away is left to chance, but not further than this.
        let ttl = match (ttl, ttl_max) {
            (Some(TTL), _) => format!(" ttl {TTL}"),
            (Some(ttl), Some(most)) if u64::from(ttl) <= most => format!(" ttl at most {most}"),
            (Some(ttl), _) => format!(" ttl {ttl}"),
            (None, _) => String::new(),
        };
        writeln!(told, "  {name} -> {answer}{ttl}").unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn stories_go_as_they_are_told() {
    let update = std::env::var_os("UPDATE").is_some_and(|value| value == "1");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let told = tell(&text).await;
        if update {
            std::fs::write(&file, told).unwrap();
        } else {
            assert_eq!(told, text, "{}: with UPDATE=1 in the environment, what came is what is told", file.display());
        }
    }
}
