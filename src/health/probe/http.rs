//! HTTP and HTTPS: requests from hop to hop, and the reply that passes.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::header::LOCATION;
use hyper::body::Incoming;
use memchr::memmem;
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use super::connect::Terms;
use super::kept::{Aged, Key};
use super::link::{Link, Version};
use super::request::{Hop, Plan};
use super::{BODY_OCTETS_DEFAULT, BODY_OCTETS_MAX, BODY_OCTETS_SMALL, Prober};
use crate::health::{Host, Http, Reason};

/// The `User-Agent` of a check that names none.
pub(super) const USER_AGENT_DEFAULT: &str = concat!("perigee/", env!("CARGO_PKG_VERSION"));

/// The protocols that are offered in TLS.
const ALPN: [&str; 2] = ["h2", "http/1.1"];

/// A reply, its body still to be read, and the connection it comes by.
struct Exchange {
    aged: Aged,
    reply: Response<Incoming>,
}

/// What was read of a body.
struct Body<'p> {
    octets: Bytes,
    /// Its room, if it is large.
    _room: Option<SemaphorePermit<'p>>,
    /// Whether there is no more of it.
    is_whole: bool,
}

impl Prober {
    /// Sends the request, follows its redirects and judges the last reply; returns the weight in its body.
    pub(super) async fn get(
        &self,
        address: Option<&Host>,
        request: &Arc<Http>,
        terms: &Terms<'_>,
    ) -> Result<Option<u32>, Reason> {
        let plan = Plan::of(request, address)?;
        let mut key = request.keepalive.then(|| key(address, request, terms));
        let mut hop = plan.first();
        let mut exchange = self.send_again(key.as_ref(), &hop, terms).await?;
        let mut followed = 0;
        while let Some(next) = plan.next(&hop, exchange.reply.status(), exchange.reply.headers().get(LOCATION))? {
            if followed == request.redirects {
                return Err(Reason::Redirects(followed));
            }
            (followed, hop, key) = (followed + 1, next, None);
            exchange.aged.link.close();
            exchange = self.send(&hop, terms).await?;
        }
        let (verdict, link) = self.judge(exchange, request).await;
        match (key, link) {
            (Some(key), Some(link)) => self.kept.put(key, link),
            (None, Some(link)) => link.link.close(),
            (_, None) => {}
        }
        verdict
    }

    /// Sends a request on the connection that is kept under this key, if it is there and still good; else on a new one.
    async fn send_again(&self, key: Option<&Key>, hop: &Hop, terms: &Terms<'_>) -> Result<Exchange, Reason> {
        if let Some(mut aged) = key.and_then(|key| self.kept.take(key)) {
            // The server may have closed it meanwhile, and that may show only now.
            if let Ok(reply) = aged.link.send(hop.request(aged.link.version())?).await {
                return Ok(Exchange { aged, reply });
            }
        }
        self.send(hop, terms).await
    }

    /// Sends a request on a new connection.
    async fn send(&self, hop: &Hop, terms: &Terms<'_>) -> Result<Exchange, Reason> {
        let since = Instant::now();
        let mut link = self.link(hop, terms).await?;
        let reply = link.send(hop.request(link.version())?).await?;
        Ok(Exchange { aged: Aged { link, since }, reply })
    }

