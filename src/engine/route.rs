//! Parts the units of a request by the node that each goes to.

use std::sync::Arc;

use super::place::placing;
use super::redirect::pointed_at;
use super::snapshot::Snapshot;
use super::state::EngineState;
use crate::command::{CommandRef, CommandSet};
use crate::error::Error;
use crate::link::{Link, Mode};
use crate::topology::{Address, Node, Topology};

/// The node to which a unit is sent, and the way.
#[derive(Clone)]
pub(super) struct Destination {
    pub(super) node: Arc<Node>,
    pub(super) link: Arc<dyn Link>,
    pub(super) mode: Mode,
    pub(super) in_process: bool,
    /// The node may be asked to reduce its share.
    pub(super) reduces: bool,
}

impl Destination {
    /// Returns a node of the snapshot.
    fn in_snapshot(snapshot: &Snapshot, node: &Arc<Node>, mode: Mode) -> Result<Self, Error> {
        let link = snapshot.link(node).ok_or_else(|| Error::Topology(format!("the topology has no node {node}")))?;
        let (in_process, reduces) = (snapshot.is_in_process(node), mode == Mode::Plain && link.reduces());
        Ok(Self { node: node.clone(), link: link.clone(), mode, in_process, reduces })
    }

    /// Returns a node by another link than that of the snapshot.
    fn by_link(node: &Arc<Node>, link: Arc<dyn Link>, mode: Mode) -> Self {
        Self { node: node.clone(), link, mode, in_process: false, reduces: false }
    }

    /// Returns the same node, over a socket even where it is the one that we live in.
    pub(super) fn over_socket(&self, engine: &EngineState) -> Self {
        Self::by_link(&self.node, engine.refresher.link_to(&self.node), self.mode)
    }

    /// Returns the same node, for replies as they are.
    pub(super) fn unreduced(&self) -> Self {
        Self { reduces: false, ..self.clone() }
    }

    /// Returns the node that a redirect points to, as far as the topology knows it.
    pub(super) fn redirected(
        engine: &EngineState,
        route: &impl Route,
        snapshot: &Snapshot,
        address: &Address,
        mode: Mode,
    ) -> Option<Self> {
        let node = pointed_at(&snapshot.topology, address)?;
        Some(match route.via() {
            Via::Dedicated => Self::by_link(node, engine.refresher.dedicated_link_to(node), mode),
            // A node that we live in is asked in process, except for what it may only serve under `ASKING`.
            _ if mode == Mode::Plain => return Self::in_snapshot(snapshot, node, mode).ok(),
            // The redirect may call the node by a name that only clients can look up.
            _ => Self::by_link(node, engine.refresher.link_to(node), mode),
        })
    }

    /// Returns whether both are asked by the same link in the same way. A node that only a redirect knows has no other
    /// mark.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.mode == other.mode && self.reduces == other.reduces && Arc::ptr_eq(&self.link, &other.link)
    }
}

/// The link by which a node is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Via {
    /// The one that all requests share; the node that we live in is asked in process.
    SharedLink,
    /// The link that all requests share; the node that we live in is asked over a socket too.
    Socket,
    /// A link for this command alone, which may block it.
    Dedicated,
}

/// Finds nodes for units: at the start, and again after the topology has changed.
pub(super) trait Route: Send + Sync {
    /// Calls with the positions of the shards whose primaries units belong to, all at once and in the order of the units.
    /// `None`: each unit is asked for by itself.
    fn shards(
        &self,
        _topology: &Topology,
        _commands: &CommandSet,
        _put: &mut dyn FnMut(usize),
    ) -> Option<Result<(), Error>> {
        None
    }

    /// Returns the node that a unit belongs to by this topology.
    fn node<'t>(&self, topology: &'t Topology, unit: u32, command: CommandRef<'_>) -> Result<&'t Arc<Node>, Error>;

    /// Returns how that node is asked.
    fn mode(&self, _topology: &Topology, _node: &Node) -> Mode {
        Mode::Plain
    }

    /// Returns by which link nodes are asked.
    fn via(&self) -> Via {
        Via::SharedLink
    }

