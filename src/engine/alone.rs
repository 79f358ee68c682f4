//! Commands that may block: each to its key's node, over a connection to itself.

use std::sync::Arc;

use super::redirect::{Verdict, judge, pointed_at};
use super::{Engine, unfit};
use crate::command::{Command, printable};
use crate::error::Error;
use crate::link::{Budget, Failure};
use crate::reply::Reply;
use crate::shard::key_slot;
use crate::topology::Node;

/// How often such a command is sent on by redirects.
const MOST_REDIRECTS: usize = 6;

impl Engine {
    /// Sends a command that may block to its key's node, and waits until the deadline.
    ///
    /// # Errors
    /// [`Error::Timeout`] if the node has said nothing by then; what else a command can end in.
    pub(crate) async fn alone(&self, command: Command) -> Result<Reply, Error> {
        unfit::check_alone(&command)?;
        let engine = self.scoped(&super::Options::default());
        let request = async {
            let deadline = engine.deadline();
            let view = engine.pinned().await?;
            let node = engine.owner(&view.topology, &command)?.clone();
            tokio::select! {
                biased;
                result = engine.follow(&command, node.clone()) => result,
                () = deadline.passed() => Err(deadline.missed_by(node.to_string(), !command.is_read_only())),
            }
        };
        engine.begin()?.end(request.await)
    }

    /// Goes where redirects point, if that is a node of the topology.
    async fn follow(&self, command: &Command, mut node: Arc<Node>) -> Result<Reply, Error> {
        let budget = self.scope.budget.clone().unwrap_or_else(|| Arc::new(Budget::new(usize::MAX)));
        let (slot, mut asking) = (command.routing_key().map(key_slot), false);
        for _ in 0..=MOST_REDIRECTS {
            let links = self.shared.views.links();
            let said = links.call_dedicated(node.endpoint(), command, asking, self.scope.protocol, &budget).await;
            let message = match said {
                Ok(Reply::Error(message)) => message,
                Ok(reply) => return Ok(reply),
                Err(failure) => return Err(lost(&node, command, &budget, failure)),
            };
            let verdict = judge(&message, node.address.host(), slot);
            let key = command.routing_key().map(printable);
            let refusal = Error::Shard { node: node.to_string(), message: message.into(), key };
            let address = match verdict {
                Verdict::Moved(address) => {
                    asking = false;
                    self.refresh().await?;
                    address
                }
                Verdict::Ask(address) => {
                    asking = true;
                    address
                }
                _ => return Err(refusal),
            };
            let known = self.topology().and_then(|topology| pointed_at(&topology, &address).cloned());
            node = known.ok_or(refusal)?;
        }
        Err(Error::Topology(format!("the nodes do not agree on who has the key; the last that was asked is {node}")))
    }
}

fn lost(node: &Node, command: &Command, budget: &Budget, failure: Failure) -> Error {
    let (cause, has_left) = match failure {
        Failure::TooBig => return Error::TooBig { limit: budget.limit() },
        Failure::Unreachable(cause) => (cause, false),
        Failure::Declined => ("it declined".into(), false),
        Failure::Lost(cause) => (cause, true),
    };
    Error::Node { node: node.to_string(), cause, outcome_unknown: has_left && !command.is_read_only() }
}
