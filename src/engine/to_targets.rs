//! Fan-outs: one command to each of many nodes.

use std::pin::pin;
use std::sync::Arc;

use super::exchange::Exchange;
use super::hidden_keys::HiddenKeys;
use super::look_ahead::look_ahead;
use super::options::Options;
use super::outcomes::{Gathered, Outcomes};
use super::place::same_node;
use super::request::Request;
use super::route::Route;
use super::state::EngineState;
use super::targets::Targets;
use crate::combine::AnyCombine;
use crate::command::{Command, CommandRef};
use crate::error::Error;
use crate::link::Mode;
use crate::topology::{Node, Role, Topology};

/// Sends the command to all targets and gathers what comes back: the replies, or what they come to.
pub(super) async fn send_to_targets(
    request: &Request,
    command: Command,
    targets: &Targets,
    options: &Options,
    mut combine: Option<Arc<dyn AnyCombine>>,
) -> Result<Gathered, Error> {
    let engine = &*request.engine;
    let step = pin!(async {
        let mut snapshot = request.pinned().await?;
        let select = |topology: &Topology| engine.select(topology, targets, options.partial);
        let nodes = request.retry_while_unsettled(&mut snapshot, |snapshot| select(&snapshot.topology)).await?;
        let commands = request.admit(vec![command.clone()].into()).await?;
        let hidden = HiddenKeys::of(&commands, nodes.len(), &mut combine);
        let outcomes = Outcomes::of(nodes.len(), combine);
        let target = |node| Target::new(engine, &snapshot.topology, node, targets);
        let route = ToTargets { nodes: nodes.into_iter().map(target).collect() };
        if !options.partial {
            look_ahead(request, &command, &route, route.nodes.len(), &snapshot).await?;
        }
        let missed = targets.missed(&snapshot.topology).to_vec();
        let mut gathered = Exchange::new(request, route, commands, outcomes, options).run(snapshot).await?;
        if let Some(hidden) = hidden {
            gathered = Box::pin(hidden.leave_out(request, gathered.0)).await?;
        }
        gathered.0.set_uncovered(missed);
        Ok(gathered)
    });
    request.counted(step).await
}

/// A node; and, where it was not named but is meant as a shard's primary, a slot of the shard, by which that is found
/// again when its primary has changed.
#[derive(Clone)]
struct Target {
    node: Arc<Node>,
    slot: Option<u16>,
}

impl Target {
    fn new(engine: &EngineState, topology: &Topology, node: Arc<Node>, targets: &Targets) -> Self {
        let slot = match targets {
            Targets::Primaries | Targets::AllPrimaries => {
                let shard = topology.shards().iter().find(|shard| Arc::ptr_eq(&shard.primary, &node));
                shard.and_then(|shard| shard.slots.first()).map(|range| range.0)
            }
            Targets::Keys(keys) if topology.has_slots() => {
                let is_there = |key: &&Vec<u8>| engine.holder(topology, key).is_ok_and(|at| Arc::ptr_eq(at, &node));
                keys.iter().find(is_there).map(|key| topology.slot_of(key))
            }
            _ => None,
        };
        Self { node, slot }
    }
}

/// Each unit is one node; the command is the same for all.
#[derive(Clone)]
struct ToTargets {
    nodes: Vec<Target>,
}

impl Route for ToTargets {
    fn node<'v>(&self, topology: &'v Topology, unit: u32, _command: CommandRef<'_>) -> Result<&'v Arc<Node>, Error> {
        let Target { node, slot } = &self.nodes[unit as usize];
        if let Some(shard) = slot.and_then(|slot| topology.owner(slot)) {
            return Ok(&shard.primary);
        }
        same_node(topology, node)
    }

    fn mode(&self, topology: &Topology, node: &Node) -> Mode {
        if node.role == Role::Replica && topology.has_slots() { Mode::Replica } else { Mode::Plain }
    }

    fn command(&self, _unit: u32) -> u32 {
        0
    }

    fn follows_redirects(&self, _topology: &Topology, _unit: u32) -> bool {
        false
    }

    fn follows_primary(&self, _topology: &Topology, unit: u32) -> bool {
        self.nodes[unit as usize].slot.is_some()
    }
}
