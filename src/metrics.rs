//! Counters as plain atomic fields, one struct per subsystem.
