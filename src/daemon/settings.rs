//! What the configuration says of answers, in the form that answering reads.

use crate::answer::{Chaos, Settings};
use crate::config::{Config, VERSION_PLACEHOLDER};
use crate::dns::wire::Limits;

/// Gathers what answers go by; made once, as a configuration holds until the process ends.
pub fn of(config: &Config) -> Settings {
    let version = config.server.version_text.replace(VERSION_PLACEHOLDER, env!("CARGO_PKG_VERSION"));
    Settings {
        limits: Limits { udp_payload_max: config.server.udp_payload_max, client_subnet: config.edns.client_subnet },
        any: config.server.any,
        minimal: config.server.minimal_responses,
        rotate: config.server.rotate_rrsets,
        chaos: Chaos::new(&version, &config.server.identity),
        ttl_min_of_state: config.health.ttl_from_state.then_some(config.health.ttl_min),
    }
}
