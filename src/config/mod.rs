//! perigee.toml to a checked Config; every default and every limit stands here.
//!
//! Read this file for what can be set and what it is set to; then
//!
//! - `keys.rs`: the one list of keys, each with its type and bounds
//! - `file.rs`, `environment.rs`: the two places a value comes from
//! - `value.rs`: a value as it was typed, and how it becomes what it means
//! - `listen.rs`: a place to listen on as text
//! - `units.rs`: durations and sizes as text
//!
//! Absent on purpose: reloading, and anything that opens a socket or a zone.

mod environment;
mod file;
mod keys;
mod listen;
mod units;
mod value;

pub use file::nearest;
pub use keys::{KEYS, Key, ZONE_KEYS};
pub use listen::{Listen, NoPlace};

use std::ffi::OsString;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use crate::diagnostic::{Diagnostic, Position};
use crate::dns::Name;
use crate::dns::edns::cookie::Secret;
use crate::geo::Place;

/// The configuration file that is read when none is named, if it exists.
pub const FILE_DEFAULT: &str = "perigee.toml";
/// The longest configuration file that is read, in octets.
///
/// A thousand zone tables fit in a tenth of it; a larger file was named by mistake.
pub const FILE_OCTETS_MAX: u64 = 4 << 20;

/// How many files may make up one zone, the first one included.
///
/// Stops an include that names its own file before memory does.
pub const FILES_PER_ZONE_MAX: usize = 1024;
/// How many zones may wait for the one who publishes them.
///
/// A source that is ahead waits; a few are enough to keep reading and parsing busy at the same time.
pub const SOURCE_EVENTS_MAX: usize = 16;
/// How long a zone file may be absent before its zone is withdrawn.
///
/// Editors replace a file in well under this, and a withdrawal must still be seen within a second.
pub const ZONE_ABSENCE: Duration = Duration::from_millis(400);
/// How long a changed zone file must have been left alone before it is read; also the pause between two looks.
///
/// Long enough for an editor's or `rsync`'s burst of writes, short enough to go unnoticed.
pub const ZONE_SETTLE: Duration = Duration::from_millis(50);
/// How long writes that never pause may put off reading.
pub const ZONE_SETTLE_MAX: Duration = Duration::from_millis(500);
/// How long after a change a second one may leave the same time stamp.
///
/// The coarsest file system in use (FAT) counts in two seconds. Until then, contents are compared too.
pub const ZONE_STAMP_COARSENESS: Duration = Duration::from_secs(2);

/// What stands in `server.version-text` for the version of this program.
pub const VERSION_PLACEHOLDER: &str = "{version}";

/// The most records one run of a script may ever make.
pub const RECORDS_MAX: usize = 1024;
/// How many files a library of Lua may have; each is run in every VM.
pub const LIBRARY_FILES_MAX: usize = 256;
/// The most octets a file of a library may have.
pub const LIBRARY_FILE_OCTETS_MAX: u64 = 1 << 20;

/// The most octets a file of root certificates may have: the system's own has some 200,000.
pub const ROOTS_OCTETS_MAX: u64 = 4 << 20;

/// How many map files there may be.
pub const MAPS_MAX: usize = 1024;
/// The most octets a map file may have: millions of networks.
pub const MAP_OCTETS_MAX: usize = 256 << 20;
/// How many files of states there may be.
pub const STATES_MAX: usize = 1024;
/// The most octets a file of states may have: a line for each of the most checks there can be by default.
pub const STATES_OCTETS_MAX: usize = 16 << 20;

/// How often interfaces are looked at whose addresses are served.
///
/// An address that comes is served within it; a look costs the kernel some tens of microseconds.
pub const INTERFACES_LOOK: Duration = Duration::from_secs(5);

/// How many secrets of cookies there may be: each bad cookie costs a hash with every one of them.
pub const COOKIE_SECRETS_MAX: usize = 8;
/// The most octets a file of them may have, remarks included.
pub const COOKIE_SECRETS_OCTETS_MAX: usize = 64 << 10;

