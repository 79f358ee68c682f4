//! [`StoreReport`]: all that the configuration node can tell of a store, as data.

use std::collections::{BTreeMap, HashMap};

use super::Store;
use super::scripts::{LOG, REPORT};
use crate::error::Error;
use crate::words::words;

/// The state of a store, as the configuration node has told it.
#[derive(Debug)]
pub(super) struct StoreReport {
    pub(super) epoch: u64,
    pub(super) settings: HashMap<String, String>,
    /// Addresses of nodes that are to be looked at.
    pub(super) waiting: Vec<String>,
    /// By their addresses.
    pub(super) nodes: BTreeMap<String, NodeReport>,
    pub(super) slots: Vec<SlotReport>,
    /// In the order in which they came.
    pub(super) proxies: Vec<ProxyReport>,
}

/// A data node.
#[derive(Debug, Default)]
pub(super) struct NodeReport {
    /// The id of its process; empty for one that holds slots and was never let in.
    pub(super) run_id: String,
    pub(super) weight: u64,
    pub(super) zone: Option<String>,
    pub(super) state: String,
    pub(super) epoch: u64,
    /// The number of slots that it has a copy of.
    pub(super) copies: usize,
    /// The number of slots of which its copy is the first one.
    pub(super) first_copies: usize,
}

/// A slot.
#[derive(Debug, PartialEq)]
pub(super) struct SlotReport {
    /// Addresses of the nodes that have a copy, the first copy first.
    pub(super) copies: Vec<String>,
    pub(super) sequencer: Option<String>,
    pub(super) health: SlotHealth,
    pub(super) epoch: u64,
}

/// The state of a slot's copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SlotHealth {
    /// The slot has all its copies, and they are equal.
    Ok,
    /// Its copies may differ: the first one counts.
    Suspect,
    /// The slot has fewer copies than it should.
    Short,
    /// The slot has no copy that can be relied on.
    Lost,
}

words!(pub(super) SlotHealth { Ok = "ok", Suspect = "suspect", Short = "short", Lost = "lost" });

/// A proxy that lives.
#[derive(Debug)]
pub(super) struct ProxyReport {
    pub(super) address: String,
    /// The time at which it came, in milliseconds since 1970.
    pub(super) since: u64,
    /// The epoch that it has said last.
    pub(super) epoch: u64,
    /// For how long it is known if it is not heard of again, in milliseconds.
    pub(super) lease: u64,
}

/// A change.
#[derive(Debug)]
pub(super) struct LogEntry {
    pub(super) epoch: u64,
    pub(super) what: String,
    pub(super) who: String,
    pub(super) slots: String,
    /// The time of the change, in milliseconds since 1970.
    pub(super) at: u64,
}

/// The reply of the script: in the order of [`StoreReport`], and the slots' lists and entries apart.
type ToldStore = (
    u64,
    HashMap<String, String>,
    Vec<Vec<String>>,
    HashMap<String, String>,
    HashMap<String, String>,
    Vec<String>,
    Vec<(String, u64, u64, u64)>,
);

impl Store {
    /// Asks the configuration node for all that it can tell.
    ///
    /// # Errors
    /// If it does not answer.
    pub(super) async fn report(&self) -> Result<StoreReport, Error> {
        Ok(StoreReport::of(self.shared.tables.run(&REPORT, &[]).await?))
    }

    /// Asks the configuration node for the last changes, the last one first.
    ///
    /// # Errors
    /// If it does not answer.
    pub(super) async fn last_changes(&self, count: u32) -> Result<Vec<LogEntry>, Error> {
        let entries: Vec<(String, HashMap<String, String>)> =
            self.shared.tables.run(&LOG, &[&count.to_string()]).await?;
        let entry = |(id, mut fields): (String, HashMap<String, String>)| {
            let mut field = |name: &str| fields.remove(name).unwrap_or_default();
            LogEntry {
                epoch: number(id.split('-').next()),
                what: field("what"),
                who: field("who"),
                slots: field("slots"),
                at: number(Some(&field("at"))),
            }
        };
        Ok(entries.into_iter().map(entry).collect())
    }
}

impl StoreReport {
    fn of((epoch, settings, lists, nodes, entries, waiting, proxies): ToldStore) -> Self {
        let wanted: usize = number(settings.get("copies").map(String::as_str));
        let mut nodes: BTreeMap<String, NodeReport> =
            nodes.into_iter().map(|(address, entry)| (address, NodeReport::of(&entry))).collect();
        for list in &lists {
            for (place, address) in list.iter().enumerate() {
                let node = nodes.entry(address.clone()).or_default();
                node.copies += 1;
                node.first_copies += usize::from(place == 0);
            }
        }
        let slot = |(number, copies): (usize, Vec<String>)| {
            let entry = entries.get(&number.to_string()).map_or("", String::as_str);
            SlotReport::of(entry, copies, wanted)
        };
        let slots = lists.into_iter().enumerate().map(slot).collect();
        let proxy = |(address, since, epoch, lease)| ProxyReport { address, since, epoch, lease };
        let proxies = proxies.into_iter().map(proxy).collect();
        Self { epoch, settings, waiting, nodes, slots, proxies }
    }

