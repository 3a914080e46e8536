//! One file per subcommand; each a thin caller of the rooms above.

pub mod health; // asks a running server one question
