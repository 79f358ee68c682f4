//! The handler: lets nodes in, gives the slots out, and plans which of them move. Any number of them may run at once: each step
//! is a script that does nothing if another handler has done it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::admit::{Clock, NodeDemands, look_at};
use super::mover::Planner;
use super::scripts::{ADMIT, BY_PROXY, GIVE, READY, REFUSE, SEQUENCE, SETTLE, TAKE};
use super::settings::DEFAULTS;
use super::shared::Shared;
use super::shares::{Shares, SlotsByProxy};
use super::tables::Tables;
use super::take_over::take_over;
use crate::error::Error;
use crate::peer::secret_word;
use crate::placement::balance::{Balance, Candidate, even};
use crate::placement::slot::MAX_SLOTS;

/// Does what there is to do by now. Returns whether there was something.
pub(super) async fn step(shared: &Shared, planner: &mut Planner, shares: &mut Shares) -> Result<bool, Error> {
    let tables = &*shared.tables;
    let secret = secret_word();
    let secret = ["secret", &secret];
    tables.run::<i64>(&SETTLE, &[&DEFAULTS[..], &secret].concat()).await?;
    let asked = SystemTime::now();
    let (node, seconds, micros, copies): (String, f64, f64, u64) = tables.run(&TAKE, &[]).await?;
    if node.is_empty() {
        if give_out(tables).await? {
            return Ok(true);
        }
        let (live, dead, free): SlotsByProxy = tables.run(&BY_PROXY, &[]).await?;
        return Ok(sequence(tables, &live, &free).await?
            || take_over(tables, &shared.own_links, &live, dead).await?
            || shares.step(shared, &live).await?
            || planner.step(tables).await?);
    }
    let demands = NodeDemands { has_copies: copies > 1, may_hold_keys: false };
    match look_at(&node, (shared.make_links)(), Clock::of(seconds, micros, asked), demands).await {
        Ok(run_id) => {
            if tables.run::<i64>(&ADMIT, &[&node, &run_id]).await? == 1 {
                log::info!("the node {node} is let in");
            }
        }
        Err(why) => {
            if tables.run::<i64>(&REFUSE, &[&node, &why]).await? == 1 {
                log::warn!("the node {node} is not let in: {why}");
            }
        }
    }
    Ok(true)
}

/// Gives each slot its nodes, once there are as many as it is to have copies.
async fn give_out(tables: &Tables) -> Result<bool, Error> {
    let (epoch, nodes, slots, copies): (String, BTreeMap<String, String>, usize, usize) =
        tables.run(&READY, &[]).await?;
    if nodes.len() < copies.max(1) {
        return Ok(false);
    }
    let count = nodes.len();
    let plan = even(copies, nodes.iter().map(candidate), &vec![Vec::<String>::new(); slots]);
    let lists: Vec<String> = plan.iter().map(|holders| holders.join(" ")).collect();
    let arguments: Vec<&str> = std::iter::once(epoch.as_str()).chain(lists.iter().map(String::as_str)).collect();
    let is_done = tables.run::<i64>(&GIVE, &arguments).await? == 1;
    if is_done {
        log::info!("{slots} slots with {copies} copies each are given out to {count} nodes");
    }
    Ok(is_done)
}

/// Returns a node as one that may hold slots, with the weight and the zone of its entry.
fn candidate((address, entry): (&String, &String)) -> Candidate {
    let mut words = entry.split(' ').skip(1);
    let weight = words.next().and_then(|weight| weight.parse().ok()).unwrap_or(1);
    let candidate = Candidate::new(address).weight(weight);
    match words.next() {
        None | Some("-" | "") => candidate,
        Some(zone) => candidate.zone(zone),
    }
}

/// Says who orders the writes of slots for which nobody does: of the proxies that live the one that rendezvous hashing ranks first.
async fn sequence(tables: &Tables, live: &[String], free: &[u16]) -> Result<bool, Error> {
    if live.is_empty() || free.is_empty() {
        return Ok(false);
    }
    let balance = Balance::new(MAX_SLOTS, 1, live.iter().map(Candidate::new));
    let slots: Vec<String> = free.iter().map(u16::to_string).collect();
    let chosen = free.iter().filter_map(|&slot| balance.ranked(slot).next());
    let arguments: Vec<&str> = slots.iter().zip(chosen).flat_map(|(slot, proxy)| [slot.as_str(), proxy]).collect();
    Ok(tables.run::<i64>(&SEQUENCE, &arguments).await? > 0)
}
