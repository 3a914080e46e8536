//! The header of the request.

use mlua::{UserData, UserDataMethods};

use super::method;
use crate::dns::wire::Header;

/// The header of the request: `dh`.
pub(super) struct RequestHeader(pub(super) Header);

/// The flags by the methods that read them (RFC 1035 section 4.1.1, RFC 4035 section 3).
const FLAGS: [(&str, u16); 6] =
    [("getAA", 0x0400), ("getTC", 0x0200), ("getRD", 0x0100), ("getRA", 0x0080), ("getAD", 0x0020), ("getCD", 0x0010)];
/// The counts by the methods that read them, in the order of the sections.
const COUNTS: [&str; 4] = ["getQDCOUNT", "getANCOUNT", "getNSCOUNT", "getARCOUNT"];

impl UserData for RequestHeader {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        method(methods, "getID", |this, _| Ok(this.0.id));
        method(methods, "getOPCODE", |this, _| Ok(this.0.flags >> 11 & 0xf));
        method(methods, "getRCODE", |this, _| Ok(this.0.flags & 0xf));
        for (name, flag) in FLAGS {
            method(methods, name, move |this, _| Ok(this.0.flags & flag != 0));
        }
        for (section, name) in COUNTS.into_iter().enumerate() {
            method(methods, name, move |this, _| Ok(this.0.counts[section]));
        }
    }
}
