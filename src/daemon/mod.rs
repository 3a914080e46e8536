//! Wiring: build the World, start workers, source and checker; reload; shut down.
//!
//! Read [`run`] for the life of the process and `Stage` for the way of a zone from its file to the workers:
//! `candidate.rs` makes it of its text, its checks are claimed and probed, and only then it goes live. `library.rs`
//! reads the Lua that all records share, `places.rs` the databases of places, `cookies.rs` the secrets of cookies, `roots.rs`
//! the certificates that checks verify by, and `capability.rs` checks what their zones may call.
//!
//! `interfaces.rs` tells which addresses are served, `activation.rs` takes sockets that are handed over, `privileges/` gives
//! up the rights of root, and `manager.rs` tells a service manager how the process is.
//!
//! `health.rs` has the checker and what stands beside it: `extfile.rs` reads the files of states, `hook.rs` tells of flips,
//! `desk.rs` has in force what operators say, whose file `overrides.rs` reads and changes, and `keeper.rs` keeps states over
//! restarts; the last two have `replace.rs` write.

mod activation;
pub mod candidate;
pub mod capability;
pub mod cookies;
pub mod desk;
mod extfile;
mod files; // how many may be open
mod health;
pub mod hook;
pub mod interfaces;
pub mod keeper;
pub mod library;
mod manager;
pub mod overrides;
pub mod places;
mod privileges;
pub mod queries; // the query log
pub mod replace; // a file that is replaced whole
pub mod roots;
pub mod settings; // what the configuration says of answers

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rand::TryRng;
use rand::rngs::SysRng;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::answer::cookie::Cookies;
use crate::answer::{self, Awaited, Client, Now, Occasion, Outcome as Answered, Responder, World};
use crate::config::{Config, INTERFACES_LOOK, SOURCE_EVENTS_MAX, Shed};
use crate::diagnostic::{Diagnostic, Severity};
use crate::dns::Name;
use crate::dns::edns::cookie::Secret;
use crate::geo::Databases;
use crate::health::checker::Checker;
use crate::health::probe;
use crate::health::table::{Claims, Table};
use crate::metrics;
use crate::networks::Maps;
use crate::resolve::upstream::Upstream;
use crate::resolve::{Reason, Verdict, asker, table as names};
use crate::script::{Library, Programs, Setup, Surroundings, Vm};
use crate::server::{self, Clock, Listeners, Workers};
use crate::source::{Event, FileSource, MapSource, Pass, Passing, Reload, reloads};
use crate::zone::{Zone, ZoneSet};
use candidate::Candidate;
use cookies::Secrets;
use health::Health;
use interfaces::Followed;
use places::{Places, Renewed};
use privileges::Identity;
use queries::{Clerk, QueryLog};

/// How much the clock that scripts are held against may be late.
const THREAD_CLOCK_GRAIN: Duration = Duration::from_micros(250);
/// How often worlds that were replaced are looked at. A worker takes the new one with its next query.
const RETIRED_LOOK: Duration = Duration::from_secs(1);

/// Serves until a signal says stop; returns why it could not go on.
///
/// SIGTERM and SIGINT stop, a second one at once; SIGHUP reads every zone and database again and opens the query log anew,
/// SIGUSR1 logs the counters. To be called while there is one thread; `begin_threads` is called when others may be started,
/// with what is left of its rights.
pub fn run(config: &Config, begin_threads: fn()) -> Result<(), Vec<Diagnostic>> {
    let workers = match config.server.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    let faults = [capability::check(config), hook::check(config)].concat();
    if !faults.is_empty() {
        return Err(faults);
    }
    let identity = Identity::look_up(&config.server)?;
    let ports = take_ports(config, workers)?;
    log_diagnostics(files::allow(config).as_slice());
    // All that follows is done by who serves: what that user cannot read is told at the start, and not at a reload.
    privileges::give_up(identity.as_ref())?;
    begin_threads();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(system("cannot start"))?;
    let counters = Arc::new(metrics::Server::new(ports.0.workers()));
    let queries = QueryLog::open(&config.log, &counters, ports.0.workers()).map_err(|error| vec![error])?;
    let served = runtime.block_on(serve(config, ports, counters, queries.as_ref()));
    if let Some(queries) = queries {
        queries.end();
    }
    // What a thread still reads is for nobody.
    runtime.shutdown_background();
    served
}

