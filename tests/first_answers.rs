//! First answers: after a start and after a reload nobody is sent to a target that is known to be down. Ten runs of each.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::backend::{Backend, Reply};
use crate::support::process::{Perigee, Question, answers};

/// How many runs of each story there are, all at once.
const RUNS: usize = 10;

const NAMES: [&str; 3] = ["www.example.net", "port.example.net", "tiers.example.net"];

/// Web servers on one port of 127.0.0.1, 127.0.0.2 and so on.
fn backends(count: u8) -> Vec<Backend> {
    let mut backends = vec![Backend::start()];
    let port = backends[0].address.port();
    backends.extend((2..=count).map(|last| Backend::start_on((Ipv4Addr::new(127, 0, 0, last), port).into())));
    backends
}

/// A zone that hangs on the targets with these last octets.
fn zone(serial: u32, port: u16, targets: &[u8]) -> String {
    let list = targets.iter().map(|last| format!("'127.0.0.{last}'")).collect::<Vec<_>>().join(", ");
    let tiers = list.replace(", ", "}, {");
    let options = "{selector='all', interval=0.1, timeout=2}";
    format!(
        "$TTL 1\n@ SOA ns hostmaster {serial} 3600 900 604800 1\n@ NS ns\nns A 192.0.2.53\n\
         www LUA A \"ifurlup('http://www.example.net:{port}/', {{{list}}}, {options})\"\n\
         port LUA A \";if bestwho then return ifportup({port}, {{{list}}}, {options}) end\"\n\
         tiers LUA A \"ifurlup('http://www.example.net:{port}/', {{{{{tiers}}}}}, {options})\"\n"
    )
}

/// Runs a story ten times at once.
fn ten_times(story: impl Fn() + Sync) {
    let story = &story;
    thread::scope(|scope| (0..RUNS).for_each(|_| drop(scope.spawn(story))));
}

#[test]
fn after_a_start_no_target_that_is_down_is_answered() {
    let backends = backends(3);
    backends[0].reply(Reply::status(503));
    backends[1].reply(Reply::Hang);
    let port = backends[0].address.port();
    ten_times(|| {
        // Nothing listens on the fourth.
        let perigee = Perigee::start(&[("zones/example.net.zone", &zone(1, port, &[4, 1, 2, 3]))]);
        let first = NAMES.map(|name| perigee.answers(&Question::a(name)).join(" "));
        assert_eq!(first, ["127.0.0.3", "127.0.0.1 127.0.0.2 127.0.0.3", "127.0.0.3"]);
    });
}

/// Edits the zone while a client asks on and on; each answer that came from the moment the edit began.
fn answers_over_an_edit(perigee: &mut Perigee, edited: &str) -> BTreeSet<String> {
    let stop = AtomicBool::new(false);
    let (client, stop) = (perigee.client(), &stop);
    thread::scope(|scope| {
        let asking = scope.spawn(move || {
            let mut seen = BTreeSet::new();
            while !stop.load(Ordering::Relaxed) {
                for name in NAMES {
                    seen.extend(answers(&client.ask(&Question::a(name))));
                }
            }
            seen
        });
        perigee.edit("zones/example.net.zone", edited);
        perigee.wait_for_log("serial=2");
        // The first answers of the new version, and some more.
        let mut seen: BTreeSet<String> = BTreeSet::new();
        for name in NAMES.into_iter().cycle().take(30) {
            seen.extend(perigee.answers(&Question::a(name)));
        }
        stop.store(true, Ordering::Relaxed);
        seen.extend(asking.join().expect("no answer is lost"));
        seen
    })
}

#[test]
fn after_a_reload_no_new_target_that_is_down_is_answered() {
    let backends = backends(2);
    let port = backends[0].address.port();
    ten_times(|| {
        let mut perigee = Perigee::start(&[("zones/example.net.zone", &zone(1, port, &[1]))]);
        // Nothing listens on the fourth, which is first.
        let seen = answers_over_an_edit(&mut perigee, &zone(2, port, &[4, 1, 2]));
        assert_eq!(Vec::from_iter(seen), ["127.0.0.1", "127.0.0.2"]);
    });
}

#[test]
fn after_a_reload_no_old_target_that_went_down_is_answered() {
    ten_times(|| {
        let mut backends = backends(2);
        let port = backends[0].address.port();
        let mut perigee = Perigee::start(&[("zones/example.net.zone", &zone(1, port, &[1, 2]))]);
        backends.remove(0).stop();
        // Its check by URL, and that by port.
        perigee.wait_for_log("to=down");
        perigee.wait_for_log("to=down");
        let seen = answers_over_an_edit(&mut perigee, &zone(2, port, &[1, 2]).replace("$TTL 1", "$TTL 2"));
        assert_eq!(Vec::from_iter(seen), ["127.0.0.2"]);
    });
}
