//! What operators say of targets, whatever their probes say.

use std::cell::OnceCell;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use wildmatch::WildMatch;

use super::check::{Check, Record};

/// What operators say of targets, in the order of their list. Never changed; swapped whole.
#[derive(Clone, Debug, Default)]
pub struct Overrides(Vec<Override>);

/// One thing an operator says.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    /// Of what it is said.
    pub subject: Subject,
    /// What is said.
    pub action: Action,
    /// When it ends, in seconds since 1970; `None` for when somebody takes it back.
    pub until: Option<u64>,
    /// Who says it.
    pub author: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// Of what something is said. Patterns have `*` for any text and `?` for any character, and know no letter case.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    /// Targets in a network.
    Network(IpNet),
    /// Targets whose address, with or without the port, is like this.
    Target(WildMatch),
    /// Checks that are written like this, as the log writes them.
    Check(WildMatch),
    /// All checks of the records of zones whose name is like this.
    Zone(WildMatch),
    /// All checks of records like this: `www.example.org/A`; without a type, of those of every type.
    Record(WildMatch),
}

/// What is said of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// It is up.
    Up,
    /// It is down.
    Down,
    /// It is chosen only when no other target is up.
    Drain,
    /// It is probed no more, and its state stays what it is. Only where this is said of every record that names the
    /// check.
    Pause,
}

impl Action {
    /// Each of them.
    pub const ALL: [Self; 4] = [Self::Up, Self::Down, Self::Drain, Self::Pause];

    /// The action in one lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Drain => "drain",
            Self::Pause => "pause",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Override {
    /// Whether it still holds at a time, in seconds since 1970.
    pub fn holds_at(&self, now: u64) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

impl Overrides {
    /// Overrides in the order of a list; of several that speak of one target, the last holds.
    pub fn new(overrides: Vec<Override>) -> Self {
        Self(overrides)
    }

    /// All of them.
    pub fn as_slice(&self) -> &[Override] {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is said of a check as a record names it. Expired ones count as well: whoever publishes leaves them out.
    pub fn said_of(&self, check: &Check, record: Option<&Record>) -> Option<Action> {
        let told = Told::new(check);
        self.0.iter().rev().find(|said| said.subject.holds(&told, record)).map(|said| said.action)
    }
}

/// A check in the words by which something is said of it. Made at their first use, as most are asked for none.
struct Told<'c> {
    check: &'c Check,
    targets: OnceCell<Vec<String>>,
    text: OnceCell<String>,
}

impl<'c> Told<'c> {
    fn new(check: &'c Check) -> Self {
        Self { check, targets: OnceCell::new(), text: OnceCell::new() }
    }
}

impl Subject {
    /// Whether it speaks of the same as another, however that is written.
    pub fn is(&self, other: &Self) -> bool {
        self.to_string().eq_ignore_ascii_case(&other.to_string())
    }

    /// Whether it speaks of a check, as a record names it.
    fn holds(&self, told: &Told<'_>, record: Option<&Record>) -> bool {
        match self {
            Self::Network(network) => told.check.target().is_some_and(|target| contains(network, target)),
            Self::Target(pattern) => {
                told.targets.get_or_init(|| told.check.kind.targets()).iter().any(|target| pattern.matches(target))
            }
            Self::Check(pattern) => pattern.matches(told.text.get_or_init(|| told.check.to_string())),
            Self::Zone(pattern) => record.is_some_and(|record| pattern.matches(&record.zone)),
            Self::Record(pattern) => record.is_some_and(|record| {
                let owner = record.name.rsplit_once('/').map(|(owner, _)| owner);
                pattern.matches(&record.name) || owner.is_some_and(|owner| pattern.matches(owner))
            }),
        }
    }
}

/// Whether a network holds an address.
fn contains(network: &IpNet, address: IpAddr) -> bool {
    network.contains(&address.to_canonical())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::health::{Host, Http, Kind, sentence};

    /// What is said of a check, as `www.example.org/A` of the zone `example.org` names it.
    fn said(lines: &str, check: &Check) -> Option<Action> {
        let overrides = lines.split(';').filter_map(|line| sentence::parse(line).unwrap());
        let record = Record { zone: "example.org".into(), name: "www.example.org/A".into(), position: "z:1:1".into() };
        Overrides::new(overrides.collect()).said_of(check, Some(&record))
    }

    #[test]
    fn the_last_line_that_speaks_of_a_target_holds() {
        let port = Check::new(Kind::tcp("192.0.2.1:443".parse().unwrap()));
        let url = |address: Option<&str>| {
            let address = address.map(|address| Host::Address(address.parse().unwrap()));
            Check::new(Kind::Http { address, request: Arc::new(Http::get("https://Db.example.net/ready")) })
        };
        let (port6, url4, named) =
            (Check::new(Kind::tcp("[2001:db8::1]:443".parse().unwrap())), url(Some("::ffff:192.0.2.1")), url(None));
        let (up, down, drain, pause) = (Some(Action::Up), Some(Action::Down), Some(Action::Drain), Some(Action::Pause));
        let rows = [
            ("", &port, None),
            ("target 192.0.2.1 => down", &port, down),
            ("target 192.0.2.1 => down", &url4, down),
            ("target 192.0.2.1 => down", &port6, None),
            ("target 192.0.2.1 => down", &named, None),
            ("target 192.0.2.0/24 => drain", &port, drain),
            ("target 192.0.3.0/24 => drain", &port, None),
            ("target 2001:db8::/32 => drain", &port6, drain),
            ("target 192.0.2.1:443 => pause", &port, pause),
            ("target 192.0.2.1:80 => pause", &port, None),
            ("target 192.0.2.1:443 => pause", &url4, None),
            ("target 192.0.2.* => up", &port, up),
            ("target [2001:DB8::*]:443 => up", &port6, up),
            ("check tcp 192.0.2.1:443 => up", &port, up),
            ("check TCP * => up", &port, up),
            ("check https://*/ready at * => up", &url4, up),
            ("check https://*/ready => up", &url4, None),
            ("check https://db.*/ready => up", &named, up),
            ("zone example.org => up", &port, up),
            ("zone EXAMPLE.org. => up", &port, up),
            ("zone *.example.org => up", &port, None),
            ("record www.example.org => up", &port, up),
            ("record www.example.org/A => up", &port, up),
            ("record www.example.org/AAAA => up", &port, None),
            ("record *.example.org => up", &port, up),
            ("record ???.example.org/* => up", &port, up),
            ("record example.org => up", &port, None),
            ("target 192.0.2.0/24 => down; target 192.0.2.1 => up", &port, up),
            ("target 192.0.2.1 => up; target 192.0.2.0/24 => down", &port, down),
            ("zone example.org => pause; target 192.0.2.9 => up", &port, pause),
        ];
        for (lines, check, expected) in rows {
            assert_eq!(said(lines, check), expected, "{lines} of {check}");
        }
    }
}
