//! Slots that stand half moved, for as long as an operator takes: what enumerates keys is exact all the same, by every node.
//! A result that a script has made of half of a slot is not, and is an error that names the slots.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::common::{Cluster, Server, elements, show, slot_of};

/// The number of keys besides those of slots on the move.
const COUNT: usize = 1000;

/// The time that commands wait which cannot do without slots on the move, and some time for a busy machine.
const PATIENCE: Duration = Duration::from_secs(3);

/// A cluster with slots that are half moved: two from the first node to the second, and one on to the third.
struct Scene {
    cluster: Cluster,
    keys: BTreeSet<String>,
    /// The slots on the move.
    slots: Vec<u16>,
}

impl Scene {
    fn new() -> Self {
        let cluster = Cluster::builder().module_args(["timeout-ms", "10000"]).start();
        let crowded = cluster.crowded_slots(0, 3);
        let others = (0..COUNT).map(|number| format!("n:{number}"));
        let keys: Vec<String> = crowded.concat().into_iter().chain(others).collect();
        cluster.fill(keys.len(), |index| (keys[index].clone(), "1"));
        for (moving, to) in crowded.iter().zip([1, 1, 2]) {
            cluster.begin_move(slot_of(&moving[0]), 0, to);
            moving.iter().step_by(2).for_each(|key| cluster.migrate_key(key, 0, to));
        }
        let slots = crowded.iter().map(|keys| slot_of(&keys[0])).collect();
        Self { cluster, keys: keys.into_iter().collect(), slots }
    }

    /// Does something with each node as the one that is asked, with shares reduced at the nodes and not.
    fn each_node(&self, mut check: impl FnMut(&Server, &str)) {
        for pushdown in ["off", "on"] {
            self.cluster.nodes().iter().for_each(|node| node.run::<()>(&["CONFIG", "SET", "rmr.pushdown", pushdown]));
            for node in self.cluster.nodes() {
                check(node, &format!("asked {}, pushdown {pushdown}", node.address()));
            }
        }
    }
}

/// Returns the names in an array, each of which must stand there once.
#[track_caller]
fn names(frame: &[u8]) -> BTreeSet<String> {
    let listed: Vec<String> = elements(frame).into_iter().map(|name| show(name).replace('"', "")).collect();
    let names: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(names.len(), listed.len(), "a name came twice");
    names
}

#[test]
fn keys_are_counted_and_listed_once() {
    let scene = Scene::new();
    let all = scene.keys.len();
    scene.each_node(|node, when| {
        let mut wire = node.wire();
        assert_eq!(wire.reply("RMR.EXEC DBSIZE"), all.to_string(), "{when}");
        assert_eq!(wire.reply("RMR.FANOUT REDUCE SUM DBSIZE"), all.to_string(), "{when}");
        let sizes = wire.call(&["RMR.FANOUT", "DBSIZE"]);
        let sizes: Vec<usize> = elements(&sizes).into_iter().map(|size| show(size).parse().expect("a size")).collect();
        assert_eq!((sizes.len(), sizes.iter().sum::<usize>()), (3, all), "{when}");
        assert_eq!(wire.reply("RMR.FANOUT REDUCE COUNT DBSIZE"), "3", "{when}");
        assert_eq!(names(&wire.call(&["RMR.EXEC", "KEYS", "*"])), scene.keys, "{when}");
        assert_eq!(names(&wire.call(&["RMR.FANOUT", "REDUCE", "CONCAT", "KEYS", "*"])), scene.keys, "{when}");
        let some: BTreeSet<String> = scene.keys.iter().filter(|key| key.starts_with("{tag")).cloned().collect();
        assert_eq!(names(&wire.call(&["RMR.EXEC", "KEYS", "{tag*"])), some, "{when}");
        let with_nodes = wire.reply("RMR.EXEC WITHNODES DBSIZE");
        assert!(scene.cluster.nodes().iter().all(|node| with_nodes.contains(&node.address())), "{with_nodes}, {when}");
        for _ in 0..20 {
            let drawn = wire.reply("RMR.EXEC RANDOMKEY");
            assert!(scene.keys.contains(&drawn.replace('"', "")), "{drawn}, {when}");
        }
    });
}

#[test]
fn what_cannot_be_put_right_is_an_error_that_names_the_slots() {
    let scene = Scene::new();
    let script = ["RMR.FANOUT", "REDUCE", "SUM", "EVAL_RO", "return redis.call('dbsize')", "0"];
    let as_it_is = ["RMR.FANOUT", "INCONSISTENT", "REDUCE", "SUM", "EVAL_RO", "return redis.call('dbsize')", "0"];
    let beside =
        ["RMR.FANOUT", "INCONSISTENT", "PARTIAL", "REDUCE", "SUM", "EVAL_RO", "return redis.call('dbsize')", "0"];
    let all = scene.keys.len().to_string();
    scene.each_node(|node, when| {
        let asked = Instant::now();
        let refusal = node.wire().reply_to(&script);
        assert!(refusal.starts_with("-RMRSLOTS "), "{refusal}, {when}");
        for slot in &scene.slots {
            assert!(refusal.contains(&slot.to_string()), "{slot} is not named: {refusal}, {when}");
        }
        assert!(refusal.contains("INCONSISTENT"), "{refusal}, {when}");
        assert!(asked.elapsed() < PATIENCE, "{:?}, {when}", asked.elapsed());
        // Nothing moves just now, so that each key is at one node.
        assert_eq!(node.wire().reply_to(&as_it_is), all, "{when}");
        let shown = node.wire().reply_to(&beside);
        assert!(shown.starts_with(&format!("[{all}, ")), "{shown}, {when}");
        assert!(scene.slots.iter().all(|slot| shown.contains(&slot.to_string())), "{shown}, {when}");
        // Reports about nodes have no slots.
        for report in ["RMR.FANOUT CONFIG GET maxmemory", "RMR.FANOUT ON ALL DBSIZE", "RMR.EXEC SLOWLOG LEN"] {
            let reply = node.reply(report);
            assert!(!reply.starts_with('-'), "{report}: {reply}, {when}");
        }
    });
    scene.cluster.nodes().iter().for_each(|node| node.run::<()>(&["CONFIG", "SET", "rmr.consistent", "no"]));
    scene.each_node(|node, when| assert_eq!(node.wire().reply_to(&script), all, "{when}"));
}

#[test]
fn a_flush_says_that_keys_may_have_come_after_it() {
    let scene = Scene::new();
    for command in ["FLUSHALL", "FLUSHDB"] {
        let refusal = scene.cluster.node(2).reply(&format!("RMR.EXEC {command}"));
        assert!(refusal.starts_with("-RMRSLOTS "), "{refusal}");
        for slot in &scene.slots {
            assert!(refusal.contains(&slot.to_string()), "{slot} is not named: {refusal}");
        }
        assert!(refusal.contains("flush") || refusal.contains("arriv") || refusal.contains("after"), "{refusal}");
    }
    assert_eq!(scene.cluster.node(1).reply("RMR.EXEC DBSIZE"), "0", "it was done all the same");
}
