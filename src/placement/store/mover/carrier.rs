//! Making the new copies of slots, while they are read and written.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::ends::Ends;
use super::record::{CopyMove, Phase};
use super::scripts::{BEGIN, FLIP};
use super::{Mover, NAMES_AT_ONCE, SLOTS_AT_ONCE};
use crate::command::Command;
use crate::error::Error;
use crate::placement::store::copy::carry::carry;
use crate::placement::store::copy::compare::compare;
use crate::placement::store::copy::scan::{drop_slots, keys_of};
use crate::placement::store::order::NotedSlot;
use crate::placement::store::table::{SlotState, SlotTable};

/// The time that the writes of a slot have to end which were under way before it is copied.
const DRAIN: Duration = Duration::from_secs(2);

/// With fewer keys than these left, a slot is locked for them.
const FEW: usize = 100;

/// The number of rounds in which the keys written meanwhile are copied, before the slot is locked all the same.
const ROUNDS: usize = 5;

/// The time for which writes may wait for the keys that are left, at first. Each time that does not do they may wait twice as long.
const LOCKED: Duration = Duration::from_millis(200);

/// The number of times that a slot is locked before its move begins anew.
const LOCKS: u32 = 6;

/// One of so many keys is compared before a new copy counts, and a few at least.
const ONE_OF: usize = 100;

/// The pause before the configuration node is asked again after a failure.
const PAUSE: Duration = Duration::from_millis(50);

impl Mover {
    /// Copies the slots of some moves that have the same source. Returns whether there were any.
    pub(super) async fn copy_some(&self) -> Result<bool, Error> {
        let Some((table, mut moves, is_paused)) = self.moves().await? else { return Ok(false) };
        let is_ready = |one: &CopyMove| {
            let entry = &table.slots()[usize::from(one.slot)];
            matches!(one.phase, Phase::Planned | Phase::Copying) && entry.state == SlotState::Ok
        };
        moves.retain(is_ready);
        if moves.is_empty() {
            return Ok(false);
        }
        // A source that cannot be had does not keep others.
        let first = self.failures.load(Ordering::Relaxed) % moves.len();
        moves.rotate_left(first);
        if is_paused {
            return Ok(false);
        }
        let source = source_of(&table, &moves[0]);
        // From then on no proxy sends a node what is not noted.
        if !self.tables.until_in_force(moves[0].epoch, Instant::now() + DRAIN).await {
            return Err(busy(b"not all proxies have heard yet that slots are to move"));
        }
        moves.retain(|one| source_of(&table, one) == source);
        moves.truncate(self.slots_at_once(&table, source.as_deref()).await?);
        let copied = self.copy(&table, source, moves).await;
        if copied.is_err() {
            self.tables.counts().moves_failed.add(1);
        }
        copied.map(|()| true)
    }

    async fn copy(&self, table: &SlotTable, source: Option<String>, moves: Vec<CopyMove>) -> Result<(), Error> {
        let begun = self.begin(&moves).await?;
        let mut noted: BTreeMap<u16, NotedSlot> = BTreeMap::new();
        for one in moves.iter().filter(|one| one.to.is_some() && begun.contains(&one.slot)) {
            let noting = self.sequencer.note_writes(one.slot, Instant::now() + DRAIN).await;
            noted.insert(one.slot, noting.map_err(|words| busy(&words))?);
        }
        let mut keys = BTreeMap::new();
        if let Some(source) = &source
            && !noted.is_empty()
        {
            self.wipe(table, &moves).await?;
            let mut source = self.source(table, source).await?;
            keys = keys_of(&mut source, table.settings.func, |slot| noted.contains_key(&slot)).await?;
        }
        let mut all_ends: BTreeMap<&String, Ends> = BTreeMap::new();
        for one in moves.iter().filter(|one| begun.contains(&one.slot)) {
            if self.is_to_stop() {
                break;
            }
            if self.begin(std::slice::from_ref(one)).await?.is_empty() {
                continue;
            }
            match (noted.remove(&one.slot), &source, &one.to) {
                (Some(noted), Some(source), Some(to)) => {
                    let keys = keys.remove(&one.slot).unwrap_or_default();
                    let ends = match all_ends.entry(to) {
                        Entry::Occupied(known) => known.into_mut(),
                        Entry::Vacant(new) => new.insert(self.ends(table, one.slot, [source, to]).await?),
                    };
                    self.move_slot(table, one, ends, keys, noted).await?;
                }
                _ => self.flip(one, "").await?,
            }
        }
        Ok(())
    }

