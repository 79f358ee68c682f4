//! Commands that may block: each to its key's node, over a connection to itself.

use std::pin::pin;
use std::sync::Arc;

use super::exchange::Exchange;
use super::options::Options;
use super::outcomes::Outcomes;
use super::place::place;
use super::request::Request;
use super::route::{Route, Via};
use super::state::EngineState;
use super::unfit;
use crate::command::{Command, CommandRef};
use crate::error::Error;
use crate::reply::Reply;
use crate::topology::{Node, Topology};

impl Request {
    /// Sends a command that may block to its key's node, and waits until the deadline.
    ///
    /// # Errors
    /// [`Error::Timeout`] if the node has said nothing by then; what else a command can end in.
    pub(crate) async fn alone(&self, command: Command) -> Result<Reply, Error> {
        unfit::check_alone(&command)?;
        let step = pin!(async {
            let snapshot = self.pinned().await?;
            let options = Options::default();
            let (route, outcomes) = (Alone(&self.engine), Outcomes::of(1, None));
            let exchange = Exchange::new(self, route, vec![command].into(), outcomes, &options);
            let reply = exchange.run(snapshot).await?.0.into_all()?.pop();
            reply.ok_or_else(|| Error::Topology("no node was found for the command".into()))
        });
        self.counted(step).await
    }
}

/// The one unit is a command that may block its connection.
struct Alone<'a>(&'a EngineState);

impl Route for Alone<'_> {
    fn node<'t>(&self, topology: &'t Topology, _unit: u32, command: CommandRef<'_>) -> Result<&'t Arc<Node>, Error> {
        place(self.0, topology, command)
    }

    fn via(&self) -> Via {
        Via::Dedicated
    }

    fn follows_redirects(&self, topology: &Topology, _unit: u32) -> bool {
        topology.has_slots()
    }

    fn follows_primary(&self, topology: &Topology, _unit: u32) -> bool {
        topology.has_slots()
    }
}
