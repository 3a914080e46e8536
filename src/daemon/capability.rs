//! Whether the builtins exist that a configuration lets scripts call or not.
//!
//! The configuration cannot know: which there are, the scripts' room does.

use crate::config::{Config, nearest};
use crate::diagnostic::{Diagnostic, Position};
use crate::script::builtins;

/// Tells every word of the lists of builtins that is neither a builtin nor a family of them.
pub fn check(config: &Config) -> Vec<Diagnostic> {
    let mut errors = Vec::new();
    let server = [("lua.allow", &config.lua.allow), ("lua.deny", &config.lua.deny)];
    for (key, words) in server {
        find_unknown(key, words, None, &mut errors);
    }
    for zone in &config.zone {
        for (key, words) in [("zone.lua-allow", &zone.lua_allow), ("zone.lua-deny", &zone.lua_deny)] {
            find_unknown(key, words.as_deref().unwrap_or_default(), zone.position.as_ref(), &mut errors);
        }
    }
    errors
}

fn find_unknown(key: &str, words: &[String], position: Option<&Position>, errors: &mut Vec<Diagnostic>) {
    let known = || builtins().iter().flat_map(|builtin| [builtin.name, builtin.family]);
    for word in words.iter().filter(|word| !known().any(|known| known == **word)) {
        let help = match nearest(word, known()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                let mut families: Vec<_> = builtins().iter().map(|builtin| format!("`{}`", builtin.family)).collect();
                families.dedup();
                format!("name a function of `docs/lua.md`, or a family: {}", families.join(", "))
            }
        };
        let message = format!("`{key}` names `{word}`, which is neither a function for scripts nor a family of them");
        errors.push(Diagnostic::error(position.cloned(), message).help(help));
    }
}
