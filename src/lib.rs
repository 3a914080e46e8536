//! perigee: an authoritative DNS server whose records can be small Lua scripts.
//!
//! The modules, bottom layer first; `ARCHITECTURE.md` tells who may import whom.

pub mod config; // perigee.toml to a checked Config; every default and every limit stands here
pub mod diagnostic; // one located message: what, where (file:line:column), what to do
pub mod metrics; // counters as plain atomic fields, one struct per subsystem

pub mod answer;
pub mod dns; // the vocabulary: names, types, requests and responses, wire and presentation form
pub mod health; // is a target up: what to probe, the shared table of states, the background checker
pub mod script; // Lua: the sandboxed VM that answers for LUA records
pub mod zone; // a zone as an immutable value: read from text, checked, looked up // one request in, one outcome out; no socket, no await, no clock

pub mod commands;
pub mod daemon; // wiring: build the World, start workers, sources and checker; reload; shut down
pub mod server; // transports; octets only
pub mod source; // where zones come from; publishes whole zones, knows nothing of queries // one file per subcommand; each a thin caller of the rooms above
