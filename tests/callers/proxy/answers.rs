//! Tests the answers to a client: the same as by a single server, whichever node it asks.

use super::{Served, proxied, rewritten, set};
use crate::common::{Cluster, Server, Wire, show, slot_of};

/// The commands that a program may send to a single server. Keys are all over the cluster.
const LINES: &[&str] = &[
    "SET a 1",
    "SET b 2 EX 1000",
    "SET c 3 GET",
    "GET a",
    "GET b",
    "GET c",
    "GET missing",
    "MGET a missing b a c",
    "INCR a",
    "INCRBYFLOAT b 0.5",
    "APPEND c tail",
    "STRLEN c",
    "EXISTS a b c a missing",
    "TOUCH a b c missing",
    "TYPE b",
    "TTL a",
    "PERSIST b",
    "HSET h f 1 g 2",
    "HGETALL h",
    "HINCRBY h f 41",
    "LPUSH l 1 2 3",
    "LRANGE l 0 -1",
    "LPOP l 2",
    "BLPOP {l}blocking 0.01",
    "SADD s x",
    "SMEMBERS s",
    "SISMEMBER s y",
    "ZADD z 1 one 2 two",
    "ZRANGE z 0 -1 WITHSCORES",
    "ZSCORE z two",
    "XADD x 1-1 field value",
    "XRANGE x - +",
    "XREAD COUNT 1 STREAMS x 0",
    "XINFO GROUPS x",
    "OBJECT ENCODING a",
    "SETBIT bits 7 1",
    "GETBIT bits 7",
    "PFADD p 1 2 3",
    "PFCOUNT p",
    "GEOADD g 13.4 52.5 berlin",
    "GEOHASH g berlin",
    "COPY {t}a {t}b",
    "RENAME {t}a {t}b",
    "SORT l",
    "EVAL return{KEYS[1],redis.call('GET',KEYS[1])} 1 b",
    "EVAL return{1,'two',{3}} 0",
    "EVALSHA ffffffffffffffffffffffffffffffffffffffff 1 b",
    "SCRIPT EXISTS ffffffffffffffffffffffffffffffffffffffff",
    "GET h",
    "INCR c",
    "LPUSH a x",
    "GET",
    "SET a",
    "MGET",
    "NOSUCHCOMMAND a b",
    "XREAD STREAMS x",
    "EXPIRE a x",
    "DBSIZE",
    "DEL a b c missing a",
    "UNLINK h l s missing",
    "PING",
    "PING hello",
    "ECHO hello",
    "SELECT 0",
    "DBSIZE",
    "KEYS z*",
    "RANDOMKEY x",
    "SCAN notacursor",
    "SCAN 0 COUNT",
    "PUBLISH channel message",
    "TIME x",
    "FLUSHALL",
    "DBSIZE",
    "KEYS *",
    "RANDOMKEY",
];

/// Compares the answers to each of the lines. `BLPOP` is for this node's keys only.
fn compare(node: &mut Wire, single: &mut Wire) {
    for line in LINES.iter().filter(|line| !line.starts_with("BLPOP")) {
        assert_eq!(node.reply(line), single.reply(line), "{line}");
    }
}

#[test]
fn every_node_answers_as_a_single_server_would() {
    let server = Server::builder().module(false).start();
    for served in Served::three() {
        for door in 0..served.doors() {
            compare(&mut served.wire(door), &mut server.wire());
            compare(&mut served.wire3(door), &mut server.wire3());
        }
        if !served.is_by_program() {
            for (index, node) in served.cluster.nodes().iter().enumerate() {
                assert!(rewritten(node) > 2 * 20, "node {index} has rewritten {}", rewritten(node));
            }
        }
    }
}

#[test]
fn replies_come_in_the_order_of_the_commands() {
    const KEYS: usize = 300;
    for served in Served::three() {
        let mut wire = served.wire(0);
        for number in 0..KEYS {
            wire.send(&["SET", &format!("key:{number}"), &number.to_string()]);
            wire.send(&["GET", &format!("key:{number}")]);
            wire.send(&["ECHO", "x"]);
        }
        for number in 0..KEYS {
            assert_eq!(show(&wire.read_frame()), "+OK");
            assert_eq!(show(&wire.read_frame()), format!("\"{number}\""));
            assert_eq!(show(&wire.read_frame()), "\"x\"");
        }
        assert_eq!(wire.reply("DBSIZE"), KEYS.to_string());
    }
}

