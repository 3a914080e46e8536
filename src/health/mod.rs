//! Is a target up.
