//! `[[access]]`: whose queries are answered, and what is odd about a list of rules.

use std::collections::HashMap;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::diagnostic::{Diagnostic, Position};
use crate::dns::{Name, Rtype};

/// `[[access]]`: one rule for queries. Of those that fit a query the first decides; without one it is answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Access {
    /// The networks whose queries it is for; `None` for all.
    pub networks: Option<Vec<IpNet>>,
    /// The types it is for; `None` for all.
    pub types: Option<Vec<Rtype>>,
    /// The names it is for, with all below them; `None` for all.
    pub zones: Option<Vec<Name>>,
    /// What becomes of them.
    pub action: Action,
    /// Where its table begins; `None` if no file says so.
    pub position: Option<Position>,
}

impl Access {
    /// A rule for every query.
    pub fn new(action: Action) -> Self {
        Self { networks: None, types: None, zones: None, action, position: None }
    }

    /// The networks it is for, those of a rule for all spelled out.
    pub fn networks(&self) -> Vec<IpNet> {
        self.networks.clone().unwrap_or_else(|| vec![Ipv4Net::default().into(), Ipv6Net::default().into()])
    }

    /// Whether every type and name of another rule is one of this.
    fn asks_no_more_than(&self, other: &Self) -> bool {
        let types = match (&self.types, &other.types) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(others)) => others.iter().all(|rtype| own.contains(rtype)),
        };
        let is_below = |name: &Name, above: &[Name]| above.iter().any(|above| name.as_ref().is_in(above.as_ref()));
        let zones = match (&self.zones, &other.zones) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(others)) => others.iter().all(|name| is_below(name, own)),
        };
        types && zones
    }
}

/// What becomes of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is answered.
    Allow,
    /// It is answered with REFUSED.
    Refuse,
    /// It gets no answer.
    Drop,
}

/// Warns of rules that can never decide, as those before them leave no query to them.
pub(super) fn check(rules: &[Access], diagnostics: &mut Vec<Diagnostic>) {
    let mut earlier: HashMap<IpNet, Vec<&Access>> = HashMap::new();
    for rule in rules {
        let networks = rule.networks();
        let is_covered = |network: &IpNet| {
            around(*network).any(|outer| earlier.get(&outer).into_iter().flatten().any(|it| it.asks_no_more_than(rule)))
        };
        if networks.iter().all(is_covered) {
            diagnostics.push(
                Diagnostic::warning(rule.position.clone(), "this `[[access]]` never decides: earlier ones do")
                    .help("the first that fits a query decides; put the narrower one first, or take it out"),
            );
        }
        for network in networks {
            earlier.entry(network).or_default().push(rule);
        }
    }
}

/// A network and all that it lies in.
pub(super) fn around(network: IpNet) -> impl Iterator<Item = IpNet> {
    std::iter::successors(Some(network), IpNet::supernet)
}
