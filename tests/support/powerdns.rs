//! A PowerDNS beside a perigee, with the same zones and the same questions.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use hickory_proto::op::Message;
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{Record, RecordType};
use tempfile::TempDir;

use super::process::{Client, Perigee, Question, free_port, rcode};
use super::{PATIENCE, ask_udp};

/// An apex and the text of its zone file.
pub(crate) type Text<'t> = (&'t str, &'t str);

/// A running PowerDNS with some zones; killed when dropped.
struct PowerDns {
    child: Child,
    address: SocketAddr,
    /// Its configuration; gone with it.
    _directory: TempDir,
}

impl PowerDns {
    /// Starts it; on another port if somebody else was quicker to take the first. `None` if there is none.
    fn start(zones: &[Text<'_>], places: Option<&[u8]>) -> Option<Self> {
        const ATTEMPTS: usize = 5;
        let mut told = String::new();
        for _ in 0..ATTEMPTS {
            match Self::try_start(zones, places)? {
                Ok(powerdns) => return Some(powerdns),
                Err(log) => told = log,
            }
        }
        panic!("PowerDNS does not start:\n{told}");
    }

    /// Starts it, or tells what it said before it ended.
    fn try_start(zones: &[Text<'_>], places: Option<&[u8]>) -> Option<Result<Self, String>> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().display();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).expect("written");
        let mut named = String::new();
        for (apex, text) in zones {
            write(&format!("{apex}.zone"), text);
            named += &format!("zone \"{apex}\" {{ type master; file \"{path}/{apex}.zone\"; }};\n");
        }
        write("named.conf", &named);
        let mut settings = vec![
            format!("launch={}", if places.is_some() { "bind,geoip" } else { "bind" }),
            format!("bind-config={path}/named.conf"),
            format!("local-address={}", address.ip()),
            format!("local-port={}", address.port()),
            format!("socket-dir={path}"),
            "setuid=".to_owned(),
            "setgid=".to_owned(),
            "enable-lua-records=yes".to_owned(),
            "edns-subnet-processing=yes".to_owned(),
            "lua-health-checks-interval=1".to_owned(),
        ];
        if let Some(places) = places {
            write("geo.yaml", "domains: []\n");
            fs::write(directory.path().join("places.mmdb"), places).expect("written");
            settings.push(format!("geoip-zones-file={path}/geo.yaml"));
            settings.push(format!("geoip-database-files=mmdb:{path}/places.mmdb"));
        }
        write("pdns.conf", &settings.join("\n"));
        let spawned = Command::new("pdns_server")
            .args([&format!("--config-dir={path}"), "--daemon=no", "--guardian=no"])
            .env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => panic!("pdns_server does not run: {error}"),
        };
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
                    return Some(Err(seen.join("\n")));
                }
            }
        }
        Some(Ok(Self { child, address, _directory: directory }))
    }
}

