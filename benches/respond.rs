//! What an answer costs inside perigee: octets in, octets out, no socket.
//!
//! `cargo bench --bench respond`. `benches/peers` measures the whole server beside others.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use divan::Bencher;
use perigee::answer::{Client, Now, Patience, Responder, Transport, World};
use perigee::config::{Config, Format, Zone};
use perigee::daemon::queries::Line;
use perigee::daemon::{candidate, settings};
use perigee::dns::{Name, Rtype, probe};
use perigee::health::table::Table;
use perigee::metrics;
use perigee::script::{Setup, Surroundings, Vm};
use perigee::source::{Event, FileSource};
use perigee::zone::ZoneSet;

fn main() {
    divan::main();
}

/// Whether what scripts cost is measured.
enum Runs {
    Unmeasured,
    Measured,
}

/// A responder for one of the zones in `zones/`.
fn responder(apex: &str) -> Responder {
    responder_with(apex, Runs::Unmeasured)
}

fn responder_with(apex: &str, runs: Runs) -> Responder {
    let name: Name = apex.parse().expect("a name");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("zones/{apex}.zone"));
    let zone = Zone { file: Some(file), ..Zone::new(name) };
    let config = Arc::new(Config::default());
    let of_zones = config.clone();
    let load = move |apex: &Name, text: &_, reader: &mut _| {
        candidate::load(&of_zones, &Arc::default(), &Surroundings::default(), apex, text, reader)
    };
    let zones = perigee::config::Zones { directory: "".into(), ..config.zones.clone() };
    let events = FileSource::new(&zones, &[zone], load).load_all();
    let zones = events.into_iter().filter_map(|event| match event {
        Event::Changed { zone, .. } => Some((zone.zone, zone.programs)),
        Event::Removed { .. } | Event::Failed { .. } => None,
    });
    let surroundings = Arc::new(Surroundings::default().with_zones(ZoneSet::new(zones)));
    let world = World { surroundings, settings: Arc::new(settings::of(&config)) };
    let (limits, library, table) = (config.lua.clone(), Arc::default(), Arc::new(Table::new(16)));
    let mut vm = Vm::new(Setup { limits, library, table, seed: 7, clock: Box::new(|| Duration::ZERO) }).expect("a VM");
    if let Runs::Measured = runs {
        let start = Instant::now();
        vm.account_for_runs(config.overload, Box::new(move || start.elapsed()));
    }
    Responder::new(Arc::new(world), vm, Arc::new(metrics::Server::new(1)).share(0))
}

/// Records as they stand in the zone, and scripts that take no VM.
#[divan::bench(args = ["ns", "absent", "random", "src", "src-rand"])]
fn answer(bencher: Bencher<'_, '_>, owner: &str) {
    ask(bencher, "example.com", owner, Rtype::A);
}

/// The same where runs of scripts are measured, as a server does.
#[divan::bench(args = ["ns", "random", "src"])]
fn answer_measured(bencher: Bencher<'_, '_>, owner: &str) {
    ask_of(bencher, responder_with("example.com", Runs::Measured), "example.com", owner, Rtype::A);
}

/// The same where each answer is a line of the query log.
#[divan::bench(args = ["ns", "random", "src"])]
fn answer_logged(bencher: Bencher<'_, '_>, owner: &str) {
    let mut responder = responder("example.com");
    let mut line = Line::new(Format::Text);
    responder.tell(Box::new(move |account| {
        divan::black_box(line.write(account, Duration::ZERO, Duration::ZERO));
    }));
    ask_of(bencher, responder, "example.com", owner, Rtype::A);
}

/// Scripts that take one.
#[divan::bench(args = ["me", "inside", "where"])]
fn answer_by_vm(bencher: Bencher<'_, '_>, owner: &str) {
    ask(bencher, "tour.example", owner, Rtype::TXT);
}

/// The same where runs are measured.
#[divan::bench(args = ["me", "inside", "where"])]
fn answer_by_vm_measured(bencher: Bencher<'_, '_>, owner: &str) {
    ask_of(bencher, responder_with("tour.example", Runs::Measured), "tour.example", owner, Rtype::TXT);
}

fn ask(bencher: Bencher<'_, '_>, apex: &str, owner: &str, rtype: Rtype) {
    ask_of(bencher, responder(apex), apex, owner, rtype);
}

fn ask_of(bencher: Bencher<'_, '_>, mut responder: Responder, apex: &str, owner: &str, rtype: Rtype) {
    let name: Name = format!("{owner}.{apex}").parse().expect("a name");
    let request = probe::question(1, name.as_ref(), rtype);
    let address = SocketAddr::from(([127, 0, 0, 1], 5353));
    let client = Client { address, local: address, transport: Transport::Udp };
    let mut now = Now { unix_secs: 0, monotonic: Duration::ZERO };
    let mut reply = Vec::with_capacity(4096);
    bencher.bench_local(|| {
        reply.clear();
        // Each is a batch of its own: of one that never ends, scripts would be shed.
        now.monotonic += Duration::from_millis(1);
        responder.respond(now, &client, &request, Patience::Left.into(), &mut reply)
    });
    assert!(reply.len() > request.len());
}