/// Takes the sockets that are handed over, or else binds the configured addresses; those of interfaces can be followed.
fn take_ports(config: &Config, workers: usize) -> Result<(Listeners, Option<Followed>), Vec<Diagnostic>> {
    if let Some(listeners) = activation::take(workers)? {
        tracing::info!(addresses = ?listeners.addresses(), "sockets were handed over, `server.listen` is passed over");
        return Ok((listeners, None));
    }
    let present = interfaces::present().map_err(system("the system does not tell its interfaces"))?;
    let wanted = interfaces::resolve(&config.server.listen, config.server.freebind, &present)?;
    let listeners = server::bind(&wanted, workers)?;
    let followed = Followed::new(config, &listeners);
    Ok((listeners, followed))
}

/// The life of a server: read, probe, serve and keep up with changes, stop.
async fn serve(
    config: &Config,
    (listeners, followed): (Listeners, Option<Followed>),
    counters: Arc<metrics::Server>,
    queries: Option<&QueryLog>,
) -> Result<(), Vec<Diagnostic>> {
    let mut signals = Signals::new().map_err(system("cannot listen for signals"))?;
    log_diagnostics(listeners.warnings());
    privileges::warn_of_unwritable(config);
    let stopping = Arc::new(Notify::new());
    let clock = Clock::start();
    let started = tokio::select! {
        started = start(config, clock, &stopping) => started?,
        () = signals.stop() => return Ok(()),
    };
    let Started { library, sources, stage, mut health } = started;

    let (publish, world) = watch::channel(stage.world());
    let addresses = listeners.addresses().to_vec();
    let crew = Crew { world, counters: counters.clone(), clock, clerk: queries.map(QueryLog::clerk) };
    let factory = worker_factory(config, library, health.table().clone(), crew)?;
    let workers = server::start(listeners, transports(config), clock, counters, factory);
    let workers = workers.map_err(|error| vec![Diagnostic::error(None, error.to_string())])?;
    tracing::info!(?addresses, zones = stage.live.len(), checks = stage.table.len(), "serving");
    stage.tell_ready();

    health.follow(config);
    let signing = tokio::spawn(manager::sign(workers.orders()));
    keep_up(stage, sources, &publish, (&health, queries), (&workers, followed), &mut signals).await;

    tracing::info!(counters = %counted(&workers, &health), "stopping");
    manager::stopping();
    signing.abort();
    workers.stop().request();
    stopping.notify_waiters();
    let joining = tokio::task::spawn_blocking(move || workers.join());
    let ended = async {
        health.ended().await;
        joining.await.expect("joining threads does not panic, and nothing stops the runtime meanwhile")
    };
    tokio::select! {
        joined = ended => joined.map_err(|error| vec![Diagnostic::error(None, error.to_string())]),
        () = signals.stop() => {
            tracing::warn!("stopped at once: what was being answered is not");
            Ok(())
        }
    }
}

/// All that is there before anything is answered.
struct Started<'c> {
    library: Arc<Library>,
    sources: Sources,
    stage: Stage<'c>,
    health: Health,
}

/// Reads all that is served, and waits for the first probes.
async fn start<'c>(config: &'c Config, clock: Clock, stopping: &Arc<Notify>) -> Result<Started<'c>, Vec<Diagnostic>> {
    manager::starting("reading zones");
    let library = library::load(config)?;
    let places = Places::open(config)?;
    let (secrets, warnings) = Secrets::open(config)?;
    log_diagnostics(&warnings);
    let probes = probe::Settings { roots: roots::read(config)?, servers: config.resolver.servers.clone() };
    let health = Health::open(config, probes, clock, stopping).await?;
    let names = start_asker(config, clock, stopping);
    let (sources, mut stage) = read_all(config, &library, (places, secrets, names), health.table(), clock).await;
    manager::starting("waiting for first probes");
    warm_all(&mut stage, health.checker()).await;
    Ok(Started { library, sources, stage, health })
}

/// Where zones and what scripts may look up come from.
struct Sources {
    zones: FileSource<Candidate>,
    places: Places,
    secrets: Secrets,
    maps: MapSource,
}

