//! One server: a cluster of one shard that holds everything.

use super::{Address, BoxFuture, Node, NodeProvider, Shard, Topology};
use crate::error::Error;
use std::sync::Arc;

/// A single server that owns all slots.
///
/// Inside the module it is the server itself, and every request is served in process.
#[derive(Debug, Clone)]
pub struct Single {
    address: Address,
    is_local: bool,
    is_plain: bool,
}

impl Single {
    /// Makes a topology of the one server at this address.
    pub fn new(address: Address) -> Self {
        Self { address, is_local: false, is_plain: true }
    }

    /// Makes a topology of the server that this process is.
    pub fn local(address: Address) -> Self {
        Self { address, is_local: true, is_plain: true }
    }

    /// Sets whether the server has `cluster-enabled yes`, so that it takes only commands whose keys share a slot. Default:
    /// `false`.
    #[must_use]
    pub fn cluster_enabled(mut self, is_enabled: bool) -> Self {
        self.is_plain = !is_enabled;
        self
    }
}

impl NodeProvider for Single {
    fn topology(&self) -> BoxFuture<'_, Result<Topology, Error>> {
        let primary = Arc::new(Node::new(self.address.clone()));
        let id = primary.id.clone();
        let shard = Shard { primary, replicas: Vec::new(), slots: vec![(0, 16383)] };
        let topology = Topology::with_slots("single", vec![shard]).with_fixed_slots();
        let topology = if self.is_plain { topology.with_plain_servers() } else { topology };
        let topology = if self.is_local { topology.with_local(&id) } else { topology };
        Box::pin(std::future::ready(Ok(topology)))
    }
}
