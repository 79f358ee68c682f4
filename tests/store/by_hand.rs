//! `RMR.PLACE PLAN`, `MOVE` and `REBALANCE`: moves that operators look at and ask for.

use std::collections::BTreeSet;

use super::place::ask;
use super::{SOON, await_served, proxy, servers};
use crate::common::{RmrProxy, Server, Wire, eventually};

const SLOTS: usize = 32;

fn lists(config: &Server) -> Vec<Vec<String>> {
    (0..SLOTS).map(|slot| config.run(&["LRANGE", &format!("hashingslot:{slot}"), "0", "-1"])).collect()
}

fn shares(config: &Server, nodes: &[Server]) -> Vec<usize> {
    let lists = lists(config);
    nodes.iter().map(|node| lists.iter().filter(|list| list.contains(&node.address())).count()).collect()
}

/// Waits until nothing is left of moves.
#[track_caller]
fn await_moved(config: &Server) {
    eventually(SOON, "the slots have moved", || !config.run::<bool>(&["EXISTS", "moves"]));
}

/// Returns the next cursor of a scan, and keys.
fn scan(wire: &mut Wire, cursor: &str) -> (String, Vec<String>) {
    let said = wire.reply(&format!("SCAN {cursor} COUNT 5"));
    let mut words = said.split(['[', ']', '"', ',', ' ']).filter(|word| !word.is_empty()).map(str::to_owned);
    (words.next().unwrap_or_default(), words.collect())
}

fn say(proxy: &RmrProxy, words: &str) -> String {
    proxy.reply(&format!("RMR.PLACE {words}"))
}

/// B43, B52 to B54: slots go where operators say, stay there, and are evened out when they say so.
#[test]
fn operators_move_slots_and_even_them_out() {
    let [config, nodes @ ..] = servers::<5>();
    let proxy = proxy(&config);
    eventually(SOON, "the settings are stored", || config.run::<bool>(&["EXISTS", "settings"]));
    let address = |node: usize| nodes[node].address();
    let create = format!("CREATE SLOTS {SLOTS} NODES {} {} {}", address(0), address(1), address(2));
    assert_eq!(say(&proxy, &create), "+OK");
    await_served(&proxy);
    let mut wire = proxy.wire();
    for key in 0..200 {
        assert_eq!(wire.reply(&format!("SET key:{key} {key}")), "+OK");
    }
    assert!(
        ask(&proxy, "PLAN").ends_with("\"balance\": \"even\", \"first-copies\": 0, \"moves\": []}"),
        "{}",
        ask(&proxy, "PLAN")
    );
    let slot = lists(&config).iter().position(|list| list[0] == address(0)).expect("a slot");
    let away = format!("MOVE {slot} {} {}", address(0), address(1));
    assert!(say(&proxy, &away).contains("the setting balance is even"), "{}", say(&proxy, &away));
    assert_eq!(say(&proxy, "REBALANCE"), "0");

    assert_eq!(say(&proxy, "SET balance by-hand"), "+OK");
    for (line, why) in [
        (format!("MOVE {slot} {} {}", address(1), address(2)), "has no copy of it"),
        (format!("MOVE {slot} {} {}", address(0), address(0)), "has a copy of it already"),
        (format!("MOVE {slot} {} {}", address(0), address(3)), "is no node"),
        (format!("MOVE {SLOTS} {} {}", address(0), address(1)), "it is at no node"),
    ] {
        let said = say(&proxy, &line);
        assert!(said.starts_with("-ERR MOVE ") && said.ends_with(why), "{line}: {said}");
    }
    assert_eq!(say(&proxy, "PAUSE"), "+OK");
    assert_eq!(say(&proxy, &away), "+OK");
    assert!(say(&proxy, &away).ends_with("it moves already"));
    assert!(say(&proxy, "REBALANCE").contains("slots move already"));
    let plan = ask(&proxy, "PLAN");
    let line = format!(
        "{{\"state\": \"planned\", \"from\": \"{}\", \"to\": \"{}\", \"why\": \"by hand\", \"count\": 1, \"slots\": [{slot}]}}",
        address(0),
        address(1)
    );
    assert!(plan.starts_with("{\"paused\": 1") && plan.contains(&line), "{plan}");
    let (mut cursor, first) = scan(&mut wire, "0");
    assert!(cursor != "0" && !first.is_empty());
    assert_eq!(say(&proxy, "RESUME"), "+OK");
    eventually(SOON, "the slot has moved", || lists(&config)[slot] == [address(1)]);
    await_moved(&config);
    // A scan that began before may have missed keys of the slot.
    let late = format!("SCAN {cursor} COUNT 5");
    eventually(SOON, "the scan is over", || wire.reply(&late).starts_with("-RMRSLOTS keys have gone to other nodes"));
    let mut found = BTreeSet::new();
    cursor = "0".to_owned();
    loop {
        let (next, keys) = scan(&mut wire, &cursor);
        found.extend(keys);
        if next == "0" {
            break;
        }
        cursor = next;
    }
    assert_eq!(found.len(), 200);
    assert!(wire.reply("INFO placement").contains("moves_done:1"), "{}", wire.reply("INFO placement"));

    // A node that comes gets nothing before somebody says so.
    assert_eq!(say(&proxy, &format!("ADD {} ZONE far", address(3))), "+OK");
    eventually(SOON, "it is in", || config.run::<bool>(&["HEXISTS", "nodes", &address(3)]));
    eventually(SOON, "it would get its share", || ask(&proxy, "PLAN").contains("\"state\": \"by rebalance\""));
    assert_eq!(shares(&config, &nodes)[3], 0);
    assert_eq!(say(&proxy, "REBALANCE SLOTS 3"), "3");
    await_moved(&config);
    eventually(SOON, "three slots have moved", || shares(&config, &nodes)[3] == 3);
    assert_eq!(say(&proxy, "REBALANCE"), "5");
    await_moved(&config);
    assert_eq!(shares(&config, &nodes), [8; 4]);
    assert_eq!(say(&proxy, "REBALANCE"), "0");

    // A node that leaves goes all the same.
    assert_eq!(say(&proxy, &format!("REMOVE {}", address(2))), "+OK");
    eventually(SOON, "the node has no slot any more", || shares(&config, &nodes)[2] == 0);
    for key in 0..200 {
        assert_eq!(wire.reply(&format!("GET key:{key}")), format!("\"{key}\""));
    }
}

