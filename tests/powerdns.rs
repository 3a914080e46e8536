//! LUA records beside the server they come from: PowerDNS and perigee give the same answers to the same zone.
//!
//! Left out is what is random, and what the two do differently on purpose: `docs/lua.md` has the list. Owners that
//! begin with `different` hold what is an error there and works here.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use hickory_proto::op::Message;
use perigee::zone::parser::{self, Input, Options};
use perigee::zone::{Data, Record};
use tempfile::TempDir;

use crate::support::PATIENCE;
use crate::support::process::{Client, Perigee, Question, answers, free_port, rcode};

const APEX: &str = "powerdns.example";
const ZONE: &str = include_str!("data/powerdns.example.zone");

/// What stands before the zone's wildcards, by the wildcard: what both make of it is the same.
const NAMES: &[(&str, &str, &str)] = &[
    (
        "f",
        "A",
        "1.2.3.4 1.2.3.4.5 010.2.3.4 0x10.2.3.4 08.1.2.3 1.2.3.256 1.2.3.4x 1.2.3 1-2-3-4 ip-1-2-3-4 x-y-1-2-3-4 \
         ab-1-2-3-4 1-2-3-4.foo 1-2-3-4.a.b.c 1--2-3-4 1-2-3-4- 1-2-3-4-5 1-2-3-256 1-2-3 ip40414243 \
         1234567890 40414243x 0x414243 ip4041424 ip-441424 deadbee- x zzz some-text-with-more-than-five-dashes \
         invalid.1.2.3.4 1-2-3-4aa.foo.bar",
    ),
    ("", "AAAA", "2001--db8 aaa--1 1-2-3-4-5-6-7-8 2001-DB8--A 2001.db8.0.0.0.0.0.1 2001.db8.1"),
    ("ra", "TXT", "4.3.2.1 004.3.2.1 5.4.3.2.1"),
    ("rc", "TXT", "4.3.2.1 004.3.2.1 255.255.255.255"),
    ("e1", "TXT", "4.3.2.1 5.3.2.1"),
    ("e4", "TXT", "4.3.2.1 5.3.2.1"),
    ("e5", "TXT", "4.3.2.1"),
    ("e6", "TXT", "4.3.2.1"),
    ("e7", "TXT", "4.3.2.1"),
    ("e8", "TXT", "4.3.2.1"),
    (
        "s",
        "TXT",
        "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2 \
         C.B.A.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.B.D.1.0.0.2 \
         0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2",
    ),
    ("z", "TXT", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"),
];

/// A running PowerDNS with the zone; killed when dropped.
struct PowerDns {
    child: Child,
    address: SocketAddr,
    /// Its configuration; gone with it.
    _directory: TempDir,
}

impl PowerDns {
    /// Starts it; on another port if somebody else was quicker to take the first.
    fn start() -> Self {
        const ATTEMPTS: usize = 5;
        let mut told = String::new();
        for _ in 0..ATTEMPTS {
            match Self::try_start() {
                Ok(powerdns) => return powerdns,
                Err(log) => told = log,
            }
        }
        panic!("PowerDNS does not start:\n{told}");
    }

    /// Starts it, or tells what it said before it ended.
    fn try_start() -> Result<Self, String> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().display();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let write = |name: &str, text: String| fs::write(directory.path().join(name), text).expect("written");
        write(&format!("{APEX}.zone"), ZONE.to_owned());
        write("named.conf", format!("zone \"{APEX}\" {{ type master; file \"{path}/{APEX}.zone\"; }};\n"));
        let settings = [
            "launch=bind".to_owned(),
            format!("bind-config={path}/named.conf"),
            format!("local-address={}", address.ip()),
            format!("local-port={}", address.port()),
            format!("socket-dir={path}"),
            "setuid=".to_owned(),
            "setgid=".to_owned(),
            "enable-lua-records=yes".to_owned(),
            "edns-subnet-processing=yes".to_owned(),
        ];
        write("pdns.conf", settings.join("\n"));
        let mut child = Command::new("pdns_server")
            .args([&format!("--config-dir={path}"), "--daemon=no", "--guardian=no"])
            .env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| match error.kind() {
                ErrorKind::NotFound => panic!("there is no pdns_server: install pdns-server and pdns-backend-bind"),
                _ => panic!("pdns_server does not run: {error}"),
            });
        let lines = BufReader::new(child.stderr.take().expect("standard error is a pipe")).lines();
        let (sender, log) = mpsc::channel();
        thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        let mut seen = Vec::new();
        while !seen.last().is_some_and(|line: &String| line.contains("ready to distribute questions")) {
            match log.recv_timeout(PATIENCE) {
                Ok(line) => seen.push(line),
                Err(_) => {
                    // It may have ended by itself.
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(seen.join("\n"));
                }
            }
        }
        Ok(Self { child, address, _directory: directory })
    }
}

