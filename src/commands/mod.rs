//! One file per subcommand; each a thin caller of the rooms above.

pub mod check; // reads configuration and zones, tells all that is wrong
pub mod serve; // serves until it is told to stop
