//! The nodes of a fan-out: how each is found again when the topology has changed.

use std::sync::Arc;

use super::place::same_node;
use super::route::Route;
use super::state::EngineState;
use super::targets::Targets;
use crate::command::CommandRef;
use crate::error::Error;
use crate::link::Mode;
use crate::topology::{Node, Role, Shard, Topology};

/// A node; and, where it was not named but is meant as a shard's primary, a slot of the shard, by which that is found
/// again when its primary has changed.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) node: Arc<Node>,
    slot: Option<u16>,
    /// Whoever has the slot is meant, and not the shard that had it.
    is_by_key: bool,
}

impl Target {
    pub(super) fn new(engine: &EngineState, topology: &Topology, node: Arc<Node>, targets: &Targets) -> Self {
        let slot = match targets {
            Targets::Primaries | Targets::AllPrimaries => {
                let shard = topology.shards().iter().find(|shard| Arc::ptr_eq(&shard.primary, &node));
                shard.and_then(|shard| shard.slots.first()).map(|range| range.0)
            }
            Targets::Keys(keys) if topology.has_slots() => {
                let is_there = |key: &&Vec<u8>| engine.holder(topology, key).is_ok_and(|at| Arc::ptr_eq(at, &node));
                keys.iter().find(is_there).map(|key| topology.slot_of(key))
            }
            _ => None,
        };
        Self { node, slot, is_by_key: matches!(targets, Targets::Keys(_)) }
    }

    /// Returns the shard's primary that has this slot.
    pub(super) fn owner_of(slot: u16, node: Arc<Node>) -> Self {
        Self { node, slot: Some(slot), is_by_key: false }
    }

    /// Finds the node by another topology. A shard's primary that still has slots is the same, whatever slots these are;
    /// otherwise the shard has another one.
    pub(super) fn find<'t>(&self, topology: &'t Topology) -> Result<&'t Arc<Node>, Error> {
        let is_it = |shard: &&Shard| shard.primary.id == self.node.id && !shard.slots.is_empty();
        let same = || topology.shards().iter().find(is_it).filter(|_| !self.is_by_key);
        let by_slot = self.slot.and_then(|slot| same().or_else(|| topology.owner(slot)));
        by_slot.map_or_else(|| same_node(topology, &self.node), |shard| Ok(&shard.primary))
    }
}

/// Each unit is one node; the command is the same for all.
#[derive(Clone)]
pub(super) struct ToTargets {
    pub(super) nodes: Vec<Target>,
}

impl Route for ToTargets {
    fn node<'v>(&self, topology: &'v Topology, unit: u32, _command: CommandRef<'_>) -> Result<&'v Arc<Node>, Error> {
        self.nodes[unit as usize].find(topology)
    }

    fn mode(&self, topology: &Topology, node: &Node) -> Mode {
        if node.role == Role::Replica && topology.has_slots() { Mode::Replica } else { Mode::Plain }
    }

    fn command(&self, _unit: u32) -> u32 {
        0
    }

    fn follows_redirects(&self, _topology: &Topology, _unit: u32) -> bool {
        false
    }

    fn follows_primary(&self, _topology: &Topology, unit: u32) -> bool {
        self.nodes[unit as usize].slot.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::{cluster, node};

    fn found(target: &Target, topology: &Topology) -> u16 {
        target.find(topology).unwrap().address.port().unwrap()
    }

    #[test]
    fn a_shard_is_the_same_when_its_first_slot_has_gone_and_another_when_its_primary_has() {
        let shard = Target::owner_of(0, node(1, Role::Primary));
        assert_eq!(found(&shard, &cluster(&[(2, (0, 99)), (1, (100, 16383))])), 1);
        assert_eq!(found(&shard, &cluster(&[(3, (0, 8191)), (2, (8192, 16383))])), 3);
        let without_slots = Topology::with_slots(
            "test",
            vec![Shard::new(node(1, Role::Primary)), Shard::new(node(3, Role::Primary)).slots([(0, 16383)])],
        );
        assert_eq!(found(&shard, &without_slots), 3, "a primary that comes back without its slots is not the shard");
    }

    #[test]
    fn a_key_is_wherever_its_slot_is() {
        let by_key = Target { is_by_key: true, ..Target::owner_of(0, node(1, Role::Primary)) };
        assert_eq!(found(&by_key, &cluster(&[(2, (0, 99)), (1, (100, 16383))])), 2);
    }
}
