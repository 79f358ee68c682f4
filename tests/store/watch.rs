//! `WATCH` where keys have several copies (H25): a transaction runs only if nobody has written to the keys since.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;

use rmr::placement::slot::{SlotFunc, SlotHash};

use super::check::{check, figure};
use super::copies::{node, two_copies};
use super::handover::shares;
use super::moves::{Ends, MOVED, lists, share};
use super::{SOON, await_served, proxy, push};
use crate::common::{RmrProxy, Server, Wire, eventually};

/// Starts another proxy, and waits until it has its share of the slots: it gets so few with one change.
fn second_proxy(config: &Server) -> RmrProxy {
    let second = proxy(config);
    await_served(&second);
    eventually(SOON, "it has its share", || shares(config, &second) > 0);
    second
}

/// Watches a key, has something done, and returns the reply to a transaction that counts it up.
fn count_up_after(wire: &mut Wire, key: &str, something: impl FnOnce(&mut Wire)) -> String {
    assert_eq!(wire.reply(&format!("WATCH {key}")), "+OK");
    something(wire);
    assert_eq!(wire.reply("MULTI"), "+OK");
    assert_eq!(wire.reply(&format!("INCR {key}")), "+QUEUED");
    wire.reply("EXEC")
}

/// The key is written by the client itself, by another one, through another proxy, by a script, by a command that waits, by
/// `FLUSHALL`, and by time.
#[test]
fn a_transaction_does_not_run_if_a_key_was_written() {
    let (config, _nodes, first) = two_copies::<3>(&[("slots", "64")]);
    let second = second_proxy(&config);
    // Keys that either proxy orders the writes of.
    for number in 0..8 {
        let key = format!("key:{number}");
        let (mut wire, mut other) = (first.wire(), second.wire());
        let same = format!("{{{key}}}other");
        assert_eq!(count_up_after(&mut wire, &key, |_| ()), "[1]");
        assert_eq!(count_up_after(&mut wire, &key, |_| drop(other.reply(&format!("SET {same} 1")))), "[2]");
        let writes = [
            format!("SET {key} 5"),
            format!("DEL {key}"),
            format!("RPUSH {key} 1"),
            format!("BLPOP {key} 1"),
            format!("EVAL return(redis.call('SET',KEYS[1],7)) 1 {key}"),
            format!("EXPIRE {key} 100"),
        ];
        for write in &writes {
            let reply = count_up_after(&mut wire, &key, |_| assert!(!other.reply(write).starts_with('-'), "{write}"));
            assert_eq!(reply, "nil", "{write} by another client");
        }
        let reply = count_up_after(&mut wire, &key, |wire| assert_eq!(wire.reply(&format!("SET {key} 5")), "+OK"));
        assert_eq!(reply, "nil", "by itself");
        // It is forgotten by UNWATCH, DISCARD and EXEC, whichever comes first.
        let unwatched = |wire: &mut Wire| {
            assert_eq!(wire.reply("UNWATCH"), "+OK");
            assert_eq!(wire.reply(&format!("SET {key} 6")), "+OK");
        };
        assert_eq!(count_up_after(&mut wire, &key, unwatched), "[7]");
        let discarded = |wire: &mut Wire| {
            assert_eq!((wire.reply("MULTI"), wire.reply("DISCARD")), ("+OK".into(), "+OK".into()));
            assert_eq!(wire.reply(&format!("SET {key} 7")), "+OK");
        };
        assert_eq!(count_up_after(&mut wire, &key, discarded), "[8]");
        // Several keys, one of which was written; no commands; commands that only read.
        assert_eq!(wire.reply(&format!("WATCH {key} {same}")), "+OK");
        assert_eq!(wire.reply(&format!("WATCH {same}2")), "+OK");
        assert_eq!(other.reply(&format!("INCR {same}")), "2");
        assert_eq!((wire.reply("MULTI"), wire.reply("EXEC")), ("+OK".into(), "nil".into()));
        assert_eq!(wire.reply(&format!("WATCH {key}")), "+OK");
        assert_eq!((wire.reply("MULTI"), wire.reply("EXEC")), ("+OK".into(), "[]".into()));
        assert_eq!(wire.reply(&format!("WATCH {key}")), "+OK");
        assert_eq!((wire.reply("MULTI"), wire.reply(&format!("GET {key}"))), ("+OK".into(), "+QUEUED".into()));
        assert_eq!(wire.reply("EXEC"), "[\"8\"]");
        // A key that expires meanwhile, and one that does not.
        assert_eq!(wire.reply(&format!("SET {key} 1 PX 60000")), "+OK");
        assert_eq!(count_up_after(&mut wire, &key, |_| ()), "[2]");
        assert_eq!(wire.reply(&format!("SET {key} 1 PX 30")), "+OK");
        let gone = |_: &mut Wire| eventually(SOON, "it has expired", || other.reply(&format!("GET {key}")) == "nil");
        assert_eq!(count_up_after(&mut wire, &key, gone), "nil", "expired");
    }
    let mut wire = first.wire();
    assert_eq!(count_up_after(&mut wire, "all", |_| assert_eq!(second.reply("FLUSHALL"), "+OK")), "nil");
    assert!(wire.reply("WATCH a b").contains("'b' is apart from 'a'"));
    assert_eq!(wire.reply("WATCH a"), "+OK");
    assert!(wire.reply("WATCH b").contains("'b' is apart from 'a'"));
    assert_eq!((wire.reply("MULTI"), wire.reply("WATCH a").contains("inside MULTI")), ("+OK".into(), true));
    assert!(wire.reply("INCR b").contains("apart"));
    assert!(wire.reply("EXEC").starts_with("-EXECABORT"));
}

