//! All of health that the process has one of: opened before the first zone, followed, ended.
//!
//! In the order of [`Health::open`]: `hook.rs` tells of flips, `extfile.rs` reads the files of states, `keeper.rs` takes up
//! what an earlier process knew, `desk.rs` has in force what operators say; then the checker starts.

use std::io;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::desk::{self, Desk};
use super::extfile::StateFiles;
use super::hook::Hook;
use super::keeper::{self, Keeper};
use super::{blocking, system};
use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::health::checker::{Checker, Outcome, Parts, Settings};
use crate::health::events;
use crate::health::probe::{self, Prober};
use crate::health::table::{Slot, Table};
use crate::health::webhook::Queue;
use crate::metrics;
use crate::server::Clock;
use crate::source::{Pass, Reload, Reloads, Watched, reloads};

/// The table, who probes what it holds, and what stands beside the probes.
pub(super) struct Health {
    table: Arc<Table>,
    checker: Arc<Checker>,
    counters: Arc<metrics::Health>,
    hook: Hook,
    keeper: Option<Arc<Keeper>>,
    /// What is to be followed, until it is.
    files: Option<(StateFiles, Option<Operators>)>,
    following: JoinSet<()>,
    /// Ask for the files of states and for the overrides to be read again.
    reloads: [Reload; 2],
    /// How those who follow them are asked, until they do.
    asked: Option<[Reloads; 2]>,
}

/// What operators say, and the watch on their file.
type Operators = (Arc<Desk>, Watched);

impl Health {
    /// Takes up all that is known of targets before any check is, and starts the checker; that ends with `stopping`.
    pub(super) async fn open(
        config: &Config,
        probes: probe::Settings,
        clock: Clock,
        stopping: &Arc<Notify>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let table = Arc::new(Table::new(config.health.checks_max));
        let counters = Arc::new(metrics::Health::default());
        let hook = Hook::start(config, probes.roots.clone(), stopping)?;
        let states = StateFiles::read(config).await;
        let (keeper, operators) = take_up(config, &table).await;
        let prober = Prober::new(probes).with_files(states.said());
        let told = (hook.queue(), keeper.clone());
        let checker = Arc::new(start_checker(config, (prober, &table), told, clock, stopping, &counters)?);
        let files = Some((states, operators));
        let ((renew, renews), (rehear, rehears)) = (reloads(), reloads());
        let (following, reloads, asked) = (JoinSet::new(), [renew, rehear], Some([renews, rehears]));
        Ok(Self { table, checker, counters, hook, keeper, files, following, reloads, asked })
    }

    /// The table of checks.
    pub(super) fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// Who probes them.
    pub(super) fn checker(&self) -> &Arc<Checker> {
        &self.checker
    }

    /// What was counted so far.
    pub(super) fn counted(&self) -> metrics::Snapshot {
        self.counters.snapshot()
    }

    /// Starts to follow the files, and to write what is known; until the end, or until this is dropped.
    pub(super) fn follow(&mut self, config: &Config) {
        let (Some((states, operators)), Some([renews, rehears])) = (self.files.take(), self.asked.take()) else {
            return;
        };
        let look = config.zones.reload_interval;
        self.following.spawn(states.keep_up(look, self.checker.clone(), renews));
        if let Some((desk, watched)) = operators {
            self.following.spawn(desk.keep_up(watched, rehears));
        }
        if let Some(keeper) = self.keeper.clone() {
            self.following.spawn(keeper.keep_up());
        }
    }

    /// Has every file read again that is followed.
    pub(super) fn reload(&self, pass: &Pass) {
        self.reloads.iter().for_each(|reload| reload.ask(pass));
    }

    /// Writes what is known for the next start, and waits until the last event was told; `stopping` has rung.
    pub(super) async fn ended(self) {
        drop(self.following);
        if let Some(keeper) = self.keeper {
            blocking(move || keeper.save()).await;
        }
        self.hook.ended().await;
    }
}

/// Takes up what an earlier process knew and what operators say.
async fn take_up(config: &Config, table: &Arc<Table>) -> (Option<Arc<Keeper>>, Option<Operators>) {
    let (health, look, table) = (config.health.clone(), config.zones.reload_interval, Arc::clone(table));
    blocking(move || {
        let keeper = keeper::open(&health, &table);
        let is_set = !health.overrides_file.as_os_str().is_empty();
        (keeper, is_set.then(|| desk::open(health.overrides_file, table, look)))
    })
    .await
}

/// Starts the checker, on a thread of its own: it is to be on time while zones are taken in, and however many probes end.
fn start_checker(
    config: &Config,
    (prober, table): (Prober, &Arc<Table>),
    (queue, keeper): (Option<Arc<Queue>>, Option<Arc<Keeper>>),
    clock: Clock,
    stopping: &Arc<Notify>,
    counters: &Arc<metrics::Health>,
) -> Result<Checker, Vec<Diagnostic>> {
    let thread = start_thread(stopping).map_err(system("cannot start"))?;
    let _on_that = thread.enter();
    let settings = Settings {
        interval: config.health.interval,
        jitter: config.health.jitter,
        forget: config.health.forget,
        concurrency: config.health.concurrency,
    };
    let prober = Arc::new(prober);
    let probe = move |slot: Arc<Slot>| {
        let prober = prober.clone();
        async move { prober.probe(slot.check()).await }
    };
    let told = table.clone();
    let observe = move |outcome: &Outcome| {
        if let (Some(keeper), Some(_)) = (&keeper, outcome.flip) {
            keeper.note_flip();
        }
        let Some(event) = events::log(outcome, &told) else { return };
        queue.iter().for_each(|queue| queue.tell(&event));
    };
    let stopping = stopping.clone();
    let parts = Parts { probe, clock: move || clock.now(), observe, counters: counters.clone() };
    Ok(Checker::spawn(table.clone(), settings, parts, async move { stopping.notified().await }))
}

/// Starts a thread that carries out tasks until the server stops.
fn start_thread(stopping: &Arc<Notify>) -> io::Result<Handle> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (handle, stopping) = (runtime.handle().clone(), stopping.clone());
    let work = move || runtime.block_on(stopping.notified());
    std::thread::Builder::new().name("health".to_owned()).spawn(work)?;
    Ok(handle)
}
