//! The handler: lets nodes in, and gives the slots out. Any number of them may run at once: each step is a script that does
//! nothing if another handler has done it.

use std::time::SystemTime;

use super::admit::{Clock, look_at};
use super::scripts::{ADMIT, GIVE, READY, REFUSE, SETTLE, TAKE};
use super::table::DEFAULTS;
use crate::error::Error;
use crate::link::LinkOptions;
use crate::placement::balance::{Candidate, even};
use crate::placement::config_node::ConfigNode;

/// Does what there is to do by now. Returns whether there was something.
pub(super) async fn step(config: &ConfigNode, links: LinkOptions) -> Result<bool, Error> {
    config.run::<i64>(&SETTLE, &DEFAULTS).await?;
    let asked = SystemTime::now();
    let (node, seconds, micros): (String, f64, f64) = config.run(&TAKE, &[]).await?;
    if node.is_empty() {
        return give_out(config).await;
    }
    match look_at(&node, links, Clock::of(seconds, micros, asked)).await {
        Ok(run_id) => {
            if config.run::<i64>(&ADMIT, &[&node, &run_id]).await? == 1 {
                log::info!("the node {node} is let in");
            }
        }
        Err(why) => {
            if config.run::<i64>(&REFUSE, &[&node, &why]).await? == 1 {
                log::warn!("the node {node} is not let in: {why}");
            }
        }
    }
    Ok(true)
}

/// Gives each slot a node, if there are nodes and nobody has done it.
async fn give_out(config: &ConfigNode) -> Result<bool, Error> {
    let (epoch, nodes, slots): (String, Vec<String>, usize) = config.run(&READY, &[]).await?;
    if nodes.is_empty() {
        return Ok(false);
    }
    let count = nodes.len();
    let plan = even(1, nodes.into_iter().map(Candidate::new), &vec![Vec::<String>::new(); slots]);
    let lists: Vec<String> = plan.iter().map(|holders| holders.join(" ")).collect();
    let arguments: Vec<&str> = std::iter::once(epoch.as_str()).chain(lists.iter().map(String::as_str)).collect();
    let is_done = config.run::<i64>(&GIVE, &arguments).await? == 1;
    if is_done {
        log::info!("{slots} slots are given out to {count} nodes");
    }
    Ok(is_done)
}
