//! [`SlotTurns`]: who may append to a slot. Steps share a slot; who has to have it alone waits until those under way are done,
//! and others wait meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{OwnedRwLockWriteGuard, RwLock};
use tokio::time::{Instant, timeout_at};

use super::notes::{SlotNotes, SlotShare};
use super::refusal::not_now;
use crate::placement::slot::MAX_SLOTS;

/// The most steps that may wait for slots that somebody has alone.
const MOST_WAITING: usize = 10_000;

/// The turns of slots: each is held by those who append, together, or by one alone.
pub(super) struct SlotTurns {
    slots: Box<[SlotTurn]>,
    waiting: AtomicUsize,
}

#[derive(Default)]
struct SlotTurn {
    turn: Arc<RwLock<()>>,
    order: Mutex<()>,
    notes: Arc<SlotNotes>,
    /// The number of repairs that are to be done because copies have answered differently.
    differing: Arc<AtomicUsize>,
}

/// Copies of a slot that are about to be made equal, for as long as this lives.
pub(super) struct DifferingSlot(Arc<AtomicUsize>);

impl Drop for DifferingSlot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Default for SlotTurns {
    fn default() -> Self {
        let slots = std::iter::repeat_with(SlotTurn::default).take(usize::from(MAX_SLOTS)).collect();
        Self { slots, waiting: AtomicUsize::new(0) }
    }
}

impl SlotTurns {
    /// Returns a share of a slot.
    ///
    /// # Errors
    /// If somebody has it alone for too long, or too many wait.
    pub(super) async fn shared(&self, slot: u16, until: Instant) -> Result<SlotShare, Bytes> {
        let SlotTurn { turn, notes, .. } = &self.slots[usize::from(slot)];
        let share = |guard| SlotShare::new(guard, notes.clone());
        if let Ok(guard) = turn.clone().try_read_owned() {
            return Ok(share(guard));
        }
        let _waits = self.wait(slot)?;
        timeout_at(until, turn.clone().read_owned()).await.map(share).map_err(|_| not_now(slot, "it is locked"))
    }

    /// Returns what is noted of a slot.
    pub(super) fn notes(&self, slot: u16) -> Arc<SlotNotes> {
        self.slots[usize::from(slot)].notes.clone()
    }

    /// Says that any key of any slot may have been written, or be written yet.
    pub(super) fn all_written(&self) {
        self.slots.iter().for_each(|slot| slot.notes.add_all());
    }

    /// Returns a slot that nobody else has.
    ///
    /// # Errors
    /// If those who have it do not end in time.
    pub(super) async fn alone(&self, slot: u16, until: Instant) -> Result<OwnedRwLockWriteGuard<()>, Bytes> {
        let turn = self.slots[usize::from(slot)].turn.clone();
        let _waits = self.wait(slot)?;
        timeout_at(until, turn.write_owned()).await.map_err(|_| not_now(slot, "others do not end"))
    }

    /// Says that copies of a slot are about to be made equal, from now on.
    pub(super) fn differs(&self, slot: u16) -> DifferingSlot {
        let differing = self.slots[usize::from(slot)].differing.clone();
        differing.fetch_add(1, Ordering::AcqRel);
        DifferingSlot(differing)
    }

    /// Returns whether copies of a slot are about to be made equal.
    pub(super) fn is_differing(&self, slot: u16) -> bool {
        self.slots[usize::from(slot)].differing.load(Ordering::Acquire) > 0
    }

    /// Keeps others from appending to a slot for a moment.
    pub(super) fn order(&self, slot: u16) -> MutexGuard<'_, ()> {
        self.slots[usize::from(slot)].order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, slot: u16) -> Result<WaitingSteps<'_>, Bytes> {
        let waits = WaitingSteps(&self.waiting);
        match self.waiting.fetch_add(1, Ordering::Relaxed) < MOST_WAITING {
            true => Ok(waits),
            false => Err(not_now(slot, "too many wait for slots that are locked")),
        }
    }
}

struct WaitingSteps<'a>(&'a AtomicUsize);

impl Drop for WaitingSteps<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::command::Command;
    use crate::placement::slot::{SlotFunc, SlotHash};

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_written_is_noted_once_it_is_done() {
        let turns = SlotTurns::default();
        let func = SlotFunc::new(SlotHash::Sha1, 16).unwrap();
        let slot = func.slot(b"key");
        let set = [Command::new("MSET").arg("key").arg("v").arg("{key}2").arg("v")];
        let write = async || {
            let mut share = turns.shared(slot, soon()).await.unwrap();
            share.writes(&set, func, slot);
            share
        };
        drop(write().await);
        let noted = super::super::notes::NotedSlot::new(turns.notes(slot));
        assert!(noted.take().keys.is_empty(), "nobody wanted to know");
        let share = write().await;
        assert!(noted.take().keys.is_empty(), "it is still under way");
        drop(share);
        let written = noted.take();
        assert!(written.keys.contains(&b"key"[..]) && written.keys.contains(&b"{key}2"[..]) && !written.is_all);
        turns.all_written();
        assert!(noted.take().is_all);
        drop(noted);
        drop(write().await);
        turns.all_written();
        assert!(!turns.notes(slot).is_wanted());
    }

    #[tokio::test(start_paused = true)]
    async fn steps_share_a_slot_and_wait_for_who_has_it_alone() {
        let turns = SlotTurns::default();
        let (one, other) = (turns.shared(3, soon()).await.unwrap(), turns.shared(3, soon()).await.unwrap());
        assert!(turns.alone(3, soon()).await.is_err());
        drop((one, other));
        let alone = turns.alone(3, soon()).await.unwrap();
        let refused = turns.shared(3, soon()).await.unwrap_err();
        assert!(refused.starts_with(b"TRYAGAIN slot 3: it is locked"));
        assert!(turns.shared(4, soon()).await.is_ok());
        drop(alone);
        assert!(turns.shared(3, soon()).await.is_ok());
        assert_eq!(turns.waiting.load(Ordering::Relaxed), 0);
    }
}
