//! The keys: half of them strings, half of them hashes, under names that end in their numbers.

use redis::Pipeline;

use super::Outcome;
use crate::Failure;
use crate::common::{Cluster, View};
use crate::data::{owner_of, send_from, value};

/// The number of keys, strings and hashes together.
pub const KEYS: usize = 100_000;

/// The number of hashes that are larger than all other keys.
const LARGE: usize = 10;

/// The size of one that would come behind the last of them. Each is twice as large as the next: no allocator rounds that
/// away.
const BEHIND: usize = 256;

/// The number of commands that a node gets in one write.
const BATCH: usize = 10_000;

fn string(number: usize) -> String {
    format!("s:{number:06}")
}

fn hash(number: usize) -> String {
    format!("h:{number:06}")
}

/// Puts so many keys into the cluster, those that are there once more.
pub fn fill(cluster: &Cluster, keys: usize) -> Result<(), Failure> {
    let view = View::of(cluster.node(0))?;
    let mut batches: Vec<Pipeline> = cluster.primaries().iter().map(|_| redis::pipe()).collect();
    for number in 0..keys / 2 {
        let (key, value) = (string(number), value(number));
        let node = owner_of(cluster, &view, &key)?;
        batches[node].set(key, value).ignore();
        send_from(cluster, node, &mut batches[node], BATCH)?;
        let key = hash(number);
        let node = owner_of(cluster, &view, &key)?;
        let large = match large_at(number, keys) {
            Some(rank) => "x".repeat(BEHIND << (LARGE - rank)),
            None => "x".into(),
        };
        batches[node].hset_multiple(key, &[("n", value.to_string()), ("text", large)]).ignore();
        send_from(cluster, node, &mut batches[node], BATCH)?;
    }
    (0..batches.len()).try_for_each(|node| send_from(cluster, node, &mut batches[node], 1))
}

/// Returns the rank of a hash by its size, if it is a large one.
fn large_at(number: usize, keys: usize) -> Option<usize> {
    let distance = keys / 2 / LARGE;
    number.is_multiple_of(distance).then_some(number / distance)
}

/// Returns the number of strings, and that of hashes.
pub fn half(keys: usize) -> Outcome {
    Outcome::Number(keys as i64 / 2)
}

/// Returns the sum of the strings, and that of the hashes' numbers.
pub fn sum_of_half(keys: usize) -> Outcome {
    Outcome::Number((0..keys / 2).map(value).sum())
}

/// Returns the ten largest, the largest first.
pub fn largest(keys: usize) -> Outcome {
    Outcome::Keys((0..LARGE).map(|rank| hash(rank * (keys / 2 / LARGE))).collect())
}
