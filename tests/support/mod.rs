//! A server on a free port, questions to it, fake backends that can be told to fail.

pub(crate) mod backend; // a web server that answers as it is told, and tells what it was asked
