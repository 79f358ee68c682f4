//! Answers over all shards while a slot is half moved: each key counts once, or it is said which slot is in the way.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::common::{Cluster, Server, eventually, slot_of, text_of};

/// Slots all over, and one slot with several keys that belongs to the first node.
fn filled(cluster: &Cluster) -> (Vec<String>, usize) {
    let crowded = cluster.crowded_slots(0, 1).remove(0);
    let all: Vec<String> = (0..100).map(|number| format!("k:{number}")).chain(crowded.iter().cloned()).collect();
    cluster.fill(all.len(), |index| (all[index].clone(), "x"));
    (crowded, all.len())
}

fn names(node: &Server, line: &str) -> (usize, usize) {
    let listed: Vec<String> = node.run(&line.split(' ').collect::<Vec<_>>());
    (listed.len(), listed.iter().collect::<BTreeSet<_>>().len())
}

#[test]
fn a_half_moved_slot_counts_once_whoever_is_asked() {
    for pushdown in ["off", "on"] {
        let cluster = Cluster::builder().module_args(["pushdown", pushdown]).start();
        let (crowded, total) = filled(&cluster);
        let is_right = |when: &str| {
            for node in cluster.nodes() {
                let asked = format!("{when}, pushdown {pushdown}, asked {}", node.address());
                assert_eq!(node.reply("RMR.FANOUT REDUCE SUM DBSIZE"), total.to_string(), "{asked}");
                assert_eq!(node.reply("RMR.EXEC DBSIZE"), total.to_string(), "{asked}");
                assert_eq!(names(node, "RMR.EXEC KEYS *"), (total, total), "{asked}");
                assert_eq!(names(node, "RMR.EXEC KEYS {*"), (crowded.len(), crowded.len()), "{asked}");
                assert!(node.run::<Option<String>>(&["RMR.EXEC", "RANDOMKEY"]).is_some(), "{asked}");
            }
        };
        cluster.begin_move(slot_of(&crowded[0]), 0, 1);
        is_right("none has moved");
        for (moved, key) in crowded.iter().enumerate() {
            cluster.migrate_key(key, 0, 1);
            if moved % 3 == 1 {
                is_right(&format!("{moved} have moved"));
            }
        }
        is_right("all have moved");
        cluster.finish_move(slot_of(&crowded[0]), 0, 1);
        is_right("the slot has moved");
        assert_eq!(cluster.node(0).rmr_figure("slots_unsettled"), 0);
        assert!(cluster.node(0).rmr_figure("slot_repairs") > 0);
    }
}

#[test]
fn keys_that_have_expired_in_a_half_moved_slot_are_not_shown() {
    let cluster = Cluster::start(3);
    let (crowded, total) = filled(&cluster);
    cluster.begin_move(slot_of(&crowded[0]), 0, 1);
    cluster.migrate_key(&crowded[0], 0, 1);
    for node in [0, 1] {
        // Nobody but who looks at a key removes it.
        cluster.node(node).run::<()>(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    }
    cluster.node(0).run::<()>(&["PEXPIRE", &crowded[1], "1"]);
    eventually(Duration::from_secs(5), "the key expires", || {
        names(cluster.node(2), "RMR.EXEC KEYS *") == (total - 1, total - 1)
    });
}

#[test]
fn what_cannot_do_without_the_keys_that_move_is_an_error_that_names_the_slot() {
    let cluster = Cluster::start(3);
    let (crowded, total) = filled(&cluster);
    let slot = slot_of(&crowded[0]);
    let count = "EVAL_RO return(redis.call('dbsize')) 0";
    let node = cluster.node(2);
    assert_eq!(node.reply(&format!("RMR.FANOUT REDUCE SUM {count}")), total.to_string());
    cluster.begin_move(slot, 0, 1);
    cluster.migrate_key(&crowded[0], 0, 1);
    let [from, to] = [0, 1].map(|number| cluster.node(number).shown_name());
    let moves = format!("RMRSLOTS slot {slot} moves from {from} to {to}");
    let error = node.reply(&format!("RMR.FANOUT REDUCE SUM {count}"));
    assert_eq!(error, format!("-{moves}; INCONSISTENT gives the answer as it is"));
    assert_eq!(node.reply(&format!("RMR.FANOUT INCONSISTENT REDUCE SUM {count}")), total.to_string());

    // Beside failures it is said which slots may be wrong.
    let beside = node.reply(&format!("RMR.FANOUT PARTIAL INCONSISTENT REDUCE COUNT {count}"));
    assert!(beside.starts_with("[3, [") && beside.contains(&format!("slots {slot}")), "{beside}");
    let beside = node.reply(&format!("RMR.FANOUT PARTIAL REDUCE COUNT {count}"));
    assert!(beside.starts_with("[1, [") && beside.contains(&moves), "{beside}");

    // The setting turns it round.
    node.run::<()>(&["CONFIG", "SET", "rmr.consistent", "no"]);
    assert_eq!(node.reply(&format!("RMR.FANOUT REDUCE SUM {count}")), total.to_string());
    node.run::<()>(&["CONFIG", "SET", "rmr.consistent", "yes"]);
    assert!(node.rmr_figure("inconsistent") >= 3 && node.rmr_figure("slots_unsettled") >= 2);

    // Reports about nodes, and answers of nodes that are named, have no slots.
    assert!(!node.reply("RMR.EXEC INFO server").starts_with('-'));
    assert!(!node.reply(&format!("RMR.FANOUT ON ALL {count}")).starts_with('-'));

    // A write has run all the same.
    let error = node.reply("RMR.EXEC FLUSHALL");
    let has_run =
        "'FLUSHALL' has run all the same, and keys may have come to a node after it ran there; 3 of 3 parts were done";
    assert!(error.starts_with(&format!("-{moves}; ")) && error.ends_with(has_run), "{error}");
    assert_eq!(node.reply("RMR.EXEC DBSIZE"), "0");
}

#[test]
fn a_user_of_links_that_may_not_ask_for_slots_is_told_so() {
    let cluster = Cluster::builder().module_args(["user", "link", "password", "secret"]).start();
    for node in cluster.nodes() {
        node.run::<()>(&["ACL", "SETUSER", "link", "on", ">secret", "~*", "&*", "+@all", "-cluster|nodes"]);
    }
    let error = text_of(&cluster.node(0).wire().call(&["RMR.FANOUT", "DBSIZE"]));
    assert!(error.contains("RMRSLOTS") && error.contains("does not say which slots it has: NOPERM"), "{error}");
    assert_eq!(cluster.node(0).reply("RMR.FANOUT INCONSISTENT REDUCE SUM DBSIZE"), "0");
}
