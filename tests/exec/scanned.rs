//! `RMR.SCAN`: every key once, from node to node, on clusters and on plain servers.

use std::collections::BTreeSet;

use crate::common::{Cluster, Server};

/// Goes through all keys, each step on the next of the nodes; gives the keys and the number of steps.
fn scan_all(nodes: &[Server], options: &[&str]) -> (Vec<String>, usize) {
    let mut cursor = "0".to_owned();
    let mut keys = Vec::new();
    for (step, node) in nodes.iter().cycle().enumerate() {
        let args = [&["RMR.SCAN", &cursor][..], options].concat();
        let (next, found): (String, Vec<String>) = node.run(&args);
        keys.extend(found);
        if next == "0" {
            return (keys, step + 1);
        }
        cursor = next;
    }
    unreachable!("the nodes are cycled")
}

fn names(count: usize) -> BTreeSet<String> {
    (0..count).map(|number| format!("user:{number}")).collect()
}

#[test]
fn every_key_is_found_once_whoever_is_asked() {
    let cluster = Cluster::start(3);
    assert_eq!(scan_all(cluster.nodes(), &[]).0, Vec::<String>::new());
    cluster.fill(2000, |number| (format!("user:{number}"), String::new()));
    for count in ["1", "10", "1000"] {
        let (keys, steps) = scan_all(cluster.nodes(), &["COUNT", count]);
        assert_eq!(keys.len(), 2000, "none comes twice while slots stay");
        assert_eq!(keys.into_iter().collect::<BTreeSet<_>>(), names(2000));
        assert!(steps <= 2000, "{steps} steps for COUNT {count}");
    }
    assert!(scan_all(cluster.nodes(), &["COUNT", "100000"]).1 < 20);
}

#[test]
fn patterns_and_types_narrow_it() {
    let cluster = Cluster::start(3);
    cluster.fill(200, |number| (format!("user:{number}"), String::new()));
    for number in 0..20 {
        cluster.node(0).run::<()>(&["RMR.EXEC", "SADD", &format!("set:{number}"), "member"]);
    }
    let sorted = |options: &[&str]| scan_all(cluster.nodes(), options).0.into_iter().collect::<BTreeSet<_>>();
    let twenties: BTreeSet<String> = (20..30).map(|number| format!("user:{number}")).collect();
    assert_eq!(sorted(&["MATCH", "user:2?"]), twenties);
    assert_eq!(sorted(&["TYPE", "SET"]), (0..20).map(|number| format!("set:{number}")).collect());
    assert_eq!(sorted(&["TYPE", "set", "MATCH", "user:*"]), BTreeSet::new());
}

#[test]
fn a_bad_cursor_or_option_is_refused_in_the_servers_words() {
    let cluster = Cluster::start(3);
    for line in ["x", "-1", "16384", "99999999999999999999"] {
        assert_eq!(cluster.node(0).reply(&format!("RMR.SCAN {line}")), "-ERR invalid cursor", "{line}");
    }
    for line in ["0 COUNT +5", "0 COUNT 05", "0 COUNT x"] {
        let expected = cluster.node(0).reply(&format!("SCAN {line}"));
        assert_eq!(expected, "-ERR value is not an integer or out of range");
        for name in ["RMR.SCAN", "RMR.EXEC SCAN"] {
            assert_eq!(cluster.node(0).reply(&format!("{name} {line}")), expected, "{name} {line}");
        }
    }
    for line in ["0 MATCH", "0 COUNT 0", "0 NOSUCH x"] {
        assert_eq!(cluster.node(0).reply(&format!("RMR.SCAN {line}")), "-ERR syntax error", "{line}");
    }
}

#[test]
fn it_is_what_exec_makes_of_scan() {
    let cluster = Cluster::start(3);
    cluster.fill(50, |number| (format!("user:{number}"), String::new()));
    let ask = |name: &str| cluster.node(1).reply(&format!("{name} 5000 MATCH user:* COUNT 7"));
    assert_eq!(ask("RMR.EXEC SCAN"), ask("RMR.SCAN"));
}

#[test]
fn plain_servers_are_gone_through_one_after_the_other() {
    let shards: Vec<Server> = (0..3).map(|_| Server::builder().module(false).start()).collect();
    for number in 0..300 {
        shards[number % 3].run::<()>(&["SET", &format!("user:{number}"), ""]);
    }
    let nodes: Vec<String> = shards.iter().map(Server::address).collect();
    let coordinator = Server::builder().module_args(["nodes", &nodes.join(" ")]).start();
    let (keys, steps) = scan_all(std::slice::from_ref(&coordinator), &["COUNT", "7"]);
    assert_eq!(keys.into_iter().collect::<BTreeSet<_>>(), names(300));
    assert!(steps > 10, "{steps}");
    let alone = Server::start();
    alone.run::<()>(&["SET", "user:0", ""]);
    assert_eq!(scan_all(std::slice::from_ref(&alone), &[]).0, ["user:0"]);
}
