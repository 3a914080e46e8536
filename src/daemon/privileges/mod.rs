//! Giving up the rights that only taking ports needs.
//!
//! `linux.rs` does it, and sees to it that it is done; `portable.rs` stands in on other systems, where nobody can be
//! become.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod portable;

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
use portable as system;

use std::path::Path;

use nix::unistd::{Gid, Group, Uid, User, geteuid};
use rustix::fs::{Access, access};

use crate::config::{Config, Server};
use crate::diagnostic::Diagnostic;

/// Who the process is to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// What messages call the user.
    pub(super) name: String,
    pub(super) uid: Uid,
    pub(super) gid: Gid,
    /// All groups of the user, in order; with `gid` among them.
    pub(super) groups: Vec<Gid>,
}

/// What a process has left.
#[derive(Debug)]
pub(super) enum Left {
    /// All of it: it is root, and to stay so.
    Everything,
    /// The capabilities of these names.
    Capabilities(Vec<&'static str>),
}

impl Identity {
    /// Finds the user and the group that are configured; `None` if none is.
    pub(super) fn look_up(server: &Server) -> Result<Option<Self>, Vec<Diagnostic>> {
        let Server { user, group, .. } = server;
        if user.is_empty() {
            return Ok(None);
        }
        find(user, group).map(Some).map_err(|(message, help)| vec![Diagnostic::error(None, message).help(help)])
    }
}

/// Finds a user by name or number, and a group likewise; fails with a message and with help.
fn find(user: &str, group: &str) -> Result<Identity, (String, String)> {
    let broken = |key: &'static str| {
        move |error: nix::Error| (format!("cannot look up `{key}`: {error}"), "see /etc/nsswitch.conf".to_owned())
    };
    let number = user.parse().ok().map(Uid::from_raw);
    let known = match (User::from_name(user).map_err(broken("server.user"))?, number) {
        (None, Some(uid)) => User::from_uid(uid).map_err(broken("server.user"))?,
        (known, _) => known,
    };
    let gid = match (group, &known) {
        ("", Some(user)) => user.gid,
        ("", None) if number.is_some() => {
            let message = format!("the number `{user}` of `server.user` belongs to no user, so it has no group");
            return Err((message, "set `server.group` too".to_owned()));
        }
        ("", None) => Gid::from_raw(0),
        (group, _) => {
            let known = Group::from_name(group).map_err(broken("server.group"))?.map(|group| group.gid);
            known.or_else(|| group.parse().ok().map(Gid::from_raw)).ok_or_else(|| {
                let help = format!("make it with `groupadd --system {group}`, or name one that `getent group` lists");
                (format!("there is no group `{group}`, which `server.group` names"), help)
            })?
        }
    };
    match (known, number) {
        (Some(known), _) => {
            let mut groups = system::groups_of(&known.name, gid).map_err(broken("server.user"))?;
            groups.push(gid);
            groups.sort_by_key(|gid| gid.as_raw());
            groups.dedup();
            Ok(Identity { name: known.name, uid: known.uid, gid, groups })
        }
        (None, Some(uid)) => Ok(Identity { name: user.to_owned(), uid, gid, groups: vec![gid] }),
        (None, None) => {
            let help =
                format!("make it with `useradd --system --user-group {user}`, or name one that `getent passwd` lists");
            Err((format!("there is no user `{user}`, which `server.user` names"), help))
        }
    }
}

/// Becomes who is configured, and gives up all that serving does not need; a failure must end the process.
///
/// Without a user, a process of root keeps what it has, with a warning. To be called while there is one thread: those
/// that are started later have what this one has left.
pub(super) fn give_up(identity: Option<&Identity>) -> Result<(), Vec<Diagnostic>> {
    match system::give_up(identity) {
        Ok(Left::Everything) => {
            let help = "set `server.user`, and perigee becomes that user once its ports are taken";
            tracing::warn!(help, "serving as root");
        }
        Ok(Left::Capabilities(capabilities)) => {
            let user = identity.map_or_else(|| geteuid().to_string(), |identity| identity.name.clone());
            tracing::info!(user, ?capabilities, "rights given up");
        }
        Err(why) => {
            let user = identity.map_or_else(|| geteuid().to_string(), |identity| identity.name.clone());
            let message = format!("cannot serve as `{user}`: {why}");
            let help = "start as root, or as that user and without `server.user`";
            return Err(vec![Diagnostic::error(None, message).help(help)]);
        }
    }
    Ok(())
}

/// Warns of files that are to be written and cannot be by who serves.
pub(super) fn warn_of_unwritable(config: &Config) {
    let file = &config.health.state_file;
    // A file is replaced by one that is written beside it.
    let directory = file.parent().map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
    let Some(directory) = directory else { return };
    if let Err(error) = access(directory, Access::WRITE_OK | Access::EXEC_OK) {
        let help = "make the directory writable for the user that serves, or set `health.state-file`";
        tracing::warn!(file = %file.display(), %error, help, "states will not be kept for the next start");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(user: &str, group: &str) -> Server {
        Server { user: user.to_owned(), group: group.to_owned(), ..Server::default() }
    }

    #[test]
    fn users_and_groups_are_found_by_name_and_by_number() {
        assert_eq!(Identity::look_up(&server("", "")), Ok(None));
        let root = Identity::look_up(&server("root", "")).unwrap().unwrap();
        assert_eq!((root.uid, root.gid), (Uid::from_raw(0), Gid::from_raw(0)));
        assert_eq!(Identity::look_up(&server("0", "")).unwrap().unwrap(), root);
        let numbers = Identity::look_up(&server("4000000", "4000001")).unwrap().unwrap();
        assert_eq!((numbers.uid, numbers.gid), (Uid::from_raw(4_000_000), Gid::from_raw(4_000_001)));
        assert_eq!(numbers.groups, [numbers.gid]);
    }

    #[test]
    fn whom_there_is_not_is_told() {
        let rows = [
            ("nobody-here", "", "there is no user `nobody-here`, which `server.user` names"),
            ("root", "none-here", "there is no group `none-here`, which `server.group` names"),
            ("4000000", "", "the number `4000000` of `server.user` belongs to no user, so it has no group"),
        ];
        for (user, group, expected) in rows {
            assert_eq!(Identity::look_up(&server(user, group)).unwrap_err()[0].message, expected);
        }
    }
}
