//! `RMR.PLACE REMOVE node FORCE`: a node loses its copies at once, and the only copy of a slot is never dropped.

use std::sync::atomic::AtomicBool;
use std::thread;

use super::check::{check, figure};
use super::copies::{Storm, holders, node, two_copies, value};
use super::moves::{Ends, MOVED, fill, lists, share};
use super::{SOON, await_served, proxy, push, servers};
use crate::common::{Server, eventually};

const SLOTS: (&str, &str) = ("slots", "64");

/// Returns whether the configuration node knows a node.
fn is_known(config: &Server, node: &Server) -> bool {
    config.run(&["HEXISTS", "nodes", &node.address()])
}

/// C.8, S1, S4: every write goes on, no slot is suspect, and other copies are made of those that are left.
#[test]
fn a_node_is_removed_at_once_in_a_storm_of_writes() {
    let (config, nodes, first) = two_copies::<4>(&[SLOTS]);
    let second = proxy(&config);
    await_served(&second);
    let gone = &nodes[1];
    let (storm, end) = (Storm::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| storm.blow(&[&first, &second], &end));
        let _ends = Ends(&end);
        let sum = || storm.acknowledged.lock().unwrap().values().sum::<i64>();
        eventually(SOON, "writes are under way", || sum() >= 100);
        assert_eq!(second.reply(&format!("RMR.PLACE REMOVE {} force", gone.address())), "+OK");
        eventually(SOON, "it has no copies", || share(&lists(&config), gone) == 0);
        eventually(MOVED, "it is no node, and all slots have two copies", || {
            !is_known(&config, gone) && lists(&config).iter().all(|list| list.len() == 2)
        });
        let before = sum();
        eventually(SOON, "writes go on", || sum() > before + 100);
    });
    let unknown = storm.unknown.into_inner().unwrap();
    assert!(unknown.is_empty(), "{unknown:?}");
    let log: Vec<(String, Vec<String>)> = config.run(&["XRANGE", "log", "-", "+"]);
    assert!(!log.iter().any(|(_, fields)| fields[1].starts_with("suspect")), "{log:?}");
    let checked = check(&first, "ALL");
    assert_eq!(figure(&checked, "differences"), 0, "{checked}");
    let mut wire = second.wire();
    for (key, count) in storm.acknowledged.into_inner().unwrap() {
        assert_eq!(value(&mut wire, &key), Some(count), "{key}");
    }
    assert!(gone.run::<u64>(&["DBSIZE"]) > 0, "nothing is changed there");
}

/// A node that stands still, and that is waited for: nobody waits any more.
#[test]
fn a_node_that_stands_still_is_removed_at_once() {
    let (config, nodes, proxy) = two_copies::<3>(&[("node-timeout-ms", "60000")]);
    for key in 0..60 {
        assert_eq!(proxy.reply(&format!("SET key:{key} {key}")), "+OK");
    }
    let still = node(&nodes, &holders(&config, "key:1")[0]);
    still.stop_signal();
    let mut waiting = proxy.wire();
    waiting.send(&["SET", "key:1", "new"]);
    eventually(SOON, "it is removed", || proxy.reply(&format!("RMR.PLACE REMOVE {} FORCE", still.address())) == "+OK");
    assert_eq!(waiting.read_frame(), b"+OK\r\n");
    eventually(SOON, "it is no node", || !is_known(&config, still));
    assert_eq!(proxy.reply("GET key:1"), "\"new\"");
    for key in 2..60 {
        assert_eq!(proxy.reply(&format!("INCR key:{key}")), (key + 1).to_string());
        let of_key = holders(&config, &format!("key:{key}"));
        assert!(of_key.iter().all(|name| *name != still.address()), "{of_key:?}");
        assert_eq!(node(&nodes, &of_key[0]).run::<u64>(&["GET", &format!("key:{key}")]), key + 1);
    }
    still.cont_signal();
}

#[test]
fn the_only_copy_of_a_slot_stays() {
    let [config, nodes @ ..] = servers::<3>();
    config.run::<u64>(&["HSET", "settings", SLOTS.0, SLOTS.1]);
    let proxy = proxy(&config);
    push(&config, &nodes);
    await_served(&proxy);
    let before = lists(&config);
    let reply = proxy.reply(&format!("RMR.PLACE REMOVE {} FORCE", nodes[0].address()));
    let why = "it has the only copy of 32 slots; REMOVE without FORCE has them copied first";
    assert_eq!(reply, format!("-ERR the node {} cannot be removed: {why}", nodes[0].address()));
    assert_eq!(lists(&config), before);
    let reply = proxy.reply("RMR.PLACE REMOVE 127.0.0.1:1 FORCE");
    assert_eq!(reply, "-ERR the node 127.0.0.1:1 cannot be removed: it is no node");
    let reply = proxy.reply(&format!("RMR.PLACE REMOVE {} NOW", nodes[0].address()));
    assert!(reply.starts_with("-ERR "), "{reply}");
}

/// Of slots that move to a node that is removed, and of those that move off one, nothing is lost, and nothing is left of the moves.
#[test]
fn a_node_is_removed_at_once_while_slots_move() {
    let [config, nodes @ ..] = servers::<5>();
    for (name, value) in [SLOTS, ("copies", "2")] {
        config.run::<u64>(&["HSET", "settings", name, value]);
    }
    let first = proxy(&config);
    push(&config, &nodes[..3]);
    await_served(&first);
    let second = proxy(&config);
    await_served(&second);
    let keys = fill(&first, 3000);
    let (storm, end) = (Storm::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| storm.blow(&[&first, &second], &end));
        let _ends = Ends(&end);
        let settled = |gone: &Server| {
            eventually(MOVED, "it is no node, and all slots have two copies", || {
                let is_whole = lists(&config).iter().all(|list| list.len() == 2);
                is_whole && !is_known(&config, gone) && !config.run::<bool>(&["EXISTS", "moves"])
            });
        };
        push(&config, &nodes[3..]);
        eventually(MOVED, "slots move to it", || share(&lists(&config), &nodes[3]) >= 3);
        assert_eq!(first.reply(&format!("RMR.PLACE REMOVE {} FORCE", nodes[3].address())), "+OK");
        settled(&nodes[3]);
        let before = share(&lists(&config), &nodes[0]);
        assert_eq!(first.reply(&format!("RMR.PLACE REMOVE {}", nodes[0].address())), "+OK");
        eventually(MOVED, "slots move off it", || share(&lists(&config), &nodes[0]) < before - 3);
        assert_eq!(second.reply(&format!("RMR.PLACE REMOVE {} FORCE", nodes[0].address())), "+OK");
        settled(&nodes[0]);
    });
    let unknown = storm.unknown.into_inner().unwrap();
    assert!(unknown.is_empty(), "{unknown:?}");
    let checked = check(&first, "ALL");
    assert_eq!(figure(&checked, "differences"), 0, "{checked}");
    let mut wire = second.wire();
    for (key, count) in storm.acknowledged.into_inner().unwrap() {
        assert_eq!(value(&mut wire, &key), Some(count), "{key}");
    }
    for (key, expires) in keys {
        assert_eq!(wire.reply(&format!("GET {key}")), format!("\"{}\"", key.trim_start_matches("key:")), "{key}");
        assert_eq!(wire.reply(&format!("PEXPIRETIME {key}")), expires.to_string(), "{key}");
    }
}
