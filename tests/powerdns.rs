//! LUA records beside the server they come from: PowerDNS and perigee give the same answers to the same zones.
//!
//! What the two do differently on purpose is in [`DIFFERENT`], at the owners `works-here…` of the first zone, and in the
//! list of `docs/lua.md`. Without a
//! `pdns_server` these tests say so and pass.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use hickory_proto::op::{Message, ResponseCode};
use perigee::zone::parser::{self, Input, Options};
use perigee::zone::{Data, Record};
use serde_json::json;

use crate::support::PATIENCE;
use crate::support::backend::{Backend, Reply};
use crate::support::mmdb::Mmdb;
use crate::support::powerdns::{LUA, Pair, Text, Told};
use crate::support::process::Question;

/// One script a line: what a script may return, and what builtins do.
const SCRIPTS: Text<'static> = ("powerdns.example", include_str!("data/powerdns.example.zone"));
/// How LUA records are answered; CNAMEs lead to the zone after it.
const PROCESSING: Text<'static> = ("processing.example", include_str!("data/processing.example.zone"));
const TARGET: Text<'static> = ("target.example", include_str!("data/target.example.zone"));
const APEX: Text<'static> = ("apex.example", include_str!("data/apex.example.zone"));
/// What chooses by chance.
const CHANCE: Text<'static> = ("chance.example", include_str!("data/chance.example.zone"));
/// What asks for places.
const PLACES: Text<'static> = ("places.example", include_str!("data/places.example.zone"));
/// Who asks for places: clients in Seattle, Berlin and Sydney.
const PLACED: [&str; 5] = ["10.1.0.0/16", "10.2.3.0/24", "10.3.4.5/32", "2001:db8:1::/48", "2001:db8:2::/48"];
/// Clients nowhere, and where a number of a system is all that is known.
const PLACELESS: [&str; 3] = ["10.9.0.0/16", "10.4.0.0/16", "2001:db8:9::/48"];

/// The database that both look places up in.
fn places() -> Vec<u8> {
    let seattle = json!({
        "autonomous_system_number": 64496,
        "autonomous_system_organization": "Example Net, INC",
        "city": { "names": { "en": "Seattle" } },
        "continent": { "code": "NA" },
        "country": { "iso_code": "US" },
        "location": { "accuracy_radius": 20, "latitude": 47.913, "longitude": -122.3042 },
        "subdivisions": [{ "iso_code": "WA" }],
    });
    let berlin = json!({
        "autonomous_system_number": 3320,
        "autonomous_system_organization": "Deutsche Telekom AG",
        "city": { "names": { "de": "Berlin-Mitte", "en": "Berlin" } },
        "continent": { "code": "EU" },
        "country": { "iso_code": "DE" },
        "location": { "accuracy_radius": 5, "latitude": 52.5244, "longitude": 13.4105 },
    });
    let sydney = json!({
        "continent": { "code": "OC" },
        "country": { "iso_code": "AU" },
        "location": { "accuracy_radius": 1000, "latitude": -33.8591, "longitude": 151.2002 },
        "subdivisions": [{ "iso_code": "NSW" }],
    });
    let entries = [
        ("10.1.0.0/16", seattle.clone()),
        ("10.2.0.0/16", berlin.clone()),
        ("10.3.0.0/16", sydney.clone()),
        ("10.4.0.0/16", json!({ "autonomous_system_number": 64511 })),
        ("127.0.0.77/32", seattle.clone()),
        ("127.0.0.78/32", berlin.clone()),
        ("127.0.0.79/32", sydney.clone()),
        ("2001:db8:1::/48", seattle),
        ("2001:db8:2::/48", berlin),
    ];
    Mmdb::new("GeoLite2-City", entries).octets()
}

/// Where clients come from, as far as one machine has addresses.
const SOURCES: [[u8; 4]; 5] = [[127, 0, 0, 1], [127, 0, 0, 2], [127, 0, 0, 3], [127, 0, 0, 4], [127, 9, 8, 7]];

/// What resolvers tell of their clients.
const SUBNETS: [&str; 14] = [
    "10.1.2.0/24",
    "10.1.0.0/16",
    "10.0.0.0/8",
    "10.1.2.3/32",
    "11.22.33.44/31",
    "192.0.2.0/25",
    "203.0.113.64/27",
    "128.0.0.0/1",
    "2001:db8:1::/48",
    "2001:db8:1:2::/64",
    "2001:db8::/32",
    "2001:db8:ffff::1/128",
    "2a00:1450::/29",
    "fd00::/8",
];

/// The owner and covered type of each LUA record of a zone.
fn scripts((apex, text): Text<'_>) -> Vec<(String, String)> {
    let records = records((apex, text));
    let script = |record: Record| match record.data {
        Data::Lua(lua) => Some((record.owner.to_string(), lua.covered.to_string())),
        Data::Wire(_) => None,
    };
    records.into_iter().filter_map(script).collect()
}

