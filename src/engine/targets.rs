//! [`Targets`]: which nodes a fan-out goes to.

use std::sync::Arc;

use super::place::no_shards;
use super::request::Request;
use super::state::EngineState;
use crate::command::printable;
use crate::error::Error;
use crate::topology::{Node, SlotRange, SlotRanges, Topology};

/// Says to which nodes a fan-out goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Targets {
    /// The primary of every shard that holds data.
    #[default]
    Primaries,
    /// Every primary, those without data included: what code and users every node must have goes there.
    AllPrimaries,
    /// Every replica of the shards that hold data.
    Replicas,
    /// Every known node, those without data included.
    All,
    /// The nodes of these ids or addresses, in this order, each once; of a list of hosts, their host ids will do.
    Nodes(Vec<String>),
    /// The primaries that hold these keys, in this order, each once.
    Keys(Vec<Vec<u8>>),
}

impl EngineState {
    /// Returns the nodes that a fan-out goes to.
    pub(super) fn select(
        &self,
        topology: &Topology,
        targets: &Targets,
        partial: bool,
    ) -> Result<Vec<Arc<Node>>, Error> {
        let Targets::Keys(keys) = targets else { return select(topology, targets, partial) };
        let mut nodes: Vec<Arc<Node>> = Vec::new();
        for key in keys {
            let node = self.holder(topology, key)?;
            if !nodes.iter().any(|known| Arc::ptr_eq(known, node)) {
                nodes.push(node.clone());
            }
        }
        Ok(nodes)
    }
}

impl Targets {
    /// Returns the slots whose data a fan-out misses since nobody owns them; of nodes that are named it misses nothing.
    pub(super) fn missed<'t>(&self, topology: &'t Topology) -> &'t [SlotRange] {
        match self {
            Self::Nodes(_) | Self::Keys(_) => &[],
            Self::Primaries | Self::AllPrimaries | Self::Replicas | Self::All => topology.uncovered(),
        }
    }
}

impl Request {
    /// Returns the nodes of a fan-out.
    pub(crate) fn targeted(&self, topology: &Topology, targets: &Targets) -> Result<Vec<Arc<Node>>, Error> {
        self.engine.select(topology, targets, false)
    }
}

/// Returns the nodes of a fan-out for which keys do not matter.
fn select(topology: &Topology, targets: &Targets, partial: bool) -> Result<Vec<Arc<Node>>, Error> {
    if let Targets::Nodes(names) = targets {
        let mut nodes: Vec<Arc<Node>> = Vec::new();
        for name in names {
            let node = named(topology, name)?;
            // Whatever it is called, a node does a thing once.
            if !nodes.iter().any(|known| Arc::ptr_eq(known, &node)) {
                nodes.push(node);
            }
        }
        return Ok(nodes);
    }
    if topology.data_shards().next().is_none() {
        return Err(no_shards(topology));
    }
    let uncovered = topology.uncovered();
    if !uncovered.is_empty() && !partial {
        return Err(slots_without_owner(uncovered));
    }
    let nodes: Vec<Arc<Node>> = match targets {
        Targets::Replicas => topology.data_shards().flat_map(|shard| shard.replicas.iter().cloned()).collect(),
        Targets::All => topology.all_nodes().cloned().collect(),
        Targets::AllPrimaries => topology.shards().iter().map(|shard| shard.primary.clone()).collect(),
        _ => topology.data_shards().map(|shard| shard.primary.clone()).collect(),
    };
    if nodes.is_empty() {
        return Err(Error::Topology("no shard has a replica".into()));
    }
    Ok(nodes)
}

/// Returns the error that these slots have no owner.
pub(crate) fn slots_without_owner(slots: &[SlotRange]) -> Error {
    let count: u32 = slots.iter().map(|&(first, last)| u32::from(last - first) + 1).sum();
    Error::Slots(format!("{count} slots have no owner ({})", SlotRanges(slots)))
}

fn named(topology: &Topology, name: &str) -> Result<Arc<Node>, Error> {
    topology.node_meant(name).cloned().ok_or_else(|| {
        let known: Vec<String> = topology.all_nodes().map(|node| node.name()).collect();
        let name = printable(name.as_bytes());
        Error::Invalid(format!("no node has the id or address '{name}'; known are {}", known.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{Address, Role, Shard};

    fn node(port: u16, role: Role) -> Arc<Node> {
        Arc::new(Node { role, ..Node::new(Address::new("10.0.0.1", port)) })
    }

    fn cluster(last: u16) -> Topology {
        let shard = |port, slots| Shard {
            primary: node(port, Role::Primary),
            replicas: vec![node(port + 10, Role::Replica)],
            slots,
        };
        Topology::with_slots("test", vec![shard(2, vec![(100, last)]), shard(1, vec![(0, 99)]), shard(3, vec![])])
    }

    fn ports(topology: &Topology, targets: Targets) -> Vec<u16> {
        select(topology, &targets, false).unwrap().iter().filter_map(|node| node.address.port()).collect()
    }

    #[test]
    fn targets_are_selected_in_slot_order() {
        let topology = cluster(16383);
        assert_eq!(ports(&topology, Targets::Primaries), [1, 2]);
        assert_eq!(ports(&topology, Targets::Replicas), [11, 12]);
        assert_eq!(ports(&topology, Targets::All), [1, 11, 2, 12, 3, 13]);
        assert_eq!(ports(&topology, Targets::AllPrimaries), [1, 2, 3]);
        assert_eq!(ports(&topology, Targets::Nodes(vec!["10.0.0.1:3".into(), "10.0.0.1:1".into()])), [3, 1]);
        let twice = ["10.0.0.1:3", "10.0.0.1:1", "10.0.0.1:3"].map(Into::into);
        assert_eq!(ports(&topology, Targets::Nodes(twice.into())), [3, 1]);
    }

    #[test]
    fn a_hole_in_the_slots_is_an_error_unless_partial() {
        let error = select(&cluster(16000), &Targets::Primaries, false).unwrap_err();
        assert_eq!(error.to_string(), "383 slots have no owner (16001-16383)");
        assert_eq!(select(&cluster(16000), &Targets::Primaries, true).unwrap().len(), 2);
    }

    #[test]
    fn an_unknown_node_is_named_with_those_known() {
        let error = select(&cluster(16383), &Targets::Nodes(vec!["nobody".into()]), false).unwrap_err().to_string();
        assert!(error.starts_with("no node has the id or address 'nobody'; known are 10.0.0.1:1, "), "{error}");
    }
}
