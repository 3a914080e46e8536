//! Datagrams, for all kinds: who gets them, and for how long an answer is waited for.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::Prober;
use super::connect::Terms;
use crate::health::Reason;
use crate::health::check::Host;

impl Prober {
    /// Opens the way to the first address of a host to which there is one.
    ///
    /// That says no more than that the system would send there; only an answer tells that somebody is.
    pub(super) async fn first_way<W>(
        &self,
        host: &Host,
        terms: &Terms<'_>,
        open: impl Fn(IpAddr) -> Result<W, Reason>,
    ) -> Result<W, Reason> {
        let mut outcome = Err(Reason::NotConnected("there is no address".to_owned()));
        for address in self.addresses(host, terms).await? {
            outcome = open(address);
            // An address of the other family may do where the system has no route for this one.
            if !matches!(outcome, Err(Reason::NotConnected(_))) {
                break;
            }
        }
        outcome
    }
}

impl Terms<'_> {
    /// When the time of the probe is all but over.
    ///
    /// Who judges then by what has come so far is not overtaken by the end, which knows nothing of it.
    pub(super) fn shortly_before(&self, margin: Duration) -> Instant {
        self.deadline.checked_sub(margin).unwrap_or(self.deadline)
    }
}
