//! Time events that live in keys.

use std::time::Duration;

use crate::common::{Cluster, Server, eventually, slot_of};
use crate::servers::{Servers, call, cluster, server};

const PATIENCE: Duration = Duration::from_secs(30);

/// Has a function called each second that counts in a key; the timer lives in another.
#[track_caller]
fn begin(node: &Server, key: &str, counts: &str) {
    let script = format!("counts = '{counts}'\nassert registerTE(1, lambda: execute('INCR', counts), '{key}') is True");
    let reply = call(node, &["RG.PYEXECUTE", &script]);
    assert_eq!(String::from_utf8_lossy(&reply), "+OK\r\n", "{script}");
}

fn count(node: &Server, counts: &str) -> u32 {
    node.reply(&format!("GET {counts}")).trim_matches('"').parse().unwrap_or(0)
}

#[track_caller]
fn it_ticks(node: &Server, counts: &str) {
    let before = count(node, counts);
    eventually(PATIENCE, "it ticks", || count(node, counts) > before);
}

/// Checks that nothing is called by the time that another timer has been called three times.
#[track_caller]
fn it_has_ended(node: &Server, counts: &str, other: &str) {
    // One call may be under way.
    it_ticks(node, other);
    let before = count(node, counts);
    (0..2).for_each(|_| it_ticks(node, other));
    assert_eq!(count(node, counts), before);
}

#[test]
fn a_timer_ends_with_its_key() {
    let node = server().start();
    begin(&node, "a", "as");
    it_ticks(&node, "as");
    assert_eq!(node.reply("TYPE a"), "+rmr-gears");
    assert!(node.reply("MEMORY USAGE a").parse::<u32>().is_ok_and(|bytes| bytes > 100));
    let again = "assert registerTE(1, lambda: 1, 'a') is False\nassert registerTE(1, lambda: 1, 'as') is False";
    assert_eq!(call(&node, &["RG.PYEXECUTE", again]), b"+OK\r\n");
    assert!(node.reply("COPY a b").starts_with('-'));
    for (at, ending) in ["DEL {}", "UNLINK {}", "PEXPIRE {} 1", "SET {} other", "MOVE {} 1"].iter().enumerate() {
        let (key, counts) = (format!("k{at}"), format!("counts{at}"));
        begin(&node, &key, &counts);
        it_ticks(&node, &counts);
        assert!(!node.reply(&ending.replace("{}", &key)).starts_with('-'));
        it_has_ended(&node, &counts, "as");
    }
    assert_eq!(node.reply("RENAME a b"), "+OK");
    it_ticks(&node, "as");
    assert_eq!(node.reply("FLUSHALL"), "+OK");
    begin(&node, "c", "cs");
    it_ticks(&node, "cs");
    assert_eq!(count(&node, "as"), 0);
}

#[test]
fn a_timer_is_called_again_after_a_restart() {
    for config in [&[][..], &[("appendonly", "yes")], &[("appendonly", "yes"), ("aof-use-rdb-preamble", "no")]] {
        let with = |builder: crate::common::ServerBuilder, (name, value): &(&str, &str)| builder.config(name, *value);
        let node = config.iter().fold(server(), with).start();
        begin(&node, "a", "as");
        it_ticks(&node, "as");
        if config.is_empty() {
            node.run::<()>(&["SAVE"]);
        }
        node.restart();
        it_ticks(&node, "as");
        if !config.is_empty() {
            node.reply("BGREWRITEAOF");
            eventually(PATIENCE, "it is rewritten", || {
                node.figure("persistence", "aof_rewrite_in_progress") == 0
                    && node.figure("persistence", "aof_rewrite_scheduled") == 0
            });
            node.restart();
            it_ticks(&node, "as");
        }
        assert_eq!(node.reply("DEL a"), "1");
        begin(&node, "b", "bs");
        it_has_ended(&node, "as", "bs");
    }
}

#[test]
fn a_replica_has_the_key_and_calls_nothing_until_it_is_promoted() {
    let node = server().start();
    begin(&node, "a", "as");
    let replica = server().config("replicaof", format!("127.0.0.1 {}", node.port())).start();
    begin(&node, "b", "bs");
    eventually(PATIENCE, "it has both", || replica.reply("EXISTS a b") == "2");
    it_ticks(&replica, "bs");
    assert!(!replica.log().contains("READONLY"), "it has called the function itself");
    node.kill();
    assert_eq!(replica.reply("REPLICAOF NO ONE"), "+OK");
    it_ticks(&replica, "as");
    it_ticks(&replica, "bs");
}

/// The function has the rights of the user who has made the timer, and a key takes the right to write it.
#[test]
fn rights_of_timers() {
    let servers = Servers::of(server().start());
    let node = servers.first();
    node.run::<()>(&["ACL", "SETUSER", "u", "on", "nopass", "+@all", "~own*", "~as", "&*"]);
    let as_user = |script: &str| {
        let mut wire = node.wire();
        assert_eq!(wire.reply("AUTH u x"), "+OK");
        wire.reply_to(&["RG.PYEXECUTE", script])
    };
    let denied = as_user("registerTE(1, lambda: 1, 'others')");
    assert!(denied.starts_with('-') && denied.contains("others"), "{denied}");
    assert_eq!(as_user("registerTE(1, lambda: execute('INCR', 'as'), 'own')"), "+OK");
    node.run::<()>(&["SAVE"]);
    node.restart();
    // The user is gone, and with it the rights of the function.
    eventually(PATIENCE, "it is refused", || node.log().contains("user u does not exist"));
    assert_eq!(count(node, "as"), 0);
    node.run::<()>(&["ACL", "SETUSER", "u", "on", "nopass", "+@all", "~own*", "~as", "&*"]);
    it_ticks(node, "as");
}

#[test]
fn a_timer_moves_with_its_slot() {
    let cluster: Cluster = cluster().start();
    let node = cluster.node(0);
    let key = (0..).map(|at| format!("k{{{at}}}")).find(|key| cluster.owner_of(slot_of(key)) == 0).unwrap_or_default();
    let counts = key.replacen('k', "c", 1);
    let elsewhere =
        (0..).map(|at| format!("e{at}")).find(|key| cluster.owner_of(slot_of(key)) == 1).unwrap_or_default();
    let refused = call(node, &["RG.PYEXECUTE", &format!("registerTE(1, lambda: 1, '{elsewhere}')")]);
    assert!(String::from_utf8_lossy(&refused).contains("must belong to this shard"));
    begin(node, &key, &counts);
    it_ticks(node, &counts);
    cluster.move_slot(slot_of(&key), 0, 1);
    let there = cluster.node(1);
    it_ticks(there, &counts);
    assert_eq!(there.reply(&format!("TYPE {key}")), "+rmr-gears");
    there.run::<()>(&["DEL", &key]);
    let (other, others) = (format!("o{}", &key[1..]), format!("p{}", &key[1..]));
    begin(there, &other, &others);
    it_has_ended(there, &counts, &others);
}
