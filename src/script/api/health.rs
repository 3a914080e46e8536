//! Answers by health: the targets that are up.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mlua::LuaString;
use smallvec::SmallVec;

use super::arguments::{Options, read_address};
use super::geo::{Unknown, databases, pick_closest};
use super::hash::hash_address;
use super::pick::{pick_hashed, pick_random};
use super::{Api, CallError, Family};
use crate::health::{Check, Http, Kind, State, Tls};
use crate::script::context::Context;

/// Builtins that ask whether targets are up.
pub(super) const FAMILY: Family = Family { install };

/// How long a probe may take when the record does not say.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(2);
/// The longest timeout and interval a record may ask for; a mistyped number is not to keep a check for years.
const SECONDS_MAX: f64 = 86_400.0;
/// The most targets of one call, over all groups.
const TARGETS_MAX: usize = 4096;

fn install(api: &mut Api<'_>) -> mlua::Result<()> {
    api.function("ifportup", |context, arguments| {
        let port = clamp_port(arguments.whole_number()?);
        let groups = read_groups(&arguments.groups()?)?;
        let choice = Choice::read(&arguments.options()?, &mut |lint| context.lint(lint))?;
        answer(context, &groups, &choice, |target| port_check(target, port))
    })?;
    api.function("ifurlup", |context, arguments| {
        let url = arguments.text()?.to_string_lossy();
        let groups = read_groups(&arguments.groups()?)?;
        let options = arguments.options()?;
        let choice = Choice::read(&options, &mut |lint| context.lint(lint))?;
        let request = Arc::new(read_request(url, &options)?);
        answer(context, &groups, &choice, |target| url_check(target, &request))
    })
}

/// A port as PowerDNS takes it: what is out of range becomes the nearest that is in it.
pub(in crate::script) fn clamp_port(port: i64) -> u16 {
    u16::try_from(port.clamp(0, u16::MAX.into())).expect("clamped to 16 bits")
}

/// What `ifportup` asks of a target: its own port, or else the one of the call.
pub(in crate::script) fn port_check(target: SocketAddr, port: u16) -> Kind {
    let port = if target.port() == 0 { port } else { target.port() };
    Kind::Tcp(SocketAddr::new(target.ip(), port))
}

/// What `ifurlup` asks of a target: the URL has the port.
pub(in crate::script) fn url_check(target: SocketAddr, request: &Arc<Http>) -> Kind {
    Kind::Http { address: Some(target.ip()), request: Arc::clone(request) }
}

/// Returns the addresses of targets that are up: the builtins `ifportup` and `ifurlup`.
///
/// `groups` are tried in order: the first with a target that is up has its up targets handed to `selector`. When
/// nothing is up, `backupSelector` chooses among all targets of the first group that has any. A target whose first
/// probe has not ended counts as down. Every target of every group is asked for, so that a standby group is probed
/// before it is needed. Errors when there is no target at all, and with `failOnIncompleteCheck` while no target has
/// been probed.
///
/// ```lua
/// www 30 IN LUA A "ifportup(443, {'192.0.2.1', '192.0.2.2'}, {selector='all', interval=2})"
/// api 30 IN LUA A "ifurlup('https://api.example.com/ready', {{'192.0.2.1'}, {'198.51.100.1'}}, {stringmatch='ok'})"
/// ```
fn answer(
    context: &Context,
    groups: &[Vec<SocketAddr>],
    choice: &Choice,
    kind: impl Fn(SocketAddr) -> Kind,
) -> Result<Vec<String>, CallError> {
    if choice.needs_places() {
        // What it says of missing databases is to be heard before anything is up.
        databases(context);
    }
    let state = |target: &SocketAddr| (target.ip(), context.slot(&choice.check(kind(*target))).state());
    let states: Vec<Vec<(IpAddr, State)>> = groups.iter().map(|group| group.iter().map(state).collect()).collect();
    match choice.choose(context, &states, |target| *target) {
        Ok(chosen) => Ok(chosen.iter().map(ToString::to_string).collect()),
        Err(Undecided::Incomplete) => {
            Err(CallError::refused("has no target whose first check has ended, and `failOnIncompleteCheck` is set"))
        }
        Err(Undecided::NoTarget) => Err(CallError::refused("got no target; give at least one address")),
    }
}

/// Why no target can be chosen.
pub(in crate::script) enum Undecided {
    /// None has been probed, and that is not to be passed over.
    Incomplete,
    /// There is none.
    NoTarget,
}

/// Reads the addresses of all groups.
fn read_groups(groups: &[Vec<LuaString>]) -> Result<Vec<Vec<SocketAddr>>, CallError> {
    if groups.iter().map(Vec::len).sum::<usize>() > TARGETS_MAX {
        return Err(CallError::refused(format!("got more than {TARGETS_MAX} targets")));
    }
    let read = |text: &LuaString| {
        let text = text.to_string_lossy();
        read_address(&text).ok_or_else(|| CallError::refused(format!("got the target `{text}`, which is no address")))
    };
    groups.iter().map(|group| group.iter().map(read).collect()).collect()
}

/// How targets are probed and chosen, apart from what is asked of them.
pub(in crate::script) struct Choice {
    selector: Selector,
    backup: Selector,
    fail_on_incomplete: bool,
    source: Option<IpAddr>,
    timeout: Duration,
    interval: Option<Duration>,
    minimum_failures: u32,
}