/// How long a stream may take to its first query while few more connections may be opened.
///
/// A segment that is lost is sent again after a second.
pub const TCP_FIRST_TIMEOUT: Duration = Duration::from_secs(2);
/// How long streams may go on after a stop to get what is being answered.
///
/// Service managers kill what takes much longer.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// All that can be configured, checked and complete.
///
/// A field holds what its key means, never what was typed. `Config::default()` is what no file and no environment give.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Where and how queries are taken.
    pub server: Server,
    /// The directory of zone files.
    pub zones: Zones,
    /// The zones from elsewhere, in the order of the file.
    pub zone: Vec<Zone>,
    /// What scripts may do.
    pub lua: Lua,
    /// How targets are checked.
    pub health: Health,
    /// Which EDNS options are honoured.
    pub edns: Edns,
    /// Where clients are.
    pub geoip: Geoip,
    /// Who answers the questions of scripts.
    pub resolver: Resolver,
    /// What is done when more is asked than can be answered.
    pub overload: Overload,
    /// What is logged.
    pub log: Log,
}

impl Config {
    /// Reads the configuration file at `path`, then what the environment overrides.
    ///
    /// Without a path, `perigee.toml` in the current directory is read if it exists; without it either, the defaults
    /// hold. A relative path in a file starts at that file's directory, and so do the default paths then; a relative
    /// path in the environment starts at the current directory. Returns every fault, warnings among them.
    pub fn load(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let path = match path {
            Some(path) => Some(path),
            None => Some(Path::new(FILE_DEFAULT)).filter(|path| path.exists()),
        };
        let text = match path {
            Some(path) => Some((path, read_file(path).map_err(|diagnostic| vec![diagnostic])?)),
            None => None,
        };
        Self::parse(text.as_ref().map(|(path, text)| (*path, text.as_str())), environment)
    }

    /// Checks the text of the configuration file at a path, then what the environment overrides.
    ///
    /// Opens nothing; otherwise as [`Config::load`].
    pub fn parse(
        file: Option<(&Path, &str)>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let mut config = Self::default();
        let mut diagnostics = Vec::new();
        if let Some((path, text)) = file {
            file::apply(&mut config, path, text, &mut diagnostics);
        }
        environment::apply(&mut config, environment, &mut diagnostics);
        config.check(&mut diagnostics);
        if diagnostics.iter().any(Diagnostic::is_error) { Err(diagnostics) } else { Ok((config, diagnostics)) }
    }

    /// What is set for a zone.
    pub fn zone_of(&self, apex: &Name) -> Option<&Zone> {
        self.zone.iter().find(|zone| zone.name == *apex)
    }

    /// Finds what no key shows by itself.
    fn check(&self, diagnostics: &mut Vec<Diagnostic>) {
        // Two tables with a file are two files for one zone, which who reads them tells with both.
        let seconds = self.zone.iter().enumerate().filter(|(index, zone)| {
            self.zone[..*index]
                .iter()
                .any(|other| other.name == zone.name && (zone.file.is_none() || other.file.is_none()))
        });
        for (_, zone) in seconds {
            let message = format!("the zone `{}` has a `[[zone]]` already", zone.name);
            diagnostics
                .push(Diagnostic::error(zone.position.clone(), message).help("put all that is set for it in one"));
        }
        if self.server.user.is_empty() && !self.server.group.is_empty() {
            diagnostics.push(
                Diagnostic::warning(None, "`server.group` counts for nothing without `server.user`")
                    .help("set `server.user` too, or take the group out"),
            );
        }
        if self.health.webhook.starts_with("http:") && !self.health.webhook_token.is_empty() {
            diagnostics.push(
                Diagnostic::warning(None, "`health.webhook-token` is sent without encryption")
                    .help("give `health.webhook` an https URL"),
            );
        }
        if !self.edns.cookies && self.edns.cookie_policy != CookiePolicy::Answer {
            diagnostics.push(
                Diagnostic::warning(None, "`edns.cookie-policy` means nothing without `edns.cookies`")
                    .help("switch cookies on, or leave the policy at `answer`"),
            );
        }
        if self.health.forget < self.health.interval {
            diagnostics.push(
                Diagnostic::warning(None, "`health.forget` is shorter than `health.interval`")
                    .help("checks would be forgotten before their second probe; make it several intervals long"),
            );
        }
    }
}