impl Drop for PowerDns {
    fn drop(&mut self) {
        // It may have ended by itself, which a question to it has told by then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Both servers, with clients of each.
pub(crate) struct Pair {
    perigee: Perigee,
    powerdns: PowerDns,
    /// A client of each, ours first, for each address they come from.
    clients: HashMap<Ipv4Addr, [Client; 2]>,
    asked: usize,
}

impl Pair {
    /// Starts both with these zones; `None`, and a word of it, where there is no PowerDNS.
    ///
    /// perigee answers with the scope that PowerDNS has.
    pub(crate) fn start(zones: &[Text<'_>]) -> Option<Self> {
        Self::start_both(zones, None)
    }

    /// The same, both with a database of places.
    pub(crate) fn start_with_places(zones: &[Text<'_>], places: &[u8]) -> Option<Self> {
        Self::start_both(zones, Some(places))
    }

    fn start_both(zones: &[Text<'_>], places: Option<&[u8]>) -> Option<Self> {
        let Some(powerdns) = PowerDns::start(zones, places) else {
            eprintln!("SKIPPED: no pdns_server; install pdns-server, pdns-backend-bind and pdns-backend-geoip");
            return None;
        };
        let names: Vec<String> = zones.iter().map(|(apex, _)| format!("zones/{apex}.zone")).collect();
        let mut files: Vec<_> = names.iter().zip(zones).map(|(name, (_, text))| (&**name, text.as_bytes())).collect();
        let databases = if places.is_some() { "[\"places.mmdb\"]" } else { "[]" };
        let health = "[health]\ninterval = \"1s\"\nttl-from-state = false\n";
        let config = format!(
            "[server]\nany = \"truncate\"\n[lua]\nscope = \"source\"\n[geoip]\ndatabases = {databases}\n{health}"
        );
        files.push(("perigee.toml", config.as_bytes()));
        files.extend(places.map(|places| ("places.mmdb", places)));
        let perigee = Perigee::start(&files);
        Some(Self { perigee, powerdns, clients: HashMap::new(), asked: 0 })
    }

    /// How many questions were put to both.
    pub(crate) fn asked(&self) -> usize {
        self.asked
    }

    /// What both reply to a question by a client at `source`, ours first.
    pub(crate) fn ask(&mut self, source: Ipv4Addr, question: &Question) -> [Message; 2] {
        self.asked += 1;
        let servers = [self.perigee.address, self.powerdns.address];
        let clients = self.clients.entry(source).or_insert_with(|| servers.map(|server| Client::at(source, server)));
        [clients[0].ask(question), clients[1].ask(question)]
    }

    /// What both reply to a question for A records with an option of these octets.
    pub(crate) fn ask_with_option(&self, name: &str, code: u16, data: &[u8]) -> [Message; 2] {
        let request = with_option(name, code, data);
        let ask = |server| Message::from_vec(&ask_udp(server, &request).expect("a reply")).expect("well-formed");
        [self.perigee.address, self.powerdns.address].map(ask)
    }

    /// What both reply to a question over TCP.
    pub(crate) fn ask_by_tcp(&mut self, question: &Question) -> [Message; 2] {
        self.asked += 1;
        [self.perigee.address, self.powerdns.address].map(|server| question.ask_by_tcp(server))
    }
}

/// A question for the A records of a name with an option, as octets: an encoder would not write what is malformed.
fn with_option(name: &str, code: u16, data: &[u8]) -> Vec<u8> {
    let name: perigee::dns::Name = name.parse().expect("a name");
    let length = u16::try_from(data.len()).expect("short");
    let mut octets = vec![0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    octets.extend(name.wire());
    octets.extend([0, 1, 0, 1, 0, 0, 41, 4, 0xd0, 0, 0, 0, 0]);
    octets.extend((4 + length).to_be_bytes());
    octets.extend(code.to_be_bytes());
    octets.extend(length.to_be_bytes());
    octets.extend(data);
    octets
}

/// What of a reply the two have in common, if they agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// RCODE and the flags that a server sets.
    pub(crate) head: String,
    /// The answer section, sorted.
    pub(crate) answers: Vec<String>,
    /// Owners and types of the authority section, sorted.
    pub(crate) authority: Vec<String>,
    /// The additional section, sorted.
    pub(crate) additional: Vec<String>,
    /// The scope of an answer with data.
    pub(crate) scope: Option<u8>,
}

impl Told {
    pub(crate) fn of(reply: &Message) -> Self {
        let head = &reply.metadata;
        let owner = |record: &Record| record.name.to_lowercase().to_string();
        let sorted = |mut lines: Vec<String>| {
            lines.sort();
            lines
        };
        let whole =
            |record: &Record| format!("{} {} {} {}", owner(record), record.ttl, record.record_type(), record.data);
        let kind = |record: &Record| format!("{} {}", owner(record), record.record_type());
        let options = reply.edns.iter().flat_map(|edns| &edns.options().options);
        let mut scope = options.filter_map(|(_, option)| match option {
            EdnsOption::Subnet(subnet) => Some(subnet.scope_prefix()),
            _ => None,
        });
        let has_data = !reply.answers.is_empty();
        Self {
            head: format!("{:?} aa={} tc={}", rcode(reply), head.authoritative, head.truncation),
            answers: sorted(reply.answers.iter().map(whole).collect()),
            authority: sorted(reply.authorities.iter().map(kind).collect()),
            additional: sorted(reply.additionals.iter().map(whole).collect()),
            scope: if has_data { scope.next() } else { None },
        }
    }

    /// On one line.
    pub(crate) fn line(&self) -> String {
        let mut line = format!("{} {}", self.head, self.answers.join(" | "));
        if !self.authority.is_empty() {
            line += &format!(" authority {}", self.authority.join(" | "));
        }
        if !self.additional.is_empty() {
            line += &format!(" additional {}", self.additional.join(" | "));
        }
        if let Some(scope) = self.scope {
            line += &format!(" scope {scope}");
        }
        line
    }
}

/// Type LUA.
pub(crate) const LUA: RecordType = RecordType::Unknown(65_402);
