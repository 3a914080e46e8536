//! What an HTTP check sends, and to whom, on each hop of the way to the final reply.

use bytes::Bytes;
use data_encoding::BASE64;
use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
    USER_AGENT,
};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::Empty;
use percent_encoding::percent_decode_str;
use url::Url;

use super::http::USER_AGENT_DEFAULT;
use super::link::Version;
use crate::health::check::{Endpoint, Handshake, Host};
use crate::health::{Http, Reason};

/// What the requests of one probe have in common.
pub(super) struct Plan<'c> {
    request: &'c Http,
    /// Where the host of the check's own URL is, if not where its name says.
    address: Option<&'c Host>,
    first: Url,
    method: Method,
    headers: HeaderMap,
}

/// One request on the way to the final reply.
pub(super) struct Hop {
    pub(super) url: Url,
    method: Method,
    headers: HeaderMap,
    /// Whom to connect to.
    pub(super) target: Endpoint,
    /// What is asked of TLS, for https.
    pub(super) handshake: Option<Handshake>,
    /// The host in the TLS handshake, if `handshake` has no other.
    pub(super) name: String,
}

impl<'c> Plan<'c> {
    /// Reads what a check says.
    pub(super) fn of(request: &'c Http, address: Option<&'c Host>) -> Result<Self, Reason> {
        let (first, headers) = (parse_url(&request.url)?, headers(request)?);
        Ok(Self { request, address, first, method: method(&request.method)?, headers })
    }

    /// The first request.
    pub(super) fn first(&self) -> Hop {
        self.hop(self.first.clone(), self.method.clone())
    }

    /// Where a reply to `hop` of this status redirects to; `None` if it is final.
    pub(super) fn next(
        &self,
        hop: &Hop,
        status: StatusCode,
        location: Option<&HeaderValue>,
    ) -> Result<Option<Hop>, Reason> {
        let Some(location) = location.filter(|_| status.is_redirection() && self.request.redirects > 0) else {
            return Ok(None);
        };
        let location = String::from_utf8_lossy(location.as_bytes());
        let wrong = |what: String| Reason::Http(format!("redirect to `{location}`{what}"));
        let url = hop.url.join(&location).map_err(|error| wrong(format!(": {error}")))?;
        match url.scheme() {
            "http" | "https" => Ok(Some(self.hop(url, redirected(&hop.method, status.as_u16())))),
            _ => Err(wrong(", only http and https are followed".to_owned())),
        }
    }

    /// Decides what is sent, and to whom, for `url`.
    ///
    /// The host of the check's own URL is the target, whether a redirect comes back to it or not. What is meant for
    /// the check's own host is not told to others.
    fn hop(&self, url: Url, method: Method) -> Hop {
        let (mut headers, mut handshake) = (self.headers.clone(), self.request.handshake.clone());
        let is_own = url.host() == self.first.host();
        if !is_own {
            handshake.server_name = None;
            for name in [HOST, AUTHORIZATION, COOKIE] {
                headers.remove(name);
            }
        }
        if let (Some(credentials), false) = (credentials(&url), headers.contains_key(AUTHORIZATION)) {
            headers.insert(AUTHORIZATION, credentials);
        }
        let host = match (self.address.filter(|_| is_own), url.host()) {
            (Some(address), _) => address.clone(),
            (None, Some(url::Host::Ipv4(address))) => Host::Address(address.into()),
            (None, Some(url::Host::Ipv6(address))) => Host::Address(address.into()),
            (None, Some(url::Host::Domain(name))) => Host::Name(name.into()),
            (None, None) => Host::Name("".into()),
        };
        let port = url.port_or_known_default().unwrap_or_default();
        // To an address in a URL TLS is spoken as to the target in its place.
        let name = url.domain().map_or_else(|| host.to_string(), |name| name.trim_end_matches('.').to_owned());
        let handshake = (url.scheme() == "https").then_some(handshake);
        Hop { method, headers, target: Endpoint { host, port }, handshake, name, url }
    }
}

impl Hop {
    /// The request as it is written in this version of HTTP.
    pub(super) fn request(&self, version: Version) -> Result<Request<Empty<Bytes>>, Reason> {
        let mut headers = self.headers.clone();
        let host = headers.remove(HOST).map_or_else(|| authority(&self.url), Ok)?;
        let path = match self.url.query() {
            Some(query) => format!("{}?{query}", self.url.path()),
            None => self.url.path().to_owned(),
        };
        let uri = match version {
            Version::One => {
                headers.insert(HOST, host);
                path.parse::<Uri>().ok()
            }
            Version::Two => {
                let uri = Uri::builder().scheme(self.url.scheme()).authority(host.as_bytes()).path_and_query(path);
                uri.build().ok()
            }
        };
        let uri = uri.ok_or_else(|| Reason::Unusable(format!("`{}` cannot be asked for", self.url)))?;
        let mut request = Request::new(Empty::new());
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (self.method.clone(), uri, headers);
        Ok(request)
    }
}

