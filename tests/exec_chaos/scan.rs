//! `RMR.SCAN` shows every key that is there throughout, wherever it is at the time.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::common::{Cluster, Server, eventually, slot_of, while_repeating};
use crate::cursor::{missed, pass};

/// Starts a cluster whose coordinators look at the topology again only for what they notice by themselves.
fn without_polling() -> Cluster {
    Cluster::builder().module_args(["topology-refresh-ms", "3600000"]).start()
}

fn fill(cluster: &Cluster, keys: &[String]) {
    cluster.fill(keys.len(), |index| (keys[index].clone(), "x"));
}

/// Returns the keys of one slot that a node does not show. The cursor is a slot, so that this reads no other.
#[track_caller]
fn missed_in_slot<'k>(node: &Server, keys: &'k [String]) -> Vec<&'k String> {
    let reply = node.reply(&format!("RMR.SCAN {} COUNT 1", slot_of(&keys[0])));
    assert!(reply.starts_with("[\""), "asked {}: {reply}", node.address());
    keys.iter().filter(|key| !reply.contains(*key)).collect()
}

#[test]
fn a_half_moved_slot_is_read_in_both_places_by_every_coordinator() {
    let cluster = Cluster::start(3);
    let keys = cluster.crowded_slots(0, 1).remove(0);
    fill(&cluster, &keys);
    cluster.begin_move(slot_of(&keys[0]), 0, 1);
    for (moved, key) in keys.iter().enumerate() {
        for node in cluster.nodes() {
            assert_eq!(missed_in_slot(node, &keys), [""; 0], "{moved} moved, asked {}", node.address());
        }
        if moved == 4 {
            assert_eq!(missed(cluster.nodes(), "", &keys), [""; 0], "a whole pass");
            assert_eq!(missed(cluster.nodes(), "COUNT 1000 TYPE string", &keys), [""; 0], "with a type");
        }
        cluster.migrate_key(key, 0, 1);
    }
    assert_eq!(missed(cluster.nodes(), "COUNT 1000", &keys), [""; 0], "all have moved");
    cluster.finish_move(slot_of(&keys[0]), 0, 1);
    assert_eq!(missed(cluster.nodes(), "COUNT 1000", &keys), [""; 0], "the slot has moved");
}

#[test]
fn a_slot_that_moves_on_from_where_a_coordinator_does_not_know_it_to_be_is_read_in_both_places() {
    let cluster = without_polling();
    let keys = cluster.crowded_slots(0, 1).remove(0);
    let slot = slot_of(&keys[0]);
    fill(&cluster, &keys);
    // All know now that the slot is with the first node.
    cluster.nodes().iter().for_each(|node| assert_eq!(missed_in_slot(node, &keys), [""; 0]));

    cluster.move_slot(slot, 0, 1);
    cluster.begin_move(slot, 1, 2);
    keys[..3].iter().for_each(|key| cluster.migrate_key(key, 1, 2));
    for node in cluster.nodes() {
        assert_eq!(missed_in_slot(node, &keys), [""; 0], "asked {}", node.address());
    }
}

#[test]
fn keys_that_are_taken_back_from_an_open_slot_are_seen() {
    let cluster = Cluster::start(3);
    let keys = cluster.crowded_slots(0, 1).remove(0);
    let slot = slot_of(&keys[0]);
    fill(&cluster, &keys);
    let other = cluster.node(1).run::<String>(&["CLUSTER", "MYID"]);
    let set = |words: &[&str]| {
        cluster.node(0).run::<()>(&[&["CLUSTER", "SETSLOT", &slot.to_string()], words].concat());
    };
    cluster.begin_move(slot, 0, 1);
    for moved in 1..keys.len() {
        keys[..moved].iter().for_each(|key| cluster.migrate_key(key, 0, 1));
        cluster.nodes().iter().for_each(|node| assert_eq!(missed_in_slot(node, &keys), [""; 0], "{moved} keys away"));
        // The owner takes keys back only while it does not move the slot.
        set(&["STABLE"]);
        keys[..moved].iter().for_each(|key| cluster.migrate_key(key, 1, 0));
        cluster.nodes().iter().for_each(|node| assert_eq!(missed_in_slot(node, &keys), [""; 0], "{moved} keys back"));
        set(&["MIGRATING", &other]);
        cluster.nodes().iter().for_each(|node| assert_eq!(missed_in_slot(node, &keys), [""; 0], "open again"));
    }
    cluster.node(1).run::<()>(&["CLUSTER", "SETSLOT", &slot.to_string(), "STABLE"]);
    set(&["STABLE"]);
    cluster.nodes().iter().for_each(|node| assert_eq!(missed_in_slot(node, &keys), [""; 0], "the move is given up"));
}

