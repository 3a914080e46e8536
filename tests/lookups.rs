//! Names that scripts look up: the first query gets its answer, and nobody else waits for it.

use std::io::Write;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{CNAME, MX, TXT};
use hickory_proto::rr::{Name, RData};

use crate::support::process::{Perigee, Question, answers, rcode};
use crate::support::resolver::{Reply, Resolver};
use crate::support::{framed, read_message, tcp_to};

/// Scripts that look up a name made of the query, so that no trial run finds it.
const ZONE: &str = r#"
@ 60 IN SOA ns hostmaster 1 3600 900 604800 1
@ 60 IN NS ns
ns 60 IN A 192.0.2.53
static   60 IN A 192.0.2.1
*.a      60 LUA A   ";local list = {} for i, r in ipairs((resolve(qname:makeRelative(newDN('a.example.org')):toStringNoDot() .. '.example.net', 1))) do list[i] = r:toString() end return list"
*.why    60 LUA TXT ";local records, why = resolve(qname:makeRelative(newDN('why.example.org')):toStringNoDot() .. '.example.net', '1') return #records .. ' ' .. tostring(why)"
*.two    60 LUA TXT ";local x = qname:getRawLabels()[1] local one, two = resolve(x .. '1.example.net', 1), resolve(x .. '2.example.net', 1) return one[1]:toString() .. ' ' .. two[1]:toString()"
*.caught 60 LUA TXT ";local ok, list = pcall(resolve, qname:getRawLabels()[1] .. '.example.net', 1) return tostring(ok) .. ' ' .. list[1]:toString()"
*.alias  60 LUA CNAME ";local list = resolve(qname:getRawLabels()[1] .. '.example.net', 1) return #list > 0 and 'static.example.org' or {}"
"#;

/// perigee with one worker that asks this resolver.
fn start(resolver: &Resolver, zone: &str, keys: &str) -> Perigee {
    let config = format!("[server]\nworkers = 1\n[resolver]\nservers = ['{}']\n{keys}", resolver.address);
    Perigee::start(&[("perigee.toml", config.as_str()), ("zones/example.org.zone", zone)])
}

#[test]
fn the_first_query_is_answered_with_what_is_looked_up_while_others_are_answered() {
    let resolver = Resolver::start();
    resolver.reply("www.example.net. A", Reply::Hold);
    let perigee = start(&resolver, ZONE, "timeout = '10s'");
    let asks = perigee.client();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| answers(&asks.ask(&Question::a("www.a.example.org"))));
        resolver.wait_for("www.example.net. A");
        assert_eq!(perigee.answers(&Question::a("static.example.org")), ["192.0.2.1"]);
        resolver.reply("www.example.net. A", Reply::a("www.example.net.", 60, [198, 51, 100, 7]));
        assert_eq!(waiting.join().unwrap(), ["198.51.100.7"]);
    });
    resolver.asked();
    assert_eq!(perigee.answers(&Question::a("www.a.example.org")), ["198.51.100.7"]);
    assert_eq!(resolver.asked(), [""; 0], "what is known is not asked again");
}

#[test]
fn a_connection_goes_on_while_one_of_its_queries_waits() {
    let resolver = Resolver::start();
    resolver.reply("www.example.net. A", Reply::Hold);
    let perigee = start(&resolver, ZONE, "timeout = '10s'");
    let stream = tcp_to(perigee.address);
    let [late, soon] = ["www.a.example.org", "static.example.org"].map(|name| Question::a(name).octets());
    (&stream).write_all(&[framed(&late), framed(&soon)].concat()).unwrap();
    let first = Message::from_vec(&read_message(&stream).unwrap()).unwrap();
    assert_eq!(answers(&first), ["192.0.2.1"]);
    resolver.reply("www.example.net. A", Reply::a("www.example.net.", 60, [198, 51, 100, 7]));
    let second = Message::from_vec(&read_message(&stream).unwrap()).unwrap();
    assert_eq!(answers(&second), ["198.51.100.7"]);
}

