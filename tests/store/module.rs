//! The module on servers of its own: its commands answer for a store.

use super::{SOON, await_served, proxy, push, servers, url};
use crate::common::{Server, eventually};

/// Starts a server with the module, which finds its nodes by the configuration node.
fn with_module(config: &Server) -> Server {
    let url = url(config);
    Server::builder().module_args(["provider", "placement", "placement", &url]).start()
}

/// Commands of the module find keys where the proxy has put them, from a node of the store and from a server that is none.
#[test]
fn the_module_answers_for_a_store() {
    let [config, nodes @ ..] = servers::<3>();
    let (member, apart) = (with_module(&config), with_module(&config));
    let nodes: Vec<Server> = nodes.into_iter().chain([member]).collect();
    let proxy = proxy(&config);
    push(&config, &nodes);
    await_served(&proxy);
    for number in 0..60 {
        assert_eq!(proxy.reply(&format!("SET key:{number} {number}")), "+OK");
    }
    for server in [&nodes[2], &apart] {
        let mut wire = server.wire();
        assert_eq!(wire.reply("RMR.SUM key:1 key:20 key:300 key:59"), "80", "{}", server.address());
        assert_eq!(wire.reply("RMR.EXEC DBSIZE"), "60");
        assert_eq!(wire.reply("RMR.EXEC MGET key:7 key:8 nothing"), "[\"7\", \"8\", nil]");
        assert_eq!(wire.reply("RMR.FANOUT REDUCE SUM DBSIZE"), "60");
        assert_eq!(wire.reply("RMR.MAP SUM MATCH key:* GET"), (0..60).sum::<i32>().to_string());
        assert!(wire.reply("RMR.TOPOLOGY").contains("\"source\", \"placement\""));
        assert!(wire.reply("RMR.PLACE KEY mykey").starts_with("[\"slot\", 6, \"state\", \"ok\""));
        assert!(wire.reply("RMR.PLACE STATUS").contains("\"slots-ok\", 1024"));
    }
    assert_eq!(apart.reply("RMR.MAP COUNT MATCH key:1? UNLINK"), "10");
    assert_eq!(proxy.reply("DBSIZE"), "50");
    assert_eq!(proxy.reply("GET key:10"), "nil");
    // Changes are followed.
    config.run::<u64>(&["DEL", "hashingslot:6"]);
    config.run::<u64>(&["INCR", "epoch"]);
    eventually(SOON, "the change is seen", || apart.reply("RMR.EXEC GET mykey").contains("hashingslot:6"));
}

#[test]
fn a_provider_without_a_configuration_node_is_refused() {
    let server = Server::builder().unloadable().start();
    let refusal = server.reply("CONFIG SET rmr.provider placement");
    assert!(refusal.contains("rmr.provider placement needs rmr.placement"), "{refusal}");
    let refusal = server.reply("CONFIG SET rmr.placement nonsense://x");
    assert!(refusal.contains("the configuration node 'nonsense://x'"), "{refusal}");
    let refusal = server.reply("CONFIG SET rmr.placement-name a{b}");
    assert!(refusal.contains("the name 'a{b}'"), "{refusal}");
    assert_eq!(server.reply("RMR.PLACE STATUS"), "-ERR RMR.PLACE is for a store; rmr.provider is not placement");
    // It can be set while the server runs.
    let [config, node] = servers::<2>();
    let proxy = proxy(&config);
    push(&config, std::slice::from_ref(&node));
    await_served(&proxy);
    assert_eq!(proxy.reply("SET key 7"), "+OK");
    let line = format!("CONFIG SET rmr.placement {} rmr.provider placement", url(&config));
    assert_eq!(server.reply(&line), "+OK");
    assert_eq!(server.reply("RMR.SUM key"), "7");
    let refusal = server.reply("CONFIG SET rmr.shard-func ketama");
    assert!(refusal.contains("rmr.provider placement needs rmr.shard-func auto"), "{refusal}");
    assert!(server.reply("RMR.PLACE NOTHING").starts_with("-ERR RMR.PLACE 'NOTHING' is not known"));
    config.kill();
    assert_eq!(server.reply("RMR.SUM key"), "7");
    assert!(server.reply("RMR.PLACE STATUS").starts_with("-RMRNODE configuration node "));
    assert_eq!(server.reply("MODULE UNLOAD rmr"), "+OK");
}

/// S2 after a flow that writes, H23: with two copies the module counts each key once, and what it writes is the same on both.
#[test]
fn the_module_counts_and_writes_all_copies() {
    let [config, nodes @ ..] = servers::<2>();
    config.run::<u64>(&["HSET", "settings", "copies", "2"]);
    let member = with_module(&config);
    let nodes: Vec<Server> = nodes.into_iter().chain([member]).collect();
    let proxy = proxy(&config);
    push(&config, &nodes);
    await_served(&proxy);
    for number in 0..60 {
        assert_eq!(proxy.reply(&format!("SET key:{number} {number}")), "+OK");
    }
    let mut wire = nodes[1].wire();
    assert_eq!(wire.reply("RMR.EXEC DBSIZE"), "60");
    assert_eq!(wire.reply("RMR.SUM key:1 key:20 key:300 key:59"), "80");
    assert_eq!(wire.reply("RMR.MAP COUNT MATCH key:* GET"), "60");
    assert_eq!(wire.reply("RMR.FANOUT REDUCE SUM DBSIZE"), "60");
    assert_eq!(wire.reply("RMR.EXEC INCRBY key:5 100"), "105");
    assert_eq!(wire.reply("RMR.MAP COUNT MATCH key:1? UNLINK"), "10");
    for node in &nodes {
        assert_eq!(node.run::<u64>(&["DBSIZE"]), 50, "{}", node.address());
        assert_eq!(node.run::<String>(&["GET", "key:5"]), "105");
    }
    assert_eq!(proxy.reply("GET key:5"), "\"105\"");
}
