//! Maps over a pattern that spare the primaries.

use std::time::Duration;

use crate::common::{Cluster, Server, eventually, slot_of};

const KEYS: usize = 500;

/// Returns three shards with a replica each, which has all keys.
fn filled() -> Cluster {
    let cluster = Cluster::builder().replicas(1).start();
    cluster.fill(KEYS, |number| (format!("k:{number}"), "2"));
    let crowded = cluster.crowded_slots(0, 1).remove(0);
    for key in &crowded {
        cluster.set(key, "2");
    }
    have_all(&cluster, KEYS + crowded.len());
    cluster
}

/// Waits until the replicas have as many keys.
fn have_all(cluster: &Cluster, keys: usize) {
    let keys_of = |node: &Server| node.run::<usize>(&["DBSIZE"]);
    eventually(Duration::from_secs(10), "the replicas have all keys", || {
        cluster.replicas().iter().map(keys_of).sum::<usize>() == keys
    });
}

fn calls(nodes: &[Server], command: &str) -> u64 {
    nodes.iter().map(|node| node.calls_of(command)).sum()
}

#[test]
fn replicas_are_read_and_primaries_are_not() {
    let cluster = filled();
    let total = cluster.primaries().iter().map(|node| node.run::<usize>(&["DBSIZE"])).sum::<usize>();
    for node in [cluster.node(0), &cluster.replicas()[0]] {
        let asked = node.address();
        assert_eq!(node.reply("RMR.MAP ON REPLICAS COUNT MATCH *"), total.to_string(), "{asked}");
        assert_eq!(node.reply("RMR.MAP ON REPLICAS COUNT MATCH * TYPE hash"), "0", "{asked}");
        assert_eq!(node.reply("RMR.MAP ON REPLICAS SUM MATCH * GET"), (2 * total).to_string(), "{asked}");
        assert_eq!(node.reply("RMR.MAP ON REPLICAS COUNT MATCH k:* LIMIT 7"), "7", "{asked}");
    }
    assert_eq!(calls(cluster.primaries(), "get"), 0);
    assert_eq!(calls(cluster.replicas(), "get"), 2 * total as u64);
    assert_eq!(calls(cluster.primaries(), "cluster|getkeysinslot"), 0);
}

#[test]
fn slots_that_move_are_read_at_primaries() {
    let cluster = filled();
    let total = cluster.primaries().iter().map(|node| node.run::<usize>(&["DBSIZE"])).sum::<usize>();
    let crowded = cluster.crowded_slots(0, 1).remove(0);
    let slot = slot_of(&crowded[0]);
    let is_right = |when: &str| {
        for node in cluster.nodes() {
            let asked = format!("{when}, asked {}", node.address());
            assert_eq!(node.reply("RMR.MAP ON REPLICAS COUNT MATCH *"), total.to_string(), "{asked}");
            assert_eq!(node.reply("RMR.MAP ON REPLICAS SUM MATCH * GET"), (2 * total).to_string(), "{asked}");
        }
    };
    cluster.begin_move(slot, 0, 1);
    cluster.migrate_key(&crowded[0], 0, 1);
    is_right("one key has moved");
    crowded[1..].iter().for_each(|key| cluster.migrate_key(key, 0, 1));
    cluster.finish_move(slot, 0, 1);
    have_all(&cluster, total);
    is_right("the slot has moved");
}

#[test]
fn what_replicas_cannot_do_is_refused() {
    let cluster = filled();
    let refused = cluster.node(0).reply("RMR.MAP ON REPLICAS SUM MATCH k:* INCR");
    assert_eq!(refused, "-ERR replicas are only read, and the command may write; leave ON REPLICAS away");
    assert_eq!(cluster.node(0).reply("RMR.MAP SUM MATCH k:* GET"), (2 * KEYS).to_string());
    let alone = Cluster::start(3);
    let refused = alone.node(0).reply("RMR.MAP ON REPLICAS COUNT MATCH *");
    assert_eq!(refused, "-ERR no shard has a replica that is known; leave ON REPLICAS away");
}

#[test]
fn a_replica_is_explained() {
    let cluster = filled();
    let explained = cluster.node(0).reply3("RMR.EXPLAIN RMR.MAP ON REPLICAS COUNT MATCH *");
    assert_eq!(explained.matches("plain commands, to a replica of that node").count(), 3, "{explained}");
}
