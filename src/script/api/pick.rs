//! Choosing among values: at random, by weight, or the same for each client. None of these looks at health.

use std::net::IpAddr;

use mlua::{Lua, LuaString, Value};
use rand::{Rng, RngExt};

use super::arguments::{Missing, Weighted, entries, string};
use super::hash::{hash_address, hash_name};
use super::ring::{Entry, Fingerprint};
use super::{Api, CallError, Family};
use crate::script::context::Context;

/// Builtins that choose among values.
pub(super) const FAMILY: Family = Family { install };

/// How deep lists may be nested where `all` flattens them, and groups where `pickchashed` looks for their first text.
const DEPTH_MAX: usize = 16;

fn install(api: &mut Api<'_>) -> mlua::Result<()> {
    api.function("pickrandom", |context, arguments| {
        let values = arguments.values()?;
        Ok(pick_random(&mut *context.random(), &values).ok_or_else(empty)?.clone())
    })?;
    api.function("pickrandomsample", |context, arguments| {
        let (count, values) = (arguments.whole_number()?, arguments.values()?);
        if values.is_empty() {
            return Err(empty());
        }
        let sample = draw_sample(&mut *context.random(), values.len(), count);
        Ok(sample.into_iter().map(|at| values[at].clone()).collect::<Vec<_>>())
    })?;
    api.function("pickwrandom", |context, arguments| {
        let choices = arguments.weighted(Missing::Refused)?;
        let sum = weight_sum(&choices)?;
        let point = context.random().random_range(0..sum);
        Ok(pick_weighted(&choices, point).ok_or_else(empty)?.clone())
    })?;
    api.function("pickhashed", |context, arguments| {
        let values = arguments.values()?;
        let hash = hash_address(context.client().ip());
        Ok(pick_hashed(hash, &values).ok_or_else(empty)?.clone())
    })?;
    api.function("pickwhashed", |context, arguments| {
        let choices = arguments.weighted(Missing::Empty)?;
        let sum = weight_sum(&choices)?;
        let point = hash_address(context.client().ip()) % sum;
        Ok(pick_weighted(&choices, point).ok_or_else(empty)?.clone())
    })?;
    api.function("picknamehashed", |context, arguments| {
        let choices = arguments.weighted(Missing::Empty)?;
        let sum = weight_sum(&choices)?;
        let point = hash_name(context.qname().as_ref()) % sum;
        Ok(pick_weighted(&choices, point).ok_or_else(empty)?.clone())
    })?;
    api.function("pickchashed", |context, arguments| {
        let choices = arguments.weighted(Missing::Refused)?;
        let client = context.client().ip();
        let picked = pick_consistently(context, arguments.lua(), client, &choices);
        picked.map_or_else(|| Ok(Value::String(arguments.lua().create_string("")?)), |value| Ok(value.clone()))
    })?;
    api.function("all", |_, arguments| {
        let value = arguments.value();
        let mut flat = Flat { lua: arguments.lua(), texts: Vec::new() };
        if !matches!(value, Value::Table(_)) {
            return Err(arguments.refuse("a list", &value));
        }
        flat.take(&value, DEPTH_MAX)?;
        if flat.texts.is_empty() { Err(empty()) } else { Ok(flat.texts) }
    })
}

fn empty() -> CallError {
    CallError::refused("got an empty list; give at least one entry")
}

/// The texts of lists in lists.
///
/// `all` returns every value of a list, and of the lists in it.
///
/// ```lua
/// www 30 IN LUA A "all({'192.0.2.1', pickrandomsample(2, {'192.0.2.2', '192.0.2.3', '192.0.2.4'})})"
/// ```
struct Flat<'l> {
    lua: &'l Lua,
    texts: Vec<LuaString>,
}

impl Flat<'_> {
    /// Takes in a text, or a list of what can be taken in.
    fn take(&mut self, value: &Value, depth: usize) -> Result<(), CallError> {
        if let Some(text) = string(self.lua, value) {
            self.texts.push(text);
            return Ok(());
        }
        let list = entries(self.lua, value)
            .ok_or_else(|| CallError::refused("needs lists of strings; every key is a number"))?;
        if depth == 0 {
            return Err(CallError::refused(format!("got lists nested more than {DEPTH_MAX} deep")));
        }
        list.iter().try_for_each(|value| self.take(value, depth - 1))
    }
}