    /// Returns how many slots are so.
    pub(super) fn count(&self, health: SlotHealth) -> usize {
        self.slots.iter().filter(|slot| slot.health == health).count()
    }

    /// Returns neighbours that are alike as one, with the first and the last of them.
    pub(super) fn runs(&self, first: usize, last: usize) -> Vec<(usize, usize, &SlotReport)> {
        let mut runs: Vec<(usize, usize, &SlotReport)> = Vec::new();
        for (number, slot) in self.slots.iter().enumerate().take(last + 1).skip(first) {
            match runs.last_mut() {
                Some((_, end, run)) if *run == slot => *end = number,
                _ => runs.push((number, number, slot)),
            }
        }
        runs
    }
}

impl NodeReport {
    /// Reads the words of its entry: the id of its process, weight, zone, state, epoch.
    fn of(entry: &str) -> Self {
        let mut words = entry.split(' ');
        let run_id = words.next().unwrap_or_default().to_owned();
        let weight = number(words.next());
        let zone = words.next().filter(|zone| !matches!(*zone, "-" | "")).map(str::to_owned);
        let state = words.next().unwrap_or_default().to_owned();
        Self { run_id, weight, zone, state, epoch: number(words.next()), copies: 0, first_copies: 0 }
    }
}

impl SlotReport {
    /// Reads the words of its entry: epoch, sequencer, state.
    fn of(entry: &str, copies: Vec<String>, wanted: usize) -> Self {
        let mut words = entry.split(' ');
        let epoch = number(words.next());
        let sequencer = words.next().filter(|name| !matches!(*name, "-" | "")).map(str::to_owned);
        let health = match words.next() {
            _ if copies.is_empty() => SlotHealth::Lost,
            Some("lost") => SlotHealth::Lost,
            Some("suspect") => SlotHealth::Suspect,
            _ if copies.len() < wanted => SlotHealth::Short,
            _ => SlotHealth::Ok,
        };
        Self { copies, sequencer, health, epoch }
    }
}

/// Reads a number that rmr has written.
fn number<T: std::str::FromStr + Default>(text: Option<&str>) -> T {
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lists: &[&str], entries: &[&str]) -> StoreReport {
        let list = |list: &&str| list.split_whitespace().map(str::to_owned).collect();
        let entries = entries.iter().enumerate().map(|(slot, entry)| (slot.to_string(), (*entry).to_owned()));
        let settings = [("copies".to_owned(), "2".to_owned())].into();
        let nodes = [("a:1".to_owned(), "id 2 rack1 in 7".to_owned())].into();
        StoreReport::of((9, settings, lists.iter().map(list).collect(), nodes, entries.collect(), vec![], vec![]))
    }

    #[test]
    fn each_slot_is_counted_once() {
        let lists = ["a:1 b:2", "a:1", "a:1 b:2", "", "b:2 a:1", "a:1"];
        let report = told(&lists, &["1 p ok", "1 - ok", "1 p suspect", "1 p ok", "1 p lost", "1 p suspect"]);
        let counts = SlotHealth::ALL.iter().map(|&health| report.count(health)).collect::<Vec<_>>();
        assert_eq!(counts, [1, 2, 1, 2]);
        assert_eq!(report.slots[0].sequencer.as_deref(), Some("p"));
        assert_eq!(report.slots[1].sequencer, None);
    }

    #[test]
    fn nodes_know_what_they_hold() {
        let report = told(&["a:1 b:2", "b:2 a:1", "a:1"], &[]);
        let node = &report.nodes["a:1"];
        assert_eq!((node.run_id.as_str(), node.weight, node.zone.as_deref()), ("id", 2, Some("rack1")));
        assert_eq!((node.state.as_str(), node.epoch, node.copies, node.first_copies), ("in", 7, 3, 2));
        assert_eq!((report.nodes["b:2"].copies, report.nodes["b:2"].state.as_str()), (2, ""));
    }

    #[test]
    fn neighbours_that_are_alike_are_one_run() {
        let report = told(&["a:1 b:2", "a:1 b:2", "b:2 a:1", "b:2 a:1", "a:1 b:2"], &["3 p ok", "3 p ok"]);
        let ends = |first, last| -> Vec<(usize, usize)> {
            report.runs(first, last).iter().map(|&(first, last, _)| (first, last)).collect()
        };
        assert_eq!(ends(0, 4), [(0, 1), (2, 3), (4, 4)]);
        assert_eq!(ends(1, 2), [(1, 1), (2, 2)]);
    }
}
