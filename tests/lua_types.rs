//! A script may answer for every type there is: what it returns in presentation form is the record as a zone file has it.

use std::fmt::Write as _;
use std::net::SocketAddr;

use perigee::answer::Transport;
use perigee::dns::{Name, Rtype, probe, rdata};
use perigee::zone::parser::{self, Input, Options};
use perigee::zone::{Data, Record};

use crate::support::authority::Authority;

/// Records of every type.
const ZONE: &str = include_str!("data/types.test.zone");
/// Types that a name has beside others, or that change how names are answered: none can stand at a name of its own.
const STRUCTURAL: [Rtype; 4] = [Rtype::SOA, Rtype::NS, Rtype::CNAME, Rtype::DNAME];

/// The records of the zone that can stand at any name.
fn records() -> Vec<(Rtype, Box<[u8]>)> {
    let input = Input { file: "types.test.zone".into(), text: ZONE.as_bytes() };
    let options = Options::new("types.test".parse().unwrap());
    let parsed = parser::parse(&input, &options, &mut |_, _| Err("none".to_owned()));
    let data = |Record { rtype, data, .. }: Record| match data {
        Data::Wire(wire) => Some((rtype, wire)),
        Data::Lua(_) => None,
    };
    parsed.records.into_iter().filter_map(data).filter(|(rtype, _)| !STRUCTURAL.contains(rtype)).collect()
}

/// Presentation form as code: a long string, in which an escaped quotation mark is written by its number.
fn code(presentation: &str) -> String {
    format!("[==[{}]==]", presentation.replace("\\\"", "\\034")).replace('"', "\\\"")
}

#[test]
fn what_a_script_returns_is_what_a_zone_file_says_for_every_type() {
    let records = records();
    let mut zone = "$TTL 60\n@ SOA ns hostmaster 1 3600 900 604800 60\n@ NS ns\nns A 192.0.2.53\n".to_owned();
    for (index, (rtype, wire)) in records.iter().enumerate() {
        let presentation = rdata::write(*rtype, wire);
        writeln!(zone, "s{index:03} {rtype} {presentation}").unwrap();
        // A TXT is put between quotes by the server, so that a script returns what stands between them.
        let returned = if *rtype == Rtype::TXT { presentation.trim_matches('"') } else { &presentation };
        writeln!(zone, "l{index:03} LUA {rtype} \"{}\"", code(returned)).unwrap();
    }
    let mut authority = Authority::new("", [("example.com", zone.as_str())]);
    let from = SocketAddr::from(([127, 0, 0, 1], 5353));
    let mut ask = |owner: String, rtype| {
        let owner: Name = owner.parse().unwrap();
        let mut reply = authority.respond(from, Transport::Tcp, &probe::question(1, owner.as_ref(), rtype)).unwrap();
        // The first octet of the owner tells the two apart.
        reply[13] = b'x';
        reply
    };
    assert!(records.len() > 60, "{}", records.len());
    for (index, (rtype, wire)) in records.iter().enumerate() {
        let [by_file, by_script] = ["s", "l"].map(|letter| ask(format!("{letter}{index:03}.example.com"), *rtype));
        let presentation = rdata::write(*rtype, wire);
        assert_eq!(by_script, by_file, "{rtype} {presentation}");
        assert_eq!(by_file[6..8], [0, 1], "{rtype} {presentation} has one answer");
    }
}
