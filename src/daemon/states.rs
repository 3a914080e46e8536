//! Files of states: read before the first check is probed, and again whenever they change.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};

use super::{blocking, log_diagnostics};
use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::health::checker::Checker;
use crate::health::states::{Files, changed};
use crate::health::{Check, Kind};
use crate::source::StateSource;

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
    /// `reload` asks for all files to be read again; ring it with `notify_one`.
    pub(super) async fn keep_up(self, interval: Duration, checker: Arc<Checker>, reload: Arc<Notify>) {
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
                checker.probe_now(move |check: &Check| match &check.kind {
                    Kind::File { file, .. } => names.contains(&**file),
                    _ => false,
                });
            }
        };
        tokio::join!(source.watch(interval, sender, reload), taking_up);
    }
}
