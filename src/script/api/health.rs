//! Answers by health: the targets that are up.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mlua::{IntoLuaMulti, Lua, LuaString, MultiValue};
use rand::RngExt;
use smallvec::SmallVec;

use super::arguments::{Options, Wanted, read_address};
use super::geo::{Unknown, databases, pick_closest};
use super::hash::hash_address;
use super::pick::{pick_hashed, pick_random};
use super::{Api, CallError, Family};
use crate::health::check::{Handshake, Reach, TIMEOUT_DEFAULT};
use crate::health::hysteresis::Thresholds;
use crate::health::table::{Reading, Seat};
use crate::health::{Check, Host, Http, Kind, REDIRECTS_MAX, State, Tls};
use crate::script::context::Context;

/// Builtins that ask whether targets are up.
pub(super) const FAMILY: Family = Family { install };

/// The longest timeout and interval a record may ask for; a mistyped number is not to keep a check for years.
const SECONDS_MAX: f64 = 86_400.0;
/// The most targets of one call, over all groups.
const TARGETS_MAX: usize = 4096;

fn install(api: &mut Api<'_>) -> mlua::Result<()> {
    api.function("ifportup", |context, arguments| {
        let port = clamp_port(arguments.whole_number()?);
        let groups = read_groups(&arguments.groups()?)?;
        let choice = Choice::read(Call::PortUp, &arguments.options()?, &mut |lint| context.lint(lint))?;
        texts(answer(context, &choice, &with_kind(groups, |target| port_check(target, port)))?)
    })?;
    api.function("ifurlup", |context, arguments| {
        let url = arguments.text()?.to_string_lossy();
        let groups = read_groups(&arguments.groups()?)?;
        let options = arguments.options()?;
        let choice = Choice::read(Call::UrlUp, &options, &mut |lint| context.lint(lint))?;
        recommend_verification(context, &url, &options);
        let request = Arc::new(read_request(url, &options));
        texts(answer(context, &choice, &with_kind(groups, |target| url_check(target, &request)))?)
    })?;
    api.function("ifurlextup", |context, arguments| {
        let groups = arguments.tables()?;
        bound(groups.iter().map(Vec::len))?;
        let options = arguments.options()?;
        let choice = Choice::read(Call::UrlExtUp, &options, &mut |lint| context.lint(lint))?;
        let target = |(address, url): (String, String)| {
            recommend_verification(context, &url, &options);
            Ok((read_target(&address)?, own_url_check(url, &options)))
        };
        let group = |group: Vec<_>| group.into_iter().map(target).collect();
        let groups = groups.into_iter().map(group).collect::<Result<Vec<Vec<_>>, CallError>>()?;
        texts(answer(context, &choice, &groups)?)
    })?;
    api.function("pickselfweighted", |context, arguments| {
        let url = arguments.text()?.to_string_lossy();
        let groups = read_groups(&[arguments.list()?])?;
        let options = arguments.options()?;
        let choice = Choice::read(Call::SelfWeighted, &options, &mut |lint| context.lint(lint))?;
        recommend_verification(context, &url, &options);
        let request = Arc::new(read_request(url, &options));
        let chosen = answer(context, &choice, &with_kind(groups, |target| url_check(target, &request)))?;
        Ok(OneOrMore(chosen))
    })
}

/// A port as PowerDNS takes it: what is out of range becomes the nearest that is in it.
pub(in crate::script) fn clamp_port(port: i64) -> u16 {
    u16::try_from(port.clamp(0, u16::MAX.into())).expect("clamped to 16 bits")
}

/// What `ifportup` asks of a target: its own port, or else the one of the call.
pub(in crate::script) fn port_check(target: SocketAddr, port: u16) -> Kind {
    let port = if target.port() == 0 { port } else { target.port() };
    Kind::tcp(SocketAddr::new(target.ip(), port))
}

/// What `ifurlup` and `pickselfweighted` ask of a target: the URL has the port.
pub(in crate::script) fn url_check(target: SocketAddr, request: &Arc<Http>) -> Kind {
    Kind::Http { address: Some(Host::Address(target.ip())), request: Arc::clone(request) }
}

