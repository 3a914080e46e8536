//! Connections that are kept from one probe of a check to its next, where the check asks for that.
//!
//! It is not the default: what is to be known is whether the target takes a new client, and a server that accepts
//! nobody any more may serve its old connections for hours. PowerDNS makes a new one for each probe as well.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{self, Instant};

use super::link::Link;
use crate::health::check::{Host, Http, Reach};

/// How many connections are kept.
const CONNECTIONS_MAX: usize = 4096;
/// How old a connection may become.
///
/// Short enough that a name which leads elsewhere now, or a certificate that is due, is not overlooked for long.
const AGE_MAX: Duration = Duration::from_secs(60);

/// For whom a connection is kept: what a probe does to make one, and how it goes on.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) address: Option<Host>,
    pub(super) request: Arc<Http>,
    pub(super) source: Option<IpAddr>,
    pub(super) reach: Arc<Reach>,
}

/// A connection, and when it was made.
pub(super) struct Aged {
    pub(super) link: Link,
    pub(super) since: Instant,
}

/// The connections that are kept.
#[derive(Clone, Default)]
pub(super) struct Kept(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    links: HashMap<Key, Aged>,
    /// Whether somebody looks for those that have become old.
    swept: bool,
}

impl Kept {
    /// Takes the connection of a check, if there is one that is still good.
    pub(super) fn take(&self, key: &Key) -> Option<Aged> {
        let mut aged = self.0.lock().unwrap_or_else(PoisonError::into_inner).links.remove(key)?;
        (aged.since.elapsed() < AGE_MAX && aged.link.is_open()).then_some(aged)
    }

    /// Keeps a connection for the next probe, if there is room.
    pub(super) fn put(&self, key: Key, mut aged: Aged) {
        if aged.since.elapsed() >= AGE_MAX || !aged.link.is_open() {
            return;
        }
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.links.len() < CONNECTIONS_MAX {
            inner.links.insert(key, aged);
        }
        if !inner.swept {
            inner.swept = true;
            tokio::spawn(self.clone().sweep());
        }
    }

    /// Closes what has become old, until nothing is kept: a check that is gone takes its connection with it.
    async fn sweep(self) {
        loop {
            time::sleep(AGE_MAX / 2).await;
            let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            inner.links.retain(|_, aged| aged.since.elapsed() < AGE_MAX);
            if inner.links.is_empty() {
                *inner = Inner::default();
                return;
            }
        }
    }
}
