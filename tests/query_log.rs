//! The query log: one line for each outcome, whatever clients send.

use std::cell::RefCell;
use std::fs;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use perigee::answer::Transport;
use perigee::config::{Format, QueryClass};
use perigee::daemon::queries::Line;
use perigee::dns::{Name, NameRef, Rtype, probe};
use proptest::prelude::*;

use crate::support::authority::Authority;
use crate::support::process::{Perigee, Question, check};

const ZONE: &str = "\
@ 60 IN SOA ns hostmaster 1 3600 900 604800 60
@ 60 IN NS ns
ns 60 IN A 192.0.2.53
www 60 IN A 192.0.2.1
child 60 IN NS ns.child
ns.child 60 IN A 192.0.2.54
alias 60 IN CNAME www
fails 60 IN LUA A \"error('no')\"
";

/// When every line is written.
const AT: Duration = Duration::new(1_795_197_791, 123_456_789);

/// An authority, and the lines it had written.
fn logged(format: Format, config: &str) -> (Authority, Rc<RefCell<Vec<String>>>) {
    let mut authority = Authority::new(config, [("example.org", ZONE)]);
    let (lines, told) = (Rc::new(RefCell::new(Vec::new())), Rc::new(RefCell::new(Line::new(format))));
    let kept = lines.clone();
    authority.tell(Box::new(move |account| {
        let mut line = told.borrow_mut();
        let octets = line.write(account, AT, Duration::from_nanos(12_900)).to_vec();
        kept.borrow_mut().push(String::from_utf8(octets).expect("text"));
    }));
    (authority, lines)
}

fn client() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 5353))
}

/// A question without EDNS, with RD set.
fn question(name: &str, rtype: Rtype) -> Vec<u8> {
    let name: Name = name.parse().expect("a name");
    let mut octets = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    octets.extend_from_slice(name.wire());
    octets.extend_from_slice(&[rtype.0.to_be_bytes(), [0, 1]].concat());
    octets
}

/// The same with an OPT record: payload, version, DO and options.
fn with_edns(mut question: Vec<u8>, version: u8, dnssec_ok: bool, options: &[u8]) -> Vec<u8> {
    question[11] = 1;
    question.extend_from_slice(&[0, 0, 41, 4, 0xd0, 0, version, u8::from(dnssec_ok) << 7, 0]);
    question.extend_from_slice(&u16::try_from(options.len()).unwrap().to_be_bytes());
    question.extend_from_slice(options);
    question
}

