//! [`Store::check`]: a comparison of the copies of slots.
//!
//! One pass over the names of each node. The keys of a first copy are compared with those of the others, and each key of
//! another copy must be at the first one. A write that is under way makes copies differ for a moment, so what seems to differ
//! is asked about again at the proxy that orders the slot, which compares it while nobody writes there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};
use xxhash_rust::xxh3::xxh3_128;

use super::Store;
use super::copy::compare::compare;
use super::copy::node::DataNode;
use super::copy::scan::{Names, missing_of};
use super::order::{KeyCheck, UnequalKey};
use super::table::{SlotState, SlotTable};
use crate::error::Error;

/// The number of keys that are asked about while their slot is held.
const KEYS_AT_ONCE: usize = 64;

/// The most keys that are shown of those that differ.
const MOST_SHOWN: usize = 100;

/// The time for which the proxy that orders a slot is asked again if it cannot answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pause before it is asked again after a refusal.
const PAUSE: Duration = Duration::from_millis(100);

/// The result of a comparison of copies.
#[derive(Debug, Default)]
pub(super) struct CheckedCopies {
    /// The number of slots that were compared as a whole.
    pub(super) slots: usize,
    /// The number of keys that were compared.
    pub(super) keys: u64,
    /// The number of keys that differ, or did.
    pub(super) differences: u64,
    /// The number of those that are equal again.
    pub(super) repaired: u64,
    /// The first of them, each with its slot.
    pub(super) shown: Vec<(u16, UnequalKey)>,
    /// Slots that were not compared as a whole, and why.
    pub(super) unchecked: BTreeMap<u16, String>,
}

/// A pass over the copies.
struct CopyCheck<'s> {
    store: &'s Store,
    table: &'s SlotTable,
    repairs: bool,
    /// By the places of the nodes in the table.
    open: HashMap<usize, DataNode>,
    /// Hashes of the keys that differ: a node may name one twice, and several nodes the same.
    known: HashSet<u128>,
    found: CheckedCopies,
}

impl Store {
    /// Compares the copies of a slot, or of all slots, key by key. With `repairs` the other copies get what differs as the first
    /// copy has it.
    ///
    /// # Errors
    /// If the configuration node does not answer; if there is no such slot.
    pub(super) async fn check(&self, slot: Option<u16>, repairs: bool) -> Result<CheckedCopies, Error> {
        let table = self.shared.tables.load().await?;
        let most = table.slots().len() - 1;
        if let Some(slot) = slot.filter(|slot| usize::from(*slot) > most) {
            return Err(Error::Invalid(format!("CHECK {slot}: there are slots 0 to {most}")));
        }
        let wanted: Vec<u16> = match slot {
            Some(slot) => vec![slot],
            None => (0..=most as u16).collect(),
        };
        let (open, known, found) = (HashMap::new(), HashSet::new(), CheckedCopies::default());
        let mut check = CopyCheck { store: self, table: &table, repairs, open, known, found };
        check.connect(&wanted).await;
        for place in 0..table.nodes.len() {
            if let Err(error) = check.pass_over(place, &wanted).await {
                check.fails(place, &wanted, &error);
            }
        }
        let mut found = check.found;
        let after = self.shared.tables.load().await?;
        for &slot in &wanted {
            let addresses =
                |table: &SlotTable| table.copies_of(slot).map(|node| node.address.clone()).collect::<Vec<_>>();
            if addresses(&table) != addresses(&after) {
                found.unchecked.entry(slot).or_insert_with(|| "its copies are others now".into());
            }
        }
        found.slots = wanted.len() - found.unchecked.len();
        Ok(found)
    }
}

