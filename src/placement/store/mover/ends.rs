//! Connections to the nodes between which a slot goes. One that cannot be reached has failed, and what follows from that is done.

use tokio::time::{Instant, sleep, timeout_at};

use super::scripts::LOSE;
use super::{Mover, RETRY};
use crate::error::Error;
use crate::placement::store::copy::node::DataNode;
use crate::placement::store::table::SlotTable;

/// The nodes that take part: where the keys of a slot are, and where they go.
pub(super) struct Ends {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) source: DataNode,
    pub(super) target: [DataNode; 1],
    pub(super) target_run_id: String,
}

impl Mover {
    /// Connects to the nodes between which a slot goes.
    pub(super) async fn ends(&self, table: &SlotTable, slot: u16, [source, to]: [&String; 2]) -> Result<Ends, Error> {
        let mut target = self.target(table, slot, to).await?;
        let target_run_id = target.run_id().await?;
        let source_node = self.source(table, source).await?;
        let (from, to) = (source.clone(), to.clone());
        Ok(Ends { from, to, source: source_node, target: [target], target_run_id })
    }

    /// Connects to a node that is to get a slot. One that cannot be used is in no more, so that others can be planned with, and
    /// comes back as a new one.
    pub(super) async fn target(&self, table: &SlotTable, slot: u16, name: &str) -> Result<DataNode, Error> {
        match self.reach(table, name).await {
            Ok(node) => Ok(node),
            Err(error) => {
                let (slot, why) = (slot.to_string(), error.to_string());
                if self.tables.run::<i64>(&LOSE, &[&self.name, &slot, name, &why]).await? == 1 {
                    log::warn!("the node {name}, which was to get slot {slot}, fails: {why}");
                }
                Err(error)
            }
        }
    }

    /// Connects to a node that has a slot. One that cannot be used leaves the copies of all slots that have others.
    pub(super) async fn source(&self, table: &SlotTable, name: &str) -> Result<DataNode, Error> {
        let reached = self.reach(table, name).await;
        if let (Err(error), Some(node)) = (&reached, table.nodes.iter().find(|node| node.address.to_string() == name)) {
            self.sequencer.cannot_reach(node, &error.to_string());
        }
        reached
    }

    /// Connects to a node, and tries for as long as one may be silent.
    async fn reach(&self, table: &SlotTable, name: &str) -> Result<DataNode, Error> {
        let until = Instant::now() + table.settings.node_timeout;
        let mut failed = None;
        loop {
            match timeout_at(until, self.connect(table, name)).await {
                Ok(Ok(node)) => return Ok(node),
                Ok(Err(error)) => failed = Some(error),
                Err(_) => {
                    let late = || Error::Node {
                        node: name.to_owned(),
                        cause: "it does not answer".into(),
                        outcome_unknown: false,
                    };
                    return Err(failed.unwrap_or_else(late));
                }
            }
            sleep(RETRY).await;
        }
    }
}
