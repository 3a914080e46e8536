//! The chain of filters in `lua/lib`: who is kept, in which order, and how often.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::serialize::binary::BinDecodable;
use perigee::answer::Transport;
use perigee::dns::{Name, Rtype, probe};
use serde_json::json;

use crate::support::authority::Authority;
use crate::support::mmdb::Mmdb;
use crate::support::process::{Perigee, Question, answers, free_port, rcode};

const HEAD: &str = "$TTL 60\n@ SOA ns hostmaster 1 3600 900 604800 60\n@ NS ns\nns A 192.0.2.53\n";
const LIBRARY: [&str; 2] = ["lua/lib/filters.lua", "lua/lib/sticky.lua"];

/// What is answered by the expression, for each client, with places for some networks.
struct Bench(Authority);

impl Bench {
    fn new(code: &str) -> Self {
        let place = |country: &str, continent: &str, latitude: f64, longitude: f64| {
            json!({
                "country": { "iso_code": country }, "continent": { "code": continent },
                "location": { "latitude": latitude, "longitude": longitude },
            })
        };
        let database = Mmdb::new(
            "Test-City",
            [
                ("10.1.0.0/16", place("KR", "AS", 37.5, 127.0)),
                ("10.2.0.0/16", place("DE", "EU", 48.1, 11.6)),
                ("10.3.0.0/16", place("FR", "EU", 48.9, 2.4)),
                ("192.0.2.0/25", place("KR", "AS", 37.5, 127.0)),
                ("192.0.2.128/25", place("DE", "EU", 50.1, 8.7)),
            ],
        );
        let zone = format!("{HEAD}www LUA TXT \"{code}\"\n");
        Self(Authority::with_library("", &[database], &LIBRARY, [("example.net", &*zone)]))
    }

    fn reply(&mut self, client: &str) -> Message {
        let name: Name = "www.example.net".parse().expect("a name");
        let from = SocketAddr::new(client.parse().expect("an address"), 53);
        let octets = probe::question(1, name.as_ref(), Rtype::TXT);
        let reply = self.0.respond(from, Transport::Tcp, &octets).expect("a reply");
        Message::from_bytes(&reply).expect("well-formed")
    }

    /// The texts of the answer in their order; `SERVFAIL` when it failed.
    fn texts(&mut self, client: &str) -> String {
        let reply = self.reply(client);
        if rcode(&reply) != ResponseCode::NoError {
            return "SERVFAIL".into();
        }
        answers(&reply).join(" ")
    }

    /// How often each answer came.
    fn shares(&mut self, client: &str, questions: usize) -> BTreeMap<String, usize> {
        let mut shares = BTreeMap::new();
        for _ in 0..questions {
            *shares.entry(self.texts(client)).or_default() += 1;
        }
        shares
    }
}

/// Pearson's statistic for counts and the weights that they are to be in proportion to.
fn chi_square(shares: &BTreeMap<String, usize>, weights: &[(&str, f64)]) -> f64 {
    let (questions, sum) =
        (shares.values().sum::<usize>() as f64, weights.iter().map(|(_, weight)| weight).sum::<f64>());
    let deviation = |(text, weight): &(&str, f64)| {
        let expected = questions * weight / sum;
        (shares.get(*text).copied().unwrap_or(0) as f64 - expected).powi(2) / expected
    };
    weights.iter().map(deviation).sum()
}

