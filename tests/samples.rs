//! The zones in `zones/` do what the `try` lines at their heads promise, and pass `perigee check` without a word.

use std::path::Path;
use std::process::Command;
use std::{fs, io};

use hickory_proto::op::{Message, ResponseCode};

use crate::support::process::{Perigee, Question, answers, rcode};

/// A line `; try: NAME TYPE [from CLIENT] -> ANSWER`.
struct Try {
    question: Question,
    line: String,
    expected: String,
}

/// The zones that hang on nothing but themselves, with the libraries they use.
fn files() -> io::Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for directory in ["zones", "lua/lib", "lua/maps"] {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            files.push((path.display().to_string(), fs::read_to_string(&path)?));
        }
    }
    Ok(files)
}

/// The `try` lines of a zone file.
fn tries(file: &str, text: &str) -> Vec<Try> {
    let apex = Path::new(file).file_stem().and_then(|stem| stem.to_str()).expect("a zone file is called NAME.zone");
    text.lines()
        .filter_map(|line| Some((line, line.strip_prefix("; try: ")?)))
        .map(|(line, rest)| {
            let (asked, expected) = rest.split_once(" -> ").unwrap_or_else(|| panic!("{file}: no answer in `{line}`"));
            let words: Vec<&str> = asked.split(' ').collect();
            let name = |name: &str| if name.ends_with(apex) { name.to_owned() } else { format!("{name}.{apex}") };
            let question = match words[..] {
                [owner, rtype] => Question::of_type(&name(owner), rtype),
                [owner, rtype, "from", client] => Question::of_type(&name(owner), rtype).from(&format!("{client}/32")),
                _ => panic!("{file}: cannot read `{line}`"),
            };
            Try { question, line: format!("{file}: {line}"), expected: expected.to_owned() }
        })
        .collect()
}

/// Whether a reply is what a line promises: a word for one without records, or data with commas between and `or` for choices.
fn keeps(reply: &Message, expected: &str) -> bool {
    let code = rcode(reply);
    let mut data: Vec<String> = reply.answers.iter().map(|record| record.data.to_string()).collect();
    match expected {
        "SERVFAIL" => return code == ResponseCode::ServFail,
        "NXDOMAIN" => return code == ResponseCode::NXDomain,
        "NODATA" => return code == ResponseCode::NoError && data.is_empty(),
        _ => {}
    }
    let expected = match expected.strip_prefix("CNAME ").and_then(|rest| rest.split_once(" then ")) {
        Some((target, rest)) => {
            if data.is_empty() || data.remove(0) != target {
                return false;
            }
            rest
        }
        None => expected,
    };
    data.sort();
    code == ResponseCode::NoError && expected.split(" or ").any(|choice| data.join(", ") == choice)
}

#[test]
fn every_try_line_comes_true() {
    let files = files().expect("the samples can be read");
    let given: Vec<(&str, &str)> = files.iter().map(|(name, text)| (&**name, &**text)).collect();
    let perigee = Perigee::start(&given);
    let zones = files.iter().filter(|(name, _)| name.ends_with(".zone"));
    let tries: Vec<Try> = zones.flat_map(|(name, text)| tries(name, text)).collect();
    assert!(tries.len() > 20, "only {} `try` lines were found", tries.len());
    for Try { question, line, expected } in tries {
        let reply = perigee.ask(&question);
        assert!(keeps(&reply, &expected), "{line}\n{reply}");
    }
}

#[test]
fn samples_pass_the_check() {
    let output = Command::new(env!("CARGO_BIN_EXE_perigee"))
        .args(["check", "zones", "compose/zones/failover.example.zone"])
        .env_clear()
        .output()
        .expect("perigee runs");
    let report = String::from_utf8_lossy(&output.stdout);
    // What fails on purpose is told as a warning, and nothing else is.
    let odd: Vec<&str> = report.lines().filter(|line| line.contains("error: ") || line.contains("warning: ")).collect();
    assert!(output.status.success(), "{report}");
    assert!(odd.iter().all(|line| line.starts_with("zones/tour.example.zone:")), "{report}");
    assert_eq!(odd.len(), 2, "{report}");
}

#[test]
fn samples_probe_nothing_but_this_machine() {
    let directory = tempfile::tempdir().expect("a directory");
    let here = env!("CARGO_MANIFEST_DIR");
    let config = format!(
        "zones.directory = \"{here}/zones\"\n[lua]\ninclude-dir = \"{here}/lua/lib\"\nmap-dir = \"{here}/lua/maps\"\n\
         probe-networks = [\"127.0.0.0/8\", \"::1\"]\n"
    );
    let file = directory.path().join("perigee.toml");
    fs::write(&file, config).expect("written");
    let output =
        Command::new(env!("CARGO_BIN_EXE_perigee")).arg("check").arg(file).env_clear().output().expect("perigee runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn sticky_moves_the_clients_of_the_entry_that_went_and_no_others() {
    let zone = "\
@ 60 IN SOA ns hostmaster 1 3600 900 604800 60
@ 60 IN NS ns
ns 60 IN A 192.0.2.53
three LUA A \"sticky({'192.0.2.11', '192.0.2.12', '192.0.2.13'})\"
two   LUA A \"sticky({'192.0.2.13', '192.0.2.11'})\"
";
    let library = fs::read_to_string("lua/lib/sticky.lua").expect("the library can be read");
    let perigee = Perigee::start(&[("zones/example.net.zone", zone), ("lua/lib/sticky.lua", &library)]);
    let client = perigee.client();
    let mut counts = std::collections::BTreeMap::new();
    for number in 0..900u32 {
        let network = format!("198.{}.{}.7/32", number / 30, number % 30);
        let answer = |name: &str| answers(&client.ask(&Question::a(name).from(&network))).join(" ");
        let (three, two) = (answer("three.example.net"), answer("two.example.net"));
        assert!(three == two || three == "192.0.2.12", "{network}: {three} became {two}");
        *counts.entry(three).or_insert(0) += 1;
    }
    // The clients are always the same ones, so this comes out one way for ever.
    assert!(counts.len() == 3 && counts.values().all(|count| (240..=360).contains(count)), "{counts:?}");
}

#[test]
fn the_files_of_a_library_are_run_in_the_order_of_their_names() {
    let zone = "\
@ 60 IN SOA ns hostmaster 1 3600 900 604800 60
@ 60 IN NS ns
ns 60 IN A 192.0.2.53
www LUA TXT \"order\"
";
    let adds = |word: &str| format!("order = (order or '') .. '{word}'\n");
    let (b, a, other) = (adds("b"), adds("a"), adds("never"));
    let perigee = Perigee::start(&[
        ("zones/example.net.zone", zone),
        ("lua/lib/20-b.lua", &b),
        ("lua/lib/10-a.lua", &a),
        ("lua/lib/30-c.txt", &other),
    ]);
    assert_eq!(perigee.answers(&Question::txt("www.example.net")), ["ab"]);
}
