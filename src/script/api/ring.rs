//! The consistent choice behind `pickchashed`: entries own points on a circle of hashes, the more the heavier.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::LazyLock;

use super::hash::hash;

/// The most points of one list; one whose weights come to more has its weights scaled down.
///
/// PowerDNS makes them all, which for a weight of 2^32-1 is 32 GiB. A list of so many points is still even to a
/// hundredth, and made in some milliseconds.
pub(in crate::script) const POINTS_MAX: u64 = 65_536;
/// The most points a worker keeps, of all lists together: 8 MiB.
const POINTS_HELD_MAX: usize = 1 << 20;

/// Points on a circle of hashes, each with the position of the entry that owns it.
#[derive(Debug)]
pub(in crate::script) struct Ring {
    /// In ascending order of hash; no hash twice.
    points: Box<[(u32, u32)]>,
}

/// An entry of a list: its weight and the text that it is known by.
pub(in crate::script) type Entry = (u32, Box<[u8]>);

impl Ring {
    /// Gives every entry as many points as it has weight: the hashes of `text-0`, `text-1` and so on.
    ///
    /// The order of the entries does not matter, and the points of an entry do not depend on the others, as long as
    /// the weights need no scaling.
    fn new(entries: &[Entry]) -> Self {
        let weights = scaled(entries.iter().map(|(weight, _)| *weight));
        let mut by_text: Vec<usize> = (0..entries.len()).collect();
        // Where two entries have a point in common, the order of their texts decides.
        by_text.sort_by_key(|at| &entries[*at].1);
        let mut points = Vec::new();
        let mut text = Vec::new();
        for at in by_text {
            text.clear();
            text.extend_from_slice(&entries[at].1);
            text.push(b'-');
            let prefix = text.len();
            for number in 0..weights[at] {
                text.truncate(prefix);
                text.extend_from_slice(number.to_string().as_bytes());
                // A list in a VM of a few MiB has far fewer than 2^32 entries.
                points.push((hash(&text), at as u32));
            }
        }
        points.sort_by_key(|(hash, _)| *hash);
        points.dedup_by_key(|(hash, _)| *hash);
        Self { points: points.into_boxed_slice() }
    }

    /// The entry that owns the smallest point not below a hash, or else the smallest point of all.
    fn owner(&self, hash: u32) -> Option<usize> {
        let at = self.points.partition_point(|(point, _)| *point < hash);
        self.points.get(at).or_else(|| self.points.first()).map(|(_, entry)| *entry as usize)
    }
}

/// The weights, in proportion at most [`POINTS_MAX`] together, but none below 1.
fn scaled(weights: impl Iterator<Item = u32> + Clone) -> Vec<u64> {
    let sum: u64 = weights.clone().map(u64::from).sum();
    if sum <= POINTS_MAX {
        return weights.map(u64::from).collect();
    }
    weights.map(|weight| (u128::from(weight) * u128::from(POINTS_MAX) / u128::from(sum)).max(1) as u64).collect()
}

/// A number for a list of entries: equal for equal lists for as long as the process runs.
///
/// It is keyed with a secret, so that nobody can write two lists with one number.
pub(in crate::script) struct Fingerprint(<RandomState as BuildHasher>::Hasher);

impl Fingerprint {
    pub(in crate::script) fn new() -> Self {
        static STATE: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        Self(STATE.build_hasher())
    }

    /// Takes in an entry.
    pub(in crate::script) fn add(&mut self, weight: u32, text: &[u8]) {
        self.0.write_u32(weight);
        self.0.write_usize(text.len());
        self.0.write(text);
    }

    /// The number.
    pub(in crate::script) fn finish(&self) -> u64 {
        self.0.finish()
    }
}

/// The rings a worker has made, those in use kept.
#[derive(Default)]
pub(in crate::script) struct Rings {
    held: HashMap<u64, Held>,
    points: usize,
    /// Counts questions, to tell which rings have not been asked for the longest time.
    asked: u64,
}

struct Held {
    ring: Ring,
    asked: u64,
}

impl Rings {
    /// The entry of a list that a hash falls to; `None` if the list is empty.
    ///
    /// `entries` is asked for the list when its ring is still to be made.
    pub(in crate::script) fn owner(
        &mut self,
        fingerprint: u64,
        hash: u32,
        entries: impl FnOnce() -> Vec<Entry>,
    ) -> Option<usize> {
        self.asked += 1;
        if let Some(held) = self.held.get_mut(&fingerprint) {
            held.asked = self.asked;
            return held.ring.owner(hash);
        }
        let ring = Ring::new(&entries());
        let owner = ring.owner(hash);
        self.make_room(ring.points.len());
        self.points += ring.points.len();
        self.held.insert(fingerprint, Held { ring, asked: self.asked });
        owner
    }

