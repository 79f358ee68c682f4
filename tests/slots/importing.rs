//! Keys that are being imported are in the target's memory, and not yet in the cluster: nobody is shown any, and none
//! counts. The move is held just before its end, and everything that reads is asked, by every node.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::atomic;
use crate::common::{Cluster, Server, elements, eventually, show, slot_of};

/// The number of keys, of which each slot has a few.
const COUNT: usize = 4000;

/// The slots that move, from the first node to the second.
const MOVING: RangeInclusive<u16> = 100..=299;

/// The longest that a move may take.
const LIMIT: Duration = Duration::from_secs(20);

/// A cluster whose slots can change hands in one moment, with its keys.
fn filled() -> Option<(Cluster, BTreeSet<String>)> {
    let cluster = Cluster::builder().module_args(["timeout-ms", "5000"]).start();
    if !atomic::is_possible(cluster.node(0)) {
        return None;
    }
    let keys: BTreeSet<String> = (0..COUNT).map(|number| format!("n:{number}")).collect();
    cluster.fill(COUNT, |number| (format!("n:{number}"), number.to_string()));
    Some((cluster, keys))
}

fn is_moving(key: &str) -> bool {
    MOVING.contains(&slot_of(key))
}

/// Returns the number of keys of the moving slots that a node has in its memory, shown or not.
fn held_by(node: &Server) -> usize {
    let mut count = redis::pipe();
    MOVING.for_each(|slot| {
        count.cmd("CLUSTER").arg("COUNTKEYSINSLOT").arg(slot);
    });
    let counts: Vec<usize> = count.query(&mut node.connection()).expect("the keys of slots");
    counts.iter().sum()
}

/// Imports all keys of the moving slots, and does not let the move end.
fn import(cluster: &Cluster, keys: &BTreeSet<String>) {
    atomic::hold(cluster, true);
    atomic::begin(cluster, &MOVING, 0, 1);
    let moving = keys.iter().filter(|key| is_moving(key)).count();
    assert!(moving > 20, "only {moving} keys move");
    eventually(LIMIT, "the target has the keys", || held_by(cluster.node(1)) == moving);
    assert_eq!(held_by(cluster.node(0)), moving, "the source has them, too");
}

/// The names in an array, each of which must stand there once.
fn names(frame: &[u8]) -> BTreeSet<String> {
    let listed: Vec<String> = elements(frame).into_iter().map(|name| show(name).replace('"', "")).collect();
    let names: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(names.len(), listed.len(), "a name came twice");
    names
}

/// The keys of the moving slots that `RMR.SCAN` shows, each of which must come once. The cursor is a slot.
fn scanned(node: &Server) -> BTreeSet<String> {
    let (mut wire, mut cursor, mut seen) = (node.wire(), *MOVING.start(), BTreeSet::new());
    while MOVING.contains(&cursor) {
        let page = wire.call(&["RMR.SCAN", &cursor.to_string(), "COUNT", "100"]);
        let [next, keys] = elements(&page)[..] else { panic!("{}", show(&page)) };
        for key in names(keys).into_iter().filter(|key| is_moving(key)) {
            assert!(seen.insert(key.clone()), "{key} came twice");
        }
        cursor = show(next).replace('"', "").parse().expect("a slot");
    }
    seen
}

