//! Sockets that whoever starts the process has bound for it: socket activation, as systemd has it.

use listenfd::ListenFd;

use crate::diagnostic::Diagnostic;
use crate::server::{self, Given, Listeners};

/// Takes up the sockets that were handed over, for so many workers; `None` if there are none.
///
/// They come in `LISTEN_FDS`, with `LISTEN_PID` and `LISTEN_FDNAMES`, and stand in the place of `server.listen`: who hands
/// them over says in one place what is served. Must be called before there is a second thread, as it takes them out of
/// the environment, so that programs that checks run do not take them for theirs.
pub(super) fn take(workers: usize) -> Result<Option<Listeners>, Vec<Diagnostic>> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut given = ListenFd::from_env();
    if given.len() == 0 {
        return Ok(None);
    }
    let (mut udp, mut tcp, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..given.len() {
        // Names need not be unique: systemd calls all of one unit by its name.
        let name = match names.split(':').nth(index).filter(|name| !name.is_empty()) {
            Some(name) => format!("{name} (number {})", index + 1),
            None => format!("number {}", index + 1),
        };
        if let Ok(Some(socket)) = given.take_udp_socket(index) {
            udp.push(Given { name, socket });
        } else if let Ok(Some(socket)) = given.take_tcp_listener(index) {
            tcp.push(Given { name, socket });
        } else {
            problems.push(
                Diagnostic::error(
                    None,
                    format!("the socket `{name}` that was handed over is neither of UDP nor of TCP"),
                )
                .help("bind `ListenDatagram=` and `ListenStream=` of the socket unit to an address and a port"),
            );
        }
    }
    let adopted = server::adopt(udp, tcp, workers);
    match adopted {
        Ok(listeners) if problems.is_empty() => Ok(Some(listeners)),
        adopted => {
            problems.extend(adopted.err().unwrap_or_default());
            Err(problems)
        }
    }
}
