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
    pub(crate) async fn addressed(
        &self,
        commands: Vec<(Command, Option<Arc<Node>>)>,
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
            let route = Addressed { engine: &engine, to };
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

struct Addressed<'a> {
    engine: &'a Engine,
    /// The node of each command that has one named.
    to: Vec<Option<Arc<Node>>>,
}

impl Route for Addressed<'_> {
    fn node<'v>(&self, view: &'v View, unit: u32, command: CommandRef<'_>) -> Result<&'v Arc<Node>, Error> {
        let Some(node) = &self.to[unit as usize] else { return place(self.engine, &view.topology, command) };
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