fn records((apex, text): Text<'_>) -> Vec<Record> {
    let origin = apex.parse().expect("a name");
    let input = Input { file: format!("{apex}.zone").into(), text: text.as_bytes() };
    parser::parse(&input, &Options::new(origin), &mut |_, _| Err("none".to_owned())).records
}

/// Questions that the two answer differently on purpose: a name, a type (`*` for all), and why.
///
/// What looks like another version of PowerDNS is: it is 4.7 to 5.1 that the list speaks of.
const DIFFERENT: &[(&str, &str, &str)] = &[
    ("ttls.processing.example.", "A", "an RRset has one TTL, the lowest"),
    ("ttls.processing.example.", "ANY", "an RRset has one TTL, the lowest"),
    ("conf.processing.example.", "LUA", "configuration is no answer: NODATA and no failure"),
    ("conf.processing.example.", "ANY", "configuration is no answer: NODATA and no failure"),
    ("conf-beside.processing.example.", "LUA", "configuration is no answer: NODATA and no failure"),
    ("conf-beside.processing.example.", "ANY", "configuration is no answer: what is beside it is told"),
    ("c-none.processing.example.", "ANY", "the RCODE is that of the last name (RFC 6604 section 3)"),
    ("c-other-none.processing.example.", "ANY", "the RCODE is that of the last name (RFC 6604 section 3)"),
    ("*.wild-own.processing.example.", "ANY", "the RCODE is that of the last name (RFC 6604 section 3)"),
    ("n.wild-own.processing.example.", "ANY", "the RCODE is that of the last name (RFC 6604 section 3)"),
    ("from-static.processing.example.", "ANY", "a static CNAME is what ANY asks for (RFC 1034 section 3.6.2)"),
    ("from-static-chain.processing.example.", "ANY", "a static CNAME is what ANY asks for (RFC 1034 section 3.6.2)"),
    ("from-static-other.processing.example.", "ANY", "a static CNAME is what ANY asks for (RFC 1034 section 3.6.2)"),
    ("s.wild-own.processing.example.", "CNAME", "a CNAME that was asked for is not followed"),
    ("n.wild-own.processing.example.", "CNAME", "a CNAME that was asked for is not followed"),
    ("x.wild-cname.processing.example.", "CNAME", "a CNAME that was asked for is not followed"),
    ("x.wild-both.processing.example.", "*", "a CNAME hides what is beside it; 4.7 answers both"),
    ("www.outside.example.", "ANY", "a name of no zone is refused, by UDP too"),
    ("tiers-down.health.example.", "A", "the backup selector has the first group; that of 4.7 has all"),
    ("none.own.example.", "A", "the backup selector has the first group; that of 4.7 has all"),
    ("empty.health.example.", "A", "there is a selector `empty`; 4.7 has none"),
    ("no-time.health.example.", "A", "a timeout of 0 is no time, not all of it"),
    ("c-several.processing.example.", "CNAME", "a name has one CNAME (RFC 2181 section 10.1)"),
];

/// What the two said to a question, where that is not the same.
struct Difference {
    owner: String,
    rtype: String,
    client: String,
    told: [Told; 2],
}

impl Difference {
    fn is_explained(&self) -> bool {
        DIFFERENT.iter().any(|(owner, rtype, _)| *owner == self.owner && (*rtype == "*" || *rtype == self.rtype))
    }
}

/// Asks both, and keeps what they say where they differ and [`DIFFERENT`] does not explain it.
struct Comparison<'p> {
    pair: &'p mut Pair,
    unexplained: Vec<Difference>,
}

impl<'p> Comparison<'p> {
    fn new(pair: &'p mut Pair) -> Self {
        Self { pair, unexplained: Vec::new() }
    }

    fn ask(&mut self, owner: &str, rtype: &str, source: Ipv4Addr, subnet: Option<&str>) {
        let question = question(owner, rtype);
        let question = subnet.iter().fold(question, |question, subnet| question.from(subnet));
        let replies = self.pair.ask(source, &question);
        self.note(owner, rtype, format!("{source} for {subnet:?}"), &replies);
    }

    fn ask_by_tcp(&mut self, owner: &str, rtype: &str) {
        let replies = self.pair.ask_by_tcp(&question(owner, rtype));
        self.note(owner, rtype, "TCP".to_owned(), &replies);
    }

    /// Asks by every client there is: from each address, and for each subnet.
    fn ask_by_all(&mut self, owner: &str, rtype: &str) {
        for source in SOURCES {
            self.ask(owner, rtype, source.into(), None);
        }
        for subnet in SUBNETS {
            self.ask(owner, rtype, Ipv4Addr::LOCALHOST, Some(subnet));
        }
    }

    fn note(&mut self, owner: &str, rtype: &str, client: String, replies: &[Message; 2]) {
        let told = [Told::of(&replies[0]), Told::of(&replies[1])];
        let difference = Difference { owner: owner.to_owned(), rtype: rtype.to_owned(), client, told };
        if difference.told[0] != difference.told[1] && !difference.is_explained() {
            self.unexplained.push(difference);
        }
    }

