//! [`Sequencer`]: sends the writes of slots to all their copies, in one order.
//!
//! Each node has one [connection](link::OrderedLink) on which it does what is appended in the order in which it was appended.
//! A write is appended to the connections of all copies of its slot in one step, so each copy does the slot's writes in the same
//! order (source: total order by a sequencer, as in chain and primary-backup replication). It is acknowledged when all copies
//! have done it. A copy that fails leaves the copies of its slots by a numbered change at the configuration node first; then the
//! write is acknowledged by those that are left, or, if that cannot be had, its outcome is unknown.
//!
//! - [`link`]: a connection; [`lane`]: one after the other to the same node
//! - [`in_flight`]: a step, from when it is appended until all have answered; [`equal`]: whether they say the same
//! - [`plan`], [`planning`]: what copies run in place of a step; [`in_turn`]: steps that they do one after the other
//! - [`clock`]: the time of the nodes
//! - [`scrub`]: suspect slots, whose copies may differ
//! - [`lock`]: a slot for one alone; [`notes`]: which keys are written while it is copied
//! - [`leave`]: what follows when a connection breaks; [`lease`]: whether nodes keep the proxy out
//! - [`hand_over`]: slots go to other proxies, as planned
//! - [`forward`]: steps of slots that another proxy orders; [`gather`], [`everywhere`]: what is done by all nodes
//! - [`check`]: whether copies have the same; [`watch`], [`written`]: whether keys were written since somebody watches them

mod check;
mod clock;
mod equal;
mod everywhere;
mod forward;
mod gather;
mod hand_over;
mod in_flight;
mod in_turn;
mod lane;
mod lease;
mod leave;
mod link;
mod lock;
mod notes;
mod peer_lane;
mod plan;
mod planning;
mod refusal;
mod scrub;
mod step;
mod turn;
mod watch;
mod written;

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::table::{SlotEntry, SlotState, SlotTable, StoreNode};
use super::tables::Tables;
use super::without::is_without;
use crate::describe::Catalogue;
use crate::link::Links;
use crate::reply::Reply;
pub(super) use check::{KeyCheck, UnequalKey};
use clock::NodeClock;
pub(super) use hand_over::Movers;
use in_flight::{FailedCopy, Settled, StepInFlight};
use lane::{NodeLane, NodeLogin};
pub(super) use lane::{is_same_process, user_of};
use link::OrderedLink;
pub(super) use notes::NotedSlot;
use peer_lane::{PeerLane, PeerUse};
use plan::CopyPlan;
pub(super) use refusal::{OUT_OF_TOUCH, behind_unsent};
use refusal::{nobody_has, not_now, unknown, unreachable};
use step::PlacedHere;
pub(super) use step::{Placed, SlotStep};
use turn::SlotTurns;
use written::{WatchedSlot, WriteCounts};

/// The time for which a step waits for a slot whose copies have answered differently.
const REPAIR_LIMIT: Duration = Duration::from_secs(10);

/// Ways to other proxies, by their names and by what they are for.
type PeerLanes = HashMap<(Arc<str>, PeerUse), Arc<PeerLane>>;

/// Sends the writes of slots to all their copies, in one order.
pub(super) struct Sequencer {
    /// The name of this proxy at the configuration node.
    name: Arc<str>,
    login: NodeLogin,
    tables: Arc<Tables>,
    links: Arc<Links>,
    turns: SlotTurns,
    written: WriteCounts,
    /// The descriptions of commands, as the nodes give them.
    known: Catalogue,
    clock: NodeClock,
    lanes: Mutex<HashMap<StoreNode, Arc<NodeLane>>>,
    /// Connections to other proxies, by what they are for.
    peers: Mutex<PeerLanes>,
    /// Held by the task that has several slots alone at once: two would wait for each other.
    several: Arc<tokio::sync::Mutex<()>>,
    /// Held by the task that has all slots come here.
    gathering: tokio::sync::Mutex<()>,
    /// The number of tasks that keep slots here for a moment.
    keeping: AtomicUsize,
    itself: Weak<Self>,
}

