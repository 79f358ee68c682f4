//! [`FlowHome`]: the server that a flow begins at, as far as the flow has to know it. A module implements it.

use std::sync::Arc;
use std::time::Duration;

use super::execution::Execution;
use super::keyspace::Keyspace;
use super::messages::CallerId;
use super::plan::KeyedCommand;
use super::registry::StepsAndReducers;
use crate::error::Error;
use crate::topology::{BoxFuture, Topology};

/// A server with rmr, seen by one request of one of its clients.
pub(crate) trait FlowHome: Send + Sync {
    /// Returns the keys of the server, within the caller's rights.
    fn keyspace(&self) -> Arc<dyn Keyspace>;

    /// Returns the code that flows may name.
    fn registry(&self) -> Arc<dyn StepsAndReducers>;

    /// Returns on whose account a flow runs; `None` if nothing is restricted.
    fn caller(&self) -> Option<CallerId>;

    /// Returns how long a flow may take that says nothing of it.
    fn timeout(&self) -> Duration;

    /// Returns the most memory that a flow may take on each node, in bytes.
    fn memory(&self) -> u64;

    /// Begins to keep record of a flow, at the node of this id.
    fn begin(&self, node_id: &str, flow: String) -> Arc<Execution>;

    /// Checks that a command can be run for each key that matches, and marks it if it only reads.
    fn fit<'a>(
        &'a self,
        command: KeyedCommand,
        pattern: &'a [u8],
        topology: &'a Topology,
    ) -> BoxFuture<'a, Result<KeyedCommand, Error>>;
}

/// A home, in the form in which a request carries it.
pub(crate) type SharedHome = Arc<dyn FlowHome>;
