//! gRPC: `grpc.health.v1.Health/Check`, and the status that passes.
//!
//! The protocol is the "gRPC over HTTP2" of its documentation; the two messages are `string service = 1` and
//! `ServingStatus status = 1`, and no code is generated for those.

use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use h2::client::{Builder, SendRequest};
use http::{HeaderMap, Request, StatusCode, header};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::connect::Terms;
use super::http::USER_AGENT_DEFAULT;
use super::{Prober, lost};
use crate::health::Reason;
use crate::health::check::{Endpoint, Grpc};

/// What is called.
const METHOD: &str = "/grpc.health.v1.Health/Check";

/// The protocol that TLS settles on.
const ALPN: &[&str] = &["h2"];

/// How many octets a response may have; a status takes seven, and fields to come a few more.
const RESPONSE_OCTETS_MAX: usize = 4 << 10;

/// How many octets the headers of a response may have, and its trailers.
const HEADER_OCTETS_MAX: u32 = 16 << 10;

/// How many characters of what a server says a reason has.
const MESSAGE_CHARS_MAX: usize = 200;

/// The names of statuses, by their numbers.
const STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

impl Prober {
    /// Asks a server how it, or a service of its, is.
    pub(super) async fn grpc(&self, target: &Endpoint, call: &Grpc, terms: &Terms<'_>) -> Result<Option<u32>, Reason> {
        let scheme = if call.tls.is_some() { "https" } else { "http" };
        let request = request(scheme, target, call, terms)?;
        let stream = self.connect(target, terms).await?;
        match &call.tls {
            None => exchange(stream, request, &call.service).await?,
            Some(tls) => {
                let stream = self.handshake(stream, tls, &target.host.to_string(), ALPN).await?;
                exchange(stream, request, &call.service).await?;
            }
        }
        Ok(None)
    }
}

/// The head of the request.
fn request(scheme: &str, target: &Endpoint, call: &Grpc, terms: &Terms<'_>) -> Result<Request<()>, Reason> {
    let authority = call.authority.clone().unwrap_or_else(|| target.to_string());
    let left = terms.deadline.saturating_duration_since(Instant::now());
    Request::post(format!("{scheme}://{authority}{METHOD}"))
        .header(header::TE, "trailers")
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::USER_AGENT, USER_AGENT_DEFAULT)
        // A number of at most eight digits; a day in milliseconds has them.
        .header("grpc-timeout", format!("{}m", left.as_millis().clamp(1, 99_999_999)))
        .body(())
        .map_err(|_| Reason::Unusable(format!("`{authority}` is no authority")))
}

/// Calls the method over a connection.
async fn exchange<S>(stream: S, request: Request<()>, service: &str) -> Result<(), Reason>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut builder = Builder::new();
    builder.enable_push(false).max_header_list_size(HEADER_OCTETS_MAX);
    let (sender, connection) = builder.handshake(stream).await.map_err(|error| broken(&error))?;
    // Both in this task: nothing is left behind when the probe's time is over.
    let mut call = std::pin::pin!(call(sender, request, service));
    tokio::select! {
        biased;
        outcome = &mut call => outcome,
        ended = connection => match ended {
            Ok(()) => call.await,
            Err(error) => Err(broken(&error)),
        },
    }
}

