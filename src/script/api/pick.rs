//! Choosing among values: at random, by weight, or the same for each client. None of these looks at health.

use rand::{Rng, RngExt};

use super::arguments::Weighted;
use super::hash::hash_address;
use super::{Api, CallError, Family};

/// Builtins that choose among values.
pub(super) const FAMILY: Family = Family { install };

fn install(api: &mut Api<'_>) -> mlua::Result<()> {
    api.function("pickrandom", |context, arguments| {
        let values = arguments.list()?;
        Ok(pick_random(&mut *context.random(), &values).ok_or_else(empty)?.clone())
    })?;
    api.function("pickwrandom", |context, arguments| {
        let choices = arguments.weighted()?;
        let sum = weight_sum(&choices)?;
        let point = context.random().random_range(0..sum);
        Ok(pick_weighted(&choices, point).ok_or_else(empty)?.clone())
    })?;
    api.function("pickhashed", |context, arguments| {
        let values = arguments.list()?;
        let hash = hash_address(context.client().ip());
        Ok(pick_hashed(hash, &values).ok_or_else(empty)?.clone())
    })?;
    api.function("pickwhashed", |context, arguments| {
        let choices = arguments.weighted()?;
        let sum = weight_sum(&choices)?;
        let point = hash_address(context.client().ip()) % sum;
        Ok(pick_weighted(&choices, point).ok_or_else(empty)?.clone())
    })?;
    api.function("all", |_, arguments| {
        let values = arguments.list()?;
        if values.is_empty() { Err(empty()) } else { Ok(values) }
    })
}

fn empty() -> CallError {
    CallError::refused("got an empty list; give at least one entry")
}

/// Picks one value, each with the same chance; `None` if there is none.
///
/// ```lua
/// www 30 IN LUA A "pickrandom({'192.0.2.1', '192.0.2.2'})"
/// ```
pub(super) fn pick_random<'a, T>(random: &mut impl Rng, values: &'a [T]) -> Option<&'a T> {
    values.get(draw(random, values.len())?)
}

/// Draws one of so many positions; `None` if there is none.
pub(in crate::script) fn draw(random: &mut impl Rng, length: usize) -> Option<usize> {
    if length == 0 { None } else { Some(random.random_range(0..length)) }
}

/// Picks the value at the hash modulo the number of values; `None` if there is none.
///
/// `pickhashed` hashes `bestwho`: a client gets the same value as long as the list stays.
///
/// ```lua
/// www 30 IN LUA A "pickhashed({'192.0.2.1', '192.0.2.2'})"
/// ```
pub(super) fn pick_hashed<T>(hash: u32, values: &[T]) -> Option<&T> {
    // A list in a VM of a few MiB has far fewer than 2^32 entries, so the cast keeps its length.
    values.get(hash.checked_rem(values.len() as u32)? as usize)
}

/// The sum of all weights, in 32 bits as in PowerDNS; errors when it comes to 0 there.
fn weight_sum<T>(choices: &[Weighted<T>]) -> Result<u32, CallError> {
    let sum = choices.iter().fold(0u32, |sum, choice| sum.wrapping_add(choice.weight));
    if sum == 0 {
        return Err(CallError::refused("got no entry with a weight above 0; give at least one `{weight, value}`"));
    }
    Ok(sum)
}

/// Picks the value in whose share `point` falls, in the order of [`walk`].
///
/// `pickwrandom` draws the point below the sum of the weights, `pickwhashed` takes the hash of `bestwho` modulo it.
/// Weights are whole numbers above 0.
///
/// ```lua
/// www 30 IN LUA A "pickwrandom({{1, '192.0.2.1'}, {2, '192.0.2.2'}})"
/// api 30 IN LUA A "pickwhashed({{1, '192.0.2.1'}, {2, '192.0.2.2'}})"
/// ```
fn pick_weighted<T>(choices: &[Weighted<T>], point: u32) -> Option<&T> {
    let mut sum = 0u32;
    walk(choices.len()).into_iter().map(|index| &choices[index]).find_map(|choice| {
        sum = sum.wrapping_add(choice.weight);
        (sum > point).then_some(&choice.value)
    })
}

/// The end of each entry's share and its position, in the order of [`walk`]; `None` when the sum passes 32 bits.
pub(in crate::script) fn shares(weights: &[u32]) -> Option<Vec<(u32, usize)>> {
    let mut sum = 0u32;
    let share = |index: usize| {
        sum = sum.checked_add(weights[index])?;
        Some((sum, index))
    };
    walk(weights.len()).into_iter().map(share).collect()
}

/// The order in which PowerDNS walks a weighted list of so many entries.
///
/// It keeps the list in a hash table with the positions as keys, which hands out the last inserted first and turns
/// what it holds around each time it grows. Which client lands where hangs on this order.
fn walk(length: usize) -> Vec<usize> {
    /// How many entries the table takes before it grows: primes, each about twice the one before.
    const CAPACITIES: [usize; 12] = [13, 29, 59, 127, 257, 541, 1109, 2357, 5087, 10_273, 20_753, 42_043];
    let mut order: std::collections::VecDeque<usize> = std::collections::VecDeque::with_capacity(length);
    for index in 0..length {
        if CAPACITIES.contains(&index) {
            order = order.into_iter().rev().collect();
        }
        order.push_front(index);
    }
    order.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weighted_lists_are_walked_in_the_reference_order() {
        let one_based = |length: usize| walk(length).into_iter().map(|index| index + 1).collect::<Vec<_>>();
        assert_eq!(one_based(3), [3, 2, 1]);
        assert_eq!(one_based(13), (1..=13).rev().collect::<Vec<_>>());
        assert_eq!(one_based(16), [16, 15, 14].into_iter().chain(1..=13).collect::<Vec<_>>());
        assert_eq!(one_based(31), [31, 30].into_iter().chain((1..=13).rev()).chain(14..=29).collect::<Vec<_>>());
    }

    #[test]
    fn a_point_falls_in_the_share_of_its_weight() {
        let choices = [(15, "a"), (42, "b")].map(|(weight, value)| Weighted { weight, value });
        // The published values for `picknamehashed`, which only the walk from the end explains.
        assert_eq!(pick_weighted(&choices, 1_903_138_504 % 57), Some(&"a"));
        assert_eq!(pick_weighted(&choices, 1_631_520_935 % 57), Some(&"b"));
        let shares = (0..57).filter(|point| pick_weighted(&choices, *point) == Some(&"a")).count();
        assert_eq!(shares, 15);
    }

    #[test]
    fn nothing_is_picked_from_nothing() {
        let mut random: rand::rngs::SmallRng = rand::SeedableRng::seed_from_u64(1);
        assert_eq!(pick_random::<u8>(&mut random, &[]), None);
        assert_eq!(pick_hashed::<u8>(7, &[]), None);
    }
}