/// Reads every map and zone there is and claims their checks; the sources are ready to be watched.
async fn read_all<'c>(
    config: &'c Config,
    library: &Arc<Library>,
    (places, secrets, names): (Places, Secrets, Arc<names::Table>),
    table: &Arc<Table>,
    clock: Clock,
) -> (Sources, Stage<'c>) {
    let beside = Surroundings { names, ..places.surroundings() };
    let (shared, library) = (Arc::new(config.clone()), library.clone());
    let mut stage = Stage::new(config, table.clone(), beside, clock);
    stage.renew_secrets(secrets.held());
    let beside = stage.beside.subscribe();
    let mut zones = FileSource::new(&config.zones, &config.zone, move |name, text, reader| {
        let beside = Arc::clone(&beside.borrow());
        candidate::load(&shared, &library, &beside, name, text, reader)
    });
    let mut maps = MapSource::new(&config.lua.map_dir);
    // Zones are tried with the maps that they look up.
    let (maps, looked) = blocking(move || {
        let looked = maps.read(&[]);
        (maps, looked)
    })
    .await;
    stage.renew_maps(maps.held(), &looked.diagnostics);
    let (zones, events) = blocking(move || {
        let events = zones.load_all();
        (zones, events)
    })
    .await;
    for event in events {
        if let Some(mut claimed) = stage.take(event) {
            stage.lookups.append(&mut claimed.lookups);
            stage.accept(claimed);
        }
    }
    (Sources { zones, places, secrets, maps }, stage)
}

/// Reads files on a thread made for blocking.
async fn blocking<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> T {
    let read = tokio::task::spawn_blocking(read).await;
    read.expect("reading files does not panic, and nothing stops the runtime meanwhile")
}

/// Waits for the first probes of all checks and for all look-ups, up to the deadline.
async fn warm_all(stage: &mut Stage<'_>, checker: &Checker) {
    let lookups = std::mem::take(&mut stage.lookups);
    let slots: Vec<_> = stage.live.values().flat_map(|hosted| hosted.claims.slots()).cloned().collect();
    let deadline = stage.config.health.warmup;
    let (unprobed, ()) = tokio::join!(checker.warm(&slots, deadline), settle(lookups, deadline));
    if unprobed > 0 {
        tracing::warn!(checks = slots.len(), unprobed, "checks without a result yet count as down");
    }
}

