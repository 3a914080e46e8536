//! How many files the process may have open: as many as its connections and probes need.
//!
//! Many systems start a service with 1,024, which the default of `server.tcp-connections-max` alone would use up; a server
//! that cannot open one more takes no connection, reads no zone and probes nothing. Our own limits are to be reached
//! first (RFC 9210 section 4.2).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;
use crate::diagnostic::Diagnostic;

/// How many files are allowed for beside connections and probes: listeners, zones, databases, look-ups.
const OTHERS: u64 = 1024;

/// Raises the limit to what the configuration may need, if the system lets us; a warning if it does not.
pub(super) fn allow(config: &Config) -> Option<Diagnostic> {
    let needed = needed(config);
    let limit = getrlimit(Resource::Nofile);
    let (current, most) = (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX));
    if current >= needed {
        return None;
    }
    let raised = needed.min(most).max(current);
    // What is refused is told below with what there is.
    let may = match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), ..limit }) {
        Ok(()) => raised,
        Err(_) => current,
    };
    (may < needed).then(|| explain(needed, may))
}

/// How many files may be open at once.
fn needed(config: &Config) -> u64 {
    (config.server.tcp_connections_max as u64).saturating_add(config.health.concurrency as u64).saturating_add(OTHERS)
}

fn explain(needed: u64, may: u64) -> Diagnostic {
    let message = format!("the system lets this process open {may} files; it may need {needed}");
    let help = format!(
        "set `LimitNOFILE={needed}` for the service (or `ulimit -Hn`), or lower `server.tcp-connections-max` or \
         `health.concurrency`"
    );
    Diagnostic::warning(None, message).help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_covers_what_is_configured_afterwards() {
        let mut config = Config::default();
        config.server.tcp_connections_max = 100;
        config.health.concurrency = 10;
        assert_eq!(needed(&config), 1134);
        let warning = allow(&config);
        let current = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        assert_eq!(warning.is_none(), current >= 1134);
    }

    #[test]
    fn a_limit_that_cannot_be_raised_says_what_to_do() {
        assert_eq!(
            explain(2560, 1024).to_string(),
            "warning: the system lets this process open 1024 files; it may need 2560\n  \
             help: set `LimitNOFILE=2560` for the service (or `ulimit -Hn`), or lower `server.tcp-connections-max` or \
             `health.concurrency`"
        );
    }
}
