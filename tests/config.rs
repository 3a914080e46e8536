//! The configuration: what files and the environment may say, what they earn if wrong, and the manual.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use perigee::config::{Config, Format, KEYS, Level, Listen, QueryClass, Scope, ZONE_KEYS};
use perigee::diagnostic::Diagnostic;

/// Parses `text` as the file `etc/perigee.toml`, without an environment.
fn parse(text: &str) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
    Config::parse(Some((Path::new("etc/perigee.toml"), text)), [])
}

/// Parses no file and these variables.
fn parse_variables(variables: &[(&str, &str)]) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
    Config::parse(None, variables.iter().map(|(name, text)| (OsString::from(name), OsString::from(text))))
}

fn render(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(|diagnostic| format!("{diagnostic}\n")).collect()
}

#[test]
fn no_file_and_no_environment_give_the_defaults() {
    let (config, diagnostics) = Config::parse(None, []).expect("nothing is not wrong");
    assert_eq!(config, Config::default());
    assert_eq!(render(&diagnostics), "");
}

#[test]
fn what_powerdns_has_a_setting_for_has_its_default() {
    let config = Config::default();
    assert_eq!((config.health.interval, config.health.forget), (Duration::from_secs(5), Duration::from_secs(3600)));
    assert!(config.server.rotate_rrsets && !config.lua.insert_whitespace && !config.lua.shared_state);
    assert!(config.geoip.databases.is_empty() && config.resolver.servers.is_empty());
}

#[test]
fn the_sample_has_every_key_at_its_default() {
    let text = include_str!("../perigee.toml");
    let (config, diagnostics) =
        Config::parse(Some((Path::new("perigee.toml"), text)), []).expect("the sample is sound");
    assert_eq!(config, Config::default());
    assert_eq!(render(&diagnostics), "");
    let table: toml::Table = text.parse().expect("parsed above");
    for key in KEYS {
        assert!(table[key.table].get(key.name).is_some(), "the sample lacks {}", key.path());
    }
}