impl Sequencer {
    /// Makes a sequencer of this name, which reaches nodes by these links.
    pub(super) fn new(name: Arc<str>, tables: Arc<Tables>, links: Arc<Links>) -> Arc<Self> {
        Arc::new_cyclic(|itself| Self {
            login: NodeLogin::of(&name),
            name,
            tables,
            links,
            turns: SlotTurns::default(),
            written: WriteCounts::default(),
            known: Catalogue::default(),
            clock: NodeClock::default(),
            lanes: Mutex::default(),
            peers: Mutex::default(),
            several: Arc::default(),
            gathering: tokio::sync::Mutex::default(),
            keeping: AtomicUsize::new(0),
            itself: itself.clone(),
        })
    }

    /// Returns how the proxy is called at the configuration node: its address, and which start of it this is.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the user as whom the proxy writes to nodes.
    pub(super) fn login(&self) -> &NodeLogin {
        &self.login
    }

    /// Puts a step behind those that its slot has. It is on its way when this returns.
    ///
    /// # Errors
    /// The error says why it cannot be, in the words for the client: it was not sent.
    pub(super) async fn place(&self, slot: u16, step: SlotStep, until: Instant) -> Result<Placed, Bytes> {
        let table = self.table()?;
        self.place_by(&table, slot, step, until).await
    }

    /// Does the same by this table: steps of a slot that are placed by the same one go to the same proxy, so that none is sent
    /// behind one that is not.
    pub(super) async fn place_by(
        &self,
        table: &SlotTable,
        slot: u16,
        step: SlotStep,
        until: Instant,
    ) -> Result<Placed, Bytes> {
        if self.own(table, slot, step.reads)?.is_none() {
            return self.forward(table, slot, &step).await.map(Placed::There);
        }
        if !self.tables.lease().is_held() {
            return Err(not_now(slot, OUT_OF_TOUCH));
        }
        if let Some(keys) = step.watches() {
            return self.place_watch(slot, keys, until).await.map(Placed::Later);
        }
        let SlotStep { mut commands, reads } = step;
        let watched = WatchedSlot::take(&mut commands)?;
        // A transaction of no commands is the same everywhere.
        let is_alike = reads || table.settings.copies == 1 || commands.len() == 2;
        let plan = if is_alike { CopyPlan::as_they_are(commands) } else { self.plan(commands).await? };
        let is_suspect = !reads && table.slots()[usize::from(slot)].state == SlotState::Suspect;
        match plan.is_at_once() && !is_suspect && watched.is_empty() {
            true => self.place_at_once(slot, plan, reads, until).await.map(Placed::Here),
            false => self.place_in_turn(slot, plan, watched, until).await.map(Placed::Later),
        }
    }

    /// Puts a step behind those that its slot has, at all copies at once.
    async fn place_at_once(&self, slot: u16, plan: CopyPlan, reads: bool, until: Instant) -> Result<PlacedHere, Bytes> {
        loop {
            let mut turn = self.turns.shared(slot, until).await?;
            let table = self.table()?;
            let Some(entry) = self.own(&table, slot, reads)? else {
                return Err(not_now(slot, "another proxy orders its writes now"));
            };
            if !reads {
                turn.writes(&plan.commands, table.settings.func, slot);
                self.written.are_to_run(slot, &plan.commands);
            }
            if !reads && entry.state == SlotState::Suspect {
                return Err(not_now(slot, "its copies may differ since a moment ago"));
            }
            let count = if reads { 1 } else { entry.copies.len() };
            let nodes: Vec<&StoreNode> = entry.copies[..count].iter().map(|&place| &table.nodes[place]).collect();
            let lanes: Vec<Arc<NodeLane>> = nodes.iter().map(|node| self.lane(node)).collect();
            if let Some(settling) = lanes.iter().find(|lane| lane.is_settling()) {
                // The copies are about to be others.
                drop(turn);
                if !settling.until_settled(until).await {
                    return Err(not_now(slot, "a copy has failed, and it is not settled yet what follows"));
                }
                continue;
            }
            let links = match self.connect_all(&table, &lanes, &nodes).await {
                Ok(links) => links,
                Err(why) if lanes.len() == 1 => return Err(unreachable(&lanes[0], &why)),
                // It has been taken for a break, and the copies are about to be others.
                Err(why) if Instant::now() >= until => return Err(not_now(slot, &why)),
                Err(_) => continue,
            };
            let copies: Arc<[_]> = lanes.into_iter().zip(links.iter().map(|link| link.number())).collect();
            let (itself, of_step, keys) = (self.itself.clone(), copies.clone(), plan.keys);
            let first = move |settled: &Settled| {
                if let Some(itself) = itself.upgrade() {
                    itself.is_settled(slot, &of_step, &keys, settled);
                }
            };
            let order = self.turns.order(slot);
            let settled = StepInFlight::send(links.iter().map(|link| &**link), &plan.commands, Some(turn), first);
            drop(order);
            return Ok(PlacedHere { slot, epoch: entry.epoch, copies, settled, then: plan.then });
        }
    }

