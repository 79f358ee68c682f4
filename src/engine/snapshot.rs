//! [`Snapshot`]: one immutable topology with the links to its nodes. A request pins one and keeps it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::link::Link;
use crate::topology::{Node, Topology};

/// A topology and the links to its nodes.
pub(super) struct Snapshot {
    pub(super) topology: Arc<Topology>,
    links: Vec<(Arc<Node>, Arc<dyn Link>)>,
    /// The moment when slots were last seen to lose their owner; `None` if all have one, or none had any before.
    lost_slots: Option<Instant>,
}

impl Snapshot {
    /// Joins the topology with links, as the next one after `before`.
    pub(super) fn after(
        before: Option<&Self>,
        topology: Topology,
        link: impl Fn(&Topology, &Arc<Node>) -> Arc<dyn Link>,
    ) -> Self {
        let lost_slots = match before {
            _ if topology.uncovered().is_empty() => None,
            Some(before) if topology.has_lost_slots_of(&before.topology) => Some(Instant::now()),
            before => before.and_then(|before| before.lost_slots),
        };
        let epoch = before.map_or(0, |before| before.topology.epoch()) + 1;
        let topology = Arc::new(topology.with_epoch(epoch));
        let links = topology.all_nodes().map(|node| (node.clone(), link(&topology, node))).collect();
        Self { topology, links, lost_slots }
    }

    /// Returns the link to a node of this topology.
    pub(super) fn link(&self, node: &Arc<Node>) -> Option<&Arc<dyn Link>> {
        self.links.iter().find(|(known, _)| Arc::ptr_eq(known, node)).map(|(_, link)| link)
    }

    pub(super) fn links(&self) -> impl Iterator<Item = (&Arc<Node>, &Arc<dyn Link>)> {
        self.links.iter().map(|(node, link)| (node, link))
    }

    /// Returns for how long slots have had no owner that had one before.
    pub(super) fn has_lost_slots_for(&self) -> Option<Duration> {
        self.lost_slots.map(|lost| lost.elapsed())
    }

    /// Returns whether this node is the process that we run in, and served by it.
    pub(super) fn is_in_process(&self, node: &Arc<Node>) -> bool {
        self.topology.is_local(node)
    }
}
