//! Fake backends fail and recover: up, down, up.
