//! What one probe said, and why it failed.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::dns::Rcode;

/// What one probe said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The target answered as it should.
    Pass {
        /// The weight it gave itself, if it did.
        weight: Option<u32>,
    },
    /// It did not.
    Fail(Reason),
}

/// Why a probe failed, in words for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The target's host answered that nothing listens there.
    Refused,
    /// The connection was there and was reset.
    Reset,
    /// No reply, or not the whole of it, in time.
    TimedOut(Duration),
    /// No connection for another cause, in the system's words.
    NotConnected(String),
    /// The name of the host has no address, in the resolver's words.
    Unresolved(String),
    /// The zone may not have this address probed; a name led to it, or a redirect.
    NotAllowed(IpAddr),
    /// The TLS handshake failed.
    Tls(String),
    /// The certificate is valid, but not for as long as the check wants; how long it is.
    Expires(Duration),
    /// What came back was not HTTP, or stopped in the middle.
    Http(String),
    /// The wrong HTTP status.
    Status {
        /// The final one, after redirects.
        got: u16,
        /// Those that pass; may be none.
        expected: Vec<RangeInclusive<u16>>,
    },
    /// The body does not contain this text.
    BodyLacks(String),
    /// The body, or what a TCP connection said, does not match this expression.
    NoMatch(String),
    /// More redirects than are followed.
    Redirects(u8),
    /// The connection was closed before what is expected came.
    Closed,
    /// What came back was not DNS, or not the response to the query.
    Dns(String),
    /// The wrong RCODE.
    Rcode {
        /// That of the response.
        got: Rcode,
        /// The one that passes.
        expected: Rcode,
    },
    /// No record of the answer matches this expression.
    AnswerLacks(String),
    /// The gRPC call failed, or the service is not serving; in words.
    Grpc(String),
    /// The command ended otherwise than with 0; in words.
    Exit(String),
    /// A file of states says so, or does not say anything; in words.
    File(String),
    /// It is fixed to be down.
    Fixed,
    /// The check itself cannot be carried out: a URL, header or local address that makes no sense.
    Unusable(String),
    /// The probe itself broke: a bug of ours.
    Broken,
}

/// How many octets of a reason are kept. Most texts in it quote what a target said or a zone asked for, either of which
/// may be long, and it stands in the table until the next probe.
const TEXT_OCTETS_MAX: usize = 1024;

impl Reason {
    /// The reason with no text in it longer than an operator reads.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        match &mut self {
            Self::NotConnected(text) | Self::Unresolved(text) | Self::Tls(text) | Self::Http(text) => cut(text),
            Self::BodyLacks(text) | Self::NoMatch(text) | Self::Dns(text) | Self::AnswerLacks(text) => cut(text),
            Self::Grpc(text) | Self::Exit(text) | Self::File(text) | Self::Unusable(text) => cut(text),
            Self::Refused | Self::Reset | Self::TimedOut(_) | Self::NotAllowed(_) | Self::Expires(_) => {}
            Self::Status { .. } | Self::Redirects(_) | Self::Closed | Self::Rcode { .. } => {}
            Self::Fixed | Self::Broken => {}
        }
        self
    }

    /// The reason in one word, for those who count and sort.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::TimedOut(_) => "timed-out",
            Self::NotConnected(_) => "not-connected",
            Self::Unresolved(_) => "unresolved",
            Self::NotAllowed(_) => "not-allowed",
            Self::Tls(_) => "tls",
            Self::Expires(_) => "expires",
            Self::Http(_) => "http",
            Self::Status { .. } => "status",
            Self::BodyLacks(_) => "body-lacks",
            Self::NoMatch(_) => "no-match",
            Self::Redirects(_) => "redirects",
            Self::Closed => "closed",
            Self::Dns(_) => "dns",
            Self::Rcode { .. } => "rcode",
            Self::AnswerLacks(_) => "answer-lacks",
            Self::Grpc(_) => "grpc",
            Self::Exit(_) => "exit",
            Self::File(_) => "file",
            Self::Fixed => "fixed",
            Self::Unusable(_) => "unusable",
            Self::Broken => "broken",
        }
    }
}

