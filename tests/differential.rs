//! perigee beside NSD, Knot and BIND: what those three agree on in answers, perigee answers as well.
//!
//! `tests/differential/run.py` makes random zones and questions from a seed, and its README.md tells how to ask a
//! hundred thousand. Here a few worlds are asked about, the same each time.

use std::path::Path;
use std::process::{Command, Stdio};

/// What the driver needs, and the packages that have it.
const NEEDED: [(&str, &[&str], &str); 4] = [
    ("python3", &["-c", "import dns.message"], "python3-dnspython"),
    ("nsd", &["-v"], "nsd"),
    ("knotd", &["-V"], "knot"),
    ("named", &["-V"], "bind9"),
];

/// The command with the folder in its path where Debian keeps servers.
fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()));
    command
}

#[test]
fn what_three_servers_agree_on_is_answered() {
    for (program, arguments, package) in NEEDED {
        let runs = command(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(runs.is_ok(), "there is no `{program}` here; install the package `{package}`");
        // NSD tells its version and fails.
        assert!(
            program == "nsd" || runs.unwrap().success(),
            "`{program}` fails; is the package `{package}` installed?"
        );
    }
    let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential/run.py");
    let output = command("python3")
        .arg(driver)
        .args(["--perigee", env!("CARGO_BIN_EXE_perigee")])
        .args(["--seed", "1", "--worlds", "5", "--questions", "400"])
        .output()
        .expect("python3 has just run");
    let (told, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}\n{complained}");
    assert!(told.contains("2000 questions"), "nothing may be left out unseen:\n{told}");
}
