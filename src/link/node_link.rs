//! [`Link`]: the way to one node, as the engine sees it.

use bytes::Bytes;

use super::batch::{Batch, Delivery};
use super::stats::LinkStats;
use crate::resp::Protocol;
use crate::topology::BoxFuture;

/// A way to one node.
pub trait Link: Send + Sync {
    /// Sends a batch. It is on its way when this returns, before the future is polled. Dropping the future gives the
    /// request up: what has not left is not sent, a late reply is dropped.
    fn send(&self, batch: Batch) -> BoxFuture<'static, Delivery>;

    /// Tells whether the node is to be asked to reduce its share. It may decline.
    fn reduces(&self) -> bool {
        false
    }

    /// Asks whether the node would refuse the writes of a batch for what it is or lacks, before other nodes get their shares
    /// of the same request. Returns the refusal, in the node's words; `None` if there is none, and where only sending the
    /// batch tells.
    fn refusal(&self, _batch: Batch) -> BoxFuture<'static, Option<Bytes>> {
        Box::pin(std::future::ready(None))
    }

    /// Returns the state and the figures of the link.
    fn stats(&self) -> &LinkStats;

    /// Takes what has come from the node and was not read yet, because whoever is to read it has other things to do. Called
    /// when a request's time is over.
    fn drain_ready(&self, _protocol: Protocol) {}

    /// Hears that a request's time was over before this node answered. A link that hears this again and again, and nothing
    /// from the node meanwhile, should connect anew.
    fn on_timeout(&self, _protocol: Protocol) {}
}
