//! [`Router`]: hands the records of a stage on to the shards that own the slots of their keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::carrier::Carrier;
use super::inlet::Inlet;
use super::messages::{RunShare, SlotOwner, TakenRecords};
use super::records::{BATCH_BYTES, BATCH_RECORDS, Records};
use crate::error::Error;
use crate::topology::{SLOT_COUNT, key_slot};

/// The owner of slots that nobody with the module owns.
const NOBODY: u16 = u16::MAX;

/// Sends the records of a stage on their way.
pub(super) struct Router {
    execution: String,
    /// The stage that they go into.
    stage: u32,
    /// [`None`] if all go to the coordinator.
    owners: Option<Arc<SlotOwners>>,
    /// The share's own way into that stage, with the id of its node.
    own: Option<(String, Arc<Inlet>)>,
    /// The node that takes the records of slots that nobody owns; [`None`] if those are left over.
    coordinator: Option<String>,
    carrier: Arc<dyn Carrier>,
    /// Records that are not yet a batch, by their owner.
    waiting: BTreeMap<u16, Records>,
}

/// The owners of all slots, by the number of each.
pub(super) struct SlotOwners {
    nodes: Vec<String>,
    by_slot: Vec<u16>,
}

impl SlotOwners {
    pub(super) fn new(owners: &[SlotOwner]) -> Self {
        let mut by_slot = vec![NOBODY; SLOT_COUNT];
        for (number, owner) in (0..NOBODY).zip(owners) {
            for (first, last) in &owner.slots {
                let last = usize::from(*last).min(SLOT_COUNT - 1);
                by_slot[usize::from(*first).min(last)..=last].fill(number);
            }
        }
        Self { nodes: owners.iter().map(|owner| owner.node.clone()).collect(), by_slot }
    }

    fn owner(&self, key: &[u8]) -> u16 {
        self.by_slot[usize::from(key_slot(key))]
    }

    fn node(&self, owner: u16) -> Option<&str> {
        self.nodes.get(usize::from(owner)).map(String::as_str)
    }
}

impl Router {
    /// Makes the way into this stage.
    pub(super) fn new(
        share: &RunShare,
        stage: usize,
        owners: Arc<SlotOwners>,
        own_inlet: Arc<Inlet>,
        carrier: Arc<dyn Carrier>,
    ) -> Self {
        let own = Some((share.node.clone(), own_inlet));
        Self { owners: Some(owners), own, coordinator: None, ..Self::to_coordinator(share, stage, carrier) }
    }

    /// Makes the way into this stage of the share that takes what is gathered, for all records.
    pub(super) fn to_coordinator(share: &RunShare, stage: usize, carrier: Arc<dyn Carrier>) -> Self {
        Self {
            execution: share.execution.clone(),
            stage: stage as u32,
            owners: None,
            own: None,
            coordinator: Some(share.coordinator.clone()),
            carrier,
            waiting: BTreeMap::new(),
        }
    }

    /// Makes the way into this stage for all records: to the owners of their slots, and to the coordinator with those that
    /// are nobody's.
    pub(super) fn to_all(share: &RunShare, stage: usize, owners: Arc<SlotOwners>, carrier: Arc<dyn Carrier>) -> Self {
        Self { owners: Some(owners), ..Self::to_coordinator(share, stage, carrier) }
    }

    /// Takes records, and hands on what is a batch. Returns what nobody has taken.
    ///
    /// # Errors
    /// That it is open whether a node has a batch.
    pub(super) async fn send(&mut self, records: &Records) -> Result<Records, Error> {
        match &self.owners {
            None => self.waiting.entry(NOBODY).or_default().append(records),
            Some(owners) => {
                for (key, value) in records.iter() {
                    self.waiting.entry(owners.owner(key)).or_default().push(key, value);
                }
            }
        }
        self.hand_on(false).await
    }

    /// Hands on all that is left. Returns what nobody has taken.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub(super) async fn flush(&mut self) -> Result<Records, Error> {
        self.hand_on(true).await
    }

    /// Returns the memory that waits, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.waiting.values().map(Records::byte_len).sum()
    }

    async fn hand_on(&mut self, all: bool) -> Result<Records, Error> {
        let mut nobodys = Records::new();
        for (&owner, waiting) in &mut self.waiting {
            while waiting.is_batch() || (all && !waiting.is_empty()) {
                let records = waiting.take_batch(BATCH_RECORDS, BATCH_BYTES);
                let node = self.owners.as_ref().and_then(|owners| owners.node(owner));
                let is_taken = match (node, &self.own, self.coordinator.as_deref()) {
                    (Some(node), Some((own_id, inlet)), _) if node == own_id => inlet.put(records.clone()).await,
                    (None, _, None) => false,
                    (Some(node), ..) | (None, _, Some(node)) => {
                        let batch = TakenRecords {
                            execution: self.execution.clone(),
                            node: node.to_owned(),
                            stage: self.stage,
                            is_gathered: owner == NOBODY,
                            records: records.clone(),
                        };
                        self.carrier.carry(&batch).await?
                    }
                };
                if !is_taken {
                    nobodys.append(&records);
                }
            }
        }
        Ok(nobodys)
    }
}
