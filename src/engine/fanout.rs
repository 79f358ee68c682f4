//! Fan-out: one command to many nodes.

use std::sync::Arc;

use super::exchange::Exchange;
use super::map::no_shards;
use super::outcomes::{Gathered, Outcomes};
use super::plan::Route;
use super::step::{self, Reducer, Step};
use super::view::View;
use super::{Engine, Options};
use crate::combine::AnyCombine;
use crate::command::CommandRef;
use crate::command::{Command, printable};
use crate::error::Error;
use crate::link::Mode;
use crate::reply::Reply;
use crate::shard::key_slot;
use crate::topology::{BoxFuture, Node, Role, Topology, slots_text};

/// Which nodes a fan-out goes to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Targets {
    /// The primary of every shard that holds data.
    #[default]
    Primaries,
    /// Every replica of these shards.
    Replicas,
    /// Every known node, those without data included.
    All,
    /// The nodes of these ids or addresses, in this order; of a list of hosts, their host ids will do.
    Nodes(Vec<String>),
    /// The primaries that hold these keys, in this order, each once.
    Keys(Vec<Vec<u8>>),
}

/// A fan-out that has not been sent yet. `.await` it for the replies, in slot order, or give it a reducer.
///
/// # Errors
/// Any failure of any node, unless partial results are allowed. [`Error::Slots`] if slots without an owner would be
/// missed. Redirects are not followed: a keyed command is an error on the shards that do not own the key.
#[must_use = "a fan-out does nothing before it is awaited"]
pub struct FanOut {
    engine: Engine,
    command: Command,
    targets: Targets,
    pub(super) options: Options,
}

impl FanOut {
    pub(super) fn new(engine: Engine, command: Command) -> Self {
        Self { engine, command, targets: Targets::default(), options: Options::default() }
    }

    /// Which nodes. Default: [`Targets::Primaries`].
    pub fn targets(mut self, targets: Targets) -> Self {
        self.targets = targets;
        self
    }

    /// Reduces the replies, and runs the steps that the reducer starts.
    pub fn reduce(self, reducer: impl Reducer) -> BoxFuture<'static, Result<Reply, Error>> {
        let engine = self.engine.scoped(&self.options);
        let options = Options { timeout: None, ..self.options };
        let step = Step::FanOut { command: self.command, targets: self.targets, reducer: Box::new(reducer) };
        Box::pin(step::run(engine, step, options))
    }

    /// Sends everything, and gathers what comes back: the replies, or what they come to.
    pub(super) async fn gather(self, combine: Option<Arc<dyn AnyCombine>>) -> Result<Gathered, Error> {
        let engine = self.engine.scoped(&self.options);
        let (options, targets) = (&self.options, &self.targets);
        let request = async {
            let mut view = engine.pinned().await?;
            let nodes = engine.way(&mut view, |view| engine.select(&view.topology, targets, options.partial)).await?;
            let commands = engine.admit(vec![self.command].into()).await?;
            let outcomes = Outcomes::of(nodes.len(), combine);
            let target = |node| Target::new(&engine, &view.topology, node, targets);
            let route = ToNodes { nodes: nodes.into_iter().map(target).collect() };
            Exchange::new(&engine, route, commands, outcomes, options).run(view).await
        };
        engine.begin()?.end(request.await)
    }
}

impl Engine {
    /// The nodes that a fan-out goes to.
    pub(super) fn select(
        &self,
        topology: &Topology,
        targets: &Targets,
        partial: bool,
    ) -> Result<Vec<Arc<Node>>, Error> {
        let Targets::Keys(keys) = targets else { return select(topology, targets, partial) };
        let mut nodes: Vec<Arc<Node>> = Vec::new();
        for key in keys {
            let node = self.holder(topology, key)?;
            if !nodes.iter().any(|known| Arc::ptr_eq(known, node)) {
                nodes.push(node.clone());
            }
        }
        Ok(nodes)
    }

    /// The node that a key belongs to.
    pub(super) fn holder<'t>(&self, topology: &'t Topology, key: &[u8]) -> Result<&'t Arc<Node>, Error> {
        self.owner(topology, &Command::new("GET").key(key))
    }
}

/// The nodes of a fan-out for which keys do not matter.
fn select(topology: &Topology, targets: &Targets, partial: bool) -> Result<Vec<Arc<Node>>, Error> {
    if let Targets::Nodes(names) = targets {
        return names.iter().map(|name| named(topology, name)).collect();
    }
    if topology.data_shards().next().is_none() {
        return Err(no_shards(topology));
    }
    let uncovered = topology.uncovered();
    if !uncovered.is_empty() && !partial {
        let count: u32 = uncovered.iter().map(|&(first, last)| u32::from(last - first) + 1).sum();
        return Err(Error::Slots(format!("{count} slots have no owner ({})", slots_text(uncovered))));
    }
    let nodes: Vec<Arc<Node>> = match targets {
        Targets::Replicas => topology.data_shards().flat_map(|shard| shard.replicas.iter().cloned()).collect(),
        Targets::All => topology.all_nodes().cloned().collect(),
        _ => topology.data_shards().map(|shard| shard.primary.clone()).collect(),
    };
    if nodes.is_empty() {
        return Err(Error::Topology("no shard has a replica".into()));
    }
    Ok(nodes)
}

