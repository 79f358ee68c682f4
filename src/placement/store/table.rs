//! [`SlotTable`]: who holds which slot, as the configuration node has written it down.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::Xxh3;

use super::settings::StoreSettings;
use crate::error::Error;
use crate::topology::{Address, KeyPlacement, Topology};

/// The name of the source in topologies of stores.
const SOURCE: &str = "placement";

/// The name that stands where no proxy orders the writes of a slot.
pub(super) const NOBODY: &str = "-";

/// The state of a node whose copies are to be dropped at once.
pub(super) const REMOVED: &str = "removed";

/// Returns the state of a node, by its entry at the configuration node.
pub(super) fn state_of(entry: &str) -> Option<&str> {
    entry.split(' ').nth(3)
}

/// The table of slots with the nodes that hold each.
#[derive(Debug)]
pub(super) struct SlotTable {
    pub(super) epoch: u64,
    pub(super) settings: StoreSettings,
    /// The nodes that are in, and those that hold slots, in the order of their addresses as texts.
    pub(super) nodes: Vec<StoreNode>,
    slots: Vec<SlotEntry>,
    /// The places of nodes whose copies are to be dropped, since an operator has removed them.
    removed: Vec<usize>,
    /// A slot that nobody can serve, if there is one.
    lost: Option<u16>,
}

/// A data node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct StoreNode {
    pub(super) address: Address,
    /// The id of its process; empty if it was never looked at.
    pub(super) run_id: String,
}

/// A slot.
#[derive(Debug, Clone)]
pub(super) struct SlotEntry {
    /// The places of the nodes that have a copy of it, the first copy first.
    pub(super) copies: Vec<usize>,
    pub(super) state: SlotState,
    /// The proxy that orders its writes; none if nobody does.
    pub(super) sequencer: Option<Arc<str>>,
    /// The epoch at which the slot got these copies.
    pub(super) epoch: u64,
}

impl SlotEntry {
    /// Returns whether a proxy of this name orders the slot's writes.
    pub(super) fn is_ordered_by(&self, proxy: &str) -> bool {
        self.sequencer.as_deref() == Some(proxy)
    }
}

/// The state of a slot's copies, as far as they can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SlotState {
    /// All copies are equal, but for writes that are under way.
    Ok,
    /// The copies may differ: the first one counts.
    Suspect,
    /// No copy is left that has every write.
    Lost,
}

/// The reply of the configuration node: the epoch, the settings, of each slot its copies, the nodes, and the slots' entries.
pub(super) type StoredTable =
    (u64, HashMap<String, String>, Vec<Vec<String>>, HashMap<String, String>, HashMap<String, String>);

impl SlotTable {
    /// Reads what the configuration node says.
    ///
    /// # Errors
    /// [`Error::Invalid`] for settings that cannot be served, with the reason; [`Error::Topology`] if no slot is given out.
    pub(super) fn read(stored: &StoredTable) -> Result<Self, Error> {
        let (epoch, settings, lists, nodes, slots) = stored;
        let settings = StoreSettings::read(settings)?;
        if lists.iter().all(Vec::is_empty) {
            return Err(Error::Topology(
                "no slots are given out yet: LPUSH newnodes ip:port at the configuration node".into(),
            ));
        }
        let is_in = |entry: &&String| matches!(state_of(entry), Some("in" | "leaving"));
        let mut names: Vec<&String> = lists.iter().flatten().collect();
        names.extend(nodes.iter().filter(|(_, entry)| is_in(entry)).map(|(name, _)| name));
        names.sort_unstable();
        names.dedup();
        let node = |name: &&String| {
            let run_id = nodes.get(*name).and_then(|entry| entry.split(' ').next()).unwrap_or_default();
            Ok(StoreNode { address: Address::parse(name)?, run_id: run_id.to_owned() })
        };
        let place = |name: &String| names.binary_search(&name).ok();
        let mut proxies: HashMap<&str, Arc<str>> = HashMap::new();
        let mut entry = |(slot, list): (usize, &Vec<String>)| {
            let mut words = slots.get(&slot.to_string()).map_or("", String::as_str).split(' ');
            let epoch = words.next().and_then(|epoch| epoch.parse().ok()).unwrap_or_default();
            let sequencer = words.next().filter(|name| !matches!(*name, NOBODY | ""));
            let sequencer = sequencer.map(|name| proxies.entry(name).or_insert_with(|| name.into()).clone());
            let state = match words.next() {
                Some("suspect") => SlotState::Suspect,
                Some("lost") => SlotState::Lost,
                _ if list.is_empty() => SlotState::Lost,
                _ => SlotState::Ok,
            };
            SlotEntry { copies: list.iter().filter_map(place).collect(), state, sequencer, epoch }
        };
        let slots: Vec<SlotEntry> = lists.iter().enumerate().map(&mut entry).collect();
        let is_removed = |name: &&String| nodes.get(*name).and_then(|entry| state_of(entry)) == Some(REMOVED);
        let removed = (0..names.len()).filter(|&place| is_removed(&names[place])).collect();
        let nodes = names.iter().map(node).collect::<Result<_, Error>>()?;
        let lost = slots.iter().position(|slot| slot.state == SlotState::Lost);
        Ok(Self { epoch: *epoch, settings, nodes, slots, removed, lost: lost.map(|slot| slot as u16) })
    }

