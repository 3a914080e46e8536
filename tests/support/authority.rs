//! A responder over zones given as text: the whole of an authoritative server but its sockets and its checker.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use perigee::answer::{Client, Now, Observer, Outcome, Patience, Responder, Transport, World};
use perigee::config::{Config, Shed};
use perigee::daemon::{candidate, settings};
use perigee::diagnostic::Diagnostic;
use perigee::dns::Name;
use perigee::dns::edns::cookie::Secret;
use perigee::geo::{Database, Databases};
use perigee::health::table::Table;
use perigee::metrics;
use perigee::script::{Library, Program, Programs, Setup, Surroundings, Vm};
use perigee::zone::parser::{self, Input, Options};
use perigee::zone::{Zone, ZoneSet, check};

use super::mmdb::Mmdb;

/// When every question is asked.
const NOW: Now = Now { unix_secs: 1_700_000_000, monotonic: Duration::ZERO };

/// What signs cookies where a test names no secrets: that of the examples of RFC 9018.
const SECRET: [u8; 16] =
    [0xe5, 0xe9, 0x73, 0xe5, 0xa6, 0xb2, 0xa4, 0x3f, 0x48, 0xe7, 0xdc, 0x84, 0x9e, 0x37, 0xbf, 0xcf];

/// A responder whose clock stands still and whose random source starts from a fixed seed.
pub(crate) struct Authority {
    responder: Responder,
    counters: Arc<metrics::Server>,
}

/// The clock that runs are measured by.
type Stopwatch = Box<dyn Fn() -> Duration>;

/// Whether anything is known of targets. Where nothing ever is, that is not to cap the TTLs a test looks at.
enum Probed {
    Never,
    ByTest,
}

impl Authority {
    /// Serves zones, each an apex and the text of its file, under the text of a configuration.
    ///
    /// Panics with the diagnostics of what does not load.
    pub(crate) fn new<'t>(config: &str, zones: impl IntoIterator<Item = (&'t str, &'t str)>) -> Self {
        Self::with_databases(config, &[], zones)
    }

    /// As [`Authority::new`], with databases of places beside the zones.
    pub(crate) fn with_databases<'t>(
        config: &str,
        databases: &[Mmdb],
        zones: impl IntoIterator<Item = (&'t str, &'t str)>,
    ) -> Self {
        Self::with_library(config, databases, &[], zones)
    }

    /// As [`Authority::with_databases`], with files of Lua that all records share.
    pub(crate) fn with_library<'t>(
        config: &str,
        databases: &[Mmdb],
        library: &[&str],
        zones: impl IntoIterator<Item = (&'t str, &'t str)>,
    ) -> Self {
        Self::build(config, databases, library, (&Arc::new(Table::new(16)), Probed::Never), None, zones)
    }

    /// As [`Authority::with_library`], over a table of targets that a test has probed.
    pub(crate) fn with_table<'t>(
        config: &str,
        databases: &[Mmdb],
        library: &[&str],
        table: &Arc<Table>,
        zones: impl IntoIterator<Item = (&'t str, &'t str)>,
    ) -> Self {
        Self::build(config, databases, library, (table, Probed::ByTest), None, zones)
    }

    /// As [`Authority::new`], with runs of scripts measured by a clock, and shed when they take too much.
    pub(crate) fn with_stopwatch<'t>(
        config: &str,
        stopwatch: impl Fn() -> Duration + 'static,
        zones: impl IntoIterator<Item = (&'t str, &'t str)>,
    ) -> Self {
        let table = Arc::new(Table::new(16));
        Self::build(config, &[], &[], (&table, Probed::Never), Some(Box::new(stopwatch)), zones)
    }

    fn build<'t>(
        config: &str,
        databases: &[Mmdb],
        library: &[&str],
        (table, probed): (&Arc<Table>, Probed),
        stopwatch: Option<Stopwatch>,
        zones: impl IntoIterator<Item = (&'t str, &'t str)>,
    ) -> Self {
        let text = config;
        let config = match Config::parse(Some((Path::new("perigee.toml"), text)), []) {
            Ok((config, _)) => config,
            Err(diagnostics) => panic!("{}", told(&diagnostics)),
        };
        let zones: Vec<_> = zones.into_iter().map(|(apex, text)| load(&config, apex, text)).collect();
        let mut settings = settings::of(&config);
        if settings.cookies.secrets.is_empty() && config.edns.cookies {
            settings.cookies.secrets = Arc::new([Secret::new(SECRET)]);
        }
        if let Probed::Never = probed {
            settings.ttl_min_of_state = None;
        }
        // Where a test does not say so itself, an answer's order is not to depend on how many there were before.
        settings.rotate &= text.contains("rotate-rrsets");
        let world = World {
            surroundings: Arc::new(Surroundings {
                zones: ZoneSet::new(zones),
                geo: open(&config, databases),
                ..Surroundings::default()
            }),
            settings: Arc::new(settings),
        };
        // A clock that stands still never ends a run: how fast the machine is decides no test.
        let read =
            |file: &&str| ((*file).to_owned(), std::fs::read(file).unwrap_or_else(|error| panic!("{file}: {error}")));
        let library: Vec<_> = library.iter().map(read).collect();
        let library = Library::compile(&library).unwrap_or_else(|errors| panic!("{}", told(&errors)));
        let (library, table, overload) = (Arc::new(library), table.clone(), config.overload);
        let vm = Vm::new(Setup { limits: config.lua, library, table, seed: 7, clock: Box::new(|| Duration::ZERO) });
        let mut vm = vm.unwrap_or_else(|error| panic!("{error}"));
        if let Some(stopwatch) = stopwatch.filter(|_| overload.shed != Shed::Off) {
            vm.account_for_runs(overload, stopwatch);
        }
        let counters = Arc::new(metrics::Server::new(1));
        Self { responder: Responder::new(Arc::new(world), vm, counters.share(0)), counters }
    }

    /// Tells somebody of each request.
    pub(crate) fn tell(&mut self, observer: Observer) {
        self.responder.tell(observer);
    }

    /// One counter.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        self.counters.snapshot().get(name)
    }

    /// Answers one message; `None` for silence.
    pub(crate) fn respond(&mut self, from: SocketAddr, transport: Transport, octets: &[u8]) -> Option<Vec<u8>> {
        self.respond_at(NOW, from, transport, octets)
    }

    /// Answers one message at another moment than the usual one.
    pub(crate) fn respond_at(
        &mut self,
        now: Now,
        from: SocketAddr,
        transport: Transport,
        octets: &[u8],
    ) -> Option<Vec<u8>> {
        let client = Client { address: from, local: SocketAddr::from(([127, 0, 0, 1], 53)), transport };
        let mut reply = Vec::new();
        match self.responder.respond(now, &client, octets, Patience::Spent.into(), &mut reply) {
            Outcome::Reply => Some(reply),
            Outcome::Silence | Outcome::Await(_) => None,
        }
    }
}

