//! The figures of the proxy, and the form in which they are shown. `server_metrics.rs` gathers them.
//!
//! Counting takes no lock: a relaxed atomic for each run of the same command, for each read and each write. Figures
//! that are known elsewhere, such as how many bytes wait, are looked up when somebody asks.
//!
//! - [`command_counts`]: each command, by what has become of it
//! - [`counted_command`]: which command the next reply of a connection belongs to
//! - [`counters`]: what all connections count together
//! - [`snapshot`]: all of it at one moment, for whoever shows it

mod command_counts;
mod counted_command;
mod counters;
mod snapshot;

pub(super) use command_counts::{CommandCounts, OUTCOMES};
pub(super) use counted_command::CountedCommand;
pub(super) use counters::{Cut, CutCounts, ProxyCounters};
pub use snapshot::{CommandMetrics, NodeMetrics, ProxyMetrics, TopologyMetrics};
