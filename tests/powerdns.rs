//! LUA records beside the server they come from: PowerDNS and perigee give the same answers to the same zone.
//!
//! Left out is what is random, and what the two do differently on purpose: `docs/lua.md` has the list.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use hickory_proto::op::Message;
use perigee::zone::parser::{self, Input, Options};
use perigee::zone::{Data, Record};
use serde_json::json;
use tempfile::TempDir;

use crate::support::PATIENCE;
use crate::support::mmdb::Mmdb;
use crate::support::process::{Client, Perigee, Question, answers, free_port, rcode};

const APEX: &str = "powerdns.example";
const ZONE: &str = include_str!("data/powerdns.example.zone");
/// What asks for places is a zone of its own.
const PLACES_APEX: &str = "places.example";
const PLACES_ZONE: &str = include_str!("data/places.example.zone");
const ZONES: [(&str, &str); 2] = [(APEX, ZONE), (PLACES_APEX, PLACES_ZONE)];
/// Who asks for places: clients in Seattle, Berlin and Sydney.
const PLACED: [&str; 5] = ["10.1.0.0/16", "10.2.3.0/24", "10.3.4.5/32", "2001:db8:1::/48", "2001:db8:2::/48"];
/// Clients nowhere, and where a number of a system is all that is known.
const PLACELESS: [&str; 3] = ["10.9.0.0/16", "10.4.0.0/16", "2001:db8:9::/48"];

/// The database that both look places up in.
fn places() -> Vec<u8> {
    let seattle = json!({
        "autonomous_system_number": 64496,
        "autonomous_system_organization": "Example Net, INC",
        "city": { "names": { "en": "Seattle" } },
        "continent": { "code": "NA" },
        "country": { "iso_code": "US" },
        "location": { "accuracy_radius": 20, "latitude": 47.913, "longitude": -122.3042 },
        "subdivisions": [{ "iso_code": "WA" }],
    });
    let berlin = json!({
        "autonomous_system_number": 3320,
        "autonomous_system_organization": "Deutsche Telekom AG",
        "city": { "names": { "de": "Berlin-Mitte", "en": "Berlin" } },
        "continent": { "code": "EU" },
        "country": { "iso_code": "DE" },
        "location": { "accuracy_radius": 5, "latitude": 52.5244, "longitude": 13.4105 },
    });
    let sydney = json!({
        "continent": { "code": "OC" },
        "country": { "iso_code": "AU" },
        "location": { "accuracy_radius": 1000, "latitude": -33.8591, "longitude": 151.2002 },
        "subdivisions": [{ "iso_code": "NSW" }],
    });
    let entries = [
        ("10.1.0.0/16", seattle.clone()),
        ("10.2.0.0/16", berlin.clone()),
        ("10.3.0.0/16", sydney.clone()),
        ("10.4.0.0/16", json!({ "autonomous_system_number": 64511 })),
        ("127.0.0.77/32", seattle.clone()),
        ("127.0.0.78/32", berlin.clone()),
        ("127.0.0.79/32", sydney.clone()),
        ("2001:db8:1::/48", seattle),
        ("2001:db8:2::/48", berlin),
    ];
    Mmdb::new("GeoLite2-City", entries).octets()
}

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
        for (apex, zone) in ZONES {
            write(&format!("{apex}.zone"), zone.to_owned());
        }
        let zone = |(apex, _)| format!("zone \"{apex}\" {{ type master; file \"{path}/{apex}.zone\"; }};\n");
        write("named.conf", ZONES.map(zone).concat());
        write("geo.yaml", "domains: []\n".to_owned());
        fs::write(directory.path().join("places.mmdb"), places()).expect("written");
        let settings = [
            "launch=bind,geoip".to_owned(),
            format!("geoip-zones-file={path}/geo.yaml"),
            format!("geoip-database-files=mmdb:{path}/places.mmdb"),
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
                ErrorKind::NotFound => {
                    panic!("there is no pdns_server: install pdns-server, pdns-backend-bind and pdns-backend-geoip")
                }
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
        let config = b"geoip.databases = [\"places.mmdb\"]\n";
        let mut files: Vec<(String, Vec<u8>)> =
            vec![("perigee.toml".into(), config.to_vec()), ("places.mmdb".into(), places())];
        files.extend(ZONES.map(|(apex, zone)| (format!("zones/{apex}.zone"), zone.into())));
        let files: Vec<(&str, &[u8])> = files.iter().map(|(name, octets)| (&**name, &**octets)).collect();
        let perigee = Perigee::start(&files);
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

/// The owner and covered type of each LUA record of a zone.
fn scripts((apex, zone): (&str, &str)) -> Vec<(String, String)> {
    let origin = apex.parse().expect("a name");
    let input = Input { file: format!("{apex}.zone").into(), text: zone.as_bytes() };
    let records = parser::parse(&input, &Options::new(origin), &mut |_, _| Err("none".to_owned())).records;
    let script = |record: Record| match record.data {
        Data::Lua(lua) => Some((record.owner.to_string(), lua.covered.to_string())),
        Data::Wire(_) => None,
    };
    records.into_iter().filter_map(script).collect()
}

#[test]
fn scripts_are_answered_as_powerdns_answers_them() {
    let pair = Pair::start();
    let scripts = scripts((APEX, ZONE));
    assert!(scripts.len() > 90, "only {} scripts", scripts.len());
    let differences: Vec<String> = scripts
        .iter()
        .filter_map(|(owner, rtype)| {
            let [ours, theirs] = pair.ask(&Question::of_type(owner, rtype));
            (ours != theirs).then(|| format!("{owner} {rtype}\n  perigee  {ours}\n  PowerDNS {theirs}"))
        })
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn clients_are_sent_where_powerdns_sends_them() {
    let pair = Pair::start();
    let hashed: Vec<(String, String)> =
        scripts((APEX, ZONE)).into_iter().filter(|(owner, _)| owner.starts_with('h')).collect();
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

#[test]
fn places_are_found_where_powerdns_finds_them() {
    let pair = Pair::start();
    let scripts = scripts((PLACES_APEX, PLACES_ZONE));
    assert!(scripts.len() > 40, "only {} scripts", scripts.len());
    let mut differences = Vec::new();
    for (owner, rtype) in &scripts {
        // PowerDNS has clients without a place at 0,0.
        let placeless = PLACELESS.iter().filter(|_| !picks_the_closest(owner));
        for client in PLACED.iter().chain(placeless) {
            let [ours, theirs] = pair.ask(&Question::of_type(owner, rtype).from(client));
            if ours != theirs {
                differences.push(format!("{owner} {rtype} for {client}\n  perigee  {ours}\n  PowerDNS {theirs}"));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Whether a record of the zone of places is one of those that pick the closest.
fn picks_the_closest(owner: &str) -> bool {
    let labels = owner.strip_suffix(".places.example.").expect("a name of that zone");
    labels.rsplit('.').next().is_some_and(|label| label.starts_with('n'))
}
