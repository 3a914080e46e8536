//! The command line: arguments to a call, an error to a message and an exit code.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use perigee::commands::{check, health, overrides, serve};
use tikv_jemallocator::Jemalloc;

/// Gives memory that a burst has used back for other use, where the system's keeps it to the thread that had it.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// An authoritative DNS server whose records can be small Lua scripts.
#[derive(Parser)]
#[command(name = "perigee", version)]
struct CommandLine {
    /// The configuration file [default: what PERIGEE_CONFIG names, or perigee.toml if there is one]
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves until it is told to stop
    Serve,
    /// Reads configuration and zones, tells all that is wrong, and exits with 1 if any of it is an error
    Check(check::Arguments),
    /// Asks the running server one question by UDP, and exits with 1 if it does not answer
    Health(health::Arguments),
    /// Says what to hold of targets, whatever their probes say, and takes it back
    Override(overrides::Arguments),
}

fn main() -> ExitCode {
    let line = CommandLine::parse();
    // Not by clap: for an option that may stand behind the subcommand, it would refuse a variable that is set to nothing.
    let variable = std::env::var_os("PERIGEE_CONFIG").filter(|path| !path.is_empty());
    let config = line.config.or_else(|| variable.map(PathBuf::from));
    match line.command {
        Command::Serve => serve::run(config.as_deref(), purge_aside),
        Command::Check(arguments) => check::run(config.as_deref(), &arguments),
        Command::Health(arguments) => health::run(config.as_deref(), &arguments),
        Command::Override(arguments) => overrides::run(config.as_deref(), &arguments),
    }
}

/// Has the allocator give back unused memory by threads of its own, from now on.
///
/// Left to itself it starts them before anything else, and they would keep the rights of root that are given up later.
fn purge_aside() {
    let (name, mut is_on) = (c"background_thread", true);
    // SAFETY: the name ends with a zero, and `is_on` has the type and the size that jemalloc documents for it.
    let failure = unsafe {
        tikv_jemalloc_sys::mallctl(
            name.as_ptr(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            (&raw mut is_on).cast(),
            size_of::<bool>(),
        )
    };
    if failure != 0 {
        eprintln!("warning: unused memory is given back late: jemalloc has no threads for it (error {failure})");
    }
}