/// First copies are spread, and a zone that has a copy gets no other one.
#[test]
fn first_copies_are_spread_and_zones_are_kept() {
    let [config, nodes @ ..] = servers::<4>();
    for (name, value) in [("copies", "2"), ("balance", "by-hand"), ("slots", "32")] {
        config.run::<u64>(&["HSET", "settings", name, value]);
    }
    for (node, zone) in nodes.iter().zip(["east", "west", "west"]) {
        config.run::<u64>(&["HSET", "asked", &node.address(), &format!("1 {zone}")]);
    }
    let proxy = proxy(&config);
    super::push(&config, &nodes);
    await_served(&proxy);
    let west = lists(&config).iter().position(|list| list.contains(&nodes[1].address())).expect("a slot");
    let said = say(&proxy, &format!("MOVE {west} {} {}", nodes[0].address(), nodes[2].address()));
    assert!(said.ends_with("another copy of it is in the zone west already"), "{said}");
    assert_eq!(say(&proxy, &format!("MOVE {west} {} {}", nodes[1].address(), nodes[2].address())), "+OK");
    await_moved(&config);
    let mut wire = proxy.wire();
    for key in 0..100 {
        assert_eq!(wire.reply(&format!("SET key:{key} {key}")), "+OK");
    }
    // All first copies at one node.
    for (slot, list) in lists(&config).iter().enumerate() {
        let list_name = format!("hashingslot:{slot}");
        let other = list.iter().find(|node| **node != nodes[0].address()).expect("another copy");
        // At once: a slot that is short of a copy would get one.
        let script = "redis.call('LREM', KEYS[1], 0, ARGV[1]) return redis.call('RPUSH', KEYS[1], ARGV[1])";
        config.run::<u64>(&["EVAL", script, "1", &list_name, other]);
    }
    config.run::<u64>(&["INCR", "epoch"]);
    let firsts = || lists(&config).iter().filter(|list| list[0] == nodes[0].address()).count();
    assert_eq!(firsts(), SLOTS);
    eventually(SOON, "first copies are spread", || {
        let said = say(&proxy, "REBALANCE");
        said.parse::<usize>().is_ok() && firsts() < SLOTS
    });
    await_moved(&config);
    for key in 0..100 {
        assert_eq!(wire.reply(&format!("INCR key:{key}")), (key + 1).to_string());
    }
    assert_eq!(wire.reply("DBSIZE"), "100");
    let said = ask(&proxy, "CHECK");
    assert!(said.contains("\"differences\": 0") && said.contains("\"slots-unchecked\": 0"), "{said}");
}
