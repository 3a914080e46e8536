//! One question to the configured resolvers; the only file that names hickory-resolver beside
//! `health/probe/resolve.rs`.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{self, RecordType};
use hickory_resolver::proto::serialize::binary::{BinDecodable, BinDecoder, BinEncodable, BinEncoder, NameEncoding};
use hickory_resolver::system_conf;

use super::{Denial, Question, Reason, Record, Verdict};
use crate::dns::{Name, NameRef, Rtype, rdata};

/// How often a question is sent again: once, when half of the time is over.
const RETRIES: usize = 1;

/// The resolvers that are asked.
pub struct Upstream {
    resolver: TokioResolver,
    timeout: Duration,
}

impl Upstream {
    /// Takes resolvers at these addresses, or those of the system's configuration when there are none.
    ///
    /// A look-up takes up to `timeout`, however many resolvers are asked. Errors in words when the system's cannot be
    /// read. Needs a tokio runtime.
    pub fn new(servers: &[SocketAddr], timeout: Duration) -> Result<Self, String> {
        let config = if servers.is_empty() {
            let (system, _) = system_conf::read_system_conf().map_err(|error| error.to_string())?;
            // No search list: scripts ask for whole names.
            ResolverConfig::from_parts(None, Vec::new(), system.name_servers)
        } else {
            ResolverConfig::from_parts(None, Vec::new(), servers.iter().copied().map(name_server).collect())
        };
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        // What is known is kept in a table of our own, which answers without waiting.
        options.cache_size = 0;
        // A script asks the DNS; what this host calls itself is not for others to see.
        options.use_hosts_file = ResolveHosts::Never;
        options.attempts = RETRIES;
        options.timeout = timeout / 2;
        let resolver = builder.build().map_err(|error| error.to_string())?;
        Ok(Self { resolver, timeout })
    }

    /// Looks a question up.
    pub async fn ask(&self, question: &Question) -> Verdict {
        let lookup = self.resolver.lookup(to_hickory(question.name.as_ref()), RecordType::from(question.rtype.0));
        match tokio::time::timeout(self.timeout, lookup).await {
            Err(_) => Verdict::Failed(Reason::Timeout),
            Ok(Err(error)) => to_verdict(error),
            Ok(Ok(lookup)) => found(lookup.answers(), question.rtype),
        }
    }
}

/// A resolver that is asked by UDP, and by TCP when an answer is too long for that.
pub(crate) fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    server.connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    server.connections.iter_mut().for_each(|connection| connection.port = address.port());
    server
}

fn to_hickory(name: NameRef<'_>) -> rr::Name {
    let mut name = rr::Name::read(&mut BinDecoder::new(name.wire())).expect("a `NameRef` is a well-formed name");
    name.set_fqdn(true);
    name
}

/// The records of a type among answers.
fn found(answers: &[rr::Record], rtype: Rtype) -> Verdict {
    let of_type = answers.iter().filter(|record| u16::from(record.record_type()) == rtype.0);
    match of_type.map(|record| from_hickory(record, rtype)).collect::<Option<Vec<_>>>() {
        Some(records) if records.is_empty() => Verdict::Denied { denial: Denial::NoData, ttl: None },
        Some(records) => Verdict::Found(records),
        None => Verdict::Failed(Reason::Failed),
    }
}

fn from_hickory(record: &rr::Record, rtype: Rtype) -> Option<Record> {
    let wire = |value: &dyn Fn(&mut BinEncoder<'_>) -> bool| {
        let mut octets = Vec::new();
        let mut encoder = BinEncoder::new(&mut octets);
        encoder.set_name_encoding(NameEncoding::Uncompressed);
        value(&mut encoder).then_some(octets)
    };
    let owner = wire(&|encoder| record.name.emit(encoder).is_ok())?;
    let rdata = wire(&|encoder| record.data.emit(encoder).is_ok())?;
    let is_sound = rdata::is_well_formed(rtype, &rdata);
    is_sound.then_some(Record { owner: Name::from_wire(&owner).ok()?, ttl: record.ttl, rdata: rdata.into() })
}

