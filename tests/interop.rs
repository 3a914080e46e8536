//! What other programs make of our responses: dig, kdig, drill, dnspython and Unbound ask for every record of a zone that
//! has all types. None may complain, and what they read must be what the zone says. And whose cookies are known to whom.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use perigee::dns::Name;
use perigee::zone::parser::{self, Input, Options};
use perigee::zone::{Data, Record};

use crate::support::foreign::Foreign;
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
        let config = "edns.nsid = \"fra-1\"\n";
        let perigee = Perigee::start(&[("zones/types.test.zone", ZONE), ("perigee.toml", config)]);
        Self { perigee, questions: questions.into_iter().collect(), expected }
    }

    fn address(&self) -> SocketAddr {
        self.perigee.address
    }

    /// Checks that a tool's output has no complaint and exactly the zone's records.
    fn check(&self, tool: &str, output: &str) {
        compare(tool, output, &self.expected, |fact| fact.to_owned());
    }
}

/// Checks that a tool's output has no complaint and exactly the `expected` facts, each seen through `lens`.
fn compare(tool: &str, output: &str, expected: &BTreeSet<String>, lens: impl Fn(&str) -> String) {
    let see = |facts: &BTreeSet<String>| facts.iter().map(|fact| lens(fact)).collect::<BTreeSet<_>>();
    check_for_complaints(tool, output);
    let own_ways = OWN_WAYS.iter().find(|(known, _)| tool.starts_with(known)).map_or(&[][..], |(_, types)| types);
    let is_own_way = |line: &str| own_ways.iter().any(|rtype| line.contains(&format!("\t{rtype}\t")));
    let lines: String = output.lines().filter(|line| !is_own_way(line)).map(|line| format!("{line}\n")).collect();
    let (expected, read) = (see(expected), see(&facts(&read(tool, ".", &lines))));
    let is_missing = |fact: &&String| !own_ways.iter().any(|rtype| fact.contains(&format!(" {rtype} ")));
    let missing: Vec<_> = expected.difference(&read).filter(is_missing).collect();
    let made_up: Vec<_> = read.difference(&expected).collect();
    assert!(missing.is_empty() && made_up.is_empty(), "{tool}\nmissing: {missing:#?}\nmade up: {made_up:#?}");
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

/// Asks a server once with dig, from [`DIG_SOURCE`]; what it writes, but for complaints.
fn dig(server: SocketAddr, words: &str) -> String {
    let (address, port) = (format!("@{}", server.ip()), server.port().to_string());
    let mut arguments = owned(&["-r", "-b", DIG_SOURCE, &address, "-p", &port, "+norecurse"]);
    arguments.extend(words.split_whitespace().map(str::to_owned));
    let output = run("dig", "bind9-dnsutils", &arguments, "");
    check_for_complaints("dig", &output);
    output
}

#[test]
fn dig_takes_every_option() {
    let interop = Interop::start();
    let rows: [(&str, &[&str]); 12] = [
        ("types.test SOA +cookie", &["status: NOERROR", " (good)"]),
        ("types.test SOA +nocookie +nsid", &["; NSID: 66 72 61 2d 31 (\"fra-1\")"]),
        ("types.test SOA +subnet=192.0.2.0/24", &["; CLIENT-SUBNET: 192.0.2.0/24/0"]),
        ("types.test SOA +subnet=2001:db8::/56", &["; CLIENT-SUBNET: 2001:db8::/56/0"]),
        ("types.test SOA +subnet=0", &["; CLIENT-SUBNET: 0.0.0.0/0/0"]),
        ("types.test SOA +tcp +keepalive", &["; TCP KEEPALIVE: 10.0 secs"]),
        ("types.test SOA +bufsize=512 +cookie +nsid +subnet=192.0.2.0/24", &["udp: 1232", " (good)", "NSID", "SUBNET"]),
        ("types.test SOA +ednsopt=65001:c0ffee +padding=128", &["status: NOERROR"]),
        ("types.test SOA +ednsflags=0x7f7f", &["status: NOERROR", "; EDNS: version: 0, flags:; udp: 1232"]),
        ("types.test SOA +edns=1 +noednsnegotiation", &["status: BADVERS", "; EDNS: version: 0,"]),
        ("www.example.net A", &["status: REFUSED", "; EDE: 20 (Not Authoritative): (no zone for this name)"]),
        ("+header-only +cookie", &["status: NOERROR", " (good)"]),
    ];
    for (words, expected) in rows {
        let output = dig(interop.address(), words);
        let missing: Vec<_> = expected.iter().filter(|expected| !output.contains(**expected)).collect();
        assert!(missing.is_empty(), "dig {words} lacks {missing:?}\n{output}");
    }
    assert!(!dig(interop.address(), "types.test SOA +noedns").contains("EDNS"));
}

#[test]
fn kdig_drill_and_delv_take_options() {
    let interop = Interop::start();
    let (address, port) = (format!("@{}", interop.address().ip()), interop.address().port().to_string());
    let kdig = ["+norecurse", "+cookie", "+nsid", "+subnet=192.0.2.0/24", "+bufsize=512", "types.test", "SOA"];
    let rows: [(&str, &str, &[&str], &[&str]); 4] = [
        ("kdig", "knot-dnsutils", &kdig, &["status: NOERROR", "COOKIE:", "NSID: 6672612D31", "SUBNET: 192.0.2.0/24/0"]),
        ("kdig", "knot-dnsutils", &["+norecurse", "+edns=1", "types.test", "SOA"], &["ext-rcode: BADVERS"]),
        ("drill", "ldnsutils", &["-o", "rd", "-b", "512", "types.test", "SOA"], &["rcode: NOERROR", "udp: 1232"]),
        ("delv", "bind9-dnsutils", &["-i", "types.test", "SOA"], &["; authoritative", "\tSOA\tns.types.test."]),
    ];
    for (tool, package, words, expected) in rows {
        let arguments = [owned(&[&address, "-p", &port]), owned(words)].concat();
        let output = run(tool, package, &arguments, "");
        check_for_complaints(tool, &output);
        let missing: Vec<_> = expected.iter().filter(|expected| !output.contains(**expected)).collect();
        assert!(missing.is_empty(), "{tool} {words:?} lacks {missing:?}\n{output}");
    }
}

#[test]
fn unbound_finds_every_record() {
    let interop = Interop::start();
    let unbound = Foreign::unbound(APEX, interop.address());
    // Below a cut it would ask a server that is not there.
    let is_ours = |text: &str| !text.starts_with("sub.");
    let questions: Vec<_> = interop.questions.iter().filter(|(name, _)| is_ours(name)).collect();
    let text: String = questions.iter().map(|(name, rtype)| format!("{name} {rtype}\n")).collect();
    let (address, port) = (format!("@{}", unbound.address.ip()), unbound.address.port().to_string());
    let arguments = ["-r", "-b", DIG_SOURCE, &address, "-p", &port, "-f", "/dev/stdin"];
    let output = run("dig", "bind9-dnsutils", &owned(&arguments), &text);
    assert_eq!(output.matches("status: NOERROR").count(), questions.len(), "{output}");
    // What it keeps gets older.
    let but_ttl = |fact: &str| {
        let (owner, rest) = fact.split_once(' ').expect("an owner");
        format!("{owner} {}", rest.split_once(' ').expect("a TTL").1)
    };
    let expected = interop.expected.iter().filter(|fact| is_ours(fact)).cloned().collect();
    compare("dig of Unbound", &output, &expected, but_ttl);
    let log = unbound.end();
    // Had a letter changed its case on the way, it would ask anew without.
    let odd = log.iter().find(|line| ["Capsforid", "error:", "warning:"].iter().any(|word| line.contains(word)));
    assert!(odd.is_none(), "{odd:?}");
}

const COOKIE_ZONE: &str = "$TTL 300\n@ SOA ns hostmaster 1 7200 900 1209600 60\n@ NS ns\nns A 192.0.2.53\n";
const SECRETS: [&str; 2] = ["000102030405060708090a0b0c0d0e0f", "101112131415161718191a1b1c1d1e1f"];

/// A perigee that answers nobody without a cookie, with these secrets in a file.
fn with_secrets(secrets: &str) -> Perigee {
    let config = "[edns]\ncookie-secrets-file = \"secrets\"\ncookie-policy = \"require\"\n";
    Perigee::start(&[("zones/example.zone", COOKIE_ZONE), ("secrets", secrets), ("perigee.toml", config)])
}

/// The cookie that a server gives.
fn given_by(server: SocketAddr) -> String {
    let output = dig(server, "ns.example A +nobadcookie +cookie");
    let line = output.lines().find_map(|line| line.strip_prefix("; COOKIE: ")).expect("a cookie");
    line.strip_suffix(" (good)").expect("dig knows its part of the cookie").to_owned()
}

/// Whether a server takes a cookie for one of its own.
fn is_known_to(server: SocketAddr, cookie: &str) -> bool {
    let output = dig(server, &format!("ns.example A +nobadcookie +cookie={cookie}"));
    assert_ne!(output.contains("status: NOERROR"), output.contains("status: BADCOOKIE"), "{output}");
    output.contains("status: NOERROR")
}

#[test]
fn cookies_of_bind_are_known_and_it_knows_ours() {
    let perigee = with_secrets(SECRETS[0]);
    let named = |secret: &str| {
        let options = format!("cookie-algorithm siphash24; cookie-secret \"{secret}\"; require-server-cookie yes;");
        Foreign::named(&options, ("example", COOKIE_ZONE))
    };
    let [same, other] = SECRETS.map(named);
    let ours = given_by(perigee.address);
    assert!(is_known_to(perigee.address, &ours) && is_known_to(same.address, &ours));
    assert!(!is_known_to(other.address, &ours));
    let theirs = given_by(same.address);
    assert!(is_known_to(same.address, &theirs) && is_known_to(perigee.address, &theirs));
    assert!(!is_known_to(perigee.address, &given_by(other.address)));
    // dig asks again by itself, with what BADCOOKIE brings.
    let output = dig(perigee.address, "ns.example A +badcookie +cookie");
    assert!(output.contains("status: NOERROR") && output.contains("192.0.2.53"), "{output}");
}

#[test]
fn secrets_of_cookies_are_changed_while_two_servers_answer() {
    let [old, new] = SECRETS;
    let mut servers = [with_secrets(old), with_secrets(old)];
    let learned = given_by(servers[0].address);
    assert!(servers.iter().all(|server| is_known_to(server.address, &learned)));
    // The new one is known to all before any signs with it, and the old one until its cookies are old.
    let both = [format!("{old}\n{new}\n"), format!("# today\n{new}\n{old}\n")];
    for secrets in &both {
        for index in [0, 1] {
            let before = given_by(servers[1 - index].address);
            servers[index].edit("secrets", secrets);
            servers[index].signal("HUP");
            servers[index].wait_for_log("secrets of cookies replaced");
            for cookie in [&learned, &before, &given_by(servers[index].address)] {
                assert!(servers.iter().all(|server| is_known_to(server.address, cookie)));
            }
        }
    }
    let [first, second] = &mut servers;
    first.edit("secrets", "what\n");
    let fault = first.wait_for_log("this line is no secret");
    assert!(fault.contains("secrets:1:1"), "{fault}");
    assert!(is_known_to(first.address, &learned), "a file that is not sound replaces nothing");
    // It is taken up without a signal, too.
    second.edit("secrets", new);
    second.wait_for_log("secrets of cookies replaced");
    assert!(!is_known_to(second.address, &learned));
    assert!(is_known_to(second.address, &given_by(first.address)));
}
