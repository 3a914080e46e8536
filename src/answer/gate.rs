//! Refuses early what will not be answered, and chooses the zones that a client sees.

use super::World;
use super::chaos::Text;
use super::cookie::{Instead, Standing};
use crate::dns::edns::{Edns, ExtendedError};
use crate::dns::wire::{Refusal, Remains};
use crate::dns::{Class, Client, Rcode, Request, Response, Rtype, Transport};
use crate::script::Programs;
use crate::zone::ZoneSet;

/// A request that no zone is asked for.
pub(super) struct Refused {
    rcode: Rcode,
    truncated: bool,
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
/// Refused are EDNS versions other than 0 (RFC 6891 section 6.1.3), malformed options that are heeded, clients that the
/// policy of cookies sends back, transfers, types that are no data, and classes other than IN and ANY; of class CH all but
/// the names of texts that are told.
pub(super) fn admit<'w>(
    world: &'w World,
    request: &Request<'_>,
    client: &Client,
    standing: Standing,
) -> Result<Admitted<'w>, Refused> {
    if let Some(edns) = &request.edns {
        check_edns(world, edns, client)?;
    }
    match world.settings.cookies.instead(standing, client.transport) {
        None => {}
        Some(Instead::BadCookie) => return Err(Refused::bare(Rcode::BADCOOKIE)),
        Some(Instead::Truncated) => return Err(Refused { truncated: true, ..Refused::bare(Rcode::NOERROR) }),
    }
    match request.qtype {
        Rtype::AXFR | Rtype::IXFR => {
            return Err(Refused::saying(Rcode::REFUSED, ExtendedError::NOT_SUPPORTED, "no zone transfers"));
        }
        Rtype::MAILA | Rtype::MAILB => {
            return Err(Refused::saying(Rcode::NOTIMP, ExtendedError::NOT_SUPPORTED, "obsolete type"));
        }
        qtype if qtype.is_meta() && qtype != Rtype::ANY => {
            return Err(Refused::saying(Rcode::FORMERR, ExtendedError::OTHER, "not a type of data"));
        }
        _ => {}
    }
    let text = match request.qclass {
        Class::IN | Class::ANY => return Ok(Admitted::Zones(&world.surroundings.zones)),
        Class::CH => world.settings.chaos.at(&request.folded),
        _ => None,
    };
    let refused = || Refused::saying(Rcode::REFUSED, ExtendedError::NOT_AUTHORITATIVE, "no zones of this class");
    text.map(Admitted::Chaos).ok_or_else(refused)
}

/// Refuses a version that is not spoken, and options that break their rules.
///
/// An option that is switched off is one that nobody knows, and an idle timeout means nothing to a datagram (RFC 7828
/// section 3.3.1): nothing can be wrong with them.
fn check_edns(world: &World, edns: &Edns, client: &Client) -> Result<(), Refused> {
    if edns.version != 0 {
        return Err(Refused::bare(Rcode::BADVERS));
    }
    let malformed = edns.malformed;
    let text = if malformed.client_subnet && world.settings.limits.client_subnet {
        "malformed client subnet"
    } else if malformed.cookie && world.settings.cookies.are_on() {
        "malformed cookie"
    } else if malformed.keepalive && client.transport == Transport::Tcp {
        "malformed keepalive"
    } else {
        return Ok(());
    };
    Err(Refused::saying(Rcode::FORMERR, ExtendedError::OTHER, text))
}

impl Refused {
    fn bare(rcode: Rcode) -> Self {
        Self { rcode, truncated: false, extended_error: None }
    }

    fn saying(rcode: Rcode, code: u16, text: &'static str) -> Self {
        Self { extended_error: Some(ExtendedError::new(code, text)), ..Self::bare(rcode) }
    }

    /// The response that says so.
    pub(super) fn response<'z>(self) -> Response<'z> {
        let Self { rcode, truncated, extended_error } = self;
        Response { truncated, extended_error, ..Response::new(rcode) }
    }
}

/// How a message is answered that is no request; `None` for silence.
pub(super) fn refuse(
    refusal: Refusal,
    remains: &Remains<'_>,
    standing: Standing,
) -> Option<(Rcode, Option<ExtendedError>)> {
    match refusal {
        Refusal::Silence => None,
        Refusal::Rcode(Rcode::NOTIMP) => {
            Some((Rcode::NOTIMP, Some(ExtendedError::new(ExtendedError::NOT_SUPPORTED, "queries only"))))
        }
        Refusal::Rcode(rcode) => Some((rcode, None)),
        Refusal::NoQuestion => Some((answer_to_nothing(remains.edns.as_ref(), standing), None)),
    }
}

/// The code for a message that has an OPT record and asks nothing: that of its cookie, if it has one (RFC 7873 section
/// 5.4).
fn answer_to_nothing(edns: Option<&Edns>, standing: Standing) -> Rcode {
    let Some(edns) = edns else { return Rcode::FORMERR };
    match standing {
        _ if edns.version != 0 => Rcode::BADVERS,
        Standing::Absent => Rcode::FORMERR,
        Standing::Bad => Rcode::BADCOOKIE,
        Standing::New | Standing::Valid => Rcode::NOERROR,
    }
}