    /// Returns of how many slots the keys of a node are looked for at once.
    async fn slots_at_once(&self, table: &SlotTable, source: Option<&str>) -> Result<usize, Error> {
        let Some(source) = source else { return Ok(SLOTS_AT_ONCE) };
        let size = self.source(table, source).await?.call(Command::new("DBSIZE")).await?;
        let keys = size.integer().unwrap_or_default().unsigned_abs() as usize;
        let place = table.nodes.iter().position(|node| node.address.to_string() == source);
        let held = table.slots().iter().filter(|slot| slot.copies.iter().any(|&copy| Some(copy) == place)).count();
        Ok((NAMES_AT_ONCE * held / keys.max(1)).max(SLOTS_AT_ONCE))
    }

    /// Says that slots are copied from now on. Returns those whose moves still stand.
    async fn begin(&self, moves: &[CopyMove]) -> Result<Vec<u16>, Error> {
        let slots: Vec<String> = moves.iter().map(|one| one.slot.to_string()).collect();
        let arguments = std::iter::once(&*self.name).chain(slots.iter().map(String::as_str));
        self.tables.run(&BEGIN, &arguments.collect::<Vec<_>>()).await
    }

    /// Lets targets forget what an attempt before has left there.
    async fn wipe(&self, table: &SlotTable, moves: &[CopyMove]) -> Result<(), Error> {
        let again = moves.iter().filter(|one| one.phase == Phase::Copying);
        let again: Vec<(&String, u16)> = again.filter_map(|one| Some((one.to.as_ref()?, one.slot))).collect();
        for to in again.iter().map(|(to, _)| *to).collect::<BTreeSet<_>>() {
            let slot = again.iter().find(|(other, _)| *other == to).map_or(0, |(_, slot)| *slot);
            let mut node = self.target(table, slot, to).await?;
            drop_slots(&mut node, table.settings.func, |slot| again.contains(&(to, slot))).await?;
        }
        Ok(())
    }

    /// Copies a slot, and has the copy count.
    async fn move_slot(
        &self,
        table: &SlotTable,
        one: &CopyMove,
        ends: &mut Ends,
        keys: Vec<Box<[u8]>>,
        noted: NotedSlot,
    ) -> Result<(), Error> {
        let began = Instant::now();
        let carried = carry(&mut ends.source, &mut ends.target, &keys).await?;
        self.tables.counts().keys_moved.add(carried.keys);
        let mut left: BTreeSet<Vec<u8>> = BTreeSet::new();
        for _ in 0..ROUNDS {
            take(&noted, one, &mut left)?;
            if left.len() < FEW {
                break;
            }
            copy_left(ends, &mut left).await?;
        }
        let sample: Vec<&[u8]> = keys.iter().step_by(ONE_OF).take(ONE_OF).map(|key| &key[..]).collect();
        for lock in 0..LOCKS {
            // As little as can be has to be in time.
            copy_left(ends, &mut left).await?;
            let until = Instant::now() + LOCKED * 2_u32.pow(lock);
            let locking = Instant::now();
            let Ok(locked) = self.sequencer.lock(one.slot, until).await else { continue };
            take(&noted, one, &mut left)?;
            let last = async {
                copy_left(ends, &mut left.clone()).await?;
                compare(&mut ends.source, &mut ends.target[0], &sample).await
            };
            match timeout_at(until, last).await {
                Ok(differences) => {
                    if let Some(found) = differences?.first() {
                        let key = crate::command::printable(&found.key);
                        let why = format!("differs from its source: the key {key} {}", found.what);
                        return Err(ends.target[0].odd(&why));
                    }
                    let flipped = self.flip(one, &ends.target_run_id).await;
                    drop(locked);
                    if flipped.is_err() {
                        // It was given up meanwhile, and nobody may look for what is left here.
                        drop_slots(&mut ends.target[0], table.settings.func, |slot| slot == one.slot).await?;
                        return flipped;
                    }
                    let (took, locked) = (began.elapsed(), locking.elapsed());
                    log::debug!("slot {} has moved in {took:?}, and was locked for {locked:?} of that", one.slot);
                    return Ok(());
                }
                // The outcome of commands under way on the connections is unknown.
                Err(_) => {
                    drop(locked);
                    *ends = self.ends(table, one.slot, [&ends.from.clone(), &ends.to.clone()]).await?;
                }
            }
        }
        Err(busy(format!("slot {} is written to faster than it is copied", one.slot).as_bytes()))
    }

