//! The lease of a proxy, for as long as the configuration node does not answer: by what the nodes say.

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use super::Sequencer;
use super::leave::ping;
use crate::placement::store::table::{SlotTable, StoreNode};
use crate::reply::Reply;

impl Sequencer {
    /// Asks the nodes whenever half of the lease is over. Never ends.
    pub(in crate::placement::store) async fn keep_lease(&self) {
        let lease = self.tables.lease();
        loop {
            let table = lease.until_half_over().await;
            let (time, sent) = (table.settings.lease, Instant::now());
            let asked = table.nodes.iter().map(|node| timeout(time / 4, self.is_served_by(&table, node)));
            let served = join_all(asked).await.into_iter().filter(|answer| matches!(answer, Ok(true))).count();
            match served * 2 > table.nodes.len() {
                true => lease.extend(sent, time),
                false => sleep(time / 8).await,
            }
        }
    }

    /// Returns whether a node answers this proxy's own user, whom a fence switches off.
    async fn is_served_by(&self, table: &SlotTable, node: &StoreNode) -> bool {
        let Ok(link) = self.connect(table, &self.lane(node), node).await else { return false };
        let replies = ping(&link).await.and_then(|settled| settled.replies);
        replies.is_some_and(|replies| !matches!(replies[..], [Reply::Error(_)]))
    }
}
