//! Answers by health: the targets that are up.
//!
//! - `choice.rs`: how targets are probed and chosen
//! - `targets.rs`: the targets of a call
//! - `request.rs`: what is sent to a URL, and expected back
//! - `kinds.rs`: a table that says what is asked of targets
//! - `compose.rs`: what hangs on several checks, and on other records

mod choice;
mod compose;
mod kinds;
mod request;
mod targets;

use std::sync::Arc;

use mlua::{IntoLua, IntoLuaMulti, Lua, MultiValue};
use smallvec::SmallVec;

use super::arguments::{Item, Options};
use super::geo::databases;
use super::result::Denial;
use super::{Api, CallError, Family};
use crate::health::Http;
use crate::script::context::Context;
use crate::script::policy::Policy;

pub(in crate::script) use choice::{Call, Candidate, Choice, Undecided};
pub(in crate::script) use compose::{constant_names, named_records, read_check};
pub(in crate::script) use request::read_request;
pub(in crate::script) use targets::{Groups, Target, own_url_check, port_check, read_target, url_check};

use choice::ALWAYS_DOWN;
use kinds::{Template, UNVERIFIED, known};
use request::fault;
use targets::{Answer, bound, read_groups, read_items};

/// Builtins that ask whether targets are up.
pub(super) const FAMILY: Family = Family { install };

/// The options of `ifup` beside those of probes.
const CHOICE_OPTIONS: [&str; 5] = ["selector", "backupSelector", "failOnIncompleteCheck", "unknown", "source"];

fn install(api: &mut Api<'_>) -> mlua::Result<()> {
    api.function("ifportup", |context, arguments| {
        let port = clamp_port(arguments.whole_number()?);
        let groups = read_groups(&arguments.groups()?, |target| port_check(target, port))?;
        let choice = read_choice(context, Call::PortUp, &arguments.options()?)?;
        answer(context, &choice, &groups).map(Chosen::into_list)
    })?;
    api.function("ifurlup", |context, arguments| {
        let url = arguments.text()?.to_string_lossy();
        let groups = arguments.groups()?;
        let options = arguments.options()?;
        let choice = read_choice(context, Call::UrlUp, &options)?;
        let request = Arc::new(review(context, read_request(url, &options), &options));
        let groups = read_groups(&groups, |target| url_check(target, &request))?;
        answer(context, &choice, &groups).map(Chosen::into_list)
    })?;
    api.function("ifurlextup", |context, arguments| {
        let groups = arguments.tables()?;
        bound(groups.iter().map(Vec::len))?;
        let options = arguments.options()?;
        let choice = read_choice(context, Call::UrlExtUp, &options)?;
        let target = |(address, url): (String, String)| {
            let request = review(context, read_request(url, &options), &options);
            Ok(Target::at(read_target(&address)?.ip(), own_url_check(request)))
        };
        let group = |group: Vec<_>| group.into_iter().map(target).collect();
        let groups = groups.into_iter().map(group).collect::<Result<Groups, CallError>>()?;
        answer(context, &choice, &groups).map(Chosen::into_list)
    })?;
    api.function("pickselfweighted", |context, arguments| {
        let url = arguments.text()?.to_string_lossy();
        let list = arguments.list()?;
        let options = arguments.options()?;
        let choice = read_choice(context, Call::SelfWeighted, &options)?;
        let request = Arc::new(review(context, read_request(url, &options), &options));
        let groups = read_groups(&[list], |target| url_check(target, &request))?;
        answer(context, &choice, &groups)
    })?;
    api.function("ifup", |context, arguments| {
        let kind = arguments.fields("a table such as `{kind='tcp', port=443}`")?;
        let (groups, options) = (arguments.items()?, arguments.options()?);
        let read = read_up(&kind, &groups, &options, &context.policy(), &mut |lint| context.lint(lint));
        let (choice, groups) = read?;
        answer(context, &choice, &groups).map(Chosen::into_list)
    })?;
    compose::install(api)
}

fn read_choice(context: &Context, call: Call, options: &Options) -> Result<Choice, CallError> {
    Choice::read(call, options, &context.policy(), &mut |lint| context.lint(lint))
}

