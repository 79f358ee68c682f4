//! Writes that the server refuses: too few replicas, a snapshot that has failed.

use super::{NOREPLICAS, fail_to_save, proxied, roads};
use crate::common::{Cluster, Server};

const KEYED: [&str; 4] = ["SET k x", "INCR n", "MSET k x", "SADD s x"];
const KEYLESS: [&str; 3] = ["FLUSHALL", "FLUSHDB ASYNC", "FUNCTION FLUSH"];

fn assert_refused(node: &Server, words: &str) {
    for command in KEYED {
        let key = command.split(' ').nth(1).expect("a key");
        for reply in roads(node, key, command) {
            assert!(reply.contains(words), "{reply}");
        }
    }
    for command in KEYLESS {
        for line in [format!("RMR.EXEC {command}"), format!("RMR.FANOUT {command}")] {
            let reply = node.reply(&line);
            assert!(reply.contains(words), "{line}: {reply}");
        }
        if let Some(mut wire) = proxied(node) {
            let reply = wire.reply(command);
            assert!(reply.contains(words), "proxy {command}: {reply}");
        }
    }
    let script = ["RMR.EXEC", "EVAL", "return redis.call('SET', KEYS[1], 'x')", "1", "k"];
    assert!(node.wire().reply_to(&script).contains(words), "EVAL");
    for reads in ["RMR.EXEC GET k", "RMR.MAP LIST 1 k GET", "RMR.EXEC NODE {} GET k"] {
        assert_eq!(node.reply(&reads.replace("{}", &node.address())).replace(['[', ']'], ""), "\"kept\"", "{reads}");
    }
    assert_eq!(node.reply("DBSIZE"), "1", "nothing was done");
    assert!(node.reply("FUNCTION LIST").contains("lib"), "nothing was done");
}

const LIBRARY: &str = "#!lua name=lib\nredis.register_function('f', function() return 1 end)";

/// Checks on a single server, a node of a cluster, and a server that is one of a list.
fn with_each_kind_of_server(check: impl Fn(&Server)) {
    let prepare = |node: &Server| {
        node.run::<()>(&["SET", "k", "kept"]);
        node.run::<()>(&["FUNCTION", "LOAD", LIBRARY]);
    };
    let builder = || Server::builder().arg("--enable-protected-configs").arg("yes");
    let single = builder().start();
    prepare(&single);
    check(&single);
    let cluster = Cluster::builder().shards(1).arg("--enable-protected-configs").arg("yes").start();
    prepare(cluster.node(0));
    check(cluster.node(0));
    let listed = builder().start();
    listed.run::<()>(&["CONFIG", "SET", "rmr.nodes", &listed.address()]);
    prepare(&listed);
    check(&listed);
}

