//! Work over a pattern: `RMR.MAP ... MATCH`, executions and what becomes of their results.
//!
//! The same must hold on a server without a cluster, on a list of them, on a cluster, and where some nodes lack the module.

#[path = "../common/mod.rs"]
mod common;

mod big_slot;
mod callers;
mod expired;
mod explained;
mod into;
mod jobs;
mod map;
mod paused;
mod refused;
mod replicas;
mod servers;
mod share;
