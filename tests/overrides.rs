//! What operators say of targets, by a file and by the command, under a running server.

use std::fs;
use std::net::Ipv4Addr;

use crate::support::backend::{Backend, Reply};
use crate::support::process::{Perigee, Question, check, say};

const CONFIG: &str = "\
[zones]
reload-interval = \"50ms\"
[health]
overrides-file = \"overrides\"
";

/// Two records over the same two web servers, probed ten times a second.
fn zone(port: u16) -> String {
    let options = "{interval=0.1, timeout=5, selector='all', backupSelector='all'}";
    let call = format!("ifurlup('http://www.example.net:{port}/', {{'127.0.0.1', '127.0.0.2'}}, {options})");
    format!(
        "\
@ 1 IN SOA ns hostmaster 1 3600 900 604800 1
@ 1 IN NS ns
ns 1 IN A 192.0.2.53
www 1 LUA A \"{call}\"
api 1 LUA A \"{call}\"
"
    )
}

/// Two web servers on one port of two addresses, and a perigee that watches over them.
fn start(overrides: &str) -> (Backend, Backend, Perigee) {
    let first = Backend::start();
    let second = Backend::start_on((Ipv4Addr::new(127, 0, 0, 2), first.address.port()).into());
    let zone = zone(first.address.port());
    let files = [("zones/example.net.zone", &*zone), ("perigee.toml", CONFIG), ("overrides", overrides)];
    let perigee = Perigee::start(&files);
    (first, second, perigee)
}

#[test]
fn what_is_said_holds_from_the_first_answer_on_and_follows_the_file() {
    let (_first, _second, mut perigee) = start("target 127.0.0.1 => down by kim because disk\n");
    let (www, api) = (Question::a("www.example.net"), Question::a("api.example.net"));
    assert_eq!(perigee.answers(&www), ["127.0.0.2"]);
    let begins = "override begins subject=target 127.0.0.1 action=down author=\"kim\" reason=\"disk\"";
    assert!(perigee.at_start.iter().any(|line| line.contains(begins)), "{:#?}", perigee.at_start);

    perigee.edit("overrides", "record www.example.net/A => drain\ntarget 127.0.0.1 => down by lee\n");
    perigee.wait_for_log(
        "override ends subject=target 127.0.0.1 action=down author=\"kim\" reason=\"disk\" cause=\"taken back\"",
    );
    perigee.wait_for_log("override begins subject=record www.example.net/A action=drain");
    perigee.wait_for_answers(&www, &["127.0.0.2"]);

    perigee.edit("overrides", "target 127.0.0.1 => dwn\n");
    let refused = perigee.wait_for_log("ERROR");
    assert!(refused.contains("`dwn` is nothing that can be said position=overrides:1:21"), "{refused}");
    perigee.wait_for_log("overrides refused, the old ones hold on");
    assert_eq!(perigee.answers(&www), ["127.0.0.2"]);

    perigee.edit("overrides", "record www.example.net/A => down\ntarget 127.0.0.2 => up\n");
    perigee.wait_for_answers(&www, &["127.0.0.2"]);
    perigee.wait_for_answers(&api, &["127.0.0.1", "127.0.0.2"]);

    perigee.remove("overrides");
    perigee.wait_for_log("overrides withdrawn: their file is gone");
    perigee.wait_for_answers(&www, &["127.0.0.1", "127.0.0.2"]);
}

