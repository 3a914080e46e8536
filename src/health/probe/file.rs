//! Files of states: what others say of an entry.

use super::Prober;
use crate::health::Reason;
use crate::health::extfile::Said;

impl Prober {
    /// Finds what the file called `name` says of an entry; returns its weight.
    pub(super) fn look_up(&self, name: &str, entry: &str) -> Result<Option<u32>, Reason> {
        let files = self.files.borrow();
        let Some(states) = files.get(name) else {
            return Err(Reason::File(format!("there is no file of states `{name}`")));
        };
        match states.get(entry) {
            Some(Said { up: true, weight }) => Ok(weight),
            Some(Said { up: false, .. }) => Err(Reason::File(format!("`{name}` says that `{entry}` is down"))),
            None => Err(Reason::File(format!("`{name}` says nothing of `{entry}`"))),
        }
    }
}
