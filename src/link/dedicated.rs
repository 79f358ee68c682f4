//! A connection that one command has to itself: one that may block its connection would hold up all others.

use super::batch::Failure;
use super::budget::Budget;
use super::call::call_all;
use super::pool::Links;
use super::stats::LinkStats;
use crate::command::Command;
use crate::reply::Reply;
use crate::resp::Protocol;
use crate::topology::Endpoint;

impl Links {
    /// Connects, sends the command, preceded by `ASKING` if so wanted, and waits for its reply for as long as the caller
    /// does. Giving the command up closes the connection, which the server takes for the end of the wait.
    pub(crate) async fn call_dedicated(
        &self,
        endpoint: Endpoint,
        command: &Command,
        asking: bool,
        protocol: Protocol,
        budget: &Budget,
    ) -> Result<Reply, Failure> {
        let dialler = self.dialler(endpoint, protocol);
        let mut stream = dialler.dial(&LinkStats::default()).await.map_err(Failure::Unreachable)?;
        let prefix = asking.then(|| Command::new("ASKING"));
        let commands = prefix.iter().chain([command]);
        let last = call_all(&mut *stream, commands, budget).await?.pop();
        last.ok_or_else(|| Failure::Lost("the node did not answer".into()))
    }
}
