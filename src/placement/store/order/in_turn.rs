//! Steps that copies do one after the other: the first copy, and then the others what follows from its reply. The slot is held
//! meanwhile.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedRwLockWriteGuard, oneshot};
use tokio::time::Instant;

use super::Sequencer;
use super::in_flight::{Settled, StepInFlight};
use super::lane::NodeLane;
use super::link::OrderedLink;
use super::plan::{AfterFirst, CopyPlan, in_transaction};
use super::refusal::{nobody_has, not_now, unknown};
use super::step::PlacedLater;
use super::written::WatchedSlot;
use crate::command::Command;
use crate::placement::store::definite::Others;
use crate::placement::store::table::{SlotState, StoreNode};
use crate::reply::Reply;

/// The number of bytes of keys that are carried to other copies in one piece, unless one key has more.
const MOST_CARRIED: i64 = 1 << 20;

/// Connections to all copies of a slot that is held.
pub(super) struct HeldSlot {
    pub(super) slot: u16,
    is_suspect: bool,
    pub(super) copies: Vec<(Arc<NodeLane>, Arc<OrderedLink>)>,
}

impl Sequencer {
    /// Holds a slot for a step that its copies do one after the other. It is done whether or not somebody waits for it.
    ///
    /// # Errors
    /// The error says why it cannot be, in the words for the client: it was not sent.
    pub(super) async fn place_in_turn(
        &self,
        slot: u16,
        plan: CopyPlan,
        watched: Vec<WatchedSlot>,
        until: Instant,
    ) -> Result<PlacedLater, Bytes> {
        let func = self.table()?.settings.func;
        self.in_turn(slot, until, async move |itself| {
            let notes = itself.turns.notes(slot);
            let written = notes.words(&plan.commands, func, slot);
            let outcome = itself.run_in_turn(slot, plan, &watched, until).await;
            notes.add(written.into_iter());
            outcome
        })
        .await
    }

    /// Holds a slot for a look at keys that a client is to watch.
    ///
    /// # Errors
    /// The error says why it cannot be, in the words for the client.
    pub(super) async fn place_watch(&self, slot: u16, keys: Vec<Bytes>, until: Instant) -> Result<PlacedLater, Bytes> {
        self.in_turn(slot, until, async move |itself| Ok(vec![itself.watch(slot, &keys, until).await?])).await
    }

    /// Holds a slot while something is done with it, whether or not somebody waits for that.
    async fn in_turn<W, F>(&self, slot: u16, until: Instant, work: W) -> Result<PlacedLater, Bytes>
    where
        W: FnOnce(Arc<Self>) -> F,
        F: Future<Output = Result<Vec<Reply>, Bytes>> + Send + 'static,
    {
        let turn = self.turns.alone(slot, until).await?;
        let Some(itself) = self.itself.upgrade() else { return Err(not_now(slot, "the proxy ends")) };
        let (tell, told) = oneshot::channel();
        let work = work(itself);
        tokio::spawn(async move {
            let outcome = work.await;
            drop::<OwnedRwLockWriteGuard<()>>(turn);
            // A caller that has gone does not want to know.
            let _ = tell.send(outcome);
        });
        Ok(PlacedLater { told })
    }

    async fn run_in_turn(
        &self,
        slot: u16,
        plan: CopyPlan,
        watched: &[WatchedSlot],
        until: Instant,
    ) -> Result<Vec<Reply>, Bytes> {
        let CopyPlan { commands, then, keys } = plan;
        let held = self.hold_equal(slot, &keys, until).await?;
        let others: Vec<usize> = (1..held.copies.len()).collect();
        if !self.are_unwritten(&held, watched, until).await? {
            return Ok(vec![Reply::NullArray]);
        }
        self.written.are_to_run(slot, &commands);
        if then.is_at_once() {
            let all: Vec<usize> = (0..held.copies.len()).collect();
            return self.run_at_all(&held, &all, &commands, &then, until).await;
        }
        let Settled { replies, failed, .. } = held.send(&[0], &commands).await?;
        let Some(replies) = replies else {
            // Nothing has reached the others. A first copy that may have done it is out before it can be read again.
            let copies: Vec<_> = held.copies.iter().map(|(lane, link)| (lane.clone(), link.number())).collect();
            for failed in &failed {
                let (lane, link) = &copies[failed.copy];
                self.is_unfit(lane, Some(*link), &failed.why);
                lane.until_settled(until).await;
            }
            return Err(nobody_has(&copies, &failed));
        };
        let last = replies.last().cloned().unwrap_or(Reply::Null);
        match &then {
            AfterFirst::Follow(follow_up) => {
                let after = follow_up.after(&last);
                self.make_equal(&held, &others, &after.others, until).await?;
                self.make_equal(&held, &[0], &after.first, until).await?;
            }
            AfterFirst::FollowAll(all) => {
                if let Reply::Array(done) = &last {
                    self.make_equal(&held, &others, &all.after(done), until).await?;
                }
            }
            AfterFirst::Carry(carried) if carried.is_needed(&last) => {
                self.carry(&held, &others, &carried.keys, until).await?;
            }
            AfterFirst::CarryAll(all) => {
                if let Others::Carried(carried) = all.others()
                    && matches!(last, Reply::Array(_))
                {
                    self.carry(&held, &others, &carried.keys, until).await?;
                }
            }
            _ => {}
        }
        self.tell(&held, &then, replies, until).await
    }

