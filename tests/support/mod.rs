//! A server on a free port, questions to it, fake backends that can be told to fail.
