//! The options of a proxy.

use std::sync::Arc;
use std::time::Duration;

use super::request_reader::RequestLimits;
use crate::link::LinkOptions;
use crate::peer::Forwarded;
#[cfg(feature = "placement")]
use crate::placement::Store;
use crate::shard::ShardFunc;

/// Says how a [`Proxy`](super::Proxy) is to be.
#[must_use]
pub struct ProxyOptions {
    pub(super) links: Box<dyn Fn() -> LinkOptions + Send + Sync>,
    pub(super) shard_func: Option<Box<dyn Fn() -> Box<dyn ShardFunc> + Send + Sync>>,
    pub(super) timeout: Duration,
    pub(super) max_clients: usize,
    pub(super) max_bulk_bytes: usize,
    pub(super) max_request_bytes: usize,
    pub(super) max_reply_bytes: usize,
    pub(super) max_output_bytes: usize,
    pub(super) write_timeout: Duration,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) splits_writes: bool,
    #[cfg(feature = "placement")]
    pub(super) store: Option<Store>,
    /// Takes what other proxies of a placement forward.
    pub(super) forwarded: Option<Arc<dyn Forwarded>>,
}

impl Default for ProxyOptions {
    fn default() -> Self {
        Self {
            links: Box::new(LinkOptions::new),
            shard_func: None,
            timeout: Duration::from_secs(5),
            max_clients: 10_000,
            max_bulk_bytes: 512 << 20,
            max_request_bytes: 1 << 30,
            max_reply_bytes: 1 << 30,
            max_output_bytes: 32 << 20,
            write_timeout: Duration::from_secs(30),
            idle_timeout: None,
            splits_writes: false,
            #[cfg(feature = "placement")]
            store: None,
            forwarded: None,
        }
    }
}

impl ProxyOptions {
    /// Makes the options that hold where nothing else is said.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how links to nodes connect, but for credentials, which are those of each client. Asked once for each user.
    /// Default: [`LinkOptions::new`].
    pub fn links(mut self, links: impl Fn() -> LinkOptions + Send + Sync + 'static) -> Self {
        self.links = Box::new(links);
        self
    }

    /// Sets which node a key belongs to where nodes have no slots. Asked once for each user. Default: CRC32.
    pub fn shard_func(mut self, make: impl Fn() -> Box<dyn ShardFunc> + Send + Sync + 'static) -> Self {
        self.shard_func = Some(Box::new(make));
        self
    }

    /// Bounds the time of a command that does not block. Default: 5 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Bounds how many clients may be connected at once; more are told so and sent away. Default: 10,000.
    pub fn max_clients(mut self, clients: usize) -> Self {
        self.max_clients = clients;
        self
    }

    /// Bounds one argument of a command, in bytes. Default: 512 MiB, as in Redis.
    pub fn max_bulk_bytes(mut self, bytes: usize) -> Self {
        self.max_bulk_bytes = bytes;
        self
    }

    /// Bounds one command with all its arguments, in bytes. Default: 1 GiB, as in Redis.
    pub fn max_request_bytes(mut self, bytes: usize) -> Self {
        self.max_request_bytes = bytes;
        self
    }

    /// Bounds the replies of nodes to one command, in bytes. Default: 1 GiB.
    pub fn max_reply_bytes(mut self, bytes: usize) -> Self {
        self.max_reply_bytes = bytes;
        self
    }

    /// Bounds what waits for a client that has subscribed and does not read, in bytes; it is cut off beyond that. Default:
    /// 32 MiB.
    pub fn max_output_bytes(mut self, bytes: usize) -> Self {
        self.max_output_bytes = bytes;
        self
    }

    /// Bounds the time in which a client must read its replies; it is cut off after that. Default: 30 s.
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// Closes connections of clients that say nothing for so long. Default: never.
    pub fn idle_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Sets whether commands that write keys of several slots or servers, such as `MSET`, are run in parts, which is not
    /// atomic. Default: `false`, and they are refused.
    pub fn splits_writes(mut self, splits: bool) -> Self {
        self.splits_writes = splits;
        self
    }

    /// Serves data of a store: links to nodes, set before, read any copy and take writes to all of them, other proxies of the same
    /// store forward their writes to this one, and clients can ask for it, and change it, with `RMR.PLACE`. Default: none.
    #[cfg(feature = "placement")]
    pub fn store(mut self, store: Store) -> Self {
        self.forwarded = Some(store.forwarded());
        let (links, front) = (self.links, store.clone());
        self.links = Box::new(move || front.links(links()));
        self.store = Some(store);
        self
    }

    /// Tells whether the nodes are those of a store.
    pub(super) fn has_store(&self) -> bool {
        self.forwarded.is_some()
    }

    pub(super) fn request_limits(&self) -> RequestLimits {
        RequestLimits { max_bulk: self.max_bulk_bytes, max_request: self.max_request_bytes }
    }
}
