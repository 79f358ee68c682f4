//! [`TableReader`]: keys by going through the whole table, in as many turns as that takes.
//!
//! It is for servers without slots, for slots of very many keys, and where slots have few keys each: asking for a slot takes as
//! long as ten keys. The table may change between turns: a key that is there all the time is shown at least once, and what is
//! shown twice is dropped by its hash. That is done on the runtime, so that the main thread is spared it.
//!
//! Of slots the server is asked in each turn whether it still has them. One that has been anywhere else meanwhile is
//! *unsteady*: its keys that were shown are known by their hashes, and the others have to be found otherwise.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use super::rights::ShareRights;
use super::sieve::Sieve;
use crate::error::Error;
use crate::flow::Records;
use crate::flow::keyspace::{KeySlice, key_hash};
use crate::module::local::own_slots;
use crate::module::server::main_thread::Turn;
use crate::module::server::scan::TableCursor;
use crate::topology::{OwnSlots, SLOT_COUNT, key_slot};

/// The number of steps of the cursor that take a small part of a turn.
const STEPS: usize = 16;

/// The memory that a hash takes, with its part of the table that it stands in, in bytes.
const HASH: u64 = 40;

/// The hashes of keys that were shown, by slot.
pub(super) type ShownKeys = HashMap<u16, HashSet<u128>>;

/// A table that is being gone through.
pub(super) struct TableReader {
    cursor: TableCursor,
    /// The slots whose keys are wanted; [`None`] if all keys are, whatever their slot.
    wanted: Option<WantedSlots>,
    shown: ShownKeys,
    hashes: u64,
}

/// Slots of which the server has had all keys, from the first turn to this one.
struct WantedSlots {
    are_wanted: Vec<bool>,
    count: u32,
    unsteady: Vec<u16>,
    /// The slots that the server claimed in the last turn.
    own: Option<Arc<OwnSlots>>,
}

impl TableReader {
    /// Begins to read all keys of the table.
    pub(super) fn of_all() -> Self {
        Self { cursor: TableCursor::new(), wanted: None, shown: ShownKeys::new(), hashes: 0 }
    }

    /// Begins to read the keys of these slots.
    pub(super) fn of_slots(slots: impl IntoIterator<Item = u16>) -> Self {
        Self { wanted: Some(WantedSlots::new(slots)), ..Self::of_all() }
    }

    /// Tells whether the whole table has been gone through, or nothing of it is wanted any more.
    pub(super) fn is_done(&self) -> bool {
        self.cursor.is_at_end() || self.wanted.as_ref().is_some_and(|wanted| wanted.count == 0)
    }

    /// Returns the memory of the hashes, in bytes.
    pub(super) fn memory(&self) -> u64 {
        self.hashes * HASH
    }

    /// Takes the slots out that are unsteady, and the hashes of their keys that were shown.
    pub(super) fn take_unsteady(&mut self) -> (Vec<u16>, ShownKeys) {
        let unsteady = self.wanted.as_mut().map(|wanted| std::mem::take(&mut wanted.unsteady)).unwrap_or_default();
        let of_slot = |slot: &u16| Some((*slot, self.shown.remove(slot)?));
        let shown = unsteady.iter().filter_map(of_slot).collect();
        (unsteady, shown)
    }

    /// Goes on through the table until there are so many keys, or time is up. They are still to be [told
    /// apart](Self::drop_doubles).
    ///
    /// # Errors
    /// If a user does not exist any more.
    pub(super) fn read(
        &mut self,
        turn: Turn<'_>,
        sieve: &Sieve,
        rights: &ShareRights,
        most: usize,
        slice: &mut KeySlice,
    ) -> Result<(), Error> {
        if let Some(wanted) = &mut self.wanted {
            wanted.hear(own_slots::ask(turn.ctx).ok());
        }
        let mut sieve = sieve.in_turn(rights)?;
        while !self.is_done() && sieve.taken.len() < most && Instant::now() < turn.until {
            for _ in 0..STEPS {
                if self.cursor.is_at_end() {
                    break;
                }
                let wanted = self.wanted.as_ref();
                self.cursor.step(turn.ctx, &mut |name, key| {
                    if wanted.is_none_or(|wanted| wanted.are_wanted[usize::from(key_slot(name))]) {
                        sieve.take_key(name, key);
                    }
                });
            }
        }
        sieve.settle_doubtful(turn.ctx);
        slice.keys_read += sieve.read;
        slice.records.append(&sieve.taken);
        if let Some(wanted) = self.wanted.as_ref().filter(|_| self.cursor.is_at_end()) {
            slice.slots_read += wanted.count;
        }
        Ok(())
    }

