//! Explains which node would do which share of a flow, and how. Nodes are asked whether they take shares; nothing is run.

use futures_util::future::join_all;

use super::plan::FlowReader;
use super::planned::{Planned, Way, planned};
use crate::engine::Request;
use crate::error::Error;
use crate::topology::{SlotRange, Topology};

/// A share of a flow, as it would be done now.
#[derive(Debug)]
pub(crate) struct ExplainedShare {
    /// The node whose keys it reads, or which keys those are.
    pub(crate) name: String,
    /// The slots that it reads; [`None`] without slots.
    pub(crate) slots: Option<Vec<SlotRange>>,
    /// The way in which the share is done, and the place.
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
    let way = match (share.way(request, topology, on_replicas), &share.node) {
        (Way::AtReplica(_), _) => "plain commands, to a replica of that node",
        (Way::Here, _) => "here, in process",
        (Way::OnItsNode, Some(node)) => match request.session(node).await {
            Ok(session) if session.offers_inner() => "on that node, in process",
            Ok(_) => "plain commands: the node takes no shares",
            Err(_) => "plain commands: the node cannot be asked for shares now",
        },
        (_, Some(_)) => "plain commands",
        (_, None) => "plain commands, to wherever the keys are",
    };
    ExplainedShare { name: share.name, slots: share.slots, way }
}
