//! The one list of keys: what each is called, the field it sets, and within which bounds.
//!
//! Files, environment variables, suggestions for misspelt keys and the test of `docs/configuration.md` all go by it.
//! What a key does is told at its field and in the manual; what it is set to by default, in `mod.rs`.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::units::{render_duration, render_share, render_size};
use super::{
    Any, COOKIE_SECRETS_MAX, Config, CookiePolicy, Format, Level, Listen, QueryClass, RECORDS_MAX, Scope, Shed, Zone,
};
use crate::dns::Name;
use crate::dns::edns::cookie::Secret;
use crate::dns::wire::NSID_OCTETS_MAX;
use crate::geo::Place;

/// Every key outside `[[zone]]`.
pub const KEYS: &[Key<Config>] = &[
    Key::new("server", "listen", |c| Field::Listen(&mut c.server.listen, 1..=256)),
    Key::new("server", "freebind", |c| Field::Bool(&mut c.server.freebind)),
    Key::new("server", "user", |c| Field::Text(&mut c.server.user)),
    Key::new("server", "group", |c| Field::Text(&mut c.server.group)),
    // More threads than any machine has cores only cost memory.
    Key::new("server", "workers", |c| Field::Number(&mut c.server.workers, 0..=1024)),
    Key::new("server", "any", |c| Field::Word(&mut c.server.any)),
    Key::new("server", "minimal-responses", |c| Field::Bool(&mut c.server.minimal_responses)),
    Key::new("server", "rotate-rrsets", |c| Field::Bool(&mut c.server.rotate_rrsets)),
    Key::new("server", "version-text", |c| Field::ShortText(&mut c.server.version_text, CHARACTER_STRING)),
    Key::new("server", "identity", |c| Field::ShortText(&mut c.server.identity, 0..=NSID_OCTETS_MAX)),
    // RFC 6891 section 6.2.5 sets 512 as the least and suggests 4096 as the most.
    Key::new("server", "udp-payload-max", |c| Field::Octets16(&mut c.server.udp_payload_max, 512..=4096)),
    // The kernel takes at most 1024 messages a call.
    Key::new("server", "udp-batch", |c| Field::Number(&mut c.server.udp_batch, 1..=1024)),
    Key::new("server", "tcp-connections-max", |c| Field::Number(&mut c.server.tcp_connections_max, 1..=1_000_000)),
    Key::new("server", "tcp-connections-per-network-max", |c| {
        Field::Number(&mut c.server.tcp_connections_per_network_max, 0..=1_000_000)
    }),
    Key::new("server", "tcp-ipv4-prefix", |c| Field::Number(&mut c.server.tcp_ipv4_prefix, 1..=32)),
    Key::new("server", "tcp-ipv6-prefix", |c| Field::Number(&mut c.server.tcp_ipv6_prefix, 1..=128)),
    Key::new("server", "tcp-idle-timeout", |c| {
        Field::Duration(&mut c.server.tcp_idle_timeout, secs(1)..=secs(10 * MINUTE))
    }),
    Key::new("server", "tcp-total-timeout", |c| {
        Field::Duration(&mut c.server.tcp_total_timeout, secs(0)..=secs(24 * HOUR))
    }),
    Key::new("server", "tcp-write-timeout", |c| {
        Field::Duration(&mut c.server.tcp_write_timeout, millis(100)..=secs(10 * MINUTE))
    }),
    // The kernel takes no more than `net.core.somaxconn`.
    Key::new("server", "tcp-fast-open", |c| Field::Number(&mut c.server.tcp_fast_open, 0..=65_535)),
    Key::new("zones", "directory", |c| Field::Path(&mut c.zones.directory)),
    Key::new("zones", "watch", |c| Field::Bool(&mut c.zones.watch)),
    Key::new("zones", "reload-interval", |c| Field::Duration(&mut c.zones.reload_interval, millis(50)..=secs(HOUR))),
    Key::new("zones", "size-max", |c| Field::Size(&mut c.zones.size_max, (1 << 10)..=(2 * GIB))),
    Key::new("lua", "enabled", |c| Field::Bool(&mut c.lua.enabled)),
    Key::new("lua", "shared-state", |c| Field::Bool(&mut c.lua.shared_state)),
    Key::new("lua", "insert-whitespace", |c| Field::Bool(&mut c.lua.insert_whitespace)),
    Key::new("lua", "exec-limit", |c| Field::Number(&mut c.lua.exec_limit, STEPS)),
    Key::new("lua", "time-limit", |c| Field::Duration(&mut c.lua.time_limit, TIMES)),
    Key::new("lua", "memory-limit", |c| Field::Size(&mut c.lua.memory_limit, MEMORY)),
    Key::new("lua", "result-max", |c| Field::Number(&mut c.lua.result_max, RESULTS)),
    // Below the least, one slip of a script would silence its record for minutes.
    Key::new("lua", "overrun-share", |c| Field::Share(&mut c.lua.overrun_share, 0.0001..=1.0)),
    Key::new("lua", "allow", |c| Field::Words(&mut c.lua.allow)),
    Key::new("lua", "deny", |c| Field::Words(&mut c.lua.deny)),
    Key::new("lua", "lookup-names", |c| Field::Names(&mut c.lua.lookup_names)),
    Key::new("lua", "probe-networks", |c| Field::Networks(&mut c.lua.probe_networks)),
    Key::new("lua", "probe-networks-refused", |c| Field::SomeNetworks(&mut c.lua.probe_networks_refused)),
    Key::new("lua", "exec-programs", |c| Field::Programs(&mut c.lua.exec_programs)),
    Key::new("lua", "include-dir", |c| Field::Path(&mut c.lua.include_dir)),
    Key::new("lua", "map-dir", |c| Field::Path(&mut c.lua.map_dir)),
    Key::new("lua", "scripts-held-max", |c| Field::Number(&mut c.lua.scripts_held_max, 1..=10_000_000)),
    Key::new("lua", "scope", |c| Field::Word(&mut c.lua.scope)),
    Key::new("health", "interval", |c| Field::Duration(&mut c.health.interval, millis(100)..=secs(24 * HOUR))),
    Key::new("health", "jitter", |c| Field::Share(&mut c.health.jitter, 0.0..=0.5)),
    Key::new("health", "concurrency", |c| Field::Number(&mut c.health.concurrency, 1..=60_000)),
    Key::new("health", "checks-max", |c| Field::Number(&mut c.health.checks_max, 1..=10_000_000)),
    Key::new("health", "forget", |c| Field::Duration(&mut c.health.forget, secs(1)..=secs(720 * HOUR))),
    Key::new("health", "warmup", |c| Field::Duration(&mut c.health.warmup, secs(0)..=secs(5 * MINUTE))),
    Key::new("health", "ttl-from-state", |c| Field::Bool(&mut c.health.ttl_from_state)),
    Key::new("health", "ttl-min", |c| Field::Duration(&mut c.health.ttl_min, secs(0)..=secs(HOUR))),
    Key::new("health", "ca-file", |c| Field::Path(&mut c.health.ca_file)),
    Key::new("health", "file-dir", |c| Field::Path(&mut c.health.file_dir)),
    Key::new("health", "overrides-file", |c| Field::Path(&mut c.health.overrides_file)),
    Key::new("health", "state-file", |c| Field::Path(&mut c.health.state_file)),
    Key::new("health", "state-age-max", |c| Field::Duration(&mut c.health.state_age_max, secs(1)..=secs(24 * HOUR))),
    Key::new("health", "webhook", |c| Field::Text(&mut c.health.webhook)),
    Key::new("health", "webhook-token", |c| Field::Text(&mut c.health.webhook_token)),
    Key::new("health", "webhook-timeout", |c| {
        Field::Duration(&mut c.health.webhook_timeout, millis(100)..=secs(MINUTE))
    }),
    Key::new("health", "webhook-queue-max", |c| Field::Number(&mut c.health.webhook_queue_max, 1..=100_000)),
    Key::new("edns", "client-subnet", |c| Field::Bool(&mut c.edns.client_subnet)),
    Key::new("edns", "cookies", |c| Field::Bool(&mut c.edns.cookies)),
    Key::new("edns", "cookie-secrets", |c| Field::Secrets(&mut c.edns.cookie_secrets, 0..=COOKIE_SECRETS_MAX)),
    Key::new("edns", "cookie-secrets-file", |c| Field::Path(&mut c.edns.cookie_secrets_file)),
    Key::new("edns", "cookie-policy", |c| Field::Word(&mut c.edns.cookie_policy)),
    // Below the least, hardly a question fits.
    Key::new("edns", "nocookie-udp-payload-max", |c| Field::Octets16(&mut c.edns.nocookie_udp_payload_max, 128..=4096)),
    Key::new("edns", "nsid", |c| Field::Octets(&mut c.edns.nsid, 0..=NSID_OCTETS_MAX)),
    Key::new("geoip", "databases", |c| Field::Paths(&mut c.geoip.databases)),
    Key::new("geoip", "language", |c| Field::Text(&mut c.geoip.language)),
    Key::new("geoip", "unknown-location", |c| Field::Place(&mut c.geoip.unknown_location)),
    Key::new("resolver", "servers", |c| Field::Addresses(&mut c.resolver.servers, 0..=16)),
    // Past the most, whoever asks has given up.
    Key::new("resolver", "timeout", |c| Field::Duration(&mut c.resolver.timeout, millis(10)..=secs(10))),
    Key::new("resolver", "cache-max", |c| Field::Number(&mut c.resolver.cache_max, 1..=10_000_000)),
    Key::new("resolver", "ttl-min", |c| Field::Duration(&mut c.resolver.ttl_min, secs(1)..=secs(HOUR))),
    // RFC 2308 section 5 finds one to three hours sensible, and more than a day problematic.
    Key::new("resolver", "negative-ttl", |c| Field::Duration(&mut c.resolver.negative_ttl, secs(1)..=secs(24 * HOUR))),
    Key::new("resolver", "waiting-max", |c| Field::Number(&mut c.resolver.waiting_max, 1..=1_000_000)),
    Key::new("overload", "shed", |c| Field::Word(&mut c.overload.shed)),
    Key::new("overload", "script-share", |c| Field::Share(&mut c.overload.script_share, 0.01..=0.9)),
    Key::new("overload", "batch-time", |c| Field::Duration(&mut c.overload.batch_time, millis(1)..=secs(1))),
    Key::new("log", "level", |c| Field::Word(&mut c.log.level)),
    Key::new("log", "format", |c| Field::Word(&mut c.log.format)),
    Key::new("log", "queries", |c| Field::Classes(&mut c.log.queries)),
    Key::new("log", "query-sample", |c| Field::Number(&mut c.log.query_sample, 1..=1_000_000_000)),
    Key::new("log", "query-file", |c| Field::Path(&mut c.log.query_file)),
];

