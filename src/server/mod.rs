//! Transports; octets only.
