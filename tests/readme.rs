//! The console examples of README.md and of the manuals: each command is run, and does what stands below it.
//!
//! A fenced block marked `console` is a session with a server that serves a copy of `zones/`: lines that begin with `$ `
//! are commands, the lines below each are what it prints. Port 15353 stands for the server's own, and a command that
//! edits a zone ends when the edit is served. Counts, as by `uniq -c`, may differ as chance has them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, iter};

use crate::support::process::Perigee;
use crate::support::sources::files_below;

/// The largest distance, as chi-square, of two counts that chance explains.
///
/// With four answers or fewer, equal shares pass this once in a million times.
const CHI_SQUARE_MAX: f64 = 30.7;

#[test]
fn examples_do_what_they_show() {
    let dig = Command::new("dig").arg("-v").stderr(Stdio::null()).status();
    assert!(dig.is_ok_and(|status| status.success()), "`dig` must run: install the package bind9-dnsutils");
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = files_below(top, "docs", "md");
    pages.extend(["README.md"].map(|page| (page.into(), std::fs::read_to_string(top.join(page)).expect("a page"))));
    let files: Vec<_> = [("zones", "zone"), ("lua", "lua")]
        .into_iter()
        .flat_map(|(place, kind)| files_below(top, place, kind))
        .collect();
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    for (page, text) in &pages {
        let steps = steps(text);
        if steps.is_empty() {
            continue;
        }
        let mut perigee = Perigee::start(&files);
        for Step { line, command, shown } in steps {
            let got = run(&mut perigee, &command);
            if let Err(difference) = compare(&shown, &got) {
                panic!("{page}:{line}: {difference}\n$ {command}\n{got}");
            }
        }
    }
}

/// A command and what a page says it prints.
#[derive(Debug, PartialEq)]
struct Step {
    line: usize,
    command: String,
    shown: String,
}

/// The commands of a page.
fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut is_session = false;
    for (line, text) in (1..).zip(page.lines()) {
        if let Some(mark) = text.strip_prefix("```") {
            is_session = mark == "console";
        } else if let (true, Some(command)) = (is_session, text.strip_prefix("$ ")) {
            steps.push(Step { line, command: command.into(), shown: String::new() });
        } else if is_session {
            let step = steps.last_mut().unwrap_or_else(|| panic!("line {line} stands below no command"));
            let is_open = step.shown.is_empty() && step.command.ends_with('\\');
            let end = if is_open { &mut step.command } else { &mut step.shown };
            end.extend([if is_open { "\n" } else { "" }, text, if is_open { "" } else { "\n" }]);
        }
    }
    steps
}

/// Runs a command beside the server's files; returns what it prints, complaints included.
fn run(perigee: &mut Perigee, command: &str) -> String {
    let zones = files_below(perigee.directory(), "zones", "zone");
    let port = perigee.address.port().to_string();
    let command = command.replace("15353", &port).replace("cargo run --release -- ", "perigee ");
    let own = Path::new(env!("CARGO_BIN_EXE_perigee")).parent().expect("a file stands in a directory");
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(iter::once(own.into()).chain(env::split_paths(&path))).expect("no colon in our path");
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1\n{command}")])
        .current_dir(perigee.directory())
        .env("PATH", path)
        .output()
        .expect("a shell runs");
    if files_below(perigee.directory(), "zones", "zone") != zones {
        perigee.wait_for_log("zone published");
    }
    String::from_utf8_lossy(&output.stdout).replace(&port, "15353")
}

/// Holds what came against what is shown.
fn compare(shown: &str, got: &str) -> Result<(), String> {
    if let (Some(shown), Some(got)) = (counts(shown), counts(got)) {
        if !shown.keys().eq(got.keys()) {
            return Err("the page has other answers".into());
        }
        let distance = distance(shown.values().copied().zip(got.values().copied()));
        return if distance < CHI_SQUARE_MAX { Ok(()) } else { Err("the page has other shares".into()) };
    }
    let words = |text: &str| text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let (shown, got): (Vec<String>, Vec<String>) = (words(shown), words(got));
    if shown == got { Ok(()) } else { Err("the page has other words".into()) }
}

/// Reads lines of a count and a word each, as `uniq -c` writes them.
fn counts(text: &str) -> Option<BTreeMap<&str, f64>> {
    let pairs = text.lines().map(|line| {
        let (count, what) = line.trim_start().split_once(' ')?;
        Some((what, f64::from(count.parse::<u32>().ok()?)))
    });
    pairs.collect::<Option<BTreeMap<_, _>>>().filter(|counts| !counts.is_empty())
}

/// How far two counts of the same things are from having the same shares, as chi-square.
fn distance(pairs: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let (ours, theirs) = pairs.clone().fold((0.0, 0.0), |sums, pair| (sums.0 + pair.0, sums.1 + pair.1));
    let scale = f64::sqrt(ours / theirs);
    pairs.map(|(ours, theirs)| (ours / scale - theirs * scale).powi(2) / (ours + theirs)).sum()
}

#[test]
fn commands_are_told_from_what_they_print() {
    let page = "```sh\n$ not run\n```\n```console\n$ one\nsaid\n  by one\n$ two \\\n  more\n$ three\n```\n$ prose\n";
    let step = |line, command: &str, shown: &str| Step { line, command: command.into(), shown: shown.into() };
    assert_eq!(steps(page), [step(5, "one", "said\n  by one\n"), step(8, "two \\\n  more", ""), step(10, "three", "")]);
}

#[test]
fn what_a_page_shows_is_held_against_what_came() {
    let rows = [
        ("192.0.2.1\n", "192.0.2.1\n", true),
        ("a\tIN  A\n", "a IN A\n", true),
        ("192.0.2.1\n", "192.0.2.2\n", false),
        ("", "dig: couldn't get address\n", false),
        ("    333 a\n    667 b\n", "    361 a\n    639 b\n", true),
        ("    333 a\n    667 b\n", "    500 a\n    500 b\n", false),
        ("    333 a\n    667 b\n", "     10 a\n    990 b\n", false),
        ("    333 a\n    667 b\n", "   1000 b\n", false),
        ("    333 a\n    667 b\n", "", false),
    ];
    for (shown, got, same) in rows {
        assert_eq!(compare(shown, got).is_ok(), same, "{shown:?} {got:?}");
    }
}
