//! What Linux lets a process give up: its user, its groups, its capabilities, and ever to gain any.
//!
//! The system does all of this to the one thread that asks.

use std::ffi::CString;
use std::io;

use nix::unistd::{Gid, Uid, geteuid, getgrouplist, getgroups, getresgid, getresuid, setgroups, setresgid, setresuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_ambient_set, capability_is_in_bounding_set,
    clear_ambient_capability_set, no_new_privs, remove_capability_from_bounding_set, set_capabilities,
    set_keep_capabilities, set_no_new_privs,
};

use super::{Identity, Left};

/// What serving may need, and what it is called.
const USEFUL: [(CapabilitySet, &str); 2] = [
    // Addresses that come later have a low port as well.
    (CapabilitySet::NET_BIND_SERVICE, "CAP_NET_BIND_SERVICE"),
    // For echoes, where `net.ipv4.ping_group_range` does not let the group have sockets for them. To listen in on every
    // packet and to forge any is much, so root's is not kept: only who was given it by name has it on.
    (CapabilitySet::NET_RAW, "CAP_NET_RAW"),
];
/// How many capabilities a set has room for.
const CAPABILITIES_MAX: u32 = u64::BITS;

/// All groups of a user, the one given among them.
pub(super) fn groups_of(user: &str, gid: Gid) -> nix::Result<Vec<Gid>> {
    let user = CString::new(user).map_err(|_| nix::Error::EINVAL)?;
    getgrouplist(&user, gid)
}

/// Becomes who is wanted, or stays who it is, with no more capabilities than serving may need; and looks that it is so.
pub(super) fn give_up(identity: Option<&Identity>) -> Result<Left, String> {
    let is_root = geteuid().is_root();
    let other = identity.filter(|identity| identity.uid != geteuid());
    let useful = match other {
        Some(_) => CapabilitySet::NET_BIND_SERVICE,
        None if is_root => return Ok(Left::Everything),
        None => USEFUL.iter().map(|(capability, _)| *capability).collect(),
    };
    be_alone()?;
    let held = capabilities(None).map_err(named("its capabilities cannot be read"))?.permitted;
    let kept = held & useful;
    leave_bounding_set(kept)?;
    if let Some(identity) = other {
        become_user(identity)?;
    }
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(named("capabilities cannot be given up"))?;
    clear_ambient_capability_set().map_err(named("ambient capabilities cannot be given up"))?;
    set_no_new_privs(true).map_err(named("programs cannot be kept from gaining rights"))?;
    verify(other, kept)?;
    let names = USEFUL.iter().filter(|(capability, _)| kept.contains(*capability)).map(|(_, name)| *name);
    Ok(Left::Capabilities(names.collect()))
}

/// Fails if there is another thread: it would keep what this one gives up.
fn be_alone() -> Result<(), String> {
    // Where /proc cannot be read there is no other way to know.
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads == 1 { Ok(()) } else { Err(format!("{threads} threads run already, and each has rights of its own")) }
}

/// Takes all but `kept` from what programs that are run could ever have.
fn leave_bounding_set(kept: CapabilitySet) -> Result<(), String> {
    for capability in bounding_set() - kept {
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // Who may not do so, as who is not root, gains nothing by them: no program gives any (no_new_privs).
            Err(rustix::io::Errno::PERM) => return Ok(()),
            Err(error) => return Err(named("the bounding set cannot be narrowed")(error)),
        }
    }
    Ok(())
}

/// What the bounding set has, as far as the kernel knows capabilities.
fn bounding_set() -> CapabilitySet {
    let all = (0..CAPABILITIES_MAX).map(|number| CapabilitySet::from_bits_retain(1 << number));
    // The kernel fails for the first that it does not know.
    let known = all.map_while(|one| capability_is_in_bounding_set(one).ok().map(|is_in| (one, is_in)));
    known.filter_map(|(one, is_in)| is_in.then_some(one)).collect()
}

/// Takes a user's groups and then its number, without losing capabilities by that.
fn become_user(Identity { uid, gid, groups, .. }: &Identity) -> Result<(), String> {
    set_keep_capabilities(true).map_err(named("capabilities cannot be kept"))?;
    setgroups(groups).map_err(named("its groups cannot be taken"))?;
    setresgid(*gid, *gid, *gid).map_err(named("its group cannot be taken"))?;
    setresuid(*uid, *uid, *uid).map_err(named("it cannot become that user"))?;
    set_keep_capabilities(false).map_err(named("capabilities cannot be given up"))
}

/// Asks the kernel whether all is as it was asked for.
fn verify(identity: Option<&Identity>, kept: CapabilitySet) -> Result<(), String> {
    let broken = named("what is left cannot be read");
    let CapabilitySets { effective, permitted, inheritable } = capabilities(None).map_err(&broken)?;
    let held = effective | permitted | inheritable;
    let ambient = held.iter().any(|one| capability_is_in_ambient_set(one).unwrap_or(true));
    if held != kept || ambient || !no_new_privs().map_err(&broken)? {
        return Err(format!("it still has more rights than {kept:?}"));
    }
    let Some(identity) = identity else { return Ok(()) };
    let (users, groups) = (getresuid().map_err(io_error)?, getresgid().map_err(io_error)?);
    let mut others = getgroups().map_err(io_error)?;
    others.sort_by_key(|gid| gid.as_raw());
    let is_that_user = [users.real, users.effective, users.saved] == [identity.uid; 3];
    let is_that_group = [groups.real, groups.effective, groups.saved] == [identity.gid; 3];
    if !is_that_user || !is_that_group || others != identity.groups {
        return Err("the kernel still has it as another".to_owned());
    }
    let root = Uid::from_raw(0);
    if !identity.uid.is_root() && setresuid(root, root, root).is_ok() {
        return Err("it could become root again".to_owned());
    }
    Ok(())
}

/// Says what cannot be done, and what the system says of it.
fn named<E: Into<io::Error>>(what: &'static str) -> impl Fn(E) -> String {
    move |error| format!("{what}: {}", error.into())
}

fn io_error(error: nix::Error) -> String {
    named("what is left cannot be read")(error)
}
