//! Commands: a program of the operator's, run without a shell.

use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time;

use super::http::leading_number;
use crate::health::Reason;

/// How many octets of each output are kept; the rest is read and forgotten.
const OUTPUT_OCTETS_MAX: usize = 4 << 10;

/// How many characters of the output a reason has.
const REASON_CHARS_MAX: usize = 200;

/// For how long output is still read of a command that has ended, should somebody else hold it open.
const OUTPUT_GRACE: Duration = Duration::from_millis(100);

/// Where programs are looked for that a command runs itself, if perigee was not told.
const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";

/// Runs a command and judges how it ends; returns the weight that its output begins with.
///
/// The caller bounds how long it takes, and how many run at once: whoever drops this ends the command and all it has started.
pub(super) async fn run(command: &[Box<str>]) -> Result<Option<u32>, Reason> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Reason::Unusable("the command is empty".to_owned()));
    };
    let path = std::env::var_os("PATH").unwrap_or_else(|| PATH_DEFAULT.into());
    let mut process = Command::new(&**program);
    process.args(arguments.iter().map(|argument| &**argument));
    process.env_clear().env("PATH", path).current_dir("/");
    process.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own can be ended as a whole; dropped, the process itself is also waited for, and is no zombie.
    process.process_group(0).kill_on_drop(true);
    let child = process.spawn().map_err(|error| Reason::Exit(format!("cannot be run: {}", error.kind())))?;
    let (status, out, err) = watch(child).await?;
    if status.success() {
        return Ok(leading_number(&out));
    }
    let said = if err.trim_ascii().is_empty() { &out } else { &err };
    Err(Reason::Exit(in_words(status, said)))
}

/// Waits until a command has ended; returns how, and what it wrote to its two outputs.
async fn watch(mut child: Child) -> Result<(ExitStatus, Vec<u8>, Vec<u8>), Reason> {
    let group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let status = {
        let mut reading = pin!(async { tokio::join!(read(stdout, &mut out), read(stderr, &mut err)) });
        let mut is_read = false;
        let status = tokio::select! {
            status = child.wait() => status,
            // It has closed its outputs, and goes on.
            _ = &mut reading => {
                is_read = true;
                child.wait().await
            }
        };
        // What it leaves behind would pile up from probe to probe.
        drop(group);
        if !is_read {
            // What it wrote is there already, and whoever else could hold its outputs open is not asked for.
            let _ = time::timeout(OUTPUT_GRACE, reading).await;
        }
        status
    };
    let status = status.map_err(|error| Reason::Exit(format!("cannot be waited for: {}", error.kind())))?;
    Ok((status, out, err))
}

/// Reads an output to its end, and keeps how it begins.
async fn read(output: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut output) = output else { return };
    let mut octets = [0; 1024];
    while let Ok(length @ 1..) = output.read(&mut octets).await {
        let room = OUTPUT_OCTETS_MAX - kept.len();
        kept.extend_from_slice(&octets[..length.min(room)]);
    }
}

/// The processes of a command, which end when this is dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // All of them may have ended before.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// How a command ended, and the first line it said.
fn in_words(status: ExitStatus, said: &[u8]) -> String {
    let ended = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    };
    let line = said.split(|octet| *octet == b'\n').map(<[u8]>::trim_ascii).find(|line| !line.is_empty());
    match line {
        Some(line) => {
            let line = String::from_utf8_lossy(line);
            let line: String = line.chars().filter(|char| !char.is_control()).take(REASON_CHARS_MAX).collect();
            format!("{ended}: {line}")
        }
        None => ended,
    }
}