/// Publishes what changes, until a signal or a worker's failure says stop.
async fn keep_up(
    mut stage: Stage<'_>,
    Sources { zones, places, secrets, maps }: Sources,
    publish: &watch::Sender<Arc<World>>,
    (health, queries): (&Health, Option<&QueryLog>),
    (workers, mut followed): (&Workers, Option<Followed>),
    signals: &mut Signals,
) {
    let (events_in, mut events) = mpsc::channel(SOURCE_EVENTS_MAX);
    let (ready_in, mut ready) = mpsc::channel(SOURCE_EVENTS_MAX);
    let (maps_in, mut maps_changed) = mpsc::channel(1);
    let (renewed_in, mut renewed) = mpsc::channel(1);
    let (secrets_in, mut secrets_renewed) = mpsc::channel(1);
    let [(reload, reloads_of_zones), (reread, rereads), (reopen, reopens), (resign, resigns)] =
        std::array::from_fn(|_| reloads());
    let sources = [reload, reread, reopen, resign];
    let mut watching = JoinSet::new();
    watching.spawn(zones.watch(events_in, reloads_of_zones));
    watching.spawn(maps.watch(stage.config.zones.reload_interval, maps_in, rereads));
    watching.spawn(places.keep_up(renewed_in, reopens));
    watching.spawn(secrets.keep_up(secrets_in, resigns));
    let (stop, orders) = (workers.stop(), workers.orders());
    let mut looks = tokio::time::interval(INTERFACES_LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut retired = Retired::default();
    let mut reloading = Reloading::No;
    // How many zones wait for their first probes.
    let mut warming = 0_usize;
    loop {
        tokio::select! {
            Some(event) = events.recv() => match event {
                Event::Removed { name } => {
                    if stage.remove(&name) {
                        retired.add(publish.send_replace(stage.world()));
                        tracing::warn!(zone = %name, "zone withdrawn: its file is gone");
                        stage.tell_status();
                    }
                }
                event => if let Some(claimed) = stage.take(event) {
                    warming += 1;
                    tokio::spawn(warm(claimed, health.checker().clone(), stage.config.health.warmup, ready_in.clone()));
                },
            },
            Some(claimed) = ready.recv() => {
                warming -= 1;
                let mut names: Vec<Name> = stage.accept(claimed).into_iter().collect();
                while let Ok(claimed) = ready.try_recv() {
                    warming -= 1;
                    names.extend(stage.accept(claimed));
                }
                retired.add(publish.send_replace(stage.world()));
                // Said once it is so: who reads this may ask at once.
                names.iter().for_each(|name| stage.announce(name));
                stage.tell_status();
            }
            Some((maps, diagnostics)) = maps_changed.recv() => {
                stage.renew_maps(maps, &diagnostics);
                retired.add(publish.send_replace(stage.world()));
                stage.announce_maps();
            }
            Some(Renewed { databases, files }) = renewed.recv() => {
                stage.renew_databases(databases);
                retired.add(publish.send_replace(stage.world()));
                for (file, database) in files {
                    let (file, kind, built) = (file.display(), database.kind(), database.built());
                    tracing::info!(%file, kind, built, "database replaced");
                }
            }
            Some(secrets) = secrets_renewed.recv() => {
                let count = secrets.len();
                stage.renew_secrets(secrets);
                retired.add(publish.send_replace(stage.world()));
                tracing::info!(secrets = count, "secrets of cookies replaced");
            }
            () = retired.wait() => retired.drop_unused(),
            () = reloading.is_read() => reloading = Reloading::Read,
            _ = looks.tick() => followed.iter_mut().for_each(|followed| followed.look(&orders)),
            order = signals.next() => match order {
                Order::Stop => return,
                Order::Reload => {
                    tracing::info!("reading every zone again");
                    manager::reloading();
                    reloading = Reloading::begin(&sources, health);
                    followed.iter_mut().for_each(|followed| followed.look(&orders));
                    if let Some(queries) = queries {
                        queries.reopen();
                    }
                }
                Order::Count => tracing::info!(counters = %counted(workers, health), "counted so far"),
            },
            () = stop.requested() => return,
        }
        let is_taken_up =
            events.is_empty() && maps_changed.is_empty() && renewed.is_empty() && secrets_renewed.is_empty();
        let is_taken_up = is_taken_up && warming == 0;
        if is_taken_up && matches!(reloading, Reloading::Read) {
            reloading = Reloading::No;
            tracing::info!(zones = stage.live.len(), checks = stage.table.len(), "all is read again");
            stage.tell_ready();
        }
    }
}

/// How far it has come that all is read again.
enum Reloading {
    /// It was not asked for, or is done.
    No,
    /// Files are being read.
    Reads(Passing),
    /// They are read; some of what was read may still be on its way to the workers.
    Read,
}

impl Reloading {
    /// Asks all who read files to do so again.
    fn begin(sources: &[Reload], health: &Health) -> Self {
        let (pass, passing) = Pass::begin();
        sources.iter().for_each(|source| source.ask(&pass));
        health.reload(&pass);
        Self::Reads(passing)
    }

    /// Waits until all is read; for ever if nothing is being.
    async fn is_read(&mut self) {
        match self {
            Self::Reads(passing) => passing.over().await,
            Self::No | Self::Read => std::future::pending().await,
        }
    }
}

/// All counters there are.
fn counted(workers: &Workers, health: &Health) -> metrics::Snapshot {
    workers.counters().snapshot().and(health.counted())
}

/// The zones on their way to the workers, and those that are there.
struct Stage<'c> {
    config: &'c Config,
    settings: Arc<answer::Settings>,
    table: Arc<Table>,
    clock: Clock,
    /// What zones look up that were read before any was served.
    lookups: Vec<Awaited>,
    /// What scripts may look up, but for the zones; whoever makes a candidate sees the newest.
    beside: watch::Sender<Arc<Surroundings>>,
    live: BTreeMap<Name, Hosted>,
    /// The newest version of each zone seen, so that a slow older one does not replace it.
    versions: HashMap<Name, u64>,
    versions_seen: u64,
}

/// A zone with what keeps its checks alive.
struct Hosted {
    zone: Arc<Zone>,
    programs: Programs,
    claims: Claims,
}

/// A zone whose checks are claimed and may still want a first probe, and whose names are being looked up.
struct Claimed {
    name: Name,
    version: u64,
    lookups: Vec<Awaited>,
    hosted: Hosted,
}

