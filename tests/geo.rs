//! Databases of places: what is read of them, how far an answer holds, and files that change under a running server.

use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::op::{Message, MessageType};
use perigee::answer::Transport;
use perigee::dns::{Name, Rtype, probe};
use perigee::geo::{Attribute, Database, Databases};
use serde_json::json;
use tempfile::TempDir;

use crate::support::authority::Authority;
use crate::support::mmdb::Mmdb;
use crate::support::process::{self, Perigee, Question, answers};

const HEAD: &str = "$TTL 60\n@ SOA ns hostmaster 1 3600 900 604800 60\n@ NS ns\nns A 192.0.2.53\n";

/// A city database with one entry of everything, and some with less.
fn cities() -> Mmdb {
    Mmdb::new(
        "Test-City",
        [
            (
                "192.0.2.0/24",
                json!({
                    "city": { "names": { "en": "Zürich", "de": "ZÜRICH" } },
                    "continent": { "code": "EU" },
                    "country": { "iso_code": "CH" },
                    "location": { "accuracy_radius": 20, "latitude": 47.3667, "longitude": 8.55 },
                    "subdivisions": [{ "iso_code": "ZH" }, { "iso_code": "XX" }],
                }),
            ),
            ("192.0.2.128/25", json!({ "country": { "iso_code": "" }, "cities": ["Old Town", "Other"] })),
            ("198.51.100.0/24", json!({ "location": { "latitude": -33.5, "longitude": 151.0 } })),
            ("203.0.113.0/24", json!({ "location": { "latitude": -133.5, "longitude": 151.0 } })),
            ("2001:db8::/32", json!({ "country": { "iso_code": "JP" } })),
        ],
    )
}

fn systems() -> Mmdb {
    Mmdb::new(
        "Test-ASN",
        [
            (
                "192.0.2.0/26",
                json!({ "autonomous_system_number": 3320, "autonomous_system_organization": "Deutsche Telekom AG" }),
            ),
            ("192.0.2.64/26", json!({ "autonomous_system_number": "AS64496" })),
            ("192.0.2.128/25", json!({ "country": { "iso_code": "LI" } })),
        ],
    )
}

fn databases(files: &[&Mmdb], language: &str) -> Databases {
    let database = |file: &&Mmdb| Arc::new(Database::new(file.octets()).expect("a database"));
    Databases::new(files.iter().map(database).collect(), language, None)
}

/// What is found of an address, and how many bits of it were looked at.
fn found(databases: &Databases, address: &str, attribute: Attribute) -> (String, u8) {
    let found = databases.look_up(address.parse::<IpAddr>().expect("an address"), attribute);
    (found.value.map(|value| value.to_string()).unwrap_or_default(), found.bits)
}

#[test]
fn every_attribute_is_read_in_lower_case() {
    let databases = databases(&[&cities(), &systems()], "en");
    let rows = [
        (Attribute::AsNumber, "3320"),
        (Attribute::AsName, "deutsche telekom ag"),
        (Attribute::City, "zürich"),
        (Attribute::Continent, "eu"),
        (Attribute::Country, "ch"),
        (Attribute::Region, "zh"),
        (Attribute::Location, "47.366700 8.550000"),
    ];
    for (attribute, expected) in rows {
        assert_eq!(found(&databases, "192.0.2.1", attribute).0, expected, "{attribute:?}");
    }
    assert_eq!(found(&databases, "192.0.2.65", Attribute::AsNumber).0, "64496");
}

#[test]
fn cities_are_read_in_their_language_and_only_ascii_is_lowered() {
    assert_eq!(found(&databases(&[&cities()], "de"), "192.0.2.1", Attribute::City).0, "zÜrich");
    assert_eq!(found(&databases(&[&cities()], "fr"), "192.0.2.1", Attribute::City).0, "");
    assert_eq!(found(&databases(&[&cities()], "fr"), "192.0.2.129", Attribute::City).0, "old town");
}

#[test]
fn the_first_database_that_has_a_value_tells_it() {
    let (cities, systems) = (cities(), systems());
    let rows = [
        ([&cities, &systems], "192.0.2.1", "ch"),
        ([&systems, &cities], "192.0.2.1", "ch"),
        // An empty text is no value.
        ([&cities, &systems], "192.0.2.129", "li"),
        ([&cities, &systems], "10.0.0.1", ""),
    ];
    for (files, address, country) in rows {
        assert_eq!(found(&databases(&files, "en"), address, Attribute::Country).0, country, "{address}");
    }
}