/// Goes through all keys with one connection, or with one to another node each time.
fn scan(wires: &mut [Wire]) -> Vec<String> {
    let (mut cursor, mut found, mut turn) = ("0".to_owned(), Vec::new(), 0);
    loop {
        let count = wires.len();
        let reply = wires[turn % count].reply(&format!("SCAN {cursor} COUNT 50"));
        turn += 1;
        let (next, keys) = reply.trim_matches(['[', ']']).split_once(", [").expect("a cursor and keys");
        found.extend(keys.split(", ").filter(|key| !key.is_empty()).map(|key| key.trim_matches('"').to_owned()));
        cursor = next.trim_matches('"').to_owned();
        if cursor == "0" {
            return found;
        }
    }
}

#[test]
fn a_scan_goes_through_the_keys_of_all_nodes() {
    for served in Served::three() {
        let mut keys: Vec<String> = (0..300).map(|number| format!("key:{number}")).collect();
        served.cluster.fill(300, |number| (format!("key:{number}"), "x"));
        keys.sort();
        let mut wires: Vec<Wire> = (0..served.doors()).map(|door| served.wire(door)).collect();
        for asked in [1, 3] {
            let mut found = scan(&mut wires[..asked]);
            found.sort();
            assert_eq!(found, keys);
        }
    }
}

#[test]
fn what_changes_all_nodes_changes_all_nodes() {
    for served in Served::three() {
        let mut wire = served.wire(1);
        assert_eq!(wire.reply("CONFIG SET maxmemory-samples 7"), "+OK");
        assert_eq!(wire.reply("SCRIPT LOAD return(7)"), wire.reply("SCRIPT LOAD return(7)"));
        assert_eq!(wire.reply("ACL SETUSER somebody on nopass ~* +get"), "+OK");
        for node in served.cluster.nodes() {
            assert_eq!(node.reply("CONFIG GET maxmemory-samples"), "[\"maxmemory-samples\", \"7\"]");
            assert!(node.reply("ACL LIST").contains("user somebody"));
            assert_eq!(node.reply("EVALSHA a13ed29b7b3a29feed95f64bf3ba5db5d49b1c4e 0").chars().next(), Some('-'));
        }
    }
}

#[test]
fn the_settings_of_the_module_are_each_nodes_own() {
    let Some(cluster) = proxied() else { return };
    let mut wire = cluster.node(1).wire();
    assert_eq!(wire.reply("CONFIG SET rmr.timeout-ms 4321"), "+OK");
    assert_eq!(wire.reply("CONFIG GET rmr.timeout-ms"), "[\"rmr.timeout-ms\", \"4321\"]");
    assert_eq!(cluster.node(0).reply("CONFIG GET rmr.timeout-ms"), "[\"rmr.timeout-ms\", \"5000\"]");
}

#[test]
fn what_nodes_can_only_say_of_themselves_they_say_of_themselves() {
    let Some(cluster) = proxied() else { return };
    let node = cluster.node(2);
    for line in
        ["INFO keyspace", "MEMORY DOCTOR", "SLOWLOG GET 0", "CONFIG GET port", "CLIENT GETNAME", "COMMAND COUNT"]
    {
        let before = rewritten(node);
        let reply = node.reply(line);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
        assert_eq!(rewritten(node), before, "{line}");
    }
    assert_eq!(node.reply("CONFIG GET port"), format!("[\"port\", \"{}\"]", node.port()));
    assert!(node.reply3("INFO server").starts_with("=\"txt:"), "as text, as from a single server");
}

/// Setting several keys at once is a promise that no cluster keeps.
#[test]
fn a_write_that_would_not_be_atomic_is_refused_with_the_way_out() {
    for served in Served::three() {
        let mut wire = served.wire(0);
        assert_ne!(slot_of("a"), slot_of("b"));
        let refusal = wire.reply("MSET a 1 b 2");
        let way_out = if served.is_by_program() { "--split-writes" } else { "RMR.EXEC NONATOMIC" };
        assert!(refusal.starts_with("-CROSSSLOT ") && refusal.contains(way_out), "{refusal}");
        if !served.is_by_program() {
            assert_eq!(wire.reply("RMR.EXEC NONATOMIC MSET a 1 b 2"), "+OK");
            assert_eq!(wire.reply("MGET a b"), "[\"1\", \"2\"]");
        }
        assert_eq!(wire.reply("MSET {t}a 1 {t}b 2"), "+OK");
        assert_eq!(wire.reply("MGET {t}a {t}b"), "[\"1\", \"2\"]");
        let refusal = wire.reply("SUNION a b");
        assert!(refusal.starts_with("-CROSSSLOT ") && refusal.contains("hash tag"), "{refusal}");
    }
}