    /// Makes the picture that an engine works by: one shard for each node.
    pub(super) fn topology(self: Arc<Self>) -> Topology {
        let addresses: Vec<Address> = self.nodes.iter().map(|node| node.address.clone()).collect();
        Topology::of_nodes(SOURCE, addresses).with_key_placement(self.epoch, self)
    }

    /// Returns the slot of a key.
    pub(super) fn slot_of(&self, key: &[u8]) -> u16 {
        self.settings.func.slot(key)
    }

    /// Returns a slot.
    ///
    /// # Errors
    /// The error says why it is not served.
    pub(super) fn slot(&self, slot: u16) -> Result<&SlotEntry, String> {
        let entry = &self.slots[usize::from(slot)];
        if entry.copies.is_empty() {
            return Err(format!("slot {slot} is at no node: the configuration node has no hashingslot:{slot}"));
        }
        if entry.state == SlotState::Lost {
            return Err(format!("slot {slot} is lost: no node is left that has all its keys"));
        }
        match self.lost.filter(|_| self.settings.needs_full_coverage) {
            Some(lost) => Err(format!(
                "slot {lost} is at no node that has all its keys, and the setting coverage is full: nothing is served before \
                 it is back"
            )),
            None => Ok(entry),
        }
    }

    /// Returns all slots, in order.
    pub(super) fn slots(&self) -> &[SlotEntry] {
        &self.slots
    }

    /// Returns the table of this epoch, at which nothing but the copies of one slot have changed: one node in place of another, as
    /// one more, or as one less. `None` if more has changed since.
    pub(super) fn after_move(&self, epoch: u64, slot: u16, from: Option<&str>, to: Option<&str>) -> Option<Self> {
        if epoch != self.epoch + 1 {
            return None;
        }
        let place = |name: &str| self.nodes.iter().position(|node| node.address.to_string() == name);
        let mut slots = self.slots.clone();
        let entry = &mut slots[usize::from(slot)];
        let from = from.map(|from| entry.copies.iter().position(|&copy| Some(copy) == place(from)).ok_or(()));
        match (from.transpose().ok()?, to.map(place)) {
            (Some(from), Some(to)) => entry.copies[from] = to?,
            (Some(from), None) => drop(entry.copies.remove(from)),
            (None, to) => entry.copies.push(to??),
        }
        entry.epoch = epoch;
        Some(self.with_slots(epoch, slots))
    }

    /// Returns the table of this epoch, at which nothing has changed but who orders the writes of some slots. `None` if more has
    /// changed since, or if no slot has gone: then something else has made the epoch.
    pub(super) fn after_hand_over(&self, epoch: u64, gone: &[(u16, String)]) -> Option<Self> {
        if epoch != self.epoch + 1 || gone.is_empty() {
            return None;
        }
        let mut slots = self.slots.clone();
        let mut proxies: HashMap<&str, Arc<str>> = HashMap::new();
        for (slot, to) in gone {
            let name = (to != NOBODY).then(|| proxies.entry(to).or_insert_with(|| to.as_str().into()).clone());
            slots.get_mut(usize::from(*slot))?.sequencer = name;
        }
        Some(self.with_slots(epoch, slots))
    }

