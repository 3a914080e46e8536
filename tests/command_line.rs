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