/// Reads a configuration file whole.
fn read_file(path: &Path) -> Result<String, Diagnostic> {
    let unreadable = |why: String| {
        Diagnostic::error(None, format!("cannot read the configuration file `{}`: {why}", path.display()))
            .help("name another with `--config FILE` or `PERIGEE_CONFIG`")
    };
    let mut octets = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| unreadable(error.to_string()))?;
    file.take(FILE_OCTETS_MAX + 1).read_to_end(&mut octets).map_err(|error| unreadable(error.to_string()))?;
    if octets.len() as u64 > FILE_OCTETS_MAX {
        return Err(unreadable(format!("it has more than {FILE_OCTETS_MAX} octets")));
    }
    String::from_utf8(octets).map_err(|error| unreadable(format!("{}", error.utf8_error())))
}

/// `[server]`: where and how queries are taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// The addresses and interfaces that are served, each by UDP and TCP. At least one, none twice.
    pub listen: Vec<Listen>,
    /// Whether an address is taken that the machine does not have yet.
    pub freebind: bool,
    /// Who the process becomes once its ports are taken; an empty text for who it was started as.
    pub user: String,
    /// The group it is then in; an empty text for that of the user.
    pub group: String,
    /// How many worker threads answer; 0 stands for one per core.
    pub workers: usize,
    /// How much a query for type ANY by UDP is answered with.
    pub any: Any,
    /// Whether addresses that a client would ask for next are left out of the additional section.
    pub minimal_responses: bool,
    /// Whether the records of an RRset begin with another one in each answer.
    pub rotate_rrsets: bool,
    /// What `version.bind` and `version.server` are answered with; empty for nothing.
    pub version_text: String,
    /// Which server of many this is, for those who ask; empty if it is not told.
    pub identity: String,
    /// The largest UDP response in octets, whatever a resolver says it could take.
    pub udp_payload_max: u16,
    /// How many datagrams a worker takes from a socket at a time.
    pub udp_batch: usize,
    /// How many TCP connections may be open, over all workers.
    pub tcp_connections_max: usize,
    /// How many of them the clients of one network may have; 0 for as many as there are.
    pub tcp_connections_per_network_max: usize,
    /// How many bits of an IPv4 address name its network, for that limit.
    pub tcp_ipv4_prefix: usize,
    /// How many bits of an IPv6 address name its network, for that limit.
    pub tcp_ipv6_prefix: usize,
    /// How long a TCP connection may be without a query.
    pub tcp_idle_timeout: Duration,
    /// How long a TCP connection may last; 0 for ever.
    pub tcp_total_timeout: Duration,
    /// How long a TCP client may take to read the replies that are written at once.
    pub tcp_write_timeout: Duration,
    /// How many connections with a query in their first segment may be half open; 0 for no Fast Open.
    pub tcp_fast_open: usize,
}

impl Default for Server {
    fn default() -> Self {
        // An unprivileged port on loopback: a first run needs no rights and is seen by nobody else.
        const PORT: u16 = 15353;
        Self {
            listen: [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
                .map(|ip: IpAddr| SocketAddr::new(ip, PORT).into())
                .into(),
            freebind: false,
            user: String::new(),
            group: String::new(),
            workers: 0,
            any: Any::Minimal,
            // As BIND, NSD and Knot have it: the addresses save most clients a query.
            minimal_responses: false,
            rotate_rrsets: true,
            // As they have it, too; who looks for a weakness tries it whatever this says.
            version_text: format!("perigee {VERSION_PLACEHOLDER}"),
            identity: String::new(),
            // Fits every path without fragments: the smallest IPv6 MTU less headers (DNS flag day 2020).
            udp_payload_max: 1232,
            // Past this, a larger batch no longer lowers the cost of an answer.
            udp_batch: 64,
            tcp_connections_max: 1024,
            // No resolver needs as many, also behind a translator, and four of them are to be stopped by one client.
            tcp_connections_per_network_max: 256,
            // A TCP client cannot lie about its address, so a neighbour need not answer for it. Of IPv6 one subscriber
            // has a /56, as a rule.
            tcp_ipv4_prefix: 32,
            tcp_ipv6_prefix: 56,
            // RFC 7766 section 6.2.3 asks for "a few seconds".
            tcp_idle_timeout: Duration::from_secs(10),
            // A resolver that asks all the time is welcome to stay; now and then it may come to another worker.
            tcp_total_timeout: Duration::from_secs(3600),
            // The longest answer arrives in time at 13 kB/s.
            tcp_write_timeout: Duration::from_secs(5),
            // Half-open connections that ask cost an answer each, so that there is an end to them.
            tcp_fast_open: 256,
        }
    }
}

/// How much a query for type ANY by UDP is answered with (RFC 8482); by TCP, it is everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Any {
    /// One RRset of the name; TC where scripts would have to run.
    Minimal,
    /// TC and no records, so that the query comes again by TCP.
    Truncate,
    /// Everything, whatever runs for it.
    Full,
}

