//! Choices as records have them: the same on every server where they hang on a hash, and of values of any kind.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::super::*;
use super::{program, run, vm};
use crate::dns::Name;

/// Every choice by hash, as an expression that has a plan.
const HASHED: [&str; 7] = [
    "pickhashed({'a', 'b', 'c', 'd', 'e'})",
    "pickhashed({{'a', 'b'}, {'c'}})",
    "pickwhashed({{15, 'a'}, {42, 'b'}, {7, 'c'}})",
    "picknamehashed({{15, 'a'}, {42, 'b'}})",
    "pickchashed({{150, 'a'}, {420, 'b'}, {70, 'c'}})",
    "pickchashed({{150, {'a', 'b'}}, {420, {'c'}}})",
    "pickchashed({{4294967295, 'a'}, {4294967295, 'b'}})",
];

/// A server of its own: another seed, another order of what it was asked before.
fn server(seed: u64) -> Vm {
    let (library, table, clock) = (Arc::default(), Arc::new(Table::new(1)), Box::new(|| Duration::ZERO));
    Vm::new(Setup { limits: config::Lua::default(), library, table, seed, clock }).expect("a VM")
}

fn ask(vm: &mut Vm, program: &Arc<Program>, client: IpAddr, qname: &str) -> Vec<Vec<u8>> {
    let address = SocketAddr::new(client, 5353);
    let client = Client { address, local: address, transport: Transport::Udp };
    let qname: Name = qname.parse().unwrap();
    let now = Now { unix_secs: 0, monotonic: Duration::ZERO };
    let query = Query { qname: qname.as_ref(), ..Query::plain(now, &client) };
    let output = vm.run(program, &query).unwrap_or_else(|failure| panic!("{}", failure.message));
    output.rdata.into_iter().map(Cow::into_owned).collect()
}

#[test]
fn choices_by_hash_are_the_same_on_every_server_with_and_without_a_plan() {
    for code in HASHED {
        let planned = program(code, Rtype::TXT).unwrap();
        assert!(planned.plan.is_some(), "{code}");
        let by_vm = program(&format!(";return {code}"), Rtype::TXT).unwrap();
        let (mut one, mut other) = (server(1), server(2));
        let mut answers = HashSet::new();
        for number in 0..40u8 {
            let client = IpAddr::from(Ipv4Addr::new(10, number, number.wrapping_mul(77), 1));
            let qname = format!("host{number}.example.com");
            let answer = ask(&mut one, &planned, client, &qname);
            assert_eq!(ask(&mut other, &by_vm, client, &qname), answer, "{code} for {client}");
            answers.insert(answer);
        }
        assert!(answers.len() > 1, "{code} always gives {answers:?}");
    }
}

#[test]
fn names_get_the_published_entries() {
    let program = program("picknamehashed({{15, 'a'}, {42, 'b'}})", Rtype::TXT).unwrap();
    let client = IpAddr::from(Ipv4Addr::LOCALHOST);
    for (qname, entry) in [
        ("test.namehashed.example.org", "a"),
        ("test2.namehashed.example.org", "b"),
        ("TEST2.NameHashed.example.ORG", "b"),
    ] {
        assert_eq!(ask(&mut server(1), &program, client, qname), [[&[1], entry.as_bytes()].concat()], "{qname}");
    }
}

#[test]
fn what_is_picked_may_be_anything_that_can_be_returned() {
    let mut vm = vm(config::Lua::default());
    let cases: [(&str, &[&str]); 14] = [
        ("pickrandom({{'a', 'b'}})", &["a", "b"]),
        ("pickrandom({{ttl = 5, 'a'}})", &["a"]),
        ("pickrandom({nodata()})", &[]),
        ("pickwrandom({{1, {'a', 'b'}}})", &["a", "b"]),
        ("pickwrandom({{1, nodata()}})", &[]),
        ("pickhashed({{'a', 'b'}})", &["a", "b"]),
        ("pickwhashed({{1, {'a', 'b'}}})", &["a", "b"]),
        ("picknamehashed({{1, {'a', 'b'}}})", &["a", "b"]),
        ("pickchashed({{1, {'a', 'b'}}})", &["a", "b"]),
        ("pickchashed({{1, nodata()}})", &[]),
        ("view({{{'0.0.0.0/0'}, {{'a', 'b'}}}})", &["a", "b"]),
        ("all(pickrandomsample(1, {{'a', {'b'}}}))", &["a", "b"]),
        ("all({'a', {}, {'b', {1, {2.5}}}})", &["a", "b", "1", "2.5"]),
        (";local f = pickrandom({function() return 'a' end}) return f()", &["a"]),
    ];
    for (code, expected) in cases {
        assert_eq!(run(&mut vm, code), Ok(expected.iter().map(ToString::to_string).collect()), "{code}");
    }
    let failures = [
        (
            "pickrandomsample(1, {{'a'}})",
            "it returned a table with a table, where a list holds strings and numbers only",
        ),
        ("all({{}})", "`all` got an empty list; give at least one entry"),
        ("all({nodata()})", "`all` needs lists of strings; every key is a number"),
        (";local t = {} t[1] = t return all(t)", "`all` got lists nested more than 16 deep"),
    ];
    for (code, message) in failures {
        assert_eq!(run(&mut vm, code).map_err(|(_, message)| message), Err(message.to_owned()), "{code}");
    }
}
