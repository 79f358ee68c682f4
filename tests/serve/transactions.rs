//! `MULTI`, `EXEC`, `DISCARD`, `WATCH`: as with a single server, for keys of one slot.

use super::{SOON, served};
use crate::common::{RmrProxy, Server, Wire, eventually, slot_of, while_repeating};

#[test]
fn a_transaction_is_answered_as_by_a_server() {
    let (_cluster, proxy) = served();
    let server = Server::builder().module(false).start();
    for (mut here, mut there) in [(proxy.wire(), server.wire()), (proxy.wire3(), server.wire3())] {
        for line in [
            "FLUSHALL",
            "EXEC",
            "DISCARD",
            "MULTI",
            "EXEC",
            "MULTI now",
            "MULTI",
            "SET {t}a 1",
            "INCR {t}a",
            "MGET {t}a {t}b {t}a",
            "PING",
            "ECHO hello",
            "HSET {t}h f v",
            "HGETALL {t}h",
            "EVAL return{KEYS[1],redis.call('GET',KEYS[1])} 1 {t}a",
            "EXEC",
            "MULTI",
            "INCR {t}h",
            "INCR {t}a",
            "EXEC",
            "GET {t}a",
            "MULTI",
            "NOSUCH",
            "SET {t}a 9",
            "EXEC",
            "MULTI",
            "GET",
            "EXEC",
            "GET {t}a",
            "MULTI",
            "SET {t}a 10",
            "DISCARD",
            "GET {t}a",
            "WATCH {t}a {t}b",
            "MULTI",
            "GET {t}a",
            "EXEC",
            "WATCH {t}a",
            "UNWATCH",
            "MULTI",
            "EXEC",
            "WATCH",
            "MULTI",
            "BLPOP {t}nothing 0",
            "XREAD BLOCK 0 STREAMS {t}x $",
            "EXEC",
        ] {
            let (ours, theirs) = (here.reply(line), there.reply(line));
            assert_eq!(ours, theirs, "{line}");
        }
        // That they cannot be nested, and watch nothing more, servers say in words of their own.
        assert_eq!(here.reply("MULTI"), "+OK");
        assert!(here.reply("MULTI").starts_with("-ERR ") && here.reply("WATCH {t}a").starts_with("-ERR "));
        assert_eq!(here.reply("DISCARD"), "+OK");
    }
}

#[test]
fn keys_of_several_slots_fail_a_transaction_at_the_first_such_command() {
    let (cluster, proxy) = served();
    let mut wire = proxy.wire();
    let (one, other) = (cluster.key_for(0, "k"), cluster.key_for(1, "k"));
    assert_eq!(wire.reply("MULTI"), "+OK");
    assert_eq!(wire.reply(&format!("SET {one} 1")), "+QUEUED");
    let refusal = wire.reply(&format!("SET {other} 1"));
    assert!(refusal.starts_with("-CROSSSLOT ") && refusal.contains(&one) && refusal.contains(&other), "{refusal}");
    assert!(wire.reply("EXEC").starts_with("-EXECABORT "));
    assert_eq!(wire.reply(&format!("MGET {one} {other}")), "[nil, nil]");
    // Of the same node, but of another slot, which may move away.
    let apart = cluster.keys_for(0, "k").find(|key| slot_of(key) != slot_of(&one)).expect("another slot");
    assert_eq!(wire.reply(&format!("WATCH {one}")), "+OK");
    assert!(wire.reply(&format!("WATCH {apart}")).starts_with("-CROSSSLOT "));
    assert_eq!(wire.reply("MULTI"), "+OK");
    assert!(wire.reply(&format!("GET {apart}")).starts_with("-CROSSSLOT "));
    assert!(wire.reply("EXEC").starts_with("-EXECABORT "));
    // A command for all nodes is not in one node's transaction.
    for line in
        ["FLUSHALL", "KEYS *", "DBSIZE", "SUBSCRIBE channel", "AUTH default x", "CLIENT REPLY OFF", "INFO", "SELECT 0"]
    {
        assert_eq!(wire.reply("MULTI"), "+OK");
        assert!(wire.reply(line).starts_with("-ERR "), "{line}");
        assert!(wire.reply("EXEC").starts_with("-EXECABORT "), "{line}");
    }
}