    /// Waits until all copies have done a step.
    ///
    /// # Errors
    /// The error is what the client is told.
    pub(super) async fn outcome(&self, placed: Placed, until: Instant) -> Result<Vec<Reply>, Bytes> {
        let PlacedHere { slot, epoch, copies, settled, then } = match placed {
            Placed::Here(here) => here,
            Placed::There(there) => return self.outcome_there(there).await,
            Placed::Later(later) => {
                let lost = || Bytes::from_static(b"RMRNODE the proxy ends; the outcome of the command is unknown");
                return later.told.await.map_err(|_| lost())?;
            }
        };
        let first = &copies[0].0;
        let late = || unknown(first, "the time of the command was over");
        let settled = timeout_at(until, settled).await.map_err(|_| late())?.map_err(|_| late())?;
        let Settled { replies, failed, .. } = settled;
        let Some(replies) = replies else { return Err(nobody_has(&copies, &failed)) };
        for FailedCopy { copy, why, .. } in &failed {
            let (lane, link) = &copies[*copy];
            self.take_out_of(slot, lane, *link, why, until).await?;
        }
        let changed = match failed.is_empty() {
            true => epoch,
            false => {
                let table = self.table()?;
                let entry = &table.slots()[usize::from(slot)];
                if entry.copies.len() < table.settings.min_copies {
                    return Err(unknown(first, "too few copies are left"));
                }
                entry.epoch
            }
        };
        // A proxy that has not heard of the slot's last change may still read a copy that is none any more.
        match self.tables.until_in_force(changed, until).await {
            true => Ok(CopyPlan::told(&then, replies)),
            false => Err(unknown(first, "not all proxies have heard of a change of the slot's copies")),
        }
    }

    /// Hears what has become of a step before its slot is given back: from then on no copy that has failed is written to, and copies
    /// that have answered differently are about to be made equal.
    fn is_settled(&self, slot: u16, copies: &[(Arc<NodeLane>, u64)], keys: &[Bytes], settled: &Settled) {
        for failed in &settled.failed {
            let (lane, link) = &copies[failed.copy];
            self.is_unfit(lane, Some(*link), &failed.why);
        }
        if !settled.differ.is_empty() {
            self.differ(slot, keys);
        }
    }

    /// Waits until a node that has failed by this connection is no copy of a slot any more.
    ///
    /// # Errors
    /// If it stays one, so that the outcome of what it was sent is unknown.
    async fn take_out_of(
        &self,
        slot: u16,
        lane: &Arc<NodeLane>,
        link: u64,
        why: &str,
        until: Instant,
    ) -> Result<(), Bytes> {
        self.is_unfit(lane, Some(link), why);
        if !lane.until_settled(until).await || self.has_copy(slot, lane) {
            return Err(unknown(lane, why));
        }
        Ok(())
    }

    /// Counts what a client is told of a step, if that is that its outcome is unknown. Returns it.
    pub(super) fn counted(&self, reads: bool, told: Result<Vec<Reply>, Bytes>) -> Result<Vec<Reply>, Bytes> {
        let is_in_doubt = |words: &Bytes| !reads && words.starts_with(b"RMRNODE") && words.ends_with(b"unknown");
        self.tables.counts().writes_in_doubt.add(u64::from(told.as_ref().is_err_and(is_in_doubt)));
        told
    }

