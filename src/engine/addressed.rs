//! Commands of which some go to their key's node, and some to a node that the caller names, in one request.

use std::sync::Arc;
use std::time::Instant;

use super::exchange::Exchange;
use super::map::{place, place_keys, placing};
use super::outcomes::Outcomes;
use super::plan::Route;
use super::replies::Replies;
use super::view::View;
use super::{Engine, Options};
use crate::command::Command;
use crate::command::CommandRef;
use crate::error::Error;
use crate::link::Mode;
use crate::topology::{Node, Topology};

impl Engine {
    /// Sends each command to the node that it is given with, or to its key's. What is for one node runs there in order.
    /// With `placed`, the caller has found all of those without a node to belong to that one.
    pub(crate) async fn addressed(
        &self,
        commands: Vec<(Command, Option<Arc<Node>>)>,
        placed: Option<PlacedOn>,
        options: &Options,
    ) -> Result<Replies, Error> {
        let engine = self.scoped(options);
        let deadline = engine.deadline();
        if deadline.at <= Instant::now() {
            // What is sent now is answered too late, and would run all the same.
            let named = commands.iter().find_map(|(_, node)| node.as_ref()).map(|node| node.to_string());
            return Err(deadline.missed_by(named.unwrap_or_else(|| "a turn to be sent".into()), false));
        }
        let request = async {
            let view = engine.pinned().await?;
            let (commands, to): (Vec<_>, Vec<_>) = commands.into_iter().unzip();
            let commands = engine.admit(commands.into()).await?;
            let outcomes = Outcomes::of(commands.len(), None);
            let route = Addressed { engine: &engine, to, placed };
            Ok(Exchange::new(&engine, route, commands, outcomes, options).run(view).await?.0)
        };
        engine.begin()?.end(request.await)
    }

    /// The positions of the shards that keys belong to. `None` if they cannot all be placed at once: each command then
    /// [has an owner](Self::owner), or an error of its own.
    pub(crate) fn shards_of_keys<'k>(
        &self,
        topology: &Topology,
        mut keys: impl ExactSizeIterator<Item = &'k [u8]>,
    ) -> Option<Vec<usize>> {
        let count = keys.len();
        let mut shards = Vec::with_capacity(count);
        let mut put = |shard| shards.push(shard);
        let placed = placing(|| place_keys(self, topology, count, &mut keys, &mut put).transpose());
        matches!(placed, Ok(Some(()))).then_some(shards)
    }

    /// The node that a command belongs to.
    pub(crate) fn owner<'t>(&self, topology: &'t Topology, command: &Command) -> Result<&'t Arc<Node>, Error> {
        placing(|| place(self, topology, command.into()))
    }
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

struct Addressed<'a> {
    engine: &'a Engine,
    /// The node of each command that has one named.
    to: Vec<Option<Arc<Node>>>,
    /// Where the others belong, as far as the caller knows.
    placed: Option<PlacedOn>,
}

impl Route for Addressed<'_> {
    fn node<'v>(&self, view: &'v View, unit: u32, command: CommandRef<'_>) -> Result<&'v Arc<Node>, Error> {
        let Some(node) = &self.to[unit as usize] else {
            let placed = self.placed.and_then(|placed| placed.node(&view.topology));
            return placed.map_or_else(|| place(self.engine, &view.topology, command), Ok);
        };
        let same = view.topology.all_nodes().find(|known| known.id == node.id);
        same.ok_or_else(|| Error::Topology(format!("the node {node} has left")))
    }

    fn mode(&self, _view: &View, _node: &Node) -> Mode {
        Mode::Plain
    }

    fn command(&self, unit: u32) -> u32 {
        unit
    }

    fn follows_redirects(&self, view: &View, unit: u32) -> bool {
        self.to[unit as usize].is_none() && view.topology.has_slots()
    }

    fn follows_primary(&self, view: &View, unit: u32) -> bool {
        self.to[unit as usize].is_none() && view.topology.has_slots()
    }
}
