//! Commands to nodes that the caller names: some or all of the commands of one request.

use std::pin::pin;
use std::sync::Arc;

use tokio::time::Instant;

use super::exchange::Exchange;
use super::hidden_keys::HiddenKeys;
use super::options::{OnFailure, Options};
use super::outcomes::Outcomes;
use super::place::{place, same_node, slot_of};
use super::redirect::{Verdict, judge, pointed_at};
use super::replies::{Replies, ShardReply};
use super::request::Request;
use super::route::{Route, Via};
use super::state::EngineState;
use crate::command::{Command, CommandRef, CommandSet};
use crate::error::Error;
use crate::link::Mode;
use crate::reply::Reply;
use crate::topology::{Address, Node, Topology};

/// The answer of a node to a command that was sent to it and is not sent on.
#[derive(Debug, Clone)]
pub(crate) enum Said {
    /// The node has run the command.
    Reply(Reply),
    /// The slot is with that node; `None` for one that the topology does not know.
    Moved(Option<Arc<Node>>),
    /// The slot is with this node, and moves to that one.
    Ask(Option<Arc<Node>>),
    /// The node that we live in can say more over a socket only.
    InProcessNo,
    /// The node cannot be reached, or does not serve the command now; a fresh topology may help.
    NotNow(Error),
    /// The command does not work.
    Failed(Error),
}

/// Names the shard on whose primary a caller has placed commands, and the topology by which it has: by any other one they
/// are placed anew.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlacedOn {
    stamp: u64,
    shard: usize,
}

impl PlacedOn {
    /// Finds the shard whose primary a node is. `None` for a node that is no primary.
    pub(crate) fn primary(topology: &Topology, node: &Arc<Node>) -> Option<Self> {
        let shard = topology.shards().iter().position(|shard| Arc::ptr_eq(&shard.primary, node))?;
        Some(Self { stamp: topology.stamp(), shard })
    }

    /// Returns the node, if this is the topology by which commands were placed on it.
    fn node<'t>(&self, topology: &'t Topology) -> Option<&'t Arc<Node>> {
        (topology.stamp() == self.stamp).then(|| &topology.shards()[self.shard].primary)
    }
}

impl Request {
    /// Sends each command to the node that it is given with, or to its key's. The commands for one node run there in
    /// order. With `placed`, the caller has found all of those without a node to belong to that one.
    pub(crate) async fn addressed(
        &self,
        commands: Vec<(Command, Option<Arc<Node>>)>,
        placed: Option<PlacedOn>,
        options: &Options,
    ) -> Result<Replies, Error> {
        if self.deadline.at <= Instant::now() {
            // A command that is sent now is answered too late, and would run all the same.
            let topology = self.engine.refresher.current().map(|snapshot| snapshot.topology.clone());
            let placed = topology.as_ref().and_then(|topology| placed?.node(topology));
            let node = commands.iter().find_map(|(_, node)| node.as_ref()).or(placed);
            return Err(node.map_or_else(
                || self.deadline.missed_by_none(),
                |node| self.deadline.missed_by(node.to_string(), false),
            ));
        }
        let step = pin!(async {
            let snapshot = self.pinned().await?;
            let (commands, to): (Vec<_>, Vec<_>) = commands.into_iter().unzip();
            let commands = self.admit(commands.into()).await?;
            let hidden = HiddenKeys::of(&commands, &mut None);
            let outcomes = Outcomes::of(commands.len(), None);
            let route = ToNodes { engine: &self.engine, to, placed, via: Via::SharedLink, mode: Mode::Plain };
            let replies = Exchange::new(self, route, commands, outcomes, options).run(snapshot).await?.0;
            match hidden {
                Some(hidden) => Ok(Box::pin(hidden.leave_out(self, replies)).await?.0),
                None => Ok(replies),
            }
        });
        self.counted(step).await
    }

    /// Sends commands that only read to a replica, which answers them from its own copy of its primary's keys, and gathers their
    /// replies. A command that the replica sends on has failed.
    pub(crate) async fn at_replica(&self, replica: &Arc<Node>, commands: CommandSet) -> Result<Replies, Error> {
        let step = pin!(async {
            let snapshot = self.pinned().await?;
            let commands = self.admit(commands).await?;
            let to = vec![Some(replica.clone()); commands.len()];
            let route = ToNodes { engine: &self.engine, to, placed: None, via: Via::SharedLink, mode: Mode::Replica };
            let (outcomes, options) = (Outcomes::of(commands.len(), None), Options::new().partial(true));
            Ok(Exchange::new(self, route, commands, outcomes, &options).run(snapshot).await?.0)
        });
        self.counted(step).await
    }

