//! HTTP and HTTPS: a request pinned to an address, and the reply that passes.

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};

use reqwest::header::{ACCEPT, AUTHORIZATION, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use reqwest::{Client, Response, Url, redirect, retry};

use super::{BODY_OCTETS_DEFAULT, BODY_OCTETS_MAX, Prober, in_words, not_connected, same_family};
use crate::health::{Host, Http, Reason};

/// The `User-Agent` of a check that names none.
pub(super) const USER_AGENT_DEFAULT: &str = concat!("perigee/", env!("CARGO_PKG_VERSION"));

impl Prober {
    /// Sends the request, follows its redirects and judges the last reply; returns the weight in its body.
    pub(super) async fn get(
        &self,
        address: Option<&Host>,
        source: Option<IpAddr>,
        request: &Http,
    ) -> Result<Option<u32>, Reason> {
        let address = match address {
            Some(host) => Some(host.address().ok_or_else(|| Reason::Unresolved(host.to_string()))?),
            None => None,
        };
        let first = parse_url(&request.url)?;
        let headers = headers(request)?;
        let client = self.client(&first, address, source, request, &headers)?;
        let mut url = first.clone();
        for _ in 0..=request.redirects {
            let hop = hop(&url, &first, address, &headers);
            let response = client.get(hop.url).headers(hop.headers).send().await.map_err(reason)?;
            let next = if request.redirects > 0 { redirect(&url, &response)? } else { None };
            match next {
                Some(next) => url = next,
                None => return self.judge(response, request).await,
            }
        }
        Err(Reason::Redirects(request.redirects))
    }

    /// Builds the client of one probe.
    ///
    /// Built for each probe, as a client kept for each check would be memory that is used for some milliseconds
    /// in each interval. Building takes 5 µs, since what is costly, the configuration of TLS, is shared.
    fn client(
        &self,
        url: &Url,
        address: Option<IpAddr>,
        source: Option<IpAddr>,
        request: &Http,
        headers: &HeaderMap,
    ) -> Result<Client, Reason> {
        same_family(address, source)?;
        let mut builder = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .pool_max_idle_per_host(0)
            .http1_title_case_headers()
            .local_address(source);
        if let (Some(name), Some(address)) = (url.domain(), address) {
            // Port 0 is the URL's.
            builder = builder.resolve(name, SocketAddr::new(address, 0));
        }
        // HTTP/2 has no way to say another host than the one connected to.
        let alpn: &[&str] = if headers.contains_key(HOST) || url.domain().is_none() {
            builder = builder.http1_only();
            &["http/1.1"]
        } else {
            &["h2", "http/1.1"]
        };
        let config = self.trust.client_config(request.handshake.tls).map_err(|error| Reason::Tls(error.to_string()))?;
        let mut config = (*config).clone();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        builder.tls_backend_preconfigured(config).build().map_err(reason)
    }

    /// Holds the final reply against what the check expects; returns the weight in its body.
    async fn judge(&self, response: Response, request: &Http) -> Result<Option<u32>, Reason> {
        let got = response.status().as_u16();
        if !request.statuses.iter().any(|passing| passing.contains(&got)) {
            return Err(Reason::Status { got, expected: request.statuses.clone() });
        }
        let body = read(response, request.byteslimit).await?;
        if let Some(text) = request.stringmatch.as_ref().filter(|text| !contains(&body, text.as_bytes())) {
            return Err(Reason::BodyLacks(text.clone()));
        }
        if let Some(pattern) = &request.regex
            && !self.patterns.is_match(pattern, &body)?
        {
            return Err(Reason::NoMatch(pattern.0.to_string()));
        }
        match &request.weight {
            None => Ok(leading_number(&body)),
            Some(pattern) => Ok(self.patterns.first_group(pattern, &body)?.and_then(leading_number)),
        }
    }
}

/// Reads a body up to a limit, or the default one.
async fn read(mut response: Response, byteslimit: u64) -> Result<Vec<u8>, Reason> {
    let limit = match byteslimit {
        0 => BODY_OCTETS_DEFAULT,
        own => own.min(BODY_OCTETS_MAX),
    };
    let mut body = Vec::new();
    // The piece that reaches the limit is searched whole, as in PowerDNS: a check that passes there passes here.
    while (body.len() as u64) < limit {
        match response.chunk().await.map_err(reason)? {
            Some(piece) => body.extend_from_slice(&piece),
            None => break,
        }
    }
    Ok(body)
}

/// Reads a check's URL.
fn parse_url(text: &str) -> Result<Url, Reason> {
    let url = Url::parse(text).map_err(|error| Reason::Unusable(format!("`{text}` is not a URL: {error}")))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(Reason::Unusable(format!("`{other}` URLs are not probed, only http and https"))),
    }
}