/// Sends the request and judges the response.
async fn call(sender: SendRequest<Bytes>, request: Request<()>, service: &str) -> Result<(), Reason> {
    let mut sender = sender.ready().await.map_err(|error| broken(&error))?;
    let (response, mut body) = sender.send_request(request, false).map_err(|error| broken(&error))?;
    body.send_data(frame(service), true).map_err(|error| broken(&error))?;
    let (head, mut body) = response.await.map_err(|error| broken(&error))?.into_parts();
    // An error may come without a body, its status among the headers; other headers need not be those of gRPC then.
    if head.headers.contains_key("grpc-status") {
        succeeded(&head.headers, service)?;
    }
    is_grpc(head.status, &head.headers)?;
    let message = read(&mut body).await?;
    let trailers = body.trailers().await.map_err(|error| broken(&error))?;
    succeeded(&trailers.unwrap_or_default(), service)?;
    match serving_status(&message) {
        Some(1) => Ok(()),
        Some(0) => Err(Reason::Grpc("UNKNOWN".to_owned())),
        Some(2) => Err(Reason::Grpc("NOT_SERVING".to_owned())),
        Some(3) => Err(Reason::Grpc("SERVICE_UNKNOWN".to_owned())),
        Some(other) => Err(Reason::Grpc(format!("serving status {other}"))),
        None => Err(Reason::Grpc("the response is no `HealthCheckResponse`".to_owned())),
    }
}

/// Writes the request's message, with the length before it.
fn frame(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(1 << 3 | 2);
        let mut length = service.len();
        while length > 0x7f {
            message.put_u8(length as u8 | 0x80);
            length >>= 7;
        }
        message.put_u8(length as u8);
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).expect("a service's name is no gigabyte"));
    frame.put(message);
    frame.freeze()
}

/// Refuses what does not come from a gRPC server.
fn is_grpc(status: StatusCode, headers: &HeaderMap) -> Result<(), Reason> {
    if status != StatusCode::OK {
        return Err(Reason::Grpc(format!("http status {}", status.as_u16())));
    }
    let kind = headers.get(header::CONTENT_TYPE).map(|kind| String::from_utf8_lossy(kind.as_bytes()));
    match kind {
        Some(kind) if kind.starts_with("application/grpc") => Ok(()),
        Some(kind) => Err(Reason::Grpc(format!("what came back is `{}`, not gRPC", shown(&kind)))),
        None => Err(Reason::Grpc("what came back is not gRPC".to_owned())),
    }
}

/// Reads the body to its end.
async fn read(body: &mut RecvStream) -> Result<Vec<u8>, Reason> {
    let mut octets = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece.map_err(|error| broken(&error))?;
        if octets.len() + piece.len() > RESPONSE_OCTETS_MAX {
            return Err(Reason::Grpc(format!("the response has more than {RESPONSE_OCTETS_MAX} octets")));
        }
        octets.extend_from_slice(&piece);
        body.flow_control().release_capacity(piece.len()).map_err(|error| broken(&error))?;
    }
    Ok(octets)
}

/// Holds the status of the call against the one that passes.
fn succeeded(trailers: &HeaderMap, service: &str) -> Result<(), Reason> {
    let Some(status) = trailers.get("grpc-status") else {
        return Err(Reason::Grpc("the call ended without a status".to_owned()));
    };
    let status = String::from_utf8_lossy(status.as_bytes());
    let number = status.parse::<usize>().ok();
    let told = match number {
        Some(0) => return Ok(()),
        // As the health checking protocol has it; see `Check` there.
        Some(5) if !service.is_empty() => format!("unknown service `{}`, status 5 NOT_FOUND", shown(service)),
        Some(12) => "the server has no health service, status 12 UNIMPLEMENTED".to_owned(),
        Some(number) => match STATUSES.get(number) {
            Some(name) => format!("status {number} {name}"),
            None => format!("status {number}"),
        },
        None => format!("status `{}`", shown(&status)),
    };
    let message = trailers.get("grpc-message").map(|message| unescape(message.as_bytes())).unwrap_or_default();
    let message = shown(&message);
    Err(Reason::Grpc(if message.is_empty() { told } else { format!("{told}: {message}") }))
}

/// What stands for other octets in `grpc-message` put back.
fn unescape(text: &[u8]) -> String {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *first == b'%').and_then(|digits| str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(octet) => {
                octets.push(octet);
                rest = &after[2..];
            }
            None => {
                octets.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&octets).into_owned()
}

/// What a server says, as far as a reason has it.
fn shown(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(MESSAGE_CHARS_MAX).collect()
}

