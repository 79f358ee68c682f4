//! Commands that take a connection of their own to a node: those that block, and those by which a node answers for all.
//!
//! The connection is the client's, and ends with it: a node that hears that takes the wait for over. Between two such
//! commands it is kept, since who waits once waits again.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::Instant;

use super::client_connection::{ClientConnection, Over};
use super::node_connection::{NodeConnection, failed, not_in_time, refuse_copies, settle};
use crate::command::Command;
use crate::engine::Request;
use crate::error::Error;
use crate::link::Budget;
use crate::reply::Reply;
use crate::resp::{Retry, ServerErrorKind};
use crate::serve::known::{NodeCommand, keys_of};
use crate::serve::unblocked::Unblocked;
use crate::topology::Node;

/// The end of a time that has none.
pub(super) const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The outcome of a command that was sent alone.
enum AloneOutcome {
    Answered(Reply),
    /// The node does not serve it, and nothing has happened.
    Elsewhere(Reply),
    Failed(Error),
    ClientLeft,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> ClientConnection<S> {
    /// Runs a command on a connection of its own, for as long as it takes.
    pub(super) async fn run_alone(&mut self, command: Command, of_nodes: &NodeCommand) -> ControlFlow<Over> {
        let keys = match keys_of(&self.state.engine.request().begin(), &command, &of_nodes.description).await {
            Ok(keys) => keys,
            Err(error) => {
                self.answer(Err(error));
                return ControlFlow::Continue(());
            }
        };
        if !keys.is_empty() && !of_nodes.only_reads {
            let request = self.user.engine.request().begin();
            if let Err(refused) = refuse_copies(&request, &command).await {
                let is_refused = matches!(refused, Error::Refused(_));
                let answer = match Unblocked::of(&command).filter(|_| is_refused) {
                    None => Err(refused),
                    Some(Err(words)) => Ok(Reply::Error(words.into())),
                    Some(Ok(wanted)) => match self.are_together(&request, &command, &keys).await {
                        Err(error) => Err(error),
                        Ok(()) => match self.wait_for_keys(&wanted).await {
                            Some(answer) => answer,
                            None => return ControlFlow::Break(Over),
                        },
                    },
                };
                self.answer(answer);
                return ControlFlow::Continue(());
            }
        }
        let until = Instant::now() + self.user.engine.timeout();
        loop {
            // Each attempt has a time of its own to connect; what the command itself takes is not bounded.
            let request = self.request().begin();
            let outcome = match self.find_alone(&request, &command, &keys).await {
                Ok(connection) => self.call_alone(connection, &command, !keys.is_empty()).await,
                Err(error) => AloneOutcome::Failed(error),
            };
            match outcome {
                AloneOutcome::Answered(reply) => self.answer(Ok(reply)),
                AloneOutcome::Failed(error) => self.answer(Err(error)),
                AloneOutcome::ClientLeft => return ControlFlow::Break(Over),
                AloneOutcome::Elsewhere(reply) if Instant::now() >= until => self.answer(Err(not_in_time(&reply))),
                AloneOutcome::Elsewhere(_) => {
                    settle(&request).await;
                    continue;
                }
            }
            return ControlFlow::Continue(());
        }
    }

    /// Connects to the node of the command's keys, or to any that can be reached.
    async fn find_alone(
        &mut self,
        request: &Request,
        command: &Command,
        keys: &[usize],
    ) -> Result<NodeConnection, Error> {
        let topology = request.pinned_topology().await?;
        if let Some(node) = self.node_of_keys(request, &topology, command, keys)? {
            return self.connect(request, &node.clone()).await;
        }
        let mut failure = Error::no_node(topology.source());
        let last = self.idle.as_ref().map(|idle| idle.node.id.clone());
        let mut nodes: Vec<&Arc<Node>> = topology.data_shards().map(|shard| &shard.primary).collect();
        nodes.sort_by_key(|node| Some(&node.id) != last.as_ref());
        for node in nodes {
            match self.connect(request, node).await {
                Ok(connection) => return Ok(connection),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Refuses keys that are in several slots.
    async fn are_together(&mut self, request: &Request, command: &Command, keys: &[usize]) -> Result<(), Error> {
        let topology = request.pinned_topology().await?;
        self.node_of_keys(request, &topology, command, keys).map(drop)
    }

    /// Waits for something that may take long, while the client is there. `None` if it leaves, or is to be left.
    pub(super) async fn while_present<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(future);
        let mut drain = self.state.drain.subscribe();
        loop {
            // Requests of the client wait meanwhile, up to a bound.
            let has_room = self.requests.len() < self.state.options.max_request_bytes;
            tokio::select! {
                done = &mut future => return Some(done),
                read = self.stream.read_buf(self.requests.buffer()), if has_room => match read {
                    Ok(0) | Err(_) => return None,
                    Ok(bytes) => {
                        self.requests.has_read(bytes);
                        self.state.counters.received(bytes);
                    }
                },
                () = self.entry.killed() => return None,
                _ = drain.wait_for(|&is_draining| is_draining) => return None,
            }
        }
    }

    /// Sends a command and waits for its reply, or for the client to leave.
    async fn call_alone(
        &mut self,
        mut connection: NodeConnection,
        command: &Command,
        is_for_keys: bool,
    ) -> AloneOutcome {
        let budget = Budget::new(self.state.options.max_reply_bytes);
        let call = connection.session.call(command, &budget, Instant::now() + FOR_EVER);
        let Some(called) = self.while_present(call).await else { return AloneOutcome::ClientLeft };
        match called {
            Ok(Reply::Error(words)) => {
                self.idle = Some(connection);
                // A node's error about other nodes' work does not mean that nothing has happened.
                let has_not_run = match is_for_keys {
                    true => Retry::after(&words) != Retry::Never || is_unblocked(&words),
                    false => ServerErrorKind::of(&words).is_redirect(),
                };
                match has_not_run {
                    true => AloneOutcome::Elsewhere(Reply::Error(words)),
                    false => AloneOutcome::Answered(Reply::Error(words)),
                }
            }
            Ok(reply) => {
                self.idle = Some(connection);
                AloneOutcome::Answered(reply)
            }
            Err(failure) => AloneOutcome::Failed(failed(&connection.node, failure)),
        }
    }
}

/// Tells whether a node has ended a wait since it is no primary any more, or has given the slot away.
fn is_unblocked(words: &[u8]) -> bool {
    words.starts_with(b"UNBLOCKED")
}