/// Nobody knows what was written to a slot that had another proxy meanwhile: the client tries again.
#[test]
fn a_slot_that_went_to_another_proxy_ends_a_transaction() {
    let (config, _nodes, first) = two_copies::<3>(&[("slots", "64")]);
    let mut wire = first.wire();
    assert_eq!(wire.reply("SET key 1"), "+OK");
    assert_eq!(wire.reply("WATCH key"), "+OK");
    let _second = second_proxy(&config);
    assert_eq!(wire.reply("MULTI"), "+OK");
    assert_eq!(wire.reply("INCR key"), "+QUEUED");
    assert_eq!(wire.reply("EXEC"), "nil");
    assert_eq!(count_up_after(&mut wire, "key", |_| ()), "[2]");
}

/// Clients of two proxies count up by what they have read, while a node is killed and another one comes. No count is lost.
#[test]
fn nothing_is_counted_twice_or_lost_by_those_who_watch() {
    let (config, nodes, first) = two_copies::<4>(&[("slots", "64"), ("grace-ms", "300")]);
    let second = second_proxy(&config);
    let (counted, unknown, end) = (AtomicI64::new(0), AtomicI64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let _ends = Ends(&end);
        for proxy in [&first, &second].repeat(3) {
            let (counted, unknown, end) = (&counted, &unknown, &end);
            scope.spawn(move || count(proxy, counted, unknown, end));
        }
        let more = |by: i64| {
            let before = counted.load(Ordering::Relaxed);
            eventually(MOVED, "they count on", || counted.load(Ordering::Relaxed) >= before + by);
        };
        more(50);
        let slot = SlotFunc::new(SlotHash::Sha1, 64).unwrap().slot(KEYS[0].as_bytes());
        let gone = lists(&config)[usize::from(slot)][0].clone();
        node(&nodes, &gone).kill();
        eventually(SOON, "it is out", || config.run::<String>(&["HGET", "nodes", &gone]).contains(" out "));
        more(50);
        let fifth = Server::builder().module(false).start();
        push(&config, std::slice::from_ref(&fifth));
        eventually(MOVED, "it has slots", || {
            share(&lists(&config), &fifth) == 32 && !config.run::<bool>(&["EXISTS", "moves"])
        });
        more(50);
        end.store(true, Ordering::Relaxed);
        let read = |key: &str| first.reply(&format!("GET {key}")).trim_matches('"').parse::<i64>().unwrap_or_default();
        eventually(SOON, "all have ended", || {
            let total: i64 = KEYS.map(read).iter().sum();
            let (least, most) = (counted.load(Ordering::Relaxed), unknown.load(Ordering::Relaxed));
            (least..=least + most).contains(&total)
        });
        let checked = check(&first, "ALL");
        assert_eq!(figure(&checked, "differences"), 0, "{checked}");
    });
    assert!(unknown.load(Ordering::Relaxed) <= 12, "{unknown:?}");
}

const KEYS: [&str; 4] = ["count:a", "count:b", "count:c", "count:d"];

/// Counts up by what was read.
fn count(proxy: &RmrProxy, counted: &AtomicI64, unknown: &AtomicI64, end: &AtomicBool) {
    let mut wire = proxy.wire();
    let mut round = proxy.port() as usize;
    while !end.load(Ordering::Relaxed) {
        round += 1;
        let key = KEYS[round % KEYS.len()];
        if wire.reply(&format!("WATCH {key}")) != "+OK" {
            continue;
        }
        let read = wire.reply(&format!("GET {key}")).trim_matches('"').parse::<i64>().unwrap_or_default();
        assert_eq!(wire.reply("MULTI"), "+OK");
        assert_eq!(wire.reply(&format!("SET {key} {}", read + 1)), "+QUEUED");
        match wire.reply("EXEC").as_str() {
            "[+OK]" => drop(counted.fetch_add(1, Ordering::Relaxed)),
            "nil" => {}
            words if words.contains("unknown") => drop(unknown.fetch_add(1, Ordering::Relaxed)),
            words => assert!(words.starts_with("-TRYAGAIN"), "{words}"),
        }
    }
}
