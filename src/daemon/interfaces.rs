//! Which addresses `server.listen` comes to on this machine, and which come and go while it serves.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;

use crate::config::{Config, Listen};
use crate::diagnostic::Diagnostic;
use crate::server::{self, Listeners, Orders, Wanted};

/// An interface of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// What it is called.
    pub name: String,
    /// Its number, by which link-local addresses tell their link.
    pub index: u32,
    /// Its addresses, in the system's order.
    pub addresses: Vec<IpAddr>,
}

/// Asks the system for its interfaces.
pub fn present() -> io::Result<Vec<Interface>> {
    let mut interfaces: Vec<Interface> = Vec::new();
    for entry in getifaddrs()? {
        // Linux calls an address by its label, `eth0:1`, if it has one.
        let name = entry.interface_name.split(':').next().unwrap_or_default();
        let place = match interfaces.iter().position(|interface| interface.name == name) {
            Some(place) => place,
            None => {
                // One that is just gone has no number any more.
                let Ok(index) = if_nametoindex(name) else { continue };
                interfaces.push(Interface { name: name.to_owned(), index, addresses: Vec::new() });
                interfaces.len() - 1
            }
        };
        let ip = entry.address.as_ref().and_then(|address| {
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))
        });
        interfaces[place].addresses.extend(ip);
    }
    Ok(interfaces)
}

/// Finds all addresses that are to be served at the start, those that are named before those of interfaces.
///
/// An interface that this machine does not have is an error, as is a link; returns every problem.
pub fn resolve(listen: &[Listen], freebind: bool, present: &[Interface]) -> Result<Vec<Wanted>, Vec<Diagnostic>> {
    let (mut wanted, mut problems) = (Vec::new(), Vec::new());
    for place in listen {
        match named(place, present) {
            Ok(address) => wanted.extend(address.map(|address| Wanted { address, ahead: freebind })),
            Err(problem) => problems.push(problem),
        }
    }
    // The system tells of an address before it is known to be the only one on its link, and may be bound to then.
    wanted.extend(of_interfaces(listen, present).into_iter().map(|address| Wanted { address, ahead: true }));
    if problems.is_empty() && wanted.is_empty() {
        let names: Vec<_> = listen.iter().map(|place| format!("`{place}`")).collect();
        problems.push(
            Diagnostic::error(None, format!("there is no address to listen on: {} has none", names.join(", ")))
                .help("give it one, or name an address in `server.listen`"),
        );
    }
    if problems.is_empty() { Ok(wanted) } else { Err(problems) }
}

/// The address that is named, if it is one and not an interface; fails if its interface is none of this machine's.
fn named(place: &Listen, present: &[Interface]) -> Result<Option<SocketAddr>, Diagnostic> {
    match place {
        Listen::Address(address @ SocketAddr::V6(v6)) if v6.scope_id() != 0 => {
            let is_there = present.iter().any(|interface| interface.index == v6.scope_id());
            if is_there { Ok(Some(*address)) } else { Err(no_interface(place, &v6.scope_id().to_string(), present)) }
        }
        Listen::Address(address) => Ok(Some(*address)),
        Listen::OnLink(ip, link, port) => match present.iter().find(|interface| interface.name == *link) {
            Some(interface) => Ok(Some(SocketAddrV6::new(*ip, *port, 0, interface.index).into())),
            None => Err(no_interface(place, link, present)),
        },
        Listen::Interface(name, _) if present.iter().any(|interface| interface.name == *name) => Ok(None),
        Listen::Interface(name, _) => Err(no_interface(place, name, present)),
    }
}

/// Says which interfaces there are.
fn no_interface(place: &Listen, name: &str, present: &[Interface]) -> Diagnostic {
    let names: Vec<_> = present.iter().map(|one| format!("`{}` (number {})", one.name, one.index)).collect();
    Diagnostic::error(None, format!("cannot listen on `{place}`: this machine has no interface `{name}`"))
        .help(format!("it has {}; names of hosts are not looked up here", names.join(", ")))
}

/// The addresses of the interfaces that are named, but for those that are served anyway.
fn of_interfaces(listen: &[Listen], present: &[Interface]) -> BTreeSet<SocketAddr> {
    let of = |name: &str, port: u16| {
        let interface = present.iter().find(|interface| interface.name == name);
        let addresses = interface.into_iter().flat_map(|interface| {
            interface.addresses.iter().map(|ip| match ip {
                IpAddr::V6(ip) if ip.is_unicast_link_local() => {
                    SocketAddr::from(SocketAddrV6::new(*ip, port, 0, interface.index))
                }
                ip => SocketAddr::new(*ip, port),
            })
        });
        addresses.collect::<Vec<_>>()
    };
    let fixed: Vec<_> = listen.iter().filter_map(|place| named(place, present).ok().flatten()).collect();
    let covers = |fixed: &SocketAddr, address: &SocketAddr| {
        let is_wildcard = fixed.ip().is_unspecified() && fixed.is_ipv4() == address.is_ipv4();
        fixed == address || (is_wildcard && fixed.port() == address.port())
    };
    let places = listen.iter().filter_map(|place| match place {
        Listen::Interface(name, port) => Some((name, *port)),
        Listen::Address(_) | Listen::OnLink(..) => None,
    });
    let addresses = places.flat_map(|(name, port)| of(name, port));
    addresses.filter(|address| !fixed.iter().any(|fixed| covers(fixed, address))).collect()
}

