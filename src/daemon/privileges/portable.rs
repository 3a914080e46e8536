//! What every system offers: to stay who one is.

use nix::unistd::{Gid, geteuid};

use super::{Identity, Left};

/// The one group that is known.
pub(super) fn groups_of(_user: &str, gid: Gid) -> nix::Result<Vec<Gid>> {
    Ok(vec![gid])
}

/// Fails if another user is to be become.
pub(super) fn give_up(identity: Option<&Identity>) -> Result<Left, String> {
    match identity {
        Some(identity) if identity.uid != geteuid() => Err("only Linux has what it takes".to_owned()),
        None if geteuid().is_root() => Ok(Left::Everything),
        Some(_) | None => Ok(Left::Capabilities(Vec::new())),
    }
}
