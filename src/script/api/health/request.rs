//! What is sent to a URL and expected back, and how certificates are met.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use url::{Host, Url};

use crate::health::check::{Handshake, Pattern};
use crate::health::{Http, REDIRECTS_MAX, Tls};
use crate::script::api::arguments::{Options, Wanted};

/// The options of probes of a URL that hold something of one kind. What `httpcode` and `byteslimit` cannot be read as is
/// no fault of its kind.
pub(super) const URL_OPTIONS: [(&str, Wanted); 13] = [
    ("stringmatch", Wanted::Text),
    ("httpcode", Wanted::Any),
    ("useragent", Wanted::Text),
    ("byteslimit", Wanted::Number),
    ("headers", Wanted::Texts),
    ("verify", Wanted::Text),
    ("redirects", Wanted::Text),
    ("method", Wanted::Text),
    ("regex", Wanted::Text),
    ("servername", Wanted::Text),
    ("expiry", Wanted::Numeric),
    ("keepalive", Wanted::Text),
    ("weight", Wanted::Text),
];

/// The statuses that HTTP has (RFC 9110 section 15).
const STATUSES: RangeInclusive<u16> = 100..=999;
/// How many days a certificate can be asked to be valid for: more than any is.
const DAYS_MAX: f64 = 36_500.0;
const DAY_SECS: f64 = 86_400.0;

/// Reads what is sent to a URL and expected back; what is not of its kind is as if not given.
pub(in crate::script) fn read_request(url: String, options: &Options) -> Http {
    let text = |name| options.text(name).ok().flatten();
    let limit = options.number("byteslimit").flatten().unwrap_or(0.0);
    Http {
        method: text("method").unwrap_or_else(|| "GET".to_owned()),
        stringmatch: text("stringmatch"),
        regex: pattern(options, "regex"),
        statuses: read_statuses(options),
        useragent: text("useragent"),
        byteslimit: limit.max(0.0) as u64,
        headers: BTreeMap::from_iter(options.texts("headers")),
        handshake: read_handshake(options),
        redirects: match text("redirects").as_deref() {
            None | Some("true") => REDIRECTS_MAX,
            // What is neither a truth nor a number follows none: a target is down rather than judged by another page.
            Some(most) => most.trim().parse().unwrap_or(0).min(REDIRECTS_MAX),
        },
        keepalive: options.is_true("keepalive"),
        weight: pattern(options, "weight"),
        ..Http::get(url)
    }
}

/// Reads what is asked of a TLS handshake.
pub(super) fn read_handshake(options: &Options) -> Handshake {
    let days = options.number("expiry").flatten().map(|days| days.clamp(0.0, DAYS_MAX));
    Handshake {
        server_name: options.text("servername").ok().flatten(),
        tls: if options.is_true("verify") { Tls::Verify } else { Tls::AcceptAny },
        expiry_min: days.map(|days| Duration::from_secs_f64(days * DAY_SECS)),
    }
}

/// Reads a regular expression.
pub(super) fn pattern(options: &Options, name: &str) -> Option<Pattern> {
    options.text(name).ok().flatten().map(|text| Pattern(text.into()))
}

/// Reads `httpcode`: a number, a text of statuses and ranges, or a list of such. With what is none of these, no status
/// passes.
fn read_statuses(options: &Options) -> Vec<RangeInclusive<u16>> {
    match options.number("httpcode") {
        None => vec![200..=200],
        Some(Some(code)) => {
            // As in PowerDNS, a fraction is cut off.
            let code = Some(code).filter(|code| (100.0..1000.0).contains(code)).map(|code| code as u16);
            code.map(|code| code..=code).into_iter().collect()
        }
        Some(None) => {
            let listed = options.list("httpcode");
            let text = if listed.is_empty() { options.text("httpcode").ok().flatten() } else { Some(listed.join(",")) };
            statuses(&text.unwrap_or_default()).unwrap_or_default()
        }
    }
}

/// Reads statuses and ranges with commas between them, in their order; `None` if there is anything else.
pub(super) fn statuses(text: &str) -> Option<Vec<RangeInclusive<u16>>> {
    let code = |text: &str| text.trim().parse::<u16>().ok().filter(|code| STATUSES.contains(code));
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(code(first)?..=code(last)?).filter(|range| !range.is_empty())
    };
    let mut ranges = text.split(',').map(range).collect::<Option<Vec<_>>>()?;
    // One meaning is to be one check, however it is written.
    ranges.sort_unstable_by_key(|range| (*range.start(), *range.end()));
    ranges.dedup();
    Some(ranges)
}

/// Why no reply to this could pass, if none could: what the prober makes of the same is a target that is down.
pub(super) fn fault(request: &Http) -> Option<String> {
    let Http { url, method, statuses, .. } = request;
    match Url::parse(url) {
        Err(error) => return Some(format!("`{url}` is not a URL: {error}")),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            return Some(format!("`{}` URLs are not probed, only http and https", url.scheme()));
        }
        Ok(_) => {}
    }
    // What a method may be made of: RFC 9110 section 5.6.2.
    let is_token = |octet: u8| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet);
    if method == "CONNECT" || method.is_empty() || !method.bytes().all(is_token) {
        return Some(format!("the method `{method}` is none that can be sent"));
    }
    let is_none = statuses.is_empty();
    is_none.then(|| "`httpcode` is no status; write `200`, or `'200,204,300-399'`".to_owned())
}

/// The address that a URL names in place of a host.
pub(super) fn literal_host(url: &str) -> Option<IpAddr> {
    match Url::parse(url).ok()?.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_codes_and_ranges() {
        type Row = (&'static str, Option<&'static [(u16, u16)]>);
        let rows: [Row; 10] = [
            ("200", Some(&[(200, 200)])),
            ("200,204,300-399", Some(&[(200, 200), (204, 204), (300, 399)])),
            (" 300-399 , 204 ", Some(&[(204, 204), (300, 399)])),
            ("204,204", Some(&[(204, 204)])),
            ("", None),
            ("200,", None),
            ("399-300", None),
            ("99", None),
            ("1000", None),
            ("2xx", None),
        ];
        for (text, expected) in rows {
            let expected = expected.map(|ranges| ranges.iter().map(|(first, last)| *first..=*last).collect::<Vec<_>>());
            assert_eq!(statuses(text), expected, "{text}");
        }
    }

    #[test]
    fn a_url_may_name_an_address_in_any_of_its_forms() {
        let rows = [
            ("http://192.0.2.1/", Some("192.0.2.1")),
            ("https://[2001:db8::1]:8443/x", Some("2001:db8::1")),
            ("http://user@0x7f.1/", Some("127.0.0.1")),
            ("http://www.example.com/192.0.2.1", None),
            ("192.0.2.1", None),
            ("", None),
        ];
        for (url, address) in rows {
            assert_eq!(literal_host(url), address.map(|address| address.parse().unwrap()), "{url}");
        }
    }
}
