//! Who may import whom, what the core never names, and maps that are true.
//!
//! `ARCHITECTURE.md` tells the same to people. A new room, crate or import is a line in [`ROOMS`]; a line that nothing
//! needs any more fails too.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::sources::{Source, Sources, files_below};

/// Modules that keep to the same imports.
struct Room {
    /// The module whose files these are, with all below it that have no room of their own.
    name: &'static str,
    /// Whom it may import.
    rooms: &'static [&'static str],
    /// Which crates it may name.
    crates: &'static [&'static str],
}

/// Every room, bottom layer first.
const ROOMS: &[Room] = &[
    // Beside all others.
    Room { name: "diagnostic", rooms: &[], crates: &[] },
    Room { name: "metrics", rooms: &[], crates: &[] },
    Room {
        name: "config",
        rooms: &["diagnostic", "dns", "geo"],
        crates: &["data_encoding", "ipnet", "jiff", "strsim", "toml"],
    },
    // The core.
    Room { name: "dns", rooms: &[], crates: &["data_encoding", "jiff", "smallvec", "thiserror"] },
    Room { name: "dns::probe", rooms: &["dns"], crates: &["hickory_proto", "thiserror"] },
    Room { name: "geo", rooms: &[], crates: &["maxminddb", "serde_json", "thiserror"] },
    Room {
        name: "zone",
        rooms: &["diagnostic", "dns"],
        crates: &["data_encoding", "hashbrown", "strsim", "thiserror"],
    },
    Room { name: "networks", rooms: &[], crates: &["ipnet"] },
    Room {
        name: "health",
        rooms: &["diagnostic", "dns"],
        crates: &["ipnet", "jiff", "regex", "serde_json", "thiserror", "wildmatch"],
    },
    Room { name: "resolve", rooms: &["dns"], crates: &["arc_swap"] },
    Room {
        name: "script",
        rooms: &["config", "diagnostic", "dns", "geo", "health", "networks", "resolve", "zone"],
        crates: &["ipnet", "jiff", "mlua", "rand", "smallvec", "strsim", "thiserror", "tracing", "url"],
    },
    Room {
        name: "answer",
        rooms: &["answer::synthesize", "config", "dns", "metrics", "resolve", "script", "zone"],
        crates: &["bumpalo", "siphasher"],
    },
    Room {
        name: "answer::synthesize",
        rooms: &["answer", "dns", "script", "zone"],
        crates: &["bumpalo", "smallvec", "tracing"],
    },
    // The shell.
    Room { name: "geo::open", rooms: &["geo"], crates: &["maxminddb", "thiserror"] },
    Room { name: "health::checker", rooms: &["dns", "health", "metrics"], crates: &["slab", "tokio", "tracing"] },
    Room { name: "health::events", rooms: &["health", "health::checker"], crates: &["tracing"] },
    Room {
        name: "health::probe",
        rooms: &["dns::probe", "health", "health::probe::resolve", "health::tls"],
        crates: &[
            "bytes",
            "data_encoding",
            "h2",
            "http",
            "http_body_util",
            "hyper",
            "hyper_util",
            "memchr",
            "percent_encoding",
            "rand",
            "regex",
            "rustix",
            "rustls",
            "socket2",
            "tokio",
            "tokio_rustls",
            "url",
            "x509_parser",
        ],
    },
    Room {
        name: "health::probe::resolve",
        rooms: &["health", "resolve::upstream"],
        crates: &["hickory_resolver", "tokio"],
    },
    Room {
        name: "health::webhook",
        rooms: &["health", "health::events", "health::tls"],
        crates: &["jiff", "reqwest", "rustls", "serde_json", "tokio", "tracing"],
    },
    Room { name: "health::tls", rooms: &["health"], crates: &["rustls", "rustls_platform_verifier"] },
    Room { name: "resolve::asker", rooms: &["resolve"], crates: &["tokio", "tracing"] },
    Room { name: "resolve::upstream", rooms: &["dns", "resolve"], crates: &["hickory_resolver", "tokio"] },
    Room {
        name: "source",
        rooms: &["config", "diagnostic", "dns", "health", "networks"],
        crates: &["csv", "hashbrown", "ipnet", "libc", "notify", "thiserror", "tokio", "tracing"],
    },
    Room {
        name: "server",
        rooms: &["answer", "diagnostic", "metrics", "server::linux"],
        crates: &["socket2", "thiserror", "tokio"],
    },
    Room { name: "server::linux", rooms: &["answer", "metrics", "server"], crates: &["libc", "socket2", "tokio"] },
    Room {
        name: "daemon",
        rooms: &[
            "answer",
            "config",
            "diagnostic",
            "dns",
            "geo",
            "geo::open",
            "health",
            "health::checker",
            "health::events",
            "health::probe",
            "health::tls",
            "health::webhook",
            "metrics",
            "networks",
            "resolve",
            "resolve::asker",
            "resolve::upstream",
            "script",
            "server",
            "source",
            "zone",
        ],
        crates: &["jiff", "listenfd", "nix", "rand", "rustix", "sd_notify", "serde_json", "tokio", "tracing"],
    },
    Room {
        name: "commands",
        rooms: &["config", "daemon", "diagnostic", "dns", "dns::probe", "health", "source"],
        crates: &["clap", "serde_json", "tracing", "tracing_subscriber"],
    },
    Room { name: "main", rooms: &["commands"], crates: &["clap", "tikv_jemalloc_sys", "tikv_jemallocator"] },
];

