//! What the scripts of one zone may do.

use std::sync::Arc;
use std::time::Duration;

use super::Modules;
use super::api::{Builtin, builtins};
use crate::config;
use crate::dns::NameRef;
use crate::health::check::{Reach, TEXTS_OCTETS_MAX};
use crate::health::{Check, Kind};

/// What the scripts of one zone may do: shared by its programs, never changed.
#[derive(Clone, Debug)]
pub struct Policy {
    /// What a run may use up and reach: what the server grants, with what its zone sets in place of it.
    pub limits: config::Lua,
    /// What its scripts may require.
    pub modules: Arc<Modules>,
    /// Where its targets may be: the networks of `limits`, as its checks share them.
    reach: Arc<Reach>,
    /// The interval of checks that set none.
    interval: Duration,
    /// The keys of `limits` that the zone sets, as they are called in `[lua]`.
    of_zone: Vec<&'static str>,
    /// The builtins that may not be called, each with the key that says so.
    denied: Vec<(&'static str, &'static str)>,
}

impl Policy {
    /// What a server grants, with what a zone's table sets in place of it.
    pub fn new(server: &config::Lua, zone: Option<&config::Zone>) -> Self {
        let mut limits = server.clone();
        let mut of_zone = Vec::new();
        if let Some(zone) = zone {
            let mut set = |key, is_set| {
                if is_set {
                    of_zone.push(key);
                }
            };
            set("exec-limit", put(&mut limits.exec_limit, zone.exec_limit.as_ref()));
            set("time-limit", put(&mut limits.time_limit, zone.time_limit.as_ref()));
            set("memory-limit", put(&mut limits.memory_limit, zone.memory_limit.as_ref()));
            set("result-max", put(&mut limits.result_max, zone.result_max.as_ref()));
            set("allow", put(&mut limits.allow, zone.lua_allow.as_ref()));
            set("deny", put(&mut limits.deny, zone.lua_deny.as_ref()));
            let (names, networks) = (zone.lookup_names.clone().map(Some), zone.probe_networks.clone().map(Some));
            set("lookup-names", put(&mut limits.lookup_names, names.as_ref()));
            set("probe-networks", put(&mut limits.probe_networks, networks.as_ref()));
            let refused = zone.probe_networks_refused.as_ref();
            set("probe-networks-refused", put(&mut limits.probe_networks_refused, refused));
            set("exec-programs", put(&mut limits.exec_programs, zone.exec_programs.as_ref()));
        }
        let denied = denied(&limits.allow, &limits.deny);
        let (allowed, refused) = (limits.probe_networks.clone(), limits.probe_networks_refused.clone());
        let reach = Arc::new(Reach { allowed, refused });
        let interval = config::Health::default().interval;
        Self { limits, modules: Arc::default(), reach, interval, of_zone, denied }
    }

    /// The same where checks that set no interval have this one.
    #[must_use]
    pub fn with_interval(self, interval: Duration) -> Self {
        Self { interval, ..self }
    }

    /// The same with modules.
    #[must_use]
    pub fn with_modules(self, modules: Modules) -> Self {
        Self { modules: Arc::new(modules), ..self }
    }

    /// What the key that sets a limit is called, as the operator wrote it.
    pub fn key(&self, key: &'static str) -> String {
        match (self.of_zone.contains(&key), key) {
            (false, key) => format!("`lua.{key}`"),
            (true, "allow" | "deny") => format!("`zone.lua-{key}`"),
            (true, key) => format!("`zone.{key}`"),
        }
    }

    /// Why a builtin may not be called, if so; reads on from its name.
    pub fn refuses_call(&self, builtin: &str) -> Option<String> {
        let (_, key) = self.denied.iter().find(|(denied, _)| *denied == builtin)?;
        Some(format!("is not allowed in this zone ({})", self.key(key)))
    }

