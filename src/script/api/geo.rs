//! Answers by place: where the client is, and which target is closest to it.

use super::{Api, Family};

/// Builtins that look places up.
pub(super) const FAMILY: Family = Family { install };

/// What `geoiplookup` can be asked for, as PowerDNS numbers it.
const ATTRIBUTES: [(&str, i64); 8] = [
    ("ASn", 0),
    ("City", 1),
    ("Continent", 2),
    ("Country", 3),
    ("Country2", 4),
    ("Name", 5),
    ("Region", 6),
    ("Location", 7),
];

fn install(api: &mut Api<'_>) -> mlua::Result<()> {
    api.constants("GeoIPQueryAttribute", &ATTRIBUTES)
}
