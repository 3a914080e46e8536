//! How targets are probed and chosen, apart from what is asked of them.

use std::hash::Hasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use smallvec::SmallVec;

use super::CHOICE_OPTIONS;
use super::kinds::instead_of;
use super::request::URL_OPTIONS;
use crate::dns::Rcode;
use crate::health::check::{Reach, TIMEOUT_DEFAULT};
use crate::health::hysteresis::Thresholds;
use crate::health::table::{Reading, Seat};
use crate::health::{Check, Kind, State};
use crate::script::api::CallError;
use crate::script::api::arguments::{Options, Wanted, read_address};
use crate::script::api::geo::{Unknown, pick_closest};
use crate::script::api::hash::hash_address;
use crate::script::api::pick::{pick_hashed, pick_random};
use crate::script::context::Context;
use crate::script::policy::Policy;

/// The longest timeout and interval a record may ask for; a mistyped number is not to keep a check for years.
const SECONDS_MAX: f64 = 86_400.0;

/// What comes of a check that cannot pass, after why.
pub(super) const ALWAYS_DOWN: &str = ": its targets always count as down";

/// How targets are probed and chosen, apart from what is asked of them.
pub(in crate::script) struct Choice {
    selector: Selector,
    backup: Selector,
    weights: Weights,
    fail_on_incomplete: bool,
    source: Option<IpAddr>,
    timeout: Duration,
    interval: Option<Duration>,
    thresholds: Thresholds,
    reach: Arc<Reach>,
    /// Why no probe can be carried out.
    fault: Option<Arc<str>>,
}

impl Choice {
    /// Reads the options of a call; `lint` is told what is odd about them.
    pub(in crate::script) fn read(
        call: Call,
        options: &Options,
        policy: &Policy,
        lint: &mut dyn FnMut(String),
    ) -> Result<Self, CallError> {
        let source = options.text("source")?.map(|text| {
            let address = read_address(&text).map(|address| address.ip());
            address.ok_or_else(|| CallError::refused(format!("got the source `{text}`, which is no address")))
        });
        let weights = call.weights();
        let fault = call.fault(options);
        match &fault {
            Some(fault) if call == Call::Up => return Err(CallError::refused(format!("cannot probe: {fault}"))),
            Some(fault) => lint(format!("{fault}{ALWAYS_DOWN}")),
            None => {}
        }
        if let Some(name) = options.names().find(|name| call != Call::Up && !option_names().any(|known| known == *name))
        {
            let help = instead_of(name, option_names().collect());
            lint(format!("`{name}` is no option, and nothing comes of it: {help}"));
        }
        // What cannot be read as a time leaves none, so that the target is down rather than the record broken.
        let timeout = seconds(options, "timeout").unwrap_or(TIMEOUT_DEFAULT);
        let interval = seconds(options, "interval").filter(|interval| !interval.is_zero());
        let between = interval.unwrap_or_else(|| policy.interval());
        if timeout.is_zero() {
            lint(format!("`timeout` leaves no time{ALWAYS_DOWN}"));
        } else if timeout >= between {
            lint(too_long(timeout, between));
        }
        let selector = match weights {
            Weights::Counted => Selector::Hashed,
            Weights::Ignored | Weights::Given => Selector::Random,
        };
        let selector = Selector::read(options, "selector", lint)?.unwrap_or(selector);
        Ok(Self {
            selector,
            backup: Selector::read(options, "backupSelector", lint)?.unwrap_or(Selector::Random),
            weights: if matches!(selector, Selector::Weighted) { Weights::Counted } else { weights },
            fail_on_incomplete: options.is_true("failOnIncompleteCheck"),
            source: source.transpose()?,
            timeout,
            interval,
            thresholds: thresholds(options),
            reach: Arc::clone(policy.reach()),
            fault: fault.map(Arc::from),
        })
    }

