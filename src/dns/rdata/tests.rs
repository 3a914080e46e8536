//! Every type both ways, and what is said of texts that are wrong.

use data_encoding::HEXLOWER;
use proptest::prelude::*;

use super::*;
use crate::dns::Name;

/// Splits one line as a zone file would: at blanks, with quotes around fields or inside words.
fn fields(line: &str) -> Vec<Field<'_>> {
    let octets = line.as_bytes();
    let mut fields = Vec::new();
    let mut at = 0;
    while at < octets.len() {
        if octets[at] == b' ' {
            at += 1;
            continue;
        }
        let start = at;
        let quoted = octets[at] == b'"';
        let mut inside = false;
        while at < octets.len() && (inside || octets[at] != b' ') {
            match octets[at] {
                b'\\' => at += 1,
                b'"' => inside = !inside,
                _ => {}
            }
            at += 1;
            if quoted && !inside {
                break;
            }
        }
        let end = at.min(octets.len());
        let text = if quoted { &octets[start + 1..end - 1] } else { &octets[start..end] };
        let column = u32::try_from(start + 1).expect("a test's line is short");
        fields.push(Field { text, quoted, line: 1, column });
    }
    fields
}

fn read_line(rtype: Rtype, line: &str) -> Result<Vec<u8>, RdataError> {
    let origin: Name = "example.".parse().expect("a well-formed name");
    let mut wire = b"before".to_vec();
    read(rtype, &fields(line), Some(origin.as_ref()), &mut wire)?;
    Ok(wire.split_off(6))
}

/// Checks that the text reads as the octets, and that they write as the canonical text and read back.
fn check(rtype: Rtype, text: &str, canonical: &str, hex: &str) {
    let hex: String = hex.split_whitespace().collect();
    let wire = read_line(rtype, text).unwrap_or_else(|error| panic!("{rtype} {text}: {error}"));
    assert_eq!(HEXLOWER.encode(&wire), hex, "{rtype} {text}");
    assert_eq!(write(rtype, &wire), canonical, "{rtype} {text}");
    assert_eq!(read_line(rtype, canonical).as_ref(), Ok(&wire), "{rtype} {canonical}");
    let generic = format!("\\# {} {hex}", wire.len());
    assert_eq!(read_line(rtype, &generic).as_ref(), Ok(&wire), "{rtype} {generic}");
}

#[test]
fn rfc_1035_types_read_and_write() {
    check(Rtype::A, "192.0.2.1", "192.0.2.1", "c0000201");
    check(Rtype::MX, "10 mail", "10 mail.example.", "000a 046d61696c 076578616d706c6500");
    check(Rtype::TXT, "a \"b c\" \\100\\\"", "\"a\" \"b c\" \"d\\\"\"", "0161 03622063 026422");
}

proptest! {
    #[test]
    fn well_formed_octets_survive_their_text(number in 0u16..300, wire in proptest::collection::vec(any::<u8>(), 0..80)) {
        let rtype = Rtype(number);
        let text = write(rtype, &wire);
        if is_well_formed(rtype, &wire) {
            prop_assert_eq!(read_line(rtype, &text), Ok(wire), "{} {}", rtype, text);
        } else {
            prop_assert!(text.starts_with("\\# "), "{} {}", rtype, text);
            prop_assert!(read_line(rtype, &text).is_err(), "{} {}", rtype, text);
            prop_assert_eq!(read_line(Rtype(65280), &text), Ok(wire));
        }
    }
}
