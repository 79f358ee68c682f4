//! A connection for one command: one that may block its connection would hold up all other requests.

use std::sync::Arc;

use crate::link::{Batch, Delivery, Link, LinkStats, Links};
use crate::topology::{BoxFuture, Endpoint};

/// Connects for each command anew. Giving the command up closes the connection, which the server takes for the end of
/// the wait.
pub(super) struct DedicatedLink {
    links: Arc<Links>,
    endpoint: Endpoint,
    stats: LinkStats,
}

impl DedicatedLink {
    pub(super) fn new(links: Arc<Links>, endpoint: Endpoint) -> Self {
        Self { links, endpoint, stats: LinkStats::default() }
    }
}

impl Link for DedicatedLink {
    fn send(&self, batch: Batch) -> BoxFuture<'static, Delivery> {
        let (links, endpoint) = (self.links.clone(), self.endpoint.clone());
        Box::pin(async move { links.call_dedicated(endpoint, &batch).await })
    }

    fn stats(&self) -> &LinkStats {
        &self.stats
    }
}