/// The node's own keys are served by the server itself, and look so in its figures.
#[test]
fn keys_of_the_node_are_left_to_the_server() {
    let Some(cluster) = proxied() else { return };
    let node = cluster.node(0);
    let (own, other) = (cluster.key_for(0, "own"), cluster.key_for(1, "other"));
    let mut wire = node.wire();
    let (before, sets) = (rewritten(node), node.calls_of("set"));
    for _ in 0..10 {
        assert_eq!(wire.reply(&format!("SET {own} 1")), "+OK");
    }
    assert_eq!((rewritten(node), node.calls_of("set")), (before, sets + 10));
    assert_eq!(node.calls_of("RMR.EXEC"), 0);
    assert_eq!(wire.reply(&format!("SET {other} 1")), "+OK");
    assert_eq!((rewritten(node), node.calls_of("RMR.EXEC")), (before + 1, 1));
}

/// Without slots, only the engine knows where keys are.
#[test]
fn a_list_of_plain_servers_is_one_server_too() {
    let nodes: Vec<Server> = (0..3).map(|_| Server::builder().module(false).start()).collect();
    let addresses: Vec<String> = nodes.iter().map(Server::address).collect();
    let coordinator = Server::builder().module_args(["nodes", &addresses.join(" ")]).start();
    if !set(&coordinator, "on") {
        return;
    }
    let mut wire = coordinator.wire();
    for number in 0..60 {
        assert_eq!(wire.reply(&format!("SET key:{number} {number}")), "+OK");
    }
    assert_eq!(wire.reply("MGET key:0 key:59 key:7"), "[\"0\", \"59\", \"7\"]");
    assert_eq!(wire.reply("DBSIZE"), "60");
    let sizes: Vec<u64> = nodes.iter().map(|node| node.run(&["DBSIZE"])).collect();
    assert!(sizes.iter().all(|&size| size > 5), "{sizes:?}");
}

/// A single server has nobody to ask.
#[test]
fn a_server_alone_rewrites_nothing() {
    let server = Server::start();
    if !set(&server, "on") {
        return;
    }
    assert_eq!(server.reply("SET a 1"), "+OK");
    assert_eq!(server.reply("MGET a b"), "[\"1\", nil]");
    assert_eq!(server.reply("DBSIZE"), "1");
    assert_eq!(rewritten(&server), 0);
}

/// A client that blocks does so on its own node.
#[test]
fn blocking_commands_are_left_to_the_node() {
    let Some(cluster) = proxied() else { return };
    let node = cluster.node(0);
    let (own, other) = (cluster.key_for(0, "own"), cluster.key_for(1, "other"));
    let mut wire = node.wire();
    assert_eq!(wire.reply(&format!("BLPOP {own} 0.01")), "nil");
    assert!(wire.reply(&format!("BLPOP {other} 0.01")).starts_with("-MOVED "));
    assert!(wire.reply(&format!("XREAD BLOCK 10 STREAMS {other} 0")).starts_with("-MOVED "));
    assert_eq!(wire.reply(&format!("XREAD STREAMS {other} 0")), "nil");
}

#[test]
fn a_cluster_of_which_one_node_is_not_in_the_mode_is_served_by_the_others() {
    let cluster = Cluster::start(3);
    if !set(cluster.node(0), "on") {
        return;
    }
    let other = cluster.key_for(1, "other");
    assert_eq!(cluster.node(0).reply(&format!("SET {other} 1")), "+OK");
    assert_eq!(cluster.node(0).reply("DBSIZE"), "1");
    assert_eq!(cluster.node(2).reply("DBSIZE"), "0");
    assert!(cluster.node(2).reply(&format!("GET {other}")).starts_with("-MOVED "));
}
