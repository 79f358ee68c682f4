//! Checks that all copies of a slot hold the same, once nobody writes (claim S2).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use redis::{Connection, Value};
use rmr::placement::slot::{SlotFunc, SlotHash};

use crate::common::poll;
use crate::world::{SLOTS, World};

/// Keys that expire while copies are compared, this many milliseconds, may be on one of them alone.
const LONGEST: i64 = 2000;

/// The state of a key at one node: a digest of its value that knows no order where the type has none, and when it expires.
type Held = (String, i64);

/// The time for which copies may differ after the last answer: a write whose client has gone may be under way.
const PATIENCE: Duration = Duration::from_secs(1);

/// Compares the copies of each slot that is in order, and returns how many keys were compared, or how they differ.
pub fn compare(world: &World) -> Result<usize, String> {
    let mut compared = compare_now(world);
    let _ = poll(PATIENCE, || {
        if compared.is_err() {
            compared = compare_now(world);
        }
        compared.is_ok().then_some(())
    });
    compared
}

fn compare_now(world: &World) -> Result<usize, String> {
    let func = SlotFunc::new(SlotHash::Sha1, SLOTS).expect("a number of slots");
    let table = Table::read(world);
    let over = now() + LONGEST;
    let mut held: BTreeMap<&str, BTreeMap<String, Held>> = BTreeMap::new();
    for node in world.nodes.iter().filter(|node| node.server.running()) {
        held.insert(table.known(&node.relay.address()), contents(&mut node.server.connection()));
    }
    let after = Table::read(world);
    let mut compared = 0;
    // Of a slot that has moved meanwhile a node may have forgotten the keys.
    for (slot, entry) in table.slots.iter().filter(|(slot, entry)| after.slots.get(slot) == Some(entry)) {
        let copies = &entry.copies;
        let of_slot = |node: &String| {
            let held = held.get(node.as_str()).ok_or_else(|| format!("{node}, a copy of slot {slot}, does not run"))?;
            Ok(held.iter().filter(|(key, _)| func.slot(key.as_bytes()) == *slot).collect::<BTreeMap<_, _>>())
        };
        let all: Vec<BTreeMap<&String, &Held>> = copies.iter().map(of_slot).collect::<Result<_, String>>()?;
        for (copy, node) in all.iter().zip(copies).skip(1) {
            let keys: BTreeSet<_> = all[0].keys().chain(copy.keys()).collect();
            let unequal =
                keys.into_iter().find(|key| !are_equal(all[0].get(*key).copied(), copy.get(*key).copied(), over));
            if let Some(key) = unequal {
                let (first, other) = (all[0].get(key), copy.get(key));
                return Err(format!("slot {slot}: {key} is {first:?} on {} and {other:?} on {node}", copies[0]));
            }
            compared += copy.len();
        }
    }
    Ok(compared)
}

/// Compares what two copies hold of a key, of which nobody knows if it expires before `over`.
fn are_equal(first: Option<&Held>, other: Option<&Held>, over: i64) -> bool {
    match (first, other) {
        (Some(first), Some(other)) => first == other,
        (Some((_, expires)), None) | (None, Some((_, expires))) => (0..over).contains(expires),
        (None, None) => true,
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).expect("a time in milliseconds")
}

/// The slots that are in order, with their copies.
struct Table {
    slots: BTreeMap<u16, Slot>,
    addresses: BTreeSet<String>,
}

/// A slot: the nodes that have a copy, and what is written down of it, the epoch of its last change first.
#[derive(PartialEq)]
struct Slot {
    copies: Vec<String>,
    entry: String,
}

impl Table {
    fn read(world: &World) -> Self {
        let mut asked = redis::pipe();
        asked.atomic().cmd("HGETALL").arg("slots");
        for slot in 0..SLOTS {
            asked.cmd("LRANGE").arg(format!("hashingslot:{slot}")).arg(0).arg(-1);
        }
        let mut told: Vec<Value> = asked.query(&mut world.config.connection()).expect("what is known of slots");
        let lists = told.split_off(1).into_iter().map(|list| redis::from_redis_value(list).expect("a list of nodes"));
        let mut lists: Vec<Vec<String>> = lists.collect();
        let entries: BTreeMap<u16, String> = redis::from_redis_value(told.remove(0)).expect("the entries of slots");
        let is_in_order = |entry: &String| entry.split(' ').nth(2) == Some("ok");
        let slots = entries.into_iter().filter(|(_, entry)| is_in_order(entry)).map(|(slot, entry)| {
            let copies = std::mem::take(&mut lists[usize::from(slot)]);
            (slot, Slot { copies, entry })
        });
        let addresses = world.nodes.iter().map(|node| node.relay.address()).collect();
        Self { slots: slots.collect(), addresses }
    }

    fn known(&self, address: &str) -> &str {
        self.addresses.get(address).expect("a node of this world")
    }
}

fn contents(node: &mut Connection) -> BTreeMap<String, Held> {
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(node).expect("the keys of a node");
    let held = |key: String| {
        let both = redis::pipe().cmd("DEBUG").arg(&["DIGEST-VALUE", &key]).cmd("PEXPIRETIME").arg(&key).query(node);
        let (digest, expires): (Vec<String>, i64) = both.expect("what a node holds of a key");
        // Keys that have expired meanwhile are not there.
        (expires != -2).then(|| (key, (digest.concat(), expires)))
    };
    keys.into_iter().filter_map(held).collect()
}
