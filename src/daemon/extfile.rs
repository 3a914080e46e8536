//! Files of states: read before the first check is probed, and again whenever they change.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::{blocking, log_diagnostics};
use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::health::checker::Checker;
use crate::health::extfile::{Files, changed};
use crate::health::{Check, Kind};
use crate::source::{Reloads, StateSource};

/// The files of states, and what they say.
pub(super) struct StateFiles {
    source: StateSource,
    said: watch::Sender<Arc<Files>>,
}

impl StateFiles {
    /// Reads every file there is.
    pub(super) async fn read(config: &Config) -> Self {
        let mut source = StateSource::new(&config.health.file_dir);
        let (source, looked) = blocking(move || {
            let looked = source.read(&[]);
            (source, looked)
        })
        .await;
        log_diagnostics(&looked.diagnostics);
        let said = watch::Sender::new(source.held());
        Self { source, said }
    }

    /// What the files say, now and from now on.
    pub(super) fn said(&self) -> watch::Receiver<Arc<Files>> {
        self.said.subscribe()
    }

    /// Takes up each change, and has the checks probed at once that look at a changed file.
    ///
    /// `reload` asks for all files to be read again.
    pub(super) async fn keep_up(self, interval: Duration, checker: Arc<Checker>, reload: Reloads) {
        let Self { source, said } = self;
        let (sender, mut news) = mpsc::channel::<(Arc<Files>, Vec<Diagnostic>)>(1);
        let taking_up = async {
            while let Some((after, diagnostics)) = news.recv().await {
                log_diagnostics(&diagnostics);
                let before = said.send_replace(Arc::clone(&after));
                let names = changed(&before, &after);
                if names.is_empty() {
                    continue;
                }
                tracing::info!(files = after.len(), changed = names.len(), "states taken up");
                let goes_by_it = move |check: &Check| match &check.kind {
                    Kind::File { file, .. } => names.contains(&**file),
                    Kind::Tcp { .. } | Kind::Tls { .. } | Kind::Http { .. } | Kind::Icmp(_) => false,
                    Kind::Dns { .. } | Kind::Grpc { .. } | Kind::Exec { .. } => false,
                    Kind::Fixed { .. } | Kind::Unusable { .. } => false,
                };
                checker.probe_now(goes_by_it).await;
            }
        };
        tokio::join!(source.watch(interval, sender, reload), taking_up);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::State;
    use crate::health::checker::{Outcome, Parts, Settings};
    use crate::health::probe::{self, Prober};
    use crate::health::table::{Slot, Table};
    use crate::server::Clock;

    #[tokio::test]
    async fn a_change_is_known_long_before_the_next_probe_is_due() {
        let directory = tempfile::tempdir().unwrap();
        let write = |text: &str| {
            // As whoever writes such files should: nobody reads half of one.
            std::fs::write(directory.path().join("new"), text).unwrap();
            std::fs::rename(directory.path().join("new"), directory.path().join("web.states")).unwrap();
        };
        write("a => up\n");
        let mut config = Config::default();
        config.health.file_dir = directory.path().into();
        let states = StateFiles::read(&config).await;
        let prober = Arc::new(Prober::new(probe::Settings::default()).with_files(states.said()));
        let table = Arc::new(Table::new(10));
        let slot = table.slot(&Check::new(Kind::File { file: "web".into(), entry: "a".into() }));
        let other = table.slot(&Check::new(Kind::File { file: "mail".into(), entry: "a".into() }));
        let (sender, mut verdicts) = mpsc::unbounded_channel();
        let clock = Clock::start();
        let parts = Parts {
            probe: move |slot: Arc<Slot>| {
                let prober = Arc::clone(&prober);
                async move { prober.probe(slot.check()).await }
            },
            clock: move || clock.now(),
            counters: Arc::default(),
            observe: move |outcome: &Outcome| drop(sender.send((outcome.slot.check().clone(), outcome.slot.state()))),
        };
        let hour = Duration::from_secs(3600);
        let settings = Settings { interval: hour, jitter: 0.0, forget: hour, concurrency: 10 };
        let checker = Arc::new(Checker::spawn(table, settings, parts, std::future::pending()));
        assert_eq!(checker.warm(&[Arc::clone(&slot), Arc::clone(&other)], hour).await, 0);
        assert_eq!((slot.state(), other.state()), (State::Up, State::Down));
        tokio::spawn(states.keep_up(Duration::from_millis(20), checker, crate::source::reloads().1));
        let mut until = async |state: State| {
            while slot.state() != state {
                verdicts.recv().await.unwrap();
            }
        };
        write("a => down\n");
        until(State::Down).await;
        write("a => sideways\n");
        write("a => up 7\n");
        until(State::Up).await;
        assert_eq!(slot.read().weight, Some(7));
        std::fs::remove_file(directory.path().join("web.states")).unwrap();
        until(State::Down).await;
    }
}
