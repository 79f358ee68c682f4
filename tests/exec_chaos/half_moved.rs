//! Commands of several keys of one slot, of which some have moved and some have not: what can be cut is, the rest waits.

use std::time::{Duration, Instant};

use crate::common::{Cluster, Server, in_time, slot_of, text_of};

/// Far below the deadline that the requests have.
const FAST: Duration = Duration::from_secs(1);

/// The time that a request may take beyond its own.
const GRACE: Duration = Duration::from_millis(400);

/// A slot of three nodes' first that goes to the second, with as many keys there as a test likes.
struct Scene {
    cluster: Cluster,
    keys: Vec<String>,
}

impl Scene {
    fn new() -> Self {
        let cluster = Cluster::start(3);
        let keys = cluster.crowded_slots(0, 1).remove(0);
        cluster.fill(keys.len(), |index| (keys[index].clone(), index.to_string()));
        cluster.begin_move(slot_of(&keys[0]), 0, 1);
        Self { cluster, keys }
    }

    fn move_one(&self, at: usize) {
        self.cluster.migrate_key(&self.keys[at], 0, 1);
    }

    fn line(&self, words: &str) -> String {
        format!("{words} {}", self.keys.join(" "))
    }
}

/// Returns a reply that must not wait for anything.
fn at_once(node: &Server, line: &str) -> String {
    let asked = Instant::now();
    let reply = node.reply(line);
    assert!(asked.elapsed() < FAST, "{line} at {} took {:?}", node.address(), asked.elapsed());
    reply
}

#[test]
fn what_works_key_by_key_is_answered_at_once_by_every_coordinator() {
    let scene = Scene::new();
    let count = scene.keys.len();
    let values: Vec<String> = (0..count).map(|at| format!("\"{at}\"")).collect();
    for moved in 0..=count {
        for node in scene.cluster.nodes() {
            let what = format!("{moved} moved, asked {}", node.address());
            assert_eq!(at_once(node, &scene.line("RMR.EXEC MGET")), format!("[{}]", values.join(", ")), "{what}");
            // Twice the same key, and one that nobody has.
            let line = format!("RMR.EXEC MGET {0} {1} {1} {0}:none", scene.keys[0], scene.keys[count - 1]);
            assert_eq!(at_once(node, &line), format!("[\"0\", \"{0}\", \"{0}\", nil]", count - 1), "{what}");
            assert_eq!(at_once(node, &scene.line("RMR.EXEC EXISTS")), count.to_string(), "{what}");
            assert_eq!(at_once(node, &scene.line("RMR.EXEC TOUCH nobody")), count.to_string(), "{what}");
            let twice = format!("RMR.EXEC EXISTS {0} {1} {0}", scene.keys[0], scene.keys[count - 1]);
            assert_eq!(at_once(node, &twice), "3", "{what}");
        }
        if moved < count {
            scene.move_one(moved);
        }
    }
}

#[test]
fn deleting_counts_each_key_once() {
    let scene = Scene::new();
    (0..4).for_each(|at| scene.move_one(at));
    let mut left = scene.keys.len();
    for (node, delete) in scene.cluster.nodes().iter().zip(["DEL", "UNLINK", "DEL"]) {
        // One that is still here, one that has moved, one that nobody has.
        let line = format!("RMR.EXEC {delete} {} {} {1}:none", scene.keys[left - 1], scene.keys[8 - left]);
        assert_eq!(at_once(node, &line), "2", "{line}");
        left -= 1;
    }
    assert_eq!(at_once(scene.cluster.node(0), &scene.line("RMR.EXEC EXISTS")), "2");
    assert_eq!(at_once(scene.cluster.node(2), &scene.line("RMR.EXEC DEL")), "2");
}

