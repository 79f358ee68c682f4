//! Hosts and their ids: the shards of a topology, counted from 0 in its order.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::Error;
use crate::reply::Reply;
use crate::topology::{Node, Topology};

/// Holds the answer of each host, by its id. An error of one host is that host's, and nobody else's.
pub type ByHost = BTreeMap<usize, Result<Reply, Error>>;

/// The hosts of a command that is not for its own key's host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hosts {
    All,
    Of(Vec<usize>),
}

impl Hosts {
    /// Returns the hosts' ids and nodes.
    pub(super) fn nodes(&self, topology: &Topology) -> Vec<(usize, Result<Arc<Node>, Error>)> {
        match self {
            Self::All => all(topology).map(|(id, node)| (id, Ok(node.clone()))).collect(),
            Self::Of(ids) => ids.iter().map(|&id| (id, host(topology, id))).collect(),
        }
    }
}

/// Lists all hosts: those that hold data, for a shard without slots is none.
pub(super) fn all(topology: &Topology) -> impl Iterator<Item = (usize, &Arc<Node>)> {
    topology.data_shards().map(|shard| &shard.primary).enumerate()
}

/// Returns the host of this id.
pub(super) fn host(topology: &Topology, id: usize) -> Result<Arc<Node>, Error> {
    let found = all(topology).find(|(known, _)| *known == id).map(|(_, node)| node.clone());
    found.ok_or_else(|| match all(topology).count() {
        0 => Error::no_node(topology.source()),
        hosts => Error::Invalid(format!("there is no host {id}; the ids are 0 to {}", hosts - 1)),
    })
}
