//! What other programs make of our responses: dig, kdig, drill and dnspython ask for every record of a zone that has
//! all types. None may complain, and what they read must be what the zone says.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use perigee::dns::Name;
use perigee::zone::parser::{self, Input, Options};
use perigee::zone::{Data, Record};

use crate::support::process::Perigee;

const ZONE: &str = include_str!("data/types.test.zone");
const APEX: &str = "types.test.";

/// What tools write when something is wrong with a response, in lower case.
const COMPLAINTS: [&str; 12] = [
    "warning",
    "bad packet",
    "malformed",
    "extra",
    "mismatch",
    " error",
    "unexpected",
    "invalid",
    "timed out",
    "not implemented",
    "trailing",
    "no servers",
];

/// What tools write, some as a warning, of the one RRset that is too large for a datagram.
const TRUNCATED: &str = "truncated";

/// Where dig asks from.
///
/// Its sockets share ports, as the server's do. From the server's own address it would once in some thousand questions
/// be given the server's port, and then hear itself.
const DIG_SOURCE: &str = "127.0.0.2";

/// Types that a tool reads without complaint, and writes in a way that no RFC and no other tool has.
const OWN_WAYS: [(&str, &[&str]); 2] = [
    // Texts for what we only have the form of RFC 3597 for.
    ("dig", &["ATMA", "DOA", "SINK", "WKS"]),
    // It takes the name in a NSAP-PTR for a character-string.
    ("drill", &["ATMA", "NSAP-PTR", "SINK", "WKS"]),
];

/// Reads records in presentation form.
fn read(file: &str, origin: &str, text: &str) -> Vec<Record> {
    let origin: Name = origin.parse().expect("a well-formed name");
    let mut no_include = |_: &str, _: &_| Err("nothing to include".to_owned());
    let parsed =
        parser::parse(&Input { file: file.into(), text: text.as_bytes() }, &Options::new(origin), &mut no_include);
    let error = parsed.diagnostics.iter().find(|diagnostic| diagnostic.is_error());
    if let Some(error) = error {
        let line = error.position.as_ref().and_then(|position| text.lines().nth(position.line as usize - 1));
        panic!("{error}\n{}", line.unwrap_or_default());
    }
    parsed.records
}

/// Records as owner, type, TTL and RDATA in wire form; scripts are left out.
fn facts(records: &[Record]) -> BTreeSet<String> {
    let fact = |record: &Record| match &record.data {
        Data::Wire(wire) => {
            let wire = data_encoding::HEXLOWER.encode(wire);
            Some(format!("{} {} {} {wire}", record.owner, record.ttl, record.rtype))
        }
        Data::Lua(_) => None,
    };
    records.iter().filter_map(fact).collect()
}

/// A server of the zone, what there is to ask it, and what the answers must come to.
struct Interop {
    perigee: Perigee,
    questions: Vec<(String, String)>,
    expected: BTreeSet<String>,
}

impl Interop {
    fn start() -> Self {
        let records = read("types.test.zone", APEX, ZONE);
        // By number: no tool knows every mnemonic.
        let question = |record: &Record| {
            let rtype = match &record.data {
                Data::Wire(_) => record.rtype,
                Data::Lua(lua) => lua.covered,
            };
            (record.owner.to_string(), format!("TYPE{}", rtype.0))
        };
        let questions: BTreeSet<_> = records.iter().map(question).collect();
        let made = read("made", APEX, "lua 300 A 192.0.2.1");
        let expected = facts(&records).into_iter().chain(facts(&made)).collect();
        let perigee = Perigee::start(&[("zones/types.test.zone", ZONE)]);
        Self { perigee, questions: questions.into_iter().collect(), expected }
    }

    fn address(&self) -> SocketAddr {
        self.perigee.address
    }

    /// Checks that a tool's output has no complaint and exactly the zone's records.
    fn check(&self, tool: &str, output: &str) {
        check_for_complaints(tool, output);
        let own_ways = OWN_WAYS.iter().find(|(known, _)| tool.starts_with(known)).map_or(&[][..], |(_, types)| types);
        let is_own_way = |line: &str| own_ways.iter().any(|rtype| line.contains(&format!("\t{rtype}\t")));
        let lines: String = output.lines().filter(|line| !is_own_way(line)).map(|line| format!("{line}\n")).collect();
        let read = facts(&read(tool, ".", &lines));
        let is_missing = |fact: &&String| !own_ways.iter().any(|rtype| fact.contains(&format!(" {rtype} ")));
        let missing: Vec<_> = self.expected.difference(&read).filter(is_missing).collect();
        let made_up: Vec<_> = read.difference(&self.expected).collect();
        assert!(missing.is_empty() && made_up.is_empty(), "{tool}\nmissing: {missing:#?}\nmade up: {made_up:#?}");
    }
}

fn check_for_complaints(tool: &str, output: &str) {
    for line in output.lines().filter(|line| line.contains(";;") && !line.contains(TRUNCATED)) {
        let complaint = COMPLAINTS.iter().find(|complaint| line.to_ascii_lowercase().contains(*complaint));
        assert!(complaint.is_none(), "{tool} complains: {line}\n{output}");
    }
}