/// Asks one node for all that there is, and for what only its owner may show.
fn check(cluster: &Cluster, keys: &BTreeSet<String>, coordinator: &Server, owner: usize) {
    let when = format!("asked {}", coordinator.address());
    let all = COUNT.to_string();
    let mut wire = coordinator.wire();
    assert_eq!(wire.reply("RMR.FANOUT REDUCE SUM DBSIZE"), all, "{when}");
    assert_eq!(wire.reply("RMR.EXEC DBSIZE"), all, "{when}");
    assert_eq!(wire.reply_to(&["RMR.FANOUT", "REDUCE", "SUM", "EVAL_RO", "return redis.call('dbsize')", "0"]), all);
    assert_eq!(&names(&wire.call(&["RMR.EXEC", "KEYS", "*"])), keys, "{when}");
    assert_eq!(&names(&wire.call(&["RMR.FANOUT", "REDUCE", "CONCAT", "KEYS", "*"])), keys, "{when}");
    assert!(scanned(coordinator).iter().eq(keys.iter().filter(|key| is_moving(key))), "{when}");

    // A key that moves: whoever is asked by name shows it only if it is its own.
    let moving: Vec<&String> = keys.iter().filter(|key| is_moving(key)).take(20).collect();
    let sum: usize = moving.iter().map(|key| key[2..].parse::<usize>().expect("a number")).sum();
    let line = |command: &str| moving.iter().fold(command.to_owned(), |line, key| format!("{line} {key}"));
    assert_eq!(wire.reply(&line("RMR.SUM")), sum.to_string(), "{when}");
    assert_eq!(wire.reply(&line("RMR.EXEC EXISTS")), moving.len().to_string(), "{when}");
    let other = 1 - owner;
    for command in ["GET", "EXISTS", "TYPE", "STRLEN"] {
        let ask = |node: usize| {
            coordinator.reply(&format!("RMR.FANOUT NODE {} {command} {}", cluster.node(node).address(), moving[0]))
        };
        assert!(!ask(owner).starts_with('-'), "{when}: {}", ask(owner));
        let refused = ask(other);
        assert!(refused.contains("MOVED") || refused.contains("non local key"), "{command}, {when}: {refused}");
    }
    let stranger = cluster.node(other).address();
    for _ in 0..50 {
        let drawn = wire.reply(&format!("RMR.FANOUT NODE {stranger} RANDOMKEY"));
        let key = drawn.trim_matches(['[', ']', '"']);
        assert!(keys.contains(key) && !is_moving(key), "{stranger} shows {drawn}, {when}");
        let drawn = wire.reply("RMR.EXEC RANDOMKEY");
        assert!(keys.contains(drawn.trim_matches('"')), "{drawn}, {when}");
    }
    let listed = wire.call(&["RMR.FANOUT", "NODE", &stranger, "KEYS", "*"]);
    assert!(
        !names(elements(&listed)[0]).iter().any(|key| is_moving(key)),
        "{stranger} lists keys that are not its own, {when}"
    );
}

/// Checks with shares reduced at the nodes, and not.
fn check_all(cluster: &Cluster, keys: &BTreeSet<String>, owner: usize) {
    for pushdown in ["off", "on"] {
        for node in cluster.nodes() {
            node.run::<()>(&["CONFIG", "SET", "rmr.pushdown", pushdown]);
        }
        cluster.nodes().iter().for_each(|node| check(cluster, keys, node, owner));
    }
}

#[test]
fn keys_that_are_being_imported_are_shown_and_counted_where_they_come_from() {
    let Some((cluster, keys)) = filled() else { return };
    import(&cluster, &keys);
    check_all(&cluster, &keys, 0);
    atomic::hold(&cluster, false);
    atomic::await_end(&cluster, &MOVING, 1);
    eventually(LIMIT, "the source has none of them any more", || held_by(cluster.node(0)) == 0);
    cluster.settle();
    check_all(&cluster, &keys, 1);
}

#[test]
fn so_are_keys_whose_import_is_given_up() {
    let Some((cluster, keys)) = filled() else { return };
    import(&cluster, &keys);
    cluster.node(0).run::<()>(&["CLUSTER", "CANCELSLOTMIGRATIONS"]);
    eventually(LIMIT, "the target has none of them any more", || held_by(cluster.node(1)) == 0);
    check_all(&cluster, &keys, 0);
}

#[test]
fn strings_are_not_read_in_place_where_keys_may_be_there_before_their_slot() {
    let Some((cluster, _)) = filled() else { return };
    let refusal = cluster.node(0).reply("CONFIG SET rmr.direct-reads on");
    assert!(refusal.contains("keys outlive the move of their slot"), "{refusal}");
}
