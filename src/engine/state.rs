//! [`EngineState`]: what all requests of an engine share.

use std::sync::Arc;

use super::limits::Limits;
use super::refresh::Refresher;
use super::stats::Stats;
use crate::shard::{ShardFunc, default_for};
use crate::topology::Topology;

/// The long-lived parts of an engine.
pub(super) struct EngineState {
    pub(super) refresher: Arc<Refresher>,
    pub(super) shard_func: Option<Box<dyn ShardFunc>>,
    pub(super) limits: Limits,
    pub(super) stats: Arc<Stats>,
}

impl EngineState {
    /// Returns what places commands by this topology: the default placement, unless the engine was built with a shard
    /// function.
    pub(super) fn shard_func(&self, topology: &Topology) -> &dyn ShardFunc {
        match &self.shard_func {
            Some(shard_func) => &**shard_func,
            None => default_for(topology),
        }
    }
}
