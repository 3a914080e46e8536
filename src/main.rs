//! The command line: arguments to a call, an error to a message and an exit code.

fn main() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let (config, _) = perigee::config::Config::load(None, std::env::vars_os()).unwrap();
    if let Err(diagnostics) = perigee::daemon::run(&config) {
        for diagnostic in diagnostics {
            eprintln!("{diagnostic}");
        }
        std::process::exit(1);
    }
}
