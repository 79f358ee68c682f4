//! [`EngineState`]: what all requests of an engine share.

use std::sync::Arc;

use super::cover::LastCover;
use super::limits::Limits;
use super::refresh::Refresher;
use super::stats::Stats;
use crate::describe::Catalogue;
use crate::shard::{ShardFunc, default_for};
use crate::topology::Topology;

/// The long-lived parts of an engine.
pub(super) struct EngineState {
    pub(super) refresher: Arc<Refresher>,
    pub(super) shard_func: Option<Box<dyn ShardFunc>>,
    pub(super) limits: Limits,
    pub(super) stats: Arc<Stats>,
    /// The descriptions of commands that are sent to all shards.
    pub(super) catalogue: Catalogue,
    pub(super) last_cover: LastCover,
}

impl EngineState {
    pub(super) fn new(
        refresher: Refresher,
        shard_func: Option<Box<dyn ShardFunc>>,
        limits: Limits,
        stats: Arc<Stats>,
    ) -> Self {
        let (refresher, catalogue, last_cover) = (Arc::new(refresher), Catalogue::default(), LastCover::default());
        Self { refresher, shard_func, limits, stats, catalogue, last_cover }
    }
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