    /// Chooses among the targets of all groups by what is known of them, as the manual of `answer` says.
    pub(in crate::script) fn choose<T: Copy>(
        &self,
        context: &Context,
        groups: &[Vec<Candidate<T>>],
    ) -> Result<SmallVec<[T; 4]>, Undecided> {
        // Drained targets of any group come after those of all groups that are not.
        for drained in [false, true] {
            for group in groups {
                let up = self.up(group, drained);
                group.iter().for_each(|candidate| context.depends_on(candidate.reading));
                if !up.is_empty() {
                    let chosen = self.selector.select(context, &up, self.weights);
                    if matches!(self.backup, Selector::LastGood) {
                        remember(context, groups, &chosen);
                    }
                    return Ok(values(&chosen));
                }
            }
        }
        self.fall_back(context, groups)
    }

    /// Chooses when nothing is up.
    fn fall_back<T: Copy>(
        &self,
        context: &Context,
        groups: &[Vec<Candidate<T>>],
    ) -> Result<SmallVec<[T; 4]>, Undecided> {
        let is_unknown = |candidate: &Candidate<T>| candidate.reading.state == State::Unknown;
        // In a trial nothing has been probed yet, and that is no fault of the script.
        if self.fail_on_incomplete && !context.is_trial() && groups.iter().flatten().all(is_unknown) {
            return Err(Undecided::Incomplete);
        }
        let first = groups.iter().find(|group| !group.is_empty()).ok_or(Undecided::NoTarget)?;
        let chosen = match self.backup {
            Selector::Denied(rcode) => return Err(Undecided::Denied(rcode)),
            Selector::LastGood => recall(context, groups).unwrap_or_else(|| first.iter().copied().collect()),
            // What targets said of their weight would no longer be true; what the record says of it is.
            Selector::Weighted => self.backup.select(context, first, Weights::Given),
            backup => backup.select(context, first, Weights::Ignored),
        };
        if !chosen.is_empty() {
            context.note_fall_back();
        }
        Ok(values(&chosen))
    }

    /// Whether it asks where clients and targets are.
    pub(super) fn needs_places(&self) -> bool {
        [self.selector, self.backup].iter().any(|selector| matches!(selector, Selector::Closest(_)))
    }

    /// The candidates that are up and drained by an operator or not, without those that drain themselves if there are
    /// others.
    fn up<T: Copy>(&self, group: &[Candidate<T>], drained: bool) -> SmallVec<[Candidate<T>; 4]> {
        let is_up = |reading: Reading| reading.state == State::Up && reading.drained == drained;
        let mut up: SmallVec<[_; 4]> = group.iter().filter(|candidate| is_up(candidate.reading)).copied().collect();
        let is_drained = |candidate: &Candidate<T>| candidate.said(self.weights) == Some(0);
        if !up.iter().all(is_drained) {
            up.retain(|candidate| !is_drained(candidate));
        }
        up
    }

    /// The check of a target.
    pub(in crate::script) fn check(&self, kind: Kind) -> Check {
        let kind = match &self.fault {
            None => kind,
            Some(why) => Kind::Unusable { address: kind.address(), why: Arc::clone(why) },
        };
        Check {
            kind,
            source: self.source,
            timeout: self.timeout,
            interval: self.interval,
            thresholds: self.thresholds,
            reach: Arc::clone(&self.reach),
        }
    }
}

/// Why no target can be chosen.
pub(in crate::script) enum Undecided {
    /// None has been probed, and that is not to be passed over.
    Incomplete,
    /// There is none.
    NoTarget,
    /// None is up, and then this is to be answered.
    Denied(Rcode),
}

/// The builtin that is called; they differ in their options and in whether targets say their own weight.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::script) enum Call {
    /// `ifportup`.
    PortUp,
    /// `ifurlup`.
    UrlUp,
    /// `ifurlextup`.
    UrlExtUp,
    /// `pickselfweighted`.
    SelfWeighted,
    /// `ifup` and `check`, which refuse what the others, as PowerDNS, pass over.
    Up,
}