/// The `Host` of a request for a URL.
fn authority(url: &Url) -> Result<HeaderValue, Reason> {
    let host = url.host_str().unwrap_or_default();
    let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    header_value("Host", &authority)
}

/// What a URL says before the `@`, as a header; `None` if nothing.
fn credentials(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut octets: Vec<u8> = percent_decode_str(url.username()).collect();
    octets.push(b':');
    octets.extend(percent_decode_str(url.password().unwrap_or_default()));
    HeaderValue::try_from(format!("Basic {}", BASE64.encode(&octets))).ok()
}

/// The method after a redirect (RFC 9110 sections 15.4.2 to 15.4.4).
fn redirected(method: &Method, status: u16) -> Method {
    match status {
        303 if *method != Method::HEAD => Method::GET,
        301 | 302 if *method == Method::POST => Method::GET,
        _ => method.clone(),
    }
}

/// Reads a check's method.
fn method(text: &str) -> Result<Method, Reason> {
    match Method::from_bytes(text.as_bytes()) {
        Ok(Method::CONNECT) => {
            Err(Reason::Unusable("`CONNECT` makes a tunnel, and nothing is sent through".to_owned()))
        }
        Ok(method) => Ok(method),
        Err(_) => Err(Reason::Unusable(format!("`{text}` is not a method"))),
    }
}

/// Reads a check's URL.
fn parse_url(text: &str) -> Result<Url, Reason> {
    let url = Url::parse(text).map_err(|error| Reason::Unusable(format!("`{text}` is not a URL: {error}")))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(Reason::Unusable(format!("`{other}` URLs are not probed, only http and https"))),
    }
}

