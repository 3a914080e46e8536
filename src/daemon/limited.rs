//! Who tells which networks are limited: a line when it begins and one when it is over, and no more than a few a second.

use std::sync::Arc;
use std::time::Duration;

use crate::answer::limit::{Limiter, Notice};
use crate::server::Clock;

/// How often it is looked who is limited.
const LOOK: Duration = Duration::from_secs(1);
/// How many streams are followed to their end at a time; the others are only counted.
const FOLLOWED_MAX: usize = 256;

/// Tells of streams that are limited, for ever.
pub(super) async fn follow(limiter: Arc<Limiter>, clock: Clock) {
    let mut followed = Vec::new();
    let mut looks = tokio::time::interval(LOOK);
    loop {
        looks.tick().await;
        look(&limiter, clock.now().monotonic, &mut followed);
    }
}

/// Tells of those whose limit begins, and of those where it is over.
fn look(limiter: &Limiter, now: Duration, followed: &mut Vec<Notice>) {
    for over in followed.extract_if(.., |notice| limiter.is_over(now, notice)) {
        tell(
            &over,
            if limiter.is_trial() { "responses would no longer be limited" } else { "responses no longer limited" },
        );
    }
    let (began, mut untold) = limiter.began();
    for notice in began {
        if followed.len() < FOLLOWED_MAX {
            tell(&notice, if limiter.is_trial() { "responses would be limited" } else { "responses limited" });
            followed.push(notice);
        } else {
            untold += 1;
        }
    }
    if untold > 0 {
        tracing::info!(streams = untold, "more streams of responses are limited than are told one by one");
    }
}

fn tell(notice: &Notice, what: &str) {
    let Notice { network, kind, name, qtype, .. } = notice;
    let (name, qtype) = (name.as_ref().map(tracing::field::display), qtype.as_ref().map(tracing::field::display));
    tracing::info!(%network, kind = kind.name(), name, qtype, "{what}");
}