#[test]
fn a_key_that_has_changed_ends_what_watches_it() {
    let (_cluster, proxy) = served();
    let (mut wire, mut other) = (proxy.wire(), proxy.wire());
    for change in ["SET {w}a 2", "DEL {w}a", "FLUSHALL", "PEXPIRE {w}a 1"] {
        assert_eq!(other.reply("SET {w}a 1"), "+OK");
        assert_eq!(wire.reply("WATCH {w}a {w}b"), "+OK");
        assert!(!other.reply(change).starts_with('-'));
        eventually(SOON, "it is done", || other.reply("GET {w}a") != "\"1\"");
        assert_eq!(wire.reply("MULTI"), "+OK");
        assert_eq!(wire.reply("SET {w}b 1"), "+QUEUED");
        assert_eq!(wire.reply("EXEC"), "nil", "{change}");
        assert_eq!(wire.reply("GET {w}b"), "nil");
    }
    // Its own change, too, and what it does not watch any more does not count.
    assert_eq!(wire.reply("WATCH {w}a"), "+OK");
    assert_eq!(wire.reply("SET {w}a 5"), "+OK");
    assert_eq!((wire.reply("MULTI"), wire.reply("EXEC")), ("+OK".into(), "nil".into()));
    assert_eq!((wire.reply("WATCH {w}a"), wire.reply("UNWATCH")), ("+OK".into(), "+OK".into()));
    assert_eq!(other.reply("SET {w}a 6"), "+OK");
    assert_eq!(
        (wire.reply("MULTI"), wire.reply("GET {w}a"), wire.reply("EXEC")),
        ("+OK".into(), "+QUEUED".into(), "[\"6\"]".into())
    );
}

/// Many clients add to the same number in the way of those who look before they write.
#[test]
fn no_addition_is_lost_among_those_who_watch() {
    const EACH: usize = 60;
    let (_cluster, proxy) = served();
    let add = |proxy: &RmrProxy| {
        let mut wire = proxy.wire();
        for _ in 0..EACH {
            add_one(&mut wire);
        }
    };
    std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(|| add(&proxy)))));
    assert_eq!(proxy.reply("GET {n}"), format!("\"{}\"", 4 * EACH));
}

fn add_one(wire: &mut Wire) {
    loop {
        assert_eq!(wire.reply("WATCH {n}"), "+OK");
        let number: usize = match wire.reply("GET {n}").as_str() {
            "nil" => 0,
            shown => shown.trim_matches('"').parse().expect("a number"),
        };
        assert_eq!(wire.reply("MULTI"), "+OK");
        assert_eq!(wire.reply(&format!("SET {{n}} {}", number + 1)), "+QUEUED");
        match wire.reply("EXEC").as_str() {
            "[+OK]" => return,
            "nil" => {}
            other => panic!("EXEC: {other}"),
        }
    }
}

#[test]
fn transactions_follow_their_slot() {
    let (cluster, proxy) = served();
    let slot = slot_of("{moving}");
    let mut at = cluster.owner_of(slot);
    let done = std::sync::atomic::AtomicUsize::new(0);
    let traffic = |_: &usize| {
        let (mut wire, done) = (proxy.wire(), &done);
        move || {
            assert_eq!(
                (wire.reply("MULTI"), wire.reply("INCR {moving}a"), wire.reply("INCR {moving}b")),
                ("+OK".into(), "+QUEUED".into(), "+QUEUED".into())
            );
            let executed = wire.reply("EXEC");
            assert!(executed.starts_with('[') && !executed.contains('-'), "{executed}");
            done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    };
    while_repeating(&[0, 1], traffic, || {
        for _ in 0..4 {
            let to = (at + 1) % 3;
            cluster.move_slot(slot, at, to);
            at = to;
        }
    });
    let done = done.into_inner();
    assert_eq!(proxy.reply("MGET {moving}a {moving}b"), format!("[\"{done}\", \"{done}\"]"));
}
