//! What the scripts of one zone may do.

use crate::config;

/// What the scripts of one zone may do: shared by its programs, never changed.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// What a run may use up.
    pub limits: config::Lua,
}