/// The headers a check sends beside those of HTTP itself.
///
/// `_` in a name stands for `-`, because Lua's short form for table keys has no `-`.
fn headers(request: &Http) -> Result<HeaderMap, Reason> {
    let mut headers = HeaderMap::new();
    let useragent = request.useragent.as_deref().unwrap_or(USER_AGENT_DEFAULT);
    headers.insert(USER_AGENT, header_value("useragent", useragent)?);
    for (name, value) in &request.headers {
        let header = HeaderName::try_from(name.replace('_', "-"))
            .map_err(|_| Reason::Unusable(format!("`{name}` is not a header's name")))?;
        if !value.is_empty() {
            headers.insert(header, header_value(name, value)?);
        } else if header == ACCEPT {
            // Reqwest would put its own in again; an empty one says the same as none (RFC 9110 section 12.5.1).
            headers.insert(header, HeaderValue::from_static(""));
        } else {
            headers.remove(header);
        }
    }
    Ok(headers)
}

/// Reads the value of the header `name`.
fn header_value(name: &str, value: &str) -> Result<HeaderValue, Reason> {
    HeaderValue::from_str(value).map_err(|_| Reason::Unusable(format!("`{name}` has no value a header can have")))
}

/// One request on the way to the final reply.
struct Hop {
    url: Url,
    headers: HeaderMap,
}

/// Decides what is sent, and to whom, for `url`.
///
/// The host of the check's own URL is the target, whether a redirect comes back to it or not. A name is pinned by the
/// client; an address would be connected to as it is, so the target takes its place and it stays in `Host` only.
/// What is meant for the check's own host is not told to others.
fn hop(url: &Url, first: &Url, address: Option<IpAddr>, headers: &HeaderMap) -> Hop {
    let mut hop = Hop { url: url.clone(), headers: headers.clone() };
    if url.host() != first.host() {
        for name in [HOST, AUTHORIZATION, COOKIE] {
            hop.headers.remove(name);
        }
        return hop;
    }
    if let (None, Some(address)) = (url.domain(), address) {
        let authority = match url.port() {
            Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
            None => url.host_str().unwrap_or_default().to_owned(),
        };
        let authority = HeaderValue::try_from(authority).expect("a parsed URL's host and port are visible ASCII");
        hop.headers.entry(HOST).or_insert(authority);
        hop.url.set_ip_host(address).expect("an http URL has a host");
    }
    hop
}

/// Where a reply to `url` redirects to; `None` if it is final.
fn redirect(url: &Url, response: &Response) -> Result<Option<Url>, Reason> {
    let Some(location) = response.headers().get(LOCATION).filter(|_| response.status().is_redirection()) else {
        return Ok(None);
    };
    let location = String::from_utf8_lossy(location.as_bytes());
    let next = url.join(&location).map_err(|error| Reason::Http(format!("redirect to `{location}`: {error}")))?;
    match next.scheme() {
        "http" | "https" => Ok(Some(next)),
        _ => Err(Reason::Http(format!("redirect to `{location}`, only http and https are followed"))),
    }
}

