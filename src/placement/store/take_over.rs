//! Taking over the slots of a proxy that does not live any more.
//!
//! It may only be slow, and have sent what has not been read yet. So it is fenced first: on each node its user is switched off,
//! and its connections are ended, in this order; what they had not read is never run. A node on which that fails is no copy any
//! more.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::copy::node::DataNode;
use super::order::user_of;
use super::scripts::TAKE_OVER;
use super::tables::Tables;
use super::without::is_without;
use crate::command::Command;
use crate::error::Error;
use crate::link::Links;
use crate::placement::balance::{Balance, Candidate};
use crate::placement::slot::MAX_SLOTS;

/// The time that a node has to do what fences a proxy.
const FENCE_LIMIT: Duration = Duration::from_secs(1);

/// Gives the slots of proxies that do not live any more to those that do. Returns whether there were any.
pub(super) async fn take_over(
    tables: &Tables,
    links: &Links,
    live: &[String],
    dead: Vec<(String, Vec<u16>)>,
) -> Result<bool, Error> {
    if live.is_empty() || dead.is_empty() {
        return Ok(false);
    }
    let balance = Balance::new(MAX_SLOTS, 1, live.iter().map(Candidate::new));
    let mut taken = 0;
    for (name, slots) in dead {
        let table = tables.load().await?;
        // All of them: one that has no copy yet may be about to get one.
        let nodes: Vec<String> = table.nodes.iter().map(|node| node.address.to_string()).collect();
        let user = user_of(&name);
        let fences = join_all(nodes.iter().map(|node| timeout(FENCE_LIMIT, fence(links, node, &user)))).await;
        let is_fenced = |fence: &Result<Result<(), Error>, _>| matches!(fence, Ok(Ok(())));
        tables.counts().fences.add(fences.iter().filter(|fence| is_fenced(fence)).count() as u64);
        let fenced = nodes.iter().zip(&fences).filter(|(_, fence)| is_fenced(fence)).map(|(node, _)| node.as_str());
        let fenced = fenced.collect::<Vec<_>>().join(" ");
        let numbers: Vec<String> = slots.iter().map(u16::to_string).collect();
        let mut arguments = vec![name.as_str(), &fenced];
        for (slot, number) in slots.iter().zip(&numbers) {
            if let Some(proxy) = balance.ranked(*slot).next() {
                arguments.extend([number.as_str(), proxy]);
            }
        }
        let (count, is_waited_for): (i64, i64) = tables.run(&TAKE_OVER, &arguments).await?;
        if is_waited_for == 1 {
            log::warn!(
                "{name} does not live any more, and most nodes are not there to keep it out: it may still be read there"
            );
        }
        if count > 0 {
            log::info!("{count} slots of {name}, which does not live any more, are taken over");
        }
        taken += count;
    }
    Ok(taken > 0)
}

/// Keeps a user from a node, whatever it has sent and not had run.
async fn fence(links: &Links, node: &str, user: &str) -> Result<(), Error> {
    let mut node = DataNode::connect(links, node).await?;
    if is_without("fence") {
        return Ok(());
    }
    node.call(Command::new("ACL").arg("SETUSER").arg(user).arg("off")).await?;
    node.call(Command::new("CLIENT").arg("KILL").arg("USER").arg(user)).await?;
    Ok(())
}
