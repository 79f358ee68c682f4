//! Maps: each command to the shard that the shard function places it on.

use std::pin::pin;
use std::sync::Arc;

use super::exchange::Exchange;
use super::hidden_keys::HiddenKeys;
use super::options::Options;
use super::outcomes::{Gathered, Outcomes};
use super::place::{place, place_keys};
use super::request::Request;
use super::route::Route;
use super::state::EngineState;
use crate::combine::AnyCombine;
use crate::command::{CommandRef, CommandSet};
use crate::error::Error;
use crate::topology::{Node, Topology};

/// Sends each command to its key's shard and gathers what comes back: the replies, or what they come to.
pub(super) async fn send_by_key(
    request: &Request,
    commands: CommandSet,
    options: &Options,
    mut combine: Option<Arc<dyn AnyCombine>>,
) -> Result<Gathered, Error> {
    let step = pin!(async {
        let snapshot = request.pinned().await?;
        let commands = Arc::new(request.admit(commands).await?);
        let hidden = HiddenKeys::of(&commands, &mut combine).map(|hidden| hidden.by_keys_of(&commands));
        let outcomes = Outcomes::of(commands.len(), combine).by_keys_of(&commands);
        let exchange = Exchange::of_shared(request, ByKey(&request.engine), commands, outcomes, options);
        let gathered = exchange.run(snapshot).await?;
        match hidden {
            Some(hidden) => Box::pin(hidden.leave_out(request, gathered.0)).await,
            None => Ok(gathered),
        }
    });
    request.counted(step).await
}

/// Each unit is one command, and goes where the shard function places it.
struct ByKey<'a>(&'a EngineState);

impl Route for ByKey<'_> {
    fn shards(
        &self,
        topology: &Topology,
        commands: &CommandSet,
        put: &mut dyn FnMut(usize),
    ) -> Option<Result<(), Error>> {
        commands.by_keys(|keys| place_keys(self.0, topology, commands.len(), keys, put))?
    }

    fn node<'v>(&self, topology: &'v Topology, _unit: u32, command: CommandRef<'_>) -> Result<&'v Arc<Node>, Error> {
        place(self.0, topology, command)
    }

    /// Tells whether to follow a redirect: only where slots, and not a function of ours, say where a key lives.
    fn follows_redirects(&self, topology: &Topology, _unit: u32) -> bool {
        topology.has_slots()
    }

    fn follows_primary(&self, topology: &Topology, _unit: u32) -> bool {
        topology.has_slots()
    }
}
