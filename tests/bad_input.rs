//! Targets that fail in every way there is: each has a named verdict within its timeout, and comes back; nothing grows.

use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use perigee::health::Reason;
use perigee::health::probe::{Prober, Settings};
use perigee::health::table::Slot;

use crate::support::backend::{Backend, Reply};
use crate::support::failing::{Certificates, Fault, HOST, Target};
use crate::support::process::{Perigee, Question, check, rcode};
use crate::support::resolver::{Reply as Resolved, Resolver};
use crate::support::rig::Rig;

/// How long a probe may take of a target from which nothing comes, or nothing but drops.
const TIMEOUT_SILENT: u64 = 2;
/// How long of others: on a machine that does other things too no verdict takes so long.
const TIMEOUT: u64 = 20;
/// How much later a verdict may be known.
const LATE: Duration = Duration::from_millis(1500);

/// How a target is asked. Those that are well answer each of these.
#[derive(Clone, Copy)]
enum Asked {
    /// For a page with `fine` in it.
    Page,
    /// By a dialogue of TCP.
    Words,
    /// For a handshake of TLS.
    Handshake,
}

/// What is wrong with each target and how it is asked, by the name of its record.
const FAULTS: &[(&str, Asked, Fault)] = &[
    ("refused", Asked::Page, Fault::Refused),
    ("black-hole", Asked::Page, Fault::BlackHole),
    ("reset-at-once", Asked::Page, Fault::ResetAtOnce),
    ("reset-in-body", Asked::Page, Fault::ResetInBody),
    ("closed", Asked::Page, Fault::Closed),
    ("half-open", Asked::Page, Fault::HalfOpen),
    ("drip-head", Asked::Page, Fault::DripHead),
    ("drip-body", Asked::Page, Fault::DripBody),
    ("cut", Asked::Page, Fault::Cut),
    ("endless-head", Asked::Page, Fault::EndlessHead),
    ("endless-body", Asked::Page, Fault::EndlessBody),
    ("endless-chunks", Asked::Page, Fault::EndlessChunks),
    ("bad-chunk", Asked::Page, Fault::BadChunk),
    ("huge-header", Asked::Page, Fault::HugeHeader),
    ("many-headers", Asked::Page, Fault::ManyHeaders),
    ("no-http", Asked::Page, Fault::NoHttp),
    ("noise", Asked::Page, Fault::Noise),
    ("redirect-loop", Asked::Page, Fault::RedirectLoop),
    ("redirect-noise", Asked::Page, Fault::RedirectNoise),
    ("redirect-file", Asked::Page, Fault::RedirectFile),
    ("status", Asked::Page, Fault::Status),
    ("other-words", Asked::Page, Fault::OtherWords),
    ("body-noise", Asked::Page, Fault::BodyNoise),
    ("http-1.0", Asked::Page, Fault::Http10),
    ("http-2-clear", Asked::Page, Fault::Http2InTheClear),
    ("http-2", Asked::Page, Fault::Http2),
    ("other-name", Asked::Page, Fault::OtherName),
    ("expired", Asked::Page, Fault::Expired),
    ("untrusted", Asked::Page, Fault::Untrusted),
    ("no-tls", Asked::Page, Fault::NoTls),
    ("tls-hangs", Asked::Page, Fault::TlsHangs),
    ("tcp-refused", Asked::Words, Fault::Refused),
    ("tcp-black-hole", Asked::Words, Fault::BlackHole),
    ("tcp-reset", Asked::Words, Fault::ResetAtOnce),
    ("tcp-closed", Asked::Words, Fault::Closed),
    ("tcp-half-open", Asked::Words, Fault::HalfOpen),
    ("tcp-drip", Asked::Words, Fault::DripBody),
    ("tcp-words", Asked::Words, Fault::OtherWords),
    ("tcp-endless", Asked::Words, Fault::EndlessBody),
    ("tcp-noise", Asked::Words, Fault::Noise),
    ("tcp-fine", Asked::Words, Fault::BodyNoise),
    ("tls-refused", Asked::Handshake, Fault::Refused),
    ("tls-black-hole", Asked::Handshake, Fault::BlackHole),
    ("tls-reset", Asked::Handshake, Fault::ResetAtOnce),
    ("tls-other-name", Asked::Handshake, Fault::OtherName),
    ("tls-expired", Asked::Handshake, Fault::Expired),
    ("tls-untrusted", Asked::Handshake, Fault::Untrusted),
    ("tls-no-tls", Asked::Handshake, Fault::NoTls),
    ("tls-half-open", Asked::Handshake, Fault::TlsHangs),
];