    /// Returns whether a node is a copy of a slot.
    fn has_copy(&self, slot: u16, lane: &NodeLane) -> bool {
        let Some(table) = self.tables.current() else { return true };
        let Some(place) = table.place_of(&lane.address) else { return false };
        table.slots()[usize::from(slot)].copies.contains(&place)
    }

    /// Returns the table that was read last.
    ///
    /// # Errors
    /// If there is none, in the words for the client.
    pub(super) fn table(&self) -> Result<Arc<SlotTable>, Bytes> {
        self.tables
            .current()
            .ok_or_else(|| Bytes::from_static(b"ERRCLUSTER the configuration node has said nothing yet"))
    }

    /// Returns the entry of a slot whose steps are ordered here; `None` if another proxy orders them.
    fn own<'t>(&self, table: &'t SlotTable, slot: u16, reads: bool) -> Result<Option<&'t SlotEntry>, Bytes> {
        let entry = table.slot(slot).map_err(|why| Bytes::from(format!("RMRSLOTS {why}")))?;
        match entry.sequencer.as_deref() {
            Some(name) if *name == *self.name || is_without("order") => {}
            Some(_) => return Ok(None),
            None => return Err(not_now(slot, "no proxy orders its writes yet")),
        }
        if !reads && entry.copies.len() < table.settings.min_copies {
            return Err(Bytes::from(format!(
                "READONLY slot {slot} has {} copies, and takes no writes with less than {} (the setting min-copies)",
                entry.copies.len(),
                table.settings.min_copies
            )));
        }
        Ok(Some(entry))
    }

    fn lane(&self, node: &StoreNode) -> Arc<NodeLane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(node) {
            return lane.clone();
        }
        lanes.entry(node.clone()).or_insert_with(|| NodeLane::to(node.address.clone())).clone()
    }

    /// Returns connections to all copies.
    ///
    /// # Errors
    /// The error says why one cannot be had, which is then taken for a break.
    async fn connect_all(
        &self,
        table: &SlotTable,
        lanes: &[Arc<NodeLane>],
        nodes: &[&StoreNode],
    ) -> Result<Vec<Arc<OrderedLink>>, String> {
        let mut links = Vec::with_capacity(lanes.len());
        for (lane, node) in lanes.iter().zip(nodes) {
            match self.connect(table, lane, node).await {
                Ok(link) => links.push(link),
                Err(why) => {
                    if lanes.len() > 1 {
                        self.is_unfit(lane, None, &why);
                    }
                    return Err(why);
                }
            }
        }
        Ok(links)
    }

    async fn connect(
        &self,
        table: &SlotTable,
        lane: &Arc<NodeLane>,
        node: &StoreNode,
    ) -> Result<Arc<OrderedLink>, String> {
        if let Some(link) = lane.open_link() {
            return Ok(link);
        }
        let (itself, broken) = (self.itself.clone(), lane.clone());
        let on_break = move |link, why: String| {
            if let Some(itself) = itself.upgrade() {
                itself.is_unfit(&broken, Some(link), &why);
            }
        };
        lane.connect(&self.links, node, table.patience(), &self.login, &self.clock, on_break).await
    }

    /// Copies of a slot have said different things, as they do when a key expires at one of them first. The first copy's values
    /// of the step's keys count.
    fn differ(&self, slot: u16, keys: &[Bytes]) {
        let (Some(itself), keys) = (self.itself.upgrade(), keys.to_vec()) else { return };
        let differing = self.turns.differs(slot);
        self.tables.counts().scrub_differences.add(keys.len() as u64);
        tokio::spawn(async move {
            let until = Instant::now() + REPAIR_LIMIT;
            let repaired = async {
                let _turn = itself.turns.alone(slot, until).await?;
                itself.make_keys_equal(slot, &keys, until).await
            };
            match repaired.await {
                Ok(()) => log::info!("copies of slot {slot} had answered differently, and have the same again"),
                Err(why) => log::warn!("copies of slot {slot} may differ: {}", String::from_utf8_lossy(&why)),
            }
            drop(differing);
        });
    }
}