/// Makes the databases and opens them.
fn open(config: &Config, databases: &[Mmdb]) -> Arc<Databases> {
    let open = |database: &Mmdb| Arc::new(Database::new(database.octets()).expect("the test made a database"));
    let databases = databases.iter().map(open).collect();
    Arc::new(Databases::new(databases, &config.geoip.language, config.geoip.unknown_location))
}

/// Loads a zone as a server would, and compiles its scripts.
fn load(config: &Config, apex: &str, text: &str) -> (Arc<Zone>, Programs) {
    let name: Name = apex.parse().unwrap_or_else(|error| panic!("`{apex}` is no apex: {error}"));
    let input = Input { file: apex.into(), text: text.as_bytes() };
    let mut no_includes = |_: &str, _: &perigee::diagnostic::Position| Err("zones here have no includes".to_owned());
    let parsed = parser::parse(&input, &Options::new(name.clone()), &mut no_includes);
    let mut diagnostics = parsed.diagnostics;
    diagnostics.extend(check::check(&name, &parsed.records));
    assert!(!diagnostics.iter().any(Diagnostic::is_error), "{}", told(&diagnostics));
    let zone = Zone::build(&name, parsed.records, candidate::scripts_of(config, &name))
        .unwrap_or_else(|| panic!("`{apex}` has no SOA"));
    let policy = candidate::policy_of(config, &name);
    let program = |script| match Program::compile(script, &policy) {
        Ok(program) => Arc::new(program),
        Err(diagnostic) => panic!("{diagnostic}"),
    };
    let programs = zone.scripts().iter().map(program).collect();
    (Arc::new(zone), programs)
}

fn told(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(|diagnostic| format!("\n{diagnostic}")).collect()
}