/// The addresses of interfaces that are served, kept as the interfaces are.
pub(super) struct Followed {
    listen: Vec<Listen>,
    workers: usize,
    served: BTreeSet<SocketAddr>,
    /// Those that could not be taken, which is told once.
    refused: BTreeSet<SocketAddr>,
}

impl Followed {
    /// Follows what is served by now; `None` if no interface is named.
    pub(super) fn new(config: &Config, listeners: &Listeners) -> Option<Self> {
        let listen = config.server.listen.clone();
        let is_followed = |address: &SocketAddr| {
            let is_asked = |place: &Listen| matches!(place, Listen::Interface(_, port) if *port == address.port());
            let is_named = |place: &Listen| matches!(place, Listen::Address(named) if named == address);
            listen.iter().any(is_asked) && !listen.iter().any(is_named)
        };
        let served = listeners.addresses().iter().copied().filter(is_followed).collect();
        let is_asked = listen.iter().any(|place| matches!(place, Listen::Interface(..)));
        is_asked.then(|| Self { listen, workers: listeners.workers(), served, refused: BTreeSet::new() })
    }

    /// Looks at the interfaces; serves what has come, and leaves what has gone.
    pub(super) fn look(&mut self, orders: &Orders) {
        match present() {
            Ok(present) => self.take(&present, orders),
            Err(error) => {
                tracing::warn!(%error, "cannot look at the interfaces, their addresses are served as they were")
            }
        }
    }

    fn take(&mut self, present: &[Interface], orders: &Orders) {
        let wanted = of_interfaces(&self.listen, present);
        let gone: Vec<_> = self.served.difference(&wanted).copied().collect();
        if !gone.is_empty() {
            orders.leave(&gone);
            tracing::warn!(addresses = ?gone, "not served any more: the interface does not have them");
        }
        self.served.retain(|address| !gone.contains(address));
        self.refused.retain(|address| wanted.contains(address));
        let come: Vec<_> = wanted.difference(&self.served).copied().collect();
        come.into_iter().for_each(|address| self.serve(address, orders));
    }

    fn serve(&mut self, address: SocketAddr, orders: &Orders) {
        match server::bind(&[Wanted { address, ahead: true }], self.workers) {
            Ok(listeners) => {
                orders.serve(listeners);
                self.served.insert(address);
                self.refused.remove(&address);
                tracing::info!(%address, "served from now on: an interface has it");
            }
            Err(problems) => {
                if self.refused.insert(address) {
                    super::log_diagnostics(&problems);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Vec<Interface> {
        let interface = |name: &str, index, addresses: &[&str]| Interface {
            name: name.to_owned(),
            index,
            addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
        };
        vec![
            interface("lo", 1, &["127.0.0.1", "::1"]),
            interface("eth0", 2, &["192.0.2.1", "2001:db8::1", "fe80::1"]),
            interface("tun0", 9, &[]),
        ]
    }

    #[test]
    fn places_come_to_addresses() {
        let rows: &[(&[&str], &[&str])] = &[
            (&["127.0.0.1:53", "[::]:0"], &["127.0.0.1:53", "[::]:0"]),
            (&["[fe80::1%eth0]:53"], &["[fe80::1%2]:53"]),
            (&["[fe80::7%2]:53"], &["[fe80::7%2]:53"]),
            (&["eth0:53"], &["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%2]:53"]),
            // What is named is not taken a second time, and a wildcard has all of its family and port.
            (&["lo:53", "[::1]:53"], &["[::1]:53", "127.0.0.1:53"]),
            (&["eth0:53", "0.0.0.0:53", "[::]:54"], &["0.0.0.0:53", "[::]:54", "[2001:db8::1]:53", "[fe80::1%2]:53"]),
            (&["tun0:53", "127.0.0.1:53"], &["127.0.0.1:53"]),
        ];
        for (listen, expected) in rows {
            let places: Vec<Listen> = listen.iter().map(|text| read(text)).collect();
            let wanted = resolve(&places, false, &machine()).unwrap();
            let addresses: Vec<_> = wanted.iter().map(|wanted| wanted.address.to_string()).collect();
            assert_eq!(addresses, *expected, "{listen:?}");
        }
    }

    #[test]
    fn what_this_machine_lacks_is_told_with_what_it_has() {
        let has =
            "help: it has `lo` (number 1), `eth0` (number 2), `tun0` (number 9); names of hosts are not looked up here";
        let rows = [
            ("eth1:53", format!("cannot listen on `eth1:53`: this machine has no interface `eth1`\n  {has}")),
            (
                "[fe80::1%eth1]:53",
                format!("cannot listen on `[fe80::1%eth1]:53`: this machine has no interface `eth1`\n  {has}"),
            ),
            (
                "[fe80::1%5]:53",
                format!("cannot listen on `[fe80::1%5]:53`: this machine has no interface `5`\n  {has}"),
            ),
            (
                "tun0:53",
                "there is no address to listen on: `tun0:53` has none\n  \
                 help: give it one, or name an address in `server.listen`"
                    .to_owned(),
            ),
        ];
        for (text, expected) in rows {
            let problems = resolve(&[read(text)], false, &machine()).unwrap_err();
            assert_eq!(problems[0].to_string(), format!("error: {expected}"));
        }
    }

    #[test]
    fn the_system_tells_of_its_loopback() {
        let present = present().unwrap();
        let loopback = IpAddr::from([127, 0, 0, 1]);
        assert!(present.iter().any(|interface| interface.index != 0 && interface.addresses.contains(&loopback)));
    }

    /// The place that a text stands for.
    fn read(text: &str) -> Listen {
        text.parse().unwrap_or_else(|_| panic!("{text}"))
    }
}
