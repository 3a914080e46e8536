//! Map files under a running server: looked up by client, swapped whole when they change, kept when they break.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};

use crate::support::process::{self, Perigee, Question, answers, rcode};

const ZONE: &str = "\
@ 60 IN SOA ns hostmaster 1 3600 900 604800 60
@ 60 IN NS ns
ns 60 IN A 192.0.2.53
site  60 IN LUA TXT \"map('sites') or 'nowhere'\"
pop   60 IN LUA TXT \";local row, network = map('pops') return row and row.name .. ' ' .. row.weight .. ' ' .. network or 'none'\"
";
const SITES: &str = "# who is where\nnetwork,site\n10.0.0.0/8,kr\n10.1.0.0/16,jp\n2001:db8::/32,six\n";

fn ask(perigee: &Perigee, name: &str, client: &str) -> (Vec<String>, Option<u8>) {
    let reply = perigee.ask(&Question::txt(name).from(client));
    let subnet = reply.edns.as_ref().and_then(|edns| edns.option(EdnsCode::Subnet));
    let scope = subnet.and_then(|option| match option {
        EdnsOption::Subnet(subnet) => Some(subnet.scope_prefix()),
        _ => None,
    });
    (answers(&reply), scope)
}

#[test]
fn clients_are_looked_up_and_changes_are_taken_up() {
    let mut perigee = Perigee::start(&[("zones/example.net.zone", ZONE), ("lua/maps/sites.csv", SITES)]);
    let site = |perigee: &Perigee, client: &str| ask(perigee, "site.example.net", client);
    assert_eq!(site(&perigee, "10.2.3.0/24"), (vec!["kr".into()], Some(15)));
    assert_eq!(site(&perigee, "10.1.3.0/24"), (vec!["jp".into()], Some(16)));
    assert_eq!(site(&perigee, "192.0.2.0/24"), (vec!["nowhere".into()], Some(1)));
    // A map that comes later, with more columns.
    assert_eq!(rcode(&perigee.ask(&Question::txt("pop.example.net"))), ResponseCode::ServFail);
    let line = perigee.wait_for_log("qname=pop.example.net.");
    assert!(line.contains("`map` got `pops`, which is no map: there are `sites`"), "{line}");
    perigee.edit("lua/maps/pops.csv", "network,name,weight\n10.0.0.0/8,icn,3\n");
    perigee.wait_for_log("maps published");
    assert_eq!(ask(&perigee, "pop.example.net", "10.1.3.0/24"), (vec!["icn 3 10.0.0.0/8".into()], Some(8)));
    // One that breaks, and is mended.
    perigee.edit("lua/maps/sites.csv", "network,site\n10.0.0.0/8,us\n10.1.0.0/x,de\n");
    let line = perigee.wait_for_log("lua/maps/sites.csv:3:1");
    assert!(line.contains("`10.1.0.0/x` is no network"), "{line}");
    assert_eq!(site(&perigee, "10.2.3.0/24"), (vec!["kr".into()], Some(15)));
    perigee.edit("lua/maps/sites.csv", "network,site\n10.0.0.0/8,us\n");
    perigee.wait_for_answers(&Question::txt("site.example.net").from("10.2.3.0/24"), &["us"]);
}

#[test]
fn check_tells_what_is_wrong_with_maps_and_tries_records_with_those_that_are_sound() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("created");
        std::fs::write(path, text).expect("written");
    };
    let zone = ZONE.replace("pop   60 IN LUA", "pop   60 IN LUA TXT \"map('sites', '10.0.0.1')\"\nmore  60 IN LUA");
    write("zones/example.net.zone", &zone);
    write("lua/maps/sites.csv", SITES);
    write("lua/maps/pops.csv", "network,name,weight\n10.0.0.0/8,icn\n");
    write("lua/maps/notes.txt", "no map");
    let report = process::check(directory.path());
    let lines: Vec<&str> = report.lines().filter(|line| !line.starts_with("  help")).collect();
    let [map, record, sum] = lines[..] else { panic!("{report}") };
    assert_eq!(map, "lua/maps/pops.csv:2:1: error: the line has 2 values, and the first line 3");
    assert!(
        record.contains("zones/example.net.zone:6") && record.contains("`map` got `pops`, which is no map"),
        "{record}"
    );
    assert_eq!(sum, "1 zone, 1 error, 1 warning");
}
