//! Health to answers: right from the first one, following a target's fall and its return.

use std::net::Ipv4Addr;

use crate::support::backend::{Backend, Reply};
use crate::support::process::{Perigee, Question};

/// A zone whose `www` hangs on two web servers on one port; probed ten times a second.
fn zone(port: u16) -> String {
    format!(
        "\
@ 1 IN SOA ns hostmaster 1 3600 900 604800 1
@ 1 IN NS ns
ns 1 IN A 192.0.2.53
www  1 LUA A \"ifurlup('http://www.example.net:{port}/', {{{{'127.0.0.1', '127.0.0.2'}}}}, {{interval=0.1, timeout=5, selector='all'}})\"
tier 1 LUA A \"ifurlup('http://www.example.net:{port}/', {{{{'127.0.0.1'}}, {{'127.0.0.2'}}}}, {{interval=0.1, timeout=5}})\"
port 1 LUA A \"ifportup({port}, {{'127.0.0.2', '127.0.0.3'}}, {{interval=0.1, timeout=5, backupSelector='all'}})\"
none 1 LUA A \"ifportup({port}, {{'127.0.0.3', '127.0.0.4'}}, {{interval=0.1, timeout=5, backupSelector='all'}})\"
site 1 LUA A \";if netmask({{'198.51.100.0/24'}}) then return ifportup({port}, {{'127.0.0.2', '127.0.0.3'}}) end return '192.0.2.9'\"
gone 1 LUA A \"ifportup({port}, {{'127.0.0.3'}}, {{interval=0.1, timeout=5, backupSelector='empty'}})\"
"
    )
}

/// Two web servers on one port of two addresses.
fn backends() -> (Backend, Backend) {
    let first = Backend::start();
    let second = Backend::start_on((Ipv4Addr::new(127, 0, 0, 2), first.address.port()).into());
    (first, second)
}

#[test]
fn the_first_answer_after_start_is_right() {
    let (first, second) = backends();
    second.reply(Reply::status(503));
    let perigee = Perigee::start(&[("zones/example.net.zone", &zone(first.address.port()))]);
    assert_eq!(perigee.answers(&Question::a("www.example.net")), ["127.0.0.1"]);
    assert_eq!(perigee.answers(&Question::a("tier.example.net")), ["127.0.0.1"]);
    assert_eq!(perigee.answers(&Question::a("port.example.net")), ["127.0.0.2"]);
    assert_eq!(perigee.answers(&Question::a("none.example.net")), ["127.0.0.3", "127.0.0.4"]);
    assert_eq!(perigee.answers(&Question::a("gone.example.net")), <[&str; 0]>::default());
    // The branch that no trial takes: its targets are known all the same.
    assert_eq!(perigee.answers(&Question::a("site.example.net").from("198.51.100.0/24")), ["127.0.0.2"]);
}

#[test]
fn answers_follow_a_fall_and_a_return() {
    let (first, second) = backends();
    let mut perigee = Perigee::start(&[("zones/example.net.zone", &zone(first.address.port()))]);
    let (www, tier) = (Question::a("www.example.net"), Question::a("tier.example.net"));
    assert_eq!(perigee.answers(&www), ["127.0.0.1", "127.0.0.2"]);
    assert_eq!(perigee.answers(&tier), ["127.0.0.1"]);
    let address = first.stop();
    let line = perigee.wait_for_log("to=down");
    assert!(line.contains("connection refused") && line.contains("www.example.net"), "{line}");
    perigee.wait_for_answers(&www, &["127.0.0.2"]);
    perigee.wait_for_answers(&tier, &["127.0.0.2"]);
    let _returned = Backend::start_on(address);
    perigee.wait_for_answers(&www, &["127.0.0.1", "127.0.0.2"]);
    perigee.wait_for_answers(&tier, &["127.0.0.1"]);
    drop(second);
    perigee.wait_for_answers(&www, &["127.0.0.1"]);
}

#[test]
fn a_new_record_is_probed_before_it_is_served() {
    let (first, second) = backends();
    second.reply(Reply::status(500));
    let mut perigee = Perigee::start(&[("zones/example.net.zone", &zone(first.address.port()))]);
    let added = format!(
        "{}new 1 LUA A \"ifurlup('http://new.example.net:{}/', {{'127.0.0.1', '127.0.0.2'}}, {{selector='all'}})\"\n",
        zone(first.address.port()),
        first.address.port()
    );
    perigee.edit("zones/example.net.zone", &added);
    perigee.wait_for_log("zone published");
    assert_eq!(perigee.answers(&Question::a("new.example.net")), ["127.0.0.1"]);
}
