//! Nodes that were lost come back: empty, and as new ones.
//!
//! The keys of such a node are old. If it is the process that was lost, its keys are the store's, and it is emptied. Another process at
//! its address is only let in if it is empty: its keys may be anybody's.
//!
//! A node that was lost to some slots may still have a copy of others. These move to nodes that are in, and it is empty then. Where
//! less nodes are in than slots have copies, there is nowhere to move to: so it is let in with the copies that it has.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use tokio::time::timeout;

use super::scripts::{OUTSIDE, READMIT, REJOIN, TIME};
use crate::command::Command;
use crate::error::Error;
use crate::link::{LinkOptions, Links};
use crate::placement::store::admit::{Clock, NodeDemands, look_at};
use crate::placement::store::copy::node::DataNode;
use crate::placement::store::copy::scan::drop_slots;
use crate::placement::store::table::SlotTable;
use crate::placement::store::tables::Tables;

/// The pause between two looks whether a lost node has come back.
pub(in crate::placement::store) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The time that a node has to forget what it has no copy of any more: all its keys are looked at.
const ANSWERS: Duration = Duration::from_secs(300);

/// Lets nodes in again that were lost and answer, reached by links that `make_links` describes.
pub(in crate::placement::store) async fn readmit(
    tables: &Tables,
    links: &Links,
    make_links: impl Fn() -> LinkOptions,
) -> Result<(), Error> {
    let has_copies = tables.current().is_some_and(|table| table.settings.copies > 1);
    let demands = NodeDemands { has_copies, may_hold_keys: false };
    let (epoch, free, holding): (u64, Vec<String>, Vec<String>) = tables.run(&OUTSIDE, &[]).await?;
    if !holding.is_empty() {
        rejoin(tables, links, epoch, &holding).await?;
    }
    let (free, _) = free.as_chunks::<2>();
    for [address, run_id] in free {
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

/// Lets nodes in again, all at once, that have copies at this epoch: addresses and ids of processes by turns.
async fn rejoin(tables: &Tables, links: &Links, epoch: u64, holding: &[String]) -> Result<(), Error> {
    let table = tables.load().await?;
    if table.epoch != epoch {
        return Ok(());
    }
    let epoch = epoch.to_string();
    let mut arguments = vec![epoch.as_str()];
    let (holding, _) = holding.as_chunks::<2>();
    for [address, run_id] in holding {
        match timeout(ANSWERS, keep_copies(links, &table, address, run_id)).await {
            Ok(Ok(())) => arguments.push(address),
            Ok(Err(error)) => log::debug!("the node {address} stays out: {error}"),
            Err(_) => log::debug!("the node {address} stays out: it does not answer"),
        }
    }
    let is_any = arguments.len() > 1;
    if is_any && tables.run::<i64>(&REJOIN, &arguments).await? > 0 {
        log::info!("{} are back with the copies that they have", arguments[1..].join(", "));
    }
    Ok(())
}

/// Has a node forget all but the slots of which it has copies.
///
/// # Errors
/// If it does not, or is not the process that had them.
async fn keep_copies(links: &Links, table: &SlotTable, address: &str, run_id: &str) -> Result<(), Error> {
    let mut node = DataNode::connect(links, address).await?;
    if node.run_id().await? != *run_id {
        return Err(node.odd("is not the process that was let in"));
    }
    cut_off(&mut node).await?;
    let is_copy = |slot: u16| table.copies_of(slot).any(|copy| copy.address.to_string() == *address);
    let kept: BTreeSet<u16> = (0..table.settings.func.slots()).filter(|&slot| is_copy(slot)).collect();
    drop_slots(&mut node, table.settings.func, |slot| !kept.contains(&slot)).await.map(drop)
}

/// Has a node forget all it has, and all that it has not read yet of those who wrote to it before. Returns whether it has.
async fn empty(node: &mut DataNode) -> bool {
    cut_off(node).await.is_ok() && node.call(Command::new("FLUSHALL").arg("ASYNC")).await.is_ok()
}

/// Ends all other connections of clients: what they have sent and the node has not read is not done any more.
async fn cut_off(node: &mut DataNode) -> Result<(), Error> {
    let kill = Command::new("CLIENT").arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes");
    node.call(kill).await.map(drop)
}