    /// Fails with what differs.
    fn hold(self) {
        let line = |difference: &Difference| {
            let Difference { owner, rtype, client, told: [ours, theirs] } = difference;
            format!("{owner} {rtype} by {client}\n  perigee  {}\n  PowerDNS {}", ours.line(), theirs.line())
        };
        let lines: Vec<String> = self.unexplained.iter().map(line).collect();
        assert!(lines.is_empty(), "{}", lines.join("\n"));
    }
}

fn question(owner: &str, rtype: &str) -> Question {
    if rtype == "LUA" { Question::of(owner, LUA) } else { Question::of_type(owner, rtype) }
}

#[test]
fn scripts_are_answered_as_powerdns_answers_them() {
    let Some(mut pair) = Pair::start(&[SCRIPTS]) else { return };
    let mut comparison = Comparison::new(&mut pair);
    for (owner, rtype) in scripts(SCRIPTS) {
        if !owner.starts_with("works-here") && !owner.starts_with('*') {
            comparison.ask_by_all(&owner, &rtype);
        }
    }
    comparison.hold();
    assert!(pair.asked() > 2000, "only {} questions", pair.asked());
}

#[test]
fn names_and_addresses_are_synthesized_as_powerdns_does() {
    let Some(mut pair) = Pair::start(&[SCRIPTS]) else { return };
    let mut comparison = Comparison::new(&mut pair);
    for (wildcard, rtype, names) in SYNTHESIZED {
        for name in names.split_whitespace() {
            comparison.ask(&format!("{name}.{wildcard}powerdns.example."), rtype, Ipv4Addr::LOCALHOST, None);
        }
    }
    for format in 'a'..='p' {
        comparison.ask(&format!("4.3.2.1.r{format}.powerdns.example."), "TXT", Ipv4Addr::LOCALHOST, None);
    }
    comparison.hold();
}

#[test]
fn what_is_an_error_there_works_here() {
    let Some(mut pair) = Pair::start(&[SCRIPTS]) else { return };
    let mut works_here = scripts(SCRIPTS);
    works_here.retain(|(owner, _)| owner.starts_with("works-here"));
    assert!(works_here.len() > 10);
    for (owner, rtype) in works_here {
        let replies = pair.ask(Ipv4Addr::LOCALHOST, &question(&owner, &rtype));
        let rcodes = replies.each_ref().map(|reply| reply.metadata.response_code);
        assert_eq!(rcodes, [ResponseCode::NoError, ResponseCode::ServFail], "{owner}");
        assert!(!Told::of(&replies[0]).answers.is_empty(), "{owner}");
    }
}

#[test]
fn clients_are_sent_where_powerdns_sends_them() {
    let Some(mut pair) = Pair::start(&[SCRIPTS]) else { return };
    let hashed: Vec<_> = scripts(SCRIPTS).into_iter().filter(|(owner, _)| owner.starts_with('h')).collect();
    assert!(hashed.len() >= 7);
    let mut comparison = Comparison::new(&mut pair);
    for number in 0..20u32 {
        let clients = [
            format!("{}.{}.{}.{}/32", number * 11 + 1, number * 7, 255 - number, number * 13),
            format!("2001:db8:{:x}:{:x}::{:x}/128", number * 257, number * 31, number + 1),
        ];
        for (owner, rtype) in &hashed {
            for client in &clients {
                comparison.ask(owner, rtype, Ipv4Addr::LOCALHOST, Some(client));
            }
        }
    }
    comparison.hold();
}