/// How many steps a run may be given; 0 for no limit.
const STEPS: RangeInclusive<usize> = 0..=1_000_000_000;
/// How much time. A worker that runs a script answers nobody else meanwhile; a second is past what any resolver waits for.
const TIMES: RangeInclusive<Duration> = millis(1)..=secs(1);
/// How much memory. Below the least, not even the arguments of a run fit.
const MEMORY: RangeInclusive<usize> = (64 << 10)..=GIB;
/// How many records.
const RESULTS: RangeInclusive<usize> = 1..=RECORDS_MAX;

/// How many octets of text. One character-string of a TXT record holds no more (RFC 1035 section 3.3).
const CHARACTER_STRING: RangeInclusive<usize> = 0..=255;

/// Every key of a `[[zone]]`; the first must be given.
pub const ZONE_KEYS: &[Key<Zone>] = &[
    Key::new("zone", "name", |z| Field::Name(&mut z.name)),
    Key::new("zone", "file", |z| Field::Path(z.file.get_or_insert_default())),
    Key::new("zone", "lua", |z| Field::OptionalBool(&mut z.lua)),
    Key::new("zone", "lua-dir", |z| Field::Path(&mut z.lua_dir)),
    Key::new("zone", "exec-limit", |z| Field::Number(z.exec_limit.get_or_insert_default(), STEPS)),
    Key::new("zone", "time-limit", |z| Field::Duration(z.time_limit.get_or_insert_default(), TIMES)),
    Key::new("zone", "memory-limit", |z| Field::Size(z.memory_limit.get_or_insert_default(), MEMORY)),
    Key::new("zone", "result-max", |z| Field::Number(z.result_max.get_or_insert_default(), RESULTS)),
    Key::new("zone", "lua-allow", |z| Field::Words(z.lua_allow.get_or_insert_default())),
    Key::new("zone", "lua-deny", |z| Field::Words(z.lua_deny.get_or_insert_default())),
    Key::new("zone", "lookup-names", |z| Field::Names(&mut z.lookup_names)),
    Key::new("zone", "probe-networks", |z| Field::Networks(&mut z.probe_networks)),
    Key::new("zone", "probe-networks-refused", |z| {
        Field::SomeNetworks(z.probe_networks_refused.get_or_insert_default())
    }),
    Key::new("zone", "exec-programs", |z| Field::Programs(z.exec_programs.get_or_insert_default())),
];

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const GIB: usize = 1 << 30;