    /// Has all copies run commands at once.
    async fn run_at_all(
        &self,
        held: &HeldSlot,
        all: &[usize],
        commands: &[Command],
        then: &AfterFirst,
        until: Instant,
    ) -> Result<Vec<Reply>, Bytes> {
        let Settled { replies, failed, differ } = held.send(all, commands).await?;
        for failed in &failed {
            let (lane, link) = &held.copies[failed.copy];
            self.is_unfit(lane, Some(link.number()), &failed.why);
            if !lane.until_settled(until).await || (replies.is_some() && self.has_copy(held.slot, lane)) {
                return Err(unknown(lane, &failed.why));
            }
        }
        for copy in differ {
            let (lane, link) = &held.copies[copy];
            self.is_unfit(lane, Some(link.number()), "it answers otherwise than the others");
            lane.until_settled(until).await;
        }
        match replies {
            Some(replies) => self.tell(held, then, replies, until).await,
            None => Err(unknown(&held.copies[0].0, failed.first().map_or("", |failed| failed.why.as_str()))),
        }
    }

    /// Returns what the client is told, once all proxies know which copies the slot has.
    async fn tell(
        &self,
        held: &HeldSlot,
        then: &AfterFirst,
        replies: Vec<Reply>,
        until: Instant,
    ) -> Result<Vec<Reply>, Bytes> {
        let epoch = self.table()?.slots()[usize::from(held.slot)].epoch;
        match self.tables.until_in_force(epoch, until).await {
            true => Ok(CopyPlan::told(then, replies)),
            false => Err(unknown(&held.copies[0].0, "not all proxies have heard of a change of the slot's copies")),
        }
    }

    /// Gives the copies of a slot that is held keys as the first one has them.
    ///
    /// # Errors
    /// If that is not known of one that stays a copy.
    pub(super) async fn make_keys_equal(&self, slot: u16, keys: &[Bytes], until: Instant) -> Result<(), Bytes> {
        let held = self.hold(slot, until).await?;
        let others: Vec<usize> = (1..held.copies.len()).collect();
        let carried = self.carry(&held, &others, keys, until).await;
        self.written.are_written(keys);
        // A mover that copies the slot from one of the others has to copy them again.
        let notes = self.turns.notes(slot);
        if notes.is_wanted() {
            notes.add(keys.iter().map(|key| key.to_vec()));
        }
        carried
    }

    /// Connects to all copies of a slot, which whoever calls has alone, and gives them these keys as the first one has them if the slot is
    /// suspect: what a proxy that is gone has written to some of the copies only is settled before the keys are looked at.
    ///
    /// # Errors
    /// The error says why they cannot be had.
    pub(super) async fn hold_equal(&self, slot: u16, keys: &[Bytes], until: Instant) -> Result<HeldSlot, Bytes> {
        let held = self.hold(slot, until).await?;
        if held.is_suspect {
            let others: Vec<usize> = (1..held.copies.len()).collect();
            self.carry(&held, &others, keys, until).await?;
        }
        Ok(held)
    }

    /// Connects to all copies of a slot, which whoever calls has alone.
    ///
    /// # Errors
    /// The error says why they cannot be had.
    pub(super) async fn hold(&self, slot: u16, until: Instant) -> Result<HeldSlot, Bytes> {
        loop {
            let table = self.table()?;
            let Some(entry) = self.own(&table, slot, false)? else {
                return Err(not_now(slot, "another proxy orders its writes now"));
            };
            let nodes: Vec<&StoreNode> = entry.copies.iter().map(|&place| &table.nodes[place]).collect();
            let lanes: Vec<Arc<NodeLane>> = nodes.iter().map(|node| self.lane(node)).collect();
            if let Some(settling) = lanes.iter().find(|lane| lane.is_settling()) {
                if !settling.until_settled(until).await {
                    return Err(not_now(slot, "a copy has failed, and it is not settled yet what follows"));
                }
                continue;
            }
            match self.connect_all(&table, &lanes, &nodes).await {
                Ok(links) => {
                    let is_suspect = entry.state == SlotState::Suspect;
                    return Ok(HeldSlot { slot, is_suspect, copies: lanes.into_iter().zip(links).collect() });
                }
                Err(why) if lanes.len() == 1 || Instant::now() >= until => return Err(not_now(slot, &why)),
                Err(_) => {}
            }
        }
    }

    /// Has copies run what makes them equal to the first one. One that does not is no copy any more.
    async fn make_equal(
        &self,
        held: &HeldSlot,
        copies: &[usize],
        commands: &[Command],
        until: Instant,
    ) -> Result<(), Bytes> {
        self.make_equal_unless(held, copies, commands, |reply| matches!(reply, Reply::Error(_)), until).await
    }

