//! What scripts tell the operator, and chance as PowerDNS offers it.

use rand::RngExt;

use super::{Api, Family};
use crate::script::note::Note;

/// Builtins around a script's work.
pub(super) const FAMILY: Family = Family { install };

/// The level of a line that names none: a warning.
const LEVEL_DEFAULT: i64 = 4;

fn install(api: &mut Api<'_>) -> mlua::Result<()> {
    // Writes a line to the log, at a level of `pdns.loglevels`. Of each record it is heard once a second.
    //
    // `www 30 IN LUA A ";if not ecswho then pdnslog('no client subnet', pdns.loglevels.Info) end return '192.0.2.1'"`
    api.function("pdnslog", |context, arguments| {
        let text = arguments.text()?.to_string_lossy();
        let level = arguments.optional_number()?.unwrap_or(LEVEL_DEFAULT);
        context.note(Note::new(level, text));
        Ok(())
    })?;
    // A random whole number below `n`, or of 32 bits; 0 below 0.
    api.function("pdnsrandom", |context, arguments| {
        // PowerDNS reads the number into 32 bits, whatever it is.
        Ok(match arguments.optional_number()?.map(|bound| bound as u32) {
            None => context.random().random::<u32>(),
            Some(0) => 0,
            Some(bound) => context.random().random_range(0..bound),
        })
    })?;
    // There it is the hook behind the execution limit. Here it takes anything and does nothing.
    api.function("report", |_, arguments| {
        arguments.rest();
        Ok(())
    })
}
