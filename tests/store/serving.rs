//! Keys are where the configuration node says, for every proxy.

use std::collections::BTreeMap;

use rmr::placement::slot::SlotFunc;

use super::{SOON, await_served, proxy, push, servers, url};
use crate::common::{RmrProxy, Server, eventually};

/// B10 to B13, B15 to B20, B25 to B27, B30, B35, B36, B46, B49 to B51: the lists are the proposal's, and plain clients find
/// their keys by them.
#[test]
fn three_servers_are_one_to_clients_of_any_proxy() {
    let [config, nodes @ ..] = servers::<4>();
    let (first, second) = (proxy(&config), proxy(&config));
    assert!(first.reply("SET key 1").contains("LPUSH newnodes"), "{}", first.reply("SET key 1"));
    push(&config, &nodes);
    await_served(&first);
    await_served(&second);

    let mut slots = BTreeMap::new();
    for slot in 0..1024 {
        let list: Vec<String> = config.run(&["LRANGE", &format!("hashingslot:{slot}"), "0", "-1"]);
        assert_eq!(list.len(), 1, "slot {slot}");
        *slots.entry(list[0].clone()).or_insert(0) += 1;
    }
    let mut shares: Vec<u32> = slots.values().copied().collect();
    shares.sort_unstable();
    assert_eq!(shares, [341, 341, 342]);

    let mut wire = first.wire();
    for number in 0..60 {
        assert_eq!(wire.reply(&format!("SET key:{number} {number}")), "+OK");
    }
    for number in 0..60 {
        let key = format!("key:{number}");
        let slot = SlotFunc::default().slot(key.as_bytes());
        let holder: String = config.run(&["LINDEX", &format!("hashingslot:{slot}"), "0"]);
        let has = |node: &&Server| node.run::<bool>(&["EXISTS", &key]);
        let holders: Vec<String> = nodes.iter().filter(has).map(Server::address).collect();
        assert_eq!(holders, [holder], "{key}");
        assert_eq!(second.reply(&format!("GET {key}")), format!("\"{number}\""));
    }
    assert_eq!(SlotFunc::default().slot(b"mykey"), 6);

    // Commands that concern many keys or no key, and those that belong to one node.
    let mut wire = second.wire();
    assert_eq!(wire.reply("DBSIZE"), "60");
    assert_eq!(wire.reply("MGET key:0 key:59 nothing"), "[\"0\", \"59\", nil]");
    assert_eq!(wire.reply("KEYS *").matches("key:").count(), 60);
    for line in ["MULTI", "INCR {n}a", "INCR {n}b"] {
        assert!(wire.reply(line).starts_with('+'), "{line}");
    }
    assert_eq!(wire.reply("EXEC"), "[1, 1]");
    assert_eq!(wire.reply("BLPOP list 0.01"), "nil");
    assert_eq!(wire.reply("EVAL return(redis.call('GET',KEYS[1])) 1 {n}a"), "\"1\"");
    assert_eq!(wire.reply("FLUSHALL"), "+OK");
    assert_eq!(first.reply("DBSIZE"), "0");
}

/// B31: proxies register with a key that expires.
#[test]
fn a_proxy_that_is_killed_is_noticed() {
    let [config] = servers::<1>();
    let stays = proxy(&config);
    let dies = proxy(&config);
    let registered = |proxy: &RmrProxy| {
        let proxies: Vec<String> = config.run(&["ZRANGE", "proxies", "0", "-1"]);
        proxies.contains(&format!("127.0.0.1:{}", proxy.port()))
    };
    eventually(SOON, "both are registered", || registered(&stays) && registered(&dies));
    let key = format!("proxy:127.0.0.1:{}", dies.port());
    assert!((1..=2000).contains(&config.run::<i64>(&["PTTL", &key])));
    drop(dies);
    eventually(SOON, "one is left", || config.run::<Vec<String>>(&["ZRANGE", "proxies", "0", "-1"]).len() == 1);
    assert!(registered(&stays));
}

/// B24, the half that holds with one copy: without the configuration node all goes on.
#[test]
fn the_configuration_node_may_be_away() {
    let [config, nodes @ ..] = servers::<3>();
    let proxy = proxy(&config);
    push(&config, &nodes);
    await_served(&proxy);
    assert_eq!(proxy.reply("SET key 1"), "+OK");
    config.kill();
    for number in 0..50 {
        assert_eq!(proxy.reply(&format!("SET key:{number} {number}")), "+OK");
    }
    assert_eq!(proxy.reply("GET key"), "\"1\"");
    assert_eq!(proxy.reply("DBSIZE"), "51");
}

/// Two placements with names of their own live at one configuration node. B34: what has changed is followed, without a restart.
#[test]
fn a_name_keeps_placements_apart() {
    let [config, one, other] = servers::<3>();
    for (name, node) in [("one", &one), ("other", &other)] {
        config.run::<u64>(&["HSET", &format!("{{rmr:{name}}}:settings"), "slots", "16"]);
        config.run::<u64>(&["LPUSH", &format!("{{rmr:{name}}}:newnodes"), &node.address()]);
    }
    for (name, node, key) in [("one", &one, "a"), ("other", &other, "b")] {
        let proxy = RmrProxy::builder().set("placement", url(&config)).set("placement-name", name).start();
        await_served(&proxy);
        assert_eq!(proxy.reply(&format!("SET {key} 1")), "+OK");
        assert!(node.run::<bool>(&["EXISTS", key]));
        assert_eq!(config.run::<u64>(&["HLEN", &format!("{{rmr:{name}}}:slots")]), 16);
    }
    assert!(!config.run::<bool>(&["EXISTS", "slots"]));
}

/// S7 for a key: a slot that is at no node is an error, never an empty answer.
#[test]
fn a_slot_at_no_node_is_an_error() {
    let [config, nodes @ ..] = servers::<3>();
    config.run::<u64>(&["HSET", "settings", "coverage", "slot"]);
    let proxy = proxy(&config);
    push(&config, &nodes);
    await_served(&proxy);
    assert_eq!(proxy.reply("SET mykey 1"), "+OK");
    config.run::<u64>(&["DEL", "hashingslot:6"]);
    config.run::<u64>(&["INCR", "epoch"]);
    eventually(SOON, "the change is seen", || proxy.reply("GET mykey").contains("hashingslot:6"));
    assert!(proxy.reply("GET mykey").starts_with("-RMRSLOTS "), "{}", proxy.reply("GET mykey"));
    assert_eq!(proxy.reply("SET foo 1"), "+OK");
}
