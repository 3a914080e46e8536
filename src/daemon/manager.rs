//! What the service manager is told of the process, as systemd has it in sd_notify(3).
//!
//! Without `NOTIFY_SOCKET` nothing is told to anybody.

use std::pin::pin;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::server::Orders;

/// How many times in the span that the manager waits for a sign of life one is given.
///
/// A sign takes up to one such part to be had and another until the next, which leaves half for a machine that is slow.
const SIGNS_IN_LIMIT: u32 = 4;

/// Says what the start waits for.
pub(super) fn starting(what: &str) {
    tell(&[NotifyState::Status(what)]);
}

/// Says that it serves, or that all is read again.
pub(super) fn ready(zones: usize, checks: usize) {
    tell(&[NotifyState::Ready, NotifyState::Status(&serving(zones, checks))]);
}

/// Says that all is being read again, until [`ready`].
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        // Without the time, the manager would take the reload for failed.
        Err(error) => tracing::warn!(%error, "cannot tell the service manager of the reload"),
    }
}

/// Says what is served by now.
pub(super) fn status(zones: usize, checks: usize) {
    tell(&[NotifyState::Status(&serving(zones, checks))]);
}

/// Says that it stops.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Gives signs of life as long as every worker is there, if the manager waits for any.
///
/// A worker that hangs ends them, and the manager then ends the process and starts another: what hangs in a thread
/// cannot be ended otherwise.
pub(super) async fn sign(orders: Orders) {
    if let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) {
        attest(limit / SIGNS_IN_LIMIT, || orders.roll_call(), || tell(&[NotifyState::Watchdog])).await;
    }
}

/// Has `sign` called after each roll call that ends, with a pause between them.
async fn attest<C: Future<Output = ()>>(pause: Duration, roll_call: impl Fn() -> C, sign: impl Fn()) {
    loop {
        let mut call = pin!(roll_call());
        if tokio::time::timeout(pause, &mut call).await.is_err() {
            tracing::error!(waited = ?pause, "a worker hangs, no sign of life is given until it goes on");
            call.await;
        }
        sign();
        tokio::time::sleep(pause).await;
    }
}

fn serving(zones: usize, checks: usize) -> String {
    format!("serving {zones} zones with {checks} checks")
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot tell the service manager, see NOTIFY_SOCKET");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use tokio::sync::Semaphore;

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_hangs_ends_the_signs_of_life() {
        let (signs, there) = (Cell::new(0), Semaphore::new(3));
        // Each roll call takes one of those that are there; without any it hangs.
        let roll_call = || async { there.acquire().await.expect("open").forget() };
        let attesting = attest(Duration::from_secs(1), roll_call, || signs.set(signs.get() + 1));
        let hour = Duration::from_secs(3600);
        let mut attesting = pin!(attesting);
        assert!(tokio::time::timeout(hour, &mut attesting).await.is_err());
        assert_eq!(signs.get(), 3);
        // It goes on, and so do the signs.
        there.add_permits(2);
        assert!(tokio::time::timeout(hour, &mut attesting).await.is_err());
        assert_eq!(signs.get(), 5);
    }
}
