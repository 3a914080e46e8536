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
    // Several checks look at it, and a probe under way at the stop fails in another way than one after it.
    while !perigee.wait_for_log("to=down").contains("www.example.net") {}
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

/// A zone with a record whose targets have URLs of their own, and one whose targets weigh themselves.
fn own_zone(port: u16, other: u16) -> String {
    format!(
        "\
@ 1 IN SOA ns hostmaster 1 3600 900 604800 1
@ 1 IN NS ns
ns 1 IN A 192.0.2.53
ext  1 LUA A ( \"ifurlextup({{{{['192.0.2.1']='http://127.0.0.1:{port}/a', ['192.0.2.2']='http://localhost:{port}/b'}}, \"
               \"{{['192.0.2.3']='http://127.0.0.1:{other}/'}}}}, {{selector='all', interval=0.1, timeout=5}})\" )
load 1 LUA A \"pickselfweighted('http://load.example.net:{port}/', {{'127.0.0.1', '127.0.0.2'}}, {{selector='all', interval=0.1, timeout=5}})\"
one  1 LUA A \"pickselfweighted('http://load.example.net:{port}/', {{'127.0.0.1', '127.0.0.2'}}, {{interval=0.1, timeout=5}})\"
wrong 1 LUA A \"ifurlup('http://load.example.net:{port}/', {{{{'127.0.0.1'}}, {{'127.0.0.2'}}}}, {{headers='none', backupSelector='empty'}})\"
"
    )
}

#[test]
fn an_address_is_answered_while_its_own_url_is_up() {
    let (first, other) = (Backend::start(), Backend::start());
    first.reply_at("/b", Reply::status(404));
    let zone = own_zone(first.address.port(), other.address.port());
    let perigee = Perigee::start(&[("zones/example.net.zone", &zone)]);
    let ext = Question::a("ext.example.net");
    assert_eq!(perigee.answers(&ext), ["192.0.2.1"]);
    first.reply_at("/b", Reply::status(200));
    perigee.wait_for_answers(&ext, &["192.0.2.1", "192.0.2.2"]);
    drop(first);
    perigee.wait_for_answers(&ext, &["192.0.2.3"]);
}

#[test]
fn a_target_that_weighs_itself_can_drain_itself() {
    let (first, second) = backends();
    first.reply(Reply::body("3 free"));
    second.reply(Reply::body("0 free"));
    let zone = own_zone(first.address.port(), 1);
    let perigee = Perigee::start(&[("zones/example.net.zone", &zone)]);
    let (load, one) = (Question::a("load.example.net"), Question::a("one.example.net"));
    assert_eq!(perigee.answers(&load), ["127.0.0.1"]);
    for client in 0..20 {
        assert_eq!(perigee.answers(&one.clone().from(&format!("10.{client}.0.0/16"))), ["127.0.0.1"]);
    }
    second.reply(Reply::body("no number"));
    perigee.wait_for_answers(&load, &["127.0.0.1", "127.0.0.2"]);
    first.reply(Reply::body("0"));
    second.reply(Reply::body("0"));
    perigee.wait_for_answers(&load, &["127.0.0.1", "127.0.0.2"]);
    second.reply(Reply::body("-7"));
    perigee.wait_for_answers(&load, &["127.0.0.2"]);
}

#[test]
fn an_option_that_only_probes_read_takes_its_targets_down_and_fails_no_query() {
    let backend = Backend::start();
    let zone = own_zone(backend.address.port(), 1);
    let mut perigee = Perigee::start(&[("zones/example.net.zone", &zone)]);
    assert_eq!(perigee.answers(&Question::a("wrong.example.net")), <[&str; 0]>::default());
    assert_eq!(format!("{:?}", perigee.ask(&Question::a("wrong.example.net")).metadata.response_code), "NoError");
    perigee.edit("zones/example.net.zone", &zone.replace("headers='none'", "headers={}"));
    perigee.wait_for_log("zone published");
    assert_eq!(perigee.answers(&Question::a("wrong.example.net")), ["127.0.0.1"]);
}