#[test]
fn the_command_says_things_and_takes_them_back() {
    let (_first, second, mut perigee) = start("# on duty: kim\n");
    let www = Question::a("www.example.net");
    assert_eq!(perigee.answers(&www), ["127.0.0.1", "127.0.0.2"]);
    let directory = perigee.directory().to_owned();
    let text = || fs::read_to_string(directory.join("overrides")).expect("it is there");

    let added = say(&directory, &["add", "target", "127.0.0.1", "down", "because", "a", "disk"]).expect("added");
    assert_eq!(added, "target 127.0.0.1 => down by kim because a disk\n");
    perigee.wait_for_log("override begins");
    perigee.wait_for_answers(&www, &["127.0.0.2"]);
    assert_eq!(text(), format!("# on duty: kim\n{added}"));
    assert_eq!(say(&directory, &["list"]), Ok(added));

    // The target fails, and an operator says that it is up for a while; in the end its probes have the word.
    second.reply(Reply::status(503));
    while !perigee.wait_for_log("target flips").contains("to=down") {}
    perigee.wait_for_answers(&www, &["127.0.0.1", "127.0.0.2"]);
    say(&directory, &["add", "target", "127.0.0.2", "up", "for", "5s", "by", "lee"]).expect("added");
    perigee.wait_for_answers(&www, &["127.0.0.2"]);
    let ends = perigee.wait_for_log("override ends");
    assert!(ends.contains("subject=target 127.0.0.2 action=up until=") && ends.contains("cause=\"expired\""), "{ends}");
    perigee.wait_for_answers(&www, &["127.0.0.1", "127.0.0.2"]);
    let list = say(&directory, &["list"]).expect("listed");
    assert!(list.contains("# expired: target 127.0.0.2 => up until "), "{list}");
    assert_eq!(say(&directory, &["remove", "--expired"]), Ok("1 taken out\n".into()));

    assert_eq!(say(&directory, &["remove", "target", "127.0.0.1"]), Ok("1 taken out\n".into()));
    perigee.wait_for_answers(&www, &["127.0.0.1"]);
    assert_eq!(text(), "# on duty: kim\n");
}

#[test]
fn the_command_refuses_what_makes_no_sense_and_leaves_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    fs::write(path.join("perigee.toml"), CONFIG).expect("written");
    let rows: [(&[&str], &str); 7] = [
        (&["add", "target", "192.0.2.300", "down"], "error: `192.0.2.300` is no address\n"),
        (&["add", "host", "a", "down"], "error: `host` is nothing of which something can be said\n"),
        (&["add", "zone", "a", "off"], "error: `off` is nothing that can be said\n"),
        (&["add", "zone", "a", "down", "for", "ever"], "error: `ever` is no span of time\n"),
        (&["add", "zone", "a", "down", "because", "a\nb"], "error: the line has a control character\n"),
        (&["remove", "zone", "a"], "error: nothing is said of `zone a`\n"),
        (&["remove", "zone"], "error: the following required arguments were not provided"),
    ];
    for (words, expected) in rows {
        let complaint = say(path, words).expect_err("it makes no sense");
        assert!(complaint.starts_with(expected), "{words:?}: {complaint}");
    }
    let names: Vec<_> = fs::read_dir(path).expect("listed").map(|entry| entry.expect("listed").file_name()).collect();
    assert_eq!(names, ["perigee.toml"]);

    fs::write(path.join("overrides"), "zone a => off\n").expect("written");
    for words in [&["list"][..], &["add", "zone", "a", "up"], &["remove", "zone", "a"]] {
        let complaint = say(path, words).expect_err("the file is at fault");
        assert!(complaint.starts_with("overrides:1:11: error: `off` is nothing that can be said\n"), "{complaint}");
    }
    assert_eq!(fs::read_to_string(path.join("overrides")).expect("read"), "zone a => off\n");
    assert!(check(path).contains("overrides:1:11: error: `off` is nothing that can be said\n"), "{}", check(path));

    fs::write(path.join("perigee.toml"), "").expect("written");
    assert!(say(path, &["list"]).expect_err("there is none").starts_with("error: there is no file for overrides\n"));
}

#[test]
fn a_start_waits_for_no_target_that_an_operator_has_decided_on() {
    let first = Backend::start();
    let second = Backend::start_on((Ipv4Addr::new(127, 0, 0, 2), first.address.port()).into());
    first.reply(Reply::Hang);
    second.reply(Reply::Hang);
    let zone = zone(first.address.port()).replace("timeout=5", "timeout=200");
    let files = [
        ("zones/example.net.zone", &*zone),
        ("perigee.toml", &format!("{CONFIG}warmup = \"5m\"\n")),
        ("overrides", "target 127.0.0.1 => up\ntarget 127.0.0.2 => pause\n"),
    ];
    let perigee = Perigee::start(&files);
    assert_eq!(perigee.answers(&Question::a("www.example.net")), ["127.0.0.1"]);
}