#[test]
fn keys_of_a_slot_that_goes_to_and_fro_are_seen_by_every_look() {
    let cluster = Cluster::start(3);
    let slots = cluster.crowded_slots(0, 1);
    let keys = &slots[0];
    fill(&cluster, keys);
    let looks = AtomicUsize::new(0);
    let scan = |node: &Server| {
        let mut wire = node.wire();
        let (cursor, looks) = (slot_of(&keys[0]), &looks);
        move || {
            // The cursor is the slot, so that this one is read over and over.
            let reply = wire.reply(&format!("RMR.SCAN {cursor} COUNT 1"));
            let missed: Vec<&String> = keys.iter().filter(|key| !reply.contains(*key)).collect();
            assert!(missed.is_empty(), "{missed:?} missed in {reply}");
            looks.fetch_add(1, Ordering::Relaxed);
        }
    };
    let until = Instant::now() + Duration::from_secs(4);
    let moves = while_repeating(cluster.nodes(), scan, || cluster.churn(&slots, || Instant::now() >= until));
    println!("{moves} moves, {} looks", looks.load(Ordering::Relaxed));
    assert!(moves > 2 && looks.into_inner() > 100, "{moves} moves");
}

#[test]
fn a_slot_that_nobody_serves_is_an_error_and_no_end_of_the_keys() {
    let cluster =
        Cluster::builder().config("cluster-require-full-coverage", "no").module_args(["timeout-ms", "500"]).start();
    let slot = slot_of(cluster.key_for(0, "key"));
    cluster.disown(slot, slot);
    let mut wire = cluster.node(1).wire();
    eventually(Duration::from_secs(2), "the hole is seen", || {
        wire.reply(&format!("RMR.SCAN {slot}")).starts_with("-RMRSLOTS ")
    });
}

#[test]
fn a_pass_over_no_keys_ends() {
    let cluster = Cluster::start(3);
    assert_eq!(pass(cluster.nodes(), ""), [""; 0]);
    assert_eq!(pass(cluster.nodes(), "MATCH a* TYPE list COUNT 3"), [""; 0]);
}

#[test]
fn a_cluster_without_slots_says_so() {
    let node = Server::builder().config("cluster-enabled", "yes").start();
    let reply = node.reply("RMR.SCAN 0");
    // Said by rmr, or by the server itself, which sends waiting clients away when its cluster is down.
    assert!(reply.starts_with("-ERRCLUSTER ") || reply.starts_with("-CLUSTERDOWN "), "{reply}");
}

#[test]
fn each_key_comes_once_while_nothing_moves_whatever_the_options() {
    let cluster = Cluster::start(3);
    let keys: Vec<String> = (0..2000).map(|number| format!("key:{number}")).collect();
    fill(&cluster, &keys);
    cluster.node(cluster.owner_of(slot_of("list"))).run::<()>(&["RPUSH", "list", "x"]);
    let all: BTreeSet<String> = keys.iter().cloned().chain(["list".to_owned()]).collect();
    let once = |options: &str| {
        let found = pass(cluster.nodes(), options);
        let set: BTreeSet<String> = found.iter().cloned().collect();
        assert_eq!(found.len(), set.len(), "a key came twice with '{options}'");
        set
    };
    for options in ["COUNT 100", "COUNT 5000", "COUNT 1000 MATCH *"] {
        assert_eq!(once(options), all, "{options}");
    }
    assert_eq!(once("COUNT 1000 TYPE list"), ["list".to_owned()].into());
    let some = keys.iter().filter(|key| key.starts_with("key:77")).cloned().collect();
    assert_eq!(once("MATCH key:77* TYPE string COUNT 1000"), some);
}

#[test]
fn a_slot_of_many_keys_is_shown_whole_and_keeps_nobody_waiting() {
    const COUNT: usize = 20_000;
    let cluster = Cluster::start(3);
    let tag = cluster.key_for(0, "tag");
    cluster.fill(COUNT, |number| (format!("{{{tag}}}:{number}"), "x"));
    let ping = |node: &Server| {
        let mut wire = node.wire();
        move || {
            let asked = Instant::now();
            assert_eq!(wire.reply("PING"), "+PONG");
            // Listing the keys of a slot is one command of the server's own, which takes some 10 ms here.
            assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        }
    };
    while_repeating(cluster.nodes(), ping, || {
        for node in cluster.nodes() {
            let found: BTreeSet<String> = pass([node], "").into_iter().collect();
            assert_eq!(found.len(), COUNT, "asked {}", node.address());
        }
    });
}