    /// Returns which of the commands a unit is.
    fn command(&self, unit: u32) -> u32 {
        unit
    }

    /// Returns whether `MOVED` and `ASK` are followed.
    fn follows_redirects(&self, topology: &Topology, unit: u32) -> bool;

    /// Returns whether a unit is for whichever node is its shard's primary.
    fn follows_primary(&self, topology: &Topology, unit: u32) -> bool;
}

/// The units that one node gets.
pub(super) type NodeShare = (Destination, Vec<u32>);

/// Divides all units of a request by their nodes.
pub(super) fn plan(
    engine: &EngineState,
    route: &impl Route,
    commands: &CommandSet,
    units: usize,
    snapshot: &Snapshot,
) -> Result<Vec<NodeShare>, Error> {
    let shares = placing(|| match all_at_once(route, commands, units, &snapshot.topology) {
        Some(shares) => shares,
        None => one_by_one(route, commands, units, &snapshot.topology),
    })?;
    shares.into_iter().map(|(node, units)| Ok((destination(engine, route, snapshot, node)?, units))).collect()
}

/// Returns where a unit goes by itself.
pub(super) fn plan_one(
    engine: &EngineState,
    route: &impl Route,
    snapshot: &Snapshot,
    unit: u32,
    command: CommandRef<'_>,
) -> Result<Destination, Error> {
    let node = placing(|| route.node(&snapshot.topology, unit, command))?;
    destination(engine, route, snapshot, node)
}

/// Puts a unit into the share of its destination.
pub(super) fn join(shares: &mut Vec<NodeShare>, destination: Destination, unit: u32) {
    match shares.iter_mut().find(|(known, _)| known.is_same(&destination)) {
        Some((_, units)) => units.push(unit),
        None => shares.push((destination, vec![unit])),
    }
}

fn destination(
    engine: &EngineState,
    route: &impl Route,
    snapshot: &Snapshot,
    node: &Arc<Node>,
) -> Result<Destination, Error> {
    let mode = route.mode(&snapshot.topology, node);
    if route.via() == Via::Dedicated {
        return Ok(Destination::by_link(node, engine.refresher.dedicated_link_to(node), mode));
    }
    let destination = Destination::in_snapshot(snapshot, node, mode)?;
    let by_socket = destination.in_process && route.via() == Via::Socket;
    Ok(if by_socket { destination.over_socket(engine) } else { destination })
}

/// Nodes, and the units that are for each.
type ByNode<'v> = Vec<(&'v Arc<Node>, Vec<u32>)>;

/// Places all units at once. Returns `None` if the units cannot be placed without their commands.
fn all_at_once<'v>(
    route: &impl Route,
    commands: &CommandSet,
    units: usize,
    topology: &'v Topology,
) -> Option<Result<ByNode<'v>, Error>> {
    let shards = topology.shards();
    let even_share = units / shards.len().max(1) * 5 / 4 + 1;
    let mut by_shard: Vec<Vec<u32>> = vec![Vec::new(); shards.len()];
    let mut unit = 0;
    let placed = route.shards(topology, commands, &mut |shard| {
        let units = &mut by_shard[shard];
        if units.is_empty() {
            units.reserve(even_share);
        }
        units.push(unit);
        unit += 1;
    })?;
    Some(placed.map(|()| {
        let primaries = shards.iter().map(|shard| &shard.primary);
        primaries.zip(by_shard).filter(|(_, units)| !units.is_empty()).collect()
    }))
}

fn one_by_one<'v>(
    route: &impl Route,
    commands: &CommandSet,
    units: usize,
    topology: &'v Topology,
) -> Result<ByNode<'v>, Error> {
    let mut shares: ByNode<'v> = Vec::new();
    for unit in 0..units as u32 {
        let node = route.node(topology, unit, commands.at(route.command(unit) as usize))?;
        match shares.iter_mut().find(|(known, _)| Arc::ptr_eq(known, node)) {
            Some((_, units)) => units.push(unit),
            None => {
                let mut of_node = Vec::with_capacity(units / (shares.len() + 1));
                of_node.push(unit);
                shares.push((node, of_node));
            }
        }
    }
    Ok(shares)
}
