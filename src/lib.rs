//! perigee: an authoritative DNS server whose records can be small Lua scripts.
//!
//! The modules, bottom layer first; `ARCHITECTURE.md` tells who may import whom.
//!
//! - [`config`]: perigee.toml to a checked Config; every default and every limit stands here
//! - [`diagnostic`]: one located message: what, where (file:line:column), what to do
//! - [`metrics`]: counters as plain atomic fields, one struct per subsystem
//!
//! Nothing in these eight waits, opens anything or reads a clock, but for the checker, the asker and what they ask by, and
//! for what maps databases:
//!
//! - [`dns`]: the vocabulary: names, types, requests and responses, wire and presentation form
//! - [`geo`]: where addresses are, by MaxMind DB files, and how far places are apart
//! - [`zone`]: a zone as an immutable value: read from text, checked, looked up
//! - [`networks`]: the most specific of many networks, and how far around a client it decides
//! - [`health`]: is a target up: what to probe, the shared table of states, the background checker
//! - [`resolve`]: names that scripts ask for: the shared cache of answers, the background asker
//! - [`script`]: Lua: the sandboxed VM that answers for LUA records
//! - [`answer`]: one request in, one outcome out
//!
//! Around them, what moves octets and brings zones:
//!
//! - [`source`]: where zones come from; publishes whole zones, knows nothing of queries
//! - [`server`]: transports; octets only
//! - [`daemon`]: wiring: build the World, start workers, sources and checker; reload; shut down
//! - [`commands`]: one file per subcommand; each a thin caller of the rooms above

pub mod answer;
pub mod commands;
pub mod config;
pub mod daemon;
pub mod diagnostic;
pub mod dns;
pub mod geo;
pub mod health;
pub mod metrics;
pub mod networks;
pub mod resolve;
pub mod script;
pub mod server;
pub mod source;
pub mod zone;
