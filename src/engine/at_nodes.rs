//! Commands to nodes that the caller names, for whoever finds the way alone.
//!
//! What a node says to a command is the answer here, redirects and refusals too: nothing is sent on and nothing is sent
//! twice. So the commands for one node run in their order, in one write, and each has run at that node or nowhere.

use std::sync::Arc;

use super::exchange::Exchange;
use super::outcomes::Outcomes;
use super::plan::Route;
use super::redirect::{Verdict, judge, pointed_at};
use super::replies::ShardReply;
use super::view::View;
use super::{Engine, Options};
use crate::command::Command;
use crate::command::CommandRef;
use crate::error::Error;
use crate::link::Mode;
use crate::reply::Reply;
use crate::shard::key_slot;
use crate::topology::{Address, Node};

/// What a node has said to a command.
#[derive(Debug, Clone)]
pub(crate) enum Said {
    /// It has run it.
    Reply(Reply),
    /// The slot is with that node; `None` for one that the topology does not know.
    Moved(Option<Arc<Node>>),
    /// The slot is with this node, and moves to that one.
    Ask(Option<Arc<Node>>),
    /// The node that we live in can say more over a socket only.
    InProcessNo,
    /// It cannot be reached, or does not serve it now; a fresh topology may help.
    NotNow(Error),
    /// It does not work.
    Failed(Error),
}

impl Engine {
    /// Sends each command to its node, and gives what each node has said, in order. With `by_socket` the node that we
    /// live in is asked over a socket too.
    ///
    /// # Errors
    /// Only what keeps all of them from being sent.
    pub(crate) async fn at_nodes(
        &self,
        commands: Vec<(Arc<Node>, Command)>,
        by_socket: bool,
    ) -> Result<Vec<Said>, Error> {
        let engine = self.scoped(&Options::default());
        let request = async {
            let view = engine.pinned().await?;
            let slots: Vec<_> = commands.iter().map(|(_, command)| command.routing_key().map(key_slot)).collect();
            let (nodes, commands): (Vec<_>, Vec<_>) = commands.into_iter().unzip();
            let route = AtNodes { nodes, by_socket };
            let options = Options { keeps_failures: true, tries_once: true, ..Options::default() };
            let outcomes = Outcomes::of(slots.len(), None);
            let (replies, _) = Exchange::new(&engine, route, commands.into(), outcomes, &options).run(view).await?;
            Ok(replies.into_iter().zip(slots).map(|(entry, slot)| engine.said(entry, slot)).collect())
        };
        engine.begin()?.end(request.await)
    }

    /// Reads one outcome.
    fn said(&self, entry: ShardReply, slot: Option<u16>) -> Said {
        let ShardReply { node, result } = entry;
        let known = |address: Address| pointed_at(&*self.topology()?, &address).cloned();
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

/// Each unit is one command, and goes to the node that it is given with.
struct AtNodes {
    nodes: Vec<Arc<Node>>,
    by_socket: bool,
}

impl Route for AtNodes {
    fn node<'v>(&self, view: &'v View, unit: u32, _command: CommandRef<'_>) -> Result<&'v Arc<Node>, Error> {
        let node = &self.nodes[unit as usize];
        let same = view.topology.all_nodes().find(|known| known.id == node.id);
        same.ok_or_else(|| Error::Topology(format!("the node {node} has left")))
    }

    fn mode(&self, _view: &View, _node: &Node) -> Mode {
        Mode::Plain
    }

    fn by_socket(&self) -> bool {
        self.by_socket
    }

    fn command(&self, unit: u32) -> u32 {
        unit
    }

    fn follows_redirects(&self, _view: &View, _unit: u32) -> bool {
        false
    }

    fn follows_primary(&self, _view: &View, _unit: u32) -> bool {
        false
    }
}
