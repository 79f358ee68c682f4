//! Map: each command to the shard that it belongs to.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::exchange::Exchange;
use super::outcomes::{Gathered, Outcomes};
use super::plan::Route;
use super::step::{self, Reducer, Step, panicked};
use super::view::View;
use super::{Engine, Options};
use crate::combine::AnyCombine;
use crate::command::{CommandRef, CommandSet};
use crate::error::Error;
use crate::link::Mode;
use crate::reply::Reply;
use crate::topology::{BoxFuture, Node, Topology};

/// A map that has not been sent yet. `.await` it for the replies, in the order of the commands, or give it a reducer.
///
/// # Errors
/// Any failure of any command, unless partial results are allowed; [`Error::Unroutable`] for a command without a key,
/// before anything is sent.
#[must_use = "a map does nothing before it is awaited"]
pub struct Map {
    engine: Engine,
    commands: CommandSet,
    pub(super) options: Options,
}

impl Map {
    pub(super) fn new(engine: Engine, commands: CommandSet) -> Self {
        Self { engine, commands, options: Options::default() }
    }

    /// Reduces the replies, and runs the steps that the reducer starts.
    pub fn reduce(self, reducer: impl Reducer) -> BoxFuture<'static, Result<Reply, Error>> {
        let engine = self.engine.scoped(&self.options);
        let options = Options { timeout: None, ..self.options };
        Box::pin(step::run(engine, Step::Map { commands: self.commands, reducer: Box::new(reducer) }, options))
    }

    /// Sends everything, and gathers what comes back: the replies, or what they come to.
    pub(super) async fn gather(self, combine: Option<Arc<dyn AnyCombine>>) -> Result<Gathered, Error> {
        let engine = self.engine.scoped(&self.options);
        let options = &self.options;
        let request = async {
            let view = engine.pinned().await?;
            let commands = engine.admit(self.commands).await?;
            let outcomes = Outcomes::of(commands.len(), combine);
            Exchange::new(&engine, ByKey(&engine), commands, outcomes, options).run(view).await
        };
        engine.begin()?.end(request.await)
    }
}

/// Each unit is one command, and goes where the shard function places it.
struct ByKey<'a>(&'a Engine);

impl Route for ByKey<'_> {
    fn shards(&self, view: &View, commands: &CommandSet, put: &mut dyn FnMut(usize)) -> Option<Result<(), Error>> {
        commands.by_keys(|keys| place_keys(self.0, &view.topology, commands.len(), keys, put))?
    }

    fn node<'v>(&self, view: &'v View, _unit: u32, command: CommandRef<'_>) -> Result<&'v Arc<Node>, Error> {
        place(self.0, &view.topology, command)
    }

    fn mode(&self, _view: &View, _node: &Node) -> Mode {
        Mode::Plain
    }

    fn command(&self, unit: u32) -> u32 {
        unit
    }

    /// A redirect is to be followed only where slots, and not a function of ours, say where a key lives.
    fn follows_redirects(&self, view: &View, _unit: u32) -> bool {
        view.topology.has_slots()
    }

    fn follows_primary(&self, view: &View, _unit: u32) -> bool {
        view.topology.has_slots()
    }
}

/// Where the shard function places a command. It is somebody else's code: see [`placing`].
pub(super) fn place<'t>(
    engine: &Engine,
    topology: &'t Topology,
    command: CommandRef<'_>,
) -> Result<&'t Arc<Node>, Error> {
    let mut shard = 0;
    let by_key = command
        .routing_key()
        .and_then(|key| place_keys(engine, topology, 1, &mut std::iter::once(key), &mut |position| shard = position));
    match by_key {
        Some(placed) => placed.map(|()| &topology.shards()[shard].primary),
        None => {
            let node = engine.shard_func(topology).node(topology, &command.command());
            node.map_err(|error| explained(error, topology))
        }
    }
}

/// Where it places so many keys: calls with the position of each one's shard, in order. What was called with is of no
/// account after an error. `None` if it wants whole commands.
pub(super) fn place_keys(
    engine: &Engine,
    topology: &Topology,
    count: usize,
    keys: &mut dyn Iterator<Item = &[u8]>,
    put: &mut dyn FnMut(usize),
) -> Option<Result<(), Error>> {
    let shards = topology.shards().len();
    let (mut said, mut placed) = (0, 0);
    let done = engine.shard_func(topology).shards_of_keys(topology, keys, &mut |shard| {
        said += 1;
        if shard < shards {
            placed += 1;
            put(shard);
        }
    })?;
    Some(match done {
        Ok(()) if (said, placed) == (count, count) => Ok(()),
        Ok(()) => Err(Error::Internal(format!(
            "the shard function has placed {placed} of {count} keys on one of the {shards} shards"
        ))),
        Err(error) => Err(explained(error, topology)),
    })
}

/// Why nothing is placed where there is nobody.
fn explained(error: Error, topology: &Topology) -> Error {
    if topology.data_shards().next().is_none() { no_shards(topology) } else { error }
}

/// Places commands; a panic in the shard function is an error.
pub(super) fn placing<T>(place: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(place)).unwrap_or_else(|panic| Err(panicked("shard function", &*panic)))
}

pub(super) fn no_shards(topology: &Topology) -> Error {
    match topology.all_nodes().count() {
        0 => Error::no_node(topology.source()),
        nodes => Error::Topology(format!(
            "no slots are assigned yet: none of the {nodes} known nodes owns any (CLUSTER ADDSLOTS)"
        )),
    }
}
