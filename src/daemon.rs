//! Wiring: build the World, start workers, sources and checker; reload; shut down.

use crate::config::Config;
use crate::diagnostic::Diagnostic;

/// Serves by `config` until it is told to stop.
///
/// Errors if nothing can be served, with every reason.
pub fn run(config: &Config) -> Result<(), Vec<Diagnostic>> {
    let addresses: Vec<String> = config.server.listen.iter().map(|address| format!("`{address}`")).collect();
    let message = format!("this build has no server to listen on {}", addresses.join(", "));
    Err(vec![Diagnostic::error(None, message).help("`perigee check` works")])
}
