//! [`FlowSpec`]: a flow and what it may take, and [`FlowAnswer`]: what it has come to.

use std::sync::Arc;
use std::time::Duration;

use super::failures::KeyFailures;
use super::keyspace::Keyspace;
use super::messages::CallerId;
use super::plan::FlowPlan;
use super::records::Records;
use super::registry::StepsAndReducers;
use crate::combine::{AnyCombine, AnyPartial};

/// A flow, and what it may take.
pub(crate) struct FlowSpec {
    pub(crate) plan: FlowPlan,
    /// The reducer that the plan names; [`None`] if the records are the answer.
    pub(crate) combine: Option<Arc<dyn AnyCombine>>,
    /// [`None`] for a flow that has all the time it takes.
    pub(crate) timeout: Option<Duration>,
    /// The most memory that it may take on each node, in bytes.
    pub(crate) memory: u64,
    pub(crate) registry: Arc<dyn StepsAndReducers>,
    /// On whose account it runs; [`None`] if nothing is restricted.
    pub(crate) caller: Option<CallerId>,
    /// Reads at replicas, where shards have some. For flows that only read.
    pub(crate) on_replicas: bool,
    /// The keys of the server that we live in, with the caller's rights; [`None`] if there is no such server.
    pub(crate) home: Option<Arc<dyn Keyspace>>,
}

/// What a flow has come to.
pub(crate) struct FlowAnswer {
    /// What the records come to; [`None`] if they are the answer.
    pub(crate) reduced: Option<Box<dyn AnyPartial>>,
    pub(crate) records: Records,
    /// None unless the plan goes on when keys fail.
    pub(crate) failures: KeyFailures,
}