#[test]
fn each_outcome_has_its_line() {
    let subnet = [0, 8, 0, 7, 0, 1, 24, 0, 198, 51, 100];
    let notify = |mut octets: Vec<u8>| {
        octets[2] |= 0x20;
        octets
    };
    let rows = [
        (
            question("www.example.org", Rtype::A),
            "outcome=answer client=192.0.2.1#5353 transport=udp \
            local=127.0.0.1#53 id=4660 flags=rd class=IN type=A name=www.example.org. zone=example.org. rcode=NOERROR \
            reply=qr,aa,rd counts=1/0/0 size=49 took_us=12",
        ),
        (
            with_edns(question("WWW.example.org", Rtype::A), 0, true, &subnet),
            "outcome=answer client=192.0.2.1#5353 \
            transport=udp local=127.0.0.1#53 id=4660 flags=rd class=IN type=A name=WWW.example.org. edns=0 \
            payload=1232 do=1 subnet=198.51.100.0/24/0 zone=example.org. rcode=NOERROR reply=qr,aa,rd counts=1/0/1 \
            size=71 took_us=12",
        ),
        (
            question("www.example.org", Rtype::MX),
            "outcome=nodata client=192.0.2.1#5353 transport=udp \
            local=127.0.0.1#53 id=4660 flags=rd class=IN type=MX name=www.example.org. zone=example.org. \
            rcode=NOERROR reply=qr,aa,rd counts=0/1/0 size=83 took_us=12",
        ),
        (
            question("nowhere.example.org", Rtype::A),
            "outcome=nxdomain client=192.0.2.1#5353 transport=udp \
            local=127.0.0.1#53 id=4660 flags=rd class=IN type=A name=nowhere.example.org. zone=example.org. \
            rcode=NXDOMAIN reply=qr,aa,rd counts=0/1/0 size=87 took_us=12",
        ),
        (
            question("a.child.example.org", Rtype::A),
            "outcome=referral client=192.0.2.1#5353 transport=udp \
            local=127.0.0.1#53 id=4660 flags=rd class=IN type=A name=a.child.example.org. zone=example.org. \
            rcode=NOERROR reply=qr,rd counts=0/1/1 size=70 took_us=12",
        ),
        (
            question("www.example.com", Rtype::A),
            "outcome=refused client=192.0.2.1#5353 transport=udp \
            local=127.0.0.1#53 id=4660 flags=rd class=IN type=A name=www.example.com. rcode=REFUSED reply=qr,rd \
            counts=0/0/0 size=33 took_us=12 why=\"no zone for this name\"",
        ),
        (
            question("fails.example.org", Rtype::A),
            "outcome=servfail client=192.0.2.1#5353 transport=udp \
            local=127.0.0.1#53 id=4660 flags=rd class=IN type=A name=fails.example.org. zone=example.org. \
            rcode=SERVFAIL reply=qr,aa,rd counts=0/0/0 size=35 took_us=12 why=\"the record's script failed\"",
        ),
        (
            [question("www.example.org", Rtype::A), vec![0]].concat(),
            "outcome=formerr client=192.0.2.1#5353 \
            transport=udp local=127.0.0.1#53 id=4660 flags=rd class=IN type=A name=www.example.org. \
            zone=example.org. rcode=FORMERR reply=qr,rd counts=0/0/0 size=33 took_us=12",
        ),
        (
            notify(question("www.example.org", Rtype::A)),
            "outcome=notimp client=192.0.2.1#5353 transport=udp \
            local=127.0.0.1#53 id=4660 flags=rd opcode=4 class=IN type=A name=www.example.org. zone=example.org. \
            rcode=NOTIMP reply=qr,rd counts=0/0/0 size=33 took_us=12 why=\"queries only\"",
        ),
        (
            with_edns(question("www.example.org", Rtype::A), 9, false, &[]),
            "outcome=other client=192.0.2.1#5353 \
            transport=udp local=127.0.0.1#53 id=4660 flags=rd class=IN type=A name=www.example.org. edns=9 \
            payload=1232 zone=example.org. rcode=BADVERS reply=qr,rd counts=0/0/1 size=44 took_us=12",
        ),
        (
            vec![0x12, 0x34, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0],
            "outcome=dropped client=192.0.2.1#5353 \
            transport=udp local=127.0.0.1#53 id=4660 flags=qr,rd,ra took_us=12 why=\"no query\"",
        ),
        (vec![7], "outcome=dropped client=192.0.2.1#5353 transport=udp local=127.0.0.1#53 took_us=12 why=\"no query\""),
    ];
    let (mut authority, lines) = logged(Format::Text, "");
    for (octets, _) in &rows {
        authority.respond(client(), Transport::Udp, octets);
    }
    let expected = rows.map(|(_, line)| {
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        format!("2026-11-20T18:03:11.123456Z  INFO query {line}\n")
    });
    assert_eq!(lines.borrow().join(""), expected.join(""));
}

#[test]
fn a_cookie_is_told_by_what_it_is_worth() {
    let secret = "edns.cookie-secrets = [\"000102030405060708090a0b0c0d0e0f\"]";
    let (mut authority, lines) = logged(Format::Text, secret);
    let cookie = |octets: &[u8]| [&[0, 10, 0, octets.len() as u8], octets].concat();
    for octets in [vec![7; 8], [vec![7; 8], vec![1; 16]].concat()] {
        let question = with_edns(question("www.example.org", Rtype::A), 0, false, &cookie(&octets));
        authority.respond(client(), Transport::Udp, &question);
    }
    for (line, worth) in lines.borrow().iter().zip(["new", "bad"]) {
        assert!(line.contains(&format!(" payload=1232 cookie={worth} zone=")), "{line}");
    }
    assert_eq!(lines.borrow().len(), 2);
}

#[test]
fn what_is_sent_to_tcp_is_told_as_truncated() {
    let many: String = (0..60).map(|last| format!("many 60 IN A 198.51.100.{last}\n")).collect();
    let mut authority = Authority::new("", [("example.org", &*format!("{ZONE}{many}"))]);
    let classes = Rc::new(RefCell::new(Vec::new()));
    let kept = classes.clone();
    authority.tell(Box::new(move |account| kept.borrow_mut().push((account.client.transport, account.class()))));
    for transport in [Transport::Udp, Transport::Tcp] {
        authority.respond(client(), transport, &question("many.example.org", Rtype::A));
    }
    let expected = [(Transport::Udp, QueryClass::Truncated), (Transport::Tcp, QueryClass::Answer)];
    assert_eq!(*classes.borrow(), expected);
}

