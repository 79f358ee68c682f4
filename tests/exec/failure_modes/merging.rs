//! Answers that are put together wrongly, while slots move and while nothing moves.

use std::collections::BTreeSet;

use crate::common::{Cluster, while_repeating};

#[test]
fn f09_slots_on_their_way_hide_and_double_nothing() {
    let cluster = Cluster::start(3);
    let slots = cluster.crowded_slots(0, 2);
    let keys: Vec<String> = slots.iter().flatten().cloned().collect();
    keys.iter().for_each(|key| cluster.set(key, "1"));
    let count = keys.len();
    let look = |node: &crate::common::Server| {
        let mut wire = node.wire();
        let exists: Vec<String> =
            ["RMR.EXEC", "EXISTS"].into_iter().map(str::to_owned).chain(keys.iter().cloned()).collect();
        let mget: Vec<String> =
            ["RMR.EXEC", "MGET"].into_iter().map(str::to_owned).chain(keys.iter().cloned()).collect();
        let ones = format!("*{count}{}", " $1 1".repeat(count));
        move || {
            assert_eq!(wire.ask(&exists), format!(":{count}"));
            assert_eq!(wire.ask(&mget), ones);
        }
    };
    let mut rounds = 0;
    let moves = while_repeating(cluster.nodes(), look, || {
        cluster.churn(&slots, || {
            rounds += 1;
            rounds > 10
        })
    });
    assert!(moves >= 20, "{moves}");
}

#[test]
fn f20_cursors_arity_and_order_are_those_of_one_server() {
    let cluster = Cluster::start(3);
    cluster.fill(100, |number| (format!("key:{number}"), number.to_string()));
    let mut seen = BTreeSet::new();
    let mut cursor = "0".to_owned();
    for node in cluster.nodes().iter().cycle() {
        let (next, keys): (String, Vec<String>) = node.run(&["RMR.EXEC", "SCAN", &cursor, "COUNT", "9"]);
        for key in keys {
            assert!(seen.insert(key.clone()), "{key} came twice");
        }
        cursor = next;
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(seen.len(), 100);
    for line in ["MGET", "DEL", "SET a", "DBSIZE x", "SCAN", "KEYS", "CONFIG SET", "RANDOMKEY x"] {
        let expected = cluster.node(1).reply(line);
        assert!(expected.starts_with("-ERR wrong number of arguments"), "{line}: {expected}");
        assert_eq!(cluster.node(1).reply(&format!("RMR.EXEC {line}")), expected);
    }
    let values: Vec<String> = (0..100).rev().map(|number| format!("\"{number}\"")).collect();
    let keys: Vec<String> = (0..100).rev().map(|number| format!("key:{number}")).collect();
    assert_eq!(cluster.node(2).reply(&format!("RMR.EXEC MGET {}", keys.join(" "))), format!("[{}]", values.join(", ")));
    for (name, options) in [("MSETNX", ""), ("MSETNX", "NONATOMIC ")] {
        let reply = cluster.node(0).reply(&format!("RMR.EXEC {options}{name} key:1 x key:2 x"));
        assert!(reply.starts_with("-CROSSSLOT ") && reply.contains("MSETNX works on all its keys at once"), "{reply}");
    }
}
