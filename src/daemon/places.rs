//! The databases of places: opened at the start, and opened again when their files change.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::config::{Config, Geoip};
use crate::diagnostic::Diagnostic;
use crate::geo::open::{OpenError, open};
use crate::geo::{Database, Databases};
use crate::script::Surroundings;
use crate::source::{Reloads, Settled, Watched};

/// The open databases, in the order of `geoip.databases`, and what looks after their files.
pub struct Places {
    config: Geoip,
    open: Vec<Opened>,
    watched: Watched,
}

/// A database and the file it came from.
type Opened = (PathBuf, Arc<Database>);

/// Databases of which some are new.
pub(super) struct Renewed {
    /// All of them.
    pub(super) databases: Arc<Databases>,
    /// The new ones, for the log.
    pub(super) files: Vec<Opened>,
}

impl Places {
    /// Opens every database of the configuration; tells of each that it cannot.
    pub fn open(config: &Config) -> Result<Self, Vec<Diagnostic>> {
        // The files are watched from before they are opened, so that no change is missed.
        let watched = Watched::new(config.geoip.databases.iter().cloned(), config.zones.reload_interval);
        let (mut opened, mut errors) = (Vec::new(), Vec::new());
        for path in &config.geoip.databases {
            match open(path) {
                Ok(database) => opened.push((path.clone(), Arc::new(database))),
                Err(error) => {
                    let message = format!("`geoip.databases`: cannot read `{}`: {error}", path.display());
                    errors.push(Diagnostic::error(None, message).help(error.help()));
                }
            }
        }
        if errors.is_empty() { Ok(Self { config: config.geoip.clone(), open: opened, watched }) } else { Err(errors) }
    }

    /// What scripts may look up, with these databases and without zones.
    pub fn surroundings(&self) -> Surroundings {
        Surroundings { geo: databases(&self.config, &self.open), ..Surroundings::default() }
    }

    /// Sends all databases anew whenever one has changed, until the receiver is dropped.
    ///
    /// A file that is no database replaces none. `reload` asks for all files to be opened again.
    pub(super) async fn keep_up(self, renewed: mpsc::Sender<Renewed>, mut reload: Reloads) {
        let Self { config, mut open, watched } = self;
        if open.is_empty() {
            return;
        }
        let (settled_in, mut settled) = mpsc::channel(1);
        let watching = watched.watch(settled_in, &mut reload);
        let renewing = async {
            while let Some(Settled { paths, passes: _passes }) = settled.recv().await {
                let reopened = tokio::task::spawn_blocking(move || {
                    let files = reopen(&mut open, &paths);
                    (open, files)
                });
                // It is not done when the runtime is shutting down.
                let Ok((reopened, files)) = reopened.await else { return };
                open = reopened;
                let databases = databases(&config, &open);
                if !files.is_empty() && renewed.send(Renewed { databases, files }).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = watching => {}
            () = renewing => {}
            () = renewed.closed() => {}
        }
    }
}

/// The databases as scripts see them.
fn databases(config: &Geoip, open: &[Opened]) -> Arc<Databases> {
    let databases = open.iter().map(|(_, database)| Arc::clone(database)).collect();
    Arc::new(Databases::new(databases, &config.language, config.unknown_location))
}

/// Opens these files again and puts what is in them in the place of what was; returns what is new.
fn reopen(held: &mut [Opened], paths: &[PathBuf]) -> Vec<Opened> {
    let mut renewed = Vec::new();
    for (path, database) in held.iter_mut().filter(|(path, _)| paths.contains(path)) {
        match open(path) {
            Ok(new) => {
                *database = Arc::new(new);
                renewed.push((path.clone(), Arc::clone(database)));
            }
            Err(error) => refuse(path.display(), &error),
        }
    }
    renewed
}

fn refuse(file: impl std::fmt::Display, error: &OpenError) {
    tracing::error!(%file, help = error.help(), "database refused, the old one serves on: {error}");
}
