//! Access lists: whose queries are answered, by network, type and name.
//!
//! The first rule that fits a query decides, and a query that none fits is answered. The client is who sent the query:
//! a client subnet is what anybody may write, and opens no door.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::dns::{Name, Request, Rtype};
use crate::networks::Networks;

/// Rules in the form they are asked in: one search among networks tells which of them can fit a client.
#[derive(Debug)]
pub struct Access {
    rules: Box<[Terms]>,
    standings: Networks<Standing>,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The networks of the clients it is for.
    pub networks: Vec<IpNet>,
    /// The types it is for; `None` for all.
    pub types: Option<Vec<Rtype>>,
    /// The names it is for, with all below them; `None` for all.
    pub zones: Option<Vec<Name>>,
    /// What it says of them.
    pub action: Action,
}

/// What becomes of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is answered.
    Allow,
    /// It is answered with REFUSED.
    Refuse,
    /// It gets no answer, and a stream it came by ends.
    Drop,
}

/// What a rule asks of a query, apart from where it comes from.
#[derive(Debug)]
struct Terms {
    types: Option<Box<[Rtype]>>,
    /// In lower-case wire form.
    zones: Option<HashSet<Box<[u8]>>>,
    action: Action,
}

/// How the queries of a network fare.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    /// All alike.
    Settled(Action),
    /// As the first of these rules says that fits; the last may fit every query.
    ByRule(Arc<[u32]>),
}

/// What the rules say of a client.
#[derive(Clone, Copy)]
pub(super) struct Client<'a> {
    rules: &'a [Terms],
    standing: &'a Standing,
}

impl Access {
    /// Makes rules ready to be asked, in their order; `None` when there are none.
    pub fn new(rules: Vec<Rule>) -> Option<Self> {
        if rules.is_empty() {
            return None;
        }
        let mut naming: HashMap<IpNet, Vec<u32>> = HashMap::new();
        for (rule, number) in rules.iter().zip(0..) {
            for network in &rule.networks {
                let numbers = naming.entry(network.trunc()).or_default();
                // A network that one rule names twice is named.
                numbers.pop_if(|last| *last == number);
                numbers.push(number);
            }
        }
        let rules: Box<[Terms]> = rules.into_iter().map(Terms::of).collect();
        let mut known: HashSet<Arc<[u32]>> = HashSet::new();
        let standings = naming.keys().map(|network| (*network, standing(&rules, &naming, *network, &mut known)));
        let standings = Networks::build(standings.collect()).expect("the keys of a map differ");
        Some(Self { rules, standings })
    }

    /// What the rules say of the client at `address`.
    pub(super) fn of(&self, address: IpAddr) -> Client<'_> {
        const OPEN: &Standing = &Standing::Settled(Action::Allow);
        // A listener for both families sees IPv4 clients as IPv6 ones.
        let found = self.standings.lookup(address.to_canonical());
        Client { rules: &self.rules, standing: found.entry.map_or(OPEN, |(_, standing)| standing) }
    }
}

/// How the queries fare that come from `network` and from none inside it that is named.
///
/// Rules that name it fit, and those that name one around it. Lists that are equal are kept once.
fn standing(
    rules: &[Terms],
    naming: &HashMap<IpNet, Vec<u32>>,
    network: IpNet,
    known: &mut HashSet<Arc<[u32]>>,
) -> Standing {
    let around = std::iter::successors(Some(network), IpNet::supernet);
    let mut numbers: Vec<u32> = around.filter_map(|outer| naming.get(&outer)).flatten().copied().collect();
    numbers.sort_unstable();
    numbers.dedup();
    if let Some(last) = numbers.iter().position(|number| rules[*number as usize].fits_all()) {
        numbers.truncate(last + 1);
    }
    let first = &rules[numbers[0] as usize];
    if first.fits_all() {
        return Standing::Settled(first.action);
    }
    if !known.contains(&*numbers) {
        known.insert(numbers.clone().into());
    }
    Standing::ByRule(known.get(&*numbers).expect("it was put there").clone())
}

impl Client<'_> {
    /// Whether none of its queries gets an answer, whatever it asks.
    pub(super) fn is_dropped(self) -> bool {
        *self.standing == Standing::Settled(Action::Drop)
    }

    /// What becomes of its query.
    pub(super) fn judge(self, request: &Request<'_>) -> Action {
        match self.standing {
            Standing::Settled(action) => *action,
            Standing::ByRule(numbers) => {
                let mut rules = numbers.iter().map(|number| &self.rules[*number as usize]);
                rules.find(|rule| rule.fits(request)).map_or(Action::Allow, |rule| rule.action)
            }
        }
    }
}

impl Terms {
    fn of(rule: Rule) -> Self {
        let lower = |name: Name| name.as_ref().to_lowercase_wire();
        Self {
            types: rule.types.map(Vec::into_boxed_slice),
            zones: rule.zones.map(|names| names.into_iter().map(lower).collect()),
            action: rule.action,
        }
    }

    fn fits_all(&self) -> bool {
        self.types.is_none() && self.zones.is_none()
    }