impl<'c> Stage<'c> {
    fn new(config: &'c Config, table: Arc<Table>, beside: Surroundings, clock: Clock) -> Self {
        let beside = watch::Sender::new(Arc::new(beside));
        let (lookups, live, versions) = (Vec::new(), BTreeMap::new(), HashMap::new());
        let settings = Arc::new(settings::of(config));
        Self { config, settings, table, beside, clock, lookups, live, versions, versions_seen: 0 }
    }

    /// Takes maps in the place of those there were, and logs what is wrong with them.
    fn renew_maps(&self, maps: Arc<Maps>, diagnostics: &[Diagnostic]) {
        log_diagnostics(diagnostics);
        let renewed = self.beside.borrow().with_maps(maps);
        self.beside.send_replace(Arc::new(renewed));
    }

    /// Logs what an event tells, and claims the checks of a zone that came with it.
    fn take(&mut self, event: Event<Candidate>) -> Option<Claimed> {
        log_diagnostics(event.diagnostics());
        match event {
            Event::Changed { name, zone: Candidate { zone, programs, checks, names }, .. } => {
                self.versions_seen += 1;
                self.versions.insert(name.clone(), self.versions_seen);
                let hosted = Hosted { zone, programs, claims: self.table.claim(checks) };
                let lookups = self.beside.borrow().names.prepare(&names, self.clock.now().monotonic);
                Some(Claimed { name, version: self.versions_seen, lookups, hosted })
            }
            Event::Failed { name: Some(name), .. } => {
                match self.live.get(&name) {
                    Some(old) => {
                        tracing::error!(zone = %name, serial = old.zone.serial(), "zone refused, the old one serves on")
                    }
                    None => tracing::error!(zone = %name, "zone refused, it is not served"),
                }
                None
            }
            Event::Failed { name: None, .. } => None,
            Event::Removed { name } => {
                self.remove(&name);
                None
            }
        }
    }

    /// Takes a zone into the next world, unless a newer version of it was seen; returns its name if so.
    fn accept(&mut self, Claimed { name, version, hosted, .. }: Claimed) -> Option<Name> {
        if self.versions.get(&name) != Some(&version) {
            return None;
        }
        self.live.insert(name.clone(), hosted);
        Some(name)
    }

    /// Logs that a zone is served from now on.
    fn announce(&self, name: &Name) {
        if let Some(Hosted { zone, claims, .. }) = self.live.get(name) {
            let (serial, records, checks) = (zone.serial(), zone.record_count(), claims.slots().len());
            tracing::info!(zone = %name, serial, records, checks, "zone published");
        }
    }

    /// Logs which maps there are from now on.
    fn announce_maps(&self) {
        let beside = self.beside.borrow();
        let networks: usize = beside.maps.values().map(|map| map.networks().len()).sum();
        tracing::info!(maps = beside.maps.len(), networks, "maps published");
    }

    /// Tells the service manager that what there is is served.
    fn tell_ready(&self) {
        manager::ready(self.live.len(), self.table.len());
    }

    /// Tells the service manager what is served by now.
    fn tell_status(&self) {
        manager::status(self.live.len(), self.table.len());
    }

    /// Takes a zone out; returns whether it was served.
    fn remove(&mut self, name: &Name) -> bool {
        self.versions.remove(name);
        self.live.remove(name).is_some()
    }

    /// Takes databases of places in the place of those there were.
    fn renew_databases(&self, databases: Arc<Databases>) {
        let renewed = Surroundings { geo: databases, ..self.beside.borrow().with_zones(ZoneSet::default()) };
        self.beside.send_replace(Arc::new(renewed));
    }

    /// Takes secrets of cookies in the place of those there were.
    fn renew_secrets(&mut self, secrets: Arc<[Secret]>) {
        let cookies = Cookies { secrets, ..self.settings.cookies.clone() };
        self.settings = Arc::new(answer::Settings { cookies, ..(*self.settings).clone() });
    }

    /// What answers are made from, with the zones as they are now.
    fn world(&self) -> Arc<World> {
        let zones = self.live.values().map(|hosted| (hosted.zone.clone(), hosted.programs.clone()));
        Arc::new(World {
            surroundings: Arc::new(self.beside.borrow().with_zones(ZoneSet::new(zones))),
            settings: self.settings.clone(),
        })
    }
}

