//! Zone files good and bad, and the messages they earn.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use perigee::diagnostic::{Diagnostic, Position};
use perigee::dns::Name;
use perigee::zone::check::check;
use perigee::zone::parser::{Included, Input, Options, Parsed, parse};
use perigee::zone::{Data, LuaData, Record};
use proptest::prelude::*;

fn apex() -> Name {
    "example.com.".parse().expect("a well-formed name")
}

/// Reads `zone` as the file `test.zone` of `example.com.`, with `files` for `$INCLUDE`.
fn read_with(zone: &[u8], files: &[(&str, &str)]) -> Parsed {
    let files: BTreeMap<_, _> = files.iter().copied().collect();
    let mut include = |path: &str, _: &Position| match files.get(path) {
        Some(text) => Ok(Included { file: path.into(), text: text.as_bytes().to_vec() }),
        None => Err("no such file".to_owned()),
    };
    parse(&Input { file: Arc::from("test.zone"), text: zone }, &Options::new(apex()), &mut include)
}

fn read(zone: impl AsRef<[u8]>) -> Parsed {
    read_with(zone.as_ref(), &[])
}

fn lines(items: &[impl ToString]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The records of a zone that is read without a word, one line each.
fn records(zone: &str, files: &[(&str, &str)]) -> String {
    let parsed = read_with(zone.as_bytes(), files);
    assert_eq!(lines(&parsed.diagnostics), "", "{zone}");
    lines(&parsed.records)
}

/// What is told of a zone: by the parser, or else by the check.
fn told(zone: impl AsRef<[u8]>, files: &[(&str, &str)]) -> String {
    let parsed = read_with(zone.as_ref(), files);
    let mut diagnostics = parsed.diagnostics;
    if !diagnostics.iter().any(Diagnostic::is_error) {
        diagnostics.extend(check(&apex(), &parsed.records));
    }
    lines(&diagnostics)
}

/// What the check tells of `records` beside the SOA and NS records that a zone needs.
fn checked(records: &str) -> String {
    told(format!("$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns.example.net.\n{records}"), &[])
}

#[test]
fn entries_become_records() {
    let cases = [
        // Owner, TTL, class: what may be omitted and in which order.
        ("a 60 IN A 192.0.2.1", "a.example.com. 60 IN A 192.0.2.1"),
        ("a IN 60 A 192.0.2.1", "a.example.com. 60 IN A 192.0.2.1"),
        ("a 1h30m a 192.0.2.1", "a.example.com. 5400 IN A 192.0.2.1"),
        ("@ 0 CLASS1 TYPE1 192.0.2.1", "example.com. 0 IN A 192.0.2.1"),
        ("A. 2147483647 in aaaa ::1", "A. 2147483647 IN AAAA ::1"),
        ("in 5 in a 192.0.2.1", "in.example.com. 5 IN A 192.0.2.1"),
        ("5 5 A 192.0.2.1", "5.example.com. 5 IN A 192.0.2.1"),
        ("\\@ 5 A 192.0.2.1", "\\@.example.com. 5 IN A 192.0.2.1"),
        ("\\$TTL 5 A 192.0.2.1", "\\$TTL.example.com. 5 IN A 192.0.2.1"),
        ("a\\ b\\046c 5 A 192.0.2.1", "a\\032b\\.c.example.com. 5 IN A 192.0.2.1"),
        ("\"a\" 5 A 192.0.2.1", "a.example.com. 5 IN A 192.0.2.1"),
        // Data of known and unknown types.
        ("a 5 MX 10 mail", "a.example.com. 5 IN MX 10 mail.example.com."),
        (
            "a 5 TXT one \"two three\" \"\" \"\\\"\\\\\\;\"",
            "a.example.com. 5 IN TXT \"one\" \"two three\" \"\" \"\\\"\\\\;\"",
        ),
        ("a 5 TYPE1 \\# 4 C0000201", "a.example.com. 5 IN A 192.0.2.1"),
        ("a 5 TYPE65280 \\# 3 ab CDef", "a.example.com. 5 IN TYPE65280 \\# 3 ABCDEF"),
        ("a 5 HTTPS 1 . alpn=\"h2,h3\"", "a.example.com. 5 IN HTTPS 1 . alpn=\"h2,h3\""),
        // LUA records.
        ("a 5 LUA A \"pick('a')\"", "a.example.com. 5 IN LUA A \"pick('a')\""),
        ("a 5 lua type28 ( \";return\" ; remark\n 'x' )", "a.example.com. 5 IN LUA AAAA \";return\" \"'x'\""),
        ("a 5 LUA LUA \"x=1\"", "a.example.com. 5 IN LUA LUA \"x=1\""),
        ("a 5 LUA TXT \"'\\\"\\n\\065' -- ;(\"", "a.example.com. 5 IN LUA TXT \"'\\\"\\n\\065' -- ;(\""),
        ("a 5 LUA A \"if x\n then\"", "a.example.com. 5 IN LUA A \"if x\n then\""),
        ("a 5 TYPE65402 \\# 7 0001 04 61626364", "a.example.com. 5 IN LUA A \"abcd\""),
        // No quotes can carry code with a backslash before a quote.
        ("a 5 TYPE65402 \\# 5 0001 02 5C22", "a.example.com. 5 IN LUA \\# 5 0001025C22"),
    ];
    for (zone, expected) in cases {
        assert_eq!(records(zone, &[]), expected, "{zone}");
        let parsed = read(zone);
        assert_eq!(parsed.records[0].position, Position::new("test.zone", 1, 1), "{zone}");
    }
}

#[test]
fn an_entry_inherits_what_it_omits() {
    insta::assert_snapshot!(records(
        "$TTL 1h
@ SOA ns hostmaster ( ; a remark
        2024010101
        2h 1h 2w 5m )
  NS ns
$ORIGIN sub
a A 192.0.2.1
\tAAAA 2001:db8::1
$ORIGIN sub.sub
a 60 A 192.0.2.2
b A 192.0.2.3
$TTL 30
 A 192.0.2.4
$ORIGIN example.org.
@ A 192.0.2.5
", &[]), @"
    example.com. 3600 IN SOA ns.example.com. hostmaster.example.com. 2024010101 7200 3600 1209600 300
    example.com. 3600 IN NS ns.example.com.
    a.sub.example.com. 3600 IN A 192.0.2.1
    a.sub.example.com. 3600 IN AAAA 2001:db8::1
    a.sub.sub.sub.example.com. 60 IN A 192.0.2.2
    b.sub.sub.sub.example.com. 3600 IN A 192.0.2.3
    b.sub.sub.sub.example.com. 30 IN A 192.0.2.4
    example.org. 30 IN A 192.0.2.5
    ");
}

#[test]
fn an_included_file_gives_back_origin_and_owner_but_not_the_ttl() {
    let files = [("inner", " A 192.0.2.2\n$ORIGIN deep\n$TTL 7\nb A 192.0.2.3\n"), ("other", "@ A 192.0.2.9\n")];
    insta::assert_snapshot!(records(
        "$TTL 60\na A 192.0.2.1\n$INCLUDE inner\n A 192.0.2.4\nc A 192.0.2.5\n$include \"other\" d\n@ A 192.0.2.6\n",
        &files,
    ), @r"
    a.example.com. 60 IN A 192.0.2.1
    a.example.com. 60 IN A 192.0.2.2
    b.deep.example.com. 7 IN A 192.0.2.3
    a.example.com. 7 IN A 192.0.2.4
    c.example.com. 7 IN A 192.0.2.5
    d.example.com. 7 IN A 192.0.2.9
    example.com. 7 IN A 192.0.2.6
    ");
}

#[test]
fn generate_makes_records_of_any_type() {
    insta::assert_snapshot!(records(
        "$GENERATE 1-2 h$ 60 A 192.0.2.$
$GENERATE 0-8/8 h${1,3} IN 60 CNAME x${-1,2,x}.$
$GENERATE 10-10 ${0,4,n} 60 PTR a$$b\\$
$GENERATE 3-3 m 60 MX 10 mail$
$GENERATE 3-3 m 60 MX \"10 mail$\"
$GENERATE 3-3 t 60 TXT \"a $\" b$ \"\\$\"
$GENERATE 1-2 l$ 60 LUA A \"pick({'192.0.2.$', '\\$'})\"
", &[]), @r#"
    h1.example.com. 60 IN A 192.0.2.1
    h2.example.com. 60 IN A 192.0.2.2
    h001.example.com. 60 IN CNAME xffffffff.0.example.com.
    h009.example.com. 60 IN CNAME x07.8.example.com.
    a.0. 60 IN PTR a\$b\$.example.com.
    m.example.com. 60 IN MX 10 mail3.example.com.
    m.example.com. 60 IN MX 10 mail3.example.com.
    t.example.com. 60 IN TXT "a 3" "b3" "$"
    l1.example.com. 60 IN LUA A "pick({'192.0.2.1', '$'})"
    l2.example.com. 60 IN LUA A "pick({'192.0.2.2', '$'})"
    "#);
}

#[test]
fn every_record_and_every_piece_of_code_knows_its_place() {
    let parsed =
        read("$TTL 5\n\n a A 192.0.2.1\na A 192.0.2.1\n  LUA A ( \";x\"\n   y )\n$GENERATE 1-1 g A 192.0.2.1\n");
    assert_eq!(
        lines(&parsed.records.iter().map(|record| &record.position).collect::<Vec<_>>()),
        "test.zone:4:1\ntest.zone:5:3\ntest.zone:7:1"
    );
    let Data::Lua(data) = &parsed.records[1].data else { panic!("the second record is LUA") };
    let places: Vec<_> = data.pieces.iter().map(|piece| (piece.position.line, piece.position.column)).collect();
    assert_eq!(places, [(5, 12), (6, 4)]);
}

#[test]
fn code_longer_than_a_character_string_is_one_piece_again_after_the_wire() {
    let code = "x".repeat(600);
    let parsed = read(format!("a 5 LUA A \"{code}\" \"y\""));
    let Data::Lua(data) = &parsed.records[0].data else { panic!("the record is LUA") };
    let wire = data.to_wire();
    assert_eq!(wire.len(), 2 + 3 + 600 + 2);
    let again = LuaData::from_wire(&wire, &parsed.records[0].position);
    assert_eq!(again.as_ref(), Some(data));
}

#[test]
fn code_that_does_not_fit_a_record_is_refused() {
    insta::assert_snapshot!(told(format!("a 5 LUA A \"{}\"", "x".repeat(65_280)), &[]), @"
    test.zone:1:11: error: the code takes 65538 octets on the wire, more than the 65535 of a record
      help: move a part of it to a `LUA LUA` record and `include` it
    ");
}

#[test]
fn ttls_come_from_bind_s_order_of_places() {
    let ttls = |zone: &str| read(zone).records.iter().map(|record| record.ttl).collect::<Vec<_>>();
    let soa = "SOA ns h 1 2 3 4";
    assert_eq!(
        ttls(&format!("@ 7 {soa} 5\n@ NS ns\nb 6 A 192.0.2.1\nc A 192.0.2.1\n$TTL 9\nd A 192.0.2.1")),
        [7, 7, 6, 6, 9]
    );
    assert_eq!(ttls(&format!("@ {soa} 5\n@ NS ns\nb 6 A 192.0.2.1\nc A 192.0.2.1\n")), [5, 5, 6, 5]);
    insta::assert_snapshot!(lines(&read(format!("@ {soa} 5\nb A 192.0.2.1\n")).diagnostics), @"
    test.zone:1:3: warning: no TTL here and no `$TTL`: the SOA's minimum of 5 is used
      help: put `$TTL 3600` at the top, with the TTL you want
    ");
    insta::assert_snapshot!(lines(&read("b 6 A 192.0.2.1\nc A 192.0.2.1\nd A 192.0.2.1\n").diagnostics), @"
    test.zone:2:3: warning: no TTL here and no `$TTL`: the 6 of the record before is used
      help: put `$TTL 3600` at the top, with the TTL you want
    ");
    insta::assert_snapshot!(lines(&read("b A 192.0.2.1\nc A 192.0.2.1\n").diagnostics), @"
    test.zone:1:3: error: the record has no TTL, and none is set before it
      help: put `$TTL 3600` at the top, with the TTL you want
    ");
}

#[test]
fn a_broken_zone_earns_all_of_its_messages_at_once() {
    insta::assert_snapshot!(told(include_bytes!("data/broken.zone"), &[]));
}

#[test]
fn text_that_cannot_be_cut_is_blamed_on_what_opened() {
    let unclosed_quote = "$TTL 5\na TXT \"b\nc A 192.0.2.1x\n";
    insta::assert_snapshot!(told(unclosed_quote, &[]), @r#"
    test.zone:2:7: error: a quoted string opens here and is not closed on its line
      help: close it with `"`; only the code of a LUA record may run over several lines between quotes
    test.zone:3:5: error: address `192.0.2.1x` is not an IPv4 address
      help: write four numbers from 0 to 255 with dots between, as in `192.0.2.1`
    "#);
    let unclosed_parenthesis = "$TTL 5\na TXT ( b\nc A 192.0.2.1\n";
    insta::assert_snapshot!(told(unclosed_parenthesis, &[]), @"
    test.zone:2:7: error: a parenthesis opens here and is not closed
      help: close it with `)` at the end of the record
    ");
    let unopened_parenthesis = "$TTL 5\na TXT b )\n";
    insta::assert_snapshot!(told(unopened_parenthesis, &[]), @r"
    test.zone:2:9: error: a parenthesis closes here and none is open
      help: remove it, or open one with `(`; in text, write it between quotes or as `\)`
    ");
    let unclosed_code = "$TTL 5\na LUA A \"b\nc LUA A \"d\"\n";
    insta::assert_snapshot!(told(unclosed_code, &[]), @r#"
    test.zone:2:9: error: a quoted string opens here and is not closed
      help: close it with `"`; a quote inside is written `\"`
    "#);
    let lines_in_text = "$TTL 5\nLUA LUA TXT LUA\na TXT LUA \"x\ny\"\n";
    insta::assert_snapshot!(told(lines_in_text, &[]), @r#"
    test.zone:3:11: error: a quoted string opens here and is not closed on its line
      help: close it with `"`; only the code of a LUA record may run over several lines between quotes
    "#);
}

#[test]
fn what_is_no_text_is_told_so() {
    insta::assert_snapshot!(told(b"\x7fELF\x02\x01\x01\0\0\0\n\n\0\n", &[]), @"
    test.zone:1:8: error: there is a NUL octet here
      help: a zone file is text in ASCII or UTF-8; is this another kind of file?
    ");
    insta::assert_snapshot!(told(b"\xff\xfe$\0T\0T\0L\0\n\0", &[]), @"
    test.zone:1:4: error: there is a NUL octet here
      help: a zone file is text in ASCII or UTF-8; is this another kind of file?
    ");
    insta::assert_snapshot!(told("", &[]), @"
    error: the zone `example.com.` has no SOA record
      help: begin it with `example.com. 3600 IN SOA ns1.example.com. hostmaster.example.com. 1 7200 3600 1209600 300`
    error: the zone `example.com.` has no NS record
      help: name its servers, as in `example.com. 3600 IN NS ns1.example.com.`
    ");
}

#[test]
fn includes_that_fail_say_why_and_from_where() {
    insta::assert_snapshot!(told("$INCLUDE none.zone\n", &[]), @"
    test.zone:1:10: error: cannot include `none.zone`: no such file
      help: check the path and the rights of the file
    ");
    insta::assert_snapshot!(told("$INCLUDE a\n", &[("a", "\n $TTL\n$INCLUDE b\n"), ("b", "$INCLUDE a\n")]), @"
    a:2:2: error: the first record has no owner: its line begins with a blank
      help: write the owner in the first column, or `@` for the origin
    b:1:10: error: cannot include `a`: it would include itself
      help: `a` is included at test.zone:1:10, `b` is included at a:3:10
    ");
    insta::assert_snapshot!(told("$INCLUDE test.zone\n", &[("test.zone", "")]), @"
    test.zone:1:10: error: cannot include `test.zone`: it would include itself
      help: remove the line
    ");
    // A loop whose files have a new name each time.
    let mut depth = 0;
    let mut include = |_: &str, _: &Position| {
        depth += 1;
        Ok(Included { file: format!("file{depth}").into(), text: b"$INCLUDE next\n".to_vec() })
    };
    let input = Input { file: Arc::from("test.zone"), text: b"$INCLUDE next\n" };
    let parsed = parse(&input, &Options::new(apex()), &mut include);
    assert_eq!(parsed.diagnostics.len(), 1);
    assert!(parsed.diagnostics[0].to_string().starts_with("file16:1:10: error: cannot include `next`: 16 files"));
}

#[test]
fn a_generate_that_fails_names_the_value_and_stops() {
    insta::assert_snapshot!(told(
        "$GENERATE 250-300 h$ 60 A 192.0.2.$\n$GENERATE 3-1 h 60 A 192.0.2.1\n$GENERATE 1-2 h${ 60 A 192.0.2.1\n$GENERATE 1-2 h$ 60 A\n$GENERATE 1-2 h$\n",
        &[],
    ), @"
    test.zone:1:27: error: address `192.0.2.256` is not an IPv4 address (`$GENERATE` at value 256)
      help: write four numbers from 0 to 255 with dots between, as in `192.0.2.1`
    test.zone:2:11: error: `3-1` is not a range
      help: write `start-stop` or `start-stop/step`, whole numbers up to 2147483647 in ascending order
    test.zone:3:15: error: `h${` has a malformed `${...}`
      help: write `${offset,width,base}` without blanks: width up to 63, base one of d o x X n N
    test.zone:4:22: error: `A` lacks its address (`$GENERATE` at value 1)
      help: write `A <address>`
    test.zone:5:17: error: `$GENERATE` is followed by too little
      help: write `$GENERATE start-stop[/step] owner [TTL] [class] type data`
    ");
    let input = Input { file: Arc::from("test.zone"), text: b"$GENERATE 1-1000000 h$ 60 A 192.0.2.1\n" };
    let options = Options { generated_octets_max: 1_000, ..Options::new(apex()) };
    let parsed = parse(&input, &options, &mut |_, _| Err(String::new()));
    insta::assert_snapshot!(lines(&parsed.diagnostics), @"
    test.zone:1:11: error: the zone generates more than it may (`$GENERATE` at value 5)
      help: generate fewer records, or use wildcards or LUA records
    ");
    assert_eq!(parsed.records.len(), 4);
}

#[test]
fn a_hopeless_file_earns_a_bounded_number_of_messages() {
    let parsed = read("a NONSENSE b\n".repeat(5_000));
    assert_eq!(parsed.diagnostics.len(), 101);
    assert_eq!(parsed.diagnostics[100].to_string(), "error: 4900 more errors are not shown");
}

#[test]
fn a_sound_zone_earns_no_message() {
    let sound = "
www A 192.0.2.1
www AAAA 2001:db8::1
www LUA A \"pick()\"
www LUA CNAME \"'x'\"
@ LUA CNAME \"'x.example.net'\"
@ MX 10 mail
@ MX 20 mail.example.net.
null MX 0 .
mail A 192.0.2.2
alias CNAME www
alias LUA LUA \"x=1\"
alias NSEC www CNAME NSEC
sub NS ns.sub
sub NS ns.other
sub DS 1 8 2 0000000000000000000000000000000000000000000000000000000000000000
ns.sub A 192.0.2.3
other NS ns.other
ns.other AAAA ::1
*.wild A 192.0.2.4
wild MX 10 some.wild
lua LUA NS \"'x'\"
below.lua A 192.0.2.1
_sip._tcp SRV 0 0 5060 lua2
lua2 LUA AAAA \"'::1'\"
tree DNAME example.net.
";
    assert_eq!(checked(sound), "");
}

#[test]
fn a_zone_needs_one_soa_and_name_servers_at_its_apex() {
    insta::assert_snapshot!(told("a 60 A 192.0.2.1\n", &[]), @"
    error: the zone `example.com.` has no SOA record
      help: begin it with `example.com. 3600 IN SOA ns1.example.com. hostmaster.example.com. 1 7200 3600 1209600 300`
    error: the zone `example.com.` has no NS record
      help: name its servers, as in `example.com. 3600 IN NS ns1.example.com.`
    ");
    insta::assert_snapshot!(checked("@ SOA ns h 2 2 3 4 5\nsub SOA ns h 1 2 3 4 5\nexample.org. A 192.0.2.1\n"), @"
    test.zone:4:1: error: `example.com.` has a second SOA record; the first is at test.zone:2:1
      help: keep one
    test.zone:5:1: error: `sub.example.com.` has a SOA record and is not the apex `example.com.`
      help: remove it; a zone of its own goes into a file of its own, with NS records here
    test.zone:6:1: error: `example.org.` is not in the zone `example.com.`
      help: remove the record, or correct the name or `$ORIGIN`; a name with a final dot is absolute
    ");
    insta::assert_snapshot!(told("@ 60 SOA ns h 1 2 3 4 5\n@ 60 LUA NS \"'ns.example.net'\"\n", &[]), @"");
}

#[test]
fn an_alias_stands_alone() {
    insta::assert_snapshot!(checked("\
a CNAME x
a A 192.0.2.1
b CNAME x
b CNAME y
b CNAME X
c CNAME x
c LUA A \"pick()\"
d CNAME x
d LUA CNAME \"'y'\"
@ CNAME x
e DNAME x
e DNAME y
e NS ns.example.net.
"), @"
    test.zone:4:1: error: `a.example.com.` has a CNAME beside A records, as at test.zone:5:1
      help: keep the CNAME or the other records (RFC 1034 section 3.6.2)
    test.zone:7:1: error: `b.example.com.` has more than one CNAME; the first is at test.zone:6:1
      help: keep one; to choose between targets, let a `LUA CNAME` answer
    test.zone:8:1: warning: `b.example.com.` has the same CNAME record at test.zone:6:1
      help: remove one; it is served once
    test.zone:9:1: error: `c.example.com.` has a CNAME beside LUA records for A, as at test.zone:10:1
      help: keep one of them; a `LUA CNAME` may stand beside others and answer nothing when they are to be used
    test.zone:11:1: error: `d.example.com.` has a CNAME beside LUA records for CNAME, as at test.zone:12:1
      help: keep one of them; a `LUA CNAME` may stand beside others and answer nothing when they are to be used
    test.zone:13:1: error: `example.com.` has a CNAME beside SOA records, as at test.zone:2:1
      help: an apex cannot be an alias; let a LUA record answer with the addresses of the target
    test.zone:14:1: error: `e.example.com.` has a DNAME beside NS records
      help: keep one: the NS records delegate the name, the DNAME does not (RFC 6672 section 2.4)
    test.zone:15:1: error: `e.example.com.` has more than one DNAME; the first is at test.zone:14:1
      help: keep one; to choose between targets, let a `LUA CNAME` answer
    ");
}

#[test]
fn duplicates_and_differing_ttls_are_told() {
    insta::assert_snapshot!(checked("\
a A 192.0.2.1
a 30 A 192.0.2.1
a LUA A \"pick()\"
a LUA A \"pick()\"
b PTR Some.Name.
b PTR some.name.
c TXT Text
c TXT text
d 50 LUA A \"pick()\"
d A 192.0.2.1
e LUA A \"pick()\"
e 30 LUA AAAA \"pick()\"
"), @"
    test.zone:4:1: warning: the A records of `a.example.com.` have different TTLs, 60 here and 30 elsewhere
      help: write one TTL for all; 30 is used (RFC 2181 section 5.2)
    test.zone:5:1: warning: `a.example.com.` has the same A record at test.zone:4:1
      help: remove one; it is served once
    test.zone:7:1: warning: `a.example.com.` has the same LUA record at test.zone:6:1
      help: remove one; it is served once
    test.zone:9:1: warning: `b.example.com.` has the same PTR record at test.zone:8:1
      help: remove one; it is served once
    test.zone:13:1: warning: the A records of `d.example.com.` have different TTLs, 60 here and 50 elsewhere
      help: write one TTL for all; 50 is used (RFC 2181 section 5.2)
    ");
}

#[test]
fn rrsets_that_fit_no_message_are_told() {
    // The second one fits, as its names become pointers.
    let records = "$GENERATE 1-3000 a TXT \"a record of many $\"\n$GENERATE 1-3000 b MX $ a-long-name.example.net.";
    insta::assert_snapshot!(checked(records), @r"
    test.zone:4:1: warning: the TXT records of `a.example.com.` take 100893 octets, and a message holds 65535
      help: spread them over several names; they cannot be answered
    ");
}

#[test]
fn what_no_query_reaches_is_told() {
    insta::assert_snapshot!(checked("\
sub NS ns.sub
ns.sub A 192.0.2.1
ns.sub TXT hidden
www.sub A 192.0.2.1
sub TXT hidden
sub LUA A \"pick()\"
deep.sub NS ns.example.net.
tree DNAME example.net.
www.tree A 192.0.2.1
*.w NS ns.example.net.
*.v DNAME example.net.
"), @"
    test.zone:6:1: warning: the TXT record of `ns.sub.example.com.` is below the delegation of `sub.example.com.` and is never answered
      help: move it to the delegated zone, or remove the NS records
    test.zone:7:1: warning: the A record of `www.sub.example.com.` is below the delegation of `sub.example.com.` and is never answered
      help: move it to the delegated zone, or remove the NS records
    test.zone:8:1: warning: the TXT record of `sub.example.com.` is at the delegation of `sub.example.com.` and is never answered
      help: move it to the delegated zone, or remove the NS records
    test.zone:9:1: warning: the LUA record of `sub.example.com.` is at the delegation of `sub.example.com.` and is never answered
      help: move it to the delegated zone, or remove the NS records
    test.zone:10:1: warning: the NS record of `deep.sub.example.com.` is below the delegation of `sub.example.com.` and is never answered
      help: move it to the delegated zone, or remove the NS records
    test.zone:12:1: warning: `www.tree.example.com.` is below the DNAME of `tree.example.com.` and is never answered
      help: remove the record or the DNAME (RFC 6672 section 2.4)
    test.zone:13:1: warning: the wildcard `*.w.example.com.` has NS records
      help: write them out for each name: servers and resolvers disagree on their meaning (RFC 4592 section 4)
    test.zone:14:1: warning: the wildcard `*.v.example.com.` has DNAME records
      help: write them out for each name: servers and resolvers disagree on their meaning (RFC 4592 section 4)
    ");
}

#[test]
fn targets_without_address_are_told() {
    insta::assert_snapshot!(checked("\
@ NS ns1
@ NS ns2
@ NS ns3.example.com
@ NS ns4
ns2 TXT \"no address\"
ns4 CNAME www
www A 192.0.2.1
@ MX 10 mail
@ MX 10 www.example.com
_sip._tcp SRV 0 0 5060 ns4
sub NS ns.sub
sub NS ns5
lua NS ns.lua
ns.lua LUA A \"'192.0.2.1'\"
x NS ns.sub
"), @"
    test.zone:4:1: error: the NS record of `example.com.` points to `ns1.example.com.`, which does not exist
      help: give `ns1.example.com.` an A or AAAA record, or correct the name
    test.zone:5:1: error: the NS record of `example.com.` points to `ns2.example.com.`, which has no address
      help: give `ns2.example.com.` an A or AAAA record, or correct the name
    test.zone:6:1: error: the NS record of `example.com.` points to `ns3.example.com.example.com.`, which does not exist
      help: end the name with a dot: without one the origin is appended
    test.zone:7:1: warning: the NS record of `example.com.` points to `ns4.example.com.`, which is an alias
      help: point to the name that has the addresses (RFC 2181 section 10.3)
    test.zone:11:1: warning: the MX record of `example.com.` points to `mail.example.com.`, which does not exist
      help: give `mail.example.com.` an A or AAAA record, or correct the name
    test.zone:12:1: warning: the MX record of `example.com.` points to `www.example.com.example.com.`, which does not exist
      help: end the name with a dot: without one the origin is appended
    test.zone:13:1: warning: the SRV record of `_sip._tcp.example.com.` points to `ns4.example.com.`, which is an alias
      help: point to the name that has the addresses (RFC 2181 section 10.3)
    test.zone:14:1: warning: the delegation of `sub.example.com.` to `ns.sub.example.com.` has no glue
      help: add the A or AAAA records of `ns.sub.example.com.` here: the server is inside the zone it serves
    test.zone:15:1: warning: the NS record of `sub.example.com.` points to `ns5.example.com.`, which does not exist
      help: give `ns5.example.com.` an A or AAAA record, or correct the name
    test.zone:16:1: warning: the delegation of `lua.example.com.` to `ns.lua.example.com.` has no glue
      help: add the A or AAAA records of `ns.lua.example.com.` here: the server is inside the zone it serves
    test.zone:17:1: warning: the LUA record of `ns.lua.example.com.` is below the delegation of `lua.example.com.` and is never answered
      help: move it to the delegated zone, or remove the NS records
    ");
}

/// A record as it goes over the wire: owner in lower case, type, TTL and RDATA.
type WireRecord = (Name, u16, u32, Vec<u8>);

/// Takes `length` octets from `octets` as a number in network order.
fn take_number(octets: &mut &[u8], length: usize) -> usize {
    let (number, rest) = octets.split_at(length);
    *octets = rest;
    number.iter().fold(0, |number, &octet| number << 8 | usize::from(octet))
}

/// Reads BIND's `raw` form, version 1: a head of 24 octets, then RRsets in wire form.
fn read_raw(mut octets: &[u8]) -> BTreeSet<WireRecord> {
    let mut records = BTreeSet::new();
    octets = &octets[24..];
    while !octets.is_empty() {
        let _length = take_number(&mut octets, 4);
        let _class = take_number(&mut octets, 2);
        let rtype = take_number(&mut octets, 2) as u16;
        let _covered = take_number(&mut octets, 2);
        let ttl = take_number(&mut octets, 4) as u32;
        let count = take_number(&mut octets, 4);
        let name_length = take_number(&mut octets, 2);
        let (name, rest) = octets.split_at(name_length);
        octets = rest;
        for _ in 0..count {
            let length = take_number(&mut octets, 2);
            let (rdata, rest) = octets.split_at(length);
            octets = rest;
            records.insert((Name::from_wire(name).expect("BIND writes sound names"), rtype, ttl, rdata.to_vec()));
        }
    }
    records
}

/// Has both servers read the file `name` and compares their records.
fn assert_same_as_bind(name: &str, directory: &Path) {
    let output = Command::new("named-compilezone")
        .args("-i none -k ignore -F raw -o - example.com".split(' '))
        .arg(name)
        .current_dir(directory)
        .output()
        .expect("`named-compilezone` must run: install the package bind9-utils");
    assert!(output.status.success(), "BIND refuses {name}: {}", String::from_utf8_lossy(&output.stderr));
    let theirs = read_raw(&output.stdout);

    let mut include = |path: &str, _: &Position| {
        let text = std::fs::read(directory.join(path)).map_err(|error| error.to_string())?;
        Ok(Included { file: path.into(), text })
    };
    let zone = std::fs::read(directory.join(name)).expect("the zone is in the repository");
    let parsed = parse(&Input { file: name.into(), text: &zone }, &Options::new(apex()), &mut include);
    let errors: Vec<_> = parsed.diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).collect();
    assert_eq!(lines(&errors), "", "{name}");
    let wire = |record: &Record| match &record.data {
        Data::Wire(wire) => (record.owner.clone(), record.rtype.0, record.ttl, wire.to_vec()),
        Data::Lua(_) => panic!("BIND knows no LUA records"),
    };
    let ours: BTreeSet<WireRecord> = parsed.records.iter().map(wire).collect();

    let only = |one: &BTreeSet<WireRecord>, other| one.difference(other).cloned().collect::<Vec<_>>();
    assert_eq!((only(&theirs, &ours), only(&ours, &theirs)), (vec![], vec![]), "{name}: only BIND's, only ours");
    assert!(ours.len() > 2, "{name} has records");
}

#[test]
fn zones_are_read_as_bind_reads_them() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/bind");
    let mut names: Vec<_> = std::fs::read_dir(&directory)
        .expect("tests/data/bind is in the repository")
        .map(|entry| entry.expect("the directory can be read").file_name().into_string().expect("names are ASCII"))
        .filter(|name| name.ends_with(".zone"))
        .collect();
    names.sort();
    assert!(names.len() >= 5, "{names:?}");
    for name in names {
        assert_same_as_bind(&name, &directory);
    }
}

/// Records without their places.
fn texts(records: &[Record]) -> Vec<String> {
    records.iter().map(ToString::to_string).collect()
}

/// Text of one entry, mostly nearly right.
fn entry() -> impl Strategy<Value = String> {
    let owner = prop_oneof!["[a-c]{1,3}", Just("@".to_owned()), Just(String::new()), "[a-z\\\\\\.\\$\\*]{0,6}"];
    let ttl = prop_oneof![Just(String::new()), "[0-9]{1,3}[hm]?"];
    let data = prop_oneof![
        "A 192\\.0\\.2\\.[0-9]{1,3}",
        "MX [0-9]{1,6} [a-z@\\.]{1,8}",
        "TXT( [a-z\\\\;]{1,4}| \"[a-z\\\\;() \"]{0,8}\"){1,3}",
        "LUA [A-Z]{1,5}( \"[a-z\\\\;()\n ']{0,12}\"){0,3}",
        "TYPE[0-9]{1,5} \\\\# [0-9] [0-9a-f ]{0,12}",
        "SOA a b [0-9] \\( [0-9]\n [0-9] ; x\n [0-9] [0-9] \\)",
    ];
    let directive = prop_oneof![
        "\\$(ORIGIN|TTL|INCLUDE|GENERATE) [a-c0-9\\.]{0,4}",
        "\\$GENERATE [0-3]-[0-9](/[0-2])? [a-z\\$]{1,3}(\\$\\{-?[0-9],[0-9],[doxXnN]\\})? (A|TXT|LUA A) [a-z0-9\\.\\$\"]{1,8}",
    ];
    prop_oneof![
        4 => (owner, ttl, data).prop_map(|(owner, ttl, data)| format!("{owner} {ttl} {data}")),
        1 => directive,
        1 => "[ -~\n]{0,20}",
    ]
}

proptest! {
    #[test]
    fn any_octets_are_read_without_panic(zone in proptest::collection::vec(any::<u8>(), 0..300)) {
        read(&zone);
    }

    #[test]
    fn what_is_written_reads_back_as_the_same_records(entries in proptest::collection::vec(entry(), 0..20)) {
        let zone = format!("$TTL 60\n{}\n", entries.join("\n"));
        let parsed = read(&zone);
        check(&apex(), &parsed.records);
        let again = read(lines(&parsed.records));
        prop_assert_eq!(lines(&again.diagnostics), "");
        prop_assert_eq!(texts(&again.records), texts(&parsed.records));
    }
}