/// The serving status in a response's message with the length before it; `None` if it cannot be read.
fn serving_status(frame: &[u8]) -> Option<u64> {
    let (head, mut message) = frame.split_at_checked(5)?;
    let length = u32::from_be_bytes(head[1..].try_into().ok()?);
    // None was offered a compression.
    if head[0] != 0 || usize::try_from(length) != Ok(message.len()) {
        return None;
    }
    let mut status = 0;
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        // The last one of a field counts; fields not known are passed over.
        match (tag >> 3, tag & 7) {
            (1, 0) => status = varint(&mut message)?,
            (_, 0) => drop(varint(&mut message)?),
            (_, 1) => message = message.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            (_, 5) => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

/// Reads a number that has seven bits in each octet, the lowest first.
fn varint(octets: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = octets.split_first()?;
        *octets = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Says why HTTP/2 ended.
fn broken(error: &h2::Error) -> Reason {
    match error.get_io() {
        Some(error) => lost(error),
        None if error.is_remote() => Reason::Grpc(format!("the server ended it: {error}")),
        None => Reason::Grpc(format!("what came back is not HTTP/2: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_request_names_the_service() {
        let rows: [(&str, &[u8]); 2] = [("", b"\0\0\0\0\0"), ("a.B", b"\0\0\0\0\x05\x0a\x03a.B")];
        for (service, octets) in rows {
            assert_eq!(frame(service), octets);
        }
        let long = "x".repeat(300);
        assert_eq!(frame(&long)[..8], *b"\0\0\0\x01\x2f\x0a\xac\x02");
    }

    #[test]
    fn a_status_is_read_among_fields_not_known() {
        let rows: [(&[u8], Option<u64>); 11] = [
            (b"\0\0\0\0\x02\x08\x01", Some(1)),
            (b"\0\0\0\0\x00", Some(0)),
            (b"\0\0\0\0\x04\x08\x01\x08\x02", Some(2)),
            (b"\0\0\0\0\x06\x12\x02hi\x08\x01", Some(1)),
            (b"\0\0\0\0\x07\x1d\0\0\0\0\x08\x03", Some(3)),
            (b"\0\0\0\0\x03\x08\xac\x02", Some(300)),
            (b"\x01\0\0\0\x02\x08\x01", None),
            (b"\0\0\0\0\x03\x08\x01", None),
            (b"\0\0\0\0\x01\x08", None),
            (b"\0\0\0\0\x02\x12\x7f", None),
            (b"\0\0", None),
        ];
        for (octets, status) in rows {
            assert_eq!(serving_status(octets), status, "{octets:02x?}");
        }
    }

    #[test]
    fn a_failed_call_is_told_in_words() {
        let rows = [
            ("0", "", "ok"),
            ("5", "", "grpc: unknown service `a.B`, status 5 NOT_FOUND"),
            (
                "12",
                "no%20such%0amethod",
                "grpc: the server has no health service, status 12 UNIMPLEMENTED: no suchmethod",
            ),
            ("14", "100%", "grpc: status 14 UNAVAILABLE: 100%"),
            ("99", "", "grpc: status 99"),
            ("x", "", "grpc: status `x`"),
        ];
        for (status, message, expected) in rows {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", status.parse().unwrap());
            trailers.insert("grpc-message", message.parse().unwrap());
            let told = succeeded(&trailers, "a.B").map_or_else(|reason| reason.to_string(), |()| "ok".to_owned());
            assert_eq!(told, expected);
        }
        assert_eq!(succeeded(&HeaderMap::new(), "").unwrap_err().to_string(), "grpc: the call ended without a status");
    }

    proptest! {
        #[test]
        fn reading_never_panics(octets in proptest::collection::vec(any::<u8>(), 0..60)) {
            let length = u32::try_from(octets.len()).unwrap();
            let _ = serving_status(&octets);
            let _ = serving_status(&[&[0], &length.to_be_bytes()[..], &octets].concat());
            let _ = unescape(&octets);
        }
    }
}
