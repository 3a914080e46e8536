//! Answers by health: the targets that are up.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mlua::{LuaString, Value};

use super::arguments::{Options, read_address};
use super::hash::hash_address;
use super::pick::{pick_hashed, pick_random};
use super::{Api, CallError, Family};
use crate::health::{Check, Http, Kind, State, Tls};
use crate::script::context::Context;
use crate::script::value;

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
        let port = u16::try_from(arguments.whole_number()?.clamp(0, u16::MAX.into())).expect("clamped to 16 bits");
        let groups = read_groups(&arguments.groups()?)?;
        let choice = Choice::read(context, &arguments.options()?)?;
        let with_port = |target: SocketAddr| match target.port() {
            0 => SocketAddr::new(target.ip(), port),
            _ => target,
        };
        answer(context, &groups, &choice, |target| Kind::Tcp(with_port(target)))
    })?;
    api.function("ifurlup", |context, arguments| {
        let url = arguments.text()?.to_string_lossy();
        let groups = read_groups(&arguments.groups()?)?;
        let options = arguments.options()?;
        let choice = Choice::read(context, &options)?;
        let request = Arc::new(read_request(url, &options)?);
        answer(context, &groups, &choice, |target| Kind::Http {
            address: Some(target.ip()),
            request: Arc::clone(&request),
        })
    })
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
    let states: Vec<Vec<(IpAddr, State)>> = groups
        .iter()
        .map(|group| {
            group.iter().map(|target| (target.ip(), context.slot(&choice.check(kind(*target))).state())).collect()
        })
        .collect();
    let addresses = |group: &[(IpAddr, State)], only_up: bool| -> Vec<IpAddr> {
        group.iter().filter(|(_, state)| !only_up || *state == State::Up).map(|(address, _)| *address).collect()
    };
    if let Some(up) = states.iter().map(|group| addresses(group, true)).find(|up| !up.is_empty()) {
        return Ok(choice.selector.select(context, up));
    }
    let unprobed = states.iter().flatten().all(|(_, state)| *state == State::Unknown);
    if choice.fail_on_incomplete && unprobed {
        return Err(CallError::refused(
            "has no target whose first check has ended, and `failOnIncompleteCheck` is set",
        ));
    }
    match states.iter().find(|group| !group.is_empty()) {
        Some(group) => Ok(choice.backup.select(context, addresses(group, false))),
        None => Err(CallError::refused("got no target; give at least one address")),
    }
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
struct Choice {
    selector: Selector,
    backup: Selector,
    fail_on_incomplete: bool,
    source: Option<IpAddr>,
    timeout: Duration,
    interval: Option<Duration>,
    minimum_failures: u32,
}

impl Choice {
    fn read(context: &Context, options: &Options<'_>) -> Result<Self, CallError> {
        let source = options.text("source")?.map(|text| {
            let address = read_address(&text).map(|address| address.ip());
            address.ok_or_else(|| CallError::refused(format!("got the source `{text}`, which is no address")))
        });
        let failures = options.get("minimumFailures")?.map_or(1.0, |value| number(&value).unwrap_or(1.0));
        Ok(Self {
            selector: Selector::read(context, options, "selector")?,
            backup: Selector::read(context, options, "backupSelector")?,
            fail_on_incomplete: options.text("failOnIncompleteCheck")?.as_deref() == Some("true"),
            source: source.transpose()?,
            // What cannot be read as a time leaves none, so that the target is down rather than the record broken.
            timeout: seconds(options, "timeout")?.unwrap_or(TIMEOUT_DEFAULT),
            interval: seconds(options, "interval")?.filter(|interval| !interval.is_zero()),
            minimum_failures: failures.clamp(1.0, f64::from(u16::MAX)) as u32,
        })
    }

    fn check(&self, kind: Kind) -> Check {
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
    /// None: NODATA.
    Empty,
}

impl Selector {
    fn read(context: &Context, options: &Options<'_>, option: &str) -> Result<Self, CallError> {
        Ok(match options.text(option)?.as_deref() {
            // Without places of clients and targets all are equally far, and the closest is drawn among equals.
            None | Some("random" | "pickclosest") => Self::Random,
            Some("all") => Self::All,
            Some("hashed") => Self::Hashed,
            Some("empty") => Self::Empty,
            Some(other) => {
                context.lint(format!(
                    "`{option}` is `{other}`, which is no selector and counts as `random`; there are `random`, `all`, \
                     `hashed`, `pickclosest` and `empty`"
                ));
                Self::Random
            }
        })
    }

    fn select(self, context: &Context, candidates: Vec<IpAddr>) -> Vec<String> {
        let chosen = match self {
            Self::All => return candidates.iter().map(ToString::to_string).collect(),
            Self::Empty => None,
            Self::Random => pick_random(&mut *context.random(), &candidates),
            Self::Hashed => pick_hashed(hash_address(context.client().ip()), &candidates),
        };
        chosen.iter().map(ToString::to_string).collect()
    }
}

/// Reads what is sent to a URL and expected back.
fn read_request(url: String, options: &Options<'_>) -> Result<Http, CallError> {
    let verify = options.text("verify")?.as_deref() == Some("true");
    let code = options.get("httpcode")?.map_or(Some(200.0), |value| number(&value));
    let limit = options.get("byteslimit")?.and_then(|value| number(&value)).unwrap_or(0.0);
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
fn seconds(options: &Options<'_>, name: &str) -> Result<Option<Duration>, CallError> {
    let value = options.get(name)?;
    Ok(value.map(|value| Duration::from_secs_f64(number(&value).unwrap_or(0.0).clamp(0.0, SECONDS_MAX))))
}

/// A number, or a text of one.
fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::String(text) => text.to_str().ok()?.trim().parse().ok()?,
        other => value::number(other)?,
    };
    Some(number).filter(|number: &f64| number.is_finite())
}
