//! Numbers by name: `pdns` and `pdns_features`.

use super::{Api, Family};
use crate::dns::Rtype;

/// Tables of constants.
pub(super) const FAMILY: Family = Family { install };

/// Types that only PowerDNS has, and RCODEs. `DROP` is none; there as here, a record cannot bring it about.
const NUMBERS: [(&str, i64); 14] = [
    ("ADDR", 65_400),
    ("ALIAS", 65_401),
    ("NOERROR", 0),
    ("FORMERR", 1),
    ("SERVFAIL", 2),
    ("NXDOMAIN", 3),
    ("NOTIMP", 4),
    ("REFUSED", 5),
    ("YXDOMAIN", 6),
    ("YXRRSET", 7),
    ("NXRRSET", 8),
    ("NOTAUTH", 9),
    ("NOTZONE", 10),
    ("DROP", -2),
];
/// The sections of a message.
const PLACES: [(&str, i64); 4] = [("QUESTION", 0), ("ANSWER", 1), ("AUTHORITY", 2), ("ADDITIONAL", 3)];
/// The levels of `pdnslog`.
const LEVELS: [(&str, i64); 8] = [
    ("Emergency", 0),
    ("Alert", 1),
    ("Critical", 2),
    ("Error", 3),
    ("Warning", 4),
    ("Notice", 5),
    ("Info", 6),
    ("Debug", 7),
];

fn install(api: &mut Api<'_>) -> mlua::Result<()> {
    let table = api.lua.create_table()?;
    for (rtype, mnemonic) in Rtype::mnemonics() {
        table.raw_set(mnemonic, rtype.0)?;
    }
    for (name, number) in NUMBERS {
        table.raw_set(name, number)?;
    }
    table.raw_set("place", api.table_of(&PLACES)?)?;
    table.raw_set("loglevels", api.table_of(&LEVELS)?)?;
    table.set_readonly(true);
    api.base.raw_set("pdns", table)?;
    // PowerDNS's authoritative server leaves it empty.
    api.constants("pdns_features", &[])
}
