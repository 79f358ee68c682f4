//! [`SlotKeys`]: the keys of slots of a cluster, read by plain commands. Slots may move meanwhile.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;

use super::keyspace::{KeySlice, KeySource, KeysWanted, key_hash, names_memory};
use super::requests::FlowRequests;
use super::slots::each;
use super::values::{WantedValues, records_of};
use crate::engine::glob;
use crate::engine::live_keys::live_keys;
use crate::engine::slot_keys::{self, keys_in};
use crate::error::Error;
use crate::topology::{BoxFuture, SLOT_COUNT, key_slot};

/// The number of slots that are read at a time.
pub(super) const MOST_SLOTS: usize = 256;

/// Reads slots one after the other, each as a whole.
pub(super) struct SlotKeys {
    requests: FlowRequests,
    wanted: KeysWanted,
    /// Slots that are to be read, the next one last.
    slots: Vec<u16>,
    shown: BTreeMap<u16, HashSet<u128>>,
    /// Keys that were read and not shown.
    keys: Vec<Bytes>,
    /// Slots that were read for these, of which nothing was said.
    read: u32,
}

impl SlotKeys {
    pub(super) fn new(requests: FlowRequests, wanted: KeysWanted, shown: BTreeMap<u16, HashSet<u128>>) -> Self {
        let all = [(0, SLOT_COUNT as u16 - 1)];
        let ranges = wanted.slots.as_deref().unwrap_or(&all);
        let mut slots: Vec<u16> = each(ranges).collect();
        slots.reverse();
        Self { requests, wanted, slots, shown, keys: Vec::new(), read: 0 }
    }

    /// Reads some more slots. Returns how many keys they have.
    async fn fill(&mut self) -> Result<u64, Error> {
        let slots = self.slots.split_off(self.slots.len().saturating_sub(MOST_SLOTS));
        let request = self.requests.begin().without_gate();
        let read = keys_in(&request, slots.iter().map(|slot| usize::from(*slot)), false).await?;
        let (shown, pattern) = (&self.shown, &self.wanted.filter.pattern);
        let is_shown = |key: &[u8]| shown.get(&key_slot(key)).is_some_and(|hashes| hashes.contains(&key_hash(key)));
        let is_wanted =
            |key: &&Bytes| glob::matches(pattern, key) && !slot_keys::is_under_construction(key) && !is_shown(key);
        let keys_read = read.keys.len() as u64;
        self.keys = read.keys.iter().filter(is_wanted).cloned().collect();
        self.read += slots.len() as u32;
        Ok(keys_read)
    }
}

impl KeySource for SlotKeys {
    fn next(&mut self, most: usize) -> BoxFuture<'_, Result<KeySlice, Error>> {
        Box::pin(async move {
            let keys_read = if self.keys.is_empty() && !self.slots.is_empty() { self.fill().await? } else { 0 };
            let keys = self.keys.split_off(self.keys.len().saturating_sub(most));
            let request = self.requests.begin();
            // Nothing else is asked or counted of keys that the caller may not read.
            let keys = request.readable(keys).await?;
            let type_name = self.wanted.filter.type_name.as_deref().map(str::as_bytes);
            let live = live_keys(&request.without_gate(), keys, type_name, false).await?;
            let records =
                records_of(&request.without_gate(), None, live.keys, WantedValues::of_found(self.wanted.filter.values))
                    .await?;
            let is_read = self.keys.is_empty();
            Ok(KeySlice {
                records,
                slots_read: if is_read { std::mem::take(&mut self.read) } else { 0 },
                keys_read,
                is_end: is_read && self.slots.is_empty(),
                ..KeySlice::default()
            })
        })
    }

    fn memory(&self) -> u64 {
        let shown: usize = self.shown.values().map(HashSet::len).sum();
        (names_memory(&self.keys) + shown * 2 * size_of::<u128>()) as u64
    }
}