/// `[zones]`: the directory of zone files.
#[derive(Clone, Debug, PartialEq)]
pub struct Zones {
    /// Where `NAME.zone` is zone NAME; an empty path for no directory.
    pub directory: PathBuf,
    /// Whether the system is asked to report changes of files.
    pub watch: bool,
    /// How often files are looked at, whatever the system reports.
    pub reload_interval: Duration,
    /// The most octets a zone's file may have, its includes counted.
    pub size_max: usize,
}

impl Default for Zones {
    fn default() -> Self {
        Self {
            directory: "zones".into(),
            watch: true,
            // A change is to be served within a second on file systems that report nothing as well.
            reload_interval: Duration::from_secs(1),
            size_max: 256 << 20,
        }
    }
}

/// `[[zone]]`: a zone from elsewhere than the directory, or what is set for one from there.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone {
    /// The apex.
    pub name: Name,
    /// The zone file; without one the zone is that of the directory.
    pub file: Option<PathBuf>,
    /// Overrides `lua.enabled` for this zone.
    pub lua: Option<bool>,
    /// Whose files below it are the modules that its records can require; an empty path for none.
    pub lua_dir: PathBuf,
    /// Overrides `lua.exec-limit`.
    pub exec_limit: Option<usize>,
    /// Overrides `lua.time-limit`.
    pub time_limit: Option<Duration>,
    /// Overrides `lua.memory-limit`.
    pub memory_limit: Option<usize>,
    /// Overrides `lua.result-max`.
    pub result_max: Option<usize>,
    /// Overrides `lua.allow`.
    pub lua_allow: Option<Vec<String>>,
    /// Overrides `lua.deny`.
    pub lua_deny: Option<Vec<String>>,
    /// Overrides `lua.lookup-names`.
    pub lookup_names: Option<Vec<Name>>,
    /// Overrides `lua.probe-networks`.
    pub probe_networks: Option<Vec<IpNet>>,
    /// Overrides `lua.probe-networks-refused`.
    pub probe_networks_refused: Option<Vec<IpNet>>,
    /// Overrides `lua.exec-programs`.
    pub exec_programs: Option<Vec<String>>,
    /// Where its table begins; `None` if no file says so.
    pub position: Option<Position>,
}

impl Zone {
    /// A zone with nothing set but its name.
    pub fn new(name: Name) -> Self {
        Self {
            name,
            file: None,
            lua: None,
            lua_dir: PathBuf::new(),
            exec_limit: None,
            time_limit: None,
            memory_limit: None,
            result_max: None,
            lua_allow: None,
            lua_deny: None,
            lookup_names: None,
            probe_networks: None,
            probe_networks_refused: None,
            exec_programs: None,
            position: None,
        }
    }
}

