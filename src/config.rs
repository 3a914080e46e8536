//! perigee.toml to a checked Config; every default and every limit stands here.