#[test]
fn a_look_up_tells_the_longest_network_that_was_asked_for() {
    let (cities, systems) = (cities(), systems());
    let rows = [
        // The first tells it, and the second is not asked.
        (vec![&cities, &systems], "192.0.2.1", Attribute::Country, 25),
        (vec![&systems, &cities], "192.0.2.1", Attribute::Country, 26),
        (vec![&cities, &systems], "192.0.2.129", Attribute::Country, 25),
        (vec![&cities], "198.51.100.9", Attribute::Location, 24),
        (vec![&cities], "2001:db8::1", Attribute::Country, 32),
        // Where nothing is known, that holds as far as nothing is known.
        (vec![&cities], "10.0.0.1", Attribute::Country, 1),
        (vec![&cities], "2a00::1", Attribute::Country, 5),
        (vec![], "192.0.2.1", Attribute::Country, 0),
    ];
    for (files, address, attribute, bits) in rows {
        assert_eq!(found(&databases(&files, "en"), address, attribute).1, bits, "{address}");
    }
}

#[test]
fn a_database_of_one_family_says_nothing_of_the_other() {
    let v4 = Mmdb { ip_version: 4, entries: cities().entries.drain(..1).collect(), ..cities() };
    let databases_of_v4 = databases(&[&v4], "en");
    assert_eq!(found(&databases_of_v4, "192.0.2.1", Attribute::Country), ("ch".into(), 24));
    assert_eq!(found(&databases_of_v4, "2001:db8::1", Attribute::Country), (String::new(), 0));
    let v6 = Mmdb::new("Test-City", [("2001:db8::/32", json!({ "country": { "iso_code": "JP" } }))]);
    assert_eq!(found(&databases(&[&v6], "en"), "192.0.2.1", Attribute::Country), (String::new(), 0));
}

#[test]
fn every_width_of_records_is_read() {
    for record_bits in [24, 28, 32] {
        let databases = databases(&[&Mmdb { record_bits, ..cities() }], "en");
        assert_eq!(found(&databases, "192.0.2.1", Attribute::Country), ("ch".into(), 25), "{record_bits}");
        assert_eq!(found(&databases, "2001:db8::1", Attribute::Country), ("jp".into(), 32), "{record_bits}");
    }
}

#[test]
fn places_need_no_accuracy_and_have_to_be_on_the_globe() {
    let databases = databases(&[&cities()], "en");
    assert_eq!(found(&databases, "198.51.100.1", Attribute::Location).0, "-33.500000 151.000000");
    assert_eq!(found(&databases, "203.0.113.1", Attribute::Location).0, "");
}

#[test]
fn numbers_are_read_whatever_their_width() {
    let entries = [
        ("192.0.2.0/24", json!({ "location": { "latitude": 47, "longitude": 8u64 << 40 } })),
        (
            "198.51.100.0/24",
            json!({ "autonomous_system_number": 64496.0, "location": { "latitude": 47, "longitude": 8 } }),
        ),
        ("203.0.113.0/24", json!({ "autonomous_system_number": 1u64 << 32, "location": { "latitude": "47" } })),
    ];
    let databases = databases(&[&Mmdb::new("Test", entries)], "en");
    assert_eq!(found(&databases, "198.51.100.1", Attribute::Location).0, "47.000000 8.000000");
    for (address, attribute) in [
        ("192.0.2.1", Attribute::Location),
        ("198.51.100.1", Attribute::AsNumber),
        ("203.0.113.1", Attribute::AsNumber),
        ("203.0.113.1", Attribute::Location),
    ] {
        assert_eq!(found(&databases, address, attribute).0, "", "{address}");
    }
}

#[test]
fn a_damaged_database_is_refused_or_finds_nothing_and_never_panics() {
    let whole = cities().octets();
    for length in 0..whole.len() {
        assert!(Database::new(whole[..length].to_vec()).is_err() || length > whole.len() - 40, "{length}");
    }
    let address: IpAddr = "192.0.2.1".parse().expect("an address");
    for at in 0..whole.len() {
        for octet in [0, 0xff, whole[at] ^ 0x21] {
            let mut damaged = whole.clone();
            damaged[at] = octet;
            let Ok(database) = Database::new(damaged) else { continue };
            let databases = Databases::new(vec![Arc::new(database)], "en", None);
            for attribute in [Attribute::AsNumber, Attribute::City, Attribute::Region, Attribute::Location] {
                databases.look_up(address, attribute);
            }
        }
    }
}