/// `[lua]`: what scripts may do.
#[derive(Clone, Debug, PartialEq)]
pub struct Lua {
    /// Whether LUA records run; otherwise they are as if absent.
    pub enabled: bool,
    /// Whether globals live on from query to query, in each worker.
    pub shared_state: bool,
    /// Whether a space is put between the joined pieces of a script.
    pub insert_whitespace: bool,
    /// How many loop turns and calls a run may take; 0 stands for no limit.
    pub exec_limit: usize,
    /// How much time of a processor a run may take.
    pub time_limit: Duration,
    /// How many octets a run may add to its VM.
    pub memory_limit: usize,
    /// How many records a run may make.
    pub result_max: usize,
    /// The share of a worker's time that scripts may take together which use up what a run may; 1 for all of it.
    pub overrun_share: f64,
    /// The builtins and families of them that scripts may call; empty for all.
    pub allow: Vec<String>,
    /// The builtins and families of them that scripts may not call.
    pub deny: Vec<String>,
    /// The names that scripts may look up, with all below them; `None` for all.
    pub lookup_names: Option<Vec<Name>>,
    /// The networks whose addresses scripts may have probed; `None` for all.
    pub probe_networks: Option<Vec<IpNet>>,
    /// Those of them whose addresses they may not have probed.
    pub probe_networks_refused: Vec<IpNet>,
    /// The programs that scripts may have run to check a target, by their whole paths; empty for none.
    pub exec_programs: Vec<String>,
    /// Whose `*.lua` files are run before any record; it need not exist. An empty path for none.
    pub include_dir: PathBuf,
    /// Whose `*.csv` files are the maps that scripts can look clients up in; it need not exist. An empty path for none.
    pub map_dir: PathBuf,
    /// How many compiled scripts a worker holds.
    pub scripts_held_max: usize,
    /// How the client-subnet scope of an answer is found.
    pub scope: Scope,
}

impl Default for Lua {
    fn default() -> Self {
        Self {
            enabled: true,
            shared_state: false,
            insert_whitespace: false,
            // Above what scripts written for a server that does not count compiled loops come to.
            exec_limit: 20_000,
            // Some thousand times an ordinary run, and still less than a resolver's patience.
            time_limit: Duration::from_millis(10),
            memory_limit: 8 << 20,
            // More than that, no response could hold.
            result_max: RECORDS_MAX,
            // A record that spends 10 ms rests for two seconds: about as often as resolvers try again by themselves.
            overrun_share: 0.002,
            allow: Vec::new(),
            deny: Vec::new(),
            lookup_names: None,
            probe_networks: None,
            probe_networks_refused: PROBE_NETWORKS_REFUSED
                .map(|network| network.parse().expect("they are networks, as a test knows"))
                .to_vec(),
            exec_programs: Vec::new(),
            include_dir: "lua/lib".into(),
            map_dir: "lua/maps".into(),
            scripts_held_max: 10_000,
            scope: Scope::Derived,
        }
    }
}

/// The networks that nothing is probed in when nobody says otherwise.
///
/// Whoever may write a record makes this server connect to an address. Behind these is no service for clients: the
/// metadata of clouds, which gives out credentials, stands at addresses of a link and at three others.
const PROBE_NETWORKS_REFUSED: [&str; 10] = [
    "0.0.0.0/8",
    "::/128",
    "169.254.0.0/16",
    "fe80::/10",
    "fd00:ec2::254/128",
    "100.100.100.200/32",
    "168.63.129.16/32",
    "224.0.0.0/4",
    "255.255.255.255/32",
    "ff00::/8",
];

/// How the client-subnet scope of an answer is found (RFC 7871 section 7.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// From the part of the client's address the evaluation consulted.
    Derived,
    /// The source prefix length of the query, as PowerDNS has it.
    Source,
}

