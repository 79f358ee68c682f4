//! `maxmemory` is looked at before each command, not once a request.

use crate::common::{Cluster, Server};

/// Values that are together far more than there is room for.
const KEYS: usize = 4_000;
const ROOM: u64 = 16_000_000;
/// As far past the limit as single commands may lead.
const SLACK: u64 = 1_000_000;

fn used(server: &Server) -> u64 {
    server.figure("memory", "used_memory")
}

/// Writes to all keys at once, by way of a server.
fn write_a_lot(asked: &Server, keys: &[String], road: &str) -> String {
    let words: Vec<String> = match road {
        "BATCH" => {
            let start = ["RMR.BATCH", "TIMEOUT", "60000"].map(str::to_owned);
            let list = |key: &String| {
                let command = [key, "1", "4", "SETRANGE", key, "10000", "x"].map(str::to_owned);
                command.into_iter()
            };
            start.into_iter().chain(keys.iter().flat_map(list)).collect()
        }
        _ => {
            let reducer = if road == "PUSHDOWN" { "COUNT" } else { "LIST" };
            let start = ["RMR.MAP", "TIMEOUT", "60000", "PARTIAL", reducer].map(str::to_owned);
            let start = start.into_iter().chain([keys.len().to_string()]);
            start.chain(keys.iter().cloned()).chain(["SETRANGE", "{}", "10000", "x"].map(str::to_owned)).collect()
        }
    };
    let frame = asked.wire().call(&words);
    String::from_utf8_lossy(&frame).into_owned()
}

fn keys() -> Vec<String> {
    (0..KEYS).map(|number| format!("key:{number}")).collect()
}

/// Writes more than there is room for, by way of `asked`, to keys of `server`.
fn assert_minded(asked: &Server, server: &Server, keys: &[String], road: &str) {
    let limit = used(server) + ROOM;
    server.run::<()>(&["CONFIG", "SET", "maxmemory", &limit.to_string()]);
    let reply = write_a_lot(asked, keys, road);
    assert!(reply.contains("OOM command not allowed"), "{road}");
    server.run::<()>(&["MEMORY", "PURGE"]);
    assert!(used(server) < limit + SLACK, "{road}: {} of {limit}", used(server));

    // Valkey would free it in the background, and has nothing to evict before that is done.
    server.run::<()>(&["FLUSHALL", "SYNC"]);
    server.run::<()>(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let reply = write_a_lot(asked, keys, road);
    assert!(!reply.contains("OOM") && !reply.contains("RMR"), "{road}: {:?}", reply.get(..200));
    assert!(used(server) < limit + SLACK, "{road}: {} of {limit}", used(server));
    assert!(server.figure("stats", "evicted_keys") > 0, "{road}");
}

#[test]
fn maxmemory_is_minded_per_command_by_map_and_batch_here() {
    for road in ["MAP", "BATCH"] {
        let server = Server::start();
        assert_minded(&server, &server, &keys(), road);
    }
}

#[test]
fn maxmemory_is_minded_per_command_by_the_share_of_another_node_by_pushdown() {
    let cluster = Cluster::builder().shards(2).module_args(["pushdown", "on"]).start();
    let keys: Vec<String> = cluster.keys_for(1, "key:").take(KEYS).collect();
    let asked = cluster.node(0);
    assert_minded(asked, cluster.node(1), &keys, "PUSHDOWN");
    assert!(asked.rmr_figure("inner_shares") >= 2, "the other node was asked to reduce its share");
}

#[test]
fn a_full_memory_refuses_what_needs_more_and_nothing_else_by_any_road() {
    let server = Server::start();
    server.run::<()>(&["SET", "k", "1"]);
    server.run::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    for reply in super::roads(&server, "k", "SET k x") {
        assert!(reply.contains("OOM command not allowed"), "{reply}");
    }
    assert!(server.reply("RMR.EXEC FUNCTION LOAD x").contains("OOM command not allowed"));
    assert_eq!(server.reply("RMR.EXEC GET k"), "\"1\"");
    assert_eq!(server.reply("RMR.EXEC DEL k"), "1");
    let mut elsewhere = server.wire();
    assert_eq!(elsewhere.reply("SELECT 3"), "+OK");
    let reply = elsewhere.reply("RMR.EXEC SET k x");
    assert!(reply.contains("OOM command not allowed"), "{reply}");
}

#[test]
fn commands_that_leave_for_their_guard_keep_their_order() {
    let server = Server::start();
    server.run::<()>(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let limit = used(&server) + ROOM;
    server.run::<()>(&["CONFIG", "SET", "maxmemory", &limit.to_string()]);
    write_a_lot(&server, &keys(), "MAP");
    const COMMANDS: usize = 200;
    let mut batch = vec!["RMR.BATCH".to_owned(), "list".into(), (2 * COMMANDS).to_string()];
    let mut expected = Vec::new();
    for number in 0..COMMANDS {
        let value = format!("{number:04}{}", "x".repeat(2000));
        batch.extend(["3", "SET", "list", &value, "4", "GETRANGE", "list", "0", "3"].map(str::to_owned));
        expected.push(format!("+OK, \"{number:04}\""));
    }
    assert_eq!(server.wire().reply_to(&batch), format!("[\"list\", [{}]]", expected.join(", ")));
}
