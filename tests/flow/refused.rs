//! Tests the requests that are refused before any key is read, and the errors.

use crate::common::Server;
use crate::servers::Servers;

#[test]
fn commands_that_cannot_be_run_for_a_key_are_refused() {
    for servers in Servers::all() {
        servers.set("SET k 1");
        for node in servers.asked() {
            for (command, reason) in [
                ("BLPOP {} 0", "it blocks its connection"),
                ("XREAD BLOCK 0 STREAMS {} $", "it blocks its connection"),
                ("SUBSCRIBE", "it turns its connection into a stream"),
                ("MULTI", "transactions do not reach"),
                ("RMR.SUM", "a distributed command cannot be the share of another"),
                ("SHUTDOWN", "it stops, reloads or endangers the server"),
                ("PING", "'PING' has no key, so it cannot be run for each; RMR.FANOUT and RMR.EXEC send it as it is"),
                ("CONFIG GET {}", "'CONFIG' has no key"),
                ("NOSUCH", "this server knows no command 'NOSUCH {}'"),
                ("MEMORY USAGE", "this server knows no command 'MEMORY {} USAGE'"),
                ("GET {} a", "wrong number of arguments for 'get' command, as 'GET {} a'"),
                ("SET a {}", "'SET a {}' has its key elsewhere; put {} where the key belongs"),
                ("COPY {} {}", "over a pattern a command takes its key in one place"),
            ] {
                let error = node.reply(&format!("RMR.MAP LIST MATCH * {command}"));
                assert!(error.starts_with('-') && error.contains(reason), "{command}: {error}");
            }
        }
    }
}

#[test]
fn a_key_of_another_slot_is_refused_but_where_all_keys_are_with_it() {
    let servers = Servers::cluster();
    servers.set("SET {a}1 1");
    let node = &servers.asked()[1];
    let error = node.reply("RMR.MAP SUM MATCH a* COPY {} b");
    assert!(error.starts_with("-CROSSSLOT 'COPY' has the key 'b' besides, which is not on the shards"), "{error}");
    assert_eq!(node.reply("RMR.MAP SUM MATCH {a}1 COPY {} {a}2"), "1");
    assert_eq!(servers.exec("GET {a}2"), "\"1\"");
}

#[test]
fn what_cannot_wait_is_told_so() {
    let server = Server::start();
    let mut wire = server.wire();
    let waits = "in MULTI, scripts and calls from other modules only what this node can serve itself is possible; a map over a \
                 pattern has to wait, if only for its turn";
    assert_eq!(wire.reply("MULTI"), "+OK");
    assert_eq!(wire.reply("RMR.MAP COUNT MATCH *"), "+QUEUED");
    assert_eq!(wire.reply("EXEC"), format!("[-ERR {waits}]"));
    let script = "return redis.call('RMR.MAP', 'COUNT', 'MATCH', '*')";
    let error = wire.reply_to(&["EVAL", script, "0"]);
    assert!(error.contains(waits), "{error}");
}
