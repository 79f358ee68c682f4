//! Tests the commands that are never rewritten: links between nodes, replication, scripts, transactions, other modules.

use std::time::Duration;

use super::{proxied, rewritten, set, set_all};
use crate::common::{Cluster, Server, Wire, eventually, example_path, text_of};

const SOON: Duration = Duration::from_secs(10);

/// Were a link's commands rewritten, each request would be repeated by all nodes, over their links in turn.
#[test]
fn links_between_nodes_are_left_alone() {
    let cluster = Cluster::start(3);
    let nodes = cluster.nodes();
    // These links are there before the mode is, in both protocols; later ones come when it is.
    assert_eq!(nodes[0].reply("RMR.FANOUT DBSIZE"), "[0, 0, 0]");
    assert!(nodes[0].reply3("RMR.FANOUT DBSIZE").starts_with('['));
    if !set_all(&cluster, "on") {
        return;
    }
    for (asked, expected) in [(0, "3"), (1, "3")] {
        let (mut wire, mut wire3) = (nodes[asked].wire(), nodes[asked].wire3());
        for number in 0..30 {
            let key = cluster.key_for(number % 3, "k");
            assert_eq!(wire.reply(&format!("SET {key} 1")), "+OK");
        }
        assert_eq!((wire.reply("DBSIZE"), wire3.reply("DBSIZE")), (expected.into(), expected.into()));
        assert!(wire.reply("KEYS *").matches("k:").count() == 3);
    }
    assert!(rewritten(&nodes[0]) >= 23 && rewritten(&nodes[1]) >= 23);
    assert_eq!(rewritten(&nodes[2]), 0, "nobody but links has asked it");
    // A fan-out that names the nodes is answered by each for itself.
    assert_eq!(nodes[2].reply("RMR.FANOUT DBSIZE"), "[1, 1, 1]");
    assert_eq!(nodes[2].reply("RMR.EXEC ON PRIMARIES DBSIZE"), "3");
    assert_eq!(rewritten(&nodes[2]), 0);
}

#[test]
fn a_link_that_asks_a_node_for_what_is_not_its_own_is_told_so() {
    let Some(cluster) = proxied() else { return };
    let key = cluster.key_for(1, "k");
    let mut link = cluster.node(0).wire();
    assert!(link.reply("HELLO 3 SETNAME rmr").starts_with('{'));
    assert!(link.reply(&format!("GET {key}")).starts_with("-MOVED "));
    assert_eq!(link.reply("DBSIZE"), "0");
    assert_eq!(rewritten(cluster.node(0)), 0);
}

#[test]
fn transactions_are_the_nodes_own() {
    let Some(cluster) = proxied() else { return };
    let node = cluster.node(0);
    let (own, other) = (cluster.key_for(0, "own"), cluster.key_for(1, "other"));
    let mut wire = node.wire();
    assert_eq!(wire.reply(&format!("SET {other} 1")), "+OK");
    assert_eq!(wire.reply(&format!("WATCH {own}")), "+OK");
    assert_eq!(wire.reply("MULTI"), "+OK");
    assert_eq!(wire.reply(&format!("INCR {own}")), "+QUEUED");
    assert_eq!(wire.reply("DBSIZE"), "+QUEUED");
    assert_eq!(wire.reply("EXEC"), "[1, 1]", "as the node sees it: one key, and no RMR.EXEC");
    assert_eq!(wire.reply("DBSIZE"), "2", "it is over");
    // A key of another node spoils it before anything has run.
    assert_eq!(wire.reply("MULTI"), "+OK");
    assert_eq!(wire.reply(&format!("INCR {own}")), "+QUEUED");
    // Told MOVED, a client's library would take the node for one of a cluster's.
    let refusal = wire.reply(&format!("INCR {other}"));
    assert!(refusal.starts_with("-ERR unknown command 'a transaction is one node's own"), "{refusal}");
    assert!(wire.reply("EXEC").starts_with("-EXECABORT "));
    assert_eq!(wire.reply("MULTI"), "+OK");
    assert!(wire.reply(&format!("MGET {own} {other}")).starts_with("-CROSSSLOT "));
    assert!(wire.reply("EXEC").starts_with("-EXECABORT "));
    assert_eq!(wire.reply(&format!("MGET {own} {other}")), "[\"1\", \"1\"]");
    // Neither a MULTI that is refused nor one that is given up confuses it.
    assert!(wire.reply("MULTI now").starts_with("-ERR wrong number"));
    assert_eq!(wire.reply("DBSIZE"), "2");
    assert_eq!(wire.reply("MULTI"), "+OK");
    assert!(wire.reply("MULTI").starts_with("-ERR "));
    assert_eq!(wire.reply("DBSIZE"), "+QUEUED");
    assert_eq!(wire.reply("DISCARD"), "+OK");
    assert_eq!(wire.reply("DBSIZE"), "2");
    assert_eq!(wire.reply("MULTI"), "+OK");
    assert_eq!(wire.reply("RESET"), "+RESET");
    assert_eq!(wire.reply("DBSIZE"), "2");
}

