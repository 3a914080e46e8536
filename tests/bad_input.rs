//! Targets that fail in every way there is: each has a named verdict within its timeout, and comes back; nothing grows.

use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use perigee::health::Reason;
use perigee::health::probe::{Prober, Settings};
use perigee::health::table::Slot;

use crate::support::backend::{Backend, Reply};
use crate::support::failing::{Certificates, Fault, Target};
use crate::support::process::{Perigee, Question, check, rcode};
use crate::support::rig::Rig;

/// How long a probe may take of a target from which nothing comes, or nothing but drops.
const TIMEOUT_SILENT: u64 = 1;
/// How long of others: on a machine that does other things too no verdict takes so long.
const TIMEOUT: u64 = 20;
/// How much later a verdict may be known.
const LATE: Duration = Duration::from_millis(1500);

/// What is wrong with each target, by the name of its record.
const FAULTS: &[(&str, Fault)] = &[
    ("refused", Fault::Refused),
    ("black-hole", Fault::BlackHole),
    ("reset-at-once", Fault::ResetAtOnce),
    ("reset-in-body", Fault::ResetInBody),
    ("closed", Fault::Closed),
    ("half-open", Fault::HalfOpen),
    ("drip-head", Fault::DripHead),
    ("drip-body", Fault::DripBody),
    ("cut", Fault::Cut),
    ("endless-head", Fault::EndlessHead),
    ("endless-body", Fault::EndlessBody),
    ("endless-chunks", Fault::EndlessChunks),
    ("bad-chunk", Fault::BadChunk),
    ("huge-header", Fault::HugeHeader),
    ("many-headers", Fault::ManyHeaders),
    ("no-http", Fault::NoHttp),
    ("noise", Fault::Noise),
    ("redirect-loop", Fault::RedirectLoop),
    ("redirect-noise", Fault::RedirectNoise),
    ("redirect-file", Fault::RedirectFile),
    ("status", Fault::Status),
    ("other-words", Fault::OtherWords),
    ("body-noise", Fault::BodyNoise),
    ("http-1.0", Fault::Http10),
    ("http-2-clear", Fault::Http2InTheClear),
    ("http-2", Fault::Http2),
    ("other-name", Fault::OtherName),
    ("expired", Fault::Expired),
    ("untrusted", Fault::Untrusted),
    ("no-tls", Fault::NoTls),
    ("tls-hangs", Fault::TlsHangs),
];

/// URLs that no target can be asked for, by the name of their record. None sends anything to a resolver.
const HOPELESS: &[(&str, &str)] = &[
    ("no-name", "http://a-label-of-more-than-sixty-three-octets-which-no-name-in-the-dns-may-have.example/"),
    ("port-0", "http://127.0.0.1:0/"),
    ("port-65536", "http://127.0.0.1:65536/"),
    ("scope", "http://[fe80::1%25lo]/"),
    ("scheme", "ftp://127.0.0.1/"),
];

/// The records of a zone with a target for each fault.
fn zone(targets: &[(&str, Target)]) -> String {
    let options = "backupSelector='empty', interval=86400, stringmatch='fine', verify=true";
    let of_fault = targets.iter().zip(FAULTS).map(|((name, target), (_, fault))| {
        let timeout = if fault.is_silent() { TIMEOUT_SILENT } else { TIMEOUT };
        format!("{name} LUA A \"ifurlup('{}', {{'127.0.0.1'}}, {{{options}, timeout={timeout}}})\"\n", target.url())
    });
    let hopeless = HOPELESS
        .iter()
        .map(|(name, url)| format!("{name} LUA A \"ifurlextup({{{{['127.0.0.1']='{url}'}}}}, {{{options}}})\"\n"));
    of_fault.chain(hopeless).collect()
}

fn start(targets: &[(&str, Target)], certificates: &Certificates) -> Rig {
    let prober = Arc::new(Prober::new(Settings { roots: certificates.roots.clone(), ..Settings::default() }));
    Rig::start("health.jitter = \"0%\"", &zone(targets), move |slot: Arc<Slot>| {
        let prober = Arc::clone(&prober);
        async move { prober.probe(slot.check()).await }
    })
}

/// What each record's check says and what is answered, once all have had another verdict; fails if one was late.
async fn round(rig: &mut Rig) -> Vec<String> {
    let verdicts = rig.round().await;
    let slots = rig.slots().to_vec();
    let names = FAULTS.iter().map(|(name, _)| name).chain(HOPELESS.iter().map(|(name, _)| name));
    assert_eq!(slots.len(), names.clone().count());
    let line = |(name, slot): (&&str, Arc<Slot>)| {
        let (reason, took) = &verdicts[&slot.check().to_string()];
        assert!(*took < slot.check().timeout + LATE, "{name} took {took:?}");
        let (answer, _) = rig.answer(name);
        let verdict = reason.as_ref().map_or("passed", Reason::name);
        format!("{name:<14} {verdict:<13} {:<4} {answer}\n", slot.state().as_str())
    };
    names.zip(slots).map(line).collect()
}