/// Picks one value, each with the same chance; `None` if there is none.
///
/// A value may be anything a record can return: a list of addresses that belong together, say.
///
/// ```lua
/// www 30 IN LUA A "pickrandom({'192.0.2.1', {'192.0.2.2', '192.0.2.3'}})"
/// ```
pub(super) fn pick_random<'a, T>(random: &mut impl Rng, values: &'a [T]) -> Option<&'a T> {
    values.get(draw(random, values.len())?)
}

/// Draws one of so many positions; `None` if there is none.
pub(in crate::script) fn draw(random: &mut impl Rng, length: usize) -> Option<usize> {
    if length == 0 { None } else { Some(random.random_range(0..length)) }
}

/// Draws so many of so many positions, each once, in random order.
///
/// `pickrandomsample` returns the values there: all of them when the number is larger than the list, or below 0 as in
/// PowerDNS; none when it is 0.
///
/// ```lua
/// www 30 IN LUA A "pickrandomsample(2, {'192.0.2.1', '192.0.2.2', '192.0.2.3'})"
/// ```
pub(in crate::script) fn draw_sample(random: &mut impl Rng, length: usize, count: i64) -> Vec<usize> {
    let count = usize::try_from(count).unwrap_or(length).min(length);
    let mut positions: Vec<usize> = (0..length).collect();
    for at in 0..count {
        let other = random.random_range(at..length);
        positions.swap(at, other);
    }
    positions.truncate(count);
    positions
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
/// `pickwrandom` draws the point below the sum of the weights, `pickwhashed` takes the hash of `bestwho` modulo it and
/// `picknamehashed` that of `qname`. Weights are whole numbers above 0.
///
/// ```lua
/// www 30 IN LUA A "pickwrandom({{1, '192.0.2.1'}, {2, '192.0.2.2'}})"
/// api 30 IN LUA A "pickwhashed({{1, '192.0.2.1'}, {2, '192.0.2.2'}})"
/// *.shard 30 IN LUA A "picknamehashed({{1, '192.0.2.1'}, {2, '192.0.2.2'}})"
/// ```
fn pick_weighted<T>(choices: &[Weighted<T>], point: u32) -> Option<&T> {
    let mut sum = 0u32;
    walk(choices.len()).into_iter().map(|index| &choices[index]).find_map(|choice| {
        sum = sum.wrapping_add(choice.weight);
        (sum > point).then_some(&choice.value)
    })
}

/// Picks the value that the client falls to by consistent hashing; `None` if there is none.
///
/// `pickchashed` keeps every client on its value as long as that is there, whatever comes, goes or moves beside it.
/// A value is known by its text, and a list by the first text in it.
///
/// ```lua
/// www 30 IN LUA A "pickchashed({{1000, '192.0.2.1'}, {2000, '192.0.2.2'}})"
/// ```
fn pick_consistently<'c>(
    context: &Context,
    lua: &Lua,
    client: IpAddr,
    choices: &'c [Weighted<Value>],
) -> Option<&'c Value> {
    let text = |choice: &Weighted<Value>| first_text(lua, &choice.value, DEPTH_MAX);
    let texts: Vec<Option<LuaString>> = choices.iter().map(text).collect();
    let mut fingerprint = Fingerprint::new();
    for (choice, text) in choices.iter().zip(&texts) {
        match text {
            Some(text) => fingerprint.add(choice.weight, &text.as_bytes()),
            None => fingerprint.add(choice.weight, b""),
        }
    }
    let entries = || -> Vec<Entry> {
        let octets =
            |text: &Option<LuaString>| text.as_ref().map_or_else(Box::default, |text| (*text.as_bytes()).into());
        choices.iter().zip(&texts).map(|(choice, text)| (choice.weight, octets(text))).collect()
    };
    let owner = context.rings().owner(fingerprint.finish(), hash_address(client), entries)?;
    choices.get(owner).map(|choice| &choice.value)
}

