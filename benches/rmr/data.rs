//! The keys of the benchmark: their names, what they hold, and which shard owns them.

use redis::Pipeline;

use crate::Failure;
use crate::common::{Cluster, View, error_text, slot_of};

/// The number of keys in all.
pub const KEYS: usize = 100_000;

/// The keys, by number.
pub struct Data {
    owners: Vec<usize>,
}

impl Data {
    /// Sets all keys, and finds out where they are.
    pub fn fill(cluster: &Cluster) -> Result<Self, Failure> {
        cluster.fill(KEYS, |number| (key(number), value(number).to_string()));
        let view = View::of(cluster.node(0))?;
        let owners = (0..KEYS).map(|number| owner_of(cluster, &view, &key(number)));
        Ok(Self { owners: owners.collect::<Result<_, _>>()? })
    }

    /// Returns the index of the primary that holds a key.
    pub fn owner(&self, number: usize) -> usize {
        self.owners[number]
    }
}

/// Returns the name of a key.
pub fn key(number: usize) -> String {
    format!("bench:{number:06}")
}

/// Returns the value of a key: an integer of six digits.
pub fn value(number: usize) -> i64 {
    100_000 + (number as i64 * 7919) % 900_000
}

/// Returns the index of the primary that has the slot of a key.
pub fn owner_of(cluster: &Cluster, view: &View, key: &str) -> Result<usize, Failure> {
    let port = view.owner(slot_of(key));
    let owner = cluster.primaries().iter().position(|node| Some(node.port()) == port);
    owner.ok_or_else(|| "a slot has no owner".into())
}

/// Sends a batch that has so many commands.
pub fn send_from(cluster: &Cluster, node: usize, batch: &mut Pipeline, least: usize) -> Result<(), Failure> {
    if batch.len() >= least {
        batch.query::<()>(&mut cluster.node(node).connection()).map_err(|error| error_text(&error))?;
        batch.clear();
    }
    Ok(())
}

/// Numbers of keys, spread over all of them; the same ones for the same seed.
pub fn pick(seed: usize, count: usize) -> Vec<usize> {
    /// A step that has no factor in common with the number of keys: the walk meets every key before it meets one twice.
    const STRIDE: usize = 61_813;
    (0..count).map(|step| (seed * 7 + step * STRIDE) % KEYS).collect()
}
