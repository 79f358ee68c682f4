//! Conversations with single nodes, for what is not one command and its reply: the shares of flows.

use std::sync::Arc;

use super::request::Request;
use crate::error::Error;
use crate::link::{Failure, Session};
use crate::topology::{Node, Topology};

impl Request {
    /// Opens a connection of its own to a node. Those who may not leave the process open none.
    ///
    /// # Errors
    /// [`Error::Node`] if the node cannot be reached, [`Error::Timeout`] if it cannot be by the deadline.
    pub(crate) async fn session(&self, node: &Arc<Node>) -> Result<Session, Error> {
        self.may_leave(node)?;
        let opened = self.engine.refresher.session(node, self.protocol());
        match tokio::time::timeout_at(self.deadline.at, opened).await {
            Ok(Ok(session)) => Ok(session),
            Ok(Err(failure)) => {
                let cause = match failure {
                    Failure::Unreachable(cause) | Failure::Lost(cause) => cause,
                    other => format!("{other:?}"),
                };
                Err(Error::Node { node: node.to_string(), cause, outcome_unknown: false })
            }
            Err(_) => Err(self.deadline.missed_by(node.to_string(), false)),
        }
    }

    /// Returns whether nodes with the same module can be asked by inner commands.
    pub(crate) fn has_inner_command(&self) -> bool {
        self.engine.refresher.inner_command().is_some()
    }

    /// Returns whether this node is the process that we run in, and served by it.
    pub(crate) fn is_in_process(&self, topology: &Topology, node: &Arc<Node>) -> bool {
        self.engine.refresher.is_in_process(topology, node)
    }
}
