//! Nodes that were lost come back: empty, and as new ones.
//!
//! What such a node has is old. If it is the process that was lost, its keys are the store's, and it is emptied. Another process at
//! its address is only let in if it is empty: its keys may be anybody's.

use std::time::{Duration, SystemTime};

use super::scripts::{OUTSIDE, READMIT, TIME};
use crate::command::Command;
use crate::error::Error;
use crate::link::{LinkOptions, Links};
use crate::placement::store::admit::{Clock, NodeDemands, look_at};
use crate::placement::store::copy::node::DataNode;
use crate::placement::store::tables::Tables;

/// The pause between two looks whether a lost node has come back.
pub(in crate::placement::store) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Lets nodes in again that were lost and answer. Such links reach them.
pub(in crate::placement::store) async fn readmit(
    tables: &Tables,
    links: &Links,
    make_links: impl Fn() -> LinkOptions,
) -> Result<(), Error> {
    let has_copies = tables.current().is_some_and(|table| table.settings.copies > 1);
    let demands = NodeDemands { has_copies, may_hold_keys: false };
    let outside: Vec<String> = tables.run(&OUTSIDE, &[]).await?;
    let (outside, _) = outside.as_chunks::<2>();
    for [address, run_id] in outside {
        let Ok(mut node) = DataNode::connect(links, address).await else { continue };
        if node.run_id().await.is_ok_and(|now| now == *run_id) && !empty(&mut node).await {
            continue;
        }
        let asked = SystemTime::now();
        let (seconds, micros): (f64, f64) = tables.run(&TIME, &[]).await?;
        match look_at(address, make_links(), Clock::of(seconds, micros, asked), demands).await {
            Ok(now) => {
                if tables.run::<i64>(&READMIT, &[address, run_id, &now]).await? == 1 {
                    log::info!("the node {address} is back, and begins anew");
                }
            }
            Err(why) => log::debug!("the node {address} stays out: {why}"),
        }
    }
    Ok(())
}

/// Has a node forget all it has, and all that it has not read yet of those who wrote to it before. Returns whether it has.
async fn empty(node: &mut DataNode) -> bool {
    let kill = Command::new("CLIENT").arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes");
    node.call(kill).await.is_ok() && node.call(Command::new("FLUSHALL").arg("ASYNC")).await.is_ok()
}