    /// Lets go of the half of the rings that was not asked for the longest time, until so many points fit.
    fn make_room(&mut self, points: usize) {
        while self.points + points > POINTS_HELD_MAX && !self.held.is_empty() {
            let mut ages: Vec<u64> = self.held.values().map(|held| held.asked).collect();
            let middle = ages.len() / 2;
            let (_, &mut oldest, _) = ages.select_nth_unstable(middle);
            self.held.retain(|_, held| held.asked > oldest);
            self.points = self.held.values().map(|held| held.ring.points.len()).sum();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(weights: &[u32]) -> Vec<Entry> {
        let entry = |(at, weight): (usize, &u32)| (*weight, format!("192.0.2.{}", at + 1).into_bytes().into());
        weights.iter().enumerate().map(entry).collect()
    }

    const CLIENTS: u32 = 50_000;

    /// Hashes of clients, spread over all there are.
    fn clients() -> impl Iterator<Item = u32> {
        (0..CLIENTS).map(|number| hash(&number.to_be_bytes()))
    }

    /// The share of clients for whom two lists have other texts.
    fn moved(before: &[Entry], after: &[Entry]) -> f64 {
        let (rings, mut moved) = ([Ring::new(before), Ring::new(after)], 0);
        for client in clients() {
            let text = |ring: &Ring, entries: &[Entry]| entries[ring.owner(client).unwrap()].1.clone();
            moved += usize::from(text(&rings[0], before) != text(&rings[1], after));
        }
        moved as f64 / f64::from(CLIENTS)
    }

    #[test]
    fn a_client_falls_to_the_next_point_and_past_the_last_to_the_first() {
        let ring = Ring { points: [(10, 0), (20, 1)].into() };
        let owners = [0, 10, 11, 20, 21, u32::MAX].map(|hash| ring.owner(hash));
        assert_eq!(owners, [Some(0), Some(0), Some(1), Some(1), Some(0), Some(0)]);
        assert_eq!(Ring::new(&[]).owner(7), None);
    }

    #[test]
    fn points_are_the_hashes_of_the_text_and_a_number() {
        // The published value of `192.0.2.1-0`.
        assert_eq!(*Ring::new(&entries(&[1])).points, [(0x36c2_ee85, 0)]);
        assert_eq!(Ring::new(&entries(&[100])).points.len(), 100);
    }

    #[test]
    fn weights_are_kept_in_proportion() {
        let ring = Ring::new(&entries(&[1000, 2000, 3000]));
        let mut shares = [0.0; 3];
        for client in clients() {
            shares[ring.owner(client).unwrap()] += 1.0 / f64::from(CLIENTS);
        }
        // So many points leave the shares uneven by a few hundredths, as in PowerDNS.
        for (share, ideal) in shares.into_iter().zip([1.0 / 6.0, 2.0 / 6.0, 3.0 / 6.0]) {
            assert!((share - ideal).abs() < 0.03, "{shares:?}");
        }
    }

    #[test]
    fn an_entry_that_comes_or_goes_moves_its_share_and_no_more() {
        let (before, after) = (entries(&[5000; 9]), entries(&[5000; 10]));
        for (before, after) in [(&before, &after), (&after, &before)] {
            let moved = moved(before, after);
            assert!((moved - 0.1).abs() < 0.05 * 0.1, "{moved}");
        }
        // Nobody moves between entries that stay.
        let rings = [Ring::new(&before), Ring::new(&after)];
        for client in clients() {
            let [old, new] = [0, 1].map(|at| rings[at].owner(client).unwrap());
            assert!(new == old || new == 9, "{client}: {old} to {new}");
        }
    }

    #[test]
    fn a_weight_that_changes_moves_its_share_and_no_more() {
        let (before, mut after) = (entries(&[5000; 10]), entries(&[5000; 10]));
        after[3].0 = 15_000;
        // From 1/10 to 3/12.
        let moved = moved(&before, &after);
        assert!((moved - 0.15).abs() < 0.05 * 0.15, "{moved}");
    }

    #[test]
    fn the_order_of_a_list_does_not_matter() {
        let before = entries(&[10, 20, 30, 40, 50]);
        let mut after = before.clone();
        after.reverse();
        after.swap(1, 3);
        assert_eq!(moved(&before, &after), 0.0);
    }

    #[test]
    fn weights_without_measure_are_scaled() {
        assert_eq!(scaled([40_000u32, 25_536].into_iter()), [40_000, 25_536]);
        assert_eq!(scaled([40_000u32, 25_537].into_iter()), [39_999, 25_536]);
        assert_eq!(scaled([u32::MAX, u32::MAX, 1].into_iter()), [32_767, 32_767, 1]);
    }

    #[test]
    fn a_worker_keeps_so_many_points_and_no_more() {
        let mut rings = Rings::default();
        for number in 0..100 {
            let list = || vec![(60_000, number.to_string().into_bytes().into())];
            assert_eq!(rings.owner(number, 1, list), Some(0));
            assert!(rings.points <= POINTS_HELD_MAX);
            // What is asked for stays.
            assert_eq!(rings.owner(0, 1, || panic!("it is held")), Some(0));
        }
    }
}