/// The options of every probe that hold something of one kind.
pub(super) const PROBE_OPTIONS: [(&str, Wanted); 5] = [
    ("timeout", Wanted::Number),
    ("interval", Wanted::Number),
    ("minimumFailures", Wanted::Number),
    ("minimumSuccesses", Wanted::Numeric),
    ("forgiveAfter", Wanted::Numeric),
];

/// The names of all options that any call but `ifup` has: those for URLs mean nothing to `ifportup`, but are none of a
/// slip of the pen.
fn option_names() -> impl Iterator<Item = &'static str> {
    CHOICE_OPTIONS.into_iter().chain(PROBE_OPTIONS.iter().chain(&URL_OPTIONS).map(|(name, _)| *name))
}

impl Call {
    /// What is wrong with an option that only probes read: the record is sound, but its targets are down.
    fn fault(self, options: &Options) -> Option<String> {
        let of_url: &[_] = match self {
            // What `ifup` asks of a URL stands beside the URL.
            Self::PortUp | Self::Up => &[],
            Self::UrlUp | Self::UrlExtUp | Self::SelfWeighted => &URL_OPTIONS,
        };
        PROBE_OPTIONS.iter().chain(of_url).find_map(|(name, wanted)| options.fault(name, *wanted))
    }

    /// Which weights count unless the selector says otherwise.
    fn weights(self) -> Weights {
        match self {
            Self::PortUp | Self::UrlUp | Self::UrlExtUp | Self::Up => Weights::Ignored,
            Self::SelfWeighted => Weights::Counted,
        }
    }
}

/// Which weights of targets count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weights {
    /// None.
    Ignored,
    /// Those that records give them, and otherwise those that they give themselves.
    Counted,
    /// Those that records give them.
    Given,
}

/// A target that may be chosen.
#[derive(Clone, Copy)]
pub(in crate::script) struct Candidate<T> {
    /// What is answered if it is.
    value: T,
    /// Where it is.
    address: IpAddr,
    /// The weight that the record gives it.
    weight: Option<u32>,
    /// What is known of it.
    reading: Reading,
    /// Tells its check from others in this worker.
    slot: usize,
}

impl<T> Candidate<T> {
    /// A target with what its seat says now.
    pub(in crate::script) fn new(value: T, address: IpAddr, weight: Option<u32>, seat: &Seat) -> Self {
        Self { value, address, weight, reading: seat.read(), slot: Arc::as_ptr(seat.slot()).addr() }
    }

    /// Its weight, if it has one.
    fn said(&self, weights: Weights) -> Option<u32> {
        match weights {
            Weights::Ignored => None,
            Weights::Given => self.weight,
            Weights::Counted => self.weight.or(self.reading.weight),
        }
    }

    /// Its share, halved so many times; one that has no weight, or all too little, has 1.
    fn share(&self, weights: Weights, halved: u32) -> u64 {
        u64::from(self.said(weights).unwrap_or(1) >> halved).max(1)
    }
}

/// What is chosen of some candidates.
type Chosen<T> = SmallVec<[Candidate<T>; 4]>;

fn values<T: Copy>(chosen: &Chosen<T>) -> SmallVec<[T; 4]> {
    chosen.iter().map(|candidate| candidate.value).collect()
}

/// How some of the candidates are chosen.
#[derive(Clone, Copy)]
enum Selector {
    /// One, each with the same chance, or that of its weight.
    Random,
    /// One, by the weight that it has.
    Weighted,
    /// All of them.
    All,
    /// The same one for each client.
    Hashed,
    /// The one closest to the client.
    Closest(Unknown),
    /// None: NODATA.
    Empty,
    /// Those that were chosen when one was up, or all.
    LastGood,
    /// None, and this is answered.
    Denied(Rcode),
}