    /// Returns the table of this epoch, at which only these slots are others.
    fn with_slots(&self, epoch: u64, slots: Vec<SlotEntry>) -> Self {
        let (settings, nodes, removed) = (self.settings.clone(), self.nodes.clone(), self.removed.clone());
        Self { epoch, settings, nodes, slots, removed, lost: self.lost }
    }

    /// Returns the nodes that an operator has removed, and that still have a copy of a slot whose writes a proxy of this name orders,
    /// while another node has one too.
    pub(super) fn removed_from(&self, proxy: &str) -> impl Iterator<Item = &StoreNode> {
        let has = |place: usize| {
            self.ordered_by(proxy).any(|(_, entry)| entry.copies.len() > 1 && entry.copies.contains(&place))
        };
        self.removed.iter().filter(move |&&place| has(place)).map(|&place| &self.nodes[place])
    }

    /// Returns the nodes that have copies of a slot, the first copy first.
    pub(super) fn copies_of(&self, slot: u16) -> impl Iterator<Item = &StoreNode> {
        let entry = self.slots.get(usize::from(slot));
        entry.into_iter().flat_map(|entry| &entry.copies).map(|&place| &self.nodes[place])
    }

    /// Returns the slots whose writes a proxy of this name orders, with their entries.
    pub(super) fn ordered_by<'t>(&'t self, proxy: &'t str) -> impl Iterator<Item = (u16, &'t SlotEntry)> {
        (0..).zip(&self.slots).filter(move |(_, entry)| entry.is_ordered_by(proxy))
    }

    /// Returns the place of a node.
    pub(super) fn place_of(&self, address: &Address) -> Option<usize> {
        self.nodes.iter().position(|node| node.address == *address)
    }

    /// Returns for how long a node with copies may be silent.
    pub(super) fn patience(&self) -> Duration {
        /// Nobody else can answer for the only copy.
        const ONLY_COPY: Duration = Duration::from_secs(60);
        if self.settings.copies > 1 { self.settings.node_timeout } else { ONLY_COPY }
    }
}

impl KeyPlacement for SlotTable {
    fn shard(&self, key: &[u8]) -> Result<usize, String> {
        Ok(self.slot(self.slot_of(key))?.copies[0])
    }

    fn has_copies(&self) -> bool {
        self.settings.copies > 1 || self.settings.is_moving
    }

    fn group(&self, key: &[u8]) -> Result<usize, String> {
        if !self.has_copies() { self.shard(key) } else { Ok(usize::from(self.slot_of(key))) }
    }

