//! DNS: a query, and the response that passes.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::time::{self, Instant};

use super::connect::Terms;
use super::{Prober, in_words, lost, not_connected, random};
use crate::dns::probe::{Question, Reply};
use crate::health::Reason;
use crate::health::check::{Endpoint, Query};

/// The largest response by UDP that is read; without EDNS, none has more than 512 octets.
const DATAGRAM_OCTETS_MAX: usize = 4 << 10;

/// How long the response is still waited for once something else came in its place.
///
/// That may be a forgery or a stray; if it is the server that is wrong, this is to be told in place of a time-out.
const STRAY_PATIENCE: Duration = Duration::from_millis(200);

/// How long before the end of a probe that wait is over.
const STRAY_MARGIN: Duration = Duration::from_millis(20);

impl Prober {
    /// Asks the target and judges its response.
    pub(super) async fn dns(&self, target: &Endpoint, query: &Query, terms: &Terms<'_>) -> Result<Option<u32>, Reason> {
        let question = Question {
            id: random()? as u16,
            name: query.qname.as_ref(),
            rtype: query.qtype,
            recursion: query.recursion,
        };
        let reply = if query.tcp { None } else { self.over_udp(target, &question, terms).await? };
        let reply = match reply {
            Some(reply) => reply,
            None => self.over_tcp(target, &question, terms).await?,
        };
        if reply.rcode != query.rcode {
            return Err(Reason::Rcode { got: reply.rcode, expected: query.rcode });
        }
        let Some(pattern) = &query.answer else { return Ok(None) };
        for rdata in reply.answer {
            if self.patterns.matches(pattern, &Bytes::from(rdata)).await? {
                return Ok(None);
            }
        }
        Err(Reason::AnswerLacks(pattern.0.to_string()))
    }

    /// Asks by UDP; `None` if the response did not fit.
    async fn over_udp(
        &self,
        target: &Endpoint,
        question: &Question<'_>,
        terms: &Terms<'_>,
    ) -> Result<Option<Reply>, Reason> {
        // Its port is the system's choice: another for each query, which nobody off the path knows.
        let open = |address| open(SocketAddr::new(address, target.port), terms.source);
        let socket = self.first_way(&target.host, terms, open).await?;
        socket.send(&question.to_octets()).await.map_err(|error| not_connected(&error))?;
        let mut octets = vec![0; DATAGRAM_OCTETS_MAX];
        let mut stray: Option<(Instant, Reason)> = None;
        loop {
            let received = match &stray {
                None => socket.recv(&mut octets).await,
                Some((until, reason)) => match time::timeout_at(*until, socket.recv(&mut octets)).await {
                    Ok(received) => received,
                    Err(_) => return Err(reason.clone()),
                },
            };
            let length = received.map_err(|error| not_connected(&error))?;
            match question.read(&octets[..length]) {
                Ok(reply) if reply.truncated => return Ok(None),
                Ok(reply) => return Ok(Some(reply)),
                Err(error) if stray.is_none() => {
                    let until = (Instant::now() + STRAY_PATIENCE).min(terms.shortly_before(STRAY_MARGIN));
                    stray = Some((until, Reason::Dns(error.to_string())));
                }
                Err(_) => {}
            }
        }
    }

    /// Asks by TCP (RFC 7766).
    async fn over_tcp(&self, target: &Endpoint, question: &Question<'_>, terms: &Terms<'_>) -> Result<Reply, Reason> {
        let mut stream = self.connect(target, terms).await?;
        let query = question.to_octets();
        let length = u16::try_from(query.len()).expect("a query has one question");
        let octets = async {
            stream.write_all(&[&length.to_be_bytes(), &query[..]].concat()).await?;
            let mut octets = vec![0; usize::from(stream.read_u16().await?)];
            stream.read_exact(&mut octets).await?;
            io::Result::Ok(octets)
        };
        let octets = octets.await.map_err(|error| lost(&error))?;
        question.read(&octets).map_err(|error| Reason::Dns(error.to_string()))
    }
}

/// Opens a socket to the target alone.
fn open(target: SocketAddr, source: Option<IpAddr>) -> Result<UdpSocket, Reason> {
    let any = if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = std::net::UdpSocket::bind((source.unwrap_or(any), 0)).map_err(|error| match source {
        Some(source) => Reason::Unusable(format!("cannot probe from `{source}`: {}", in_words(&error))),
        None => not_connected(&error),
    })?;
    let connected = socket.connect(target).and_then(|()| socket.set_nonblocking(true));
    connected.and_then(|()| UdpSocket::from_std(socket)).map_err(|error| not_connected(&error))
}