/// Worlds that were replaced, until no worker answers from them any more.
///
/// To take a large zone apart takes long, and whoever lets go of it last has to: that is not to be a worker.
#[derive(Default)]
struct Retired(Vec<Arc<World>>);

impl Retired {
    /// Takes a world in, and lets go of others: where zones change all the time, nobody waits long enough to.
    fn add(&mut self, world: Arc<World>) {
        self.drop_unused();
        self.0.push(world);
    }

    /// Waits until it may be worth looking again; for ever when there is nothing to drop.
    async fn wait(&self) {
        if self.0.is_empty() {
            return std::future::pending().await;
        }
        tokio::time::sleep(RETIRED_LOOK).await;
    }

    /// Drops what nobody else holds, on a thread made for blocking.
    fn drop_unused(&mut self) {
        let unused: Vec<Arc<World>> = self.0.extract_if(.., |world| Arc::strong_count(world) == 1).collect();
        if !unused.is_empty() {
            tokio::task::spawn_blocking(move || drop(unused));
        }
    }
}

/// Waits for the first probes of a zone's checks and for its look-ups, up to `deadline`, and hands it on.
async fn warm(mut claimed: Claimed, checker: Arc<Checker>, deadline: Duration, ready: mpsc::Sender<Claimed>) {
    let lookups = std::mem::take(&mut claimed.lookups);
    let slots = claimed.hosted.claims.slots();
    let (unprobed, ()) = tokio::join!(checker.warm(slots, deadline), settle(lookups, deadline));
    if unprobed > 0 {
        tracing::warn!(zone = %claimed.name, unprobed, "checks without a result yet count as down");
    }
    // Nobody listens any more when the server is stopping.
    let _ = ready.send(claimed).await;
}

/// Waits until look-ups have ended, up to `deadline`. Whoever asks for what is still missing waits for it then.
async fn settle(lookups: Vec<Awaited>, deadline: Duration) {
    let all = async {
        for lookup in lookups {
            lookup.await;
        }
    };
    let _ = tokio::time::timeout(deadline, all).await;
}

/// Makes the table of names and starts the one who asks for them.
fn start_asker(config: &Config, clock: Clock, stopping: &Arc<Notify>) -> Arc<names::Table> {
    let config = &config.resolver;
    let lifetimes = names::Lifetimes { ttl_min: config.ttl_min, negative_ttl: config.negative_ttl };
    let table = Arc::new(names::Table::new(config.cache_max, lifetimes));
    let upstream = Upstream::new(&config.servers, config.timeout).inspect_err(|error| {
        tracing::warn!(%error, "the system names no resolvers, `resolve` fails; set `resolver.servers`");
    });
    let upstream = Arc::new(upstream.ok());
    let ask = move |question| {
        let upstream = upstream.clone();
        async move {
            match &*upstream {
                Some(upstream) => upstream.ask(&question).await,
                None => Verdict::Failed(Reason::Unreachable),
            }
        }
    };
    let stopping = stopping.clone();
    let stopped = async move { stopping.notified().await };
    asker::spawn(table.clone(), ask, move || clock.now().monotonic, stopped);
    table
}

/// What the configuration says of transports.
fn transports(config: &Config) -> server::Settings {
    let bits = |prefix: usize| u8::try_from(prefix).expect("the bounds of its key are within it");
    server::Settings {
        udp_batch: config.server.udp_batch,
        tcp_connections_max: config.server.tcp_connections_max,
        tcp_connections_per_network_max: config.server.tcp_connections_per_network_max,
        tcp_ipv4_prefix: bits(config.server.tcp_ipv4_prefix),
        tcp_ipv6_prefix: bits(config.server.tcp_ipv6_prefix),
        tcp_idle_timeout: config.server.tcp_idle_timeout,
        tcp_first_timeout: crate::config::TCP_FIRST_TIMEOUT,
        tcp_total_timeout: Some(config.server.tcp_total_timeout).filter(|total| !total.is_zero()),
        tcp_write_timeout: config.server.tcp_write_timeout,
        tcp_fast_open: config.server.tcp_fast_open,
        stop_timeout: crate::config::STOP_TIMEOUT,
        waits_max: config.resolver.waiting_max,
        wait_timeout: config.resolver.timeout,
    }
}

