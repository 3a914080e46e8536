//! Refuses early what will not be answered, and chooses the zones that a client sees.

use super::World;
use crate::dns::edns::ExtendedError;
use crate::dns::{Class, Rcode, Request, Response, Rtype};
use crate::script::Programs;
use crate::zone::ZoneSet;

/// A request that no zone is asked for.
pub(super) struct Refused {
    rcode: Rcode,
    extended_error: Option<ExtendedError>,
}

/// Admits a request to the zones its client sees.
///
/// Refused are EDNS versions other than 0 (RFC 6891 section 6.1.3), transfers, types that are no data, and classes
/// other than IN and ANY.
pub(super) fn admit<'w>(world: &'w World, request: &Request<'_>) -> Result<&'w ZoneSet<Programs>, Refused> {
    let refused = |rcode| Err(Refused { rcode, extended_error: None });
    if request.edns.is_some_and(|edns| edns.version != 0) {
        return refused(Rcode::BADVERS);
    }
    match request.qtype {
        Rtype::AXFR | Rtype::IXFR => return refused(Rcode::REFUSED),
        Rtype::MAILA | Rtype::MAILB => return refused(Rcode::NOTIMP),
        qtype if qtype.is_meta() && qtype != Rtype::ANY => return refused(Rcode::FORMERR),
        _ => {}
    }
    if request.qclass != Class::IN && request.qclass != Class::ANY {
        let extended_error = ExtendedError { code: ExtendedError::NOT_AUTHORITATIVE, text: "no zones of this class" };
        return Err(Refused { rcode: Rcode::REFUSED, extended_error: Some(extended_error) });
    }
    Ok(&world.surroundings.zones)
}

impl Refused {
    /// Refuses what a rule of access says to refuse.
    pub(super) fn by_access() -> Self {
        let extended_error = ExtendedError { code: ExtendedError::PROHIBITED, text: "not for this client" };
        Self { rcode: Rcode::REFUSED, extended_error: Some(extended_error) }
    }

    /// The response that says so.
    pub(super) fn response<'z>(self) -> Response<'z> {
        Response { extended_error: self.extended_error, ..Response::new(self.rcode) }
    }
}