/// What stands before the zone's wildcards, by the wildcard: what both make of it is the same.
const SYNTHESIZED: &[(&str, &str, &str)] = &[
    (
        "f.",
        "A",
        "1.2.3.4 1.2.3.4.5 010.2.3.4 0x10.2.3.4 08.1.2.3 1.2.3.256 1.2.3.4x 1.2.3 1-2-3-4 ip-1-2-3-4 x-y-1-2-3-4 \
         ab-1-2-3-4 1-2-3-4.foo 1-2-3-4.a.b.c 1--2-3-4 1-2-3-4- 1-2-3-4-5 1-2-3-256 1-2-3 ip40414243 \
         1234567890 40414243x 0x414243 ip4041424 ip-441424 deadbee- x zzz some-text-with-more-than-five-dashes \
         invalid.1.2.3.4 1-2-3-4aa.foo.bar",
    ),
    ("", "AAAA", "2001--db8 aaa--1 1-2-3-4-5-6-7-8 2001-DB8--A 2001.db8.0.0.0.0.0.1 2001.db8.1"),
    ("ra.", "TXT", "4.3.2.1 004.3.2.1 5.4.3.2.1"),
    ("rc.", "TXT", "4.3.2.1 004.3.2.1 255.255.255.255"),
    ("e1.", "TXT", "4.3.2.1 5.3.2.1"),
    ("e4.", "TXT", "4.3.2.1 5.3.2.1"),
    ("e5.", "TXT", "4.3.2.1"),
    ("e6.", "TXT", "4.3.2.1"),
    ("e7.", "TXT", "4.3.2.1"),
    ("e8.", "TXT", "4.3.2.1"),
    (
        "s.",
        "TXT",
        "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2 \
         C.B.A.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.B.D.1.0.0.2 \
         0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2",
    ),
    ("z.", "TXT", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"),
];

/// Names that no record has.
const UNWRITTEN: [&str; 19] = [
    "none.processing.example.",
    "below.static.processing.example.",
    "a.cut.processing.example.",
    "a.b.cut.processing.example.",
    "a.renamed.processing.example.",
    "a.wild.processing.example.",
    "A.b.wILd.processing.example.",
    "x.exists.wild.processing.example.",
    "empty.wild.processing.example.",
    "x.empty.wild.processing.example.",
    "x.wild-empty.processing.example.",
    "x.wild-fails.processing.example.",
    "x.wild-cname.processing.example.",
    "x.wild-both.processing.example.",
    "s.wild-own.processing.example.",
    "n.wild-own.processing.example.",
    "x.wild-mail.processing.example.",
    "none.apex.example.",
    "www.outside.example.",
];

#[test]
fn records_are_processed_as_powerdns_processes_them() {
    const TYPES: [&str; 11] = ["A", "AAAA", "TXT", "CNAME", "MX", "NS", "SOA", "SRV", "DS", "LUA", "ANY"];
    let zones = [PROCESSING, TARGET, APEX];
    let Some(mut pair) = Pair::start(&zones) else { return };
    let written = zones.iter().flat_map(|zone| records(*zone)).map(|record| record.owner.to_string());
    let names: BTreeSet<String> = written.chain(UNWRITTEN.map(str::to_owned)).collect();
    let mut comparison = Comparison::new(&mut pair);
    for name in &names {
        for rtype in TYPES {
            comparison.ask(name, rtype, Ipv4Addr::LOCALHOST, None);
        }
        comparison.ask_by_tcp(name, "ANY");
        comparison.ask_by_tcp(name, "A");
    }
    let hang_on_the_client = ["who", "inside", "sites", "some", "static", "c-scripted"];
    for (name, rtype) in hang_on_the_client.iter().flat_map(|name| [(name, "A"), (name, "TXT")]) {
        comparison.ask_by_all(&format!("{name}.processing.example."), rtype);
    }
    comparison.hold();
    assert!(pair.asked() > 1000, "only {} questions", pair.asked());
}

#[test]
fn choices_by_chance_come_as_often_as_from_powerdns() {
    const DRAWS: u32 = 500;
    let Some(mut pair) = Pair::start(&[CHANCE]) else { return };
    for (owner, rtype) in scripts(CHANCE) {
        let question = Question::of_type(&owner, &rtype);
        for question in [question.clone().from("10.1.2.0/24"), question.from("192.0.2.0/24")] {
            let mut counts: BTreeMap<Vec<String>, [f64; 2]> = BTreeMap::new();
            for _ in 0..DRAWS {
                let replies = pair.ask(Ipv4Addr::LOCALHOST, &question);
                for (side, reply) in replies.iter().enumerate() {
                    counts.entry(Told::of(reply).answers).or_default()[side] += 1.0;
                }
            }
            // Both drew as often, so of each answer half is expected from either.
            let distance: f64 = counts.values().map(|[ours, theirs]| (ours - theirs).powi(2) / (ours + theirs)).sum();
            let most = chi_square_bound(counts.len() - 1);
            assert!(distance <= most, "{question:?}: {distance:.1} is above {most:.1}: {counts:#?}");
        }
    }
}

/// Records that hang on which of three targets are up: all but 127.0.0.3, which nothing listens on.
fn health_zone(port: u16) -> String {
    let up = "'127.0.0.1', '127.0.0.2'";
    let three = format!("{up}, '127.0.0.3'");
    let url = format!("'http://www.example.com:{port}/'");
    let script = |name: &str, code: String| format!("{name} LUA A \"{code}\"\n");
    let head = "$TTL 60\n@ SOA ns hostmaster 1 3600 900 604800 60\n@ NS ns\nns A 192.0.2.53\n".to_owned();
    head + &[
        script("all", format!("ifportup({port}, {{{three}}}, {{selector='all'}})")),
        script("hashed", format!("ifportup({port}, {{{three}}}, {{selector='hashed'}})")),
        script("own-port", format!("ifportup(1, {{'127.0.0.3:{port}', '127.0.0.1:{port}'}}, {{selector='all'}})")),
        script("empty", format!("ifportup({port}, {{{up}}}, {{selector='empty'}})")),
        script("down", format!("ifportup({port}, {{'127.0.0.3', '127.0.0.4'}}, {{backupSelector='all'}})")),
        script("down-hashed", format!("ifportup({port}, {{'127.0.0.3', '127.0.0.4'}}, {{backupSelector='hashed'}})")),
        script("url", format!("ifurlup({url}, {{{three}}}, {{selector='all'}})")),
        script("url-flat-hashed", format!("ifurlup({url}, {{{three}}}, {{selector='hashed'}})")),
        script("tiers", format!("ifurlup({url}, {{ {{'127.0.0.3', '127.0.0.4'}}, {{{up}}} }}, {{selector='all'}})")),
        script(
            "tiers-down",
            format!("ifurlup({url}, {{ {{'127.0.0.3', '127.0.0.4'}}, {{'127.0.0.5'}} }}, {{backupSelector='all'}})"),
        ),
        script("text", format!("ifurlup({url}, {{{up}}}, {{selector='all', stringmatch='fine'}})")),
        script("other-text", format!("ifurlup({url}, {{{up}}}, {{stringmatch='Fine', backupSelector='all'}})")),
        script("agent", format!("ifurlup({url}, {{{up}}}, {{selector='all', useragent='other/1'}})")),
        script("no-http", format!("ifurlup('ftp://www.example.com:{port}/', {{{up}}}, {{backupSelector='all'}})")),
        script("no-url", format!("ifurlup('www.example.com', {{{up}}}, {{backupSelector='all'}})")),
        script("no-time", format!("ifportup({port}, {{{up}}}, {{timeout='soon', backupSelector='all'}})")),
    ]
    .concat()
}

/// Asks for every script of a zone until both say the same; fails with what still differs when patience ends.
///
/// perigee knows its targets from the start. PowerDNS begins to look at them with the first question.
fn hold_when_checked(pair: &mut Pair, zone: Text<'_>) {
    let deadline = Instant::now() + 2 * PATIENCE;
    loop {
        let mut comparison = Comparison::new(pair);
        for (owner, rtype) in scripts(zone) {
            for subnet in SUBNETS {
                comparison.ask(&owner, &rtype, Ipv4Addr::LOCALHOST, Some(subnet));
            }
        }
        if comparison.unexplained.is_empty() || Instant::now() > deadline {
            return comparison.hold();
        }
    }
}

#[test]
fn targets_are_chosen_by_health_as_powerdns_chooses_them() {
    let first = Backend::start();
    let second = Backend::start_on((Ipv4Addr::new(127, 0, 0, 2), first.address.port()).into());
    first.reply(Reply::body("all is fine"));
    second.reply(Reply::body("all is fine"));
    let text = health_zone(first.address.port());
    let Some(mut pair) = Pair::start(&[("health.example", &text)]) else { return };
    hold_when_checked(&mut pair, ("health.example", &text));
}

/// A record and what both answer in each phase: the last octets of addresses, `=` for the same whatever it is, or
/// `ours/theirs` where they differ on purpose.
type Phases = (&'static str, &'static str, [&'static str; 5]);

/// Records that hang on two web servers on one port, on what is on one port of `::1`, and on one that speaks https.
///
/// `PORT`, `PORT6` and `PORTS` stand for their ports, and `BOTH` for the addresses of the two.
const LIVE: &[Phases] = &[
    //                                                                          well  503   words gone  back
    ("port A", "ifportup(PORT, {BOTH}, {selector='all'})", ["12", "12", "12", "2", "12"]),
    ("port-hashed A", "ifportup(PORT, {BOTH}, {selector='hashed'})", ["=", "=", "=", "2", "="]),
    ("port-source A", "ifportup(PORT, {BOTH}, {selector='all', source='127.0.0.1'})", ["12", "12", "12", "2", "12"]),
    (
        "own-port A",
        "ifportup(1, {'127.0.0.1:PORT', '127.0.0.2:PORT'}, {selector='all'})",
        ["12", "12", "12", "2", "12"],
    ),
    ("no-port A", "ifportup(1, {BOTH}, {backupSelector='all'})", ["12"; 5]),
    ("port-text A", "ifportup('PORT', {'127.0.0.1'}, {timeout='1'})", ["1"; 5]),
    ("port-zero A", "ifportup(0, {BOTH}, {backupSelector='all'})", ["12"; 5]),
    ("port-beyond A", "ifportup(65536, {BOTH}, {backupSelector='all'})", ["12"; 5]),
    ("url A", "ifurlup('URL/', {BOTH}, {selector='all'})", ["12", "2", "2", "2", "12"]),
    ("url-hashed A", "ifurlup('URL/', {BOTH}, {selector='hashed'})", ["=", "2", "2", "2", "="]),
    ("url-one A", "ifurlup('URL/', {{'127.0.0.1'}}, {backupSelector='hashed'})", ["1"; 5]),
    ("groups A", "ifurlup('URL/', {{'127.0.0.1'}, {'127.0.0.2'}})", ["1", "2", "2", "2", "1"]),
    ("groups-back A", "ifurlup('URL/', {{'127.0.0.2'}, {'127.0.0.1'}})", ["2", "2", "2", "2", "2"]),
    ("standby A", "ifurlup('URL/', {{'127.0.0.3'}, {BOTH}}, {selector='all'})", ["12", "2", "2", "2", "12"]),
    (
        "text A",
        "ifurlup('URL/', {BOTH}, {selector='all', stringmatch='fine', backupSelector='all'})",
        ["12", "2", "12", "2", "12"],
    ),
    (
        "text-groups A",
        "ifurlup('URL/', {{'127.0.0.1'}, {'127.0.0.2'}}, {stringmatch='fine', backupSelector='all'})",
        ["1", "2", "1/12", "2", "1"],
    ),
    ("text-case A", "ifurlup('URL/', {BOTH}, {stringmatch='Fine', backupSelector='all'})", ["12"; 5]),
    ("text-pattern A", "ifurlup('URL/', {BOTH}, {stringmatch='f.ne', backupSelector='all'})", ["12"; 5]),
    ("text-empty A", "ifurlup('URL/', {BOTH}, {selector='all', stringmatch=''})", ["12", "2", "2", "2", "12"]),
    ("agent A", "ifurlup('URL/', {BOTH}, {selector='all', useragent='probe/1'})", ["12", "2", "2", "2", "12"]),
    ("no-content A", "ifurlup('URL/204', {{'127.0.0.1'}, {'127.0.0.2'}}, {selector='all'})", ["2", "2", "2", "2", "2"]),
    ("created A", "ifurlup('URL/201', {{'127.0.0.1'}, {'127.0.0.2'}}, {selector='all'})", ["2", "2", "2", "2", "2"]),
    ("moved A", "ifurlup('URL/moved', {BOTH}, {selector='all'})", ["12", "2", "2", "2", "12"]),
    (
        "loop A",
        "ifurlup('URL/loop', {{'127.0.0.1'}, {'127.0.0.2'}}, {selector='all', timeout=1})",
        ["2", "2", "2", "2", "2"],
    ),
    (
        "http10 A",
        "ifurlup('URL/1.0', {{'127.0.0.1'}, {'127.0.0.2'}}, {selector='all', stringmatch='fine'})",
        ["1", "1", "1", "2", "1"],
    ),
    (
        "chunked A",
        "ifurlup('URL/chunked', {{'127.0.0.1'}, {'127.0.0.2'}}, {selector='all', stringmatch='fine'})",
        ["1", "1", "1", "2", "1"],
    ),
    ("cut A", "ifurlup('URL/cut', {{'127.0.0.1'}, {'127.0.0.2'}}, {selector='all'})", ["2", "2", "2", "2", "2"]),
    ("noise A", "ifurlup('URL/noise', {{'127.0.0.1'}, {'127.0.0.2'}}, {selector='all'})", ["2", "2", "2", "2", "2"]),
    (
        "hangs A",
        "ifurlup('URL/hangs', {{'127.0.0.1'}, {'127.0.0.2'}}, {selector='all', timeout=1})",
        ["2", "2", "2", "2", "2"],
    ),
    ("https A", "ifurlup('https://www.example.com:PORTS/', {BOTH}, {selector='all'})", ["1"; 5]),
    ("no-https A", "ifurlup('https://www.example.com:PORT/', {BOTH}, {backupSelector='all', timeout=1})", ["12"; 5]),
    ("http-to-https A", "ifurlup('http://www.example.com:PORTS/', {BOTH}, {backupSelector='all'})", ["12"; 5]),
    ("by-address A", "ifurlup('http://192.0.2.1:PORT/', {BOTH}, {selector='all'})", ["12", "2", "2", "2", "12"]),
    ("port6 AAAA", "ifportup(PORT6, {'::1', '::2'}, {selector='all'})", ["1"; 5]),
    ("own-port6 AAAA", "ifportup(1, {'[::1]:PORT6', '[::2]:PORT6'}, {selector='all'})", ["1"; 5]),
    ("url6 AAAA", "ifurlup('http://www.example.com:PORT6/', {'::1', '::2'}, {selector='all'})", ["1"; 5]),
    ("none A", "ifportup(PORT, {})", ["ServFail"; 5]),
    ("no-address A", "ifportup(PORT, {'a.example'})", ["ServFail"; 5]),
    ("no-source A", "ifportup(PORT, {BOTH}, {source='here'})", ["ServFail"; 5]),
];

/// What is expected of ours and of theirs.
fn expected_of_both(expected: &'static str) -> [&'static str; 2] {
    expected.split_once('/').map_or([expected; 2], |(ours, theirs)| [ours, theirs])
}

/// The last octets of the addresses in a reply, or what else it says.
fn brief(told: &Told) -> String {
    if !told.head.starts_with("NoError") {
        return told.head.split(' ').next().expect("a word").to_owned();
    }
    told.answers.iter().filter_map(|line| line.chars().last()).collect()
}

/// Asks both for every record until they answer as in a phase; fails with what does not when patience ends.
fn hold_phase(pair: &mut Pair, phase: usize) {
    let deadline = Instant::now() + 2 * PATIENCE;
    loop {
        let mut differing = Vec::new();
        for (record, _, expected) in LIVE {
            let (name, rtype) = record.split_once(' ').expect("a name and a type");
            let owner = format!("{name}.live.example.");
            for subnet in &SUBNETS[..4] {
                let replies = pair.ask(Ipv4Addr::LOCALHOST, &question(&owner, rtype).from(subnet));
                let told = replies.each_ref().map(Told::of);
                let expected = expected_of_both(expected[phase]);
                let as_expected = match expected {
                    ["=", "="] => told[0] == told[1],
                    [ours, theirs] if ours == theirs => told[0] == told[1] && brief(&told[0]) == ours,
                    _ => told.each_ref().map(brief) == expected,
                };
                if !as_expected {
                    let lines = told.each_ref().map(Told::line);
                    differing.push(format!("{owner} {rtype} not {expected:?}\n  {}\n  {}", lines[0], lines[1]));
                }
            }
        }
        if differing.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "phase {phase}:\n{}", differing.join("\n"));
    }
}

/// Gives a web server the pages that [`LIVE`] asks for.
fn furnish(backend: &Backend) {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nall \r\n4\r\nfine\r\n0\r\n\r\n";
    let pages = [
        ("/204", Reply::status(204)),
        ("/201", Reply::status(201)),
        ("/moved", Reply::redirect("/")),
        ("/loop", Reply::redirect("/loop")),
        ("/1.0", Reply::Raw(b"HTTP/1.0 200 OK\r\n\r\nall fine".to_vec())),
        ("/chunked", Reply::Raw(chunked.to_vec())),
        ("/cut", Reply::Cut),
        ("/noise", Reply::Noise),
        ("/hangs", Reply::Hang),
    ];
    for (path, reply) in pages {
        backend.reply_at(path, reply);
    }
    backend.reply(Reply::body("all is fine"));
}

#[test]
fn targets_that_fall_and_come_back_are_answered_as_powerdns_answers_them() {
    let first = Backend::start();
    let second = Backend::start_on((Ipv4Addr::new(127, 0, 0, 2), first.address.port()).into());
    furnish(&first);
    second.reply(Reply::body("all is fine"));
    second.reply_at("/moved", Reply::redirect("/"));
    let sixth = Backend::start_on((Ipv6Addr::LOCALHOST, 0).into());
    let (secure, _) = Backend::start_tls("another.example");
    let ports = [("PORTS", &secure), ("PORT6", &sixth), ("PORT", &first)];
    let mut text = "$TTL 60\n@ SOA ns hostmaster 1 3600 900 604800 60\n@ NS ns\nns A 192.0.2.53\n".to_owned();
    for (record, script, _) in LIVE {
        let script = script.replace("BOTH", "'127.0.0.1', '127.0.0.2'").replace("URL", "http://www.example.com:PORT");
        let (name, rtype) = record.split_once(' ').expect("a name and a type");
        text += &format!("{name} LUA {rtype} \"{script}\"\n");
    }
    for (word, backend) in ports {
        text = text.replace(word, &backend.address.port().to_string());
    }
    let Some(mut pair) = Pair::start(&[("live.example", &text)]) else { return };
    hold_phase(&mut pair, 0);
    first.reply(Reply::status(503));
    hold_phase(&mut pair, 1);
    second.reply(Reply::body("other words"));
    hold_phase(&mut pair, 2);
    let address = first.stop();
    second.reply(Reply::body("all is fine"));
    hold_phase(&mut pair, 3);
    let first = Backend::start_on(address);
    furnish(&first);
    hold_phase(&mut pair, 4);
}

/// What `ifurlextup` says of three addresses with URLs of their own as those rise and fall.
#[test]
fn urls_that_fall_and_come_back_are_answered_as_powerdns_answers_them() {
    let backend = Backend::start();
    let url = |path: &str| format!("http://127.0.0.1:{}/{path}", backend.address.port());
    let three = format!("['192.0.2.1']='{}', ['192.0.2.2']='{}'}}, {{['192.0.2.3']='{}'", url("a"), url("b"), url("c"));
    // One record alone: where others are about, PowerDNS may crash.
    let text = format!(
        "$TTL 60\n@ SOA ns hostmaster 1 3600 900 604800 60\n@ NS ns\nns A 192.0.2.53\n\
         all LUA A \"ifurlextup({{{{{three}}}}}, {{selector='all', backupSelector='all', stringmatch='fine'}})\"\n"
    );
    let Some(mut pair) = Pair::start(&[("live.example", &text)]) else { return };
    let phases = [
        ("", "", "", "12/123"),
        ("fine", "fine", "fine", "12"),
        ("fine", "bad", "fine", "1"),
        ("bad", "bad", "fine", "3"),
        ("bad", "bad", "bad", "12/123"),
        ("bad", "fine", "bad", "2"),
    ];
    let question = Question::a("all.live.example.");
    for (a, b, c, expected) in phases {
        for (path, body) in [("/a", a), ("/b", b), ("/c", c)] {
            backend.reply_at(path, Reply::body(body));
        }
        let deadline = Instant::now() + 2 * PATIENCE;
        let brief_of_both =
            |pair: &mut Pair| pair.ask(Ipv4Addr::LOCALHOST, &question).map(|reply| brief(&Told::of(&reply)));
        while brief_of_both(&mut pair) != expected_of_both(expected) {
            assert!(Instant::now() < deadline, "{a} {b} {c}: {:?}", brief_of_both(&mut pair));
        }
    }
}

#[test]
fn addresses_with_urls_of_their_own_are_chosen_as_powerdns_chooses_them() {
    let backend = Backend::start();
    backend.reply_at("/down", Reply::status(503));
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", backend.address.port());
    // Alone: where other checks are about, PowerDNS may crash.
    let text = format!(
        "$TTL 60\n@ SOA ns hostmaster 1 3600 900 604800 60\n@ NS ns\nns A 192.0.2.53\n\
         all LUA A \"ifurlextup({{{{['192.0.2.9']='{up}', ['192.0.2.10']='{up}2', ['192.0.2.11']='{down}'}}}}, {{selector='all'}})\"\n\
         tiers LUA A \"ifurlextup({{{{['192.0.2.1']='{down}'}}, {{['192.0.2.2']='{up}'}}}})\"\n\
         none LUA A \"ifurlextup({{{{['192.0.2.1']='{down}'}}, {{['192.0.2.2']='{down}'}}}}, {{backupSelector='all'}})\"\n\
         bare LUA A \"ifurlextup({{['192.0.2.1']='{up}'}})\"\n\
         empty LUA A \"ifurlextup({{}})\"\n\
         no-address LUA A \"ifurlextup({{{{['a.example']='{up}'}}}})\"\n",
        up = url("/up"),
        down = url("/down"),
    );
    let Some(mut pair) = Pair::start(&[("own.example", &text)]) else { return };
    hold_when_checked(&mut pair, ("own.example", &text));
}

/// What a chi-square of so many degrees of freedom exceeds once in a million times, or less often.
///
/// By the approximation of Wilson and Hilferty, which errs on the safe side for few degrees.
fn chi_square_bound(freedom: usize) -> f64 {
    const ONCE_IN_A_MILLION: f64 = 4.7534;
    let freedom = freedom as f64;
    let spread = 2.0 / (9.0 * freedom);
    if freedom == 0.0 { 0.0 } else { freedom * (1.0 - spread + ONCE_IN_A_MILLION * spread.sqrt()).powi(3) }
}

#[test]
fn malformed_client_subnets_are_refused_where_powerdns_passes_them_over() {
    let Some(pair) = Pair::start(&[PROCESSING]) else { return };
    let rows: [(&str, &[u8]); 5] = [
        ("no such family", &[0, 3, 24, 0, 192, 0, 2]),
        ("too short", &[0, 1, 24, 0, 192, 0]),
        ("too long", &[0, 1, 24, 0, 192, 0, 2, 0, 0]),
        ("more bits than the family has", &[0, 1, 33, 0, 192, 0, 2, 0, 0]),
        ("more bits than the family has", &[0, 2, 129, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ];
    for (what, option) in rows {
        let [ours, theirs] = pair.ask_with_option("static.processing.example.", 8, option);
        assert_eq!(Told::of(&ours).head, "FormErr aa=false tc=false", "{what}");
        assert_eq!(Told::of(&theirs).head, "NoError aa=true tc=false", "{what}");
    }
}

#[test]
fn a_subnet_of_no_bits_is_the_sender_here_and_nobody_there() {
    let Some(mut pair) = Pair::start(&[PROCESSING]) else { return };
    let question = Question::txt("who.processing.example.").from("0.0.0.0/0");
    let [ours, theirs] = pair.ask(Ipv4Addr::LOCALHOST, &question).map(|reply| Told::of(&reply).line());
    assert!(ours.contains("127.0.0.1 127.0.0.1 nil"), "{ours}");
    assert!(theirs.contains("127.0.0.1 0.0.0.0 0.0.0.0/0"), "{theirs}");
}

#[test]
fn places_are_found_where_powerdns_finds_them() {
    let Some(mut pair) = Pair::start_with_places(&[PLACES], &places()) else { return };
    let scripts = scripts(PLACES);
    assert!(scripts.len() > 40, "only {} scripts", scripts.len());
    let mut comparison = Comparison::new(&mut pair);
    for (owner, rtype) in &scripts {
        // PowerDNS has clients without a place at 0,0.
        let placeless = PLACELESS.iter().filter(|_| !picks_the_closest(owner));
        for client in PLACED.iter().chain(placeless) {
            comparison.ask(owner, rtype, Ipv4Addr::LOCALHOST, Some(client));
        }
    }
    comparison.hold();
}

/// Whether a record of the zone of places is one of those that pick the closest.
fn picks_the_closest(owner: &str) -> bool {
    let labels = owner.strip_suffix(".places.example.").expect("a name of that zone");
    labels.rsplit('.').next().is_some_and(|label| label.starts_with('n'))
}
