//! Making the copies of suspect slots equal again: what the first copy has counts.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::Sequencer;
use crate::error::Error;
use crate::placement::store::copy::node::DataNode;
use crate::placement::store::copy::scan::keys_of;
use crate::placement::store::scripts::TRUST;
use crate::placement::store::table::{SlotState, SlotTable};
use crate::placement::store::without::is_without;

/// The number of keys that are made equal while their slot is held.
const KEYS_AT_ONCE: usize = 64;

/// The number of slots that are made equal at once.
const SLOTS_AT_ONCE: usize = 4;

/// The longest time for which a scrub waits for a slot.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pause before a scrub is tried again after a failure.
const PAUSE: Duration = Duration::from_millis(250);

impl Sequencer {
    /// Makes the copies of slots equal whose state is suspect. Never ends.
    pub(in crate::placement::store) async fn scrub(&self) {
        let mut tables = self.tables.follow();
        loop {
            let table = tables.borrow_and_update().clone();
            let suspect: BTreeSet<u16> = table.iter().flat_map(|table| self.suspects(table)).collect();
            match &table {
                Some(table) if !suspect.is_empty() => {
                    if let Err(error) = self.make_slots_equal(table, &suspect).await {
                        log::debug!("suspect slots stay as they are: {error}");
                        sleep(PAUSE).await;
                    }
                }
                _ => {
                    if tables.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn suspects<'t>(&'t self, table: &'t SlotTable) -> impl Iterator<Item = u16> {
        let own = table.ordered_by(&self.name);
        own.filter(|(_, entry)| entry.state == SlotState::Suspect).map(|(slot, _)| slot)
    }

    async fn make_slots_equal(&self, table: &SlotTable, suspect: &BTreeSet<u16>) -> Result<(), Error> {
        let mut keys: Vec<(u16, BTreeSet<Box<[u8]>>)> = suspect.iter().map(|&slot| (slot, BTreeSet::new())).collect();
        for (place, node) in table.nodes.iter().enumerate() {
            let is_of_it =
                |slot: u16| suspect.contains(&slot) && table.slots()[usize::from(slot)].copies.contains(&place);
            if !suspect.iter().any(|&slot| is_of_it(slot)) {
                continue;
            }
            // A node that cannot be asked is found to have failed by the steps below, and is no copy then.
            let Ok(mut open) = DataNode::connect(&self.links, &node.address.to_string()).await else { continue };
            let found = keys_of(&mut open, table.settings.func, is_of_it).await?;
            for (slot, own) in &mut keys {
                own.extend(found.get(slot).into_iter().flatten().cloned());
                // There may be millions.
                yield_now().await;
            }
        }
        let equal =
            stream::iter(keys).map(|(slot, keys)| self.make_slot_equal(slot, keys)).buffer_unordered(SLOTS_AT_ONCE);
        let equal: Vec<String> = equal.try_collect().await?;
        let mut arguments: Vec<&str> = vec![&self.name];
        arguments.extend(equal.iter().map(String::as_str));
        let count: i64 = self.tables.run(&TRUST, &arguments).await?;
        log::info!("the copies of {count} slots are equal again");
        self.tables.load().await.map(drop)
    }

    /// Makes keys of a slot equal, some at a time: writes have their turn between them. Returns the slot.
    async fn make_slot_equal(&self, slot: u16, keys: BTreeSet<Box<[u8]>>) -> Result<String, Error> {
        let refused = |words: Bytes| Error::Refused(String::from_utf8_lossy(&words).into_owned());
        let keys: Vec<Bytes> = keys.into_iter().map(|key| Bytes::from(key.into_vec())).collect();
        for some in keys.chunks(KEYS_AT_ONCE).filter(|_| !is_without("suspect")) {
            let until = Instant::now() + PATIENCE;
            let _turn = self.turns.alone(slot, until).await.map_err(refused)?;
            self.make_keys_equal(slot, some, until).await.map_err(refused)?;
        }
        Ok(slot.to_string())
    }
}