#[test]
fn failures_are_told_apart() {
    let resolver = Resolver::start();
    let of = |name: &str, reply| resolver.reply(&format!("{name}.example.net. A"), reply);
    of("found", Reply::a("found.example.net.", 60, [198, 51, 100, 7]));
    of("nodata", Reply::Code(ResponseCode::NoError));
    of("servfail", Reply::Code(ResponseCode::ServFail));
    of("refused", Reply::Code(ResponseCode::Refused));
    of("silent", Reply::Hold);
    let elsewhere = Name::from_ascii("elsewhere.example.").unwrap();
    let alias = ("alias.example.net.".to_owned(), 60, RData::CNAME(CNAME(elsewhere)));
    let address = ("elsewhere.example.".to_owned(), 60, RData::A(std::net::Ipv4Addr::new(198, 51, 100, 8).into()));
    of("alias", Reply::Records(vec![alias, address]));
    let perigee = start(&resolver, ZONE, "timeout = '300ms'");
    let rows = [
        ("found", "1 nil"),
        ("alias", "1 nil"),
        ("nodata", "0 nil"),
        ("absent", "0 nxdomain"),
        ("servfail", "0 servfail"),
        ("refused", "0 refused"),
        ("silent", "0 timeout"),
    ];
    for (name, expected) in rows {
        assert_eq!(perigee.answers(&Question::txt(&format!("{name}.why.example.org"))), [expected], "{name}");
    }
}

#[test]
fn no_resolver_at_all_is_no_reason_to_fail() {
    let nobody = Resolver::start().address;
    let config = format!("[resolver]\nservers = ['{nobody}']\ntimeout = '300ms'");
    let perigee = Perigee::start(&[("perigee.toml", config.as_str()), ("zones/example.org.zone", ZONE)]);
    let told = perigee.answers(&Question::txt("www.why.example.org"));
    assert!(["0 timeout", "0 unreachable"].contains(&&*told[0]), "{told:?}");
}

#[test]
fn a_script_may_need_several_names() {
    let resolver = Resolver::start();
    resolver.reply("x1.example.net. A", Reply::a("x1.example.net.", 60, [192, 0, 2, 1]));
    resolver.reply("x2.example.net. A", Reply::a("x2.example.net.", 60, [192, 0, 2, 2]));
    let perigee = start(&resolver, ZONE, "timeout = '10s'");
    assert_eq!(perigee.answers(&Question::txt("x.two.example.org")), ["192.0.2.1 192.0.2.2"]);
}

#[test]
fn pcall_does_not_keep_a_script_from_waiting() {
    let resolver = Resolver::start();
    resolver.reply("www.example.net. A", Reply::a("www.example.net.", 60, [192, 0, 2, 1]));
    let perigee = start(&resolver, ZONE, "timeout = '10s'");
    assert_eq!(perigee.answers(&Question::txt("www.caught.example.org")), ["true 192.0.2.1"]);
}

#[test]
fn a_name_in_a_script_is_looked_up_before_its_zone_is_served() {
    let resolver = Resolver::start();
    resolver.reply("known.example.net. A", Reply::a("known.example.net.", 60, [198, 51, 100, 7]));
    let zone = |record: &str| {
        format!("@ 1 IN SOA ns hostmaster 1 3600 900 604800 1\n@ 1 IN NS ns\nns 1 IN A 192.0.2.53\n{record}")
    };
    let mut perigee = start(&resolver, &zone("www 1 LUA A \"resolve('known.example.net', 1)[1]:toString()\"\n"), "");
    assert_eq!(resolver.asked(), ["known.example.net. A"]);
    assert_eq!(perigee.answers(&Question::a("www.example.org")), ["198.51.100.7"]);
    resolver.reply("later.example.net. A", Reply::a("later.example.net.", 60, [198, 51, 100, 8]));
    perigee.edit("zones/example.org.zone", &zone("www 1 LUA A \"resolve('later.example.net', 1)[1]:toString()\"\n"));
    perigee.wait_for_log("zone published");
    assert_eq!(resolver.asked(), ["later.example.net. A"]);
    assert_eq!(perigee.answers(&Question::a("www.example.org")), ["198.51.100.8"]);
}

