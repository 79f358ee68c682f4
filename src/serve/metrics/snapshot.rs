//! [`ProxyMetrics`]: all that a proxy has counted, at one moment.

use std::time::Duration;

use crate::histogram::Doublings;

/// The counts of a proxy since it began, and its present state.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProxyMetrics {
    /// The time since it began.
    pub uptime: Duration,
    /// Clients that are connected.
    pub clients: usize,
    /// The number of clients that it admits.
    pub max_clients: usize,
    /// Clients that were taken in.
    pub accepted: u64,
    /// Clients that were sent away, since there were too many.
    pub refused: u64,
    /// Clients that were cut off, by reason.
    pub cut: Vec<(&'static str, u64)>,
    /// Bytes from clients.
    pub received_bytes: u64,
    /// Bytes to clients.
    pub sent_bytes: u64,
    /// Bytes that wait for clients to read.
    pub waiting_bytes: u64,
    /// Commands of clients.
    pub commands: Vec<CommandMetrics>,
    /// The durations of the stages of a request: `queue` before commands of one key go to the nodes, `nodes` for the
    /// work of the nodes, `write` to the client, `total` from reading to having written.
    pub stages: Vec<(&'static str, Doublings)>,
    /// Requests to nodes that are under way.
    pub in_flight: usize,
    /// Commands sent elsewhere after `MOVED`.
    pub moved: u64,
    /// Commands sent elsewhere after `ASK`.
    pub ask: u64,
    /// Commands sent again for another reason.
    pub retries: u64,
    /// Topologies that were fetched.
    pub refreshes: u64,
    /// Attempts to fetch one that failed.
    pub refresh_failures: u64,
    /// The topology; `None` as long as there is none.
    pub topology: Option<TopologyMetrics>,
    /// The store that the nodes are of, if they are of one and it is known.
    #[cfg(feature = "placement")]
    pub store: Option<crate::placement::StoreFigures>,
    /// The nodes of the topology.
    pub nodes: Vec<NodeMetrics>,
}

/// A command, by what has become of it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CommandMetrics {
    /// Its name in lower case; `unknown` for all that nodes do not know.
    pub name: String,
    /// `ok`, or the first word of an error: those that have occurred.
    pub outcomes: Vec<(&'static str, u64)>,
}

/// The topology.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TopologyMetrics {
    /// The time since it was fetched.
    pub age: Duration,
    /// Shards that have data, or may have.
    pub shards: usize,
    /// Slots that belong to a shard; 0 for a list of servers.
    pub slots_covered: u32,
    /// Tells whether it has slots.
    pub has_slots: bool,
}

/// The links to a node.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NodeMetrics {
    /// The address at which it listens.
    pub address: String,
    /// Tells whether it is a primary.
    pub is_primary: bool,
    /// Tells whether it could be connected to when that was last tried.
    pub is_reachable: bool,
    /// Batches of commands that are not answered yet.
    pub in_flight: usize,
    /// Connections that were opened.
    pub connects: u64,
    /// Connections that broke, or could not be opened.
    pub failures: u64,
    /// Bytes to it.
    pub sent_bytes: u64,
    /// Bytes from it.
    pub received_bytes: u64,
    /// The durations of its answers.
    pub round_trips: Doublings,
}