/// Records whose targets can be asked nothing. None has a resolver of the system asked.
const HOPELESS: &[(&str, &str)] = &[
    (
        "no-name",
        "ifurlextup({{['127.0.0.1']='http://a-label-of-more-than-sixty-three-octets-that-no-name-in-the-dns-has.example/'}}, {PAGE})",
    ),
    ("port-0", "ifurlup('http://www.example.com:0/', {'127.0.0.1'}, {PAGE})"),
    ("port-65536", "ifurlup('http://www.example.com:65536/', {'127.0.0.1'}, {PAGE})"),
    ("tcp-port-0", "ifportup(0, {'127.0.0.1'}, {ANY})"),
    ("scope", "ifurlextup({{['127.0.0.1']='http://[fe80::1%25lo]/'}}, {PAGE})"),
    ("scheme", "ifurlup('ftp://www.example.com/', {'127.0.0.1'}, {PAGE})"),
    ("nxdomain", "ifup({kind='tcp', port=9}, {{answer='127.0.0.1', probe='gone.example'}}, {ANY})"),
    ("servfail", "ifup({kind='tcp', port=9}, {{answer='127.0.0.1', probe='broken.example'}}, {ANY})"),
    ("no-resolver", "ifup({kind='tcp', port=9}, {{answer='127.0.0.1', probe='silent.example'}}, {ANY, timeout=1})"),
    ("metadata", "ifup({kind='tcp', port=9}, {{answer='127.0.0.1', probe='metadata.example'}}, {ANY})"),
];

/// The records of a zone with a target for each fault.
fn zone(targets: &[Target]) -> String {
    let of_fault = targets.iter().zip(FAULTS).map(|(target, (name, asked, fault))| {
        let (url, port) = (target.url(), target.address.port());
        let timeout = if fault.is_silent() { TIMEOUT_SILENT } else { TIMEOUT };
        let script = match asked {
            Asked::Page => format!("ifurlup('{url}', {{'127.0.0.1'}}, {{PAGE, timeout={timeout}}})"),
            Asked::Words => format!(
                "ifup({{kind='tcp', port={port}, send='GET / HTTP/1.0\\r\\n\\r\\n', expect='fine'}}, {{'127.0.0.1'}}, \
                 {{ANY, timeout={timeout}}})"
            ),
            Asked::Handshake => format!(
                "ifup({{kind='tls', port={port}, servername='{HOST}', verify=true}}, {{'127.0.0.1'}}, \
                 {{ANY, timeout={timeout}}})"
            ),
        };
        format!("{name} LUA A \"{script}\"\n")
    });
    let hopeless = HOPELESS.iter().map(|(name, script)| format!("{name} LUA A \"{script}\"\n"));
    let records: String = of_fault.chain(hopeless).collect();
    records
        .replace("PAGE", "ANY, stringmatch='fine', verify=true")
        .replace("ANY", "backupSelector='empty', interval=86400")
}

