//! Tests that the changes of the coordinator's own share reach the replica and the append-only file, and that nothing else is
//! done twice.
//!
//! A large share is served in slices between which the server does other things; each slice must leave the server in
//! a state that it can go on from.

use std::time::Duration;

use crate::common::{Server, ServerBuilder, eventually};

/// More keys than fit into a slice of a millisecond, many times over.
const KEYS: usize = 10_000;

const SOON: Duration = Duration::from_secs(10);

/// `RMR.MAP reducer numkeys key ... command`, for keys `key:0` and on.
fn map(reducer: &str, command: &[&str]) -> Vec<String> {
    let head = ["RMR.MAP", reducer].map(str::to_owned).into_iter().chain([KEYS.to_string()]);
    let keys = (0..KEYS).map(|number| format!("key:{number}"));
    head.chain(keys).chain(command.iter().map(|&word| word.to_owned())).collect()
}

/// Returns a server on which nothing but our commands drops expired keys, or tidies up behind them.
fn quiet(builder: ServerBuilder) -> Server {
    let server = builder.start();
    server.run::<()>(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    server
}

fn replica_of(primary: &Server) -> Server {
    let replica = Server::start();
    replica.run::<()>(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]);
    eventually(SOON, "the replica is in sync", || {
        replica.run::<String>(&["INFO", "replication"]).contains("master_link_status:up")
    });
    replica
}

/// Returns the data of both as one number.
fn digest(server: &Server) -> String {
    server.run(&["DEBUG", "DIGEST"])
}

#[test]
fn a_large_share_of_writes_reaches_the_replica() {
    let primary = quiet(Server::builder());
    let replica = replica_of(&primary);
    for round in 1..=3 {
        assert_eq!(primary.wire().ask(&map("SUM", &["INCR"])), format!(":{}", KEYS * round));
    }
    assert_eq!(primary.run::<usize>(&["DBSIZE"]), KEYS);
    eventually(SOON, "the replica has all of it", || digest(&replica) == digest(&primary));
    assert_eq!(replica.run::<u64>(&["GET", "key:0"]), 3);
}

#[test]
fn a_large_share_of_writes_reaches_the_append_only_file() {
    let server = quiet(Server::builder().config("appendonly", "yes"));
    assert_eq!(server.wire().ask(&map("SUM", &["INCR"])), format!(":{KEYS}"));
    assert_eq!(server.wire().ask(&map("SUM", &["INCR"])), format!(":{}", KEYS * 2));
    let before = digest(&server);
    server.restart();
    assert_eq!(digest(&server), before);
}

#[test]
fn keys_that_have_expired_are_dropped_on_the_replica_too() {
    let primary = quiet(Server::builder());
    let replica = replica_of(&primary);
    primary.wire().ask(&map("COUNT", &["SET", "{}", "1", "PX", "20"]));
    primary.run::<()>(&["SET", "key:0", "7"]);
    let mut wire = primary.wire();
    let sum: Vec<String> = ["RMR.SUM".to_owned()].into_iter().chain((0..KEYS).map(|n| format!("key:{n}"))).collect();
    eventually(SOON, "all but one have expired", || wire.ask(&sum) == ":7");
    eventually(SOON, "and are gone on both", || {
        primary.run::<usize>(&["DBSIZE"]) == 1 && replica.run::<usize>(&["DBSIZE"]) == 1
    });
}

#[test]
fn clients_that_wait_for_a_key_are_served_by_what_a_share_writes() {
    let server = quiet(Server::builder());
    let _replica = replica_of(&server);
    let last = format!("key:{}", KEYS - 1);
    let mut waiting = server.wire();
    waiting.send(&["BLPOP", &last, "0"]);
    eventually(SOON, "it waits", || server.figure("clients", "blocked_clients") == 1);
    assert_eq!(server.wire().ask(&map("SUM", &["RPUSH", "{}", "x"])), format!(":{KEYS}"));
    let frame = String::from_utf8(waiting.read_frame()).expect("text");
    assert!(frame.contains(&last), "{frame}");
}