/// What `ifurlextup` asks: the URL's own host, wherever that is.
pub(in crate::script) fn own_url_check(url: String, options: &Options) -> Kind {
    Kind::Http { address: None, request: Arc::new(read_request(url, options)) }
}

/// The targets of each group with what is asked of them.
fn with_kind(groups: Vec<Vec<SocketAddr>>, kind: impl Fn(SocketAddr) -> Kind) -> Vec<Vec<(SocketAddr, Kind)>> {
    let group = |group: Vec<SocketAddr>| group.into_iter().map(|target| (target, kind(target))).collect();
    groups.into_iter().map(group).collect()
}

/// Returns the addresses of targets that are up: the builtins `ifportup`, `ifurlup` and `ifurlextup`.
///
/// `groups` are tried in order: the first with a target that is up has its up targets handed to `selector`. When
/// nothing is up, `backupSelector` chooses among all targets of the first group that has any. A target whose first
/// probe has not ended counts as down. Every target of every group is asked for, so that a standby group is probed
/// before it is needed. Errors when there is no target at all, and with `failOnIncompleteCheck` while no target has
/// been probed.
///
/// `ifurlextup` takes groups of addresses with a URL each, sorted by the address. The URL is asked of its own host;
/// the address is only what is answered.
///
/// `pickselfweighted` has one group, and an address for a result unless its selector is `all` or `empty`. Its targets
/// say their own weight, as the whole number their body begins with; none, and one that is negative or has more than
/// 31 bits, counts as 1. They are chosen by it, the same one for each client (`hashed`, what it does when not told
/// otherwise) or one by chance (`random`). One that says 0 gets nobody, unless all that are up say so.
///
/// ```lua
/// www 30 IN LUA A "ifportup(443, {'192.0.2.1', '192.0.2.2'}, {selector='all', interval=2})"
/// api 30 IN LUA A "ifurlup('https://api.example.com/ready', {{'192.0.2.1'}, {'198.51.100.1'}}, {verify=true})"
/// ext 30 IN LUA A "ifurlextup({{['192.0.2.1']='https://a.example.net/ready', ['192.0.2.2']='https://b.example.net/'}}, {verify=true})"
/// own 30 IN LUA A "pickselfweighted('http://www.example.com/weight', {'192.0.2.1', '192.0.2.2'})"
/// ```
fn answer(
    context: &Context,
    choice: &Choice,
    groups: &[Vec<(SocketAddr, Kind)>],
) -> Result<SmallVec<[IpAddr; 4]>, CallError> {
    if choice.needs_places() {
        // What it says of missing databases is to be heard before anything is up.
        databases(context);
    }
    let candidate = |(target, kind): &(SocketAddr, Kind)| {
        Candidate::new(target.ip(), target.ip(), &context.slot(&choice.check(kind.clone())))
    };
    let groups: Vec<Vec<_>> = groups.iter().map(|group| group.iter().map(candidate).collect()).collect();
    choice.choose(context, &groups).map_err(|undecided| match undecided {
        Undecided::Incomplete => {
            CallError::refused("has no target whose first check has ended, and `failOnIncompleteCheck` is set")
        }
        Undecided::NoTarget => CallError::refused("got no target; give at least one address"),
    })
}

/// Why no target can be chosen.
pub(in crate::script) enum Undecided {
    /// None has been probed, and that is not to be passed over.
    Incomplete,
    /// There is none.
    NoTarget,
}

/// Addresses as a list of texts.
fn texts(addresses: SmallVec<[IpAddr; 4]>) -> Result<Vec<String>, CallError> {
    Ok(addresses.iter().map(ToString::to_string).collect())
}

/// Addresses as Lua gets them: one as a text, more or none as a list.
struct OneOrMore(SmallVec<[IpAddr; 4]>);

impl IntoLuaMulti for OneOrMore {
    fn into_lua_multi(self, lua: &Lua) -> mlua::Result<MultiValue> {
        match &self.0[..] {
            [one] => one.to_string().into_lua_multi(lua),
            more => more.iter().map(ToString::to_string).collect::<Vec<_>>().into_lua_multi(lua),
        }
    }
}