    /// Has copies run what makes them equal to the first one, unless this says that a reply is a refusal.
    async fn make_equal_unless(
        &self,
        held: &HeldSlot,
        copies: &[usize],
        commands: &[Command],
        is_refusal: fn(&Reply) -> bool,
        until: Instant,
    ) -> Result<(), Bytes> {
        if commands.is_empty() || copies.is_empty() {
            return Ok(());
        }
        let several = in_transaction(commands);
        let commands = if commands.len() == 1 { commands } else { &several[..] };
        let settled = held.send(copies, commands).await?;
        let refused = settled.replies.iter().flatten().find(|reply| is_refusal(reply));
        let mut failed: Vec<(usize, String)> =
            settled.failed.into_iter().map(|failed| (copies[failed.copy], failed.why)).collect();
        failed.extend(settled.differ.iter().map(|&copy| (copies[copy], "it answers otherwise than the others".into())));
        if let Some(refused) = refused {
            failed.extend(copies.iter().map(|&copy| (copy, format!("it refuses what makes it equal: {refused}"))));
        }
        for (copy, why) in failed {
            let (lane, link) = &held.copies[copy];
            self.take_out_of(held.slot, lane, link.number(), &why, until).await?;
        }
        Ok(())
    }

    /// Gives copies keys as the first one has them.
    async fn carry(&self, held: &HeldSlot, copies: &[usize], keys: &[Bytes], until: Instant) -> Result<(), Bytes> {
        let mut keys = keys;
        while !keys.is_empty() {
            let (some, rest) = keys.split_at(self.small_enough(held, keys, until).await?);
            let look = |key: &Bytes| [Command::new("PEXPIRETIME").key(&key[..]), Command::new("DUMP").key(&key[..])];
            let looks: Vec<Command> = some.iter().flat_map(look).collect();
            let found = self.ask_first(held, &in_transaction(&looks), until).await?;
            let found = found.into_iter().next_back().and_then(Reply::into_elements).unwrap_or_default();
            if found.len() != looks.len() {
                return Err(self.first_is_unfit(held, "it does not say what keys hold", until).await);
            }
            let (found, _) = found.as_chunks::<2>();
            let equal: Vec<Command> = some.iter().zip(found).map(|(key, found)| as_found(key, found)).collect();
            // None of them may fail, in the transaction either.
            let is_refusal = |reply: &Reply| match reply {
                Reply::Error(_) => true,
                reply => reply.elements().unwrap_or_default().iter().any(|reply| matches!(reply, Reply::Error(_))),
            };
            self.make_equal_unless(held, copies, &equal, is_refusal, until).await?;
            keys = rest;
        }
        Ok(())
    }

    /// Returns how many of these keys can be carried in one piece, by what they take at the first copy: one at least.
    async fn small_enough(&self, held: &HeldSlot, keys: &[Bytes], until: Instant) -> Result<usize, Bytes> {
        if keys.len() < 2 {
            return Ok(keys.len());
        }
        let usage = |key: &Bytes| Command::new("MEMORY").arg("USAGE").key(&key[..]);
        let sizes = self.ask_first(held, &keys.iter().map(usage).collect::<Vec<_>>(), until).await?;
        let mut bytes = 0;
        let fits = sizes.iter().take_while(|size| {
            bytes += size.integer().unwrap_or_default();
            bytes <= MOST_CARRIED
        });
        Ok(fits.count().clamp(1, keys.len()))
    }

    /// Asks the first copy of a slot.
    ///
    /// # Errors
    /// If it does not answer, and is no copy any more.
    pub(super) async fn ask_first(
        &self,
        held: &HeldSlot,
        commands: &[Command],
        until: Instant,
    ) -> Result<Vec<Reply>, Bytes> {
        let Settled { replies, failed, .. } = held.send(&[0], commands).await?;
        match replies {
            Some(replies) => Ok(replies),
            None => {
                let why = failed.first().map_or("nothing was heard", |failed| failed.why.as_str());
                Err(self.first_is_unfit(held, why, until).await)
            }
        }
    }

    /// Takes the first copy for failed, and returns what a client is told.
    async fn first_is_unfit(&self, held: &HeldSlot, why: &str, until: Instant) -> Bytes {
        let (lane, link) = &held.copies[0];
        self.is_unfit(lane, Some(link.number()), why);
        lane.until_settled(until).await;
        unknown(lane, why)
    }
}

/// Returns what makes a key as it was found.
fn as_found(key: &Bytes, [expires, value]: &[Reply; 2]) -> Command {
    match value.bytes() {
        Some(payload) => Command::new("RESTORE")
            .key(&key[..])
            .arg(expires.integer().filter(|at| *at > 0).unwrap_or_default())
            .arg(payload)
            .arg("REPLACE")
            .arg("ABSTTL"),
        None => Command::new("UNLINK").key(&key[..]),
    }
}

impl HeldSlot {
    /// Has copies do commands, and waits until all have answered.
    async fn send(&self, copies: &[usize], commands: &[Command]) -> Result<Settled, Bytes> {
        let links = copies.iter().map(|&copy| &*self.copies[copy].1);
        let settled = StepInFlight::send(links, commands, None, |_| {});
        settled.await.map_err(|_| unknown(&self.copies[0].0, "nothing was heard"))
    }
}
