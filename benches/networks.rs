//! What it costs to find the network of a client among 100,000.
//!
//! `cargo bench --bench networks`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use divan::Bencher;
use ipnet::IpNet;
use perigee::networks::Networks;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// How many networks there are.
const NETWORKS: usize = 100_000;
/// How many addresses are looked up in turn, so that none is found where the last one was.
const ADDRESSES: usize = 1 << 16;

fn main() {
    divan::main();
}

/// Networks of the lengths that registries and operators use, over all addresses of a family.
fn networks(random: &mut SmallRng, is_v4: bool) -> Networks<usize> {
    let mut networks = std::collections::HashSet::new();
    while networks.len() < NETWORKS {
        let bits = if is_v4 { random.random_range(12..=24) } else { random.random_range(24..=64) };
        networks.insert(IpNet::new(address(random, is_v4), bits).expect("within the family's bits").trunc());
    }
    Networks::build(networks.into_iter().zip(0..).collect()).expect("a set has nothing twice")
}

fn address(random: &mut SmallRng, is_v4: bool) -> IpAddr {
    if is_v4 { Ipv4Addr::from_bits(random.random()).into() } else { Ipv6Addr::from_bits(random.random()).into() }
}

/// Random addresses among random networks.
// So many look-ups to a sample that the clock is read once for all of them.
#[divan::bench(sample_size = 10_000, args = ["IPv4", "IPv6"])]
fn look_up(bencher: Bencher<'_, '_>, family: &str) {
    let (mut random, is_v4) = (SmallRng::seed_from_u64(7), family == "IPv4");
    let networks = networks(&mut random, is_v4);
    let addresses: Vec<IpAddr> = (0..ADDRESSES).map(|_| address(&mut random, is_v4)).collect();
    let mut turn = 0;
    bencher.bench_local(|| {
        turn = (turn + 1) % ADDRESSES;
        networks.lookup(addresses[turn]).scope
    });
}

/// All of them, sorted and cut into ranges.
#[divan::bench(sample_count = 10)]
fn build(bencher: Bencher<'_, '_>) {
    let mut random = SmallRng::seed_from_u64(7);
    let mut entries = std::collections::HashMap::new();
    while entries.len() < NETWORKS {
        let network = IpNet::new(address(&mut random, true), random.random_range(12..=24)).expect("an IPv4 length");
        entries.insert(network.trunc(), ());
    }
    let entries: Vec<(IpNet, ())> = entries.into_iter().collect();
    bencher.bench_local(|| Networks::build(entries.clone()).map(|networks| networks.len()));
}