#[test]
fn filters_keep_who_they_say() {
    const PLACED: &str = "{{'kr', country='kr'}, {'eu', continent={'eu'}}, {'de', continent='eu', country={'de', 'at'}}, {'any'}, 'bare'}";
    const NOBODY: &str = "{{'jp', country='jp'}, {'us', country={'us'}}}";
    let cases = [
        ("chain({})", "10.1.0.1", ""),
        ("chain({'a', {'b'}, {value='c'}, {address='x'}, {}})", "10.1.0.1", "a b c x"),
        ("chain(PLACED, geofence())", "10.1.0.1", "kr"),
        ("chain(PLACED, geofence())", "10.2.0.1", "de eu"),
        ("chain(PLACED, geofence())", "10.3.0.1", "eu"),
        ("chain(PLACED, geofence())", "203.0.113.1", "any bare"),
        ("chain(PLACED, geofence{remove_no_match=true})", "203.0.113.1", "any bare"),
        ("chain(NOBODY, geofence())", "10.1.0.1", "jp us"),
        ("chain(NOBODY, geofence{remove_no_match=true})", "10.1.0.1", ""),
        ("chain({{'in', networks={'10.0.0.0/8'}}, {'out', networks='192.0.2.0/24'}}, geofence())", "10.1.0.1", "in"),
        (
            "chain({{'late', priority=2}, {'first', priority=1}, {'also', priority=1}}, preferred())",
            "10.1.0.1",
            "also first",
        ),
        ("chain({{'late', priority=2}, {'first'}}, preferred())", "10.1.0.1", "first"),
        ("chain({'a', 'b', 'c'}, first_n(2))", "10.1.0.1", "a b"),
        ("chain({'a', 'b', 'c'}, first_n(9))", "10.1.0.1", "a b c"),
        ("chain({'a', 'b', 'c'}, first_n(0))", "10.1.0.1", ""),
        // 2023-11-14 22:13 UTC is a Tuesday, and Wednesday morning in Seoul.
        (
            "chain({{'day', during='09:00-17:00'}, {'night', during='Tue 20:00-06:00'}, {'any'}, {'seoul', during='Wed 07:00-08:00', zone='Asia/Seoul'}}, scheduled())",
            "10.1.0.1",
            "any night seoul",
        ),
        (
            "chain({{'192.0.2.1'}, {'192.0.2.2'}, {'192.0.2.129'}, {'203.0.113.1'}}, nearest())",
            "10.1.0.1",
            "192.0.2.1 192.0.2.2",
        ),
        ("chain({{'192.0.2.1'}, {'192.0.2.129'}}, nearest())", "10.2.0.1", "192.0.2.129"),
        (
            "chain({{'eu.example.', address='192.0.2.129'}, {'kr.example.', location='37.5 127.0'}}, nearest())",
            "10.1.0.1",
            "kr.example.",
        ),
        (
            "chain({{'munich', location='48.1 11.6'}, {'frankfurt', location='50.1 8.7'}, {'seoul', location='37.5 127'}}, nearest{within=400})",
            "10.2.0.1",
            "frankfurt munich",
        ),
        ("chain({{'192.0.2.1'}, {'203.0.113.1'}}, nearest())", "203.0.113.9", "192.0.2.1 203.0.113.1"),
        ("chain({{'203.0.113.1'}, {'203.0.113.2'}}, nearest())", "10.1.0.1", "203.0.113.1 203.0.113.2"),
        ("chain({{'a', weight=0}}, weighted())", "10.1.0.1", "a"),
        ("chain({{'a', weight=0}, {'b'}}, weighted())", "10.1.0.1", "b"),
        (
            "chain({'a'}, function(list) return {} end, shuffled(), weighted(), geofence(), nearest(), preferred(), scheduled(), up(), sticky(), first_n(1))",
            "10.1.0.1",
            "",
        ),
        ("chain({'a', 'b'}, function(list) table.insert(list, {value='own'}) return list end)", "10.1.0.1", "a b own"),
        ("chain({'a'}, 'shuffled')", "10.1.0.1", "SERVFAIL"),
    ];
    for (code, client, expected) in cases {
        let code = code.replace("PLACED", PLACED).replace("NOBODY", NOBODY);
        assert_eq!(Bench::new(&code).texts(client), expected, "{code} for {client}");
    }
}

