//! Tests the refusals and their words: the words that say most, and none that would send the caller away.

use std::time::Duration;

use crate::common::{Cluster, Server, eventually};

const SOON: Duration = Duration::from_secs(10);

/// A node that runs a script or a function which has written and cannot be killed, and idle ones.
#[test]
fn the_word_of_the_busy_node_is_shown_by_script_kill_function_kill_exec_and_fanout() {
    let cluster = Cluster::builder().node_timeout(Duration::from_secs(60)).start();
    let library = "#!lua name=lib\nredis.register_function('f', function(keys) redis.call('SET', keys[1], 1) \
                   while true do end end)";
    let key = cluster.key_for(1, "k");
    let script = "redis.call('SET', KEYS[1], 1) while true do end";
    for (call, kill) in [(["EVAL", script], "SCRIPT KILL"), (["FCALL", "f"], "FUNCTION KILL")] {
        let busy = cluster.node(1);
        assert_eq!(cluster.node(0).wire().reply_to(&["RMR.EXEC", "FUNCTION", "LOAD", library]), "\"lib\"");
        busy.run::<()>(&["CONFIG", "SET", "busy-reply-threshold", "10"]);
        let idle = [cluster.node(0), cluster.node(2)];
        // So that there are links.
        idle.iter().for_each(|node| assert_eq!(node.reply("RMR.PING"), "+OK"));
        let name = busy.shown_name();
        let mut stuck = busy.wire();
        stuck.send(&[&call[..], &["1", &key]].concat());
        eventually(SOON, "it runs", || busy.reply("PING").starts_with("-BUSY "));
        for node in idle {
            for line in
                [format!("RMR.EXEC {kill}"), format!("RMR.FANOUT {kill}"), format!("RMR.FANOUT REDUCE COUNT {kill}")]
            {
                let reply = node.reply(&line);
                assert!(reply.starts_with(&format!("-RMRSHARD {name}: UNKILLABLE ")), "{line}: {reply}");
            }
            let all = node.reply(&format!("RMR.EXEC WITHNODES PARTIAL {kill}"));
            assert_eq!((all.matches(": NOTBUSY ").count(), all.matches(": UNKILLABLE ").count()), (2, 1), "{all}");
        }
        busy.kill();
        busy.restart();
        cluster.settle();
        cluster.node(0).reply("RMR.REFRESH");
        assert_eq!(cluster.node(0).reply("RMR.EXEC FUNCTION FLUSH"), "+OK");
    }
}

#[test]
fn a_write_is_not_sent_to_replicas_and_nobody_is_told_moved() {
    let cluster = Cluster::builder().shards(2).replicas(1).start();
    let key = cluster.key_for(0, "k");
    for node in cluster.nodes() {
        for line in [format!("SET {key} 1"), format!("DEL {key}"), "FLUSHALL".into()] {
            let reply = node.reply(&format!("RMR.EXEC ON REPLICAS {line}"));
            assert!(reply.starts_with("-ERR '") && reply.contains("is not sent to replicas: it writes"), "{reply}");
        }
        for replica in cluster.replicas() {
            let reply = node.reply(&format!("RMR.EXEC NODE {} SET {key} 1", replica.address()));
            assert!(reply.starts_with("-RMRSHARD ") || reply.starts_with("-READONLY "), "{reply}");
        }
        let all_moved = cluster.key_for(1, "k");
        let named = format!("NODE {} NODE {}", cluster.node(0).address(), cluster.node(2).address());
        for options in [&named, "ON REPLICAS"] {
            let reply = node.reply(&format!("RMR.EXEC {options} GET {all_moved}"));
            assert!(reply.starts_with("-RMRSHARD ") && reply.contains(": MOVED "), "{options}: {reply}");
        }
    }
}

#[test]
fn cursors_of_several_nodes_are_not_joined() {
    let cluster = Cluster::start(3);
    cluster.fill(30, |number| (format!("k{number}"), String::new()));
    for node in cluster.nodes() {
        for options in ["ON ALL", "ON PRIMARIES", "WITHNODES ON ALL", "PARTIAL ON ALL"] {
            let reply = node.reply3(&format!("RMR.EXEC {options} SCAN 0 COUNT 100"));
            let nodes =
                cluster.nodes().iter().filter(|node| reply.contains(&format!("\"{}\": [\"0\", [", node.address())));
            assert_eq!(nodes.count(), 3, "{options}: {reply}");
        }
        let one = node.reply(&format!("RMR.EXEC NODE {} SCAN 0 COUNT 100", node.address()));
        assert!(one.starts_with("[\"0\", ["), "{one}");
    }
}

#[test]
fn options_that_would_be_ignored_are_refused_by_scan_and_randomkey() {
    for node in [&Server::start(), Cluster::start(1).node(0)] {
        for (options, command) in [
            ("WITHNODES", "SCAN 0"),
            ("WITHNODES", "RANDOMKEY"),
            ("PARTIAL WITHNODES", "SCAN 0"),
            ("PARTIAL", "RANDOMKEY"),
        ] {
            let reply = node.reply(&format!("RMR.EXEC {options} {command}"));
            assert!(
                reply.starts_with("-ERR ") && reply.contains("name nodes with ON, NODE or KEY"),
                "{options}: {reply}"
            );
        }
        assert!(node.reply("RMR.EXEC SCAN 0").starts_with("[\""));
        assert_eq!(node.reply("RMR.EXEC RANDOMKEY"), "nil");
    }
}

#[test]
fn crossslot_names_two_keys_that_are_apart_and_their_slots() {
    let cluster = Cluster::start(3);
    let keys = [0, 1].map(|shard| cluster.key_for(shard, "key"));
    let [first, second] = keys.each_ref().map(|key| (key, crate::common::slot_of(key)));
    for line in [
        format!("MSET {} 1 {} 1", first.0, second.0),
        format!("SINTER {} {} {}", first.0, first.0, second.0),
        format!("EVAL return 2 {} {}", first.0, second.0),
        format!("RENAME {} {}", first.0, second.0),
    ] {
        let reply = cluster.node(2).reply(&format!("RMR.EXEC {line}"));
        let apart = format!("'{}' is in slot {}, '{}' in {}; ", first.0, first.1, second.0, second.1);
        assert!(reply.starts_with("-CROSSSLOT ") && reply.contains(&apart), "{line}: {reply}");
    }
}