/// Reads the addresses of all groups.
fn read_groups(groups: &[Vec<LuaString>]) -> Result<Vec<Vec<SocketAddr>>, CallError> {
    bound(groups.iter().map(Vec::len))?;
    let read = |text: &LuaString| read_target(&text.to_string_lossy());
    groups.iter().map(|group| group.iter().map(read).collect()).collect()
}

fn read_target(text: &str) -> Result<SocketAddr, CallError> {
    read_address(text).ok_or_else(|| CallError::refused(format!("got the target `{text}`, which is no address")))
}

/// Refuses more targets than a call may have.
fn bound(groups: impl Iterator<Item = usize>) -> Result<(), CallError> {
    if groups.sum::<usize>() > TARGETS_MAX {
        return Err(CallError::refused(format!("got more than {TARGETS_MAX} targets")));
    }
    Ok(())
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
}

/// The options of every probe that hold something of one kind.
const PROBE_OPTIONS: [(&str, Wanted); 3] =
    [("timeout", Wanted::Number), ("interval", Wanted::Number), ("minimumFailures", Wanted::Number)];
/// Those of probes of a URL besides. What `httpcode` and `byteslimit` cannot be read as is no fault of its kind.
const URL_OPTIONS: [(&str, Wanted); 7] = [
    ("stringmatch", Wanted::Text),
    ("httpcode", Wanted::Number),
    ("useragent", Wanted::Text),
    ("byteslimit", Wanted::Number),
    ("headers", Wanted::Texts),
    ("verify", Wanted::Text),
    ("redirects", Wanted::Text),
];

impl Call {
    /// What is wrong with an option that only probes read: the record is sound, but its targets are down.
    fn fault(self, options: &Options) -> Option<String> {
        let of_url: &[_] = if self == Self::PortUp { &[] } else { &URL_OPTIONS };
        PROBE_OPTIONS.iter().chain(of_url).find_map(|(name, wanted)| options.fault(name, *wanted))
    }

    /// Whether the weights that targets give themselves count.
    fn weights(self) -> Weights {
        match self {
            Self::PortUp | Self::UrlUp | Self::UrlExtUp => Weights::Ignored,
            Self::SelfWeighted => Weights::Counted,
        }
    }
}

/// Whether the weights that targets give themselves count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weights {
    Ignored,
    Counted,
}

/// A target that may be chosen.
#[derive(Clone, Copy)]
pub(in crate::script) struct Candidate<T> {
    /// What is answered if it is.
    value: T,
    /// Where it is.
    address: IpAddr,
    /// What is known of it.
    reading: Reading,
}

impl<T> Candidate<T> {
    /// A target with what its seat says now.
    pub(in crate::script) fn new(value: T, address: IpAddr, seat: &Seat) -> Self {
        Self { value, address, reading: seat.read() }
    }

    /// The weight it gave itself; one that said none, or all too little, has 1.
    fn weight(&self) -> u32 {
        self.reading.weight.unwrap_or(1).max(1)
    }

    /// Whether it asked for no clients.
    fn is_drained(&self) -> bool {
        self.reading.weight == Some(0)
    }
}

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
    /// Why no probe can be carried out.
    fault: Option<Arc<str>>,
}

