//! One file per subcommand; each a thin caller of the rooms above.