impl Selector {
    /// Reads an option; `None` if it is not given.
    fn read(options: &Options, option: &str, lint: &mut dyn FnMut(String)) -> Result<Option<Self>, CallError> {
        let Some(text) = options.text(option)? else { return Ok(None) };
        let is_backup = option == "backupSelector";
        Ok(Some(match &*text {
            "random" => Self::Random,
            "weighted" => Self::Weighted,
            "all" => Self::All,
            "hashed" => Self::Hashed,
            "pickclosest" => Self::Closest(Unknown::read(options)?),
            "empty" => Self::Empty,
            "lastgood" if is_backup => Self::LastGood,
            "servfail" if is_backup => Self::Denied(Rcode::SERVFAIL),
            "nxdomain" if is_backup => Self::Denied(Rcode::NXDOMAIN),
            other => {
                let there = if is_backup {
                    "`pickclosest`, `weighted`, `empty`, `lastgood`, `servfail` and `nxdomain`"
                } else {
                    "`pickclosest`, `weighted` and `empty`"
                };
                lint(format!(
                    "`{option}` is `{other}`, which is no selector and counts as `random`; there are `random`, `all`, \
                     `hashed`, {there}"
                ));
                Self::Random
            }
        }))
    }

    fn select<T: Copy>(self, context: &Context, candidates: &[Candidate<T>], weights: Weights) -> Chosen<T> {
        let hash = || hash_address(context.client().ip());
        let by_chance = |sum| context.random().random_range(0..sum);
        let chosen = match (self, weights) {
            // Only for when nothing is up, and seen to there.
            (Self::All | Self::LastGood, _) => return candidates.iter().copied().collect(),
            (Self::Empty | Self::Denied(_), _) => None,
            (Self::Random | Self::Weighted, Weights::Counted | Weights::Given) => {
                pick_weighted(candidates, weights, by_chance).copied()
            }
            (Self::Hashed, Weights::Counted | Weights::Given) => {
                pick_weighted(candidates, weights, |sum| hash() % sum).copied()
            }
            (Self::Closest(unknown), _) => pick_closest(context, candidates, |candidate| candidate.address, unknown),
            (Self::Random | Self::Weighted, Weights::Ignored) => {
                pick_random(&mut *context.random(), candidates).copied()
            }
            (Self::Hashed, Weights::Ignored) => pick_hashed(hash(), candidates).copied(),
        };
        chosen.into_iter().collect()
    }
}

/// Picks the candidate in whose share a point falls; `point` is told the sum of all weights. In the order of the list,
/// as in PowerDNS, where other weighted lists are walked from their end.
fn pick_weighted<T>(
    candidates: &[Candidate<T>],
    weights: Weights,
    point: impl FnOnce(u32) -> u32,
) -> Option<&Candidate<T>> {
    // Who says how many octets are free may go past the 32 bits of a hash: then all weights are halved until they fit.
    let sum = |halved: u32| -> u64 { candidates.iter().map(|candidate| candidate.share(weights, halved)).sum() };
    let (halved, sum) = (0..u32::BITS).find_map(|halved| Some((halved, u32::try_from(sum(halved)).ok()?)))?;
    let point = if sum == 0 { return None } else { u64::from(point(sum)) };
    let mut end = 0;
    candidates.iter().find(|candidate| {
        end += candidate.share(weights, halved);
        end > point
    })
}

/// What the targets of a call are known by, among those of one record. Empty texts are no names a script can give.
fn known_by<T>(groups: &[Vec<Candidate<T>>]) -> String {
    let mut hasher = std::hash::DefaultHasher::new();
    for group in groups {
        hasher.write_usize(group.len());
        group.iter().for_each(|candidate| hasher.write_usize(candidate.slot));
    }
    format!("\0{:x}", hasher.finish())
}

/// Keeps which targets a call has chosen while they were up.
fn remember<T>(context: &Context, groups: &[Vec<Candidate<T>>], chosen: &Chosen<T>) {
    let place = |wanted: &Candidate<T>| groups.iter().flatten().position(|candidate| candidate.slot == wanted.slot);
    // A call has fewer targets than 16 bits can count.
    let places: Vec<u8> = chosen.iter().filter_map(place).flat_map(|place| (place as u16).to_be_bytes()).collect();
    if !places.is_empty() {
        context.remember(&known_by(groups), vec![places.into()]);
    }
}

