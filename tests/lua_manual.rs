//! The manual of LUA records, the list for editors and the builtins agree, and every example works.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::support::mmdb::Mmdb;
use crate::support::sources::files_below;

/// What stands before an example to make a zone of it.
pub(crate) const HEAD: &str = "$TTL 60\n@ SOA ns hostmaster 1 3600 900 604800 60\n@ NS ns\nns A 192.0.2.53\n";

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The sources of the builtins.
fn families() -> Vec<(String, String)> {
    files_below(Path::new(env!("CARGO_MANIFEST_DIR")), "src/script/api", "rs").into_iter().collect()
}

/// Every builtin, by the call that adds it.
fn builtins() -> BTreeSet<String> {
    let sources = families();
    let calls = sources.iter().flat_map(|(_, source)| source.split("api.function(\"").skip(1));
    calls.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect()
}

/// The fenced blocks of a language, each with the number of its first line.
pub(crate) fn blocks(text: &str, language: &str, prefix: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in text.lines().enumerate() {
        let Some(line) = line.trim_start().strip_prefix(prefix) else { continue };
        match &mut open {
            None if line.trim() == format!("```{language}") => open = Some((number + 2, String::new())),
            None => {}
            Some(_) if line.trim() == "```" => blocks.extend(open.take()),
            Some((_, block)) => {
                *block += &format!("{}\n", line.strip_prefix(' ').filter(|_| !prefix.is_empty()).unwrap_or(line))
            }
        }
    }
    blocks
}

/// Checks an example as a zone of its own, with a database of places; returns what is said of it.
fn check(example: &str) -> String {
    let directory = TempDir::new().expect("a directory");
    let write = |name: &str, octets: &[u8]| fs::write(directory.path().join(name), octets).expect("written");
    write("places.mmdb", &Mmdb::new("Test", []).octets());
    let zone = "[[zone]]\nname = \"example.net\"\nlua-dir = \"modules\"\n";
    write("perigee.toml", format!("[geoip]\ndatabases = [\"places.mmdb\"]\n{zone}").as_bytes());
    fs::create_dir_all(directory.path().join("modules")).expect("created");
    write("modules/sites.lua", b"return { any = function() return '192.0.2.1' end }\n");
    fs::create_dir_all(directory.path().join("lua/maps")).expect("created");
    write("lua/maps/sites.csv", b"network,site\n10.0.0.0/8,192.0.2.1\n0.0.0.0/0,192.0.2.2\n");
    let file = directory.path().join("example.net.zone");
    fs::write(&file, format!("{HEAD}{example}")).expect("written");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_perigee"))
        .args(["--config".as_ref(), directory.path().join("perigee.toml").as_os_str()])
        .args(["check".as_ref(), file.as_os_str()])
        .env_clear()
        .output()
        .expect("perigee runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The manuals that have examples of records, and how many at least.
pub(crate) const MANUALS: [(&str, usize); 2] = [("docs/lua.md", 10), ("docs/health.md", 1)];

#[test]
fn every_example_of_the_manuals_works() {
    for (page, least) in MANUALS {
        let blocks = blocks(&read(page), "zone", "");
        assert!(blocks.len() >= least, "{page}: only {} examples", blocks.len());
        for (line, block) in blocks {
            let report = check(&block);
            assert_eq!(report, "1 zone, 0 errors, 0 warnings\n", "{page}:{line}\n{block}");
        }
    }
}

#[test]
fn every_example_beside_a_builtin_works() {
    let mut examples = 0;
    for (path, source) in families() {
        for (line, block) in blocks(&source, "lua", "///") {
            examples += 1;
            assert_eq!(check(&block), "1 zone, 0 errors, 0 warnings\n", "{path}:{line}\n{block}");
        }
    }
    assert!(examples >= 5, "only {examples} examples");
}

#[test]
fn the_manual_and_the_list_for_editors_name_every_builtin_and_no_other() {
    let builtins = builtins();
    assert!(builtins.contains("pickrandom"), "{builtins:?}");
    let list = read("lua/perigee.d.luau");
    let declared = |line: &str| Some(line.strip_prefix("declare function ")?.split_once('(')?.0.to_owned());
    let listed = list.lines().filter_map(declared);
    assert_eq!(listed.collect::<BTreeSet<_>>(), builtins);
    let manual = read("docs/lua.md");
    let headed =
        manual.lines().filter_map(|line| line.strip_prefix("### ")?.split_once('(')).map(|(name, _)| name.to_owned());
    // Constructors stand in the text of their section.
    let constructors = builtins.iter().filter(|name| name.starts_with("new")).cloned();
    for name in constructors.clone() {
        assert!(manual.contains(&format!("`{name}(")), "{name}");
    }
    assert_eq!(headed.chain(constructors).collect::<BTreeSet<_>>(), builtins);
}

#[test]
fn every_setting_of_powerdns_has_a_key_or_a_reason() {
    const SETTINGS: [&str; 14] = [
        "enable-lua-records",
        "lua-records-exec-limit",
        "lua-records-insert-whitespace",
        "lua-health-checks-interval",
        "lua-health-checks-expire-delay",
        "lua-consistent-hashes-cleanup-interval",
        "lua-consistent-hashes-expire-delay",
        "lua-global-include-dir",
        "enable-lua-record-updates",
        "edns-subnet-processing",
        "geoip-database-files",
        "resolver",
        "any-to-tcp",
        "resolve-across-zones",
    ];
    let manual = read("docs/lua.md");
    let keys: BTreeSet<String> = perigee::config::KEYS.iter().map(|key| key.path()).collect();
    for setting in SETTINGS {
        let row = manual.lines().find(|line| line.starts_with('|') && line.contains(&format!("`{setting}`")));
        let (_, here) = row.and_then(|row| row[2..].split_once('|')).unwrap_or_else(|| panic!("no row for {setting}"));
        let named: Vec<_> = here.split('`').skip(1).step_by(2).filter(|word| word.contains('.')).collect();
        assert!(!named.is_empty() || here.contains("none: "), "{setting}: {here}");
        named.iter().for_each(|key| assert!(keys.contains(*key), "{setting}: there is no key {key}"));
    }
}

#[test]
fn the_list_for_editors_names_every_method() {
    let list = read("lua/perigee.d.luau");
    let objects: Vec<_> = families().into_iter().filter(|(path, _)| path.contains("/object/")).collect();
    let mut methods = 0;
    for (path, source) in objects {
        let names = source.split("method(methods, \"").chain(source.split("method_mut(methods, \"")).skip(1);
        for name in names.filter_map(|rest| Some(rest.split_once("\", ")?.0)).filter(|name| !name.contains('\n')) {
            methods += 1;
            assert!(list.contains(&format!("\tfunction {name}(self")), "{path}: {name}");
        }
    }
    assert!(methods > 40, "only {methods} methods");
}