/// The rooms that wait for nothing, open nothing and read no clock.
const CORE: &[&str] =
    &["dns", "dns::probe", "geo", "zone", "networks", "health", "resolve", "script", "answer", "answer::synthesize"];

/// What only waits, opens or reads a clock. Crates that do stand in no line of the core in [`ROOMS`].
const WORLDLY: &[&str] = &[
    "std::env",
    "std::fs",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::ToSocketAddrs",
    "std::net::UdpSocket",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// The files that may say `unsafe`: one asks the kernel for what no safe interface has, one maps files, which Rust calls
/// unsafe whatever the file, since others may write to it, and one tells the allocator when it may start threads, for which
/// the safe interface has a dependency that nobody keeps any more.
const UNSAFE: [&str; 3] = ["src/server/linux.rs", "src/geo/open.rs", "src/main.rs"];

#[test]
fn rooms_import_whom_they_may() {
    hold(imports);
}

#[test]
fn the_table_allows_no_more_than_is_used() {
    hold(leftovers);
}

#[test]
fn the_core_waits_for_nothing_opens_nothing_and_reads_no_clock() {
    hold(worldly);
}

#[test]
fn unsafe_code_stands_in_three_files() {
    hold(unsafe_code);
}

#[test]
fn files_open_with_what_they_are() {
    hold(headlines);
    let sources: Vec<_> = ["tests", "benches", "fuzz"].map(|directory| files_below(top(), directory, "rs")).into();
    let texts = sources.iter().flatten().map(|(path, text)| (path.as_str(), text.as_str()));
    assert_eq!(headlines(&Sources::of(texts)), [""; 0]);
}

#[test]
fn maps_name_what_there_is_and_nothing_else() {
    hold(maps);
}

#[test]
fn pages_lead_to_files_that_exist() {
    for (page, text) in files_below(top(), "", "md") {
        let directory = Path::new(&page).parent().expect("a file stands in a directory");
        for link in links(&text) {
            assert!(top().join(directory).join(link).exists(), "{page}: there is no `{link}`");
        }
    }
}

#[test]
fn the_architecture_names_files_that_exist() {
    let text = std::fs::read_to_string(top().join("ARCHITECTURE.md")).expect("it can be read");
    for name in file_names(&text).into_iter().filter(|name| *name != "mod.rs") {
        assert!(top().join("src").join(name).exists() || top().join(name).exists(), "there is no `{name}`");
    }
}

#[test]
fn each_rule_finds_what_breaks_it() {
    type Row = (fn(&Sources) -> Vec<String>, &'static [(&'static str, &'static str)], &'static str);
    let rows: &[Row] = &[
        (
            imports,
            &[("src/dns/wire.rs", "//! x\nuse crate::zone::Zone;"), ("src/zone/mod.rs", "")],
            "src/dns/wire.rs:2: `dns` may not import `zone` (`crate::zone::Zone`)",
        ),
        (
            imports,
            &[
                ("src/script/mod.rs", "use super::health;\nfn f() { health::probe::f() }"),
                ("src/health/mod.rs", ""),
                ("src/health/probe.rs", ""),
            ],
            "src/script/mod.rs:2: `script` may not import `health::probe` (`crate::health::probe::f`)",
        ),
        (
            imports,
            &[("src/server/mod.rs", "mod x;"), ("src/daemon/mod.rs", ""), ("src/server/x.rs", "use crate::daemon;")],
            "src/server/x.rs:1: `server` may not import `daemon` (`crate::daemon`)",
        ),
        (
            imports,
            &[("src/answer/mod.rs", "fn f(lua: &mlua::Lua) {}")],
            "src/answer/mod.rs:1: `answer` may not name the crate `mlua` (`mlua::Lua`)",
        ),
        (
            imports,
            &[("src/dns/wire.rs", "use hickory_proto as other;")],
            "src/dns/wire.rs:1: `dns` may not name the crate `hickory_proto` (`hickory_proto`)",
        ),
        (imports, &[("src/attic.rs", "")], "src/attic.rs:1: `attic` is no room: add it to the table"),
        (
            leftovers,
            &[("src/main.rs", "use perigee::commands;"), ("src/commands/mod.rs", "")],
            "`main` does not name the crate `clap`: take it off its line",
        ),
        (
            leftovers,
            &[("src/main.rs", "use clap::Parser;"), ("src/commands/mod.rs", "")],
            "`main` does not import `commands`: take it off its line",
        ),
        (leftovers, &[("src/main.rs", "")], "nothing names the crate `tokio`: take it out of Cargo.toml"),
        (
            worldly,
            &[("src/zone/mod.rs", "use std::time::Instant;\nfn f() { Instant::now() }")],
            "src/zone/mod.rs:1: the core may not name `std::time::Instant`",
        ),
        (
            worldly,
            &[("src/script/api/geo.rs", "use std::{net, io};\nfn f(a: &net::TcpStream) {}")],
            "src/script/api/geo.rs:2: the core may not name `std::net::TcpStream`",
        ),
        (
            unsafe_code,
            &[("src/dns/name.rs", "fn f() {\n    unsafe { g() }\n}")],
            "src/dns/name.rs:2: `unsafe` stands in src/server/linux.rs and src/geo/open.rs and src/main.rs alone",
        ),
        (
            headlines,
            &[("src/dns/name.rs", "// Names.\nuse std::fmt;")],
            "src/dns/name.rs:1: the file opens with no line of `//!`",
        ),
        (
            maps,
            &[
                ("src/dns/mod.rs", "//! Read `name.rs`.\nmod name;\nmod wire;"),
                ("src/dns/name.rs", ""),
                ("src/dns/wire.rs", ""),
            ],
            "src/dns/mod.rs:1: its head does not tell of `wire`",
        ),
        (
            maps,
            &[("src/dns/mod.rs", "//! Read `name.rs` and `old.rs`.\nmod name;"), ("src/dns/name.rs", "")],
            "src/dns/mod.rs:1: there is no `old.rs`",
        ),
    ];
    for (rule, files, expected) in rows {
        let breaches = rule(&Sources::of(files.iter().copied()));
        assert!(breaches.iter().any(|breach| breach == expected), "{expected:?} is not among {breaches:#?}");
    }
    assert_eq!(links("[a](docs/a.md#b) [c](https://d.example/e.md) `[f](g)`"), ["docs/a.md"]);
    assert_eq!(file_names("`dns/wire.rs: decode`, `lua/` and `.rs`"), ["dns/wire.rs", "lua/"]);
}

/// Applies a rule to perigee itself.
#[track_caller]
fn hold(rule: fn(&Sources) -> Vec<String>) {
    let breaches = rule(&Sources::read(top()));
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The room that a module belongs to: the nearest one above it.
fn room_of(module: &str) -> Option<&'static Room> {
    let holds =
        |room: &&Room| module.strip_prefix(room.name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    ROOMS.iter().filter(holds).max_by_key(|room| room.name.len())
}

/// What a file uses from elsewhere: line, path, and the room or the crate it is of.
fn uses<'s>(sources: &'s Sources, file: &'s Source) -> Vec<(usize, &'s str, Import<'s>)> {
    let dependencies = dependencies();
    let mut seen = BTreeSet::new();
    let import = |path: &'s str| match sources.module_at(path) {
        Some(module) => room_of(module).map(|room| Import::Room(room.name)),
        None => path.split("::").next().filter(|head| dependencies.contains(*head)).map(Import::Crate),
    };
    let found = file.mentions.iter().filter_map(|mention| Some((mention.line, &*mention.path, import(&mention.path)?)));
    found.filter(|(_, _, import)| seen.insert(import.clone())).collect()
}

