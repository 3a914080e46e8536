//! Refuses early what will not be answered, and chooses the zones that a client sees.

use super::{Programs, World};
use crate::dns::edns::ExtendedError;
use crate::dns::{Class, Rcode, Request, Response, Rtype};
use crate::zone::ZoneSet;

/// Admits a request to the zones its client sees.
///
/// Rejected are EDNS versions other than 0 (RFC 6891 section 6.1.3), transfers, types that are no data, and classes
/// other than IN and ANY.
pub(super) fn admit<'w>(world: &'w World, request: &Request<'_>) -> Result<&'w ZoneSet<Programs>, Rejection> {
    if request.edns.is_some_and(|edns| edns.version != 0) {
        return Err(Rejection::new(Rcode::BADVERS));
    }
    match request.qtype {
        Rtype::AXFR | Rtype::IXFR => return Err(Rejection::new(Rcode::REFUSED)),
        Rtype::MAILA | Rtype::MAILB => return Err(Rejection::new(Rcode::NOTIMP)),
        qtype if qtype.is_meta() && qtype != Rtype::ANY => return Err(Rejection::new(Rcode::FORMERR)),
        _ => {}
    }
    if request.qclass != Class::IN && request.qclass != Class::ANY {
        let text = "no zones of this class";
        let extended_error = Some(ExtendedError { code: ExtendedError::NOT_AUTHORITATIVE, text });
        return Err(Rejection { rcode: Rcode::REFUSED, extended_error });
    }
    Ok(&world.zones)
}

/// Why a request is not admitted.
pub(super) struct Rejection {
    rcode: Rcode,
    extended_error: Option<ExtendedError>,
}

impl Rejection {
    fn new(rcode: Rcode) -> Self {
        Self { rcode, extended_error: None }
    }

    /// The response to send instead of an answer.
    pub(super) fn response<'r>(self) -> Response<'r> {
        let mut response = Response::new(self.rcode);
        response.extended_error = self.extended_error;
        response
    }
}
