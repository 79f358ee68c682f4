//! Which units of a request go to which node.

use std::sync::Arc;

use super::Engine;
use super::map::placing;
use super::redirect::pointed_at;
use super::view::View;
use crate::command::{CommandRef, CommandSet};
use crate::error::Error;
use crate::link::{Link, Mode};
use crate::topology::{Address, Node};

/// Where a unit is sent.
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
    /// A node of the view.
    pub(super) fn in_view(view: &View, node: &Arc<Node>, mode: Mode) -> Result<Self, Error> {
        let link = view.link(node).ok_or_else(|| Error::Topology(format!("the topology has no node {node}")))?;
        let (in_process, reduces) = (view.is_in_process(node), mode == Mode::Plain && link.reduces());
        Ok(Self { node: node.clone(), link: link.clone(), mode, in_process, reduces })
    }

    /// The same node, over a socket even where it is the one that we live in.
    pub(super) fn over_socket(&self, engine: &Engine) -> Self {
        let link = engine.shared.views.link_to(&self.node);
        Self { link, in_process: false, ..self.plain() }
    }

    /// The same node, for replies as they are.
    pub(super) fn plain(&self) -> Self {
        Self { reduces: false, ..self.clone() }
    }

    /// Wherever a redirect points, as far as the topology knows that.
    pub(super) fn at(engine: &Engine, view: &View, address: &Address, mode: Mode) -> Option<Self> {
        let node = pointed_at(&view.topology, address)?;
        // A node that we live in is asked in process, except for what it may only serve under `ASKING`.
        if mode == Mode::Plain {
            return Self::in_view(view, node, mode).ok();
        }
        // The redirect may call the node by a name that only clients can look up.
        let link = engine.shared.views.link_to(node);
        Some(Self { node: node.clone(), link, mode, in_process: false, reduces: false })
    }

    /// Whether both are asked by the same link in the same way. A node that only a redirect knows has no other mark.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.mode == other.mode && self.reduces == other.reduces && Arc::ptr_eq(&self.link, &other.link)
    }
}

/// Finds the way of units: at the start, and again after the topology has changed.
pub(super) trait Route: Send + Sync {
    /// The shards whose primaries units belong to by this view, all at once: their positions, in the order of the units.
    /// `None`: each unit is asked for by itself.
    fn shards(&self, _view: &View, _commands: &CommandSet, _put: &mut dyn FnMut(usize)) -> Option<Result<(), Error>> {
        None
    }

    /// The node that a unit belongs to by this view.
    fn node<'v>(&self, view: &'v View, unit: u32, command: CommandRef<'_>) -> Result<&'v Arc<Node>, Error>;

    /// How that node is asked.
    fn mode(&self, view: &View, node: &Node) -> Mode;

    /// Whether the node that we live in is asked over a socket too.
    fn by_socket(&self) -> bool {
        false
    }

    /// Which of the commands a unit is.
    fn command(&self, unit: u32) -> u32;

    /// Whether `MOVED` and `ASK` are followed.
    fn follows_redirects(&self, view: &View, unit: u32) -> bool;

    /// Whether a unit is for whichever node is its shard's primary.
    fn follows_primary(&self, view: &View, unit: u32) -> bool;
}

/// What has to be done, and where.
pub(super) type Part = (Destination, Vec<u32>);

/// Parts so many units by their nodes.
pub(super) fn plan(
    engine: &Engine,
    route: &impl Route,
    commands: &CommandSet,
    units: usize,
    view: &View,
) -> Result<Vec<Part>, Error> {
    let parts = placing(|| match all_at_once(route, commands, units, view) {
        Some(parts) => parts,
        None => one_by_one(route, commands, units, view),
    })?;
    parts.into_iter().map(|(node, units)| Ok((destination(engine, route, view, node)?, units))).collect()
}

/// Where a unit goes by itself.
pub(super) fn place(
    engine: &Engine,
    route: &impl Route,
    view: &View,
    unit: u32,
    command: CommandRef<'_>,
) -> Result<Destination, Error> {
    let node = placing(|| route.node(view, unit, command))?;
    destination(engine, route, view, node)
}

fn destination(engine: &Engine, route: &impl Route, view: &View, node: &Arc<Node>) -> Result<Destination, Error> {
    let destination = Destination::in_view(view, node, route.mode(view, node))?;
    let by_socket = destination.in_process && route.by_socket();
    Ok(if by_socket { destination.over_socket(engine) } else { destination })
}

/// Nodes, and the units that are for each.
type ByNode<'v> = Vec<(&'v Arc<Node>, Vec<u32>)>;

/// `None` if the units cannot be placed without their commands.
fn all_at_once<'v>(
    route: &impl Route,
    commands: &CommandSet,
    units: usize,
    view: &'v View,
) -> Option<Result<ByNode<'v>, Error>> {
    let shards = view.topology.shards();
    let even_share = units / shards.len().max(1) * 5 / 4 + 1;
    let mut by_shard: Vec<Vec<u32>> = vec![Vec::new(); shards.len()];
    let mut unit = 0;
    let placed = route.shards(view, commands, &mut |shard| {
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
    view: &'v View,
) -> Result<ByNode<'v>, Error> {
    let mut parts: ByNode<'v> = Vec::new();
    for unit in 0..units as u32 {
        let node = route.node(view, unit, commands.at(route.command(unit) as usize))?;
        match parts.iter_mut().find(|(known, _)| Arc::ptr_eq(known, node)) {
            Some((_, units)) => units.push(unit),
            None => {
                let mut of_node = Vec::with_capacity(units / (parts.len() + 1));
                of_node.push(unit);
                parts.push((node, of_node));
            }
        }
    }
    Ok(parts)
}
