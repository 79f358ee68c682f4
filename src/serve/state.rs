//! The state that all connections of a proxy share.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tokio::sync::watch;

use super::clients::Clients;
use super::known::KnownCommands;
use super::metrics::ProxyCounters;
use super::options::ProxyOptions;
use super::queues::KeyQueues;
use super::scripts::KeptScripts;
use super::shared_topology::SharedTopology;
use super::users::{EngineParts, Users};
use crate::engine::Engine;

/// The state that all connections share.
pub(super) struct ProxyState {
    /// Follows the nodes and asks about commands, as nobody but the proxy itself.
    pub(super) engine: Engine,
    pub(super) users: Users,
    pub(super) known: KnownCommands,
    pub(super) scripts: KeptScripts,
    pub(super) clients: Arc<Clients>,
    /// Clients that wait for keys which have several copies.
    pub(super) queues: Arc<KeyQueues>,
    pub(super) counters: ProxyCounters,
    pub(super) options: ProxyOptions,
    pub(super) began: Instant,
    /// The version of the nodes, once one has told it.
    pub(super) version: OnceLock<String>,
    /// Commands that clients have sent.
    pub(super) commands: AtomicU64,
    /// Tells connections to end as soon as they have answered.
    pub(super) drain: watch::Sender<bool>,
    /// Tells connections of other proxies to end, which outlive those of clients. Each listens to it as long as it lives.
    pub(super) end_peers: watch::Sender<bool>,
}

impl ProxyState {
    /// Makes the state of a proxy. Must be called within a tokio runtime.
    pub(super) fn new(engine: Engine, mut options: ProxyOptions) -> Self {
        let parts = EngineParts {
            links: std::mem::replace(&mut options.links, Box::new(crate::link::LinkOptions::new)),
            shard_func: options.shard_func.take(),
            topology: SharedTopology::of(engine.clone()),
            timeout: options.timeout,
            max_reply_bytes: options.max_reply_bytes,
            stats: Arc::default(),
            stats_by_node: Arc::default(),
        };
        Self {
            engine,
            users: Users::new(parts),
            known: KnownCommands::new(options.has_store()),
            scripts: KeptScripts::default(),
            clients: Arc::default(),
            queues: Arc::default(),
            counters: ProxyCounters::default(),
            options,
            began: Instant::now(),
            version: OnceLock::new(),
            commands: AtomicU64::new(0),
            drain: watch::Sender::new(false),
            end_peers: watch::Sender::new(false),
        }
    }

    /// Counts commands that have come.
    pub(super) fn count(&self, commands: usize) {
        self.commands.fetch_add(commands as u64, Relaxed);
    }
}