/// `[health]`: how targets are checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// How long after the begin of a check its next one begins.
    pub interval: Duration,
    /// By which share of its interval a probe may come early.
    pub jitter: f64,
    /// Whether an answer's TTL ends when the state of its targets could change, if they wobble.
    pub ttl_from_state: bool,
    /// The least TTL that this brings an answer down to.
    pub ttl_min: Duration,
    /// How long a check goes on that no script asks for.
    pub forget: Duration,
    /// How long a zone may wait for first verdicts before it is served.
    pub warmup: Duration,
    /// How many probes may be under way.
    pub concurrency: usize,
    /// The file of root certificates that checks verify by beside those of the system; an empty path for none.
    pub ca_file: PathBuf,
    /// Whose `*.states` files say which targets are up; it need not exist. An empty path for none.
    pub file_dir: PathBuf,
    /// How many checks may exist; scripts that ask for more are answered as if the target were unknown.
    pub checks_max: usize,
    /// The file in which operators say what to hold of targets; it need not exist. An empty path for none.
    pub overrides_file: PathBuf,
    /// The file in which states outlive the process. An empty path for none.
    pub state_file: PathBuf,
    /// How old states may be that a start begins with.
    pub state_age_max: Duration,
    /// The http or https URL that flips are posted to; empty for none.
    pub webhook: String,
    /// The bearer token that goes with them; empty for none.
    pub webhook_token: String,
    /// How long one attempt to post a flip may take.
    pub webhook_timeout: Duration,
    /// How many flips may wait to be posted; then the oldest are dropped.
    pub webhook_queue_max: usize,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            // Enough that what started together drifts apart, little enough that nobody notices.
            jitter: 0.05,
            ttl_from_state: true,
            ttl_min: Duration::from_secs(1),
            forget: Duration::from_secs(3600),
            // One default timeout of a check (2s) and a little.
            warmup: Duration::from_secs(3),
            // Each holds one socket; half of the usual limit of 1024 open files.
            concurrency: 512,
            ca_file: PathBuf::new(),
            file_dir: "states".into(),
            checks_max: 100_000,
            overrides_file: PathBuf::new(),
            // Whoever has a place for it says so: there is none that is writable everywhere.
            state_file: PathBuf::new(),
            // Longer than a restart or an upgrade takes; what is older, a fresh look tells better.
            state_age_max: Duration::from_secs(600),
            webhook: String::new(),
            webhook_token: String::new(),
            // Receivers that queue what they get answer in less; one that does not is asked again.
            webhook_timeout: Duration::from_secs(5),
            // A data centre that falls, at a KiB each.
            webhook_queue_max: 1024,
        }
    }
}

/// `[edns]`: which EDNS options are honoured.
#[derive(Clone, Debug, PartialEq)]
pub struct Edns {
    /// Whether a client subnet is believed and answered (RFC 7871).
    pub client_subnet: bool,
    /// Whether cookies are given and looked at (RFC 7873).
    pub cookies: bool,
    /// What they are signed with, behind what is in the file; at random if there is neither.
    pub cookie_secrets: Vec<Secret>,
    /// A file of secrets, one a line: the first signs, all verify. An empty path for none.
    pub cookie_secrets_file: PathBuf,
    /// What clients get by UDP that bring no valid cookie.
    pub cookie_policy: CookiePolicy,
    /// The largest UDP response to them, in octets.
    pub nocookie_udp_payload_max: u16,
    /// Who the server says it is (RFC 5001); if empty, `server.identity`.
    pub nsid: Vec<u8>,
}

impl Default for Edns {
    fn default() -> Self {
        Self {
            client_subnet: true,
            cookies: true,
            cookie_secrets: Vec::new(),
            cookie_secrets_file: PathBuf::new(),
            // Most clients bring no cookie yet, and whoever asks first has none.
            cookie_policy: CookiePolicy::Answer,
            // As much as anyone may get.
            nocookie_udp_payload_max: 4096,
            nsid: Vec::new(),
        }
    }
}

/// What clients get by UDP that bring no valid server cookie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CookiePolicy {
    /// Their answer, and a cookie if they know of cookies.
    Answer,
    /// Those that know of cookies get BADCOOKIE with one, the others their answer.
    Badcookie,
    /// Those that know of cookies get BADCOOKIE with one, the others TC.
    Require,
}

/// `[geoip]`: where clients are.
#[derive(Clone, Debug, PartialEq)]
pub struct Geoip {
    /// MaxMind DB files, in the order in which they are asked.
    pub databases: Vec<PathBuf>,
    /// The language of the names of cities, by its code in the databases.
    pub language: String,
    /// Where clients are taken to be that no database has a place for; `None` for nowhere.
    pub unknown_location: Option<Place>,
}

