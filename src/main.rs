//! The command line: arguments to a call, an error to a message and an exit code.

fn main() {}
