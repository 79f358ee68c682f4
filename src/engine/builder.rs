//! Builds an [`Engine`].

use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::limits::Limits;
use super::refresh::{self, Refresher};
use super::seeds::ThroughSeeds;
use super::state::EngineState;
use super::stats::Stats;
use crate::link::{Link, LinkOptions, Links, Watcher};
use crate::shard::ShardFunc;
use crate::topology::{Address, NodeProvider, RedisCluster};

/// The pause after which a cluster that is followed from outside is asked for its topology, besides at signs of a
/// change.
const REFRESH_EVERY: Duration = Duration::from_secs(1);

impl Engine {
    /// Sets an engine up.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

/// Sets an [`Engine`] up.
#[derive(Default)]
pub struct Builder {
    provider: Option<Arc<dyn NodeProvider>>,
    seeds: Option<Vec<Address>>,
    shard_func: Option<Box<dyn ShardFunc>>,
    links: LinkOptions,
    watcher: Option<Arc<dyn Watcher>>,
    local: Option<Arc<dyn Link>>,
    timeout: Option<Duration>,
    stats: Arc<Stats>,
}

impl Builder {
    /// Sets who says which nodes there are. Without a provider there are none.
    #[must_use]
    pub fn provider(mut self, provider: impl NodeProvider) -> Self {
        self.provider = Some(Arc::new(provider));
        self
    }

    /// Follows a Redis Cluster that is found through any of these nodes.
    #[must_use]
    pub fn cluster(mut self, seeds: Vec<Address>) -> Self {
        self.seeds = Some(seeds);
        self
    }

    /// Sets the function that says which node a command belongs to. Default: CRC16 slots where the provider knows
    /// slots, CRC32 elsewhere.
    #[must_use]
    pub fn shard_func(mut self, shard_func: impl ShardFunc) -> Self {
        self.shard_func = Some(Box::new(shard_func));
        self
    }

    /// Sets a shard function whose type is known only at run time.
    #[must_use]
    pub fn boxed_shard_func(mut self, shard_func: Box<dyn ShardFunc>) -> Self {
        self.shard_func = Some(shard_func);
        self
    }

    /// Sets how links connect.
    #[must_use]
    pub fn links(mut self, options: LinkOptions) -> Self {
        self.links = options;
        self
    }

    /// Sets the watcher that reports bytes on links in place of the runtime.
    #[cfg_attr(not(feature = "module"), allow(dead_code, reason = "only a server has an event loop"))]
    pub(crate) fn watcher(mut self, watcher: impl Watcher + 'static) -> Self {
        self.watcher = Some(Arc::new(watcher));
        self
    }

    /// Serves the share of the node that this process is.
    #[must_use]
    pub fn local_link(mut self, link: Arc<dyn Link>) -> Self {
        self.local = Some(link);
        self
    }

    /// Sets the time that a request has unless it says otherwise. Default: 5 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Counts where another engine counts too.
    #[must_use]
    pub(crate) fn counting_in(mut self, stats: Arc<Stats>) -> Self {
        self.stats = stats;
        self
    }

    /// Makes the engine. Must be called within a tokio runtime: the topology is followed from now on.
    pub fn build(self) -> Engine {
        let stats = self.stats;
        let links = Arc::new(Links::new(self.links, self.watcher));
        let through_seeds = |seeds| -> Arc<dyn NodeProvider> {
            let ask = ThroughSeeds { links: links.clone(), seeds };
            Arc::new(RedisCluster::new(ask, || REFRESH_EVERY))
        };
        let provider = self.provider.or_else(|| self.seeds.map(through_seeds));
        let limits = Limits::default();
        if let Some(timeout) = self.timeout {
            limits.set_timeout(timeout);
        }
        let refresher = Refresher::new(provider, links, self.local, stats.clone());
        let state = Arc::new(EngineState::new(refresher, self.shard_func, limits, stats));
        tokio::spawn(refresh::follow(Arc::downgrade(&state.refresher)));
        Engine { state }
    }
}
