//! [`Planned`]: who does which share of a flow. Each slot is in one share.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde_bytes::ByteBuf;

use super::plan::FlowReader;
use super::slots::{ranges, slot_of_pattern};
use crate::engine::Request;
use crate::topology::{Node, SLOT_COUNT, Shard, SlotRange, Topology, key_slot};

/// A share before it has begun.
pub(super) struct Planned {
    pub(super) name: String,
    /// The node whose keys it reads; [`None`] if they may be anywhere.
    pub(super) node: Option<Arc<Node>>,
    /// The slots that it reads; [`None`] without slots.
    pub(super) slots: Option<Vec<SlotRange>>,
    /// Its keys, if the flow's are given by name.
    pub(super) names: Option<Vec<ByteBuf>>,
    /// Keys of these slots that have been read already, by their hashes.
    pub(super) shown: BTreeMap<u16, HashSet<u128>>,
}

/// Plans a share that is done by plain commands, wherever its keys are.
pub(super) fn anywhere(name: &str, slots: Vec<SlotRange>) -> Planned {
    Planned { name: name.into(), node: None, slots: Some(slots), names: None, shown: BTreeMap::new() }
}

/// Plans the share of what others have left open: slots that they have not read, and those of which they have shown keys with
/// these hashes; [`None`] if there are none.
pub(super) fn on_the_move(mut unread: Vec<u16>, shown: BTreeMap<u16, HashSet<u128>>) -> Option<Planned> {
    unread.extend(shown.keys());
    (!unread.is_empty()).then(|| Planned { shown, ..anywhere("slots on the move", ranges(unread)) })
}

/// Plans the share of a node.
fn at(node: &Arc<Node>, slots: Option<Vec<SlotRange>>) -> Planned {
    Planned { name: node.to_string(), node: Some(node.clone()), ..anywhere("", Vec::new()) }.with_slots(slots)
}

/// Plans the share of a node that does all by itself, on all keys that it has.
pub(super) fn alone(node: &Arc<Node>) -> Planned {
    at(node, None)
}

/// The way in which a share is done.
#[derive(Clone, Copy)]
pub(super) enum Way<'t> {
    /// Run it in process, on the server that we live in.
    Here,
    /// Run it on its node, if that takes shares.
    OnItsNode,
    /// Run it by plain commands, at one of the replicas that this shard has.
    AtReplica(&'t Shard),
    /// Run it by plain commands.
    Plain,
}

impl Planned {
    fn with_slots(self, slots: Option<Vec<SlotRange>>) -> Self {
        Self { slots, ..self }
    }

    /// Says how the share is done.
    pub(super) fn way<'t>(&self, request: &Request, topology: &'t Topology, on_replicas: bool) -> Way<'t> {
        let Some(node) = &self.node else { return Way::Plain };
        let is_its = |shard: &&Shard| shard.primary.id == node.id && !shard.replicas.is_empty();
        let goes_to_replicas = on_replicas && self.slots.is_some();
        match goes_to_replicas.then(|| topology.shards().iter().find(is_its)).flatten() {
            Some(shard) => Way::AtReplica(shard),
            None => way_to(node, request, topology),
        }
    }
}

/// Says how the share of a primary is done.
///
/// Hosts of a list may be databases of one server, of which none is meant by itself: each is read from here.
pub(super) fn way_to(node: &Arc<Node>, request: &Request, topology: &Topology) -> Way<'static> {
    let are_slots = topology.requires_same_slot();
    if request.is_in_process(topology, node) {
        if are_slots || topology.shards().len() == 1 { Way::Here } else { Way::Plain }
    } else if are_slots && request.has_inner_command() {
        Way::OnItsNode
    } else {
        Way::Plain
    }
}

/// Says who does what.
pub(super) fn planned(topology: &Topology, reader: &FlowReader) -> Vec<Planned> {
    if !topology.requires_same_slot() {
        return match reader {
            FlowReader::Names(_) => vec![anywhere("the keys", Vec::new())],
            FlowReader::Keys(_) | FlowReader::EachShard | FlowReader::OfCode => {
                topology.data_shards().map(|shard| at(&shard.primary, None)).collect()
            }
        };
    }
    match reader {
        FlowReader::Names(names) => by_owner_of_names(topology, names),
        FlowReader::EachShard => {
            topology.data_shards().map(|shard| at(&shard.primary, Some(shard.slots.clone()))).collect()
        }
        FlowReader::OfCode => by_owner(topology, 0..SLOT_COUNT as u16),
        FlowReader::Keys(filter) => match slot_of_pattern(&filter.pattern) {
            Some(slot) => by_owner(topology, [slot]),
            None => by_owner(topology, 0..SLOT_COUNT as u16),
        },
    }
}

