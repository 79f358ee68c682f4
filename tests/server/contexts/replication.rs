//! Writes that run in process reach replicas and the append-only file; replicas themselves serve reads.

use std::time::Duration;

use crate::common::{Cluster, Server, eventually};

/// Enough keys that their commands are not run in one go.
const MANY: usize = 5_000;

fn set_many(value: &str) -> Vec<String> {
    let start = ["RMR.MAP".to_owned(), "COUNT".to_owned(), MANY.to_string()];
    let keys = (0..MANY).map(|number| format!("k:{number}"));
    start.into_iter().chain(keys).chain(["SET".into(), "{}".into(), value.into()]).collect()
}

/// Returns a server and a replica of it that is in sync.
fn pair() -> (Server, Server) {
    let primary = Server::builder().config("repl-diskless-sync-delay", "0").start();
    let port = primary.port().to_string();
    let replica = Server::builder().arg("--replicaof").arg("127.0.0.1").arg(port).start();
    eventually(Duration::from_secs(20), "the replica is in sync", || {
        replica.run::<String>(&["INFO", "replication"]).contains("master_link_status:up")
    });
    (primary, replica)
}

/// Waits until both hold the same data.
fn await_same_data(primary: &Server, replica: &Server) {
    eventually(Duration::from_secs(20), "the replica has the same data", || {
        let digest = |server: &Server| server.run::<String>(&["DEBUG", "DIGEST"]);
        digest(primary) == digest(replica)
    });
}

#[test]
fn writes_reach_the_replica() {
    let (primary, replica) = pair();
    assert_eq!(primary.reply("RMR.MAP LIST 2 a b SET {} 1"), "[+OK, +OK]");
    assert_eq!(primary.reply("RMR.FANOUT RPUSH list x y"), "[2]");
    assert_eq!(primary.reply("RMR.MAP SUM 2 a c INCRBY {} 10"), "21");
    let mut wire = primary.wire();
    for line in ["MULTI", "SET d 1", "RMR.MAP LIST 1 d INCR", "RMR.FANOUT SET e 5", "EXEC"] {
        wire.reply(line);
    }
    await_same_data(&primary, &replica);
    assert_eq!(replica.run::<Vec<String>>(&["MGET", "a", "b", "c", "d", "e"]), ["11", "1", "10", "2", "5"]);
    assert_eq!(replica.run::<usize>(&["LLEN", "list"]), 2, "once, not twice");
    assert_eq!(replica.calls_of("rmr.map"), 0, "what travels is what was done");
}

#[test]
fn a_long_write_reaches_the_replica_in_whole_and_in_its_database() {
    let (primary, replica) = pair();
    let (mut ninth, mut zeroth) = (primary.wire(), primary.wire());
    assert_eq!(ninth.reply("SELECT 9"), "+OK");
    ninth.send(&set_many("nine"));
    zeroth.send(&set_many("zero"));
    assert_eq!(crate::common::show(&ninth.read_frame()), MANY.to_string());
    assert_eq!(crate::common::show(&zeroth.read_frame()), MANY.to_string());
    await_same_data(&primary, &replica);
    let mut wire = replica.wire();
    assert_eq!(wire.reply("GET k:4999"), "\"zero\"");
    assert_eq!(wire.reply("SELECT 9"), "+OK");
    assert_eq!(wire.reply("GET k:4999"), "\"nine\"");
    assert_eq!(wire.reply("DBSIZE"), MANY.to_string());
}

#[test]
fn reads_are_not_replicated() {
    let (primary, replica) = pair();
    primary.run::<()>(&["SET", "a", "1"]);
    await_same_data(&primary, &replica);
    let before = replica.figure("stats", "total_commands_processed");
    let gets = replica.calls_of("get");
    for _ in 0..50 {
        assert_eq!(primary.reply("RMR.SUM a a"), "2");
    }
    primary.run::<()>(&["SET", "a", "2"]);
    await_same_data(&primary, &replica);
    assert_eq!(replica.calls_of("get"), gets);
    let seen = replica.figure("stats", "total_commands_processed") - before;
    assert!(seen < 100, "{seen} commands for one write");
}

