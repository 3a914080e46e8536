//! Lua; the only room that names mlua.
