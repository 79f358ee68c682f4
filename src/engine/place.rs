//! Finds the nodes of commands and keys by the shard function, and refuses nonsense that it says.

use std::sync::Arc;

use super::guard::guarded;
use super::request::Request;
use super::state::EngineState;
use crate::command::{Command, CommandRef};
use crate::error::Error;
use crate::topology::{Node, Shard, Topology};

/// Returns the slot of the key that a command is routed by.
pub(super) fn slot_of(topology: &Topology, command: CommandRef<'_>) -> Option<u16> {
    command.routing_key().map(|key| topology.slot_of(key))
}

/// Returns where the shard function places a command. It is somebody else's code: see [`placing`].
pub(super) fn place<'t>(
    engine: &EngineState,
    topology: &'t Topology,
    command: CommandRef<'_>,
) -> Result<&'t Arc<Node>, Error> {
    let mut shard = 0;
    let by_key = command
        .routing_key()
        .and_then(|key| place_keys(engine, topology, 1, &mut std::iter::once(key), &mut |position| shard = position));
    match by_key {
        Some(placed) => placed.map(|()| &topology.shards()[shard].primary),
        None => {
            let node = engine.shard_func(topology).node(topology, &command.command());
            node.map_err(|error| explained(error, topology))
        }
    }
}

/// Calls with the position of the shard that each of `count` keys is placed on, in order. After an error none of these
/// calls counts. `None` if the shard function wants whole commands.
pub(super) fn place_keys(
    engine: &EngineState,
    topology: &Topology,
    count: usize,
    keys: &mut dyn Iterator<Item = &[u8]>,
    put: &mut dyn FnMut(usize),
) -> Option<Result<(), Error>> {
    let shards = topology.shards().len();
    let (mut said, mut placed) = (0, 0);
    let done = engine.shard_func(topology).shards_of_keys(topology, keys, &mut |shard| {
        said += 1;
        if shard < shards {
            placed += 1;
            put(shard);
        }
    })?;
    Some(match done {
        Ok(()) if (said, placed) == (count, count) => Ok(()),
        Ok(()) => Err(Error::Internal(format!(
            "the shard function has placed {placed} of {count} keys on one of the {shards} shards"
        ))),
        Err(error) => Err(explained(error, topology)),
    })
}

/// Says why nothing is placed where there is nobody.
fn explained(error: Error, topology: &Topology) -> Error {
    if topology.data_shards().next().is_none() { no_shards(topology) } else { error }
}

/// Places commands; a panic in the shard function is an error.
pub(super) fn placing<T>(place: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    guarded("shard function", place)
}

/// Builds the error of a topology in which nobody holds data.
pub(super) fn no_shards(topology: &Topology) -> Error {
    match topology.all_nodes().count() {
        0 => Error::no_node(topology.source()),
        nodes => Error::Topology(format!(
            "no slots are assigned yet: none of the {nodes} known nodes owns any (CLUSTER ADDSLOTS)"
        )),
    }
}

/// Finds a node of an earlier topology in this one.
pub(super) fn same_node<'t>(topology: &'t Topology, node: &Node) -> Result<&'t Arc<Node>, Error> {
    let same = topology.all_nodes().find(|known| known.id == node.id);
    same.ok_or_else(|| Error::Topology(format!("the node {node} has left")))
}

impl EngineState {
    /// Returns the node that a command belongs to.
    pub(super) fn owner<'t>(&self, topology: &'t Topology, command: &Command) -> Result<&'t Arc<Node>, Error> {
        placing(|| place(self, topology, command.into()))
    }

    /// Returns the node that a key belongs to.
    pub(super) fn holder<'t>(&self, topology: &'t Topology, key: &[u8]) -> Result<&'t Arc<Node>, Error> {
        self.owner(topology, &Command::new("GET").key(key))
    }
}

impl Request {
    /// Returns the node that a command belongs to.
    pub(crate) fn owner<'t>(&self, topology: &'t Topology, command: &Command) -> Result<&'t Arc<Node>, Error> {
        self.engine.owner(topology, command)
    }

    /// Returns the positions of the shards that keys belong to. `None` if they cannot all be placed at once: each command
    /// then [has an owner](Self::owner), or an error of its own.
    pub(crate) fn shards_of_keys<'k>(
        &self,
        topology: &Topology,
        mut keys: impl ExactSizeIterator<Item = &'k [u8]>,
    ) -> Option<Vec<usize>> {
        let count = keys.len();
        let mut shards = Vec::with_capacity(count);
        let mut put = |shard| shards.push(shard);
        let placed = placing(|| place_keys(&self.engine, topology, count, &mut keys, &mut put).transpose());
        matches!(placed, Ok(Some(()))).then_some(shards)
    }

    /// Returns [what they must share](Self::key_group) of each of these keys.
    ///
    /// # Errors
    /// If a key cannot be placed.
    pub(crate) fn key_groups<'k>(
        &self,
        topology: &Topology,
        keys: impl ExactSizeIterator<Item = &'k [u8]> + Clone,
    ) -> Result<Vec<usize>, Error> {
        let at_once = if topology.requires_same_slot() || topology.key_placement().is_some() {
            None
        } else {
            self.shards_of_keys(topology, keys.clone())
        };
        at_once.map_or_else(|| keys.map(|key| self.key_group(topology, key)).collect(), Ok)
    }

    /// Returns what keys must share to stand in one command: their slot, or where slots do not matter their node.
    pub(crate) fn key_group(&self, topology: &Topology, key: &[u8]) -> Result<usize, Error> {
        if topology.requires_same_slot() {
            return Ok(usize::from(topology.slot_of(key)));
        }
        if let Some(placement) = topology.key_placement().filter(|_| self.engine.shard_func.is_none()) {
            return placement.group(key).map_err(Error::Slots);
        }
        let node = self.engine.holder(topology, key)?;
        let is_it = |shard: &Shard| Arc::ptr_eq(&shard.primary, node);
        Ok(topology.shards().iter().position(is_it).unwrap_or_default())
    }
}
