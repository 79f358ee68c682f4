//! Flows: work over all keys that match, on the shards that hold them.
//!
//! A flow has a reader, stages of steps and an end. The node that begins it is its coordinator: it gives each shard with rmr
//! its share, a *leaf*, and puts together what the leaves say. Records move between the stages only, in batches, and the
//! answer to a batch is the leave to send the next one, so that nothing piles up.
//!
//! This floor knows the engine and what is below it, and no server: a module gives it its [`Keyspace`](keyspace::Keyspace).

#![cfg_attr(not(feature = "module"), allow(dead_code, reason = "only a server runs shares and lists executions"))]

mod builder;
mod carried;
pub(crate) mod carrier;
pub(crate) mod code;
mod code_flow;
mod code_leaf;
mod code_task;
pub(crate) mod coordinator;
mod drive;
pub(crate) mod execution;
pub(crate) mod executions;
mod exit;
pub(crate) mod explained;
pub(crate) mod failures;
pub(crate) mod home;
mod inlet;
pub(crate) mod into;
pub(crate) mod keyspace;
pub(crate) mod leaf;
mod left_open;
pub(crate) mod messages;
mod outbox;
mod plain;
mod plain_names;
mod plain_scan;
mod plain_slots;
pub(crate) mod plan;
mod planned;
mod records;
pub(crate) mod registry;
mod remote;
mod replica;
mod reply_text;
mod requests;
mod router;
mod share;
pub(crate) mod slots;
mod spec;
mod stage_task;
mod step;
pub(crate) mod takers;
#[cfg(test)]
mod tests;
pub(crate) mod values;
mod work;

pub use builder::{CollectedFlow, Failures, Flow, ReducedFlow, RunsFlows};
pub use records::Records;
pub use step::BatchStep;