fn start(targets: &[Target], certificates: &Certificates, resolver: &Resolver) -> Rig {
    resolver.reply("broken.example. A", Resolved::Code(ResponseCode::ServFail));
    resolver.reply("broken.example. AAAA", Resolved::Code(ResponseCode::ServFail));
    resolver.reply("silent.example. A", Resolved::Hold);
    resolver.reply("silent.example. AAAA", Resolved::Hold);
    resolver.reply("metadata.example. A", Resolved::a("metadata.example.", 60, [169, 254, 169, 254]));
    let (roots, servers) = (certificates.roots.clone(), vec![resolver.address]);
    let prober = Arc::new(Prober::new(Settings { roots, servers }));
    Rig::start("health.jitter = \"0%\"", &zone(targets), move |slot: Arc<Slot>| {
        let prober = Arc::clone(&prober);
        async move { prober.probe(slot.check()).await }
    })
}

/// What each record's check says and what is answered, once all have had another verdict; fails if one was late.
async fn round(rig: &mut Rig) -> Vec<String> {
    let verdicts = rig.round().await;
    let slots = rig.slots().to_vec();
    let names = FAULTS.iter().map(|(name, ..)| name).chain(HOPELESS.iter().map(|(name, _)| name));
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

/// Waits until each target that can be well is answered.
async fn all_are_well(rig: &mut Rig) {
    // Short timeouts, and a machine that does other things too: a probe may fail that need not.
    const ATTEMPTS: usize = 5;
    let mut lines = round(rig).await;
    for _ in 0..ATTEMPTS {
        let (can_be_well, hopeless) = lines.split_at(FAULTS.len());
        assert!(hopeless.iter().all(|line| line.contains(" down NODATA")), "{lines:#?}");
        if can_be_well.iter().all(|line| line.contains(" passed        up   127.0.0.1")) {
            return;
        }
        rig.probe_all().await;
        lines = round(rig).await;
    }
    panic!("some do not come back: {lines:#?}");
}

#[tokio::test]
async fn each_fault_has_its_verdict_and_each_target_comes_back() {
    let certificates = Arc::new(Certificates::make());
    let is_tls = |asked, fault: Fault| matches!(asked, Asked::Handshake) || fault.is_tls();
    let start_well = |(_, asked, fault): &(_, _, _)| Target::start(is_tls(*asked, *fault), &certificates);
    let mut targets: Vec<_> = FAULTS.iter().map(start_well).collect();
    let resolver = Resolver::start();
    let mut rig = start(&targets, &certificates, &resolver);
    all_are_well(&mut rig).await;
    let mut rounds = Vec::new();
    for _ in 0..2 {
        for (target, (.., fault)) in targets.iter_mut().zip(FAULTS) {
            target.turn(*fault).await;
        }
        rig.probe_all().await;
        rounds.push(round(&mut rig).await);
        for target in &mut targets {
            target.turn(Fault::None).await;
        }
        rig.probe_all().await;
        all_are_well(&mut rig).await;
    }
    assert_eq!(rounds[0], rounds[1]);
    hold("tests/data/bad-input.txt", &rounds[0].concat());
}

#[cfg(target_os = "linux")]
#[test]
fn bodies_without_end_fill_no_memory() {
    // 50 probes until all that is kept is there, and then hundreds: of a leak each would leave a megabyte. Eight are under
    // way at a time, whose buffers come and go.
    const ROUNDS: [usize; 2] = [50, 300];
    const GROWTH_KIB_MAX: u64 = 32 << 10;
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

/// A library with a list of a hundred thousand addresses and one of a thousand, and a zone that hangs on them.
const MANY: [(&str, &str); 2] = [
    (
        "lua/lib/many.lua",
        "addresses, most = {}, {}\nfor i = 1, 100000 do addresses[i] = '127.0.0.1' end\n\
         for i = 0, 999 do most[i + 1] = '127.1.' .. i // 250 .. '.' .. i % 250 end\n",
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
                       [server]\nworkers = 1\n[health]\nwarmup = \"0s\"\n";

#[test]
fn a_list_of_a_hundred_thousand_addresses_is_told_before_it_is_served() {
    let directory = tempfile::tempdir().unwrap();
    let write = |(name, text): (&str, &str)| {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    MANY.into_iter().chain([("perigee.toml", PATIENT)]).for_each(write);
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