/// Reads the arguments of `ifup`.
pub(in crate::script) fn read_up(
    kind: &Options,
    groups: &[Vec<Item>],
    options: &Options,
    policy: &Policy,
    lint: &mut dyn FnMut(String),
) -> Result<(Choice, Groups), CallError> {
    let template = Template::read(kind, &[], lint)?;
    let names = choice::PROBE_OPTIONS.iter().map(|(name, _)| *name).chain(CHOICE_OPTIONS);
    known(options, "option", names)?;
    let groups = read_items(groups, &template)?;
    Ok((Choice::read(Call::Up, options, policy, lint)?, groups))
}

/// A port as PowerDNS takes it: what is out of range becomes the nearest that is in it.
pub(in crate::script) fn clamp_port(port: i64) -> u16 {
    u16::try_from(port.clamp(0, u16::MAX.into())).expect("clamped to 16 bits")
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
/// `ifup` is the general form: a table says what is asked of each target, whose answer may be another than the address
/// that is probed.
///
/// ```lua
/// www 30 IN LUA A "ifportup(443, {'192.0.2.1', '192.0.2.2'}, {selector='all', interval=2, timeout=1})"
/// api 30 IN LUA A "ifurlup('https://api.example.com/ready', {{'192.0.2.1'}, {'198.51.100.1'}}, {verify=true})"
/// ext 30 IN LUA A "ifurlextup({{['192.0.2.1']='https://a.example.net/ready', ['192.0.2.2']='https://b.example.net/'}}, {verify=true})"
/// up 30 IN LUA CNAME "ifup({kind='grpc', port=50051}, {{answer='a.example.net.', probe='192.0.2.1'}})"
/// own 30 IN LUA A "pickselfweighted('http://www.example.com/weight', {'192.0.2.1', '192.0.2.2'})"
/// ```
fn answer(context: &Context, choice: &Choice, groups: &Groups) -> Result<Chosen, CallError> {
    if choice.needs_places() {
        // What it says of missing databases is to be heard before anything is up.
        databases(context);
    }
    let groups: Vec<Vec<_>> = groups.iter().map(|group| candidates(context, choice, group)).collect();
    match choice.choose(context, &groups) {
        Ok(answers) => Ok(Chosen::OneOrMore(answers.into_iter().cloned().collect())),
        Err(Undecided::Denied(rcode)) => Ok(Chosen::Denied(Denial { rcode, ttl: None })),
        Err(Undecided::Incomplete) => {
            Err(CallError::refused("has no target whose first check has ended, and `failOnIncompleteCheck` is set"))
        }
        Err(Undecided::NoTarget) => Err(CallError::refused("got no target; give at least one address")),
    }
}

/// The targets of a group with what is known of them.
fn candidates<'g>(context: &Context, choice: &Choice, group: &'g [Target]) -> Vec<Candidate<&'g Answer>> {
    let candidate = |target: &'g Target| {
        let seat = context.slot(&choice.check(target.kind.clone()));
        Candidate::new(&target.answer, target.place, target.weight, &seat)
    };
    group.iter().map(candidate).collect()
}

/// What a call comes to, as Lua gets it.
enum Chosen {
    /// One answer as a text, more or none as a list.
    OneOrMore(SmallVec<[Answer; 4]>),
    /// A list.
    List(SmallVec<[Answer; 4]>),
    /// No records at all.
    Denied(Denial),
}

impl Chosen {
    /// The same, as a list even if it is one.
    fn into_list(self) -> Self {
        match self {
            Self::OneOrMore(answers) => Self::List(answers),
            other => other,
        }
    }
}

impl IntoLuaMulti for Chosen {
    fn into_lua_multi(self, lua: &Lua) -> mlua::Result<MultiValue> {
        let answers = match self {
            Self::OneOrMore(answers) if answers.len() == 1 => return answers[0].to_string().into_lua_multi(lua),
            Self::OneOrMore(answers) | Self::List(answers) => answers,
            Self::Denied(denial) => return denial.into_lua(lua)?.into_lua_multi(lua),
        };
        answers.iter().map(ToString::to_string).collect::<Vec<_>>().into_lua_multi(lua)
    }
}

/// Tells in a trial run what is odd about what is sent to a URL: that it cannot pass, or that any certificate will do.
fn review(context: &Context, request: Http, options: &Options) -> Http {
    if context.is_trial() {
        if let Some(fault) = fault(&request) {
            context.lint(format!("{fault}{ALWAYS_DOWN}"));
        } else if request.url.starts_with("https:") && !options.has("verify") {
            context.lint(UNVERIFIED.to_owned());
        }
    }
    request
}