#[test]
fn writes_are_in_the_append_only_file() {
    let server = Server::builder().config("appendonly", "yes").start();
    let mut third = server.wire();
    third.reply("SELECT 3");
    assert_eq!(third.reply_to(&set_many("three")), MANY.to_string());
    assert_eq!(server.reply("RMR.MAP LIST 2 a b INCR"), "[1, 1]");
    assert_eq!(server.reply("RMR.FANOUT RPUSH list x"), "[1]");
    let digest: String = server.run(&["DEBUG", "DIGEST"]);
    server.restart();
    assert_eq!(server.run::<String>(&["DEBUG", "DIGEST"]), digest);
    assert_eq!(server.run::<String>(&["GET", "a"]), "1");
    assert_eq!(server.reply("RMR.MAP LIST 2 a b INCR"), "[2, 2]", "it goes on after the restart");
}

#[test]
fn a_replica_serves_reads_and_refuses_writes() {
    let (primary, replica) = pair();
    primary.run::<()>(&["MSET", "a", "1", "b", "2"]);
    await_same_data(&primary, &replica);
    assert_eq!(replica.reply("RMR.SUM a b"), "3");
    assert_eq!(replica.reply("RMR.FANOUT DBSIZE"), "[2]");
    assert_eq!(replica.reply("RMR.PING"), "+OK");
    let readonly = format!("-RMRSHARD {}: READONLY You can't write against a read only replica.", replica.address());
    for line in ["RMR.MAP LIST 2 a b SET {} 9", "RMR.MAP LIST 1 a DEL"] {
        assert_eq!(replica.reply(line), format!("{readonly} (key 'a')"));
    }
    assert_eq!(replica.reply("RMR.FANOUT FLUSHALL"), readonly);
    assert_eq!(replica.run::<String>(&["GET", "a"]), "1");
    replica.run::<()>(&["CONFIG", "SET", "replica-read-only", "no"]);
    assert_eq!(replica.reply("RMR.MAP LIST 1 a SET {} 9"), "[+OK]", "unless it takes writes");
}

#[test]
fn a_replica_of_a_cluster_sends_everything_to_the_primaries() {
    let cluster = Cluster::builder().shards(3).replicas(1).start();
    let keys: Vec<String> = (0..3).map(|shard| cluster.key_for(shard, "n")).collect();
    let keys = keys.join(" ");
    for (round, replica) in (1..).zip(cluster.replicas()) {
        assert_eq!(replica.reply(&format!("RMR.MAP SUM 3 {keys} INCR")), (3 * round).to_string());
        assert_eq!(replica.reply(&format!("RMR.SUM {keys}")), (3 * round).to_string());
        assert_eq!(replica.reply("RMR.FANOUT REDUCE SUM DBSIZE"), "3");
        assert_eq!(replica.reply("RMR.PING"), "+OK");
    }
}

#[test]
fn scripts_that_must_not_write_do_not_write_through_rmr() {
    let server = Server::start();
    server.run::<()>(&["SET", "a", "1"]);
    let write = "return redis.pcall('RMR.MAP', 'LIST', '1', 'a', 'SET', '{}', '9')";
    let reply = server.wire().reply_to(&["EVAL_RO", write, "0"]);
    assert!(reply.starts_with('-'), "{reply}");
    let flagged = format!("#!lua flags=no-writes\n{write}");
    let reply = server.wire().reply_to(&["EVAL", &flagged, "0"]);
    assert!(reply.starts_with('-'), "{reply}");
    assert_eq!(server.run::<String>(&["GET", "a"]), "1");
    let read = "return redis.call('RMR.SUM', 'a', 'a')";
    assert_eq!(server.wire().reply_to(&["EVAL_RO", read, "0"]), "2");
}
