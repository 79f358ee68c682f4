//! [`StoreFront`]: links that know of copies. Reads go to any copy, writes go to the slot's sequencer.

use std::sync::Arc;

use super::copy_read::CopyRead;
use super::copy_write::write;
use super::shared::Shared;
use super::user_copies::{CopyWay, UserCopies, way};
use super::whole;
use crate::link::{Batch, Delivery, Link, LinkFront, LinkStats, Protocol, ReadFrom};
use crate::topology::{Address, BoxFuture};

/// Puts a link that knows of copies before each link of one user.
pub(super) struct StoreFront {
    copies: Arc<UserCopies>,
}

impl StoreFront {
    pub(super) fn new(shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self { copies: Arc::new(UserCopies::new(shared)) })
    }
}

impl LinkFront for StoreFront {
    fn before(&self, address: &Address, link: Arc<dyn Link>) -> Arc<dyn Link> {
        self.copies.links.keep(address.clone(), link.clone());
        Arc::new(CopiesLink { copies: self.copies.clone(), address: address.clone(), node: link })
    }
}

/// The link to a node that holds first copies, for all that is about their keys.
struct CopiesLink {
    copies: Arc<UserCopies>,
    address: Address,
    /// Leads to the node itself.
    node: Arc<dyn Link>,
}

impl Link for CopiesLink {
    fn send(&self, batch: Batch) -> BoxFuture<'static, Delivery> {
        let tables = &self.copies.shared().tables;
        let Some(table) = tables.current() else { return self.node.send(batch) };
        let ways: Vec<CopyWay> = batch.picked().map(|command| way(&table, command)).collect();
        if ways.iter().all(|way| matches!(way, CopyWay::Node)) {
            return whole::send(&self.copies.links, &self.address, &self.node, &table, batch);
        }
        let is_ordered = batch.reads == ReadFrom::Ordered || !tables.lease().is_held();
        if is_ordered || ways.iter().any(|way| matches!(way, CopyWay::Write(_))) {
            let (copies, node) = (self.copies.clone(), self.node.clone());
            return Box::pin(async move { write(&copies, node, batch, ways).await });
        }
        let read = CopyRead { copies: self.copies.clone(), node: self.node.clone(), batch, ways };
        Box::pin(read.run(table))
    }

    fn stats(&self) -> &LinkStats {
        self.node.stats()
    }

    fn drain_ready(&self, protocol: Protocol) {
        self.node.drain_ready(protocol);
    }

    fn on_timeout(&self, protocol: Protocol) {
        self.node.on_timeout(protocol);
    }
}
