//! What the configuration says of answers, in the form that answering reads.

use crate::answer::Settings;
use crate::config::{Any, Config};
use crate::dns::wire::Limits;

/// Gathers what answers go by; made once, as a configuration holds until the process ends.
pub fn of(config: &Config) -> Settings {
    Settings {
        limits: Limits { udp_payload_max: config.server.udp_payload_max, client_subnet: config.edns.client_subnet },
        any_to_tcp: config.server.any != Any::Full,
        ttl_min_of_state: config.health.ttl_from_state.then_some(config.health.ttl_min),
    }
}