/// Gives each slot to its owner.
fn by_owner(topology: &Topology, slots: impl IntoIterator<Item = u16>) -> Vec<Planned> {
    let shards = topology.shards();
    let mut owned: Vec<Vec<u16>> = vec![Vec::new(); shards.len()];
    let mut nobodys = Vec::new();
    for slot in slots {
        topology.owner_at(slot).map_or(&mut nobodys, |position| &mut owned[position]).push(slot);
    }
    let owned = shards.iter().zip(owned).filter(|(_, slots)| !slots.is_empty());
    let mut planned: Vec<Planned> = owned.map(|(shard, slots)| at(&shard.primary, Some(ranges(slots)))).collect();
    if !nobodys.is_empty() {
        planned.push(anywhere("slots without an owner", ranges(nobodys)));
    }
    planned
}

/// Gives each key to the owner of its slot.
fn by_owner_of_names(topology: &Topology, names: &[ByteBuf]) -> Vec<Planned> {
    let mut owned: BTreeMap<Option<usize>, Vec<ByteBuf>> = BTreeMap::new();
    for name in names {
        owned.entry(topology.owner_at(key_slot(name))).or_default().push(name.clone());
    }
    let planned = owned.into_iter().map(|(owner, names)| {
        let planned = match owner {
            Some(position) => at(&topology.shards()[position].primary, Some(Vec::new())),
            None => anywhere("keys whose slot has no owner", Vec::new()),
        };
        Planned { names: Some(names), ..planned }
    });
    planned.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::plan::{KeyFilter, ValuesRead};
    use crate::topology::{Address, Shard};

    fn topology() -> Topology {
        let shard = |port, slots| Shard::new(Arc::new(Node::new(Address::new("10.0.0.1", port)))).slots([slots]);
        Topology::with_slots("test", vec![shard(1, (0, 5460)), shard(2, (5461, 16000))])
    }

    fn keys(pattern: &str) -> FlowReader {
        FlowReader::Keys(KeyFilter { pattern: pattern.into(), type_name: None, values: ValuesRead::No })
    }

    /// Returns for each share whether it has a node, its slots, and its number of keys.
    fn shares(reader: &FlowReader) -> Vec<(bool, Vec<SlotRange>, usize)> {
        let of = |share: Planned| {
            let names = share.names.map_or(0, |names| names.len());
            (share.node.is_some(), share.slots.unwrap_or_default(), names)
        };
        planned(&topology(), reader).into_iter().map(of).collect()
    }

    #[test]
    fn each_slot_is_in_one_share_also_those_that_nobody_owns() {
        let all = [(true, vec![(0, 5460)], 0), (true, vec![(5461, 16000)], 0), (false, vec![(16001, 16383)], 0)];
        assert_eq!(shares(&keys("*")), all);
        assert_eq!(shares(&FlowReader::EachShard), all[..2]);
    }

    #[test]
    fn a_pattern_with_a_hash_tag_is_about_one_slot() {
        let slot = key_slot(b"{user:1}");
        assert_eq!(shares(&keys("{user:1}:*")), [(true, vec![(slot, slot)], 0)]);
    }

    #[test]
    fn keys_go_to_the_owners_of_their_slots() {
        let names: Vec<ByteBuf> = (0..100).map(|number: u32| number.to_string().into_bytes().into()).collect();
        let count = |from, to| names.iter().filter(|name| (from..=to).contains(&key_slot(name))).count();
        let expected = [(true, 5461, 16000), (true, 0, 5460), (false, 16001, 16383)];
        let mut expected: Vec<_> = expected.map(|(known, from, to)| (known, Vec::new(), count(from, to))).into();
        expected.retain(|(_, _, names)| *names > 0);
        let mut found = shares(&FlowReader::Names(names.clone()));
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected);
    }
}
