//! Refuses early what will not be answered, and chooses the zones that a client sees.

use super::World;
use super::chaos::Text;
use crate::dns::edns::ExtendedError;
use crate::dns::{Class, Rcode, Request, Response, Rtype};
use crate::script::Programs;
use crate::zone::ZoneSet;

/// A request that no zone is asked for.
pub(super) struct Refused {
    rcode: Rcode,
    extended_error: Option<ExtendedError>,
}

/// Who answers a request that is admitted.
pub(super) enum Admitted<'w> {
    /// These zones, which are those its client sees.
    Zones(&'w ZoneSet<Programs>),
    /// The server, which says this of itself.
    Chaos(&'w Text),
}

/// Admits a request to the zones its client sees, or to what the server says of itself.
///
/// Refused are EDNS versions other than 0 (RFC 6891 section 6.1.3), transfers, types that are no data, and classes
/// other than IN and ANY; of class CH all but the names of texts that are told.
pub(super) fn admit<'w>(world: &'w World, request: &Request<'_>) -> Result<Admitted<'w>, Refused> {
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
    let text = match request.qclass {
        Class::IN | Class::ANY => return Ok(Admitted::Zones(&world.surroundings.zones)),
        Class::CH => world.settings.chaos.at(&request.folded),
        _ => None,
    };
    let extended_error = ExtendedError { code: ExtendedError::NOT_AUTHORITATIVE, text: "no zones of this class" };
    let refused = Refused { rcode: Rcode::REFUSED, extended_error: Some(extended_error) };
    text.map(Admitted::Chaos).ok_or(refused)
}

impl Refused {
    /// The response that says so.
    pub(super) fn response<'z>(self) -> Response<'z> {
        Response { extended_error: self.extended_error, ..Response::new(self.rcode) }
    }
}