/// The text of a value, or of the first entry of a list; `None` where there is neither.
fn first_text(lua: &Lua, value: &Value, depth: usize) -> Option<LuaString> {
    match value {
        Value::Table(list) if depth > 0 => first_text(lua, &list.raw_get(1).ok()?, depth - 1),
        other => string(lua, other),
    }
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
    fn every_value_is_drawn_as_often_as_it_should_be() {
        let mut random: rand::rngs::SmallRng = rand::SeedableRng::seed_from_u64(3);
        let values: Vec<usize> = (0..10).collect();
        assert_even(10, || *pick_random(&mut random, &values).unwrap(), |_| 1.0);
        // Every position comes as the first of a sample, and in it at all, as often as every other.
        assert_even(10, || draw_sample(&mut random, 10, 4)[0], |_| 1.0);
        assert_even(10, || draw_sample(&mut random, 10, 4)[3], |_| 1.0);
        assert_even(10, || draw_sample(&mut random, 10, 10)[9], |_| 1.0);
        let weights = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
        let choices: Vec<_> =
            weights.iter().enumerate().map(|(value, weight)| Weighted { weight: *weight, value }).collect();
        assert_even(15, || *pick_weighted(&choices, random.random_range(0..120)).unwrap(), |at| weights[at].into());
    }

    #[test]
    fn hashes_of_clients_and_names_spread_over_the_values() {
        let mut number = 0u32;
        let mut client = || {
            number += 1;
            hash_address(std::net::Ipv4Addr::from(0x0a00_0000 + number * 256).into())
        };
        let values: Vec<usize> = (0..7).collect();
        assert_even(7, || *pick_hashed(client(), &values).unwrap(), |_| 1.0);
        let choices: Vec<_> =
            [15, 42].iter().enumerate().map(|(value, weight)| Weighted { weight: *weight, value }).collect();
        assert_even(2, || *pick_weighted(&choices, client() % 57).unwrap(), |at| [15.0, 42.0][at]);
        let mut number = 0;
        let mut name = || {
            number += 1;
            hash_name(format!("host{number}.example.com").parse::<crate::dns::Name>().unwrap().as_ref())
        };
        assert_even(2, || *pick_weighted(&choices, name() % 57).unwrap(), |at| [15.0, 42.0][at]);
    }

    /// Draws many times and holds the counts against their ideals with a chi-square test.
    ///
    /// The bound is passed by chance once in some thousands of seeds, and the seeds are fixed.
    fn assert_even(length: usize, mut draw: impl FnMut() -> usize, weight: impl Fn(usize) -> f64) {
        const DRAWS: usize = 20_000;
        let mut counts = vec![0.0; length];
        for _ in 0..DRAWS {
            counts[draw()] += 1.0;
        }
        let sum: f64 = (0..length).map(&weight).sum();
        let ideal = |at: usize| DRAWS as f64 * weight(at) / sum;
        let chi_square: f64 =
            counts.iter().enumerate().map(|(at, count)| (count - ideal(at)).powi(2) / ideal(at)).sum();
        let freedom = (length - 1) as f64;
        assert!(chi_square < freedom + 4.0 * (2.0 * freedom).sqrt() + 4.0, "{chi_square}: {counts:?}");
    }

    #[test]
    fn a_sample_has_as_many_different_positions_as_asked_for() {
        let mut random: rand::rngs::SmallRng = rand::SeedableRng::seed_from_u64(1);
        for (count, length) in [(0, 0), (1, 1), (3, 3), (9, 5), (-1, 5), (i64::MIN, 5), (i64::MAX, 5)] {
            let mut sample = draw_sample(&mut random, 5, count);
            sample.sort_unstable();
            sample.dedup();
            assert_eq!(sample.len(), length, "{count}");
        }
        assert!(draw_sample(&mut random, 0, 3).is_empty());
    }

    #[test]
    fn nothing_is_picked_from_nothing() {
        let mut random: rand::rngs::SmallRng = rand::SeedableRng::seed_from_u64(1);
        assert_eq!(pick_random::<u8>(&mut random, &[]), None);
        assert_eq!(pick_hashed::<u8>(7, &[]), None);
    }
}