impl Choice {
    /// Reads the options of a call; `lint` is told what is odd about them.
    pub(in crate::script) fn read(options: &Options, lint: &mut dyn FnMut(String)) -> Result<Self, CallError> {
        let source = options.text("source")?.map(|text| {
            let address = read_address(&text).map(|address| address.ip());
            address.ok_or_else(|| CallError::refused(format!("got the source `{text}`, which is no address")))
        });
        let failures = options.number("minimumFailures").flatten().unwrap_or(1.0);
        Ok(Self {
            selector: Selector::read(options, "selector", lint)?,
            backup: Selector::read(options, "backupSelector", lint)?,
            fail_on_incomplete: options.text("failOnIncompleteCheck")?.as_deref() == Some("true"),
            source: source.transpose()?,
            // What cannot be read as a time leaves none, so that the target is down rather than the record broken.
            timeout: seconds(options, "timeout").unwrap_or(TIMEOUT_DEFAULT),
            interval: seconds(options, "interval").filter(|interval| !interval.is_zero()),
            minimum_failures: failures.clamp(1.0, f64::from(u16::MAX)) as u32,
        })
    }

    /// Chooses among the targets of all groups by their states, as the manual of `answer` says.
    pub(in crate::script) fn choose<T: Copy>(
        &self,
        context: &Context,
        groups: &[Vec<(T, State)>],
        address_of: impl Fn(&T) -> IpAddr,
    ) -> Result<SmallVec<[T; 4]>, Undecided> {
        let up = |group: &Vec<(T, State)>| -> SmallVec<[T; 4]> {
            group.iter().filter(|(_, state)| *state == State::Up).map(|(target, _)| *target).collect()
        };
        if let Some(up) = groups.iter().map(up).find(|up| !up.is_empty()) {
            return Ok(self.selector.select(context, &up, address_of));
        }
        if self.fail_on_incomplete && groups.iter().flatten().all(|(_, state)| *state == State::Unknown) {
            return Err(Undecided::Incomplete);
        }
        let first = groups.iter().find(|group| !group.is_empty()).ok_or(Undecided::NoTarget)?;
        let targets: SmallVec<[T; 4]> = first.iter().map(|(target, _)| *target).collect();
        Ok(self.backup.select(context, &targets, address_of))
    }

    /// Whether it asks where clients and targets are.
    fn needs_places(&self) -> bool {
        [self.selector, self.backup].iter().any(|selector| matches!(selector, Selector::Closest(_)))
    }

    /// The check of a target.
    pub(in crate::script) fn check(&self, kind: Kind) -> Check {
        Check {
            kind,
            source: self.source,
            timeout: self.timeout,
            interval: self.interval,
            minimum_failures: self.minimum_failures,
        }
    }
}

/// How some of the candidates are chosen.
#[derive(Clone, Copy)]
enum Selector {
    /// One, each with the same chance.
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
    fn read(options: &Options, option: &str, lint: &mut dyn FnMut(String)) -> Result<Self, CallError> {
        Ok(match options.text(option)?.as_deref() {
            None | Some("random") => Self::Random,
            Some("pickclosest") => Self::Closest(Unknown::read(options)?),
            Some("all") => Self::All,
            Some("hashed") => Self::Hashed,
            Some("empty") => Self::Empty,
            Some(other) => {
                lint(format!(
                    "`{option}` is `{other}`, which is no selector and counts as `random`; there are `random`, `all`, \
                     `hashed`, `pickclosest` and `empty`"
                ));
                Self::Random
            }
        })
    }

    fn select<T: Copy>(
        self,
        context: &Context,
        candidates: &[T],
        address_of: impl Fn(&T) -> IpAddr,
    ) -> SmallVec<[T; 4]> {
        let chosen = match self {
            Self::All => return candidates.iter().copied().collect(),
            Self::Empty => None,
            Self::Random => pick_random(&mut *context.random(), candidates).copied(),
            Self::Closest(unknown) => pick_closest(context, candidates, address_of, unknown),
            Self::Hashed => pick_hashed(hash_address(context.client().ip()), candidates).copied(),
        };
        chosen.into_iter().collect()
    }
}

/// Reads what is sent to a URL and expected back.
pub(in crate::script) fn read_request(url: String, options: &Options) -> Result<Http, CallError> {
    let verify = options.text("verify")?.as_deref() == Some("true");
    let code = options.number("httpcode").unwrap_or(Some(200.0));
    let limit = options.number("byteslimit").flatten().unwrap_or(0.0);
    Ok(Http {
        url,
        stringmatch: options.text("stringmatch")?,
        httpcode: code.filter(|code| (100.0..1000.0).contains(code)).map(|code| code as u16),
        useragent: options.text("useragent")?,
        byteslimit: limit.max(0.0) as u64,
        headers: BTreeMap::from_iter(options.texts("headers")?),
        tls: if verify { Tls::Verify } else { Tls::AcceptAny },
    })
}

/// An option in seconds, fractions allowed; `None` if it is not given, zero if it is no number.
fn seconds(options: &Options, name: &str) -> Option<Duration> {
    let number = options.number(name)?;
    Some(Duration::from_secs_f64(number.unwrap_or(0.0).clamp(0.0, SECONDS_MAX)))
}
