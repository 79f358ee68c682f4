//! Who would do which share of a flow, and how. Nodes are asked whether they take shares; nothing is run.

use futures_util::future::join_all;

use super::plan::FlowReader;
use super::planned::{Planned, planned};
use crate::engine::Request;
use crate::error::Error;
use crate::topology::{Node, SlotRange, Topology};

/// A share of a flow, as it would be done now.
#[derive(Debug)]
pub(crate) struct ExplainedShare {
    /// The node whose keys it reads, or which keys those are.
    pub(crate) name: String,
    /// The slots that it reads; [`None`] without slots.
    pub(crate) slots: Option<Vec<SlotRange>>,
    /// How it is done, and where.
    pub(crate) way: &'static str,
}

/// Says who would do what.
///
/// # Errors
/// If the topology is not known.
pub(crate) async fn explain(
    request: &Request,
    reader: &FlowReader,
    on_replicas: bool,
) -> Result<Vec<ExplainedShare>, Error> {
    let topology = request.pinned_topology().await?;
    let shares = planned(&topology, reader).into_iter().map(|share| explained(request, &topology, share, on_replicas));
    Ok(join_all(shares).await)
}

async fn explained(request: &Request, topology: &Topology, share: Planned, on_replicas: bool) -> ExplainedShare {
    // Hosts of a list may be databases of one server, so each is read from here.
    let are_slots = topology.requires_same_slot();
    let has_replica = |node: &Node| {
        let of = topology.shards().iter().find(|shard| shard.primary.id == node.id);
        of.is_some_and(|shard| !shard.replicas.is_empty())
    };
    let way = match &share.node {
        Some(node) if on_replicas && are_slots && has_replica(node) => "plain commands, to a replica of that node",
        None => "plain commands, to wherever the keys are",
        Some(node) if (are_slots || topology.shards().len() == 1) && request.is_in_process(topology, node) => {
            "here, in process"
        }
        Some(node) if are_slots && request.has_inner_command() => match request.session(node).await {
            Ok(session) if session.offers_inner() => "on that node, in process",
            Ok(_) => "plain commands: the node takes no shares",
            Err(_) => "plain commands: the node cannot be asked for shares now",
        },
        Some(_) => "plain commands",
    };
    ExplainedShare { name: share.name, slots: share.slots, way }
}