    /// Keys are counted at the first copies of their slots.
    fn layout(&self) -> u64 {
        let mut hash = Xxh3::new();
        for node in &self.nodes {
            hash.update(node.address.to_string().as_bytes());
            hash.update(b" ");
        }
        for entry in &self.slots {
            let first = entry.copies.first().map_or(u64::MAX, |&first| first as u64);
            hash.update(&first.to_be_bytes());
        }
        // 0 is for shards that keep their keys.
        hash.digest() | 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::slot::{SlotFunc, SlotHash};

    fn stored(slots: &str, lists: &[&str], states: &[(&str, &str)]) -> StoredTable {
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let lists = lists.iter().map(|list| list.split_whitespace().map(str::to_owned).collect()).collect();
        let settings = map(&[("slots", slots), ("copies", "2"), ("coverage", "slot")]);
        (7, settings, lists, map(&[("c:3", "id3 1 - in 2"), ("d:4", "id4 1 - out 2")]), map(states))
    }

    #[test]
    fn a_key_is_at_the_first_node_of_its_slot() {
        let table = SlotTable::read(&stored("4", &["b:2 a:1", "a:1", "", "b:2"], &[])).unwrap();
        let func = SlotFunc::new(SlotHash::Sha1, 4).unwrap();
        for key in 0..64 {
            let key = format!("key:{key}");
            let expected = [Some(1), Some(0), None, Some(1)][usize::from(func.slot(key.as_bytes()))];
            assert_eq!(table.shard(key.as_bytes()).ok(), expected, "{key}");
        }
        assert_eq!(table.slots()[0].copies, [1, 0]);
        let addresses: Vec<String> = table.nodes.iter().map(|node| node.address.to_string()).collect();
        assert_eq!(addresses, ["a:1", "b:2", "c:3"], "who is out is no node");
        assert_eq!(table.nodes[2].run_id, "id3");
        let topology = Arc::new(table).topology();
        assert_eq!(topology.shards()[0].primary.address, Address::new("a", 1));
    }

    #[test]
    fn a_slot_knows_who_orders_its_writes_and_what_is_left_of_it() {
        let entries = [("0", "5 p:1 ok"), ("1", "6 - suspect"), ("2", "7 p:1 lost")];
        let table = SlotTable::read(&stored("3", &["a:1", "a:1", "a:1"], &entries)).unwrap();
        let shown = |slot: usize| {
            let entry = &table.slots()[slot];
            (entry.epoch, entry.sequencer.as_deref(), entry.state)
        };
        assert_eq!(shown(0), (5, Some("p:1"), SlotState::Ok));
        assert_eq!(shown(1), (6, None, SlotState::Suspect));
        assert_eq!(shown(2), (7, Some("p:1"), SlotState::Lost));
        assert!(table.slot(0).is_ok() && table.slot(2).unwrap_err().contains("slot 2 is lost"));
        let mut full = stored("3", &["a:1", "a:1", "a:1"], &entries);
        full.1.insert("coverage".into(), "full".into());
        let refused = SlotTable::read(&full).unwrap().slot(0).unwrap_err();
        assert!(refused.contains("slot 2") && refused.contains("coverage is full"), "{refused}");
    }

    #[test]
    fn a_move_changes_one_slot() {
        let table = SlotTable::read(&stored("2", &["a:1 b:2", "a:1"], &[])).unwrap();
        let copies = |from, to| table.after_move(8, 0, from, to).map(|table| table.slots()[0].copies.clone());
        assert_eq!(copies(Some("a:1"), Some("c:3")), Some(vec![2, 1]));
        assert_eq!(copies(Some("a:1"), None), Some(vec![1]));
        assert_eq!(copies(None, Some("c:3")), Some(vec![0, 1, 2]));
        assert_eq!(copies(Some("c:3"), Some("a:1")), None);
        assert_eq!(copies(None, Some("d:4")), None, "who is out gets nothing");
        assert!(table.after_move(9, 0, None, Some("c:3")).is_none(), "something else has changed too");
        let moved = table.after_move(8, 0, None, Some("c:3")).unwrap();
        assert_eq!((moved.epoch, moved.slots()[0].epoch, moved.slots()[1].copies.clone()), (8, 8, vec![0]));
    }

    #[test]
    fn a_hand_over_changes_who_orders_writes_and_nothing_else() {
        let table =
            SlotTable::read(&stored("2", &["a:1 b:2", "a:1"], &[("0", "5 p:1/x ok"), ("1", "6 p:1/x ok")])).unwrap();
        let gone = [(0, "q:2/y".to_owned()), (1, NOBODY.to_owned())];
        let next = table.after_hand_over(8, &gone).unwrap();
        let shown = |slot: usize| (next.slots()[slot].epoch, next.slots()[slot].sequencer.as_deref());
        assert_eq!((next.epoch, shown(0), shown(1)), (8, (5, Some("q:2/y")), (6, None)));
        assert_eq!(next.slots()[0].copies, table.slots()[0].copies);
        assert!(table.after_hand_over(9, &gone).is_none(), "something else has changed too");
        assert!(table.after_hand_over(8, &[]).is_none(), "something else has made this epoch");
    }

    #[test]
    fn without_slots_there_is_no_table() {
        let error = SlotTable::read(&stored("2", &["", ""], &[])).unwrap_err();
        assert!(error.to_string().contains("LPUSH newnodes"), "{error}");
    }
}
