//! UDP, TCP pipelining, slow clients, octet noise.