impl CopyCheck<'_> {
    /// Connects to all nodes that have copies of some slots. Slots of one that cannot be reached are not checked.
    async fn connect(&mut self, wanted: &[u16]) {
        for &slot in wanted {
            let entry = &self.table.slots()[usize::from(slot)];
            if entry.copies.is_empty() || entry.state == SlotState::Lost {
                self.found.unchecked.insert(slot, "it is lost".into());
            }
        }
        for place in 0..self.table.nodes.len() {
            if !wanted.iter().any(|&slot| self.is_checked(slot, place)) {
                continue;
            }
            match connect_to(self.store, self.table, place).await {
                Ok(node) => drop(self.open.insert(place, node)),
                Err(error) => self.fails(place, wanted, &error),
            }
        }
    }

    /// Returns whether a slot has several copies, one of them at this node, and nothing was in the way so far.
    fn is_checked(&self, slot: u16, place: usize) -> bool {
        let copies = &self.table.slots()[usize::from(slot)].copies;
        copies.len() > 1 && copies.contains(&place) && !self.found.unchecked.contains_key(&slot)
    }

    /// Says that a node does not answer.
    fn fails(&mut self, place: usize, wanted: &[u16], error: &Error) {
        self.open.remove(&place);
        for &slot in wanted {
            if self.is_checked(slot, place) {
                self.found.unchecked.insert(slot, error.to_string());
            }
        }
    }

    /// Looks at all that a node has of some slots.
    async fn pass_over(&mut self, place: usize, wanted: &[u16]) -> Result<(), Error> {
        let is_wanted: HashSet<u16> = wanted.iter().copied().filter(|&slot| self.is_checked(slot, place)).collect();
        let Some(mut node) = self.open.remove(&place).filter(|_| !is_wanted.is_empty()) else { return Ok(()) };
        let mut names = Names::default();
        while let Some(page) = names.next_keys(&mut node).await? {
            let mut of_slots: BTreeMap<u16, Vec<Bytes>> = BTreeMap::new();
            for key in page {
                let slot = self.table.slot_of(&key);
                if is_wanted.contains(&slot) {
                    of_slots.entry(slot).or_default().push(key);
                }
            }
            for (slot, keys) in of_slots {
                if self.is_checked(slot, place) {
                    let suspects = self.suspects(slot, place, &mut node, keys).await;
                    self.look_again(slot, suspects).await;
                }
            }
        }
        self.open.insert(place, node);
        Ok(())
    }

    /// Returns those of a node's keys that another copy seems to have otherwise.
    async fn suspects(&mut self, slot: u16, place: usize, node: &mut DataNode, keys: Vec<Bytes>) -> Vec<Bytes> {
        let copies = self.table.slots()[usize::from(slot)].copies.clone();
        let is_first = copies[0] == place;
        let others = if is_first { &copies[1..] } else { &copies[..1] };
        let mut suspects = Vec::new();
        for other_place in others {
            let Some(other) = self.open.get_mut(other_place) else { continue };
            let found = match is_first {
                true => {
                    compare(node, other, &keys).await.map(|found| found.into_iter().map(|one| one.key.into()).collect())
                }
                false => missing_of(other, &keys).await,
            };
            match found {
                Ok(found) => suspects.extend::<Vec<Bytes>>(found),
                Err(error) => drop(self.found.unchecked.insert(slot, error.to_string())),
            }
        }
        self.found.keys += if is_first { keys.len() } else { suspects.len() } as u64;
        suspects.sort_unstable();
        suspects.dedup();
        suspects
    }

    /// Asks about keys that seem to differ while nobody writes to them.
    async fn look_again(&mut self, slot: u16, suspects: Vec<Bytes>) {
        for keys in suspects.chunks(KEYS_AT_ONCE) {
            let check = KeyCheck { slot, keys: keys.to_vec(), repairs: self.repairs };
            match ask(self.store, &check).await {
                Ok(unequal) => {
                    for unequal in unequal {
                        self.differs(slot, unequal);
                    }
                }
                Err(why) => {
                    self.found.unchecked.insert(slot, String::from_utf8_lossy(&why).into_owned());
                    return;
                }
            }
        }
    }

    fn differs(&mut self, slot: u16, unequal: UnequalKey) {
        if self.known.insert(xxh3_128(&unequal.key)) {
            self.found.differences += 1;
            self.found.repaired += u64::from(self.repairs);
        }
        if self.found.shown.len() < MOST_SHOWN {
            self.found.shown.push((slot, unequal));
        }
    }
}

async fn connect_to(store: &Store, table: &SlotTable, place: usize) -> Result<DataNode, Error> {
    let known = &table.nodes[place];
    let mut node = DataNode::connect(&store.shared.own_links, &known.address.to_string()).await?;
    match node.run_id().await? {
        run_id if known.run_id.is_empty() || known.run_id == run_id => Ok(node),
        _ => Err(node.odd("is not the process that was let in")),
    }
}

async fn ask(store: &Store, check: &KeyCheck) -> Result<Vec<UnequalKey>, Bytes> {
    let until = Instant::now() + PATIENCE;
    loop {
        match store.shared.sequencer().check(check).await {
            Err(_) if Instant::now() < until => sleep(PAUSE).await,
            answer => return answer,
        }
    }
}
