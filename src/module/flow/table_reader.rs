//! [`TableReader`]: keys by going through the whole table, in as many turns as that takes.
//!
//! It is for a server without slots, for one with few keys, and for slots of very many keys. The table may change between turns:
//! a key that is there all the time is shown at least once, and what is shown twice is dropped by its hash. That is done on
//! the runtime, so that the main thread is spared it.
//!
//! Of slots the server is asked in each turn whether it still has them. One that has been anywhere else meanwhile is given up,
//! with the hashes of its keys that were shown.

use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use super::rights::ShareRights;
use super::sieve::Sieve;
use super::slot_reader::has_whole;
use crate::error::Error;
use crate::flow::Records;
use crate::flow::keyspace::{KeySlice, key_hash};
use crate::module::local::own_slots;
use crate::module::server::main_thread::Turn;
use crate::module::server::scan::TableCursor;
use crate::topology::key_slot;

/// How many steps of the cursor take a small part of a turn.
const STEPS: usize = 16;

/// A table that is being gone through.
pub(super) struct TableReader {
    cursor: TableCursor,
    /// The slots whose keys are wanted, each with the hashes of those that were shown; of a server without slots there is
    /// one, of number 0.
    shown: BTreeMap<u16, HashSet<u128>>,
    /// All keys are wanted, whatever their slot.
    is_whole: bool,
    /// The epoch of the server when it began.
    epoch: Option<u64>,
}

impl TableReader {
    /// Begins to read all keys of the table.
    pub(super) fn of_all() -> Self {
        let shown = BTreeMap::from([(0, HashSet::new())]);
        Self { cursor: TableCursor::new(), shown, is_whole: true, epoch: None }
    }

    /// Begins to read the keys of these slots.
    pub(super) fn of_slots(slots: impl IntoIterator<Item = u16>) -> Self {
        let shown = slots.into_iter().map(|slot| (slot, HashSet::new())).collect();
        Self { cursor: TableCursor::new(), shown, is_whole: false, epoch: None }
    }

    /// Tells whether the whole table has been gone through, or nothing of it is wanted any more.
    pub(super) fn is_done(&self) -> bool {
        self.cursor.is_at_end() || self.shown.is_empty()
    }

    /// Returns the memory of the hashes, in bytes.
    pub(super) fn memory(&self) -> u64 {
        let capacity: usize = self.shown.values().map(HashSet::capacity).sum();
        (capacity * (size_of::<u128>() + 1)) as u64 * 8 / 7
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
        if !self.is_whole {
            self.check_slots(turn, slice);
        }
        let mut sieve = sieve.in_turn(rights)?;
        while !self.is_done() && sieve.taken.len() < most && Instant::now() < turn.until {
            for _ in 0..STEPS {
                if self.cursor.is_at_end() {
                    break;
                }
                let (is_whole, shown) = (self.is_whole, &self.shown);
                self.cursor.step(turn.ctx, &mut |name, key| {
                    if is_whole || shown.contains_key(&key_slot(name)) {
                        sieve.take_key(name, key);
                    }
                });
            }
        }
        sieve.settle_doubtful(turn.ctx);
        slice.keys_read += sieve.read;
        slice.records.append(&sieve.taken);
        if self.cursor.is_at_end() && !self.is_whole {
            slice.slots_read += self.shown.len() as u32;
        }
        Ok(())
    }

    /// Drops the keys that were shown before.
    pub(super) fn drop_doubles(&mut self, keys: &Records) -> Records {
        let mut new = Records::new();
        for key in keys.keys() {
            let slot = if self.is_whole { 0 } else { key_slot(key) };
            if self.shown.get_mut(&slot).is_none_or(|shown| shown.insert(key_hash(key))) {
                new.push(key, &[]);
            }
        }
        new
    }

    /// Gives up slots that the server has not had all the time.
    fn check_slots(&mut self, turn: Turn<'_>, slice: &mut KeySlice) {
        let own = own_slots::ask(turn.ctx).ok();
        let is_first = self.epoch.is_none();
        let epoch = *self.epoch.get_or_insert_with(|| own.as_ref().map_or(0, |own| own.epoch));
        let own = own.filter(|own| own.epoch == epoch);
        self.shown.retain(|slot, hashes| {
            let is_here = own.as_ref().is_some_and(|own| has_whole(own, *slot));
            if !is_here && is_first {
                slice.unread.push(*slot);
            } else if !is_here {
                slice.unsettled.push((*slot, hashes.drain().collect()));
            }
            is_here
        });
    }
}