impl Choice {
    /// Reads the options of a call; `lint` is told what is odd about them.
    pub(in crate::script) fn read(
        call: Call,
        options: &Options,
        lint: &mut dyn FnMut(String),
    ) -> Result<Self, CallError> {
        let source = options.text("source")?.map(|text| {
            let address = read_address(&text).map(|address| address.ip());
            address.ok_or_else(|| CallError::refused(format!("got the source `{text}`, which is no address")))
        });
        let failures = options.number("minimumFailures").flatten().unwrap_or(1.0);
        let weights = call.weights();
        let selector = match weights {
            Weights::Ignored => Selector::Random,
            Weights::Counted => Selector::Hashed,
        };
        let fault = call.fault(options);
        if let Some(fault) = &fault {
            lint(format!("{fault}: its targets always count as down"));
        }
        Ok(Self {
            selector: Selector::read(options, "selector", lint)?.unwrap_or(selector),
            backup: Selector::read(options, "backupSelector", lint)?.unwrap_or(Selector::Random),
            weights,
            fail_on_incomplete: options.text("failOnIncompleteCheck")?.as_deref() == Some("true"),
            source: source.transpose()?,
            // What cannot be read as a time leaves none, so that the target is down rather than the record broken.
            timeout: seconds(options, "timeout").unwrap_or(TIMEOUT_DEFAULT),
            interval: seconds(options, "interval").filter(|interval| !interval.is_zero()),
            thresholds: Thresholds { fall: failures.clamp(1.0, f64::from(u16::MAX)) as u16, ..Thresholds::default() },
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
                    return Ok(self.selector.select(context, &up, self.weights));
                }
            }
        }
        let is_unknown = |candidate: &Candidate<T>| candidate.reading.state == State::Unknown;
        if self.fail_on_incomplete && groups.iter().flatten().all(is_unknown) {
            return Err(Undecided::Incomplete);
        }
        let first = groups.iter().find(|group| !group.is_empty()).ok_or(Undecided::NoTarget)?;
        // Of weights nothing is known that would still be true.
        Ok(self.backup.select(context, first, Weights::Ignored))
    }

    /// Whether it asks where clients and targets are.
    fn needs_places(&self) -> bool {
        [self.selector, self.backup].iter().any(|selector| matches!(selector, Selector::Closest(_)))
    }

    /// The candidates that are up and drained by an operator or not, without those that drain themselves if there are
    /// others.
    fn up<T: Copy>(&self, group: &[Candidate<T>], drained: bool) -> SmallVec<[Candidate<T>; 4]> {
        let is_up = |reading: Reading| reading.state == State::Up && reading.drained == drained;
        let mut up: SmallVec<[_; 4]> = group.iter().filter(|candidate| is_up(candidate.reading)).copied().collect();
        if self.weights == Weights::Counted && !up.iter().all(Candidate::is_drained) {
            up.retain(|candidate| !candidate.is_drained());
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
            reach: Arc::new(Reach::default()),
        }
    }
}

/// How some of the candidates are chosen.
#[derive(Clone, Copy)]
enum Selector {
    /// One, each with the same chance, or that of its weight.
    Random,
    /// All of them.
    All,
    /// The same one for each client.
    Hashed,
    /// The one closest to the client.
    Closest(Unknown),
    /// None: NODATA.
    Empty,
}

impl Selector {
    /// Reads an option; `None` if it is not given.
    fn read(options: &Options, option: &str, lint: &mut dyn FnMut(String)) -> Result<Option<Self>, CallError> {
        let Some(text) = options.text(option)? else { return Ok(None) };
        Ok(Some(match &*text {
            "random" => Self::Random,
            "all" => Self::All,
            "hashed" => Self::Hashed,
            "pickclosest" => Self::Closest(Unknown::read(options)?),
            "empty" => Self::Empty,
            other => {
                lint(format!(
                    "`{option}` is `{other}`, which is no selector and counts as `random`; there are `random`, `all`, \
                     `hashed`, `pickclosest` and `empty`"
                ));
                Self::Random
            }
        }))
    }

    fn select<T: Copy>(self, context: &Context, candidates: &[Candidate<T>], weights: Weights) -> SmallVec<[T; 4]> {
        let hash = || hash_address(context.client().ip());
        let chosen = match (self, weights) {
            (Self::All, _) => return candidates.iter().map(|candidate| candidate.value).collect(),
            (Self::Empty, _) => None,
            (Self::Random, Weights::Counted) => {
                pick_self_weighted(candidates, |sum| context.random().random_range(0..sum)).copied()
            }
            (Self::Hashed, Weights::Counted) => pick_self_weighted(candidates, |sum| hash() % sum).copied(),
            (Self::Closest(unknown), _) => pick_closest(context, candidates, |candidate| candidate.address, unknown),
            (Self::Random, Weights::Ignored) => pick_random(&mut *context.random(), candidates).copied(),
            (Self::Hashed, Weights::Ignored) => pick_hashed(hash(), candidates).copied(),
        };
        chosen.map(|candidate| candidate.value).into_iter().collect()
    }
}