fn named(topology: &Topology, name: &str) -> Result<Arc<Node>, Error> {
    topology.node(name).cloned().ok_or_else(|| {
        let known: Vec<String> = topology.all_nodes().map(|node| node.name()).collect();
        let name = printable(name.as_bytes());
        Error::Invalid(format!("no node has the id or address '{name}'; known are {}", known.join(", ")))
    })
}

/// A node; and, where it was not named but is meant as a shard's primary, a slot of the shard, by which that is found
/// again when its primary has changed.
struct Target {
    node: Arc<Node>,
    slot: Option<u16>,
}

impl Target {
    fn new(engine: &Engine, topology: &Topology, node: Arc<Node>, targets: &Targets) -> Self {
        let slot = match targets {
            Targets::Primaries => {
                let shard = topology.shards().iter().find(|shard| Arc::ptr_eq(&shard.primary, &node));
                shard.and_then(|shard| shard.slots.first()).map(|range| range.0)
            }
            Targets::Keys(keys) if topology.has_slots() => {
                let is_there = |key: &&Vec<u8>| engine.holder(topology, key).is_ok_and(|at| Arc::ptr_eq(at, &node));
                keys.iter().find(is_there).map(|key| key_slot(key))
            }
            _ => None,
        };
        Self { node, slot }
    }
}

/// Each unit is one node; the command is the same for all.
struct ToNodes {
    nodes: Vec<Target>,
}

impl Route for ToNodes {
    fn node<'v>(&self, view: &'v View, unit: u32, _command: CommandRef<'_>) -> Result<&'v Arc<Node>, Error> {
        let Target { node, slot } = &self.nodes[unit as usize];
        if let Some(shard) = slot.and_then(|slot| view.topology.owner(slot)) {
            return Ok(&shard.primary);
        }
        let same = view.topology.all_nodes().find(|known| known.id == node.id);
        same.ok_or_else(|| Error::Topology(format!("the node {node} has left")))
    }

    fn mode(&self, view: &View, node: &Node) -> Mode {
        if node.role == Role::Replica && view.topology.has_slots() { Mode::Replica } else { Mode::Plain }
    }

    fn command(&self, _unit: u32) -> u32 {
        0
    }

    fn follows_redirects(&self, _view: &View, _unit: u32) -> bool {
        false
    }

    fn follows_primary(&self, _view: &View, unit: u32) -> bool {
        self.nodes[unit as usize].slot.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{Address, Shard};

    fn node(port: u16, role: Role) -> Arc<Node> {
        Arc::new(Node { role, ..Node::new(Address::new("10.0.0.1", port)) })
    }

    fn cluster(last: u16) -> Topology {
        let shard = |port, slots| Shard {
            primary: node(port, Role::Primary),
            replicas: vec![node(port + 10, Role::Replica)],
            slots,
        };
        Topology::with_slots("test", vec![shard(2, vec![(100, last)]), shard(1, vec![(0, 99)]), shard(3, vec![])])
    }

    fn ports(topology: &Topology, targets: Targets) -> Vec<u16> {
        select(topology, &targets, false).unwrap().iter().filter_map(|node| node.address.port()).collect()
    }

    #[test]
    fn targets_are_selected_in_slot_order() {
        let topology = cluster(16383);
        assert_eq!(ports(&topology, Targets::Primaries), [1, 2]);
        assert_eq!(ports(&topology, Targets::Replicas), [11, 12]);
        assert_eq!(ports(&topology, Targets::All), [1, 11, 2, 12, 3, 13]);
        assert_eq!(ports(&topology, Targets::Nodes(vec!["10.0.0.1:3".into(), "10.0.0.1:1".into()])), [3, 1]);
    }

    #[test]
    fn a_hole_in_the_slots_is_an_error_unless_partial() {
        let error = select(&cluster(16000), &Targets::Primaries, false).unwrap_err();
        assert_eq!(error.to_string(), "383 slots have no owner (16001-16383)");
        assert_eq!(select(&cluster(16000), &Targets::Primaries, true).unwrap().len(), 2);
    }

    #[test]
    fn an_unknown_node_is_named_with_those_known() {
        let error = select(&cluster(16383), &Targets::Nodes(vec!["nobody".into()]), false).unwrap_err().to_string();
        assert!(error.starts_with("no node has the id or address 'nobody'; known are 10.0.0.1:1, "), "{error}");
    }
}
