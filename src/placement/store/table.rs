//! [`SlotTable`]: who holds which slot, as the configuration node has written it down.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::Error;
use crate::placement::slot::{SlotFunc, SlotHash};
use crate::topology::{Address, KeyPlacement, Topology};

/// What topologies of stores name as their source.
const SOURCE: &str = "placement";

/// What is stored where nobody has stored anything else, name and value by turns.
pub(super) const DEFAULTS: [&str; 10] =
    ["version", "1", "slots", "1024", "copies", "1", "hash", "sha1", "hash-tags", "yes"];

/// Who holds which slot.
#[derive(Debug)]
pub(super) struct SlotTable {
    pub(super) epoch: u64,
    func: SlotFunc,
    /// The nodes that hold slots, in the order of their addresses.
    nodes: Vec<Address>,
    /// The place of each slot's node among them.
    holders: Vec<Option<usize>>,
}

impl SlotTable {
    /// Reads what the configuration node says.
    ///
    /// # Errors
    /// [`Error::Invalid`] for settings that cannot be served, with the reason; [`Error::Topology`] if no slot is given out.
    pub(super) fn read(epoch: u64, settings: &HashMap<String, String>, lists: &[Vec<String>]) -> Result<Self, Error> {
        let func = slot_func(settings)?;
        if lists.iter().all(Vec::is_empty) {
            return Err(Error::Topology(
                "no slots are given out yet: LPUSH newnodes ip:port at the configuration node".into(),
            ));
        }
        let mut names: Vec<&String> = lists.iter().filter_map(|list| list.first()).collect();
        names.sort_unstable();
        names.dedup();
        let nodes = names.iter().map(|name| Address::parse(name)).collect::<Result<_, _>>()?;
        let place = |list: &Vec<String>| names.binary_search(&list.first()?).ok();
        let holders = lists.iter().map(place).collect();
        Ok(Self { epoch, func, nodes, holders })
    }

    /// Makes the picture that an engine works by: one shard for each node.
    pub(super) fn topology(self: Arc<Self>) -> Topology {
        Topology::of_nodes(SOURCE, self.nodes.iter().cloned()).with_key_placement(self.epoch, self)
    }
}

impl KeyPlacement for SlotTable {
    fn shard(&self, key: &[u8]) -> Result<usize, String> {
        let slot = self.func.slot(key);
        let holder = self.holders.get(usize::from(slot)).copied().flatten();
        holder.ok_or_else(|| format!("slot {slot} is at no node: the configuration node has no hashingslot:{slot}"))
    }
}

/// Reads the settings that never change.
pub(super) fn slot_func(settings: &HashMap<String, String>) -> Result<SlotFunc, Error> {
    let setting = |name: &str| {
        let known = DEFAULTS.chunks(2).find(|pair| pair[0] == name).map_or("", |pair| pair[1]);
        settings.get(name).map_or(known, String::as_str)
    };
    let refused = |name: &str, why: &str| {
        Error::Invalid(format!("the setting {name} of the configuration node is '{}': {why}", setting(name)))
    };
    if setting("version") != "1" {
        return Err(refused("version", "this is version 1"));
    }
    if setting("copies") != "1" {
        return Err(refused("copies", "only one copy of each slot is served"));
    }
    let hash = SlotHash::named(setting("hash")).ok_or_else(|| refused("hash", "sha1, crc16 and md5 are known"))?;
    let slots = setting("slots").parse().map_err(|_| refused("slots", "this is no number of slots"))?;
    let tags = match setting("hash-tags") {
        "yes" => true,
        "no" => false,
        _ => return Err(refused("hash-tags", "yes and no are known")),
    };
    Ok(SlotFunc::new(hash, slots)?.hash_tags(tags))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn lists(nodes: &[&str]) -> Vec<Vec<String>> {
        nodes.iter().map(|node| node.split_whitespace().map(str::to_owned).collect()).collect()
    }

    #[test]
    fn a_key_is_at_the_node_of_its_slot() {
        let four = settings(&[("slots", "4")]);
        let table = SlotTable::read(7, &four, &lists(&["b:2", "a:1", "", "b:2"])).unwrap();
        let func = SlotFunc::new(SlotHash::Sha1, 4).unwrap();
        for key in 0..64 {
            let key = format!("key:{key}");
            let expected = [Some(1), Some(0), None, Some(1)][usize::from(func.slot(key.as_bytes()))];
            assert_eq!(table.shard(key.as_bytes()).ok(), expected, "{key}");
        }
        let topology = Arc::new(table).topology();
        assert_eq!(topology.shards()[0].primary.address, Address::new("a", 1));
        let later = Arc::new(SlotTable::read(8, &four, &lists(&["b:2", "b:2", "", "a:1"])).unwrap()).topology();
        assert!(topology.same_as(&topology.clone()) && !topology.same_as(&later));
    }

    #[test]
    fn settings_that_cannot_be_served_are_refused_with_the_reason() {
        for (name, value, why) in [
            ("version", "2", "this is version 1"),
            ("copies", "2", "only one copy"),
            ("hash", "crc32", "sha1, crc16 and md5"),
            ("slots", "many", "no number"),
            ("slots", "16385", "1 to 16384"),
            ("hash-tags", "perhaps", "yes and no"),
        ] {
            let error = SlotTable::read(1, &settings(&[(name, value)]), &lists(&["a:1"])).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let error = SlotTable::read(1, &settings(&[]), &lists(&["", ""])).unwrap_err();
        assert!(error.to_string().contains("LPUSH newnodes"), "{error}");
    }
}
