//! Any octets as the data of a record of any type, in both forms: nothing panics, and no form loses what the other says.

use perigee::dns::{Name, Rtype, rdata};
use perigee::zone::lexer::fields;

/// Takes two octets for the type, and the rest first as wire form and then as presentation form.
pub(crate) fn check(octets: &[u8]) {
    let Some((rtype, data)) = octets.split_first_chunk::<2>() else { return };
    let rtype = Rtype(u16::from_be_bytes(*rtype));
    // LUA has a form of its own, which is read with the zone.
    if rtype == Rtype::LUA {
        return;
    }
    let is_sound = rdata::is_well_formed(rtype, data);
    let text = rdata::write(rtype, data);
    assert!(!text.contains(['\n', '\r', '\0']), "`{text}` is one line");
    if is_sound {
        assert_eq!(read(rtype, text.as_bytes(), None).as_deref(), Some(data), "`{text}`");
    }
    rdata::names_in(rtype, data).for_each(|range| assert!(range.end <= data.len()));
    let _ = rdata::target(rtype, data);

    let origin: Name = "example.com".parse().expect("a name");
    let Some(wire) = read(rtype, data, Some(&origin)) else { return };
    assert!(rdata::is_well_formed(rtype, &wire), "{rtype} {wire:02x?}");
    let text = rdata::write(rtype, &wire);
    assert_eq!(read(rtype, text.as_bytes(), None).as_deref(), Some(&*wire), "`{text}`");
}

/// Reads presentation form; `None` if it is refused.
fn read(rtype: Rtype, text: &[u8], origin: Option<&Name>) -> Option<Vec<u8>> {
    let mut wire = Vec::new();
    rdata::read(rtype, &fields(text).ok()?, origin.map(Name::as_ref), &mut wire).ok()?;
    Some(wire)
}
