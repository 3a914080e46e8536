//! What a look-up in a database of places costs: each address another, in a database that no cache of a processor holds.
//!
//! `cargo bench --bench geo`.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use divan::Bencher;
use perigee::geo::open::open;
use perigee::geo::{Attribute, Databases, Place};
use serde_json::json;

#[path = "../tests/support/mmdb.rs"]
mod mmdb;

fn main() {
    divan::main();
}

/// How many networks the database has; those of a city database are some millions.
const NETWORKS: u32 = 200_000;

/// Databases of one file, mapped as a server maps it: networks of 2^12 addresses, each with an entry of its own.
fn databases() -> Databases {
    let networks: Vec<String> = (0..NETWORKS).map(|at| format!("{}/20", Ipv4Addr::from(at << 12))).collect();
    let entries = networks.iter().enumerate().map(|(at, network)| {
        let names = json!({ "de": "Stadt", "en": format!("Town {at}"), "fr": "Ville" });
        let entry = json!({
            "city": { "geoname_id": at, "names": names },
            "continent": { "code": "EU", "geoname_id": 1, "names": names },
            "country": { "geoname_id": 2, "iso_code": "DE", "names": names },
            "location": { "accuracy_radius": 20, "latitude": at as f64 / 1e4 + 0.5, "longitude": 11.5 },
            "subdivisions": [{ "geoname_id": 3, "iso_code": "BY", "names": names }],
        });
        (network.as_str(), entry)
    });
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("city.mmdb");
    fs::write(&file, mmdb::Mmdb::new("Bench-City", entries).octets()).expect("written");
    Databases::new(vec![Arc::new(open(&file).expect("a database"))], "en", None)
}

/// Addresses that stride through all networks.
fn addresses() -> impl FnMut() -> IpAddr {
    let mut at = 0u32;
    move || {
        at = at.wrapping_add(2_654_435_761) % (NETWORKS << 12);
        Ipv4Addr::from(at).into()
    }
}

// So many look-ups to a sample that the first touch of each page of the file is a small part of all.
#[divan::bench(sample_size = 10_000, args = [Attribute::Country, Attribute::City, Attribute::Region, Attribute::Location])]
fn look_up(bencher: Bencher<'_, '_>, attribute: Attribute) {
    let (databases, mut next) = (databases(), addresses());
    assert!(databases.look_up(next(), attribute).value.is_some());
    bencher.bench_local(|| databases.look_up(next(), attribute).value.is_some());
}

#[divan::bench(sample_size = 10_000)]
fn distance(bencher: Bencher<'_, '_>) {
    let [one, other] =
        [(47.9, -122.3), (48.1, 11.5)].map(|(north, east)| Place::new(north, east).expect("on the globe"));
    bencher.bench_local(|| divan::black_box(one).metres_to(divan::black_box(other)));
}
