//! Addresses of names, as a program on this host finds them; the only file that names hickory-resolver beside
//! `resolve/upstream.rs`.
//!
//! Not by `getaddrinfo`: that blocks a thread for as long as the resolvers take, and a thousand names of which none is
//! answered for would be a thousand threads.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hickory_resolver::config::{LookupIpStrategy, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver, system_conf};
use tokio::time::{self, Instant};

use crate::health::Reason;
use crate::resolve::upstream::name_server;

/// How many answers are kept for as long as their TTLs say.
const ANSWERS_MAX: u64 = 4096;
/// How long an answer is kept at the most.
///
/// A probe is to find what a client finds now, and some TTLs are a day.
const KEPT_MAX: Duration = Duration::from_secs(60);
/// How long it is held at the most that a name has no address.
///
/// Whoever puts it right wants to see that within a probe or two.
const DENIED_MAX: Duration = Duration::from_secs(5);
/// How many questions may be under way on one connection to a resolver.
const QUESTIONS_MAX: usize = 512;
/// How many addresses of a name are tried; no client tries more.
const ADDRESSES_MAX: usize = 16;
/// How long a look at the system's files lasts.
const FILES_LOOK: Duration = Duration::from_secs(2);
/// What makes up the system's part; one that changes is read again, as `getaddrinfo` does.
const FILES: [&str; 2] = ["/etc/hosts", "/etc/resolv.conf"];

/// Who finds the addresses of names.
pub(super) struct Names {
    /// The resolvers to ask; none for those of the system.
    servers: Vec<SocketAddr>,
    known: Mutex<Option<Known>>,
}

/// What was last read of the system.
struct Known {
    /// When the files were last looked at.
    looked: Instant,
    stamps: [Option<SystemTime>; FILES.len()],
    system: Arc<System>,
}

/// What the system says of names.
struct System {
    hosts: Hosts,
    /// Or why nobody can be asked.
    resolver: Result<TokioResolver, String>,
}

impl Names {
    /// Takes resolvers at these addresses, or those of the system when there are none.
    pub(super) fn new(servers: Vec<SocketAddr>) -> Self {
        Self { servers, known: Mutex::new(None) }
    }

    /// Finds the addresses of `name`, IPv6 first; by the hosts file, or else by asking until `deadline`.
    pub(super) async fn addresses(&self, name: &str, deadline: Instant) -> Result<Vec<IpAddr>, Reason> {
        let unresolved = |why: String| Reason::Unresolved(format!("`{name}`: {why}"));
        let parsed = Name::from_utf8(name).map_err(|_| unresolved("not a name".to_owned()))?;
        let system = self.system();
        let mut addresses = local(&system.hosts, &parsed);
        if addresses.is_empty() {
            let resolver = system.resolver.as_ref().map_err(|why| unresolved(why.clone()))?;
            let found = time::timeout_at(deadline, resolver.lookup_ip(parsed)).await;
            let found = found.map_err(|_| unresolved("no answer in time".to_owned()))?;
            addresses = found.map_err(|error| unresolved(in_words(&error)))?.iter().collect();
        }
        addresses.truncate(ADDRESSES_MAX);
        if addresses.is_empty() { Err(unresolved("no address".to_owned())) } else { Ok(addresses) }
    }

    /// What the system says now, or said a moment ago.
    fn system(&self) -> Arc<System> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some(known) = known.as_mut().filter(|known| now - known.looked < FILES_LOOK) {
            return Arc::clone(&known.system);
        }
        let stamps = FILES.map(|file| std::fs::metadata(file).and_then(|file| file.modified()).ok());
        match known.as_mut().filter(|known| known.stamps == stamps) {
            Some(known) => {
                known.looked = now;
                Arc::clone(&known.system)
            }
            None => {
                let system = Arc::new(System::read(&self.servers));
                *known = Some(Known { looked: now, stamps, system: Arc::clone(&system) });
                system
            }
        }
    }
}

impl System {
    /// Reads the system's files; what cannot be read is as if it were empty.
    fn read(servers: &[SocketAddr]) -> Self {
        Self { hosts: Hosts::from_system().unwrap_or_default(), resolver: resolver(servers) }
    }
}

/// Makes a resolver that asks `servers`, or those of the system.
fn resolver(servers: &[SocketAddr]) -> Result<TokioResolver, String> {
    let provider = TokioRuntimeProvider::default();
    let mut builder = if servers.is_empty() {
        let system = system_conf::read_system_conf();
        let (config, options) = system.map_err(|error| format!("the system names no resolvers: {error}"))?;
        let mut builder = TokioResolver::builder_with_config(config, provider);
        *builder.options_mut() = options;
        builder
    } else {
        let servers = servers.iter().copied().map(name_server).collect();
        TokioResolver::builder_with_config(ResolverConfig::from_parts(None, Vec::new(), servers), provider)
    };
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
    options.use_hosts_file = ResolveHosts::Never;
    options.cache_size = ANSWERS_MAX;
    options.positive_max_ttl = Some(KEPT_MAX);
    options.negative_max_ttl = Some(DENIED_MAX);
    options.max_active_requests = QUESTIONS_MAX;
    builder.build().map_err(|error| error.to_string())
}

/// The addresses that the hosts file has; if it has any, nobody is asked for others.
fn local(hosts: &Hosts, name: &Name) -> Vec<IpAddr> {
    let of_type = |rtype| hosts.lookup_static_host(&Query::query(name.clone(), rtype));
    let found = [RecordType::AAAA, RecordType::A].into_iter().filter_map(of_type);
    found
        .flat_map(|lookup| lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect::<Vec<_>>())
        .collect()
}

/// What an error of the library says of the name.
fn in_words(error: &NetError) -> String {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => "no such name".to_owned(),
            ResponseCode::NoError => "no address".to_owned(),
            code => format!("the resolver said {code}"),
        },
        NetError::Dns(DnsError::ResponseCode(code)) => format!("the resolver said {code}"),
        NetError::Timeout => "no answer in time".to_owned(),
        NetError::NoConnections | NetError::Io(_) => "no resolver can be reached".to_owned(),
        other => other.to_string(),
    }
}