#[test]
fn a_transaction_that_began_before_the_mode_did_is_left_alone() {
    let cluster = Cluster::start(2);
    let key = cluster.key_for(1, "k");
    let mut wire = cluster.node(0).wire();
    assert_eq!(wire.reply("MULTI"), "+OK");
    if !set_all(&cluster, "on") {
        return;
    }
    assert_eq!(wire.reply("DBSIZE"), "+QUEUED");
    assert!(wire.reply(&format!("GET {key}")).starts_with("-ERR unknown command 'a transaction is one node's own"));
    assert_eq!(wire.reply("DISCARD"), "+OK");
    assert_eq!(wire.reply(&format!("GET {key}")), "nil");
    // The wish to be served, too, may be spoken within one.
    assert!(set_all(&cluster, "opt-in"));
    let mut wire = cluster.node(0).wire();
    for line in ["MULTI", "RMR.PROXY ON", "DBSIZE", "EXEC"] {
        assert!(!wire.reply(line).starts_with('-'), "{line}");
    }
    assert_eq!(wire.reply(&format!("GET {key}")), "nil");
}

#[test]
fn scripts_and_functions_run_on_their_node() {
    let Some(cluster) = proxied() else { return };
    let node = cluster.node(0);
    let (own, other) = (cluster.key_for(0, "own"), cluster.key_for(1, "other"));
    cluster.set(&own, "here");
    cluster.set(&other, "there");
    let mut wire = node.wire();
    assert_eq!(wire.reply_to(&["EVAL", "return redis.call('DBSIZE')", "0"]), "1");
    assert_eq!(wire.reply_to(&["EVAL", "return redis.call('GET', KEYS[1])", "1", &own]), "\"here\"");
    let strays = "return redis.call('GET', ARGV[1])";
    let refusal = wire.reply_to(&["EVAL", strays, "1", &own, &other]);
    assert!(refusal.contains("non local key"), "{refusal}");
    let refusal = wire.reply_to(&["EVAL", "return redis.call('RMR.PROXY', 'ON')", "0"]);
    assert!(refusal.contains("not allowed from script"), "{refusal}");
    let code = "#!lua name=lib\nredis.register_function('get', function(keys) return redis.call('GET', keys[1]) end)\n\
                redis.register_function('size', function() return redis.call('DBSIZE') end)";
    assert_eq!(wire.reply_to(&["FUNCTION", "LOAD", code]), "\"lib\"");
    // The script that a key of another node leads away runs there.
    for (function, key, expected) in [("get", &own, "\"here\""), ("get", &other, "\"there\"")] {
        assert_eq!(wire.reply(&format!("FCALL {function} 1 {key}")), expected);
    }
    assert_eq!(wire.reply("FCALL size 0"), "1");
    assert_eq!(wire.reply_to(&["EVAL", "return redis.call('DBSIZE')", "1", &other]), "1");
    assert_eq!(rewritten(cluster.node(1)) + rewritten(cluster.node(2)), 0);
}

/// While a script runs for too long, the server listens to what ends it.
#[test]
fn a_script_that_does_not_end_can_be_killed() {
    let Some(cluster) = proxied() else { return };
    let node = cluster.node(0);
    node.run::<()>(&["CONFIG", "SET", "busy-reply-threshold", "10"]);
    let mut stuck = node.wire();
    // Once before, so that its name is known; the other commands are heard for the first time meanwhile.
    assert_eq!((stuck.reply("DBSIZE"), stuck.reply("GET k")), ("0".into(), "nil".into()));
    stuck.send(&["EVAL", "while true do end", "0"]);
    let mut wire = node.wire();
    eventually(SOON, "the script runs", || wire.reply("DBSIZE").starts_with("-BUSY "));
    assert!(wire.reply("MEMORY PURGE").starts_with("-BUSY "));
    assert!(wire.reply(&format!("GET {}", cluster.key_for(1, "k"))).starts_with("-BUSY "));
    assert_eq!(wire.reply("SCRIPT KILL"), "+OK");
    let end = text_of(&stuck.read_frame());
    assert!(end.contains("killed"), "{end}");
    assert_eq!(wire.reply("DBSIZE"), "0");
}

/// A replica's link to its primary carries writes for keys that the replica would ask others for, if it were a client.
#[test]
fn replication_is_left_alone() {
    let cluster = Cluster::builder().shards(2).replicas(1).start();
    if !set_all(&cluster, "on") {
        return;
    }
    let keys: Vec<String> = (0..200).map(|number| format!("key:{number}")).collect();
    let mut wire = cluster.node(0).wire();
    for key in &keys {
        assert_eq!(wire.reply(&format!("SET {key} {key}")), "+OK");
    }
    assert_eq!(wire.reply("DBSIZE"), "200");
    for (primary, replica) in cluster.primaries().iter().zip(cluster.replicas()) {
        // A replica, too, answers plain clients for the whole cluster, so each is asked for itself.
        let own = |node: &Server| {
            let mut wire = node.wire();
            assert_eq!(wire.reply("RMR.PROXY OFF"), "+OK");
            wire.reply("DBSIZE")
        };
        eventually(SOON, "the replica has it all", || own(replica) == own(primary));
        assert_eq!(rewritten(replica), 0);
        let mut wire = replica.wire();
        for key in &keys {
            assert_eq!(wire.reply(&format!("GET {key}")), format!("\"{key}\""));
        }
        assert_eq!(wire.reply("SET written-by-way-of-a-replica 1"), "+OK");
        assert_eq!(wire.reply("DEL written-by-way-of-a-replica"), "1");
        assert!(rewritten(replica) > 200);
    }
}

