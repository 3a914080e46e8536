//! Tokens to records: directives, omitted owners, TTLs and classes, LUA records, unknown types.