#[test]
fn weights_are_shares_and_shuffling_is_fair() {
    // The random source starts from a fixed seed; a right one passes these bounds 999 times in 1000.
    let weights = [("a", 1.0), ("b", 2.0), ("c", 5.0)];
    let code = "chain({{'a'}, {'b', weight=2}, {'c', weight=5}, {'never', weight=0}}, weighted(), first_n(1))";
    let shares = Bench::new(code).shares("10.1.0.1", 2000);
    assert!(shares.len() == 3 && chi_square(&shares, &weights) < 13.8, "{shares:?}");
    let even = [("a", 1.0), ("b", 1.0), ("c", 1.0)];
    let shares = Bench::new("chain({'a', 'b', 'c'}, shuffled(), first_n(1))").shares("10.1.0.1", 1500);
    assert!(chi_square(&shares, &even) < 13.8, "{shares:?}");
    // The nearest site first, and then by weight within it.
    let code = "chain({{'192.0.2.1', weight=3}, {'192.0.2.2'}, {'192.0.2.129', weight=100}}, nearest(), weighted(), first_n(1))";
    let shares = Bench::new(code).shares("10.1.0.1", 1000);
    assert!(chi_square(&shares, &[("192.0.2.1", 3.0), ("192.0.2.2", 1.0)]) < 10.8, "{shares:?}");
    assert_eq!(shares.len(), 2);
}

#[test]
fn sticky_serves_lists_and_chains_and_heeds_weights() {
    let codes = [
        "sticky({'a', 'b', 'c'})",
        "chain({'a', 'b', 'c'}, sticky())",
        "chain({'c', {'a'}, {'b', weight=1}}, sticky())",
    ];
    let mut benches = codes.map(Bench::new);
    let mut two = Bench::new("chain({'a', 'b', 'c'}, sticky(2))");
    let mut heavy = Bench::new("chain({{'a'}, {'b', weight=2}, {'c', weight=5}, {'never', weight=0}}, sticky())");
    let mut shares: BTreeMap<String, usize> = BTreeMap::new();
    for number in 0..1200u32 {
        let client = format!("198.{}.{}.7", number / 40, number % 40);
        let [list, chain, other] = [0, 1, 2].map(|index| benches[index].texts(&client));
        assert_eq!((&list, &list), (&chain, &other), "{client}");
        assert!(two.texts(&client).split(' ').any(|text| text == list), "{client}");
        assert_eq!(two.texts(&client).len(), 3);
        *shares.entry(heavy.texts(&client)).or_default() += 1;
    }
    // The clients are always the same ones, so this comes out one way for ever.
    let weights = [("a", 1.0), ("b", 2.0), ("c", 5.0)];
    assert!(shares.len() == 3 && chi_square(&shares, &weights) < 13.8, "{shares:?}");
}

#[test]
fn up_keeps_what_is_up_or_else_all() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (port, closed) = (listener.local_addr().expect("an address").port(), free_port());
    let both = "{'127.0.0.1', '127.0.0.2'}";
    let zone = format!(
        "{HEAD}\
one    LUA A \"chain({both}, up{{port={port}, timeout=1}})\"
none   LUA A \"chain({both}, up{{port={closed}}})\"
empty  LUA A \"chain({both}, up{{port={closed}, otherwise='none'}})\"
own    LUA A \"chain({{ {{'127.0.0.1', up={{port={port}}}}}, {{'127.0.0.3', up={{port={closed}}}}}, '127.0.0.4' }}, up())\"
other  LUA CNAME \"chain({{ {{'a.example.', address='127.0.0.2'}}, {{'b.example.', address='127.0.0.1'}} }}, up{{port={port}}})\"
url    LUA A \"chain({both}, up{{url='http://www.example.net:{closed}/', otherwise='none'}})\"
nought LUA A \"chain({both}, up{{}})\"
"
    );
    let library = LIBRARY.map(|file| std::fs::read_to_string(file).expect("the library can be read"));
    let perigee =
        Perigee::start(&[("zones/example.net.zone", &*zone), (LIBRARY[0], &*library[0]), (LIBRARY[1], &*library[1])]);
    let rows: [(&str, &[&str]); 5] = [
        ("one", &["127.0.0.1"]),
        ("none", &["127.0.0.1", "127.0.0.2"]),
        ("empty", &[]),
        ("own", &["127.0.0.1", "127.0.0.4"]),
        ("url", &[]),
    ];
    for (name, expected) in rows {
        assert_eq!(perigee.answers(&Question::a(&format!("{name}.example.net"))), expected, "{name}");
    }
    assert_eq!(perigee.answers(&Question::of_type("other.example.net", "CNAME")), ["b.example."]);
    assert_eq!(rcode(&perigee.ask(&Question::a("nought.example.net"))), ResponseCode::ServFail);
}