/// Something from elsewhere.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Import<'s> {
    Room(&'static str),
    Crate(&'s str),
}

/// The crates that Cargo.toml asks for, spelled as in code.
fn dependencies() -> BTreeSet<String> {
    let manifest: toml::Table = include_str!("../Cargo.toml").parse().expect("Cargo has read it too");
    let dependencies = manifest["dependencies"].as_table().expect("a table");
    dependencies.keys().map(|name| name.replace('-', "_")).collect()
}

fn imports(sources: &Sources) -> Vec<String> {
    let mut breaches = Vec::new();
    // `lib.rs` only lists the rooms.
    for file in sources.files.iter().filter(|file| !file.module.is_empty()) {
        let Some(room) = room_of(&file.module) else {
            breaches.push(format!("{}:1: `{}` is no room: add it to the table", file.path, file.module));
            continue;
        };
        for (line, path, import) in uses(sources, file) {
            let (Source { path: file, .. }, Room { name, .. }) = (file, room);
            match import {
                Import::Room(other) if other != *name && !room.rooms.contains(&other) => {
                    breaches.push(format!("{file}:{line}: `{name}` may not import `{other}` (`{path}`)"));
                }
                Import::Crate(other) if !room.crates.contains(&other) => {
                    breaches.push(format!("{file}:{line}: `{name}` may not name the crate `{other}` (`{path}`)"));
                }
                Import::Room(_) | Import::Crate(_) => {}
            }
        }
    }
    breaches
}

fn leftovers(sources: &Sources) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut named = BTreeSet::new();
    for room in ROOMS {
        let files = sources.files.iter().filter(|file| room_of(&file.module).is_some_and(|own| own.name == room.name));
        let used: BTreeSet<_> = files.flat_map(|file| uses(sources, file)).map(|(_, _, import)| import).collect();
        for other in room.rooms.iter().filter(|other| !used.contains(&Import::Room(other))) {
            breaches.push(format!("`{}` does not import `{other}`: take it off its line", room.name));
        }
        for other in room.crates.iter().filter(|other| !used.contains(&Import::Crate(other))) {
            breaches.push(format!("`{}` does not name the crate `{other}`: take it off its line", room.name));
        }
        named.extend(room.crates.iter().filter(|other| used.contains(&Import::Crate(other))).copied());
    }
    let idle = dependencies().into_iter().filter(|dependency| !named.contains(dependency.as_str()));
    breaches
        .extend(idle.map(|dependency| format!("nothing names the crate `{dependency}`: take it out of Cargo.toml")));
    breaches
}

