//! Tests from outside: a running server asked by the wire, or text that goes in and comes out.

mod support; // a server on a free port, questions to it, fake backends that can be told to fail

mod command_line; // what `perigee check` tells, and exit codes
mod config; // what files and the environment may say, and the manual that tells it
mod health; // fake backends fail and recover: up, down, up
mod source; // zone files that come, change, break and go
mod transport; // UDP, TCP pipelining, slow clients, octet noise
mod zonefile; // zone files good and bad, and the messages they earn
