//! [`FlowSpec`]: a flow and what it may take, and [`FlowAnswer`]: what it has come to.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::failures::KeyFailures;
use super::keyspace::Keyspace;
use super::messages::{CallerId, StepsTook};
use super::plan::FlowPlan;
use super::records::Records;
use super::registry::StepsAndReducers;
use crate::combine::{AnyCombine, AnyPartial};
use crate::error::Error;

/// A flow, and what it may take.
pub(crate) struct FlowSpec {
    pub(crate) plan: FlowPlan,
    /// The reducer that the plan names; [`None`] if the records are the answer.
    pub(crate) combine: Option<Arc<dyn AnyCombine>>,
    /// [`None`] for a flow that has all the time it takes.
    pub(crate) timeout: Option<Duration>,
    /// The time that a node may wait for others that get no further; [`None`] for as long as that takes.
    pub(crate) idle: Option<Duration>,
    /// The most memory that it may take on each node, in bytes.
    pub(crate) memory: u64,
    pub(crate) registry: Arc<dyn StepsAndReducers>,
    /// The user on whose account it runs; [`None`] if nothing is restricted.
    pub(crate) caller: Option<CallerId>,
    /// Reads at replicas, where shards have some. For flows that only read.
    pub(crate) on_replicas: bool,
    /// Does all of it on this node alone, on the keys that it has. The plan has one stage then.
    pub(crate) only_here: bool,
    /// A failure ends the flow as any, but is said beside what was collected before it.
    pub(crate) keeps_results: bool,
    /// The keys of the server that we live in, with the caller's rights; [`None`] if there is no such server.
    pub(crate) home: Option<Arc<dyn Keyspace>>,
}

/// The answer of a flow.
#[allow(dead_code, reason = "the commands that ask for errors are being built")]
pub(crate) struct FlowAnswer {
    /// The partial result of the records; [`None`] if the records are the answer.
    pub(crate) reduced: Option<Box<dyn AnyPartial>>,
    pub(crate) records: Records,
    /// The keys that have failed; none unless the plan goes on when keys fail.
    pub(crate) failures: KeyFailures,
    /// Errors that code has gone on from, in no order.
    pub(crate) errors: Vec<Bytes>,
    /// The flow was ended since it waited for others for [too long](FlowSpec::idle).
    pub(crate) has_idled: bool,
    /// The time that reading has taken on each node where code reads, and the time of the code's steps, if that was
    /// asked for.
    pub(crate) took: Vec<StepsTook>,
    /// The error that has ended it too soon, if its results are [kept](FlowSpec::keeps_results).
    pub(crate) error: Option<Error>,
}