#[test]
fn an_ipv6_client_has_its_scope() {
    let (mut authority, lines) = logged(Format::Text, "");
    for client in ["[2001:db8::1]:5353", "[fe80::1%3]:5353"] {
        authority.respond(client.parse().unwrap(), Transport::Tcp, &question("www.example.org", Rtype::A));
    }
    for (line, client) in lines.borrow().iter().zip(["2001:db8::1#5353", "fe80::1%3#5353"]) {
        assert!(line.contains(&format!(" client={client} transport=tcp ")), "{line}");
    }
}

/// The fields of a line of text.
fn fields(line: &str) -> Vec<(&str, &str)> {
    let (_, rest) = line.split_once(" query ").expect("it is of the query log");
    let (rest, why) = match rest.split_once(" why=\"") {
        Some((rest, why)) => (rest, Some(("why", why.trim_end_matches("\"\n")))),
        None => (rest.trim_end_matches('\n'), None),
    };
    let fields = rest.split(' ').map(|field| field.split_once('=').expect("a key and a value"));
    fields.chain(why).collect()
}

/// Labels of any octets that make a name below `example.org`.
fn labels() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let octet = prop_oneof![any::<u8>(), prop::sample::select(&b" \"\\\n\r=.;\0\x1b\x7f{}'"[..])];
    prop::collection::vec(prop::collection::vec(octet, 1..30), 0..4)
}

proptest! {
    #[test]
    fn a_line_is_one_line_and_reads_back(labels in labels(), rtype in any::<u16>()) {
        let wire: Vec<u8> = labels.iter().flat_map(|label| [&[label.len() as u8], &label[..]].concat()).collect();
        let name = [&wire[..], b"\x07example\x03org\x00"].concat();
        let (name, _) = NameRef::split_from(&name).expect("a name");
        let octets = probe::question(9, name, Rtype(rtype));
        let (mut authority, lines) = logged(Format::Text, "");
        authority.respond(client(), Transport::Tcp, &octets);
        let line = lines.borrow()[0].clone();
        prop_assert!(line.ends_with('\n') && line.bytes().filter(|octet| !(b' '..=b'~').contains(octet)).count() == 1);
        let fields = fields(&line);
        let value = |key: &str| fields.iter().find(|(known, _)| *known == key).map(|(_, value)| *value);
        let same = |text: &str| Name::parse_absolute(text.as_bytes()).expect("a name").wire() == name.wire();
        prop_assert!(value("name").is_some_and(same), "{line}");
        prop_assert_eq!(value("type").and_then(|text| Rtype::parse(text.as_bytes())), Some(Rtype(rtype)));

        let (mut authority, lines) = logged(Format::Json, "");
        authority.respond(client(), Transport::Tcp, &octets);
        let line = lines.borrow()[0].clone();
        prop_assert!(line.ends_with('\n') && line.lines().count() == 1);
        let object: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        prop_assert!(object["name"].as_str().is_some_and(same), "{line}");
    }

    #[test]
    fn any_octets_make_one_line(octets in prop::collection::vec(any::<u8>(), 0..80)) {
        for format in [Format::Text, Format::Json] {
            let (mut authority, lines) = logged(format, "");
            authority.respond(client(), Transport::Udp, &octets);
            let line = lines.borrow()[0].clone();
            prop_assert!(line.ends_with('\n') && line.is_ascii());
            prop_assert_eq!(line.bytes().filter(u8::is_ascii_control).count(), 1);
        }
    }
}

#[test]
fn the_lines_of_the_manual_are_real() {
    let page = include_str!("../docs/logging.md");
    for format in [Format::Text, Format::Json] {
        let (mut authority, lines) = logged(format, "");
        for name in ["www.example.org", "www.example.com"] {
            authority.respond(client(), Transport::Udp, &with_edns(question(name, Rtype::A), 0, false, &[]));
        }
        let shown = if format == Format::Text { 2 } else { 1 };
        for line in lines.borrow().iter().take(shown) {
            let line = line.replace("127.0.0.1#53", "192.0.2.53#53");
            assert!(page.contains(&line), "the page lacks\n{line}");
        }
    }
    let fields: Vec<_> = ["outcome", "why", "took_us", "subnet"].map(|field| format!("`{field}`")).into();
    assert!(fields.iter().all(|field| page.contains(field)));
    let words = QueryClass::WORDS.map(|(_, word)| format!("`{word}`"));
    assert!(words.iter().all(|word| page.contains(word)), "the page lacks an outcome");
}