/// What an error of the library says of the name.
fn to_verdict(error: NetError) -> Verdict {
    let failed = Verdict::Failed;
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => {
            let ttl = none.negative_ttl.map(|secs| Duration::from_secs(secs.into()));
            match none.response_code {
                ResponseCode::NXDomain => Verdict::Denied { denial: Denial::NxDomain, ttl },
                ResponseCode::NoError => Verdict::Denied { denial: Denial::NoData, ttl },
                code => failed(reason_of(code)),
            }
        }
        NetError::Dns(DnsError::ResponseCode(code)) => failed(reason_of(code)),
        NetError::Timeout => failed(Reason::Timeout),
        NetError::NoConnections | NetError::Io(_) => failed(Reason::Unreachable),
        // Many kinds that tell an operator more than a script; the log of the library has them.
        _ => failed(Reason::Failed),
    }
}

fn reason_of(code: ResponseCode) -> Reason {
    match code {
        ResponseCode::ServFail => Reason::ServFail,
        ResponseCode::Refused => Reason::Refused,
        _ => Reason::Failed,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hickory_resolver::net::NoRecords;
    use hickory_resolver::proto::op::Query;
    use hickory_resolver::proto::rr::RData;
    use hickory_resolver::proto::rr::rdata::{CNAME, SOA};

    use super::*;

    fn name(text: &str) -> rr::Name {
        rr::Name::from_ascii(text).unwrap()
    }

    #[test]
    fn records_of_the_type_become_ours_whoever_owns_them() {
        let alias = rr::Record::from_rdata(name("www.example."), 60, RData::CNAME(CNAME(name("web.example."))));
        let address = RData::A(Ipv4Addr::new(192, 0, 2, 1).into());
        let address = rr::Record::from_rdata(name("web.example."), 30, address);
        let expected = Record { owner: "web.example".parse().unwrap(), ttl: 30, rdata: Box::new([192, 0, 2, 1]) };
        assert_eq!(found(&[alias.clone(), address], Rtype::A), Verdict::Found(vec![expected]));
        assert_eq!(found(&[alias], Rtype::A), Verdict::Denied { denial: Denial::NoData, ttl: None });
    }

    #[test]
    fn names_in_data_are_not_compressed() {
        let soa = SOA::new(name("ns.example."), name("hostmaster.example."), 1, 2, 3, 4, 5);
        let record = rr::Record::from_rdata(name("example."), 60, RData::SOA(soa));
        let Verdict::Found(records) = found(&[record], Rtype::SOA) else { panic!("there is one") };
        assert_eq!(rdata::write(Rtype::SOA, &records[0].rdata), "ns.example. hostmaster.example. 1 2 3 4 5");
    }

    #[test]
    fn failures_are_told_apart() {
        let none = |code, ttl| {
            let mut none = NoRecords::new(Query::query(name("www.example."), RecordType::A), code);
            none.negative_ttl = ttl;
            NetError::from(none)
        };
        let denied = |denial, ttl: Option<u64>| Verdict::Denied { denial, ttl: ttl.map(Duration::from_secs) };
        let code = |code| NetError::Dns(DnsError::ResponseCode(code));
        let rows = [
            (none(ResponseCode::NXDomain, Some(30)), denied(Denial::NxDomain, Some(30))),
            (none(ResponseCode::NoError, None), denied(Denial::NoData, None)),
            (code(ResponseCode::ServFail), Verdict::Failed(Reason::ServFail)),
            (code(ResponseCode::Refused), Verdict::Failed(Reason::Refused)),
            (code(ResponseCode::NotImp), Verdict::Failed(Reason::Failed)),
            (NetError::Timeout, Verdict::Failed(Reason::Timeout)),
            (NetError::NoConnections, Verdict::Failed(Reason::Unreachable)),
            (NetError::Message("noise"), Verdict::Failed(Reason::Failed)),
        ];
        for (error, verdict) in rows {
            let text = error.to_string();
            assert_eq!(to_verdict(error), verdict, "{text}");
        }
    }
}