/// The targets that a call chose last while they were up.
fn recall<T: Copy>(context: &Context, groups: &[Vec<Candidate<T>>]) -> Option<Chosen<T>> {
    let places = context.recall(&known_by(groups));
    let candidates: Vec<&Candidate<T>> = groups.iter().flatten().collect();
    let place = |octets: &[u8]| Some(usize::from(u16::from_be_bytes(octets.try_into().ok()?)));
    let candidate = |octets: &[u8]| Some(**candidates.get(place(octets)?)?);
    let chosen: Chosen<T> = places.first()?.chunks(2).filter_map(candidate).collect();
    (!chosen.is_empty()).then_some(chosen)
}

/// How many verdicts make a state.
fn thresholds(options: &Options) -> Thresholds {
    let count = |name| options.number(name).flatten().unwrap_or(1.0).clamp(1.0, f64::from(u16::MAX)) as u16;
    Thresholds { fall: count("minimumFailures"), rise: count("minimumSuccesses"), forgive: count("forgiveAfter") }
}

/// What is told of a probe that may still be under way when the next is due.
fn too_long(timeout: Duration, interval: Duration) -> String {
    let (timeout, interval) = (timeout.as_secs_f64(), interval.as_secs_f64());
    format!(
        "`timeout` is {timeout} s, and not shorter than the interval of {interval} s: a slow target is then probed less \
         often; make it shorter"
    )
}

/// An option in seconds, fractions allowed; `None` if it is not given, zero if it is no number.
fn seconds(options: &Options, name: &str) -> Option<Duration> {
    let number = options.number(name)?;
    Some(Duration::from_secs_f64(number.unwrap_or(0.0).clamp(0.0, SECONDS_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(weights: &[Option<u32>]) -> Vec<Candidate<usize>> {
        let candidate = |(value, weight): (usize, &Option<u32>)| Candidate {
            value,
            address: [192, 0, 2, 1].into(),
            weight: None,
            reading: Reading { weight: *weight, ..State::Up.into() },
            slot: value,
        };
        weights.iter().enumerate().map(candidate).collect()
    }

    fn picked(candidates: &[Candidate<usize>], point: impl FnOnce(u32) -> u32) -> Option<usize> {
        pick_weighted(candidates, Weights::Counted, point).map(|candidate| candidate.value)
    }

    #[test]
    fn a_target_gets_the_share_of_its_own_weight_in_the_order_of_the_list() {
        let candidates = candidates(&[Some(2), None, Some(3)]);
        let picked = |point| picked(&candidates, |_| point);
        assert_eq!((0..6).map(picked).collect::<Vec<_>>(), [0, 0, 1, 2, 2, 2].map(Some));
    }

    #[test]
    fn a_weight_that_the_record_gives_counts_before_that_of_the_target() {
        let mut candidates = candidates(&[Some(7), Some(7)]);
        candidates[0].weight = Some(1);
        assert_eq!((0..8).filter(|point| picked(&candidates, |_| *point) == Some(0)).count(), 1);
        assert_eq!(pick_weighted(&candidates, Weights::Given, |sum| sum - 1).map(|second| second.value), Some(1));
    }

    #[test]
    fn weights_whose_sum_passes_32_bits_keep_their_proportions() {
        let candidates = candidates(&[Some(i32::MAX as u32), Some(i32::MAX as u32), Some(i32::MAX as u32), Some(0)]);
        assert_eq!(picked(&candidates, |_| 0), Some(0));
        assert_eq!(picked(&candidates, |sum| sum / 2), Some(1));
        assert_eq!(picked(&candidates, |sum| sum - 2), Some(2));
        assert_eq!(picked(&candidates, |sum| sum - 1), Some(3));
    }
}