/// The time since 1970 by the system's clock.
fn wall() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// Makes a clock of the time of a processor that its thread has had, for one thread.
///
/// To ask the system takes a call, so it is asked no more than once in [`THREAD_CLOCK_GRAIN`] of the time of day: the
/// clock is late by that at most, and cheap to read.
fn thread_clock() -> Box<dyn Fn() -> Duration> {
    let ask = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::try_from(time).unwrap_or_default()
    };
    let last = Cell::new((Instant::now(), ask()));
    Box::new(move || {
        let (asked, time) = last.get();
        let now = Instant::now();
        if now.duration_since(asked) < THREAD_CLOCK_GRAIN {
            return time;
        }
        last.set((now, ask()));
        last.get().1
    })
}

/// What makes each worker's responder, on the worker's own thread.
///
/// A first VM is made here, so that a machine without room for one says so before it serves.
fn worker_factory(
    config: &Config,
    library: Arc<Library>,
    table: Arc<Table>,
    crew: Crew,
) -> Result<impl Fn(usize) -> Respond + Send + Sync + 'static, Vec<Diagnostic>> {
    let (limits, overload) = (config.lua.clone(), config.overload);
    let clock = crew.clock;
    let seed = SysRng.try_next_u64();
    let seed =
        seed.map_err(|error| vec![Diagnostic::error(None, format!("the system has no random numbers: {error}"))])?;
    let vm = move |index: usize| {
        // One draw of the system's, spread over the workers: each has its own sequence.
        let seed = seed.wrapping_add((index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (limits, library, table) = (limits.clone(), library.clone(), table.clone());
        let mut vm = Vm::new(Setup { limits, library, table, seed, clock: thread_clock() })?;
        if overload.shed != Shed::Off {
            vm.account_for_runs(overload, Box::new(move || clock.monotonic()));
        }
        Ok(vm)
    };
    vm(0).map_err(|error| vec![error])?;
    Ok(move |index| -> Respond {
        let Crew { mut world, counters, clock, clerk } = crew.clone();
        let vm = vm(index).expect("a VM was made just before, and a worker without one is no worker");
        let mut responder = Responder::new(world.borrow_and_update().clone(), vm, counters.share(index));
        if let Some(clerk) = clerk {
            responder.tell(clerk.observer(index, counters.share(index), clock));
        }
        Box::new(move |now, client, octets, occasion, out| {
            if world.has_changed().unwrap_or(false) {
                responder.swap(world.borrow_and_update().clone());
            }
            responder.respond(now, client, octets, occasion, out)
        })
    })
}

/// What all workers have in common.
#[derive(Clone)]
struct Crew {
    world: watch::Receiver<Arc<World>>,
    counters: Arc<metrics::Server>,
    clock: Clock,
    clerk: Option<Clerk>,
}

/// A worker's way from requests to replies.
type Respond = Box<dyn FnMut(Now, &Client, &[u8], Occasion, &mut Vec<u8>) -> Answered>;

/// The signals the process heeds.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    reload: Signal,
    count: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
            count: signal(SignalKind::user_defined1())?,
        })
    }

    /// Waits for the next one.
    async fn next(&mut self) -> Order {
        tokio::select! {
            _ = self.terminate.recv() => Order::Stop,
            _ = self.interrupt.recv() => Order::Stop,
            _ = self.reload.recv() => Order::Reload,
            _ = self.count.recv() => Order::Count,
        }
    }

    /// Waits for one that says stop; the others have no meaning yet.
    async fn stop(&mut self) {
        while self.next().await != Order::Stop {}
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Stop serving.
    Stop,
    /// Read every zone again.
    Reload,
    /// Log the counters.
    Count,
}

/// Logs diagnostics, each on a line of its own.
fn log_diagnostics(diagnostics: &[Diagnostic]) {
    for Diagnostic { severity, position, message, help } in diagnostics {
        let position = position.as_ref().map(tracing::field::display);
        match severity {
            Severity::Error => tracing::error!(position, help, "{message}"),
            Severity::Warning => tracing::warn!(position, help, "{message}"),
        }
    }
}

/// A failure of the system as a diagnostic.
fn system(what: &'static str) -> impl Fn(io::Error) -> Vec<Diagnostic> {
    move |error| vec![Diagnostic::error(None, format!("{what}: {error}"))]
}