/// A configuration whose log has all queries but those that probe whether it serves.
fn config(queries: &str, more: &str) -> String {
    format!("[server]\nworkers = 1\n[log]\nqueries = {queries}\n{more}\n")
}

fn start(config: &str) -> Perigee {
    Perigee::start(&[("perigee.toml", config), ("zones/example.org.zone", ZONE)])
}

#[test]
fn nothing_is_logged_of_queries_unless_asked_for() {
    let mut perigee = start("");
    perigee.ask(&Question::a("www.example.org"));
    perigee.signal("USR1");
    assert!(perigee.logged_before("counted so far").iter().all(|line| !line.contains("outcome=")));
}

#[test]
fn lines_are_written_while_the_server_goes_on() {
    let mut perigee = start(&config("\"all\"", ""));
    perigee.ask(&Question::a("www.example.org"));
    let line = perigee.wait_for_log("query outcome=answer");
    assert!(line.contains(" name=www.example.org. "), "{line}");
    Question::a("nowhere.example.org").ask_by_tcp(perigee.address);
    let line = perigee.wait_for_log("query outcome=nxdomain");
    assert!(line.contains(" transport=tcp "), "{line}");
}

#[test]
fn outcomes_are_chosen_and_sampled() {
    let perigee = start(&config("[\"nxdomain\"]", "query-sample = 3\nquery-file = \"queries\"\nformat = \"json\""));
    for number in 0..8 {
        perigee.ask(&Question::a("www.example.org"));
        perigee.ask(&Question::a(&format!("n{number}.example.org")));
    }
    let directory = perigee.stop_for_another();
    let lines = fs::read_to_string(directory.path().join("queries")).expect("it is there");
    let names = lines.lines().map(|line| {
        let object: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!((&object["outcome"], &object["message"]), (&"nxdomain".into(), &"query".into()));
        object["name"].as_str().expect("a name").to_owned()
    });
    assert_eq!(names.collect::<Vec<_>>(), ["n0.example.org.", "n3.example.org.", "n6.example.org."]);
}

#[test]
fn a_renamed_file_is_followed_by_another() {
    let mut perigee = start(&config("\"all\"", "query-file = \"queries\""));
    perigee.ask(&Question::a("one.example.org"));
    let path = perigee.directory().join("queries");
    fs::rename(&path, path.with_extension("old")).expect("renamed");
    perigee.ask(&Question::a("two.example.org"));
    perigee.signal("HUP");
    perigee.wait_for_log("query log opened again");
    perigee.ask(&Question::a("three.example.org"));
    // One that cannot be opened leaves the one there is.
    fs::rename(&path, path.with_extension("new")).expect("renamed");
    fs::create_dir(&path).expect("created");
    perigee.signal("HUP");
    perigee.wait_for_log("cannot open the query log again");
    perigee.ask(&Question::a("four.example.org"));
    let directory = perigee.stop_for_another();
    let names = |file: &str| -> Vec<String> {
        let lines = fs::read_to_string(directory.path().join(file)).expect("it is there");
        lines.lines().map(|line| line.split("name=").nth(1).unwrap().split('.').next().unwrap().to_owned()).collect()
    };
    assert_eq!([names("queries.old"), names("queries.new")].concat(), ["one", "two", "three", "four"]);
    assert!(names("queries.new").contains(&"four".to_owned()));
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_at_the_start() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config("\"all\"", "query-file = \"absent/queries\"");
    fs::write(directory.path().join("perigee.toml"), config).expect("written");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_perigee"))
        .arg("serve")
        .current_dir(directory.path())
        .env_clear()
        .env("PERIGEE_SERVER_LISTEN", "127.0.0.1:0")
        .output()
        .expect("perigee runs");
    let told = String::from_utf8(output.stderr).expect("text");
    assert!(!output.status.success());
    assert!(told.contains("cannot open the query log `") && told.contains("absent/queries`: No such file"), "{told}");
    // Whether it can be written is for the start to tell: to check is to change nothing.
    assert!(!check(directory.path()).contains("query log"));
}
