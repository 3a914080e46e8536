//! How many connections each client network has, over all workers.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

/// Counts connections by network; no larger than there are connections.
///
/// Its lock is taken when a connection comes and when it goes, never for a request.
pub(super) struct Networks {
    /// How many connections a network may have; 0 for any number, and then nothing is counted.
    max: usize,
    ipv4_prefix: u8,
    ipv6_prefix: u8,
    // Hashed with a secret of this process: clients choose their addresses.
    counts: Mutex<HashMap<IpAddr, usize>>,
}

impl Networks {
    /// Counts none yet; `max` of 0 stands for any number.
    pub(super) fn new(max: usize, ipv4_prefix: u8, ipv6_prefix: u8) -> Self {
        Self { max, ipv4_prefix, ipv6_prefix, counts: Mutex::default() }
    }

    /// Counts one more connection of the client's network, unless it has as many as it may.
    pub(super) fn enter(&self, client: IpAddr) -> bool {
        if self.max == 0 {
            return true;
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(self.network_of(client)).or_default();
        // There is no entry of 0 but a new one, and a new one is let in.
        let may = *count < self.max;
        *count += usize::from(may);
        may
    }

    /// Counts one less of the client's network, which must have entered.
    pub(super) fn leave(&self, client: IpAddr) {
        if self.max == 0 {
            return;
        }
        let network = self.network_of(client);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&network);
            }
        }
    }

    /// The first address of the network that a client is of.
    fn network_of(&self, client: IpAddr) -> IpAddr {
        match client {
            IpAddr::V4(address) => {
                let host_bits = 32 - u32::from(self.ipv4_prefix.min(32));
                Ipv4Addr::from_bits(address.to_bits() & u32::MAX.checked_shl(host_bits).unwrap_or(0)).into()
            }
            IpAddr::V6(address) => {
                let host_bits = 128 - u32::from(self.ipv6_prefix.min(128));
                Ipv6Addr::from_bits(address.to_bits() & u128::MAX.checked_shl(host_bits).unwrap_or(0)).into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_counted_by_their_network() {
        // Prefixes, two clients, and whether they are of one network.
        let rows = [
            (32, 56, "192.0.2.1", "192.0.2.1", true),
            (32, 56, "192.0.2.1", "192.0.2.2", false),
            (24, 56, "192.0.2.1", "192.0.2.255", true),
            (24, 56, "192.0.2.1", "192.0.3.1", false),
            (0, 0, "192.0.2.1", "203.0.113.1", true),
            (32, 56, "2001:db8:0:1::1", "2001:db8:0:ff::2", true),
            (32, 56, "2001:db8:0:1::1", "2001:db8:0:100::1", false),
            (32, 128, "2001:db8::1", "2001:db8::2", false),
            (0, 0, "2001:db8::1", "::1", true),
            (0, 0, "::", "0.0.0.0", false),
        ];
        for (ipv4_prefix, ipv6_prefix, one, other, same) in rows {
            let networks = Networks::new(1, ipv4_prefix, ipv6_prefix);
            assert!(networks.enter(one.parse().unwrap()));
            assert_eq!(
                networks.enter(other.parse().unwrap()),
                !same,
                "{one} and {other} by /{ipv4_prefix}, /{ipv6_prefix}"
            );
        }
    }

    #[test]
    fn whoever_is_gone_is_not_counted_and_not_remembered() {
        let networks = Networks::new(2, 32, 56);
        let client = "192.0.2.1".parse().unwrap();
        assert_eq!([(); 3].map(|()| networks.enter(client)), [true, true, false]);
        networks.leave(client);
        assert_eq!([(); 2].map(|()| networks.enter(client)), [true, false]);
        networks.leave(client);
        networks.leave(client);
        assert!(networks.counts.lock().unwrap().is_empty());
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let networks = Networks::new(0, 32, 56);
        for _ in 0..10 {
            assert!(networks.enter("192.0.2.1".parse().unwrap()));
        }
        assert!(networks.counts.lock().unwrap().is_empty());
    }
}