    /// Sends each command to its node, and returns what each node has said, in order. With `by_socket` the node that we
    /// live in is asked over a socket too.
    ///
    /// The reply of a node to a command is the answer here, redirects and refusals too: nothing is sent on and nothing is
    /// sent twice. So the commands for one node run in their order, in one write, and each has run at that node or
    /// nowhere.
    ///
    /// # Errors
    /// Only what keeps all of them from being sent.
    pub(crate) async fn at_nodes(
        &self,
        commands: Vec<(Arc<Node>, Command)>,
        by_socket: bool,
    ) -> Result<Vec<Said>, Error> {
        let step = pin!(async {
            let snapshot = self.pinned().await?;
            let slots: Vec<_> =
                commands.iter().map(|(_, command)| slot_of(&snapshot.topology, command.into())).collect();
            let (nodes, commands): (Vec<_>, Vec<_>) = commands.into_iter().unzip();
            let via = if by_socket { Via::Socket } else { Via::SharedLink };
            let to = nodes.into_iter().map(Some).collect();
            let route = ToNodes { engine: &self.engine, to, placed: None, via, mode: Mode::Plain };
            let options = Options::on_failure(OnFailure::KeepUntried);
            let outcomes = Outcomes::of(slots.len(), None);
            let (replies, _) = Exchange::new(self, route, commands.into(), outcomes, &options).run(snapshot).await?;
            Ok(replies.into_iter().zip(slots).map(|(entry, slot)| self.said(entry, slot)).collect())
        });
        self.counted(step).await
    }

    /// Reads one outcome.
    fn said(&self, entry: ShardReply, slot: Option<u16>) -> Said {
        let ShardReply { node, result } = entry;
        let known = |address: Address| pointed_at(&self.engine.refresher.current()?.topology, &address).cloned();
        let error = match result {
            Ok(reply) => return Said::Reply(reply),
            Err(error) => error,
        };
        let Error::Shard { message, .. } = &error else {
            return if matches!(error, Error::Node { .. }) { Said::NotNow(error) } else { Said::Failed(error) };
        };
        match judge(message.as_bytes(), node.address.host(), slot) {
            Verdict::Moved(address) => Said::Moved(known(address)),
            Verdict::Ask(address) => Said::Ask(known(address)),
            Verdict::Elsewhere => Said::InProcessNo,
            Verdict::Later | Verdict::Demoted => Said::NotNow(error),
            Verdict::Final => Said::Failed(error),
        }
    }
}

/// Each unit is one command, and goes to the node that is named for it, or to its key's.
pub(super) struct ToNodes<'a> {
    pub(super) engine: &'a EngineState,
    pub(super) to: Vec<Option<Arc<Node>>>,
    /// The node that the commands without one belong to, as far as the caller knows.
    pub(super) placed: Option<PlacedOn>,
    pub(super) via: Via,
    pub(super) mode: Mode,
}

impl ToNodes<'_> {
    /// Returns whether a unit goes wherever its key is, by slots.
    fn is_by_slot(&self, topology: &Topology, unit: u32) -> bool {
        self.to[unit as usize].is_none() && topology.has_slots()
    }
}

impl Route for ToNodes<'_> {
    fn node<'t>(&self, topology: &'t Topology, unit: u32, command: CommandRef<'_>) -> Result<&'t Arc<Node>, Error> {
        if let Some(node) = &self.to[unit as usize] {
            return same_node(topology, node);
        }
        let placed = self.placed.and_then(|placed| placed.node(topology));
        placed.map_or_else(|| place(self.engine, topology, command), Ok)
    }

    fn mode(&self, _topology: &Topology, _node: &Node) -> Mode {
        self.mode
    }

    fn via(&self) -> Via {
        self.via
    }

    fn follows_redirects(&self, topology: &Topology, unit: u32) -> bool {
        self.is_by_slot(topology, unit)
    }

    fn follows_primary(&self, topology: &Topology, unit: u32) -> bool {
        self.is_by_slot(topology, unit)
    }
}
