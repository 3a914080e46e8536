//! One file per subcommand; each a thin caller of the rooms above.

pub mod check; // reads configuration and zones, tells all that is wrong
pub mod health; // asks a running server one question
pub mod overrides; // says what to hold of targets, and takes it back
pub mod serve; // serves until it is told to stop