#[tokio::test]
async fn each_fault_has_its_verdict_and_each_target_comes_back() {
    let certificates = Arc::new(Certificates::make());
    let start_well = |(name, fault): &(&'static str, Fault)| (*name, Target::start(fault.is_tls(), &certificates));
    let mut targets: Vec<_> = FAULTS.iter().map(start_well).collect();
    let mut rig = start(&targets, &certificates);
    let well = round(&mut rig).await;
    let (can_be_well, hopeless) = well.split_at(FAULTS.len());
    assert!(can_be_well.iter().all(|line| line.contains(" passed        up   127.0.0.1")), "{well:#?}");
    assert!(hopeless.iter().all(|line| line.contains(" down NODATA")), "{well:#?}");
    let mut rounds = Vec::new();
    for is_well in [false, true, false] {
        for ((_, target), (_, fault)) in targets.iter_mut().zip(FAULTS) {
            target.turn(if is_well { Fault::None } else { *fault }).await;
        }
        rig.probe_all();
        rounds.push(round(&mut rig).await);
    }
    assert_eq!(rounds[1], well);
    assert_eq!(rounds[0], rounds[2]);
    hold("tests/data/bad-input.txt", &rounds[0].concat());
}

#[cfg(target_os = "linux")]
#[test]
fn bodies_without_end_fill_no_memory() {
    // 50 probes until all that is kept is there, and then hundreds.
    const ROUNDS: [usize; 2] = [50, 300];
    const GROWTH_KIB_MAX: u64 = 8 << 10;
    let mut backend = Backend::start();
    backend.reply(Reply::Endless { octet: b'a' });
    let record = |index: usize| {
        let url = backend.url("www.example.net", &format!("/{index}"));
        format!("a{index} LUA A \"ifurlup('{url}', {{'127.0.0.1'}}, {{interval=0.1, timeout=5}})\"\n")
    };
    let records: String = (0..8).map(record).collect();
    let head = "@ 60 SOA ns hostmaster 1 3600 900 604800 60\n@ 60 NS ns\nns 60 A 192.0.2.53\n";
    let perigee = Perigee::start(&[("zones/example.net.zone", &format!("$TTL 60\n{head}{records}"))]);
    let resident = ROUNDS.map(|count| {
        for _ in 0..count {
            backend.requests.blocking_recv().expect("the backend is there");
        }
        perigee.resident_kib()
    });
    assert!(resident[1] < resident[0] + GROWTH_KIB_MAX, "{resident:?} KiB");
    assert_eq!(perigee.answers(&Question::a("a0.example.net")), ["127.0.0.1"]);
}

/// A library with a hundred thousand addresses of this machine, and a zone that hangs on them.
const MANY: [(&str, &str); 2] = [
    (
        "lua/lib/many.lua",
        "addresses = {}\nfor i = 0, 99999 do\n  \
         addresses[i + 1] = string.format('127.%d.%d.%d', 1 + i // 65536, i // 256 % 256, i % 256)\nend\n\
         most = table.move(addresses, 1, 4096, 1, {})\n",
    ),
    (
        "zones/example.net.zone",
        "$TTL 60\n@ SOA ns hostmaster 1 3600 900 604800 60\n@ NS ns\nns A 192.0.2.53\n\
         few LUA A \"ifportup(9, {'127.0.0.1'})\"\n\
         most LUA A \"ifportup(9, most, {backupSelector='hashed', interval=86400})\"\n\
         all LUA A \"ifportup(9, addresses, {backupSelector='hashed', interval=86400})\"\n",
    ),
];

/// Lets scripts run as long as that takes.
const PATIENT: &str = "[lua]\nexec-limit = 10000000\ntime-limit = \"1s\"\nmemory-limit = \"256MiB\"\noverrun-share = \"100%\"\n\
                       [health]\nwarmup = \"0s\"\n";

#[test]
fn a_list_of_a_hundred_thousand_addresses_is_told_before_it_is_served() {
    let directory = tempfile::tempdir().unwrap();
    let write = |(name, text): (&str, &str)| {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    MANY.into_iter().for_each(write);
    let told = check(directory.path());
    assert!(told.contains("lua/lib/many.lua:1:1: error: the library is stopped: it took 20000 steps"), "{told}");
    write(("perigee.toml", PATIENT));
    let told = check(directory.path());
    let line =
        "zones/example.net.zone:7:12: warning: the script failed in a trial run: `ifportup` got more than 16384 values";
    assert!(told.contains(line), "{told}");
    assert!(told.contains("1 zone, 0 errors, 1 warning"), "{told}");
}

#[test]
fn a_list_of_a_hundred_thousand_addresses_costs_nobody_else_an_answer() {
    let perigee = Perigee::start(&[MANY[0], MANY[1], ("perigee.toml", PATIENT)]);
    assert_eq!(rcode(&perigee.ask(&Question::a("all.example.net"))), ResponseCode::ServFail);
    assert_eq!(perigee.answers(&Question::a("few.example.net")), ["127.0.0.1"]);
    assert_eq!(perigee.answers(&Question::a("most.example.net")).len(), 1);
}

/// Fails where a text is not that of a file; rewrites the file with `UPDATE=1` in the environment.
fn hold(file: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        return std::fs::write(path, text).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap();
    assert_eq!(text, expected, "{file}: with UPDATE=1 in the environment, what came is what is expected");
}
