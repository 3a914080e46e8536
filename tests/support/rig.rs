//! A zone, the checker of its targets and a responder in one runtime, without sockets: time may be simulated.

use std::collections::HashMap;
use std::future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use perigee::answer::{Client, Outcome as Answered, Patience, Responder, Transport, World};
use perigee::config::Config;
use perigee::daemon::{candidate, settings};
use perigee::dns::Now;
use perigee::health::checker::{Checker, Outcome, Parts, Settings};
use perigee::health::table::{Claims, Slot, Table};
use perigee::health::{Reason, Verdict};
use perigee::metrics;
use perigee::script::{Setup, Surroundings, Vm};
use perigee::source::{Event, FileSource};
use perigee::zone::ZoneSet;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::Instant;

use super::process::{Question, answers, rcode};

/// The apex of every zone here.
const APEX: &str = "example.net";
/// The TTL of its records.
pub(crate) const TTL: u32 = 300;
/// When a test begins, in seconds since 1970.
const START: u64 = 1_790_000_000;

/// The zone of a test, served and checked.
pub(crate) struct Rig {
    checker: Checker,
    claims: Claims,
    responder: Responder,
    start: Instant,
    /// Each verdict as it came, and when.
    verdicts: UnboundedReceiver<(Instant, Outcome)>,
}

impl Rig {
    /// Serves `records` below an SOA, under the text of a configuration, and starts to carry out their checks by `probe`.
    ///
    /// Waits for nothing. Random draws are the same every time.
    pub(crate) fn start<P, F>(config: &str, records: &str, probe: P) -> Self
    where
        P: Fn(Arc<Slot>) -> F + Send + 'static,
        F: Future<Output = Verdict> + Send + 'static,
    {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("perigee.toml");
        let (config, _) = Config::parse(Some((&path, config)), []).expect("a sound configuration");
        let candidate = load(&config, records);
        let table = Arc::new(Table::new(config.health.checks_max));
        let claims = table.claim(candidate.checks);
        let world = World {
            surroundings: Arc::new(Surroundings {
                zones: ZoneSet::new([(candidate.zone, candidate.programs)]),
                ..Surroundings::default()
            }),
            settings: Arc::new(settings::of(&config)),
        };
        let setup = Setup {
            limits: config.lua,
            library: Arc::default(),
            table: Arc::clone(&table),
            seed: 7,
            clock: Box::new(|| Duration::ZERO),
        };
        let counters = Arc::new(metrics::Server::new(1));
        let responder = Responder::new(Arc::new(world), Vm::new(setup).expect("a VM"), counters.share(0));
        let (start, (told, verdicts)) = (Instant::now(), unbounded_channel());
        // Whoever has lost interest in verdicts is done.
        let observe = move |outcome: &Outcome| drop(told.send((Instant::now(), outcome.clone())));
        let parts = Parts { probe, clock: move || now(start), observe, counters: Arc::default() };
        let settings = Settings {
            interval: config.health.interval,
            jitter: config.health.jitter,
            forget: config.health.forget,
            concurrency: config.health.concurrency,
        };
        let checker = Checker::spawn(Arc::clone(&table), settings, parts, future::pending());
        Self { checker, claims, responder, start, verdicts }
    }

    /// The checks of the zone, in the order of its records.
    pub(crate) fn slots(&self) -> &[Arc<Slot>] {
        self.claims.slots()
    }

    /// When there were verdicts that nobody has taken yet.
    pub(crate) fn verdict_times(&mut self) -> Vec<Instant> {
        std::iter::from_fn(|| self.verdicts.try_recv().ok()).map(|(at, _)| at).collect()
    }

    /// Has every check probed at once.
    pub(crate) async fn probe_all(&mut self) {
        // What was probed by its own clock meanwhile is no news.
        self.verdict_times();
        self.checker.probe_now(|_| true).await;
    }

    /// Waits until every check has had another verdict; what each said last, by the check as it is written.
    pub(crate) async fn round(&mut self) -> HashMap<String, (Option<Reason>, Duration)> {
        let mut verdicts = HashMap::new();
        while verdicts.len() < self.claims.slots().len() {
            let (_, Outcome { slot, took, reason, .. }) = self.verdicts.recv().await.expect("the checker runs");
            verdicts.insert(slot.check().to_string(), (reason, took));
        }
        verdicts
    }

    /// The answer to a question for the A records of a name in the zone: addresses, or what else is said, and the TTL.
    pub(crate) fn answer(&mut self, name: &str) -> (String, Option<u32>) {
        let question = Question::a(&format!("{name}.{APEX}"));
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 53));
        let client = Client { address: local, local, transport: Transport::Udp };
        let mut reply = Vec::new();
        let now = now(self.start);
        let answered = self.responder.respond(now, &client, &question.octets(), Patience::Spent.into(), &mut reply);
        assert!(matches!(answered, Answered::Reply));
        let reply = Message::from_vec(&reply).expect("a well-formed reply");
        match reply.answers.first() {
            Some(first) => (answers(&reply).join(" "), Some(first.ttl)),
            None if rcode(&reply) == ResponseCode::NoError => ("NODATA".to_owned(), None),
            None => (format!("{:?}", rcode(&reply)).to_uppercase(), None),
        }
    }
}

/// The clock that counts from `start`.
fn now(start: Instant) -> Now {
    Now { unix_secs: START + start.elapsed().as_secs(), monotonic: start.elapsed() }
}

/// Loads the zone as a server does.
fn load(config: &Config, records: &str) -> candidate::Candidate {
    let directory = tempfile::tempdir().expect("a directory");
    let text = format!("$TTL {TTL}\n@ SOA ns hostmaster 1 3600 900 604800 60\n@ NS ns\nns A 192.0.2.53\n{records}");
    std::fs::write(directory.path().join(format!("{APEX}.zone")), text).expect("written");
    let (of_zones, mut zones) = (config.clone(), config.zones.clone());
    zones.directory = directory.path().to_owned();
    let mut source = FileSource::new(&zones, &[], move |apex, text, reader| {
        candidate::load(&of_zones, &Arc::default(), &Surroundings::default(), apex, text, reader)
    });
    match source.load_all().pop() {
        Some(Event::Changed { zone, .. }) => zone,
        Some(event) => panic!("{:?}", event.diagnostics()),
        None => panic!("there is no zone in `{}`", Path::new(directory.path()).display()),
    }
}
