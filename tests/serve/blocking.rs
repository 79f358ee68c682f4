//! Commands that wait: on a connection of their own, for as long as it takes, and not longer than their client.

use std::time::{Duration, Instant};

use super::{SOON, served};
use crate::common::{Cluster, RmrProxy, Wire, eventually, show};

/// Returns the number of clients that wait at the nodes.
fn blocked(cluster: &Cluster) -> u64 {
    cluster.nodes().iter().filter(|node| node.running()).map(|node| node.figure("clients", "blocked_clients")).sum()
}

#[test]
fn who_waits_is_served_when_there_is_something() {
    let (cluster, proxy) = served();
    let mut other = proxy.wire();
    for (wait, give, reply) in [
        ("BLPOP list 0", "RPUSH list a", "[\"list\", \"a\"]"),
        ("BRPOP list {list}2 0", "RPUSH {list}2 a", "[\"{list}2\", \"a\"]"),
        ("BLMOVE list {list}to LEFT RIGHT 0", "RPUSH list b", "\"b\""),
        ("BZPOPMIN zset 0", "ZADD zset 1 m", "[\"zset\", \"m\", \"1\"]"),
        ("BLMPOP 0 1 list LEFT", "RPUSH list c", "[\"list\", [\"c\"]]"),
        ("XREAD BLOCK 0 STREAMS stream $", "XADD stream 1-1 f v", "[[\"stream\", [[\"1-1\", [\"f\", \"v\"]]]]]"),
    ] {
        let mut wire = proxy.wire();
        wire.send(&wait.split(' ').collect::<Vec<_>>());
        eventually(SOON, "it waits", || blocked(&cluster) == 1);
        // Others are served meanwhile, also by the node that it waits at.
        assert!(!other.reply(give).starts_with('-'));
        assert_eq!(show(&wire.read_frame()), reply, "{wait}");
        assert_eq!(wire.reply("PING"), "+PONG");
    }
}

#[test]
fn a_wait_has_its_own_end_and_no_other() {
    let (cluster, proxy) = served();
    let mut wire = proxy.wire();
    let began = Instant::now();
    assert_eq!(wire.reply("BLPOP nothing 0.2"), "nil");
    assert!(began.elapsed() >= Duration::from_millis(200));
    // Requests that come meanwhile are answered afterwards, in their order.
    wire.send_raw(b"BLPOP nothing 0.3\r\nSET k 1\r\nGET k\r\nBLPOP nothing 0.1\r\nPING\r\n");
    let replies: Vec<String> = (0..5).map(|_| show(&wire.read_frame())).collect();
    assert_eq!(replies, ["nil", "+OK", "\"1\"", "nil", "+PONG"]);
    // Longer than commands may take that do not block.
    let proxy = RmrProxy::before(&cluster).set("timeout-ms", 300).start();
    let mut wire = proxy.wire();
    assert_eq!(wire.reply("BLPOP nothing 1"), "nil");
    for line in ["BLPOP nothing x", "BLPOP nothing", "BLPOP a b 0", "XREAD BLOCK -1 STREAMS s 0"] {
        let refusal = wire.reply(line);
        assert!(refusal.starts_with("-ERR ") || refusal.starts_with("-CROSSSLOT "), "{line}: {refusal}");
    }
}

#[test]
fn a_wait_ends_with_its_client() {
    let (cluster, proxy) = served();
    let mut waiting: Vec<Wire> = (0..10).map(|_| proxy.wire()).collect();
    for wire in &mut waiting {
        wire.send(&["BLPOP", "list", "0"]);
    }
    eventually(SOON, "all wait", || blocked(&cluster) == 10);
    let stays = waiting.pop();
    drop(waiting);
    eventually(SOON, "all have left but one", || blocked(&cluster) == 1);
    proxy.await_clients(2);
    // Nothing is given to those who have gone.
    assert_eq!(proxy.reply("RPUSH list a"), "1");
    assert_eq!(show(&stays.expect("one").read_frame()), "[\"list\", \"a\"]");
}

#[test]
fn a_wait_goes_on_where_its_slot_has_gone() {
    let (cluster, proxy) = served();
    let slot = crate::common::slot_of("{moving}");
    let from = cluster.owner_of(slot);
    let mut wire = proxy.wire();
    wire.send(&["BLPOP", "{moving}list", "0"]);
    eventually(SOON, "it waits", || blocked(&cluster) == 1);
    cluster.move_slot(slot, from, (from + 1) % 3);
    eventually(SOON, "it waits there", || cluster.node((from + 1) % 3).figure("clients", "blocked_clients") == 1);
    assert_eq!(proxy.reply("RPUSH {moving}list a"), "1");
    assert_eq!(show(&wire.read_frame()), "[\"{moving}list\", \"a\"]");
}

#[test]
fn a_node_that_dies_ends_the_waits_at_it() {
    let (cluster, proxy) = served();
    let key = cluster.key_for(2, "list");
    let mut wire = proxy.wire();
    wire.send(&["BLPOP", &key, "0"]);
    eventually(SOON, "it waits", || blocked(&cluster) == 1);
    cluster.node(2).kill();
    let error = show(&wire.read_frame());
    assert!(error.starts_with("-RMRNODE ") && error.contains(&cluster.node(2).address()), "{error}");
    assert_eq!(wire.reply("PING"), "+PONG");
}