    fn fits(&self, request: &Request<'_>) -> bool {
        let qname = &request.folded;
        let is_in = |zones: &HashSet<_>| (0..=qname.label_count()).any(|skipped| zones.contains(qname.suffix(skipped)));
        self.types.as_ref().is_none_or(|types| types.contains(&request.qtype)) && self.zones.as_ref().is_none_or(is_in)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dns::wire;

    /// A query as it comes in.
    fn query(qname: &str, qtype: Rtype) -> Vec<u8> {
        let name: Name = qname.parse().unwrap();
        let header = [0u16, 0, 1, 0, 0, 0].map(u16::to_be_bytes).concat();
        [&header[..], name.wire(), &qtype.0.to_be_bytes(), &[0, 1]].concat()
    }

    fn judged(access: &Access, address: &str, qname: &str, qtype: Rtype) -> Action {
        let octets = query(qname, qtype);
        let request = wire::decode(&octets).ok().unwrap();
        let client = access.of(address.parse().unwrap());
        let action = client.judge(&request);
        assert!(!client.is_dropped() || action == Action::Drop);
        action
    }

    fn rule(networks: &[&str], types: &[Rtype], zones: &[&str], action: Action) -> Rule {
        Rule {
            networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
            types: (!types.is_empty()).then(|| types.to_vec()),
            zones: (!zones.is_empty()).then(|| zones.iter().map(|name| name.parse().unwrap()).collect()),
            action,
        }
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let access = Access::new(vec![
            rule(&["192.0.2.7/32"], &[], &[], Action::Allow),
            rule(&["192.0.2.0/24", "2001:db8::/32"], &[], &["secret.example"], Action::Drop),
            rule(&["192.0.2.0/24"], &[Rtype::TXT, Rtype::ANY], &[], Action::Refuse),
            rule(&["198.51.100.0/24"], &[], &[], Action::Drop),
            rule(&["0.0.0.0/0", "::/0"], &[Rtype::ANY], &["Secret.Example"], Action::Refuse),
        ])
        .unwrap();
        let rows = [
            ("192.0.2.7", "www.secret.example", Rtype::A, Action::Allow),
            ("192.0.2.8", "www.secret.example", Rtype::A, Action::Drop),
            ("192.0.2.8", "SECRET.example", Rtype::TXT, Action::Drop),
            ("192.0.2.8", "notsecret.example", Rtype::TXT, Action::Refuse),
            ("192.0.2.8", "notsecret.example", Rtype::A, Action::Allow),
            ("2001:db8::1", "a.b.secret.example", Rtype::A, Action::Drop),
            ("::ffff:192.0.2.8", "a.b.secret.example", Rtype::A, Action::Drop),
            ("198.51.100.1", "example", Rtype::A, Action::Drop),
            ("203.0.113.1", "secret.example", Rtype::ANY, Action::Refuse),
            ("203.0.113.1", "secret.example", Rtype::A, Action::Allow),
            ("2001:db9::1", "secret.example", Rtype::ANY, Action::Refuse),
        ];
        for (address, qname, qtype, expected) in rows {
            assert_eq!(judged(&access, address, qname, qtype), expected, "{address} {qname} {qtype}");
        }
        assert!(access.of("198.51.100.1".parse().unwrap()).is_dropped());
        assert!(!access.of("192.0.2.8".parse().unwrap()).is_dropped());
    }

    #[test]
    fn no_rules_are_nothing_to_ask() {
        assert!(Access::new(Vec::new()).is_none());
    }

    const NETWORKS: [&str; 8] = [
        "0.0.0.0/0",
        "10.0.0.0/8",
        "10.1.0.0/16",
        "10.1.1.0/24",
        "10.1.1.1/32",
        "::/0",
        "2001:db8::/32",
        "10.2.0.0/16",
    ];
    const ADDRESSES: [&str; 6] = ["10.1.1.1", "10.1.1.2", "10.1.2.1", "10.2.0.1", "192.0.2.1", "2001:db8::1"];
    const ZONES: [&str; 4] = [".", "example", "a.example", "b.example"];
    const TYPES: [Rtype; 3] = [Rtype::A, Rtype::TXT, Rtype::ANY];

    fn any_rule() -> impl Strategy<Value = Rule> {
        let networks = prop::sample::subsequence(NETWORKS.to_vec(), 1..4);
        let types = prop::option::of(prop::sample::subsequence(TYPES.to_vec(), 1..3));
        let zones = prop::option::of(prop::sample::subsequence(ZONES.to_vec(), 1..3));
        let action = prop::sample::select(vec![Action::Allow, Action::Refuse, Action::Drop]);
        (networks, types, zones, action).prop_map(|(networks, types, zones, action)| Rule {
            types,
            zones: zones.map(|zones| zones.iter().map(|name| name.parse().unwrap()).collect()),
            ..rule(&networks, &[], &[], action)
        })
    }

    proptest! {
        #[test]
        fn rules_that_are_compiled_say_what_they_say_one_by_one(rules in prop::collection::vec(any_rule(), 1..7)) {
            let access = Access::new(rules.clone()).unwrap();
            for address in ADDRESSES {
                for (zone, qtype) in ZONES.iter().flat_map(|zone| TYPES.map(|qtype| (zone, qtype))) {
                    let (ip, name): (IpAddr, Name) = (address.parse().unwrap(), zone.parse().unwrap());
                    let first = rules.iter().find(|rule| {
                        rule.networks.iter().any(|network| network.contains(&ip))
                            && rule.types.as_ref().is_none_or(|types| types.contains(&qtype))
                            && rule.zones.as_ref().is_none_or(|zones| {
                                zones.iter().any(|zone| name.as_ref().is_in(zone.as_ref()))
                            })
                    });
                    let expected = first.map_or(Action::Allow, |rule| rule.action);
                    prop_assert_eq!(judged(&access, address, zone, qtype), expected, "{} {} {}", address, zone, qtype);
                }
            }
        }
    }
}