/// One key of a table that ends up in a `T`.
pub struct Key<T> {
    /// The table it stands in.
    pub table: &'static str,
    /// Its name in that table, in kebab-case.
    pub name: &'static str,
    /// Finds the field it sets.
    pub(super) field: for<'t> fn(&'t mut T) -> Field<'t>,
}

impl<T> Key<T> {
    /// One row of a list.
    const fn new(table: &'static str, name: &'static str, field: for<'t> fn(&'t mut T) -> Field<'t>) -> Self {
        Self { table, name, field }
    }

    /// The key with its table: `health.interval`.
    pub fn path(&self) -> String {
        format!("{}.{}", self.table, self.name)
    }

    /// The environment variable that overrides it: `PERIGEE_HEALTH_INTERVAL`.
    pub fn variable(&self) -> String {
        format!("PERIGEE_{}_{}", self.table, self.name).replace('-', "_").to_ascii_uppercase()
    }
}

impl Key<Config> {
    /// The type, as the manual has it.
    pub fn kind(&self) -> String {
        (self.field)(&mut Config::default()).kind()
    }

    /// The default, as it would stand in a file.
    pub fn default_text(&self) -> String {
        (self.field)(&mut Config::default()).text()
    }

    /// What the value or the length of the list may be, as the manual has it; empty if anything goes.
    pub fn bounds(&self) -> String {
        (self.field)(&mut Config::default()).bounds()
    }
}