#[test]
fn every_key_is_set_by_its_file_and_by_its_variable() {
    // What differs from the default, as TOML and as a variable has it.
    let rows = [
        ("server.listen", r#"["0.0.0.0:53", "[::]:53"]"#, "0.0.0.0:53, [::]:53"),
        ("server.freebind", "true", "true"),
        ("server.user", r#""perigee""#, "perigee"),
        ("server.group", r#""dns""#, "dns"),
        ("server.workers", "3", "3"),
        ("server.any", r#""truncate""#, "truncate"),
        ("server.minimal-responses", "true", "true"),
        ("server.rotate-rrsets", "false", "false"),
        ("server.version-text", r#""a server""#, "a server"),
        ("server.identity", r#""ams1""#, "ams1"),
        ("server.udp-payload-max", "1400", "1400"),
        ("server.udp-batch", "8", "8"),
        ("server.tcp-connections-max", "77", "77"),
        ("server.tcp-connections-per-network-max", "0", "0"),
        ("server.tcp-ipv4-prefix", "24", "24"),
        ("server.tcp-ipv6-prefix", "64", "64"),
        ("server.tcp-idle-timeout", r#""1m30s""#, "90"),
        ("server.tcp-total-timeout", "0", "0"),
        ("server.tcp-write-timeout", r#""2s""#, "2"),
        ("server.tcp-fast-open", "0", "0"),
        ("zones.directory", r#""/srv/zones""#, "/srv/zones"),
        ("zones.watch", "false", "false"),
        ("zones.reload-interval", r#""250ms""#, "0.25"),
        ("zones.size-max", r#""1MiB""#, "1048576"),
        ("lua.enabled", "false", "false"),
        ("lua.shared-state", "true", "true"),
        ("lua.insert-whitespace", "true", "true"),
        ("lua.exec-limit", "1", "1"),
        ("lua.time-limit", "0.005", "5ms"),
        ("lua.memory-limit", "65536", "64KiB"),
        ("lua.result-max", "9", "9"),
        ("lua.overrun-share", r#""2.5%""#, "2.5%"),
        ("lua.allow", r#"["pick", "view"]"#, "pick,view"),
        ("lua.deny", r#"["health"]"#, "health"),
        ("lua.lookup-names", r#"["example.net", "example.org."]"#, "example.net, example.org"),
        ("lua.probe-networks", r#"["192.0.2.9/24", "2001:db8::1"]"#, "192.0.2.0/24,2001:db8::1/128"),
        ("lua.probe-networks-refused", r#"["192.0.2.9/24"]"#, "192.0.2.0/24"),
        ("lua.exec-programs", r#"["/bin/a", "/bin/b"]"#, "/bin/a,/bin/b"),
        ("lua.include-dir", r#""/srv/lua""#, "/srv/lua"),
        ("lua.map-dir", r#""/srv/maps""#, "/srv/maps"),
        ("lua.scripts-held-max", "12", "12"),
        ("lua.scope", r#""source""#, "source"),
        ("health.interval", "2", "2s"),
        ("health.jitter", r#""10%""#, "10%"),
        ("health.concurrency", "9", "9"),
        ("health.checks-max", "10", "10"),
        ("health.forget", r#""1h30m""#, "1h30m"),
        ("health.warmup", "0", "0"),
        ("health.ttl-from-state", "false", "false"),
        ("health.ttl-min", r#""2s""#, "2s"),
        ("health.ca-file", r#""/etc/roots.pem""#, "/etc/roots.pem"),
        ("health.file-dir", r#""/srv/states""#, "/srv/states"),
        ("health.overrides-file", r#""/srv/overrides""#, "/srv/overrides"),
        ("health.state-file", r#""/srv/state""#, "/srv/state"),
        ("health.state-age-max", r#""1h""#, "1h"),
        ("health.webhook", r#""https://hooks.example.net/""#, "https://hooks.example.net/"),
        ("health.webhook-token", r#""secret""#, "secret"),
        ("health.webhook-timeout", r#""250ms""#, "0.25"),
        ("health.webhook-queue-max", "9", "9"),
        ("edns.client-subnet", "false", "false"),
        ("edns.cookies", "false", "false"),
        ("edns.cookie-secrets", r#"["000102030405060708090a0b0c0d0e0f"]"#, "000102030405060708090A0B0C0D0E0F"),
        ("edns.cookie-secrets-file", r#""/etc/secrets""#, "/etc/secrets"),
        ("edns.cookie-policy", r#""require""#, "require"),
        ("edns.nocookie-udp-payload-max", "512", "512"),
        ("edns.nsid", r#""fra-1""#, "0x6672612d31"),
        ("geoip.databases", r#"["/srv/city.mmdb", "/srv/asn.mmdb"]"#, "/srv/city.mmdb,/srv/asn.mmdb"),
        ("geoip.language", r#""de""#, "de"),
        ("geoip.unknown-location", r#""48.137 11.576""#, " 48.137  11.576"),
        ("resolver.servers", r#"["192.0.2.1:53"]"#, "192.0.2.1:53"),
        ("resolver.timeout", r#""500ms""#, "500ms"),
        ("resolver.cache-max", "7", "7"),
        ("resolver.ttl-min", r#""5s""#, "5s"),
        ("resolver.negative-ttl", r#""5m""#, "5m"),
        ("resolver.waiting-max", "9", "9"),
        ("overload.shed", r#""drop""#, "drop"),
        ("overload.script-share", r#""40%""#, "40%"),
        ("overload.batch-time", r#""25ms""#, "0.025"),
        ("log.level", r#""debug""#, "debug"),
        ("log.format", r#""json""#, "json"),
        ("log.queries", r#"["servfail", "dropped"]"#, "servfail,dropped"),
        ("log.query-sample", "100", "100"),
        ("log.query-file", r#""/var/log/queries""#, "/var/log/queries"),
    ];
    assert_eq!(rows.map(|row| row.0).to_vec(), KEYS.iter().map(|key| key.path()).collect::<Vec<_>>());
    for ((path, in_file, in_variable), key) in rows.into_iter().zip(KEYS) {
        // The same file without the key, as default paths start at the file's directory.
        let (default, _) = parse("").expect("an empty file is sound");
        let (by_file, _) = parse(&format!("{path} = {in_file}")).unwrap_or_else(|faults| panic!("{}", render(&faults)));
        let (by_variable, _) = Config::parse(
            Some((Path::new("etc/perigee.toml"), "")),
            [(OsString::from(key.variable()), OsString::from(in_variable))],
        )
        .unwrap_or_else(|faults| panic!("{}", render(&faults)));
        assert_ne!(by_file, default, "{path} has no effect");
        assert_eq!(by_file, by_variable, "{path}");
    }
}

#[test]
fn all_queries_are_logged_by_one_word() {
    for text in ["log.queries = \"all\"", "log.queries = [\"all\"]"] {
        let (config, _) = parse(text).unwrap_or_else(|faults| panic!("{}", render(&faults)));
        assert_eq!(config.log.queries, QueryClass::WORDS.map(|(class, _)| class));
    }
    let faults = parse("log.queries = [\"answers\", 3]").expect_err("neither is an outcome");
    let told = render(&faults);
    assert!(told.contains("1:16: error: `log.queries` cannot be `answers`"), "{told}");
    assert!(told.contains("`\"answer\"`, `\"nodata\"`") && told.contains("or `\"all\"`"), "{told}");
    assert!(told.contains("1:27: error: `log.queries` cannot be the number `3`"), "{told}");
}

#[test]
fn values_mean_what_they_say() {
    let (config, _) = parse(
        r#"
        server.listen = ["[2001:db8::1]:53"]
        lua = { scope = "source", memory-limit = "64KiB", time-limit = "10ms" }
        health.interval = "1h30m"
        log = { level = "warn", format = "json" }
        [[zone]]
        name = "Example.NET"
        file = "net.zone"
        lua = false
        "#,
    )
    .unwrap_or_else(|faults| panic!("{}", render(&faults)));
    assert_eq!(config.server.listen, [Listen::Address("[2001:db8::1]:53".parse().expect("an address"))]);
    assert_eq!((config.lua.scope, config.lua.memory_limit), (Scope::Source, 65_536));
    assert_eq!(config.lua.time_limit, Duration::from_millis(10));
    assert_eq!(config.health.interval, Duration::from_secs(5400));
    assert_eq!((config.log.level, config.log.format), (Level::Warn, Format::Json));
    assert_eq!(config.zone[0].name.to_string(), "Example.NET.");
    assert_eq!((config.zone[0].file.as_deref(), config.zone[0].lua), (Some(Path::new("etc/net.zone")), Some(false)));
}

#[test]
fn relative_paths_start_at_the_directory_of_the_file() {
    let variables = [(OsString::from("PERIGEE_LUA_INCLUDE_DIR"), OsString::from("here"))];
    let rows = [
        ("/etc/perigee.toml", "", "/etc/zones", "here"),
        ("perigee.toml", "", "zones", "here"),
        ("./perigee.toml", "zones.directory = \".\"", ".", "here"),
        ("a/b.toml", "zones.directory = \"../z\"", "a/../z", "here"),
        ("a/b.toml", "zones.directory = \"/z\"", "/z", "here"),
        ("a/b.toml", "zones.directory = \"\"", "", "here"),
    ];
    for (file, text, zones, include) in rows {
        let (config, _) = Config::parse(Some((Path::new(file), text)), variables.clone()).expect("sound");
        assert_eq!(config.zones.directory, Path::new(zones), "{file}: {text}");
        assert_eq!(config.lua.include_dir, Path::new(include), "{file}: {text}");
    }
}

#[test]
fn texts_for_a_record_or_an_option_have_no_more_octets_than_it_holds() {
    for (key, most) in [("version-text", 255), ("identity", 128)] {
        let text = |octets: usize| format!("[server]\n{key} = \"{}\"\n", "x".repeat(octets));
        let (config, _) = parse(&text(most)).expect("it fits");
        assert_eq!(config.server.version_text.len().max(config.server.identity.len()), most);
        let faults = render(&parse(&text(most + 1)).expect_err("it is too long"));
        assert!(faults.ends_with(&format!("out of bounds\n  help: choose 0 to {most} octets\n")), "{faults}");
    }
}

#[test]
fn all_faults_of_a_file_are_told_with_their_places() {
    let faults = parse(
        r#"
hello = 1
[sever]
x = 1
[server]
listen = ["53", "0.0.0.0", "localhost:53", "127.0.0.1:53", "127.0.0.1:53", 53, "::1"]
workers = "two"
rotate_rrsets = true
udp-payload-max = 100
interval = "5s"
[health]
interval = "5 parsecs"
forget = true
warmup = -1
checks-max = 99999999999999999999
frobnicate = 1
[lua]
memory-limit = "8MB"
scope = "sauce"
exec-limit = 1.5
include-dir = 3
overrun-share = 0.5
deny = [1]
[edns]
client-subnet = "yes"
cookie-secrets = ["000102030405060708090a0b0c0d0e", 7]
cookie-policy = "badcookies"
nsid = "0x123"
[geoip]
databases = "x.mmdb"
language = 1
unknown-location = "48.137"
[[zone]]
name = "a..b"
file = ""
exec-limit = -1
time-limit = "2s"
lua-allow = "pick"
lookup-names = ["a..b"]
probe-networks = ["10.0.0.0/33", "here", 4]
exec-programs = ["is-up", 4]
[[zone]]
lua = 1
"#,
    )
    .expect_err("all of it is wrong");
    insta::assert_snapshot!(render(&faults), @r#"
    etc/perigee.toml:2:1: error: there is no table `hello`
      help: the tables are `server`, `zones`, `lua`, `health`, `edns`, `geoip`, `resolver`, `overload`, `log`, `zone`
    etc/perigee.toml:3:2: error: there is no table `sever`
      help: did you mean `[server]`?
    etc/perigee.toml:6:11: error: `server.listen` cannot be `53`
      help: say on which address: `0.0.0.0:53` and `[::]:53` for all
    etc/perigee.toml:6:17: error: `server.listen` cannot be `0.0.0.0`
      help: add the port: `0.0.0.0:53`
    etc/perigee.toml:6:28: error: `server.listen` cannot be `localhost:53`
      help: names are not looked up here; write the address: `127.0.0.1:53`
    etc/perigee.toml:6:60: error: `server.listen` names `127.0.0.1:53` twice
      help: name it once
    etc/perigee.toml:6:76: error: `server.listen` cannot be the number `53`
      help: say on which address: `0.0.0.0:53` and `[::]:53` for all
    etc/perigee.toml:6:80: error: `server.listen` cannot be `::1`
      help: add the port: `[::1]:53`
    etc/perigee.toml:7:11: error: `server.workers` cannot be the text `two`
      help: write a whole number without quotes
    etc/perigee.toml:8:1: error: `server` has no key `rotate_rrsets`
      help: did you mean `rotate-rrsets`?
    etc/perigee.toml:9:19: error: `server.udp-payload-max` cannot be `100`: out of bounds
      help: choose 512 to 4096
    etc/perigee.toml:10:1: error: `server` has no key `interval`
      help: `interval` belongs in `[health]`
    etc/perigee.toml:12:12: error: `health.interval` cannot be `5 parsecs`
      help: write a duration as `5s`, `10ms`, `1h30m` or a number of seconds
    etc/perigee.toml:13:10: error: `health.forget` cannot be the boolean `true`
      help: write a duration as `5s`, `10ms`, `1h30m` or a number of seconds
    etc/perigee.toml:14:10: error: `health.warmup` cannot be `-1`: out of bounds
      help: choose 0s to 5m
    etc/perigee.toml:15:14: error: `health.checks-max` cannot be a number that large
      help: choose 1 to 10000000
    etc/perigee.toml:16:1: error: `health` has no key `frobnicate`
      help: the keys here are `interval`, `jitter`, `concurrency`, `checks-max`, `forget`, `warmup`, `ttl-from-state`, `ttl-min`, `ca-file`, `file-dir`, `overrides-file`, `state-file`, `state-age-max`, `webhook`, `webhook-token`, `webhook-timeout`, `webhook-queue-max`
    etc/perigee.toml:18:16: error: `lua.memory-limit` cannot be `8MB`
      help: write a size as `8MiB`, `64KiB` or a number of octets
    etc/perigee.toml:19:9: error: `lua.scope` cannot be `sauce`
      help: write one of `"derived"`, `"source"`
    etc/perigee.toml:20:14: error: `lua.exec-limit` cannot be the number `1.5`
      help: write a whole number without quotes
    etc/perigee.toml:21:15: error: `lua.include-dir` cannot be the number `3`
      help: write a path in quotes
    etc/perigee.toml:22:17: error: `lua.overrun-share` cannot be the number `0.5`
      help: write a share as `"0.5%"`
    etc/perigee.toml:23:9: error: `lua.deny` cannot be the number `1`
      help: write a text in quotes
    etc/perigee.toml:25:17: error: `edns.client-subnet` cannot be the text `yes`
      help: write `true` or `false`
    etc/perigee.toml:26:19: error: an entry of `edns.cookie-secrets` is no secret
      help: write 32 hexadecimal digits in quotes; `openssl rand -hex 16` makes some
    etc/perigee.toml:26:53: error: an entry of `edns.cookie-secrets` is no secret
      help: write 32 hexadecimal digits in quotes; `openssl rand -hex 16` makes some
    etc/perigee.toml:27:17: error: `edns.cookie-policy` cannot be `badcookies`
      help: write one of `"answer"`, `"badcookie"`, `"require"`
    etc/perigee.toml:28:8: error: `edns.nsid` cannot be `0x123`
      help: write two hexadecimal digits for each octet behind `0x`
    etc/perigee.toml:30:13: error: `geoip.databases` cannot be the text `x.mmdb`
      help: write a list in brackets: `["…", "…"]`
    etc/perigee.toml:31:12: error: `geoip.language` cannot be the number `1`
      help: write a text in quotes
    etc/perigee.toml:32:20: error: `geoip.unknown-location` cannot be `48.137`
      help: write a latitude and a longitude in degrees, as in `"48.137 11.576"`, or `""` for nowhere
    etc/perigee.toml:33:1: error: this `[[zone]]` has an empty `file`
      help: write `[[zone]]`, then `name = "example.org"` below, and `file = "example.org.zone"` if the zone is not in `zones.directory`
    etc/perigee.toml:34:8: error: `zone.name` cannot be `a..b`
      help: the name has an empty label; write a name as `example.org`
    etc/perigee.toml:36:14: error: `zone.exec-limit` cannot be `-1`: out of bounds
      help: choose 0 to 1000000000
    etc/perigee.toml:37:14: error: `zone.time-limit` cannot be `2s`: out of bounds
      help: choose 1ms to 1s
    etc/perigee.toml:38:13: error: `zone.lua-allow` cannot be the text `pick`
      help: write a list in brackets: `["…", "…"]`
    etc/perigee.toml:39:17: error: `zone.lookup-names` cannot be `a..b`
      help: the name has an empty label; write a name as `example.org`
    etc/perigee.toml:40:19: error: `zone.probe-networks` cannot be `10.0.0.0/33`
      help: write a network as `192.0.2.0/24` or `2001:db8::/32`
    etc/perigee.toml:40:34: error: `zone.probe-networks` cannot be `here`
      help: write a network as `192.0.2.0/24` or `2001:db8::/32`
    etc/perigee.toml:40:42: error: `zone.probe-networks` cannot be the number `4`
      help: write a network as `192.0.2.0/24` or `2001:db8::/32`
    etc/perigee.toml:41:18: error: `zone.exec-programs` cannot be `is-up`
      help: write the whole path of a program, as `/usr/local/bin/is-up`
    etc/perigee.toml:41:27: error: `zone.exec-programs` cannot be the number `4`
      help: write a text in quotes
    etc/perigee.toml:42:1: error: this `[[zone]]` has no `name`
      help: write `[[zone]]`, then `name = "example.org"` below, and `file = "example.org.zone"` if the zone is not in `zones.directory`
    etc/perigee.toml:43:7: error: `zone.lua` cannot be the number `1`
      help: write `true` or `false`
    "#);
}

#[test]
fn syntax_errors_are_told_together_with_the_faults_around_them() {
    let faults = parse("[server]\nworkers = = 3\nlisten = [\"53\"]\n[health\ninterval = 1\n[log]\nlevel = loud\n")
        .expect_err("not TOML");
    insta::assert_snapshot!(render(&faults), @r#"
    etc/perigee.toml:2:11: error: extra `=`
      help: see https://toml.io for the syntax
    etc/perigee.toml:3:11: error: `server.listen` cannot be `53`
      help: say on which address: `0.0.0.0:53` and `[::]:53` for all
    etc/perigee.toml:4:8: error: unclosed table, expected `]`
      help: see https://toml.io for the syntax
    etc/perigee.toml:7:9: error: string values must be quoted, expected literal string
      help: see https://toml.io for the syntax
    "#);
}

#[test]
fn tables_of_the_wrong_kind_are_told() {
    let faults = parse("server = 3\n[zone]\nname = \"a\"\n").expect_err("wrong kinds");
    insta::assert_snapshot!(render(&faults), @r#"
    etc/perigee.toml:1:1: error: `server` is a table
      help: write `[server]` on a line of its own and the keys below
    etc/perigee.toml:2:2: error: `zone` is not written as `[[zone]]`
      help: write `[[zone]]`, then `name = "example.org"` below, and `file = "example.org.zone"` if the zone is not in `zones.directory`
    "#);
    let faults = parse("zone = [1]\n[[health]]\n").expect_err("wrong kinds");
    insta::assert_snapshot!(render(&faults), @r#"
    etc/perigee.toml:1:9: error: `zone` holds something that is no table
      help: write `[[zone]]`, then `name = "example.org"` below, and `file = "example.org.zone"` if the zone is not in `zones.directory`
    etc/perigee.toml:2:3: error: `health` is a table
      help: write `[health]` on a line of its own and the keys below
    "#);
}

#[test]
fn a_key_given_twice_is_told() {
    let faults = parse("[health]\ninterval = 1\ninterval = 2\n").expect_err("a duplicate");
    insta::assert_snapshot!(render(&faults), @r#"
    etc/perigee.toml:3:1: error: duplicate key
      help: see https://toml.io for the syntax
    "#);
}

#[test]
fn faults_in_the_environment_name_the_variable() {
    let faults = parse_variables(&[
        ("PERIGEE_SERVER_LISTEN", "0.0.0.0,[::]:53"),
        ("PERIGEE_SERVER_WORKERS", "many"),
        ("PERIGEE_HEALTH_INTERVAL", "1ms"),
        ("PERIGEE_LOG_LEVEL", "3"),
        ("PERIGEE_EDNS_CLIENT_SUBNET", "on"),
        ("PERIGEE_HEALTH_INTERVALL", "2s"),
    ])
    .expect_err("all of it is wrong");
    insta::assert_snapshot!(render(&faults), @r#"
    error: `PERIGEE_EDNS_CLIENT_SUBNET` cannot be the text `on`
      help: write `true` or `false`
    error: `PERIGEE_HEALTH_INTERVAL` cannot be `1ms`: out of bounds
      help: choose 100ms to 24h
    warning: the variable `PERIGEE_HEALTH_INTERVALL` is none of ours: it has no effect
      help: did you mean `PERIGEE_HEALTH_INTERVAL`?
    error: `PERIGEE_LOG_LEVEL` cannot be `3`
      help: write one of `"error"`, `"warn"`, `"info"`, `"debug"`, `"trace"`
    error: `PERIGEE_SERVER_LISTEN` cannot be `0.0.0.0`
      help: add the port: `0.0.0.0:53`
    error: `PERIGEE_SERVER_WORKERS` cannot be the text `many`
      help: write a whole number without quotes
    "#);
}

#[test]
fn variables_of_others_are_left_alone() {
    let (config, diagnostics) = parse_variables(&[
        ("PERIGEE_CONFIG", "/etc/perigee.toml"),
        ("PERIGEE_SERVICE_HOST", "10.0.0.1"),
        ("PERIGEE_DNS_SERVICE_PORT_DNS", "53"),
        ("PERIGEE_PORT", "udp://10.0.0.1:53"),
        ("PERIGEE_DNS_PORT_53_UDP_ADDR", "10.0.0.1"),
        ("PATH", "/bin"),
    ])
    .expect("nothing of it is ours");
    assert_eq!(config, Config::default());
    assert_eq!(render(&diagnostics), "");
    for key in KEYS {
        let variable = key.variable();
        assert!(!["_SERVICE_", "_PORT_"].iter().any(|part| variable.contains(part)), "{variable} would be left alone");
    }
}

#[test]
fn what_is_odd_but_usable_is_a_warning() {
    let (_, diagnostics) = parse("health = { interval = \"2h\" }\n").expect("usable");
    insta::assert_snapshot!(render(&diagnostics), @r#"
    warning: `health.forget` is shorter than `health.interval`
      help: checks would be forgotten before their second probe; make it several intervals long
    "#);
    let (_, diagnostics) = parse("edns = { cookies = false, cookie-policy = \"require\" }\n").expect("usable");
    insta::assert_snapshot!(render(&diagnostics), @r#"
    warning: `edns.cookie-policy` means nothing without `edns.cookies`
      help: switch cookies on, or leave the policy at `answer`
    "#);
    let (_, diagnostics) = parse_variables(&[("PERIGEE_HEALTH_INTERVALL", "2s"), ("PERIGEE_X", "1")]).expect("usable");
    insta::assert_snapshot!(render(&diagnostics), @r#"
    warning: the variable `PERIGEE_HEALTH_INTERVALL` is none of ours: it has no effect
      help: did you mean `PERIGEE_HEALTH_INTERVAL`?
    warning: the variable `PERIGEE_X` is none of ours: it has no effect
      help: variables are named `PERIGEE_<TABLE>_<KEY>`, as in `PERIGEE_HEALTH_INTERVAL`
    "#);
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let absent = directory.path().join("absent.toml");
    let faults = Config::load(Some(&absent), []).expect_err("not there");
    assert!(faults[0].message.starts_with(&format!("cannot read the configuration file `{}`", absent.display())));
    let binary = directory.path().join("binary.toml");
    std::fs::write(&binary, b"\xff").expect("written");
    assert!(Config::load(Some(&binary), []).is_err());
    assert!(Config::load(Some(directory.path()), []).is_err());
}

#[test]
fn a_file_is_read_from_its_path() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("perigee.toml");
    std::fs::write(&path, "health.interval = 7\n").expect("written");
    let (config, _) = Config::load(Some(&path), []).expect("sound");
    assert_eq!(config.health.interval, Duration::from_secs(7));
    assert_eq!(config.zones.directory, directory.path().join("zones"));
}

/// The rows of every table of keys in the manual, cell by cell.
fn manual_rows() -> Vec<Vec<String>> {
    include_str!("../docs/configuration.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|line| format!("`{line}"))
        .filter(|line| line.contains('.') && !line.starts_with("`perigee "))
        .map(|line| line.trim_end_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

#[test]
fn the_manual_has_every_key_and_no_other_as_the_code_has_it() {
    let keys = KEYS.iter().map(|key| {
        let default = format!("`{}`", key.default_text());
        vec![format!("`{}`", key.path()), key.kind(), default, key.bounds(), format!("`{}`", key.variable())]
    });
    let zone_keys = ZONE_KEYS.iter().map(|key| format!("`{}`", key.path()));
    let (in_zone, elsewhere): (Vec<_>, Vec<_>) =
        manual_rows().into_iter().partition(|row| row[0].starts_with("`zone."));
    assert_eq!(elsewhere, keys.collect::<Vec<_>>());
    assert_eq!(in_zone.into_iter().map(|row| row[0].clone()).collect::<Vec<_>>(), zone_keys.collect::<Vec<_>>());
}

#[test]
fn the_manual_tells_what_every_key_does() {
    let manual = include_str!("../docs/configuration.md");
    for (table, name) in
        KEYS.iter().map(|key| (key.table, key.name)).chain(ZONE_KEYS.iter().map(|key| (key.table, key.name)))
    {
        let heading = if table == "zone" { "## `[[zone]]`".to_owned() } else { format!("## `[{table}]`") };
        let section = manual.split("\n## ").find(|section| heading.ends_with(section.lines().next().unwrap_or("-")));
        let section = section.unwrap_or_else(|| panic!("no section {heading}"));
        assert!(section.contains(&format!("\n- `{name}`: ")), "{heading} does not tell what `{name}` does");
    }
}
