//! The command line: what `perigee check` tells and how programs exit.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const SOUND: &str = "\
@ 3600 IN SOA ns1 hostmaster 1 7200 900 1209600 300
@ 3600 IN NS ns1
@ 3600 IN NS ns2
ns1 3600 IN A 192.0.2.53
ns2 3600 IN A 198.51.100.53
";

/// A directory with these files; `zones/` is there in any case.
fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    fs::create_dir(directory.path().join("zones")).expect("created");
    for (name, text) in files {
        fs::write(directory.path().join(name), text).expect("written");
    }
    directory
}

/// Runs perigee in `directory`, with no environment but `variables`.
fn run(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_perigee"))
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .expect("perigee runs")
}

/// The exit code and standard output.
fn check(directory: &TempDir, arguments: &[&str]) -> (i32, String) {
    let output = run(directory.path(), &[&["check"], arguments].concat(), &[]);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
    (output.status.code().expect("not killed"), String::from_utf8(output.stdout).expect("text"))
}

#[test]
fn sound_zones_are_counted() {
    let directory = directory(&[("zones/example.org.zone", SOUND), ("zones/example.net.zone", SOUND)]);
    let rows: [&[&str]; 4] = [&[], &["zones"], &["zones/example.org.zone", "zones/example.net.zone"], &["./zones/"]];
    for arguments in rows {
        assert_eq!(check(&directory, arguments), (0, "2 zones, 0 errors, 0 warnings\n".into()), "{arguments:?}");
    }
}