/// Cuts a text at [`TEXT_OCTETS_MAX`], between characters, and lets go of its rest.
fn cut(text: &mut String) {
    if text.len() > TEXT_OCTETS_MAX {
        let end = (0..=TEXT_OCTETS_MAX).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or_default());
        text.push('…');
        text.shrink_to_fit();
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("connection refused"),
            Self::Reset => f.write_str("connection reset"),
            Self::TimedOut(after) => write!(f, "timed out after {after:?}"),
            Self::NotConnected(what) => write!(f, "not connected: {what}"),
            Self::Unresolved(what) => write!(f, "not resolved: {what}"),
            Self::NotAllowed(address) => write!(f, "`{address}` may not be probed by this zone"),
            Self::Tls(what) => write!(f, "tls: {what}"),
            Self::Expires(left) => write!(f, "certificate expires in {} days", left.as_secs() / 86_400),
            Self::Http(what) => write!(f, "http: {what}"),
            Self::Status { got, expected } if expected.is_empty() => {
                write!(f, "status {got}, and `httpcode` is not a status")
            }
            Self::Status { got, expected } => write!(f, "status {got}, expected {}", Ranges(expected)),
            Self::BodyLacks(text) => write!(f, "body does not contain `{text}`"),
            Self::NoMatch(pattern) => write!(f, "nothing matches `{pattern}`"),
            Self::Redirects(followed) => write!(f, "still redirected after {followed} redirects"),
            Self::Closed => f.write_str("closed before what is expected came"),
            Self::Dns(what) => write!(f, "dns: {what}"),
            Self::Rcode { got, expected } => write!(f, "rcode {got}, expected {expected}"),
            Self::AnswerLacks(pattern) => write!(f, "no answer matches `{pattern}`"),
            Self::Grpc(what) => write!(f, "grpc: {what}"),
            Self::Exit(what) => write!(f, "command {what}"),
            Self::File(what) | Self::Unusable(what) => f.write_str(what),
            Self::Fixed => f.write_str("fixed to be down"),
            Self::Broken => f.write_str("the probe broke; please report this"),
        }
    }
}

/// Ranges of statuses, as an operator would write them: `200, 300-399`.
struct Ranges<'r>(&'r [RangeInclusive<u16>]);

impl fmt::Display for Ranges<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            match (range.start(), range.end()) {
                (one, other) if one == other => write!(f, "{comma}{one}")?,
                (least, most) => write!(f, "{comma}{least}-{most}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_keeps_no_more_than_an_operator_reads() {
        let long = "ä".repeat(100_000);
        for make in [Reason::Http, Reason::Grpc, Reason::Exit, Reason::BodyLacks, Reason::Unusable] {
            let text = make(long.clone()).bounded().to_string();
            assert!(text.len() < TEXT_OCTETS_MAX + 64 && text.contains("ää…"), "{}", text.len());
            assert_eq!(make("short".to_owned()).bounded(), make("short".to_owned()));
        }
    }

    #[test]
    fn a_reason_is_shown_as_an_operator_would_say_it() {
        let status = |got, expected: &[RangeInclusive<u16>]| Reason::Status { got, expected: expected.to_vec() };
        let rows = [
            (Reason::Refused, "connection refused"),
            (Reason::TimedOut(Duration::from_secs(2)), "timed out after 2s"),
            (Reason::TimedOut(Duration::from_millis(1500)), "timed out after 1.5s"),
            (Reason::Expires(Duration::from_secs(3 * 86_400)), "certificate expires in 3 days"),
            (status(503, &[200..=200]), "status 503, expected 200"),
            (status(503, &[200..=204, 301..=301]), "status 503, expected 200-204, 301"),
            (status(200, &[]), "status 200, and `httpcode` is not a status"),
            (Reason::BodyLacks("OK".to_owned()), "body does not contain `OK`"),
            (Reason::Redirects(10), "still redirected after 10 redirects"),
            (Reason::Rcode { got: Rcode::SERVFAIL, expected: Rcode::NOERROR }, "rcode SERVFAIL, expected NOERROR"),
        ];
        for (reason, text) in rows {
            assert_eq!(reason.to_string(), text);
        }
    }
}