/// Runs a tool to its end with `input`; its output. A tool that is not there, or fails, fails the test.
fn run(tool: &str, package: &str, arguments: &[String], input: &str) -> String {
    let spawned =
        Command::new(tool).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            panic!("there is no `{tool}` here; install the package `{package}`")
        }
        Err(error) => panic!("`{tool}` does not run: {error}"),
    };
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("the tool reads its input");
    let output = child.wait_with_output().expect("the child is ours");
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{tool} fails:\n{complained}\n{said}");
    let complaint = complained.lines().find(|line| !line.trim().is_empty() && !line.contains(TRUNCATED));
    assert!(complaint.is_none(), "{tool} complains:\n{complained}");
    said.into_owned()
}

fn owned(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(ToString::to_string).collect()
}

#[test]
fn dig_reads_every_record() {
    let interop = Interop::start();
    let questions: String = interop.questions.iter().map(|(name, rtype)| format!("{name} {rtype}\n")).collect();
    for transport in ["+notcp", "+tcp"] {
        let (address, port) = (format!("@{}", interop.address().ip()), interop.address().port().to_string());
        let arguments = ["-r", "-b", DIG_SOURCE, &address, "-p", &port, "+norecurse", transport, "-f", "/dev/stdin"];
        let output = run("dig", "bind9-dnsutils", &owned(&arguments), &questions);
        assert_eq!(output.matches("status: NOERROR").count(), interop.questions.len(), "{output}");
        interop.check(&format!("dig {transport}"), &output);
    }
}

#[test]
fn kdig_reads_every_record() {
    let interop = Interop::start();
    // With `+notcp` it would not ask again by TCP for what is truncated.
    for transport in ["+noignore", "+tcp"] {
        let (address, port) = (format!("@{}", interop.address().ip()), interop.address().port().to_string());
        let mut arguments = owned(&[&address, "-p", &port, "+norecurse", "+edns", transport]);
        for (name, rtype) in &interop.questions {
            arguments.extend(owned(&["-q", name, "-t", rtype]));
        }
        let output = run("kdig", "knot-dnsutils", &arguments, "");
        assert_eq!(output.matches("status: NOERROR").count(), interop.questions.len(), "{output}");
        interop.check(&format!("kdig {transport}"), &output);
    }
}

#[test]
fn drill_reads_every_record() {
    let interop = Interop::start();
    // `-a` asks again by TCP for what is truncated.
    for transport in ["-a", "-t"] {
        let (address, port) = (format!("@{}", interop.address().ip()), interop.address().port().to_string());
        let ask = |(name, rtype): &(String, String)| {
            let arguments = [&address, "-p", &port, "-o", "rd", transport, name, rtype];
            run("drill", "ldnsutils", &owned(&arguments), "")
        };
        let output: String = interop.questions.iter().map(ask).collect();
        assert_eq!(output.matches("rcode: NOERROR").count(), interop.questions.len(), "{output}");
        interop.check(&format!("drill {transport}"), &output);
    }
}

#[test]
fn dnspython_reads_every_record() {
    let interop = Interop::start();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop.py").display().to_string();
    let known = Command::new("python3").args(["-c", "import dns.message"]).stderr(Stdio::null()).status();
    let known = known.is_ok_and(|status| status.success());
    assert!(known, "there is no dnspython here; install the package `python3-dnspython`, or `pip install dnspython`");
    let questions: String = interop.questions.iter().map(|(name, rtype)| format!("{name} {rtype}\n")).collect();
    let address = interop.address();
    let arguments = [script, address.ip().to_string(), address.port().to_string()];
    let output = run("python3", "python3", &arguments, &questions);
    assert!(output.ends_with("; 1 truncated\n"), "the one large RRset goes by TCP: {output}");
    interop.check("dnspython", &output);
}

#[test]
fn dig_takes_referrals_aliases_denials_and_failures() {
    let perigee = Perigee::start(&[("zones/example.zone", include_str!("data/example.zone"))]);
    let names =
        ["", "x.", "x.w.", "sub.", "x.sub.", "a.", "c.", "x.d.", "s.", "e.", "l.", "h.", "t.", "g.", "x.g.", "ns."];
    let types = ["A", "AAAA", "TXT", "MX", "NS", "CNAME", "DS", "SOA", "HTTPS", "ANY", "TYPE65402"];
    let ask = |name: &&str| types.map(|rtype| format!("{name}example. {rtype}\n")).concat();
    let questions: String = names.iter().map(ask).collect();
    let (address, port) = (format!("@{}", perigee.address.ip()), perigee.address.port().to_string());
    let mut arguments = owned(&["-r", "-b", DIG_SOURCE, &address, "-p", &port, "+norecurse", "+dnssec"]);
    arguments.extend(owned(&["+subnet=192.0.2.0/24", "-f", "/dev/stdin"]));
    let output = run("dig", "bind9-dnsutils", &arguments, &questions);
    check_for_complaints("dig", &output);
    assert_eq!(output.matches("; EDNS: version: 0, flags: do;").count(), names.len() * types.len(), "{output}");
    assert_eq!(output.matches("; CLIENT-SUBNET: 192.0.2.0/24/").count(), names.len() * types.len(), "{output}");
}