#[test]
fn what_is_read_from_the_append_only_file_is_left_alone() {
    let cluster = Cluster::builder().shards(2).config("appendonly", "yes").module_args(["proxy-mode", "off"]).start();
    if !set_all(&cluster, "on") {
        return;
    }
    let mut wire = cluster.node(0).wire();
    for number in 0..100 {
        assert_eq!(wire.reply(&format!("SET key:{number} {number}")), "+OK");
    }
    assert_eq!(wire.reply("DBSIZE"), "100");
    cluster.node(1).run::<()>(&["DEBUG", "LOADAOF"]);
    assert_eq!(rewritten(cluster.node(1)), 0);
    assert_eq!(wire.reply("DBSIZE"), "100");
    assert_eq!(wire.reply("MGET key:0 key:99"), "[\"0\", \"99\"]");
}

/// Another module with an engine and links of its own, and one that calls commands of the server.
#[test]
fn other_modules_are_left_alone() {
    let Some(cluster) = proxied() else { return };
    for node in cluster.nodes() {
        node.run::<()>(&["MODULE", "LOAD", example_path("sum").to_str().expect("a path that is text")]);
    }
    cluster.fill(30, |number| (format!("n:{number}"), number.to_string()));
    let keys: Vec<String> = (0..30).map(|number| format!("n:{number}")).collect();
    let before: Vec<u64> = cluster.nodes().iter().map(rewritten).collect();
    for node in cluster.nodes() {
        assert_eq!(node.reply(&format!("SUMX.SUM {}", keys.join(" "))), "435");
    }
    let after: Vec<u64> = cluster.nodes().iter().map(rewritten).collect();
    assert_eq!(before, after);
}

#[test]
fn subscribers_hear_what_is_published() {
    let Some(cluster) = proxied() else { return };
    let mut subscriber = cluster.node(0).wire();
    assert_eq!(subscriber.reply("SUBSCRIBE channel"), "[\"subscribe\", \"channel\", 1]");
    assert_eq!(cluster.node(2).reply("PUBLISH channel hello"), "0", "it counts those of its own node");
    assert_eq!(text_of(&subscriber.read_frame()), "*3 $7 message $7 channel $5 hello");
    assert_eq!(subscriber.reply("PING"), "[\"pong\", \"\"]");
    // The server names the command that it refuses, and not what it was put behind.
    for (line, refusal) in [
        (format!("GET {}", cluster.key_for(0, "k")), "-ERR Can't execute 'get'"),
        ("DBSIZE".into(), "-ERR Can't execute 'dbsize'"),
        (format!("GET {}", cluster.key_for(1, "k")), "-ERR unknown command 'GET (after SUBSCRIBE in RESP2"),
    ] {
        let reply = subscriber.reply(&line);
        assert!(reply.starts_with(refusal), "{line}: {reply}");
    }
    let mut in_resp3 = cluster.node(0).wire3();
    in_resp3.reply("SUBSCRIBE channel");
    assert_eq!(in_resp3.reply(&format!("GET {}", cluster.key_for(0, "k"))), "nil");
    // Valkey blocks no client that has subscribed, from 9 on.
    let elsewhere = in_resp3.reply(&format!("GET {}", cluster.key_for(1, "k")));
    let is_refused = elsewhere.contains("this server blocks no client that has subscribed");
    assert!(is_refused || elsewhere == "nil", "{elsewhere}");
    assert_eq!(is_refused, cluster.node(0).reply("INFO server").contains("valkey_version:9"));
    let shard_channel = cluster.key_for(1, "channel");
    let mut subscriber: Wire = cluster.node(1).wire();
    assert!(!subscriber.reply(&format!("SSUBSCRIBE {shard_channel}")).starts_with('-'));
    assert_eq!(cluster.node(0).reply(&format!("SPUBLISH {shard_channel} hello")), "1");
}

/// One node's list of servers may name another coordinator, whose list names the first.
#[test]
fn coordinators_that_name_each_other_do_not_go_round_in_circles() {
    let (one, other) = (Server::start(), Server::start());
    if !(set(&one, "on") && set(&other, "on")) {
        return;
    }
    one.run::<()>(&["CONFIG", "SET", "rmr.nodes", &other.address()]);
    other.run::<()>(&["CONFIG", "SET", "rmr.nodes", &one.address()]);
    assert_eq!(one.reply("SET k 1"), "+OK");
    assert_eq!((one.reply("GET k"), other.reply("GET k")), ("\"1\"".into(), "nil".into()));
    assert_eq!((rewritten(&one), rewritten(&other)), (2, 1));
}