#[test]
fn several_half_moved_slots_and_whole_ones_make_one_answer() {
    let cluster = Cluster::start(3);
    let slots = cluster.crowded_slots(0, 2);
    let mut keys: Vec<String> = slots.concat();
    keys.extend((0..20).map(|number| format!("still:{number}")));
    cluster.fill(keys.len(), |index| (keys[index].clone(), keys[index].clone()));
    for (slot, to) in slots.iter().zip([1, 2]) {
        cluster.begin_move(slot_of(&slot[0]), 0, to);
        slot.iter().step_by(2).for_each(|key| cluster.migrate_key(key, 0, to));
    }
    // From the last to the first, so that no order but that of the caller will do.
    keys.reverse();
    let values: Vec<String> = keys.iter().map(|key| format!("\"{key}\"")).collect();
    let values = values.join(", ");
    let all = keys.join(" ");
    for node in cluster.nodes() {
        assert_eq!(at_once(node, &format!("RMR.EXEC MGET {all}")), format!("[{values}]"));
        let partial = at_once(node, &format!("RMR.EXEC PARTIAL MGET {all}"));
        assert_eq!(partial, format!("[{values}]"), "nothing is missing");
        assert_eq!(at_once(node, &format!("RMR.EXEC EXISTS {all}")), keys.len().to_string());
    }
    let by_node = cluster.node(1).reply3(&format!("RMR.EXEC WITHNODES EXISTS {all}"));
    let counts = by_node.matches("\": ").count();
    assert_eq!(counts, 3, "each node once: {by_node}");
    assert_eq!(at_once(cluster.node(2), &format!("RMR.EXEC DEL {all}")), keys.len().to_string());
}

#[test]
fn with_nonatomic_a_write_is_cut_too() {
    let scene = Scene::new();
    (0..4).for_each(|at| scene.move_one(at));
    for (round, node) in scene.cluster.nodes().iter().enumerate() {
        let pairs: Vec<String> = scene.keys.iter().map(|key| format!("{key} new{round}")).collect();
        assert_eq!(at_once(node, &format!("RMR.EXEC NONATOMIC MSET {}", pairs.join(" "))), "+OK");
        let values = vec![format!("\"new{round}\""); scene.keys.len()].join(", ");
        assert_eq!(at_once(node, &scene.line("RMR.EXEC MGET")), format!("[{values}]"));
    }
}

/// Commands that need all their keys in one place.
fn whole(keys: &[String]) -> Vec<String> {
    let (first, last) = (&keys[0], &keys[keys.len() - 1]);
    vec![
        format!("MSET {first} 0 {last} 7"),
        format!("SINTER {first}:set {last}:set {first} {last}"),
        format!("RENAME {first} {last}"),
        format!("MSETNX {first} 0 {last} 7"),
    ]
}

#[test]
fn what_needs_all_keys_in_one_place_waits_for_its_time_and_says_why_it_failed() {
    let scene = Scene::new();
    (0..4).for_each(|at| scene.move_one(at));
    let timeout = Duration::from_millis(250);
    let mut refused = 0;
    for (line, node) in whole(&scene.keys).iter().zip(scene.cluster.nodes().iter().cycle()) {
        let asked = Instant::now();
        let reply = in_time(timeout + GRACE, || node.reply(&format!("RMR.EXEC TIMEOUT 250 {line}")));
        let took = asked.elapsed();
        refused += usize::from(reply.starts_with("-TRYAGAIN Multiple keys request"));
        // Unless the last try was under way when time was up.
        assert!(reply.starts_with("-TRYAGAIN ") || reply.starts_with("-RMRTIMEOUT 250 ms"), "{line}: {reply}");
        // A pause before one more try is not begun when it would end too late.
        assert!(took > timeout - Duration::from_millis(170), "{line}: {took:?}");
    }
    assert!(refused > 1, "{refused} times");
    let values: Vec<String> = (0..scene.keys.len()).map(|at| format!("\"{at}\"")).collect();
    assert_eq!(scene.cluster.node(0).reply(&scene.line("RMR.EXEC MGET")), format!("[{}]", values.join(", ")));
}

#[test]
fn what_needs_all_keys_in_one_place_works_when_the_move_ends_in_time() {
    for asked in 0..3 {
        let scene = Scene::new();
        (0..4).for_each(|at| scene.move_one(at));
        let mut wire = scene.cluster.node(asked).wire();
        let retries = || scene.cluster.node(asked).rmr_figure("retries_other");
        let before = retries();
        let (first, last) = (&scene.keys[0], &scene.keys[7]);
        wire.send(&["RMR.EXEC", "TIMEOUT", "10000", "MSET", first, "a", last, "b"]);
        crate::common::eventually(FAST, "it is refused at first", || retries() > before + 1);
        scene.cluster.migrate_keys(slot_of(first), 0, 1);
        scene.cluster.finish_move(slot_of(first), 0, 1);
        let ended = Instant::now();
        assert_eq!(text_of(&wire.read_frame()), "+OK");
        assert!(ended.elapsed() < FAST, "{:?} after the move", ended.elapsed());
        assert_eq!(scene.cluster.node(1).reply(&format!("MGET {first} {last}")), "[\"a\", \"b\"]");
    }
}
