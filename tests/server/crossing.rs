//! Commands whose keys are in several slots, near a server that remembers a slot on the client that it lends to calls:
//! after one such call in process, Valkey 9 refuses all later calls of all modules and scripts.

use crate::common::{Cluster, Server};

/// Asserts that a server is well: its commands work, each time by a connection of its own.
fn assert_well(node: &Server, here: &str, why: &str) {
    let script = ["EVAL", "return redis.call('GET', KEYS[1])", "1", here];
    assert_eq!(node.wire().reply_to(&script), "\"1\"", "{why}");
    for (line, expected) in [
        (format!("RMR.EXEC EXISTS {here}"), "1"),
        (format!("RMR.EXEC SINTER {here}:s {here}:s"), "[]"),
        (format!("RMR.MAP SUM 1 {here} GET"), "1"),
    ] {
        assert_eq!(node.reply(&line), expected, "{why}: {line}");
    }
    // Nothing of that had to go over a socket.
    let mut wire = node.wire();
    assert_eq!(wire.reply("MULTI"), "+OK");
    assert_eq!(wire.reply(&format!("RMR.EXEC GET {here}")), "+QUEUED");
    assert_eq!(wire.reply("EXEC"), "[\"1\"]", "{why}");
}

#[test]
fn calls_across_slots_do_not_spoil_the_server_by_exec_fanout_map_batch_multi_and_proxy() {
    const REFUSAL: &str = "CROSSSLOT Keys in request don't hash to the same slot";
    let cluster = Cluster::start(3);
    let node = cluster.node(0);
    let keys: Vec<String> = cluster.keys_for(0, "k").take(3).collect();
    let [a, b, c] = [&keys[0], &keys[1], &keys[2]];
    cluster.fill(3, |number| (keys[number].clone(), "1"));
    assert_well(node, a, "at the beginning");
    for line in [
        format!("RMR.FANOUT NODE {} MGET {a} {b}", node.address()),
        format!("RMR.EXEC NODE {} MSET {a} 1 {b} 1", node.address()),
        format!("RMR.EXEC NODE {} EVAL x 2 {a} {b}", node.address()),
        format!("RMR.MAP LIST 1 {a} SINTER {b} {{}}"),
        format!("RMR.BATCH {a} 1 3 SINTER {a} {b}"),
        format!("RMR.BATCH {a} 1 4 SORT {a} STORE {b}"),
        format!("RMR.BATCH {a} 1 6 XREAD STREAMS {a} {b} 0 0"),
    ] {
        let reply = node.reply(&line);
        assert!(reply.contains(REFUSAL), "{line}: {reply}");
        assert_well(node, a, &line);
    }
    assert_eq!(node.reply(&format!("RMR.EXEC MGET {a} {b} {c}")), "[\"1\", \"1\", \"1\"]");
    assert_well(node, a, "EXEC MGET");

    let mut wire = node.wire();
    assert_eq!(wire.reply("MULTI"), "+OK");
    wire.reply(&format!("RMR.FANOUT NODE {} MGET {a} {b}", node.address()));
    let reply = wire.reply("EXEC");
    assert!(reply.contains(REFUSAL), "{reply}");
    assert_well(node, a, "in MULTI");

    if node.redis_version() >= (7, 2) {
        node.run::<()>(&["CONFIG", "SET", "rmr.proxy-mode", "on"]);
        for (line, reply) in [
            (format!("MGET {a} {b} {c}"), "[\"1\", \"1\", \"1\"]"),
            (format!("EXISTS {a} {b}"), "2"),
            (format!("TOUCH {a} {b}"), "2"),
            (format!("UNLINK {b} {c}"), "2"),
        ] {
            assert_eq!(node.reply(&line), reply, "{line}");
            assert_well(node, a, &line);
        }
    }
}

/// A script that is allowed to cross slots spoils Valkey 9, with or without rmr.
#[test]
fn a_server_that_refuses_all_calls_serves_over_a_socket_and_says_so_in_its_log_and_figures() {
    let cluster = Cluster::start(2);
    let node = cluster.node(0);
    let keys: Vec<String> = cluster.keys_for(0, "k").take(2).collect();
    cluster.fill(2, |number| (keys[number].clone(), "1"));
    let [a, b] = [&keys[0], &keys[1]];
    assert_well(node, a, "at the beginning");
    assert_eq!(node.rmr_figure("refused_shares"), 0);

    let script =
        format!("#!lua flags=allow-cross-slot-keys\nreturn {{redis.call('GET', '{a}'), redis.call('GET', '{b}')}}");
    assert_eq!(node.wire().reply_to(&["EVAL", &script, "0"]), "[\"1\", \"1\"]");
    let crossing = format!("return redis.call('MGET', '{a}', '{b}')");
    node.wire().reply_to(&["EVAL", &format!("#!lua flags=allow-cross-slot-keys\n{crossing}"), "0"]);
    let is_spoiled = node.wire().reply_to(&["EVAL", "return redis.call('DBSIZE')", "0"]).starts_with('-');
    for (line, expected) in [
        ("RMR.EXEC DBSIZE".to_owned(), "2"),
        (format!("RMR.EXEC GET {a}"), "\"1\""),
        (format!("RMR.MAP SUM 2 {a} {b} GET"), "2"),
        (format!("RMR.EXEC APPEND {b} 0"), "2"),
    ] {
        assert_eq!(node.reply(&line), expected, "{line}");
    }
    assert_eq!(node.rmr_figure("refused_shares") > 0, is_spoiled);
    let lines = node.log().matches("refuses all calls by modules").count();
    assert_eq!(lines, usize::from(is_spoiled), "one line a minute");
}
