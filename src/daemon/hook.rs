//! Who is told of targets that flip, if the configuration names somebody.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::health::tls::Roots;
use crate::health::webhook::{self, Queue, Receiver};

/// Tells what is wrong with the webhook: the configuration does not know what a URL is.
pub fn check(config: &Config) -> Vec<Diagnostic> {
    receiver(config).err().into_iter().collect()
}

/// A running webhook, or none.
pub(super) struct Hook(Option<(Arc<Queue>, JoinHandle<()>)>);

impl Hook {
    /// Starts what the configuration asks for; it ends a little after `stopping`.
    pub(super) fn start(config: &Config, roots: Roots, stopping: &Arc<Notify>) -> Result<Self, Vec<Diagnostic>> {
        let Some(receiver) = receiver(config).map_err(|fault| vec![fault])? else { return Ok(Self(None)) };
        let queue = Arc::new(Queue::new(config.health.webhook_queue_max));
        let server = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let stopping = stopping.clone();
        let stopped = async move { stopping.notified().await };
        let receiver = (receiver, config.health.webhook_timeout);
        let task = webhook::spawn(queue.clone(), receiver, server, roots, stopped);
        let task = task.map_err(|error| vec![fault(&error)])?;
        Ok(Self(Some((queue, task))))
    }

    /// Where events are put, if anywhere.
    pub(super) fn queue(&self) -> Option<Arc<Queue>> {
        self.0.as_ref().map(|(queue, _)| queue.clone())
    }

    /// Waits until it has ended.
    pub(super) async fn ended(self) {
        let Some((_, task)) = self.0 else { return };
        if let Err(error) = task.await {
            tracing::error!(%error, "webhook broke");
        }
    }
}

/// Reads the receiver; `None` if none is set.
fn receiver(config: &Config) -> Result<Option<Receiver>, Diagnostic> {
    let (url, token) = (&config.health.webhook, &config.health.webhook_token);
    if url.is_empty() {
        return Ok(None);
    }
    Receiver::parse(url, token).map(Some).map_err(|error| fault(&error))
}

fn fault(error: &str) -> Diagnostic {
    Diagnostic::error(None, format!("cannot post to `health.webhook`: {error}"))
        .help("write a URL as `https://hooks.example.net/perigee`, or `\"\"` for no webhook")
}
