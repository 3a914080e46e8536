//! What the scripts of one zone may do.

use std::sync::Arc;

use super::Modules;
use crate::config;

/// What the scripts of one zone may do: shared by its programs, never changed.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// What a run may use up.
    pub limits: config::Lua,
    /// What its scripts may require.
    pub modules: Arc<Modules>,
}
