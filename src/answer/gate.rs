//! Refuses early what will not be answered, and chooses the zones that a client sees.

use super::{Programs, World};
use crate::dns::edns::ExtendedError;
use crate::dns::{Class, Rcode, Request, Response, Rtype};
use crate::zone::ZoneSet;

/// Admits a request to the zones its client sees; an error is the response to send instead.
///
/// Refused are EDNS versions other than 0 (RFC 6891 section 6.1.3), transfers, types that are no data, and classes
/// other than IN and ANY.
pub(super) fn admit<'w>(world: &'w World, request: &Request<'_>) -> Result<&'w ZoneSet<Programs>, Response<'w>> {
    if request.edns.is_some_and(|edns| edns.version != 0) {
        return Err(Response::new(Rcode::BADVERS));
    }
    match request.qtype {
        Rtype::AXFR | Rtype::IXFR => return Err(Response::new(Rcode::REFUSED)),
        Rtype::MAILA | Rtype::MAILB => return Err(Response::new(Rcode::NOTIMP)),
        qtype if qtype.is_meta() && qtype != Rtype::ANY => return Err(Response::new(Rcode::FORMERR)),
        _ => {}
    }
    if request.qclass != Class::IN && request.qclass != Class::ANY {
        let mut refused = Response::new(Rcode::REFUSED);
        let text = "no zones of this class";
        refused.extended_error = Some(ExtendedError { code: ExtendedError::NOT_AUTHORITATIVE, text });
        return Err(refused);
    }
    Ok(&world.zones)
}