#[test]
fn too_few_replicas_refuse_writes_by_exec_fanout_map_batch_multi_proxy_and_scripts_here() {
    with_each_kind_of_server(|node| {
        node.run::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
        assert_refused(node, NOREPLICAS);
        node.run::<()>(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
        assert_eq!(node.reply("RMR.EXEC SET k x"), "+OK");
    });
}

#[test]
fn a_failed_snapshot_refuses_writes_by_exec_fanout_map_batch_multi_proxy_and_scripts_here() {
    with_each_kind_of_server(|node| {
        let dir = fail_to_save(node);
        assert_refused(node, "MISCONF ");
        node.run::<()>(&["CONFIG", "SET", "save", "", "dir", &dir]);
    });
}

#[test]
fn a_guard_holds_for_the_share_of_another_node_by_pushdown_too() {
    let cluster = Cluster::builder().module_args(["pushdown", "on"]).start();
    let keys = [0, 1, 2].map(|shard| cluster.key_for(shard, "n"));
    cluster.fill(3, |number| (keys[number].clone(), "1"));
    for refusing in [1, 0] {
        let value = || cluster.node(refusing).reply(&format!("GET {}", keys[refusing]));
        let before = value();
        cluster.node(refusing).run::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
        let reply = cluster.node(0).reply(&format!("RMR.MAP SUM 3 {} INCRBY {{}} 1", keys.join(" ")));
        assert!(reply.contains(NOREPLICAS), "{reply}");
        assert_eq!(value(), before);
        cluster.node(refusing).run::<()>(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    }
}

#[test]
fn a_write_to_all_nodes_that_one_would_refuse_is_done_at_none_by_exec_fanout_and_reduce() {
    let cluster = Cluster::start(3);
    cluster.fill(30, |number| (format!("key:{number}"), "1"));
    for node in cluster.nodes() {
        node.run::<()>(&["FUNCTION", "LOAD", LIBRARY]);
    }
    for refusing in [0, 2] {
        cluster.node(refusing).run::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
        for command in ["FLUSHALL", "FLUSHDB SYNC", "FUNCTION FLUSH", "FUNCTION DELETE lib"] {
            assert_eq!(cluster.node(0).reply(&format!("RMR.EXEC {command}")), format!("-{NOREPLICAS}"), "{command}");
            for road in ["RMR.FANOUT", "RMR.FANOUT REDUCE COUNT"] {
                let reply = cluster.node(0).reply(&format!("{road} {command}"));
                assert!(reply.contains(NOREPLICAS), "{road} {command}: {reply}");
            }
        }
        let kept: usize = cluster.nodes().iter().map(|node| node.run::<usize>(&["DBSIZE"])).sum();
        assert_eq!(kept, 30);
        assert!(cluster.nodes().iter().all(|node| node.reply("FUNCTION LIST").contains("lib")));
        cluster.node(refusing).run::<()>(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    }
    assert_eq!(cluster.node(0).reply("RMR.EXEC FLUSHALL"), "+OK");
    assert_eq!(cluster.node(0).reply("RMR.EXEC FUNCTION FLUSH"), "+OK");
}

#[test]
fn integers_that_are_set_in_process_are_encoded_as_the_server_does_it_by_set_setex_getset_and_mset() {
    let server = Server::start();
    let many: Vec<String> = (0..30).map(|number| format!("m{number} {number}")).collect();
    for (line, key) in [
        ("RMR.EXEC SET a 10000".to_owned(), "a"),
        ("RMR.EXEC SETNX b 10000".into(), "b"),
        ("RMR.EXEC SETEX c 100 10000".into(), "c"),
        ("RMR.EXEC PSETEX d 100000 10000".into(), "d"),
        ("RMR.EXEC GETSET e 10000".into(), "e"),
        ("RMR.EXEC MSET f 1 g 10000".into(), "g"),
        (format!("RMR.EXEC MSET {}", many.join(" ")), "m29"),
        ("RMR.MAP LIST 1 h SET {} 10000".into(), "h"),
        ("RMR.BATCH i 1 3 SET i 10000".into(), "i"),
        ("RMR.FANOUT SET j 10000".into(), "j"),
    ] {
        assert!(!server.reply(&line).starts_with('-'), "{line}");
        assert_eq!(server.reply(&format!("OBJECT ENCODING {key}")), "\"int\"", "{line}");
    }
    assert_eq!(server.reply("RMR.EXEC SET s text"), "+OK");
    assert_eq!(server.reply("RMR.EXEC GET s"), "\"text\"");
}

#[test]
fn line_breaks_in_an_uncaught_error_are_blanks_by_batch_map_fanout_and_exec_here() {
    let server = Server::start();
    let library = "#!lua name=l\nredis.register_function('g', function(k, a) error('x\\r\\n+forged') end)";
    server.run::<()>(&["FUNCTION", "LOAD", library]);
    server.run::<()>(&["SET", "k", "value"]);
    for (line, behind) in [
        ("RMR.BATCH k 2 4 FCALL g 1 k 2 GET k", ", \"value\"]]"),
        ("RMR.EXEC FCALL g 1 k", "on @user_function:2."),
        ("RMR.FANOUT PARTIAL FCALL g 1 k", "on @user_function:2.]"),
    ] {
        let reply = server.reply(line);
        assert!(
            reply.contains("ERR user_function:2: x  +forged script: ") && reply.ends_with(behind),
            "{line}: {reply}"
        );
    }
    for line in ["RMR.MAP PARTIAL LIST 2 k k FCALL g 1 {}", "RMR.MAP COUNT 2 k k FCALL g 1 {}"] {
        let mut wire = server.wire();
        assert!(wire.reply(line).contains("x  +forged script"), "{line}");
        assert_eq!(wire.reply("ECHO next"), "\"next\"", "{line}");
    }
}