/// The headers a check sends beside `Host`.
///
/// `_` in a name stands for `-`, because Lua's short form for table keys has no `-`.
fn headers(request: &Http) -> Result<HeaderMap, Reason> {
    let mut headers = HeaderMap::new();
    let useragent = request.useragent.as_deref().unwrap_or(USER_AGENT_DEFAULT);
    headers.insert(USER_AGENT, header_value("useragent", useragent)?);
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    if matches!(request.method.as_str(), "POST" | "PUT" | "PATCH") {
        // Servers may insist on it (RFC 9110 section 8.6).
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    for (name, value) in &request.headers {
        let header = HeaderName::try_from(name.replace('_', "-"))
            .map_err(|_| Reason::Unusable(format!("`{name}` is not a header's name")))?;
        if value.is_empty() {
            headers.remove(header);
        } else if header == CONTENT_LENGTH || header == TRANSFER_ENCODING {
            return Err(Reason::Unusable(format!("`{name}` cannot be sent: requests have no body")));
        } else {
            headers.insert(header, header_value(name, value)?);
        }
    }
    Ok(headers)
}

/// Reads the value of the header `name`.
fn header_value(name: &str, value: &str) -> Result<HeaderValue, Reason> {
    HeaderValue::from_str(value).map_err(|_| Reason::Unusable(format!("`{name}` has no value a header can have")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn request(url: &str, headers: &[(&str, &str)]) -> Http {
        let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Http { headers, ..Http::get(url) }
    }

    /// The headers sent for a check's `headers`, as sorted lines.
    fn lines(own: &[(&str, &str)]) -> Result<Vec<String>, Reason> {
        let headers = headers(&request("http://www.example.com/", own))?;
        let lines: BTreeMap<_, _> = headers.iter().map(|(name, value)| (name.as_str(), value)).collect();
        Ok(lines.into_iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect())
    }

    #[test]
    fn headers_are_renamed_replaced_and_removed() {
        let agent = format!("user-agent: {USER_AGENT_DEFAULT}");
        let rows = [
            (("X_Probe_By", "perigee"), vec!["accept: */*", &*agent, "x-probe-by: perigee"]),
            (("User-Agent", ""), vec!["accept: */*"]),
            (("User_Agent", "other/1"), vec!["accept: */*", "user-agent: other/1"]),
            (("Accept", ""), vec![&agent]),
            (("X-Empty", ""), vec!["accept: */*", &agent]),
        ];
        assert_eq!(lines(&[]).unwrap(), ["accept: */*", &agent]);
        for (own, expected) in rows {
            assert_eq!(lines(&[own]).unwrap(), expected, "{own:?}");
        }
    }

    #[test]
    fn a_header_that_cannot_be_sent_is_named() {
        let rows = [
            (("X Y", "1"), "`X Y` is not a header's name"),
            (("X-Y", "a\nb"), "`X-Y` has no value a header can have"),
            (("Content_Length", "7"), "`Content_Length` cannot be sent: requests have no body"),
        ];
        for (own, message) in rows {
            assert_eq!(lines(&[own]).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_hop_goes_to_the_target_only_for_the_host_of_the_check() {
        let rows = [
            // the check's URL           redirect                         connects to            `Host`
            ("http://www.example.com/", "/a", "192.0.2.1:80", "own"),
            ("http://www.example.com/", "http://www.example.com:8080/a", "192.0.2.1:8080", "own"),
            ("http://www.example.com/", "https://www.example.com/", "192.0.2.1:443", "own"),
            ("http://www.example.com/", "http://example.net/", "example.net:80", "example.net"),
            ("http://203.0.113.1/", "http://203.0.113.1/a", "192.0.2.1:80", "own"),
            ("http://203.0.113.1/", "http://203.0.113.2:81/", "203.0.113.2:81", "203.0.113.2:81"),
        ];
        let address = Host::Address("192.0.2.1".parse().unwrap());
        for (first, location, target, host) in rows {
            let request = request(first, &[("Host", "own"), ("Cookie", "secret"), ("X-A", "1")]);
            let plan = Plan::of(&request, Some(&address)).unwrap();
            let location = HeaderValue::from_str(location).unwrap();
            let hop = plan.next(&plan.first(), StatusCode::FOUND, Some(&location)).unwrap().unwrap();
            let request = hop.request(Version::One).unwrap();
            assert_eq!(hop.target.to_string(), target);
            assert_eq!(request.headers()[HOST], host);
            assert_eq!(request.headers().contains_key(COOKIE), host == "own");
            assert!(request.headers().contains_key("x-a"));
        }
    }

    #[test]
    fn the_name_in_tls_is_the_one_set_only_for_the_host_of_the_check() {
        let handshake = Handshake { server_name: Some("set.example".to_owned()), ..Handshake::default() };
        let request = Http { handshake, ..Http::get("https://www.example.com./") };
        let plan = Plan::of(&request, None).unwrap();
        let first = plan.first();
        assert_eq!(first.name, "www.example.com");
        assert_eq!(first.handshake.as_ref().unwrap().server_name.as_deref(), Some("set.example"));
        for location in ["https://other.example/", "https://192.0.2.7/"] {
            let next =
                plan.next(&first, StatusCode::FOUND, Some(&HeaderValue::from_static(location))).unwrap().unwrap();
            assert_eq!(next.handshake.unwrap().server_name, None);
            assert_eq!(format!("https://{}/", next.name), location);
        }
    }

    #[test]
    fn a_request_says_its_host_in_either_version() {
        let rows = [
            ("http://203.0.113.1/", "203.0.113.1"),
            ("http://203.0.113.1:8080/?q", "203.0.113.1:8080"),
            ("https://[2001:db8::1]:8443/", "[2001:db8::1]:8443"),
            ("https://www.example.com:443/a%20b", "www.example.com"),
        ];
        let address = Host::Address("192.0.2.1".parse().unwrap());
        for (url, host) in rows {
            let request = Http::get(url);
            let hop = Plan::of(&request, Some(&address)).unwrap().first();
            assert_eq!(hop.request(Version::One).unwrap().headers()[HOST], host);
            let two = hop.request(Version::Two).unwrap();
            assert_eq!(two.uri().authority().unwrap(), host);
            assert!(!two.headers().contains_key(HOST));
            assert_eq!(hop.target.host, address);
        }
    }

    #[test]
    fn a_redirect_makes_a_get_of_what_had_to_be_posted() {
        let rows = [
            ("GET", 302, "GET"),
            ("POST", 301, "GET"),
            ("POST", 302, "GET"),
            ("POST", 307, "POST"),
            ("PUT", 302, "PUT"),
            ("PUT", 303, "GET"),
            ("HEAD", 303, "HEAD"),
            ("PURGE", 308, "PURGE"),
        ];
        for (method, status, next) in rows {
            assert_eq!(redirected(&method.parse().unwrap(), status), next.parse::<Method>().unwrap());
        }
    }

    #[test]
    fn a_url_may_have_credentials() {
        let rows = [
            ("http://example.com/", None),
            ("http://x:y@example.com/", Some("Basic eDp5")),
            ("http://x%40:@example.com/", Some("Basic eEA6")),
        ];
        for (url, header) in rows {
            let credentials = credentials(&url.parse().unwrap());
            assert_eq!(credentials.as_ref().map(|value| value.to_str().unwrap()), header);
        }
    }

    #[test]
    fn what_cannot_be_asked_is_named() {
        let rows = [
            ("ftp://example.com/", "`ftp` URLs are not probed, only http and https"),
            ("www.example.com", "`www.example.com` is not a URL: relative URL without a base"),
            ("http://", "`http://` is not a URL: empty host"),
            ("http://example.com:65536/", "`http://example.com:65536/` is not a URL: invalid port number"),
            ("http://[fe80::1%25eth0]/", "`http://[fe80::1%25eth0]/` is not a URL: invalid IPv6 address"),
        ];
        for (url, message) in rows {
            assert_eq!(parse_url(url).unwrap_err().to_string(), message);
        }
        for (text, message) in [("A B", "`A B` is not a method"), ("", "`` is not a method")] {
            assert_eq!(method(text).unwrap_err().to_string(), message);
        }
        assert!(method("CONNECT").is_err());
        assert_eq!(method("M-SEARCH").unwrap().as_str(), "M-SEARCH");
    }
}