/// A database with one country.
fn country(code: &str) -> Vec<u8> {
    Mmdb::new("Test-Country", [("10.0.0.0/8", json!({ "country": { "iso_code": code } }))]).octets()
}

/// A server with the database `country.mmdb`, and what it says of a client in it.
fn server() -> (Perigee, Question) {
    let zone = format!("{HEAD}where LUA TXT \"countryCode()\"\n");
    let config = "geoip.databases = [\"country.mmdb\"]\nzones.reload-interval = \"50ms\"\n";
    let files = [
        ("zones/example.net.zone", zone.as_bytes()),
        ("perigee.toml", config.as_bytes()),
        ("country.mmdb", &country("AA")),
    ];
    (Perigee::start::<[u8]>(&files), Question::txt("where.example.net").from("10.1.0.0/16"))
}

#[test]
fn a_new_database_takes_the_place_of_the_old_one() {
    let (mut perigee, question) = server();
    assert_eq!(perigee.answers(&question), ["aa"]);
    for code in ["bb", "cc"] {
        perigee.edit("country.mmdb", &country(code));
        let line = perigee.wait_for_log("database replaced");
        assert!(line.contains("country.mmdb") && line.contains("Test-Country"), "{line}");
        assert_eq!(perigee.answers(&question), [code]);
    }
    perigee.signal("HUP");
    perigee.wait_for_log("database replaced");
    assert!(perigee.stop());
}

#[test]
fn a_broken_database_replaces_nothing_and_says_so() {
    let (mut perigee, question) = server();
    let whole = country("BB");
    for broken in [&b"not a database"[..], &[], &whole[..whole.len() / 2]] {
        perigee.edit("country.mmdb", broken);
        let line = perigee.wait_for_log("database refused, the old one serves on");
        assert!(line.contains("file=country.mmdb") && line.contains("it is no MaxMind DB file"), "{line}");
        assert_eq!(perigee.answers(&question), ["aa"]);
    }
    perigee.remove("country.mmdb");
    let line = perigee.wait_for_log("database refused, the old one serves on");
    assert!(line.contains("entity not found"), "{line}");
    assert_eq!(perigee.answers(&question), ["aa"]);
    perigee.edit("country.mmdb", &whole);
    perigee.wait_for_log("database replaced");
    assert_eq!(perigee.answers(&question), ["bb"]);
}

#[test]
fn answers_are_of_one_database_while_it_is_replaced() {
    let (mut perigee, question) = server();
    let (client, stop) = (perigee.client(), std::sync::atomic::AtomicBool::new(false));
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut seen = std::collections::BTreeSet::new();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                seen.insert(answers(&client.ask(&question)).join(" "));
            }
            seen
        });
        for code in ["bb", "cc", "dd"] {
            perigee.edit("country.mmdb", &country(code));
            perigee.wait_for_log("database replaced");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let seen = asking.join().expect("no answer is lost");
        assert!(seen.iter().all(|code| ["aa", "bb", "cc", "dd"].contains(&&**code)), "{seen:?}");
    });
}

/// What `perigee check` says of a zone and a configuration.
fn check(records: &str, config: &str) -> String {
    let directory = TempDir::new().expect("a directory");
    let write = |name: &str, text: &[u8]| std::fs::write(directory.path().join(name), text).expect("written");
    std::fs::create_dir(directory.path().join("zones")).expect("created");
    write("zones/example.net.zone", format!("{HEAD}{records}").as_bytes());
    write("perigee.toml", config.as_bytes());
    write("text.mmdb", b"text");
    write("country.mmdb", &country("AA"));
    process::check(directory.path())
}

