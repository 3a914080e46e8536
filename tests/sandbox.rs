//! Scripts that would take everything: each ends as SERVFAIL, and the next query is answered.

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};

use crate::support::process::{Perigee, Question, answers, rcode};

const ZONE: &str = "\
@ 60 IN SOA ns hostmaster 1 3600 900 604800 60
@ 60 IN NS ns
ns 60 IN A 192.0.2.53
loop    LUA TXT \";while true do end\"
rep     LUA TXT \"string.rep('x', 1e9)\"
both    LUA TXT \";while true do pcall(function() while true do end end) pcall(string.rep, 'x', 1e9) end\"
pattern LUA TXT \";return string.find(string.rep('a', 5000), '.-.-.-.-.-.-.-.-.-.-b')\"
memory  LUA TXT \";local t = {} for i = 1, 1e9 do t[i] = {i} end\"
caught  LUA TXT \";pcall(function() while true do end end) return 'survived'\"
sort    LUA TXT \";local t = table.create(65536, 'x') for i = 1, 1e9 do table.sort(t) end\"
error   LUA TXT \"nothing.here\"
value   LUA A   \"'not an address'\"
count   LUA TXT \";counter = (counter or 0) + 1 return counter\"
fine    LUA TXT \"'fine'\"
";

/// The extended error of a response: its code and text.
fn extended_error(message: &Message) -> Option<(u16, String)> {
    let EdnsOption::Unknown(_, data) = message.edns.as_ref()?.option(EdnsCode::Unknown(15))? else { return None };
    let (code, text) = data.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*code), String::from_utf8_lossy(text).into_owned()))
}

#[test]
fn a_script_that_spends_its_budget_is_servfail_and_the_next_query_is_answered() {
    let mut perigee = Perigee::start(&[("zones/example.net.zone", ZONE)]);
    // One worker or many: each failing script is followed by a query that any of them may get.
    for name in ["loop", "rep", "both", "pattern", "memory", "caught", "sort"] {
        let reply = perigee.ask(&Question::txt(&format!("{name}.example.net")));
        assert_eq!(rcode(&reply), ResponseCode::ServFail, "{name}");
        assert!(reply.metadata.authoritative, "{name}");
        let error = (0, "the record's script used up its budget".to_owned());
        assert_eq!(extended_error(&reply), Some(error), "{name}");
        assert_eq!(perigee.answers(&Question::txt("fine.example.net")), ["fine"], "after {name}");
    }
    let line = perigee.wait_for_log("qname=loop.example.net.");
    assert!(line.contains("zones/example.net.zone:4:19"), "{line}");
    assert!(line.contains("`lua.exec-limit`"), "{line}");
}

#[test]
fn a_script_that_fails_is_servfail_and_one_log_line_says_where() {
    let mut perigee = Perigee::start(&[("zones/example.net.zone", ZONE)]);
    let reply = perigee.ask(&Question::txt("error.example.net"));
    assert_eq!(rcode(&reply), ResponseCode::ServFail);
    assert_eq!(extended_error(&reply), Some((0, "the record's script failed".to_owned())));
    let line = perigee.wait_for_log("qname=error.example.net.");
    assert!(line.contains("position=zones/example.net.zone:11:18"), "{line}");
    let reply = perigee.ask(&Question::a("value.example.net"));
    assert_eq!(extended_error(&reply), Some((0, "the record's script returned no usable value".to_owned())));
}

#[test]
fn nothing_is_left_from_one_query_to_the_next() {
    let perigee = Perigee::start(&[("zones/example.net.zone", ZONE)]);
    let client = perigee.client();
    for _ in 0..50 {
        assert_eq!(answers(&client.ask(&Question::txt("count.example.net"))), ["1"]);
    }
}

#[test]
fn a_script_that_spent_its_budget_rests_and_its_neighbour_does_not() {
    let config = "[server]\nworkers = 1\n\n[lua]\noverrun-share = \"0.01%\"\n";
    let mut perigee = Perigee::start(&[("zones/example.net.zone", ZONE), ("perigee.toml", config)]);
    let client = perigee.client();
    let rests = (0, "the record's script rests after it used up its budget".to_owned());
    // A run is told as having cost nothing when the clock was late; then it runs again.
    while extended_error(&client.ask(&Question::txt("loop.example.net"))) != Some(rests.clone()) {}
    assert_eq!(answers(&client.ask(&Question::txt("fine.example.net"))), ["fine"]);
    let reply = client.ask(&Question::txt("loop.example.net"));
    assert_eq!((rcode(&reply), extended_error(&reply)), (ResponseCode::ServFail, Some(rests)));
    assert!(perigee.wait_for_log("; it rests for ").contains("qname=loop.example.net."));
}

#[test]
fn an_include_that_fails_is_logged_where_it_fails() {
    let zone = "\
@ 60 IN SOA ns hostmaster 1 3600 900 604800 60
@ 60 IN NS ns
ns 60 IN A 192.0.2.53
conf 60 IN LUA LUA ( \"known = true \"
                     \"error('as it wants')\" )
www  60 IN LUA TXT \";include('conf') include('absent') return tostring(known)\"
";
    let mut perigee = Perigee::start(&[("zones/example.net.zone", zone)]);
    let client = perigee.client();
    assert_eq!(answers(&client.ask(&Question::txt("www.example.net"))), ["true"]);
    let line = perigee.wait_for_log("`include('conf')` failed: as it wants");
    assert!(line.contains("position=zones/example.net.zone:5:23") && line.contains("qname=www.example.net."), "{line}");
}

#[test]
fn what_a_script_writes_to_the_log_comes_with_its_name_and_place() {
    let zone = "\
@ 60 IN SOA ns hostmaster 1 3600 900 604800 60
@ 60 IN NS ns
ns 60 IN A 192.0.2.53
noted LUA TXT \";pdnslog('half is full') pdnslog('all is full', pdns.loglevels.Error) return 'noted'\"
";
    let mut perigee = Perigee::start(&[("zones/example.net.zone", zone)]);
    assert_eq!(perigee.answers(&Question::txt("noted.example.net")), ["noted"]);
    let line = perigee.wait_for_log("half is full");
    for part in ["WARN", "qname=noted.example.net.", "zone=example.net.", "position=zones/example.net.zone:4:16"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(perigee.wait_for_log("all is full").contains("ERROR"));
}
