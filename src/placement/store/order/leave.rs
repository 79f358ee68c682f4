//! The change that follows when a node fails: it leaves the copies of the slots whose writes are ordered here, by a numbered change. Writes
//! that have failed there wait for that.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Sequencer;
use super::in_flight::{Settled, StepInFlight};
use super::lane::NodeLane;
use super::link::OrderedLink;
use crate::command::Command;
use crate::error::Error;
use crate::placement::store::scripts::LEAVE;
use crate::placement::store::table::{SlotTable, StoreNode};

/// The time for which the configuration node is asked for a change before the writes that wait for it are given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pause before the configuration node is asked again after a failure.
const PAUSE: Duration = Duration::from_millis(50);

/// The reason why copies of a node are dropped that an operator has removed.
const REMOVED_BY: &str = "an operator has removed it";

/// The pause before another try to drop them.
const AGAIN: Duration = Duration::from_millis(250);

impl Sequencer {
    /// Hears that a node has failed: by the connection of this number, or that none can be had. A task of its own does the
    /// rest, once.
    pub(super) fn is_unfit(&self, lane: &Arc<NodeLane>, link: Option<u64>, why: &str) {
        // Commands that were on their way may be done yet.
        self.turns.all_written();
        let Some(number) = lane.breaks_off(link) else { return };
        let (Some(itself), lane, why) = (self.itself.upgrade(), lane.clone(), why.to_owned()) else { return };
        tokio::spawn(async move {
            log::warn!("the node {} fails: {why}", lane.address);
            let until = Instant::now() + PATIENCE;
            while let Err(error) = itself.take_out(&lane, &why).await {
                if Instant::now() >= until {
                    log::warn!("the node {} stays a copy: {error}", lane.address);
                    break;
                }
                sleep(PAUSE).await;
            }
            lane.has_settled(number);
        });
    }

    /// Hears that a node cannot be reached by others than the connection for writes, if there is none.
    pub(in crate::placement::store) fn cannot_reach(&self, node: &StoreNode, why: &str) {
        self.is_unfit(&self.lane(node), None, why);
    }

    /// Drops the copies of nodes that an operator has removed, of slots whose writes are ordered here. Never ends.
    pub(in crate::placement::store) async fn drop_removed(&self) {
        let mut tables = self.tables.follow();
        loop {
            let table = tables.borrow_and_update().clone();
            let removed: Vec<Arc<NodeLane>> =
                table.iter().flat_map(|table| table.removed_from(&self.name)).map(|node| self.lane(node)).collect();
            if removed.is_empty() {
                if tables.changed().await.is_err() {
                    return;
                }
                continue;
            }
            // Writes wait until the node is no copy any more, so the configuration node has to be there.
            if self.tables.load().await.is_ok() {
                for lane in removed {
                    match lane.open_link() {
                        Some(link) => link.end(REMOVED_BY),
                        None => self.is_unfit(&lane, None, REMOVED_BY),
                    }
                }
            }
            sleep(AGAIN).await;
        }
    }

    /// Takes a node out of the copies of all slots that have another one which works. Slots that have others of which none works
    /// become suspect.
    async fn take_out(&self, lane: &NodeLane, why: &str) -> Result<(), Error> {
        let table = match self.tables.current() {
            Some(table) => table,
            None => self.tables.load().await?,
        };
        let Some(place) = table.place_of(&lane.address) else { return Ok(()) };
        let mut others: HashMap<usize, bool> = HashMap::new();
        let (mut lose, mut suspect) = (Vec::new(), Vec::new());
        for (slot, entry) in table.slots().iter().enumerate() {
            if !entry.is_ordered_by(&self.name) || entry.copies.len() < 2 || !entry.copies.contains(&place) {
                continue;
            }
            let mut works = false;
            for &other in entry.copies.iter().filter(|other| **other != place) {
                let known = match others.get(&other) {
                    Some(known) => *known,
                    None => self.works(&table, &table.nodes[other]).await,
                };
                others.insert(other, known);
                works |= known;
            }
            let list = if works { &mut lose } else { &mut suspect };
            list.push(slot.to_string());
        }
        if lose.is_empty() && suspect.is_empty() {
            return Ok(());
        }
        let (node, count) = (lane.address.to_string(), lose.len().to_string());
        let mut args: Vec<&str> = vec![&self.name, &node, why, &count];
        args.extend(lose.iter().chain(&suspect).map(String::as_str));
        self.tables.run::<u64>(&LEAVE, &args).await?;
        self.tables.counts().copies_dropped.add(lose.len() as u64);
        self.tables.load().await.map(drop)
    }

    /// Returns whether a node answers.
    async fn works(&self, table: &SlotTable, node: &StoreNode) -> bool {
        let lane = self.lane(node);
        if lane.is_settling() {
            return false;
        }
        let Ok(link) = self.connect(table, &lane, node).await else { return false };
        let settled = tokio::time::timeout(table.settings.node_timeout, ping(&link)).await;
        matches!(settled, Ok(Some(settled)) if settled.failed.is_empty())
    }
}

/// Asks a node for no more than an answer. Returns its answer, if the connection lives.
pub(super) async fn ping(link: &OrderedLink) -> Option<Settled> {
    StepInFlight::send([link].into_iter(), &[Command::new("PING")], None, |_| {}).await.ok()
}