/// A field of the configuration, with what may be put there.
pub(super) enum Field<'c> {
    Bool(&'c mut bool),
    OptionalBool(&'c mut Option<bool>),
    Number(&'c mut usize, RangeInclusive<usize>),
    /// A number of octets in a 16-bit field of the protocol.
    Octets16(&'c mut u16, RangeInclusive<u16>),
    /// A number of octets, written with a unit or without.
    Size(&'c mut usize, RangeInclusive<usize>),
    Duration(&'c mut Duration, RangeInclusive<Duration>),
    /// Addresses with ports; the bounds are for how many.
    Addresses(&'c mut Vec<SocketAddr>, RangeInclusive<usize>),
    /// Addresses and interfaces, with ports; the bounds are for how many.
    Listen(&'c mut Vec<Listen>, RangeInclusive<usize>),
    Name(&'c mut Name),
    Path(&'c mut PathBuf),
    Paths(&'c mut Vec<PathBuf>),
    /// Programs, by paths that begin at the root: which one runs is not to depend on a directory.
    Programs(&'c mut Vec<String>),
    /// A part of a whole, written in percent.
    Share(&'c mut f64, RangeInclusive<f64>),
    /// Words of which this room does not know which there are.
    Words(&'c mut Vec<String>),
    /// Names; `None` stands for all there are.
    Names(&'c mut Option<Vec<Name>>),
    /// Networks; `None` stands for all there are.
    Networks(&'c mut Option<Vec<IpNet>>),
    /// Networks of which there may be none.
    SomeNetworks(&'c mut Vec<IpNet>),
    /// Kinds of outcomes of queries, or the word for all.
    Classes(&'c mut Vec<QueryClass>),
    /// A text that may be anything.
    Text(&'c mut String),
    /// A text of so many octets.
    ShortText(&'c mut String, RangeInclusive<usize>),
    /// Any octets, as text or in hexadecimal behind `0x`; the bounds are for how many.
    Octets(&'c mut Vec<u8>, RangeInclusive<usize>),
    /// Keys that no message may show; the bounds are for how many.
    Secrets(&'c mut Vec<Secret>, RangeInclusive<usize>),
    /// A latitude and a longitude; an empty text for nowhere.
    Place(&'c mut Option<Place>),
    /// One word of a few.
    Word(&'c mut dyn Word),
}

impl Field<'_> {
    /// What is wanted, as a message or the manual puts it.
    pub(super) fn kind(&self) -> String {
        match self {
            Self::Bool(_) | Self::OptionalBool(_) => "boolean".into(),
            Self::Number(..) | Self::Octets16(..) => "whole number".into(),
            Self::Size(..) => "size".into(),
            Self::Duration(..) => "duration".into(),
            Self::Addresses(..) => "list of addresses".into(),
            Self::Listen(..) => "list of addresses and interfaces".into(),
            Self::Name(_) => "domain name".into(),
            Self::Path(_) => "path".into(),
            Self::Paths(_) => "list of paths".into(),
            Self::Programs(_) => "list of programs".into(),
            Self::Share(..) => "share".into(),
            Self::Words(_) => "list of words".into(),
            Self::Names(_) => "list of domain names".into(),
            Self::Networks(_) | Self::SomeNetworks(_) => "list of networks".into(),
            Self::Classes(_) => "list of outcomes".into(),
            Self::Text(_) | Self::ShortText(..) => "text".into(),
            Self::Octets(..) => "text or octets".into(),
            Self::Secrets(..) => "list of secrets".into(),
            Self::Place(_) => "latitude and longitude".into(),
            Self::Word(word) => {
                let words: Vec<_> = word.words().iter().map(|word| format!("`\"{word}\"`")).collect();
                words.join(", ")
            }
        }
    }

    /// The value it holds, as TOML.
    fn text(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::OptionalBool(value) => value.map(|value| value.to_string()).unwrap_or_default(),
            Self::Number(value, _) => value.to_string(),
            Self::Octets16(value, _) => value.to_string(),
            Self::Size(value, _) => quote(render_size(**value)),
            Self::Duration(value, _) => quote(render_duration(**value)),
            Self::Addresses(values, _) => list(values.iter().map(ToString::to_string)),
            Self::Listen(values, _) => list(values.iter().map(ToString::to_string)),
            Self::Name(name) => quote(name.to_string()),
            Self::Path(path) => quote(path.display().to_string()),
            Self::Text(text) | Self::ShortText(text, _) => quote((*text).clone()),
            Self::Octets(octets, _) => quote(String::from_utf8_lossy(octets).into_owned()),
            Self::Secrets(secrets, _) => list(secrets.iter().map(|_| "…".to_owned())),
            Self::Place(place) => quote(place.map(|place| place.to_string()).unwrap_or_default()),
            Self::Paths(paths) => list(paths.iter().map(|path| path.display().to_string())),
            Self::Share(share, _) => quote(render_share(**share)),
            Self::Programs(words) | Self::Words(words) => list(words.iter().cloned()),
            Self::Classes(classes) => list(classes.iter().map(|class| class.word().to_owned())),
            Self::Names(names) => all_or_list(names.as_deref()),
            Self::Networks(networks) => all_or_list(networks.as_deref()),
            Self::SomeNetworks(networks) => list(networks.iter().map(ToString::to_string)),
            Self::Word(word) => quote(word.word().into()),
        }
    }

    /// The bounds, as a message or the manual puts them; empty if there are none.
    pub(super) fn bounds(&self) -> String {
        match self {
            Self::Number(_, range) => between(range.start(), range.end()),
            Self::Octets16(_, range) => between(range.start(), range.end()),
            Self::Size(_, range) => between(&render_size(*range.start()), &render_size(*range.end())),
            Self::Duration(_, range) => between(&render_duration(*range.start()), &render_duration(*range.end())),
            Self::Octets(_, range) => format!("{} octets", between(range.start(), range.end())),
            Self::Secrets(_, range) => format!("{} entries", between(range.start(), range.end())),
            Self::Addresses(_, range) | Self::Listen(_, range) => {
                format!("{} entries", between(range.start(), range.end()))
            }
            Self::ShortText(_, range) => format!("{} octets", between(range.start(), range.end())),
            Self::Share(_, range) => between(&render_share(*range.start()), &render_share(*range.end())),
            Self::Bool(_)
            | Self::OptionalBool(_)
            | Self::Name(_)
            | Self::Path(_)
            | Self::Paths(_)
            | Self::Programs(_)
            | Self::Text(_)
            | Self::Place(_)
            | Self::Word(_)
            | Self::Words(_)
            | Self::Classes(_)
            | Self::Names(_)
            | Self::Networks(_)
            | Self::SomeNetworks(_) => String::new(),
        }
    }
}

fn between(least: &impl ToString, most: &impl ToString) -> String {
    format!("{} to {}", least.to_string(), most.to_string())
}

fn quote(text: String) -> String {
    format!("\"{text}\"")
}

fn list(texts: impl Iterator<Item = String>) -> String {
    format!("[{}]", texts.map(quote).collect::<Vec<_>>().join(", "))
}

/// What is listed, or the word for all there is.
fn all_or_list(values: Option<&[impl ToString]>) -> String {
    values.map_or_else(|| quote(ALL.into()), |values| list(values.iter().map(ToString::to_string)))
}

/// What stands in place of a list that would hold everything.
pub(super) const ALL: &str = "all";

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A closed set of words, of which a field holds one.
pub(super) trait Word {
    /// All words, in the order of the manual.
    fn words(&self) -> &'static [&'static str];
    /// The word it is set to.
    fn word(&self) -> &'static str;
    /// Sets it to the word at `index` of [`Word::words`].
    fn choose(&mut self, index: usize);
}

/// Makes an enum a [`Word`], from its variants in the order of their words.
macro_rules! words {
    ($type:ty, $($variant:path => $word:literal),+) => {
        impl Word for $type {
            fn words(&self) -> &'static [&'static str] {
                &[$($word),+]
            }

            fn word(&self) -> &'static str {
                match self {
                    $($variant => $word,)+
                }
            }

            fn choose(&mut self, index: usize) {
                *self = [$($variant),+][index];
            }
        }
    };
}

words!(Shed, Shed::Servfail => "servfail", Shed::Drop => "drop", Shed::Off => "off");
words!(Any, Any::Minimal => "minimal", Any::Truncate => "truncate", Any::Full => "full");
words!(
    CookiePolicy,
    CookiePolicy::Answer => "answer",
    CookiePolicy::Badcookie => "badcookie",
    CookiePolicy::Require => "require"
);
words!(Scope, Scope::Derived => "derived", Scope::Source => "source");
words!(
    Level,
    Level::Error => "error",
    Level::Warn => "warn",
    Level::Info => "info",
    Level::Debug => "debug",
    Level::Trace => "trace"
);
words!(Format, Format::Text => "text", Format::Json => "json");
