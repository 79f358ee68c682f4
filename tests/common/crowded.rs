//! Slots with many keys each, which move from node to node key by key, so that they are half moved for a while.

use std::collections::BTreeSet;

use super::cluster::Cluster;
use super::slot::slot_of;

/// The number of keys that share a slot.
const KEYS_A_SLOT: usize = 8;

impl Cluster {
    /// Returns keys of `slots` slots, which primary `shard` owns at the start.
    pub fn crowded_slots(&self, shard: usize, slots: usize) -> Vec<Vec<String>> {
        let mut seen = BTreeSet::new();
        let tags = self.keys_for(shard, "tag").filter(|tag| seen.insert(slot_of(tag)));
        tags.take(slots).map(|tag| (0..KEYS_A_SLOT).map(|number| format!("{{{tag}}}:{number}")).collect()).collect()
    }

    /// Moves one key of an open slot; does nothing if it is not there.
    pub fn migrate_key(&self, key: &str, from: usize, to: usize) {
        let port = self.node(to).port().to_string();
        self.node(from).run::<()>(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
    }

    /// Moves a slot to another node key by key, so that there is time to ask in between.
    pub fn move_slot_slowly(&self, keys: &[String], from: usize, to: usize) {
        let slot = slot_of(&keys[0]);
        self.begin_move(slot, from, to);
        keys.iter().for_each(|key| self.migrate_key(key, from, to));
        self.finish_move(slot, from, to);
    }

    /// Moves slots of shard 0 to the others, back and on, until it is over. They end anywhere; gives the number of moves.
    pub fn churn(&self, slots: &[Vec<String>], mut is_over: impl FnMut() -> bool) -> usize {
        let mut moves = 0;
        let mut ways = [(0, 1), (1, 0), (0, 2), (2, 1), (1, 0)].into_iter().cycle();
        while !is_over() {
            let (from, to) = ways.next().expect("an endless way");
            for keys in slots {
                self.move_slot_slowly(keys, from, to);
                moves += 1;
            }
        }
        moves
    }
}
