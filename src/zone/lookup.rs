//! Where a name falls in a zone: at a node, at a wildcard, below a cut or a DNAME, or nowhere.

use super::{Node, Rrset, Zone};
use crate::dns::Rtype;
use crate::dns::name::Folded;

/// Where a QNAME falls in a zone.
///
/// What the node holds of the QTYPE is the caller's question: a script may have to run to answer it.
pub enum Place<'z> {
    /// At a name that exists; an empty non-terminal has neither records nor scripts.
    Exact(&'z Node),
    /// At a name that does not exist and that a wildcard covers (RFC 4592 section 3.3.1).
    Wildcard(&'z Node),
    /// At or below a zone cut.
    Referral {
        /// The name servers of the child zone.
        name_servers: &'z Rrset,
        /// The node at the cut.
        cut: &'z Node,
        /// How many labels of the QNAME stand before the cut.
        skipped: usize,
    },
    /// Below a name with a DNAME (RFC 6672 section 2.3).
    Dname {
        /// The DNAME.
        rrset: &'z Rrset,
        /// How many labels of the QNAME stand before the DNAME's owner.
        skipped: usize,
    },
    /// Nowhere: the name does not exist and no wildcard covers it.
    NxDomain,
}

/// Finds where `qname` falls in `zone`, by RFC 1034 section 4.3.2 step 3.
///
/// `qname` must be at or below the apex. `qtype` matters only at a zone cut: a DS there is the parent's own.
/// Takes one probe of the hash table for a name that exists, and never allocates.
pub fn find<'z>(zone: &'z Zone, qname: &Folded, qtype: Rtype) -> Place<'z> {
    let apex_labels = zone.apex().as_ref().label_count();
    let below_apex = qname.label_count().saturating_sub(apex_labels);
    let nearest = (0..below_apex).find_map(|skipped| Some((skipped, zone.node(qname.suffix(skipped))?)));
    let (skipped, node) = nearest.unwrap_or((below_apex, &zone.nodes[0]));
    if let Some(hider) = node.hidden_by.map(|index| &zone.nodes[index as usize]) {
        let own_ds = qtype == Rtype::DS && skipped == 0 && std::ptr::eq(hider, node);
        if !own_ds {
            return hidden(zone, qname, hider);
        }
    }
    if skipped == 0 {
        return Place::Exact(node);
    }
    if let Some(rrset) = node.rrset(Rtype::DNAME) {
        return Place::Dname { rrset, skipped };
    }
    // A cut has no wildcard below it that could count: what it hides is the child's.
    match node.wildcard {
        Some(index) => Place::Wildcard(&zone.nodes[index as usize]),
        None => Place::NxDomain,
    }
}

/// Tells which of a zone cut and a DNAME hides what is below `hider`; the cut comes first if it is both.
fn hidden<'z>(zone: &'z Zone, qname: &Folded, hider: &'z Node) -> Place<'z> {
    let skipped = qname.label_count() - hider.owner.as_ref().label_count();
    let at_apex = std::ptr::eq(hider, &zone.nodes[0]);
    if let Some(name_servers) = hider.rrset(Rtype::NS).filter(|_| !at_apex) {
        return Place::Referral { name_servers, cut: hider, skipped };
    }
    let rrset = hider.rrset(Rtype::DNAME).expect("a node hides others by NS records below the apex or by a DNAME");
    Place::Dname { rrset, skipped }
}