    /// Connects to whom a request goes.
    async fn link(&self, hop: &Hop, terms: &Terms<'_>) -> Result<Link, Reason> {
        let stream = self.connect(&hop.target, terms).await?;
        let Some(handshake) = &hop.handshake else { return Link::open(stream, Version::One).await };
        let stream = self.handshake(stream, handshake, &hop.name, &ALPN).await?;
        let version = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Version::Two,
            Some(_) | None => Version::One,
        };
        Link::open(stream, version).await
    }

    /// Holds the final reply against what the check expects; returns the weight in its body, and the connection if it
    /// could serve another request.
    async fn judge(&self, exchange: Exchange, request: &Http) -> (Result<Option<u32>, Reason>, Option<Aged>) {
        let Exchange { mut aged, mut reply } = exchange;
        let got = reply.status().as_u16();
        if !request.statuses.iter().any(|passing| passing.contains(&got)) {
            aged.link.close();
            return (Err(Reason::Status { got, expected: request.statuses.clone() }), None);
        }
        match self.read(&mut aged.link, reply.body_mut(), request.byteslimit).await {
            Ok(body) => (self.judge_body(&body.octets, request).await, body.is_whole.then_some(aged)),
            Err(reason) => (Err(reason), None),
        }
    }

    /// Reads a body up to a limit, or the default one; a large one once there is room for all that may be read of it.
    async fn read(&self, link: &mut Link, body: &mut Incoming, byteslimit: u64) -> Result<Body<'_>, Reason> {
        let limit = match byteslimit {
            0 => BODY_OCTETS_DEFAULT,
            own => own.min(BODY_OCTETS_MAX),
        };
        let (mut octets, mut room) = (Vec::new(), None);
        // The piece that reaches the limit is searched whole, as in PowerDNS: a check that passes there passes here.
        while (octets.len() as u64) < limit {
            if octets.len() > BODY_OCTETS_SMALL && room.is_none() {
                // Room for all of it at once: those who have some then never wait for each other.
                let wanted = u32::try_from(limit).expect("the highest limit has 25 bits");
                room = self.bodies.acquire_many(wanted).await.ok();
            }
            match link.piece(body).await? {
                Some(piece) => octets.extend_from_slice(&piece),
                None => return Ok(Body { octets: octets.into(), _room: room, is_whole: true }),
            }
        }
        Ok(Body { octets: octets.into(), _room: room, is_whole: false })
    }

    /// Holds a body against what the check expects; returns the weight in it.
    async fn judge_body(&self, body: &Bytes, request: &Http) -> Result<Option<u32>, Reason> {
        if let Some(text) = request.stringmatch.as_ref().filter(|text| memmem::find(body, text.as_bytes()).is_none()) {
            return Err(Reason::BodyLacks(text.clone()));
        }
        if let Some(pattern) = &request.regex
            && !self.patterns.matches(pattern, body).await?
        {
            return Err(Reason::NoMatch(pattern.0.to_string()));
        }
        match &request.weight {
            None => Ok(leading_number(body)),
            Some(pattern) => {
                Ok(self.patterns.first_group(pattern, body).await?.and_then(|found| leading_number(&found)))
            }
        }
    }
}

/// What a connection is kept under.
fn key(address: Option<&Host>, request: &Arc<Http>, terms: &Terms<'_>) -> Key {
    let (request, reach) = (Arc::clone(request), Arc::clone(terms.reach));
    Key { address: address.cloned(), request, source: terms.source, reach }
}

/// The whole number a body begins with, after white space: `12abc` is 12, `1.9` is 1.
///
/// `None` without one, and for a negative one or one above 31 bits: PowerDNS reads it into a C `int`.
pub(super) fn leading_number(body: &[u8]) -> Option<u32> {
    let body = body.trim_ascii_start();
    let digits = body.strip_prefix(b"+").unwrap_or(body);
    let length = digits.iter().take_while(|octet| octet.is_ascii_digit()).count();
    let number: i32 = str::from_utf8(&digits[..length]).ok()?.parse().ok()?;
    u32::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::{BODIES_OCTETS_MAX, Settings};
    use crate::health::{Check, Kind, Verdict};

    /// Says whether a page of so many octets passes.
    async fn passes(prober: &Prober, octets: usize, timeout: Duration) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {octets}\r\n\r\n");
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&vec![b'x'; octets]).await;
        });
        let request = Arc::new(Http::get(url));
        let verdict = prober.probe(&Check { timeout, ..Check::new(Kind::Http { address: None, request }) }).await;
        serving.abort();
        verdict == Verdict::Pass { weight: None }
    }

    #[tokio::test]
    async fn large_bodies_wait_for_room_and_small_ones_for_nothing() {
        let prober = Prober::new(Settings::default());
        let (large, long) = (10 * BODY_OCTETS_SMALL, Duration::from_secs(20));
        let others = prober.bodies.acquire_many(u32::try_from(BODIES_OCTETS_MAX).unwrap()).await.unwrap();
        assert!(passes(&prober, BODY_OCTETS_SMALL / 2, long).await);
        assert!(!passes(&prober, large, Duration::from_millis(300)).await);
        drop(others);
        assert!(passes(&prober, large, long).await);
        assert_eq!(prober.bodies.available_permits(), BODIES_OCTETS_MAX);
    }

    #[test]
    fn a_weight_is_the_whole_number_a_body_begins_with() {
        let rows: [(&[u8], Option<u32>); 11] = [
            (b"12", Some(12)),
            (b" \r\n12\n", Some(12)),
            (b"12abc", Some(12)),
            (b"1.9", Some(1)),
            (b"+5", Some(5)),
            (b"0", Some(0)),
            (b"2147483647", Some(0x7fff_ffff)),
            (b"2147483648", None),
            (b"-1", None),
            (b"", None),
            (b"<html>1", None),
        ];
        for (body, weight) in rows {
            assert_eq!(leading_number(body), weight, "{}", body.escape_ascii());
        }
    }
}