impl Drop for PowerDns {
    fn drop(&mut self) {
        // It may have ended by itself, which a question to it has told by then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Both servers, with a client of each.
struct Pair {
    _perigee: Perigee,
    _powerdns: PowerDns,
    ours: Client,
    theirs: Client,
}

impl Pair {
    fn start() -> Self {
        let powerdns = PowerDns::start();
        let theirs = Client::to(powerdns.address);
        let perigee = Perigee::start(&[(&format!("zones/{APEX}.zone"), ZONE)]);
        let ours = perigee.client();
        Self { _perigee: perigee, _powerdns: powerdns, ours, theirs }
    }

    /// What both say to a question, ours first: RCODE, AA and data.
    fn ask(&self, question: &Question) -> [String; 2] {
        let told = |reply: Message| {
            let data = answers(&reply).join(" | ");
            format!("{:?} aa={} {data}", rcode(&reply), reply.metadata.authoritative)
        };
        [told(self.ours.ask(question)), told(self.theirs.ask(question))]
    }
}

/// The owner and covered type of each LUA record of the zone.
fn scripts() -> Vec<(String, String)> {
    let origin = APEX.parse().expect("a name");
    let input = Input { file: "powerdns.example.zone".into(), text: ZONE.as_bytes() };
    let records = parser::parse(&input, &Options::new(origin), &mut |_, _| Err("none".to_owned())).records;
    let script = |record: Record| match record.data {
        Data::Lua(lua) => Some((record.owner.to_string(), lua.covered.to_string())),
        Data::Wire(_) => None,
    };
    records.into_iter().filter_map(script).collect()
}

/// The questions to which both are to say the same: each script, and the names below the wildcards.
fn questions() -> Vec<(String, String)> {
    let mut questions = scripts();
    questions.retain(|(owner, _)| !owner.starts_with("different") && !owner.starts_with('*'));
    for (wildcard, rtype, names) in NAMES {
        let below = if wildcard.is_empty() { APEX.to_owned() } else { format!("{wildcard}.{APEX}") };
        questions.extend(names.split_whitespace().map(|name| (format!("{name}.{below}"), (*rtype).to_owned())));
    }
    // Every format, for one address.
    questions.extend(('a'..='p').map(|format| (format!("4.3.2.1.r{format}.{APEX}"), "TXT".to_owned())));
    questions
}

#[test]
fn scripts_are_answered_as_powerdns_answers_them() {
    let pair = Pair::start();
    let questions = questions();
    assert!(questions.len() > 290, "only {} questions", questions.len());
    let differences: Vec<String> = questions
        .iter()
        .filter_map(|(owner, rtype)| {
            let [ours, theirs] = pair.ask(&Question::of_type(owner, rtype));
            (ours != theirs).then(|| format!("{owner} {rtype}\n  perigee  {ours}\n  PowerDNS {theirs}"))
        })
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn what_is_an_error_there_works_here() {
    let pair = Pair::start();
    let mut different = scripts();
    different.retain(|(owner, _)| owner.starts_with("different"));
    assert!(different.len() > 10);
    for (owner, rtype) in different {
        let [ours, theirs] = pair.ask(&Question::of_type(&owner, &rtype));
        assert!(ours.starts_with("NoError aa=true ") && ours.len() > "NoError aa=true ".len(), "{owner}: {ours}");
        assert_eq!(theirs.trim_end(), "ServFail aa=true", "{owner}");
    }
}

#[test]
fn clients_are_sent_where_powerdns_sends_them() {
    let pair = Pair::start();
    let hashed: Vec<(String, String)> = scripts().into_iter().filter(|(owner, _)| owner.starts_with('h')).collect();
    assert!(hashed.len() >= 7);
    for number in 0..20u32 {
        let client = [
            format!("{}.{}.{}.{}/32", number * 11 + 1, number * 7, 255 - number, number * 13),
            format!("2001:db8:{:x}:{:x}::{:x}/128", number * 257, number * 31, number + 1),
        ];
        for (owner, rtype) in &hashed {
            for client in &client {
                let [ours, theirs] = pair.ask(&Question::of_type(owner, rtype).from(client));
                assert_eq!(ours, theirs, "{owner} for {client}");
            }
        }
    }
}