#[test]
fn all_that_is_wrong_is_told_in_one_run() {
    let directory = directory(&[
        ("zones/a.example.zone", "@ 3600 IN A 192.0.2.1.1\n$INCLUDE part\n$INCLUDE absent\n"),
        ("zones/part", "www 60 IN A nonsense\n"),
        ("zones/example.org.zone", SOUND),
        ("perigee.toml", "[health]\ninterval = \"2h\"\n[[zone]]\nname = \"b.example\"\nfile = \"absent\"\n"),
    ]);
    let (code, text) = check(&directory, &[]);
    assert_eq!(code, 1);
    insta::assert_snapshot!(text, @r#"
    warning: `health.forget` is shorter than `health.interval`
      help: checks would be forgotten before their second probe; make it several intervals long
    zones/a.example.zone:1:13: error: address `192.0.2.1.1` is not an IPv4 address
      help: write four numbers from 0 to 255 with dots between, as in `192.0.2.1`
    zones/part:1:13: error: address `nonsense` is not an IPv4 address
      help: write four numbers from 0 to 255 with dots between, as in `192.0.2.1`
    zones/a.example.zone:3:10: error: cannot include `absent`: there is no file `zones/absent`
      help: check the path and the rights of the file
    perigee.toml:3:1: error: zone `b.example.`: there is no file `absent`
      help: create it, or correct its name
    3 zones, 4 errors, 1 warning
    "#);
}

#[test]
fn https_checks_that_do_not_say_whether_to_verify_are_recommended_to() {
    let zone =
        |options: &str| format!("{SOUND}www 60 LUA A \"ifurlup('https://a.example/', {{'127.0.0.1'}}{options})\"\n");
    let told = |options| check(&directory(&[("zones/example.org.zone", &zone(options))]), &[]);
    for said in [", {verify=true}", ", {verify=false}", ", {verify='false'}"] {
        assert_eq!(told(said), (0, "1 zone, 0 errors, 0 warnings\n".to_owned()), "{said}");
    }
    insta::assert_snapshot!(told("").1, @"
    zones/example.org.zone:6:15: warning: the certificates of targets are not verified, as in PowerDNS: an expired one counts as up; say `verify=true`, or `verify=false` if that is meant
    1 zone, 0 errors, 1 warning
    ");
}

#[test]
fn a_broken_configuration_is_told_without_its_zones() {
    let directory = directory(&[("zones/example.org.zone", SOUND), ("perigee.toml", "[zonse]\n")]);
    let (code, text) = check(&directory, &[]);
    assert_eq!(code, 1);
    insta::assert_snapshot!(text, @r#"
    perigee.toml:1:2: error: there is no table `zonse`
      help: did you mean `[zones]`?
    0 zones, 1 error, 0 warnings
    "#);
    assert_eq!(check(&directory, &["perigee.toml"]), (code, text), "named or found, it is the same");
}

#[test]
fn programs_get_one_json_object() {
    let directory = directory(&[("zones/a.example.zone", "@ 60 IN A nonsense\n")]);
    let (code, text) = check(&directory, &["--format", "json"]);
    assert_eq!(code, 1);
    insta::assert_snapshot!(text, @r#"
    {
      "diagnostics": [
        {
          "column": 11,
          "file": "zones/a.example.zone",
          "help": "write four numbers from 0 to 255 with dots between, as in `192.0.2.1`",
          "line": 1,
          "message": "address `nonsense` is not an IPv4 address",
          "severity": "error"
        }
      ],
      "summary": {
        "errors": 1,
        "warnings": 0,
        "zones": 1
      }
    }
    "#);
}

#[test]
fn a_zone_file_with_another_name_is_told_its_zone() {
    let directory = directory(&[("db.example", SOUND)]);
    assert_eq!(check(&directory, &["db.example", "--origin", "example.org"]).0, 0);
    let (code, text) = check(&directory, &["db.example"]);
    assert_eq!(code, 1);
    insta::assert_snapshot!(text, @r#"
    error: `db.example` does not tell by its name which zone it holds
      help: name the zone with `--origin NAME`
    0 zones, 1 error, 0 warnings
    "#);
}

#[test]
fn the_environment_names_the_configuration_and_overrides_it() {
    let files = [("other.toml", "zones.directory = \"nowhere\"\n"), ("zones/example.org.zone", SOUND)];
    let directory = directory(&files);
    let (named, zones) = (("PERIGEE_CONFIG", "other.toml"), ("PERIGEE_ZONES_DIRECTORY", "zones"));
    assert_eq!(run(directory.path(), &["check"], &[]).status.code(), Some(0));
    assert_eq!(run(directory.path(), &["check"], &[named]).status.code(), Some(1));
    assert_eq!(run(directory.path(), &["check"], &[named, zones]).status.code(), Some(0));
    assert_eq!(run(directory.path(), &["check"], &[("PERIGEE_CONFIG", "")]).status.code(), Some(0));
    for arguments in [["check", "-c", "other.toml"], ["-c", "other.toml", "check"]] {
        assert_eq!(run(directory.path(), &arguments, &[("PERIGEE_CONFIG", "absent")]).status.code(), Some(1));
        assert_eq!(run(directory.path(), &arguments, &[("PERIGEE_CONFIG", "absent"), zones]).status.code(), Some(0));
    }
}

#[test]
fn wrong_arguments_exit_with_2() {
    let directory = directory(&[]);
    let rows: [&[&str]; 5] = [
        &[],
        &["frobnicate"],
        &["check", "--origin", "a..b", "x"],
        &["check", "--origin", "a"],
        &["check", "--format", "x"],
    ];
    for arguments in rows {
        let output = run(directory.path(), arguments, &[]);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn serving_with_a_broken_configuration_exits_with_1_and_says_why() {
    let directory = directory(&[("perigee.toml", "[server]\nworkers = -1\n")]);
    let output = run(directory.path(), &["serve"], &[]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(String::from_utf8_lossy(&output.stderr), @r#"
    perigee.toml:2:11: error: `server.workers` cannot be `-1`: out of bounds
      help: choose 0 to 1024
    "#);
}

#[test]
fn the_version_is_told() {
    let output = run(directory(&[]).path(), &["--version"], &[]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("perigee {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn nothing_to_check_is_an_error() {
    let directory = directory(&[]);
    let rows = [
        (&["zones"] as &[&str], "error: there are no zones in `zones`\n"),
        (&[], "error: there are no zones in `zones`\n"),
        (&["absent"], "error: there is no file or directory `absent`\n"),
        (&["absent.zone"], "error: there is no file or directory `absent.zone`\n"),
    ];
    for (arguments, message) in rows {
        let (code, report) = check(&directory, arguments);
        assert_eq!(code, 1, "{arguments:?}");
        assert!(report.starts_with(message), "{arguments:?}: {report}");
    }
}

/// A zone with scripts, behind a head that is sound.
fn scripted(records: &str) -> String {
    format!("{SOUND}{records}")
}

#[test]
fn what_a_zone_may_not_do_is_told_with_its_place_before_a_client_asks() {
    let zone = scripted(
        "a 60 IN LUA A \"pickrandom({'192.0.2.1'})\"\n\
         b 60 IN LUA A ( \";if tcp then return pickrandom({'192.0.2.1'}) end \"\n  \"return ifportup(80, {'192.0.2.9', '198.51.100.9'})\" )\n\
         c 60 IN LUA A \";if tcp then return ifportup(80, {'198.51.100.9'}) end return '192.0.2.1'\"\n\
         e 60 IN LUA A ( \";if tcp then \"\n  \"return pickrandom({'192.0.2.1'}) end return '192.0.2.1'\" )\n\
         d 60 IN LUA A \"pickhashed({'192.0.2.1'})\"\n",
    );
    let config = "[[zone]]\nname = \"example.org\"\nlua-deny = [\"pickrandom\"]\nprobe-networks = [\"192.0.2.0/24\"]\n";
    let directory = directory(&[("zones/example.org.zone", &zone), ("perigee.toml", config)]);
    insta::assert_snapshot!(check(&directory, &[]).1, @"
    zones/example.org.zone:6:16: error: `pickrandom` is not allowed in this zone (`zone.lua-deny`)
      help: let the zone do so in its `[[zone]]`, or have the record answer in another way
    zones/example.org.zone:8:4: error: `ifportup` may not have `198.51.100.9` probed in this zone (`zone.probe-networks`)
      help: let the zone do so in its `[[zone]]`, or have the record answer in another way
    zones/example.org.zone:9:51: error: the script may not have `198.51.100.9` probed in this zone (`zone.probe-networks`)
      help: let the zone do so in its `[[zone]]`, or have the record answer in another way
    zones/example.org.zone:11:11: warning: `pickrandom` is not allowed in this zone (`zone.lua-deny`)
      help: let the zone do so in its `[[zone]]`, or have the record answer in another way
    1 zone, 3 errors, 1 warning
    ");
}

#[test]
fn capabilities_that_do_not_exist_are_errors_with_the_nearest_that_do() {
    let config =
        "[lua]\nallow = [\"helth\"]\n\n[[zone]]\nname = \"example.org\"\nlua-deny = [\"pickrandm\", \"xyzzy\"]\n";
    let directory = directory(&[("zones/example.org.zone", SOUND), ("perigee.toml", config)]);
    insta::assert_snapshot!(check(&directory, &[]).1, @"
    error: `lua.allow` names `helth`, which is neither a function for scripts nor a family of them
      help: did you mean `health`?
    perigee.toml:4:1: error: `zone.lua-deny` names `pickrandm`, which is neither a function for scripts nor a family of them
      help: did you mean `pickrandom`?
    perigee.toml:4:1: error: `zone.lua-deny` names `xyzzy`, which is neither a function for scripts nor a family of them
      help: name a function of `docs/lua.md`, or a family: `object`, `pick`, `view`, `map`, `synth`, `health`, `geo`, `lookup`, `result`, `time`, `require`, `log`
    1 zone, 3 errors, 0 warnings
    ");
}

#[test]
fn settings_for_a_zone_of_the_directory_need_no_file_and_a_zone() {
    let config = "[[zone]]\nname = \"example.org\"\nexec-limit = 1\n\n[[zone]]\nname = \"example.net\"\nlua = false\n";
    let zone = scripted("a 60 IN LUA A \"'192.0.2.1'\"\n");
    let directory = directory(&[("zones/example.org.zone", &zone), ("perigee.toml", config)]);
    insta::assert_snapshot!(check(&directory, &[]).1, @"
    perigee.toml:5:1: warning: there is no zone `example.net.` for the settings of this `[[zone]]`
      help: put it into `zones.directory` as `example.net.zone`, or say where it is with `file`
    zones/example.org.zone:6:16: warning: the script failed in a trial run: it took 1 steps, all that `zone.exec-limit` allows
      help: queries it fails for are answered SERVFAIL; the trial asked as client 0.0.0.0
    1 zone, 0 errors, 2 warnings
    ");
    let config = format!("{config}\n[[zone]]\nname = \"example.org\"\nlua = true\n");
    fs::write(directory.path().join("perigee.toml"), config).unwrap();
    insta::assert_snapshot!(check(&directory, &[]).1, @"
    perigee.toml:9:1: error: the zone `example.org.` has a `[[zone]]` already
      help: put all that is set for it in one
    0 zones, 1 error, 0 warnings
    ");
}

#[test]
fn trial_runs_of_a_zone_end_however_many_scripts_it_has() {
    let records: String = (0..2000).map(|n| format!("n{n} 60 IN LUA TXT \";while true do end --{n}\"\n")).collect();
    let directory = directory(&[("zones/example.org.zone", &scripted(&records))]);
    let (code, text) = check(&directory, &[]);
    assert_eq!(code, 0);
    assert!(text.contains("the script was not tried: others of its zone took too long"), "{text}");
}

#[test]
fn errors_of_scripts_stand_where_they_are_in_the_zone_file() {
    let zone = scripted(
        "pieces 60 IN LUA TXT ( \";local a = 1 \"\n   \"local b = nil \"\n   \"return b.c\" )\n\
         text 60 IN LUA TXT ( \";local a = 'x \"\n   \"y' -- remark \"\n   \"\n\"\n   \"local f = error \"\n   \"(a)\" )\n\
         fused 60 IN LUA TXT ( \"'a' ..\"\n   \" nil\" )\n\
         lines 60 IN LUA TXT \";local a = 1\n   local b = nil\n   return b.c\"\n\
         tabs\t60\tIN\tLUA\tTXT\t\"nil .. 'x'\"\n\
         later 60 IN LUA TXT \";local function f()\n  error('later')\nend\nreturn f()\"\n\
         library 60 IN LUA TXT \";\n  return fails(1)\"\n\
         budget 60 IN LUA TXT \";\n  return endless()\"\n",
    );
    let library =
        "-- A library.\nfunction fails(x)\n  return x.y.z\nend\nfunction endless()\n  while true do end\nend\n";
    let directory = directory(&[("zones/example.org.zone", &zone)]);
    fs::create_dir_all(directory.path().join("lua/lib")).unwrap();
    fs::write(directory.path().join("lua/lib/a.lua"), library).unwrap();
    let unix = check(&directory, &[]).1;
    insta::assert_snapshot!(unix, @"
    zones/example.org.zone:8:5: warning: the script failed in a trial run: attempt to index nil with 'c'
      help: queries it fails for are answered SERVFAIL; the trial asked as client 0.0.0.0
    zones/example.org.zone:13:5: warning: the script failed in a trial run: x y
      help: queries it fails for are answered SERVFAIL; the trial asked as client 0.0.0.0
    zones/example.org.zone:16:6: warning: the script failed in a trial run: attempt to concatenate string with nil
      help: queries it fails for are answered SERVFAIL; the trial asked as client 0.0.0.0
    zones/example.org.zone:19:4: warning: the script failed in a trial run: attempt to index nil with 'c'
      help: queries it fails for are answered SERVFAIL; the trial asked as client 0.0.0.0
    zones/example.org.zone:20:21: warning: the script failed in a trial run: attempt to concatenate nil with string
      help: queries it fails for are answered SERVFAIL; the trial asked as client 0.0.0.0
    zones/example.org.zone:22:3: warning: the script failed in a trial run: later
      help: queries it fails for are answered SERVFAIL; the trial asked as client 0.0.0.0
    zones/example.org.zone:26:3: warning: the script failed in a trial run: lua/lib/a.lua:3: attempt to index number with 'y'
      help: queries it fails for are answered SERVFAIL; the trial asked as client 0.0.0.0
    zones/example.org.zone:28:3: warning: the script failed in a trial run: it took 20000 steps, all that `lua.exec-limit` allows
      help: queries it fails for are answered SERVFAIL; the trial asked as client 0.0.0.0
    1 zone, 0 errors, 8 warnings
    ");
    // Lines that end in CR LF have the same numbers and columns.
    fs::write(directory.path().join("zones/example.org.zone"), zone.replace('\n', "\r\n")).unwrap();
    assert_eq!(check(&directory, &[]).1, unix);
    // Blanks between pieces move nothing; in a text they stand as well.
    fs::write(directory.path().join("zones/example.org.zone"), &zone).unwrap();
    fs::write(directory.path().join("perigee.toml"), "[lua]\ninsert-whitespace = true\n").unwrap();
    assert_eq!(check(&directory, &[]).1.replace("x    y", "x y"), unix);
}
