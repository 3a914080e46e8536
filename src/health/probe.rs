//! One probe of each kind: HTTP(S) pinned to an address, TCP connect.

/// The most octets of a body that are read when a check sets no limit of its own.
pub const BODY_OCTETS_MAX: u64 = 1 << 20;