    /// Has the target count in place of the source. Whoever calls has the slot alone, and keeps it until it is known whether
    /// that is so.
    async fn flip(&self, one: &CopyMove, run_id: &str) -> Result<(), Error> {
        let slot = one.slot.to_string();
        let arguments = [&*self.name, &slot, CopyMove::word(&one.from), CopyMove::word(&one.to), run_id];
        let epoch: u64 = loop {
            match self.tables.run(&FLIP, &arguments).await {
                Ok(epoch) => break epoch,
                Err(error) => log::warn!("it is not known whether slot {slot} has moved: {error}"),
            }
            sleep(PAUSE).await;
        };
        let table = loop {
            match self.tables.moved(epoch, one.slot, one.from.as_deref(), one.to.as_deref()).await {
                Ok(table) => break table,
                Err(error) => log::debug!("{error}"),
            }
            sleep(PAUSE).await;
        };
        // An answer may have been lost to the first of two questions.
        if epoch == 0 && !is_done(&table, one) {
            return Err(busy(format!("slot {slot} is not as it was when its move was planned").as_bytes()));
        }
        self.tables.counts().moves_done.add(1);
        Ok(())
    }
}

/// Returns whether the copies of a slot are as a move wants them.
fn is_done(table: &SlotTable, one: &CopyMove) -> bool {
    let copies = &table.slots()[usize::from(one.slot)].copies;
    let has = |node: &String| copies.iter().any(|&place| table.nodes[place].address.to_string() == *node);
    one.to.as_ref().is_none_or(has) && !one.from.as_ref().is_some_and(has)
}

/// Returns the node from which a slot is copied: who loses it, or its first copy.
fn source_of(table: &SlotTable, one: &CopyMove) -> Option<String> {
    let copies = table.slots()[usize::from(one.slot)].copies.iter();
    let names: Vec<String> = copies.map(|&place| table.nodes[place].address.to_string()).collect();
    let loses = one.from.as_ref().filter(|from| names.contains(from));
    loses.or(names.first()).cloned()
}

/// Adds what was written since to what is left to be copied.
fn take(noted: &NotedSlot, one: &CopyMove, left: &mut BTreeSet<Vec<u8>>) -> Result<(), Error> {
    let written = noted.take();
    left.extend(written.keys);
    match written.is_all {
        true => Err(busy(format!("all of slot {} may have been written", one.slot).as_bytes())),
        false => Ok(()),
    }
}

async fn copy_left(ends: &mut Ends, left: &mut BTreeSet<Vec<u8>>) -> Result<(), Error> {
    let keys: Vec<Vec<u8>> = std::mem::take(left).into_iter().collect();
    carry(&mut ends.source, &mut ends.target, &keys).await.map(drop)
}

/// Says why a move begins anew.
fn busy(why: &[u8]) -> Error {
    Error::Topology(String::from_utf8_lossy(why).into_owned())
}