    /// The builtins that may not be called.
    pub(super) fn denied(&self) -> impl Iterator<Item = &'static str> {
        self.denied.iter().map(|(builtin, _)| *builtin)
    }

    /// Where the targets of its zone may be.
    pub fn reach(&self) -> &Arc<Reach> {
        &self.reach
    }

    /// The interval of checks that set none.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Why a check may not be made, if so; reads on from the name of the builtin that asks for it.
    ///
    /// Of one that has a name to resolve nobody knows yet where it leads: the prober holds what it finds to the reach of
    /// the check.
    pub fn refuses_probe(&self, check: &Check) -> Option<String> {
        if check.texts_octets() > TEXTS_OCTETS_MAX {
            return Some(format!("may not make a check whose texts have more than {TEXTS_OCTETS_MAX} octets together"));
        }
        match &check.kind {
            Kind::Exec { command, .. } => {
                if let Some(why) = self.refuses_program(command.first().map_or("", AsRef::as_ref)) {
                    return Some(why);
                }
            }
            // Nothing is sent to anyone.
            Kind::File { .. } | Kind::Fixed { .. } | Kind::Unusable { .. } => return None,
            Kind::Tcp { .. } | Kind::Tls { .. } | Kind::Http { .. } => {}
            Kind::Icmp(_) | Kind::Dns { .. } | Kind::Grpc { .. } => {}
        }
        let target = check.target().filter(|target| !self.reach.allows(*target))?;
        let key = self.key(if self.reach.refuses(target) { "probe-networks-refused" } else { "probe-networks" });
        Some(format!("may not have `{target}` probed in this zone ({key})"))
    }

    /// Why a program may not be run, if so.
    fn refuses_program(&self, program: &str) -> Option<String> {
        if self.limits.exec_programs.iter().any(|allowed| allowed == program) {
            return None;
        }
        Some(format!("may not have `{program}` run in this zone ({})", self.key("exec-programs")))
    }

    /// Why a name may not be looked up, if so; reads on from the name of the builtin that asks for it.
    pub fn refuses_lookup(&self, name: NameRef<'_>) -> Option<String> {
        let names = self.limits.lookup_names.as_ref()?;
        if names.iter().any(|above| name.is_in(above.as_ref())) {
            return None;
        }
        Some(format!("may not look up `{name}` in this zone ({})", self.key("lookup-names")))
    }
}

impl Default for Policy {
    /// What a server grants that is told nothing.
    fn default() -> Self {
        Self::new(&config::Lua::default(), None)
    }
}

/// Puts a value that is given in the place of another; returns whether it was given.
fn put<T: Clone>(field: &mut T, given: Option<&T>) -> bool {
    given.is_some_and(|given| {
        field.clone_from(given);
        true
    })
}

/// The builtins that two lists leave out, each with the key of the list that does.
fn denied(allow: &[String], deny: &[String]) -> Vec<(&'static str, &'static str)> {
    if allow.is_empty() && deny.is_empty() {
        return Vec::new();
    }
    let is_in =
        |list: &[String], builtin: &Builtin| list.iter().any(|word| *word == builtin.name || *word == builtin.family);
    let key = |builtin: &Builtin| {
        let is_left_out = !allow.is_empty() && !is_in(allow, builtin);
        if is_in(deny, builtin) { Some("deny") } else { is_left_out.then_some("allow") }
    };
    builtins().iter().filter_map(|builtin| Some((builtin.name, key(builtin)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Zone;
    use crate::dns::Name;

    #[test]
    fn a_program_runs_only_where_it_is_listed() {
        let server = config::Lua { exec_programs: vec!["/bin/of-server".into()], ..config::Lua::default() };
        let mut zone = Zone::new(Name::root());
        zone.exec_programs = Some(vec!["/bin/of-zone".into()]);
        let rows = [
            (&config::Lua::default(), None, "/bin/any", Some("`lua.exec-programs`")),
            (&server, None, "/bin/of-server", None),
            (&server, None, "/bin/of-server/", Some("`lua.exec-programs`")),
            (&server, Some(&zone), "/bin/of-zone", None),
            (&server, Some(&zone), "/bin/of-server", Some("`zone.exec-programs`")),
        ];
        for (server, zone, program, key) in rows {
            let check = Check::new(Kind::Exec { command: [program.into()].into(), address: None });
            let expected = key.map(|key| format!("may not have `{program}` run in this zone ({key})"));
            assert_eq!(Policy::new(server, zone).refuses_probe(&check), expected);
        }
    }
}