/// Whether `text` occurs in `body`; an empty text does everywhere.
fn contains(body: &[u8], text: &[u8]) -> bool {
    text.is_empty() || body.windows(text.len()).any(|window| window == text)
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

/// Finds in an error of reqwest what an operator wants to know: the innermost cause that says it.
fn reason(error: reqwest::Error) -> Reason {
    let mut cause: &(dyn Error + 'static) = &error;
    let mut system = None;
    loop {
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return Reason::Tls(tls.to_string());
        }
        let io = cause.downcast_ref::<io::Error>();
        system = io.or(system);
        // An `io::Error` counts what it wraps not as its source but as itself.
        let inner = io.and_then(|io| io.get_ref()).map(|inner| inner as &(dyn Error + 'static));
        match inner.or_else(|| cause.source()) {
            Some(inner) => cause = inner,
            None => break,
        }
    }
    match system {
        Some(system) if error.is_connect() => not_connected(system),
        Some(system) => Reason::Http(in_words(system)),
        None if error.is_connect() => Reason::NotConnected(cause.to_string()),
        None => Reason::Http(cause.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn request(headers: &[(&str, &str)]) -> Http {
        Http {
            headers: headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            ..Http::get("http://www.example.com/")
        }
    }

    /// The headers sent for a check's `headers`, as sorted lines.
    fn lines(own: &[(&str, &str)]) -> Result<Vec<String>, Reason> {
        let headers = headers(&request(own))?;
        let lines: BTreeMap<_, _> = headers.iter().map(|(name, value)| (name.as_str(), value)).collect();
        Ok(lines.into_iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect())
    }

    #[test]
    fn headers_are_renamed_replaced_and_removed() {
        let agent = format!("user-agent: {USER_AGENT_DEFAULT}");
        let rows = [
            (("X_Probe_By", "perigee"), vec![&*agent, "x-probe-by: perigee"]),
            (("User-Agent", ""), vec![]),
            (("User_Agent", "other/1"), vec!["user-agent: other/1"]),
            (("Accept", ""), vec!["accept: ", &agent]),
            (("X-Empty", ""), vec![&agent]),
        ];
        assert_eq!(lines(&[]).unwrap(), [&*agent]);
        for (own, expected) in rows {
            assert_eq!(lines(&[own]).unwrap(), expected, "{own:?}");
        }
    }

    #[test]
    fn a_header_that_cannot_be_sent_is_named() {
        let rows =
            [(("X Y", "1"), "`X Y` is not a header's name"), (("X-Y", "a\nb"), "`X-Y` has no value a header can have")];
        for (own, message) in rows {
            assert_eq!(lines(&[own]).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_hop_goes_to_the_target_only_for_the_host_of_the_check() {
        let rows = [
            // the check's URL           a hop's URL                    connected as                  `Host`
            ("http://www.example.com/", "http://www.example.com/", "http://www.example.com/", "own"),
            ("http://www.example.com/", "http://www.example.com:8080/a", "http://www.example.com:8080/a", "own"),
            ("http://www.example.com/", "http://example.net/", "http://example.net/", ""),
            ("http://203.0.113.1/", "http://203.0.113.1/a", "http://192.0.2.1/a", "own"),
            ("http://203.0.113.1/", "http://203.0.113.2/", "http://203.0.113.2/", ""),
        ];
        let address = Some("192.0.2.1".parse().unwrap());
        let own = headers(&request(&[("Host", "own"), ("Cookie", "secret"), ("X-A", "1")])).unwrap();
        for (first, url, connected, host) in rows {
            let hop = hop(&url.parse().unwrap(), &first.parse().unwrap(), address, &own);
            assert_eq!(hop.url.as_str(), connected);
            assert_eq!(hop.headers.get(HOST).map_or("", |host| host.to_str().unwrap()), host);
            assert_eq!(hop.headers.contains_key(COOKIE), !host.is_empty());
            assert!(hop.headers.contains_key("x-a"));
        }
    }

    #[test]
    fn an_address_in_the_url_stays_in_host() {
        let rows = [
            ("http://203.0.113.1/", "203.0.113.1"),
            ("http://203.0.113.1:8080/", "203.0.113.1:8080"),
            ("https://[2001:db8::1]:8443/", "[2001:db8::1]:8443"),
        ];
        for (url, host) in rows {
            let url = url.parse().unwrap();
            let hop = hop(&url, &url, Some("192.0.2.1".parse().unwrap()), &HeaderMap::new());
            assert_eq!(hop.headers[HOST], host);
            assert_eq!(hop.url.host_str(), Some("192.0.2.1"));
        }
    }

    #[test]
    fn only_http_urls_are_probed() {
        let rows = [
            ("ftp://example.com/", "`ftp` URLs are not probed, only http and https"),
            ("www.example.com", "`www.example.com` is not a URL: relative URL without a base"),
            ("http://", "`http://` is not a URL: empty host"),
        ];
        for (url, message) in rows {
            assert_eq!(parse_url(url).unwrap_err().to_string(), message);
        }
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

    #[test]
    fn a_match_may_stand_anywhere_in_the_body() {
        let rows: [(&[u8], &[u8], bool); 6] = [
            (b"it is OK", b"OK", true),
            (b"OK", b"OK", true),
            (b"ok", b"OK", false),
            (b"O", b"OK", false),
            (b"\xff\x00OK", b"\x00O", true),
            (b"", b"", true),
        ];
        for (body, text, found) in rows {
            assert_eq!(contains(body, text), found);
        }
    }
}
