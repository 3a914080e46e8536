//! Zones swapped under load: each answer is wholly old or wholly new, none is lost, and a bad zone changes nothing.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use hickory_proto::op::ResponseCode;

use crate::support::process::{Perigee, Question, answers, rcode};

/// A zone in which every answer names its version twice.
fn zone(version: u8) -> String {
    format!(
        "\
@ 60 IN SOA ns hostmaster {version} 3600 900 604800 60
@ 60 IN NS ns
ns 60 IN A 192.0.2.53
both 60 IN A 192.0.2.{version}
both 60 IN LUA A \"'198.51.100.{version}'\"
"
    )
}

#[test]
fn each_answer_is_of_one_version_and_none_is_lost() {
    let mut perigee = Perigee::start(&[("zones/example.net.zone", &zone(1))]);
    let stop = AtomicBool::new(false);
    let (stop, client) = (&stop, perigee.client());
    thread::scope(|scope| {
        let asking = scope.spawn(move || {
            let mut seen = BTreeSet::new();
            while !stop.load(Ordering::Relaxed) {
                // A lost answer fails the client.
                let reply = client.ask(&Question::a("both.example.net"));
                assert_eq!(rcode(&reply), ResponseCode::NoError);
                seen.insert(answers(&reply).join(" "));
            }
            seen
        });
        for version in 2..=6 {
            perigee.edit("zones/example.net.zone", &zone(version));
            perigee.wait_for_log(&format!("serial={version}"));
        }
        stop.store(true, Ordering::Relaxed);
        let seen = asking.join().expect("no answer is lost");
        let whole: BTreeSet<String> =
            (1..=6).map(|version| format!("192.0.2.{version} 198.51.100.{version}")).collect();
        assert!(seen.is_subset(&whole), "{seen:?}");
        assert!(seen.len() > 1, "{seen:?}");
    });
}

#[test]
fn a_broken_edit_changes_nothing_and_says_so() {
    let mut perigee = Perigee::start(&[("zones/example.net.zone", &zone(1))]);
    let broken = [
        (zone(2) + "www 60 IN A 192.0.2.x\n", "zones/example.net.zone:6:13"),
        (zone(3) + "www 60 IN LUA A \"pickrandom({\"\n", "zones/example.net.zone:6:18"),
        (String::new(), "zones/example.net.zone:1:1"),
    ];
    for (text, position) in broken {
        perigee.edit("zones/example.net.zone", &text);
        let line = perigee.wait_for_log("ERROR");
        assert!(line.contains(position), "{line}");
        perigee.wait_for_log("zone refused, the old one serves on");
        assert_eq!(perigee.answers(&Question::a("both.example.net")), ["192.0.2.1", "198.51.100.1"]);
    }
}

#[test]
fn zones_come_and_go_without_a_restart() {
    let mut perigee = Perigee::start(&[("zones/example.net.zone", &zone(1))]);
    let question = Question::a("both.example.org");
    assert_eq!(rcode(&perigee.ask(&question)), ResponseCode::Refused);
    perigee.edit("zones/example.org.zone", &zone(9));
    perigee.wait_for_log("serial=9");
    assert_eq!(perigee.answers(&question), ["192.0.2.9", "198.51.100.9"]);
    perigee.remove("zones/example.org.zone");
    perigee.wait_for_log("zone withdrawn");
    perigee.signal("HUP");
    perigee.wait_for_log("zone published");
    assert_eq!(rcode(&perigee.ask(&question)), ResponseCode::Refused);
    assert!(perigee.stop());
}
