//! What the configuration says of answers, in the form that answering reads.

use crate::answer::cookie::Cookies;
use crate::answer::{Chaos, Settings};
use crate::config::{Config, Shed, VERSION_PLACEHOLDER};
use crate::dns::wire::Limits;

/// Gathers what answers go by; made once, as a configuration holds until the process ends.
///
/// Cookies need more than a configuration has: what is in its file of secrets, or else a draw of the system's.
pub fn of(config: &Config) -> Settings {
    let edns = &config.edns;
    let secrets = edns.cookie_secrets.iter().filter(|_| edns.cookies).cloned().collect();
    // The field of RFC 7828 ends at 6,553.5 seconds.
    let tcp_idle_tenths = u16::try_from(config.server.tcp_idle_timeout.as_millis() / 100).unwrap_or(u16::MAX);
    let version = config.server.version_text.replace(VERSION_PLACEHOLDER, env!("CARGO_PKG_VERSION"));
    Settings {
        limits: Limits {
            udp_payload_max: config.server.udp_payload_max,
            client_subnet: edns.client_subnet,
            nsid: nsid(config),
            tcp_idle_tenths,
        },
        cookies: Cookies { secrets, policy: edns.cookie_policy, udp_payload_max: edns.nocookie_udp_payload_max },
        any: config.server.any,
        minimal: config.server.minimal_responses,
        rotate: config.server.rotate_rrsets,
        chaos: Chaos::new(&version, &config.server.identity),
        ttl_min_of_state: config.health.ttl_from_state.then_some(config.health.ttl_min),
        drop_shed: config.overload.shed == Shed::Drop,
    }
}

/// What tells this server from others that answer at the same address: its own setting, or the name it goes by.
fn nsid(config: &Config) -> Vec<u8> {
    if config.edns.nsid.is_empty() { config.server.identity.clone().into_bytes() } else { config.edns.nsid.clone() }
}
