//! `RMR.SCAN`: every key once, from node to node, on clusters and on plain servers.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::common::{Cluster, Server, elements, eventually, show, slot_of};

/// Goes through all keys, each step on the next of the nodes; gives the keys and the number of steps.
fn scan_all(nodes: &[Server], options: &[&str]) -> (Vec<String>, usize) {
    let mut cursor = "0".to_owned();
    let mut keys = Vec::new();
    for (step, node) in nodes.iter().cycle().enumerate() {
        let args = [&["RMR.SCAN", &cursor][..], options].concat();
        let page = node.wire().call(&args);
        assert!(page.starts_with(b"*"), "{args:?}: {}", show(&page));
        let text = |frame: &[u8]| show(frame).trim_matches('"').to_owned();
        let (next, found) = (text(elements(&page)[0]), elements(elements(&page)[1]));
        keys.extend(found.into_iter().map(text));
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
fn expired_keys_are_not_listed_and_are_reaped_whatever_the_options() {
    let cluster = Cluster::start(3);
    cluster.nodes().iter().for_each(|node| node.run::<()>(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]));
    cluster.fill(10, |number| (format!("user:{number}"), ""));
    let passes = [&["COUNT", "1000"][..], &["MATCH", "user:*"], &["TYPE", "string"], &["COUNT", "3", "PARTIAL"]];
    for (pass, options) in passes.into_iter().enumerate() {
        let mut wire = cluster.node(0).wire();
        for number in 0..30 {
            let set = format!("RMR.EXEC SET user:expired:{pass}:{number} x PX 5");
            assert_eq!(wire.reply(&set), "+OK");
        }
        let set = Instant::now();
        eventually(Duration::from_secs(5), "their time is over", || set.elapsed() > Duration::from_millis(20));
        let sizes = || cluster.nodes().iter().map(|node| node.run::<usize>(&["DBSIZE"])).sum::<usize>();
        assert_eq!(sizes(), 40, "nobody has reaped them");
        assert_eq!(scan_all(cluster.nodes(), options).0.into_iter().collect::<BTreeSet<_>>(), names(10), "{options:?}");
        assert_eq!(sizes(), 10, "{options:?}");
    }
}

#[test]
fn partial_passes_slots_without_an_owner_and_says_so_by_scan_and_by_exec() {
    let cluster = Cluster::builder().config("cluster-require-full-coverage", "no").start();
    cluster.fill(500, |number| (format!("user:{number}"), ""));
    let lost = 6000..=6500;
    cluster.disown(6000, 6500);
    let missed = "slots 6000-6500\", -RMRSLOTS 501 slots have no owner (6000-6500)";
    for node in cluster.nodes() {
        eventually(Duration::from_secs(5), "the hole is seen", || {
            node.reply("RMR.SCAN 5990 COUNT 1000").starts_with("-RMRSLOTS ")
        });
        for line in ["RMR.SCAN 5990 PARTIAL COUNT 1000", "RMR.EXEC PARTIAL SCAN 5990 COUNT 1000"] {
            let reply = node.reply(line);
            assert!(reply.ends_with(&format!("], [\"{missed}]]")), "{line}: {reply}");
        }
        let reply = node.reply3("RMR.SCAN 5990 COUNT 1000 partial");
        assert!(reply.contains(&format!("{{\"{}", missed.replace("\", ", "\": "))), "{reply}");
        assert!(node.reply("RMR.SCAN 7000 COUNT 1 PARTIAL").ends_with("], []]"), "nothing is missed there");
    }
    let found: BTreeSet<String> = scan_all(cluster.nodes(), &["COUNT", "100", "PARTIAL"]).0.into_iter().collect();
    let there = names(500).into_iter().filter(|key| !lost.contains(&slot_of(key))).collect();
    assert_eq!(found, there, "all other keys");
    assert!(found.len() < 500);
}

#[test]
fn partial_passes_a_host_that_is_down() {
    let shards: Vec<Server> = (0..3).map(|_| Server::builder().module(false).start()).collect();
    for number in 0..30 {
        shards[number % 3].run::<()>(&["SET", &format!("user:{number}"), ""]);
    }
    let nodes: Vec<String> = shards.iter().map(Server::address).collect();
    let coordinator = Server::builder().module_args(["nodes", &nodes.join(" ")]).start();
    shards[1].kill();
    let (keys, _) = scan_all(std::slice::from_ref(&coordinator), &["COUNT", "100", "PARTIAL"]);
    assert_eq!(keys.len(), 20);
    let reply = coordinator.reply("RMR.SCAN 1 PARTIAL");
    assert!(reply.starts_with(&format!("[\"2\", [], [\"{}\", -RMRNODE ", nodes[1])), "{reply}");
    assert!(coordinator.reply("RMR.SCAN 1").starts_with("-RMRNODE "));
}

#[test]
fn the_links_need_no_right_to_exists() {
    let cluster = Cluster::start(3);
    cluster.fill(50, |number| (format!("user:{number}"), ""));
    for node in cluster.nodes() {
        let rules =
            ["on", ">p", "~*", "+hello", "+cluster|getkeysinslot", "+cluster|info", "+type", "+ping", "+client"];
        node.run::<()>(&[&["ACL", "SETUSER", "linker"][..], &rules].concat());
        node.run::<()>(&["CONFIG", "SET", "rmr.user", "linker", "rmr.password", "p"]);
        assert!(node.reply("ACL DRYRUN linker EXISTS k").contains("no permissions to run the 'exists'"));
    }
    assert_eq!(scan_all(cluster.nodes(), &["COUNT", "1000"]).0.into_iter().collect::<BTreeSet<_>>(), names(50));
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