#[test]
fn a_cname_that_hangs_on_a_look_up_waits_for_it() {
    let resolver = Resolver::start();
    resolver.reply("alias.example.net. A", Reply::a("alias.example.net.", 60, [192, 0, 2, 9]));
    let perigee = start(&resolver, ZONE, "timeout = '10s'");
    let reply = perigee.ask(&Question::a("alias.alias.example.org"));
    assert_eq!(rcode(&reply), ResponseCode::NoError);
    assert_eq!(answers(&reply), ["192.0.2.1", "static.example.org."]);
}

#[test]
fn records_have_parts() {
    let resolver = Resolver::start();
    let owner = "mail.example.net.".to_owned();
    let mx = RData::MX(MX::new(10, Name::from_ascii("mx.example.net.").unwrap()));
    resolver.reply("mail.example.net. MX", Reply::Records(vec![(owner.clone(), 300, mx)]));
    let txt = RData::TXT(TXT::new(vec!["two words".to_owned()]));
    resolver.reply("mail.example.net. TXT", Reply::Records(vec![(owner, 300, txt)]));
    let zone = r#"
@ 60 IN SOA ns hostmaster 1 3600 900 604800 1
@ 60 IN NS ns
ns 60 IN A 192.0.2.53
mx  60 LUA TXT ";local r = resolve('mail.example.net', 15)[1] return r:qname():toString() .. ' ' .. r:content() .. ' ' .. tostring(r:ttl() > 200)"
txt 60 LUA TXT ";return (string.gsub(tostring(resolve('mail.example.net', 16)[1]), '%W', '_'))"
all 60 LUA TXT ";local r = resolve('mail.example.net', 15)[1] return r:qtype() .. '/' .. r:qclass() .. '/' .. r:domainId() .. '/' .. r:signttl() .. '/' .. r:lastModified() .. '/' .. r:scopeMask() .. '/' .. r:wildcardName():countLabels() .. '/' .. tostring(r:auth()) .. '/' .. tostring(r:disabled()) .. '/' .. r:toString()"
any 60 LUA TXT ";return tostring(pcall(resolve, 'mail.example.net', 255))"
bad 60 LUA TXT ";return tostring(pcall(resolve, 'a..b', 1))"
"#;
    let perigee = start(&resolver, zone, "timeout = '10s'");
    assert_eq!(perigee.answers(&Question::txt("mx.example.org")), ["mail.example.net. 10 mx.example.net. true"]);
    assert_eq!(perigee.answers(&Question::txt("txt.example.org")), ["_two_words_"]);
    // The same object as one of `newDRR`.
    assert_eq!(perigee.answers(&Question::txt("all.example.org")), ["15/1/-1/0/0/0/0/true/false/10 mx.example.net."]);
    assert_eq!(perigee.answers(&Question::txt("any.example.org")), ["false"]);
    assert_eq!(perigee.answers(&Question::txt("bad.example.org")), ["false"]);
}

#[test]
fn a_stop_answers_who_waits() {
    let resolver = Resolver::start();
    resolver.reply("www.example.net. A", Reply::Hold);
    let perigee = start(&resolver, ZONE, "timeout = '10s'");
    let asks = perigee.client();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| answers(&asks.ask(&Question::txt("www.why.example.org"))));
        resolver.wait_for("www.example.net. A");
        assert!(perigee.stop());
        assert_eq!(waiting.join().unwrap(), ["0 timeout"]);
    });
}