/// Picks the candidate in whose share a point falls; `point` is told the sum of all weights. In the order of the list,
/// as in PowerDNS, where other weighted lists are walked from their end.
fn pick_self_weighted<T>(candidates: &[Candidate<T>], point: impl FnOnce(u32) -> u32) -> Option<&Candidate<T>> {
    // Who says how many octets are free may go past the 32 bits of a hash: then all weights are halved until they fit.
    let sum = |halved: u32| -> u64 { candidates.iter().map(|candidate| weight(candidate, halved)).sum() };
    let (halved, sum) = (0..u32::BITS).find_map(|halved| Some((halved, u32::try_from(sum(halved)).ok()?)))?;
    let point = if sum == 0 { return None } else { u64::from(point(sum)) };
    let mut end = 0;
    candidates.iter().find(|candidate| {
        end += weight(candidate, halved);
        end > point
    })
}

/// The weight of a candidate, halved so many times.
fn weight<T>(candidate: &Candidate<T>, halved: u32) -> u64 {
    u64::from(candidate.weight() >> halved).max(1)
}

/// Reads what is sent to a URL and expected back; what is not of its kind is as if not given.
pub(in crate::script) fn read_request(url: String, options: &Options) -> Http {
    let text = |name| options.text(name).ok().flatten();
    let code = options.number("httpcode").unwrap_or(Some(200.0));
    let limit = options.number("byteslimit").flatten().unwrap_or(0.0);
    let verify = text("verify").as_deref() == Some("true");
    Http {
        stringmatch: text("stringmatch"),
        statuses: code
            .filter(|code| (100.0..1000.0).contains(code))
            .map(|code| code as u16..=code as u16)
            .into_iter()
            .collect(),
        useragent: text("useragent"),
        byteslimit: limit.max(0.0) as u64,
        headers: BTreeMap::from_iter(options.texts("headers")),
        handshake: Handshake { tls: if verify { Tls::Verify } else { Tls::AcceptAny }, ..Handshake::default() },
        redirects: match text("redirects").as_deref() {
            None | Some("true") => REDIRECTS_MAX,
            // What is neither a truth nor a number follows none: a target is down rather than judged by another page.
            Some(most) => most.trim().parse().unwrap_or(0).min(REDIRECTS_MAX),
        },
        ..Http::get(url)
    }
}

/// Recommends to verify certificates where a call does not say whether it wants to.
fn recommend_verification(context: &Context, url: &str, options: &Options) {
    if url.starts_with("https:") && !options.has("verify") {
        let lint = "the certificates of `https` targets are not verified, as in PowerDNS: an expired one counts as up; \
                    say `verify=true`, or `verify=false` if that is meant";
        context.lint(lint.to_owned());
    }
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
            reading: Reading { weight: *weight, ..State::Up.into() },
        };
        weights.iter().enumerate().map(candidate).collect()
    }

    #[test]
    fn a_target_gets_the_share_of_its_own_weight_in_the_order_of_the_list() {
        let candidates = candidates(&[Some(2), None, Some(3)]);
        let picked = |point| pick_self_weighted(&candidates, |_| point).map(|candidate| candidate.value);
        assert_eq!((0..6).map(picked).collect::<Vec<_>>(), [0, 0, 1, 2, 2, 2].map(Some));
    }

    #[test]
    fn weights_whose_sum_passes_32_bits_keep_their_proportions() {
        let candidates = candidates(&[Some(i32::MAX as u32), Some(i32::MAX as u32), Some(i32::MAX as u32), Some(0)]);
        let most = |point: fn(u32) -> u32| pick_self_weighted(&candidates, point).map(|candidate| candidate.value);
        assert_eq!(most(|_| 0), Some(0));
        assert_eq!(most(|sum| sum / 2), Some(1));
        assert_eq!(most(|sum| sum - 2), Some(2));
        assert_eq!(most(|sum| sum - 1), Some(3));
    }
}