#[test]
fn databases_that_cannot_be_read_are_told_by_key_and_file() {
    let config = "geoip.databases = [\"absent.mmdb\", \"country.mmdb\", \"zones\", \"text.mmdb\"]\n";
    insta::assert_snapshot!(check("", config), @r#"
    error: `geoip.databases`: cannot read `absent.mmdb`: entity not found
      help: correct the path, and make it readable for the user that runs perigee
    error: `geoip.databases`: cannot read `zones`: it is not a file
      help: put a file in its place
    error: `geoip.databases`: cannot read `text.mmdb`: it is no MaxMind DB file: invalid database: could not find MaxMind DB metadata in file
      help: fetch it anew; perigee reads the `.mmdb` files that databases are shipped as
    0 zones, 3 errors, 0 warnings
    "#);
}

#[test]
fn scripts_that_ask_for_places_without_a_database_are_told() {
    let records = "\
a LUA A \"pickclosest({'192.0.2.1', '192.0.2.2'})\"
b LUA TXT \"tostring(country('de') or country('at') or asnum(1))\"
c LUA A \"ifportup(443, {'192.0.2.1'}, {selector='pickclosest'})\"
d LUA TXT \"geoiplookup('192.0.2.1', 1) .. latlon() .. countryCode()\"
*.near LUA A \"closestMagic()\"
e LUA A \"pickrandom({'192.0.2.1', '192.0.2.2'})\"
";
    insta::assert_snapshot!(check(records, ""), @r#"
    zones/example.net.zone:5:10: warning: the script asks where addresses are, and `geoip.databases` is empty: all places are unknown
    zones/example.net.zone:6:12: warning: the script asks where addresses are, and `geoip.databases` is empty: all places are unknown
    zones/example.net.zone:7:10: warning: the script asks where addresses are, and `geoip.databases` is empty: all places are unknown
    zones/example.net.zone:8:12: warning: the script asks where addresses are, and `geoip.databases` is empty: all places are unknown
    zones/example.net.zone:9:15: warning: the script asks where addresses are, and `geoip.databases` is empty: all places are unknown
    1 zone, 0 errors, 5 warnings
    "#);
    let with_database = check(records, "geoip.databases = [\"country.mmdb\"]\n");
    assert_eq!(with_database, "1 zone, 0 errors, 0 warnings\n");
}

/// How often each address is answered to so many questions.
fn shares(script: &str, from: &str, questions: usize) -> std::collections::BTreeMap<String, usize> {
    let place = |latitude: f64, longitude: f64| json!({ "location": { "latitude": latitude, "longitude": longitude } });
    let database = Mmdb::new(
        "Test-City",
        [
            ("10.1.0.0/16", place(10.0, 170.0)),
            ("10.2.0.0/16", place(10.0, -170.0)),
            ("10.3.0.0/16", place(0.0, 180.0)),
            ("10.4.0.0/16", place(0.0, 0.0)),
        ],
    );
    let zone = format!("{HEAD}www LUA A \"{script}\"\n");
    let mut authority = Authority::with_databases("", &[database], [("example.net", &*zone)]);
    let name: Name = "www.example.net".parse().expect("a name");
    let mut shares = std::collections::BTreeMap::new();
    for _ in 0..questions {
        let octets = probe::question(1, name.as_ref(), Rtype::A);
        let from = std::net::SocketAddr::new(from.parse().expect("an address"), 53);
        let reply = authority.respond(from, Transport::Udp, &octets).expect("a reply");
        let reply = Message::from_vec(&reply).expect("well-formed");
        assert_eq!(reply.metadata.message_type, MessageType::Response);
        *shares.entry(answers(&reply).join(" ")).or_default() += 1;
    }
    shares
}

#[test]
fn what_is_drawn_is_drawn_with_equal_chances() {
    let list = "{'10.1.0.1', '10.2.0.1', '10.4.0.1'}";
    let rows = [
        // As far from the antimeridian in the west as in the east.
        (format!("pickclosest({list})"), "10.3.0.1", 2),
        // A client without a place is not at 0,0.
        (format!("pickclosest({list})"), "192.0.2.1", 3),
        ("pickclosest({'192.0.2.1', '192.0.2.2', '192.0.2.3'})".into(), "10.3.0.1", 3),
        (format!("pickclosest({list}, {{unknown='0 -179.999'}})"), "192.0.2.1", 1),
        (format!(";return ifportup(1, {list}, {{backupSelector='pickclosest'}})"), "10.3.0.1", 2),
        (format!("ifportup(1, {list}, {{backupSelector='pickclosest'}})"), "192.0.2.1", 3),
    ];
    for (script, client, drawn) in rows {
        let shares = shares(&script, client, 600);
        assert_eq!(shares.len(), drawn, "{script} for {client}: {shares:?}");
        // Six standard deviations at the most.
        let expected = 600 / drawn;
        assert!(shares.values().all(|share| share.abs_diff(expected) <= 75), "{script} for {client}: {shares:?}");
    }
}