impl Default for Geoip {
    fn default() -> Self {
        Self { databases: Vec::new(), language: "en".into(), unknown_location: None }
    }
}

/// `[resolver]`: who answers the questions of scripts.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolver {
    /// The resolvers to ask; none for the system's.
    pub servers: Vec<SocketAddr>,
    /// How long a look-up may take, and how long a query may wait for all it needs.
    pub timeout: Duration,
    /// How many names are kept, each with its answer.
    pub cache_max: usize,
    /// How long an answer is kept at least, whatever its TTL says.
    pub ttl_min: Duration,
    /// How long a name is held not to exist at most; also how long if the answer does not say.
    pub negative_ttl: Duration,
    /// How many queries may wait for look-ups, over all workers.
    pub waiting_max: usize,
}

impl Default for Resolver {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            // What PowerDNS waits; resolvers that ask us commonly wait no longer.
            timeout: Duration::from_secs(2),
            // Some hundred octets each.
            cache_max: 10_000,
            // The least at which an answer outlives the query that waited for it.
            ttl_min: Duration::from_secs(1),
            // A name that comes into being is found within a minute.
            negative_ttl: Duration::from_secs(60),
            // Some KiB each.
            waiting_max: 4096,
        }
    }
}

/// `[overload]`: what is done when more is asked than can be answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Overload {
    /// What queries get whose scripts are not run.
    pub shed: Shed,
    /// The share of a worker's time that scripts may take then, however much else there is to do.
    pub script_share: f64,
    /// How long the dear scripts of one batch may take together.
    pub batch_time: Duration,
}

impl Default for Overload {
    fn default() -> Self {
        Self {
            shed: Shed::Servfail,
            // A flood of names that need no script leaves scripts enough for what is commonly asked.
            script_share: 0.25,
            // What one run may take by default: two of those are not waited for.
            batch_time: Duration::from_millis(10),
        }
    }
}

/// What queries get whose scripts are not run because of an overload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shed {
    /// SERVFAIL: a resolver asks another server at once.
    Servfail,
    /// Nothing: a resolver asks again when its time is over.
    Drop,
    /// An answer: nothing is shed, whatever comes.
    Off,
}

/// `[log]`: what is logged.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// The least important lines that are written.
    pub level: Level,
    /// How a line looks.
    pub format: Format,
    /// Which queries are logged; none for none.
    pub queries: Vec<QueryClass>,
    /// Of how many of those one is.
    pub query_sample: usize,
    /// The file they are logged to; an empty path for standard error.
    pub query_file: PathBuf,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: Level::Info,
            format: Format::Text,
            queries: Vec::new(),
            query_sample: 1,
            query_file: PathBuf::new(),
        }
    }
}

/// What kind of outcome a query has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryClass {
    /// Records.
    Answer,
    /// The name has no records of the type.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// Other name servers are responsible.
    Referral,
    /// REFUSED.
    Refused,
    /// SERVFAIL.
    ServFail,
    /// FORMERR.
    FormErr,
    /// NOTIMP.
    NotImp,
    /// Any other RCODE.
    Other,
    /// The client is to ask again by TCP.
    Truncated,
    /// No reply.
    Dropped,
}

impl QueryClass {
    /// All there are, each with its word, in the order of the manual.
    pub const WORDS: [(Self, &str); 11] = [
        (Self::Answer, "answer"),
        (Self::NoData, "nodata"),
        (Self::NxDomain, "nxdomain"),
        (Self::Referral, "referral"),
        (Self::Refused, "refused"),
        (Self::ServFail, "servfail"),
        (Self::FormErr, "formerr"),
        (Self::NotImp, "notimp"),
        (Self::Other, "other"),
        (Self::Truncated, "truncated"),
        (Self::Dropped, "dropped"),
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        let known = Self::WORDS.iter().find(|(class, _)| *class == self);
        known.expect("each has a word, as a test knows").1
    }
}

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// An answer or a zone was lost.
    Error,
    /// Something was off, and was coped with.
    Warn,
    /// Start, stop, a zone published, a target up or down.
    Info,
    /// Single queries and checks.
    Debug,
    /// Everything.
    Trace,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