fn worldly(sources: &Sources) -> Vec<String> {
    let core = sources.files.iter().filter(|file| room_of(&file.module).is_some_and(|room| CORE.contains(&room.name)));
    core.flat_map(|file| {
        file.mentions.iter().filter_map(|mention| {
            let named = |path: &&&str| {
                mention.path.strip_prefix(**path).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
            };
            let path = WORLDLY.iter().find(named)?;
            Some(format!("{}:{}: the core may not name `{path}`", file.path, mention.line))
        })
    })
    .collect()
}

fn unsafe_code(sources: &Sources) -> Vec<String> {
    let others = sources.files.iter().filter(|file| !UNSAFE.contains(&&*file.path));
    let found = others.flat_map(|file| file.mentions.iter().map(move |mention| (file, mention)));
    let found = found.filter(|(_, mention)| mention.path == "unsafe");
    found
        .map(|(file, mention)| {
            format!("{}:{}: `unsafe` stands in {} alone", file.path, mention.line, UNSAFE.join(" and "))
        })
        .collect()
}

fn headlines(sources: &Sources) -> Vec<String> {
    let silent = sources.files.iter().filter(|file| !file.text.starts_with("//! "));
    silent.map(|file| format!("{}:1: the file opens with no line of `//!`", file.path)).collect()
}

/// The head of a file that has others below it tells of each, or the line does that brings it in.
fn maps(sources: &Sources) -> Vec<String> {
    let mut breaches = Vec::new();
    for file in &sources.files {
        let head: String =
            file.text.lines().take_while(|line| line.starts_with("//!")).flat_map(|line| [line, "\n"]).collect();
        let known: BTreeSet<&str> = sources.children(&file.module).collect();
        for child in &known {
            let spellings = [format!("`{child}.rs`"), format!("`{child}/`"), format!("`{child}`")];
            let remark = format!("mod {child}; // ");
            if !spellings.iter().any(|spelling| head.contains(spelling)) && !file.text.contains(&remark) {
                breaches.push(format!("{}:1: its head does not tell of `{child}`", file.path));
            }
        }
        for name in file_names(&head).into_iter().filter(|name| name.ends_with(".rs")) {
            let is_child = known.contains(name.trim_end_matches(".rs"));
            let is_path = sources.files.iter().any(|other| other.path == format!("src/{name}"));
            let is_sibling = Path::new(&file.path).with_file_name(name);
            let is_sibling = sources.files.iter().any(|other| Path::new(&other.path) == is_sibling);
            if !is_child && !is_path && !is_sibling {
                breaches.push(format!("{}:1: there is no `{name}`", file.path));
            }
        }
    }
    breaches
}

/// What stands in backquotes and is the name of a file or a folder.
fn file_names(text: &str) -> Vec<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    let names = quoted.filter_map(|text| text.split([':', ' ']).next());
    names.filter(|name| (name.ends_with(".rs") || name.ends_with('/')) && !name.starts_with(['.', '/', '*'])).collect()
}

/// Where the links of a page lead, if to files.
fn links(page: &str) -> Vec<&str> {
    let plain = page.split('`').step_by(2);
    let targets = plain.flat_map(|text| text.split("](").skip(1)).filter_map(|rest| rest.split([')', '#']).next());
    targets.filter(|target| !target.is_empty() && !target.contains("://")).collect()
}