    /// Drops the keys that were shown before.
    pub(super) fn drop_doubles(&mut self, keys: &Records) -> Records {
        let mut new = Records::new();
        for key in keys.keys() {
            let slot = if self.wanted.is_some() { key_slot(key) } else { 0 };
            if self.shown.entry(slot).or_default().insert(key_hash(key)) {
                self.hashes += 1;
                new.push(key, &[]);
            }
        }
        new
    }
}

impl WantedSlots {
    fn new(slots: impl IntoIterator<Item = u16>) -> Self {
        let mut wanted = Self { are_wanted: vec![false; SLOT_COUNT], count: 0, unsteady: Vec::new(), own: None };
        for slot in slots {
            if !std::mem::replace(&mut wanted.are_wanted[usize::from(slot)], true) {
                wanted.count += 1;
            }
        }
        wanted
    }

    /// Hears which slots the server has now; nothing if it cannot say that.
    fn hear(&mut self, own: Option<Arc<OwnSlots>>) {
        let before = std::mem::replace(&mut self.own, own);
        let (before, now) = (before.as_deref(), self.own.as_deref());
        if before.is_some() && before == now {
            return;
        }
        // A slot that has gone and come back has raised the epoch.
        let is_continuous = before.is_none_or(|before| now.is_some_and(|now| now.epoch == before.epoch));
        for slot in 0..SLOT_COUNT as u16 {
            let is_wanted = &mut self.are_wanted[usize::from(slot)];
            if *is_wanted && !(is_continuous && now.is_some_and(|own| own.has_whole(slot))) {
                *is_wanted = false;
                self.count -= 1;
                self.unsteady.push(slot);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(line: &str) -> Option<Arc<OwnSlots>> {
        OwnSlots::parse(format!("aa :7001@17001 myself,{line}\n").as_bytes()).map(Arc::new)
    }

    fn wanted(slots: &[u16]) -> WantedSlots {
        WantedSlots::new(slots.iter().copied())
    }

    #[test]
    fn slots_stay_wanted_while_the_server_has_them_all_the_time() {
        let mut slots = wanted(&[1, 2, 3, 900]);
        slots.hear(own("master - 0 0 7 connected 0-99"));
        assert_eq!((slots.count, &slots.unsteady[..]), (3, &[900][..]), "another node's");
        slots.hear(own("master - 0 0 7 connected 0-99 [2->-bb]"));
        assert_eq!((slots.count, &slots.unsteady[..]), (2, &[900, 2][..]), "on the move");
        slots.hear(own("master - 0 0 7 connected 0-1 3-99"));
        assert_eq!(slots.count, 2, "what had gone anyhow");
        slots.hear(own("master - 0 0 8 connected 0-99"));
        assert_eq!((slots.count, slots.unsteady.len()), (0, 4), "any may have gone and come back");
    }

    #[test]
    fn a_replica_has_no_slots_and_neither_has_a_server_that_does_not_say() {
        let mut slots = wanted(&[1, 2]);
        slots.hear(own("slave bb 0 0 7 connected"));
        assert_eq!((slots.count, slots.unsteady.len()), (0, 2));
        let mut slots = wanted(&[1, 2]);
        slots.hear(own("master - 0 0 7 connected 0-99"));
        slots.hear(None);
        assert_eq!((slots.count, slots.unsteady.len()), (0, 2));
    }
}
