//! A proxy: one address at which any client of a single Redis finds a whole cluster, or a list of servers.
//!
//! A [`Proxy`] listens, speaks RESP2 and RESP3, and carries out what clients send by the same means as `RMR.EXEC`. It is no
//! Redis server and has no data. The program `rmr-proxy` is this with arguments.
//!
//! - [`connection`]: a client from its first word to its last; its commands in order
//! - [`users`]: links for each user of the nodes, who check passwords themselves
//! - [`known`]: what is done about which command
//! - [`pubsub`]: one subscription at the nodes for all clients of a user
//! - [`unblocked`], [`queues`]: commands that wait for keys with several copies
//! - [`metrics`]: what is counted
//! - [`clients`]: what `CLIENT LIST` shows
//! - [`request_reader`], [`reply_buffer`]: the two directions of the wire

mod clients;
mod connection;
mod known;
mod metrics;
mod options;
mod proxy;
mod pubsub;
mod queues;
mod refusal;
mod reply_buffer;
mod request_reader;
mod scripts;
mod server_info;
mod server_metrics;
mod shared_topology;
mod state;
mod unblocked;
mod users;

pub use metrics::{CommandMetrics, NodeMetrics, ProxyMetrics, TopologyMetrics};
pub use options::ProxyOptions;
pub use proxy::{Listener, Proxy};
#[cfg(fuzzing)]
pub(crate) use request_reader::read_requests;
