//! Several copies of each key: all of them are written in one order, any of them is read, and one may go.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rmr::placement::slot::SlotFunc;

use super::{SOON, await_served, proxy, push, servers};
use crate::common::{RmrProxy, Server, Wire, eventually};

/// Starts a store of so many nodes with two copies of each key, and a proxy that serves it.
pub(super) fn two_copies<const NODES: usize>(settings: &[(&str, &str)]) -> (Server, [Server; NODES], RmrProxy) {
    let [config] = servers::<1>();
    for (name, value) in [("copies", "2")].iter().chain(settings) {
        config.run::<u64>(&["HSET", "settings", name, value]);
    }
    let nodes = servers::<NODES>();
    let proxy = proxy(&config);
    push(&config, &nodes);
    await_served(&proxy);
    (config, nodes, proxy)
}

/// Returns the nodes that have a copy of a key's slot, the first copy first.
pub(super) fn holders(config: &Server, key: &str) -> Vec<String> {
    let slot = SlotFunc::default().slot(key.as_bytes());
    config.run(&["LRANGE", &format!("hashingslot:{slot}"), "0", "-1"])
}

pub(super) fn node<'a>(nodes: &'a [Server], address: &str) -> &'a Server {
    nodes.iter().find(|node| node.address() == address).expect("a node of this address")
}

pub(super) fn value(wire: &mut Wire, key: &str) -> Option<i64> {
    let reply = String::from_utf8(wire.call(&["GET", key])).unwrap();
    match reply.as_bytes()[0] {
        b'$' if reply.starts_with("$-1") => None,
        b'$' => Some(reply.lines().nth(1).unwrap().parse().unwrap()),
        _ => panic!("GET {key} is answered with {reply}"),
    }
}

/// B3, B21, B37, B38, B40, B41, B47, B48, H1 and S2: two proxies write the same keys at once, and all copies end alike; a key is
/// on the nodes that its list names and on no other, and counted once (H23).
#[test]
fn all_copies_have_the_same_whoever_writes() {
    let (config, nodes, first) = two_copies::<3>(&[]);
    let second = proxy(&config);
    await_served(&second);
    thread::scope(|scope| {
        for (number, proxy) in [&first, &second, &first, &second].into_iter().enumerate() {
            scope.spawn(move || {
                let mut wire = proxy.wire();
                for round in 0..250 {
                    let key = format!("key:{}", round % 40);
                    assert_eq!(wire.reply(&format!("SET {key} {number}:{round}")), "+OK");
                    assert!(wire.reply(&format!("RPUSH list:{} {number}:{round}", round % 7)).parse::<u32>().is_ok());
                }
            });
        }
    });
    let all: Vec<String> =
        (0..40).map(|key| format!("key:{key}")).chain((0..7).map(|key| format!("list:{key}"))).collect();
    for key in &all {
        let of_key = holders(&config, key);
        assert_eq!(of_key.len(), 2, "{key}");
        let content = |node: &Server| -> Vec<String> {
            match key.starts_with("list") {
                true => node.run(&["LRANGE", key, "0", "-1"]),
                false => vec![node.run(&["GET", key])],
            }
        };
        assert_eq!(content(node(&nodes, &of_key[0])), content(node(&nodes, &of_key[1])), "{key}");
        let has = nodes.iter().filter(|node| node.run::<bool>(&["EXISTS", key]));
        assert_eq!(has.count(), 2, "{key}");
    }
    let mut wire = second.wire();
    assert_eq!(wire.reply("DBSIZE"), all.len().to_string());
    assert_eq!(wire.reply("KEYS *").matches("key:").count(), 40);
    let lists: usize = (0..7).map(|key| wire.reply(&format!("LLEN list:{key}")).parse::<usize>().unwrap()).sum();
    assert_eq!(lists, 1000);
}

/// Reads that follow writes in one pipeline see them, whichever copies they would be read from.
#[test]
fn a_client_reads_what_it_has_written() {
    let (_config, _nodes, proxy) = two_copies::<3>(&[]);
    let mut wire = proxy.wire();
    for round in 0..100 {
        let mut lines = String::new();
        (0..20).for_each(|key| lines.push_str(&format!("SET key:{key} {round}\r\nGET key:{key}\r\n")));
        wire.send_raw(lines.as_bytes());
        for _ in 0..20 {
            assert_eq!(wire.read_frame(), b"+OK\r\n");
            let read = String::from_utf8(wire.read_frame()).unwrap();
            assert_eq!(read.lines().nth(1), Some(&*round.to_string()));
        }
    }
    // Transactions are one step at all copies; what would go to one of them alone is refused.
    for line in ["MULTI", "INCR {n}a", "RPUSH {n}b x y"] {
        assert!(wire.reply(line).starts_with('+'), "{line}");
    }
    assert_eq!(wire.reply("EXEC"), "[1, 2]");
    assert_eq!(wire.reply("MULTI"), "+OK");
    assert_eq!(wire.reply("INCR {n}b"), "+QUEUED");
    assert!(wire.reply("EXEC").contains("WRONGTYPE"));
    assert!(wire.reply("MSET a 1 b 2").starts_with("-UNROUTABLE"));
    assert_eq!(wire.reply("MSET {n}c 1 {n}d 2"), "+OK");
    assert_eq!(wire.reply("MGET {n}c {n}d nothing"), "[\"1\", \"2\", nil]");
    assert_eq!(wire.reply("FLUSHALL"), "+OK");
    assert_eq!(wire.reply("DBSIZE"), "0");
}

/// The answers that clients have had, and the values that they have read, while something happened.
#[derive(Default)]
pub(super) struct Storm {
    pub(super) acknowledged: Mutex<BTreeMap<String, i64>>,
    pub(super) unknown: Mutex<Vec<String>>,
    pub(super) slowest_write: Mutex<Duration>,
}

impl Storm {
    /// Adds to counters through these proxies, and reads them, until the end. A counter never is less than was acknowledged
    /// before it was read, and never more than was sent (S1, S4, S6).
    pub(super) fn blow(&self, proxies: &[&RmrProxy], end: &AtomicBool) {
        thread::scope(|scope| {
            for number in 0..4 {
                scope.spawn(move || {
                    let mut wire = proxies[number % proxies.len()].wire();
                    let mut round = 0;
                    while !end.load(Ordering::Relaxed) {
                        let key = format!("counter:{number}:{}", round % 50);
                        let known = self.acknowledged.lock().unwrap().get(&key).copied().unwrap_or_default();
                        let read = value(&mut wire, &key).unwrap_or_default();
                        assert!(read >= known, "{key} was {known} and is read as {read}");
                        let began = Instant::now();
                        let reply = wire.reply(&format!("INCR {key}"));
                        let mut slowest = self.slowest_write.lock().unwrap();
                        *slowest = slowest.max(began.elapsed());
                        match reply.parse() {
                            Ok(count) => drop(self.acknowledged.lock().unwrap().insert(key, count)),
                            Err(_) => self.unknown.lock().unwrap().push(format!("{key} {reply}")),
                        }
                        round += 1;
                    }
                });
            }
        });
    }
}

/// B4, B5, B39, S1, S4: one of three nodes is killed in a storm of writes. No acknowledged write is lost, no read fails or is old,
/// and writes go on with the copies that are left.
#[test]
fn a_node_may_be_killed_in_a_storm_of_writes() {
    let (config, nodes, proxy) = two_copies::<3>(&[]);
    let (storm, end) = (Storm::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| storm.blow(&[&proxy], &end));
        eventually(SOON, "writes are under way", || storm.acknowledged.lock().unwrap().len() >= 100);
        nodes[1].kill();
        let gone = nodes[1].address();
        eventually(SOON, "it is out", || config.run::<String>(&["HGET", "nodes", &gone]).contains(" out "));
        let before: i64 = storm.acknowledged.lock().unwrap().values().sum();
        eventually(SOON, "writes go on", || storm.acknowledged.lock().unwrap().values().sum::<i64>() > before + 200);
        end.store(true, Ordering::Relaxed);
    });
    let unknown = storm.unknown.into_inner().unwrap();
    assert!(unknown.is_empty(), "{unknown:?}");
    println!("the slowest write took {:?}", storm.slowest_write.into_inner().unwrap());
    let mut wire = proxy.wire();
    for (key, count) in storm.acknowledged.into_inner().unwrap() {
        assert_eq!(value(&mut wire, &key), Some(count), "{key}");
        let of_key = holders(&config, &key);
        assert!(!of_key.contains(&nodes[1].address()), "{key}");
        for holder in of_key {
            assert_eq!(node(&nodes, &holder).run::<i64>(&["GET", &key]), count, "{key} at {holder}");
        }
    }
}

/// B6, B7, B8, S7: with more than M-1 nodes gone keys without a copy are errors, never nothing; with `coverage` at `slot` others
/// are served.
#[test]
fn keys_without_a_copy_are_errors() {
    let (config, nodes, proxy) = two_copies::<3>(&[("coverage", "slot")]);
    let mut wire = proxy.wire();
    let keys: Vec<String> = (0..60).map(|key| format!("key:{key}")).collect();
    for key in &keys {
        assert_eq!(wire.reply(&format!("SET {key} 7")), "+OK");
    }
    let before: BTreeMap<&String, Vec<String>> = keys.iter().map(|key| (key, holders(&config, key))).collect();
    nodes[0].kill();
    nodes[2].kill();
    for (key, of_key) in before {
        let reply = wire.reply(&format!("GET {key}"));
        match of_key.contains(&nodes[1].address()) {
            true => assert_eq!(reply, "\"7\"", "{key}"),
            false => assert!(reply.starts_with("-RMRNODE "), "{key}: {reply}"),
        }
    }
}

/// H7, S9: a server that was started again at the address of a node is not read, whatever it holds. As long
/// as slots do not move it gets no copies either.
#[test]
fn a_node_that_was_started_again_is_not_read() {
    let (config, nodes, proxy) = two_copies::<2>(&[("moves", "paused")]);
    let mut wire = proxy.wire();
    for key in 0..40 {
        assert_eq!(wire.reply(&format!("SET key:{key} 7")), "+OK");
    }
    nodes[0].kill();
    nodes[0].restart();
    assert_eq!(nodes[0].run::<u64>(&["DBSIZE"]), 0);
    for _ in 0..5 {
        for key in 0..40 {
            assert_eq!(value(&mut wire, &format!("key:{key}")), Some(7), "key:{key}");
            assert_eq!(wire.reply(&format!("SET key:{key} 7")), "+OK");
        }
    }
    assert_eq!(nodes[0].run::<u64>(&["DBSIZE"]), 0, "nothing was written there");
    // The last copy is gone, and comes back empty.
    nodes[1].kill();
    nodes[1].restart();
    for key in 0..40 {
        let reply = wire.reply(&format!("GET key:{key}"));
        assert!(reply.starts_with('-'), "key:{key}: {reply}");
    }
    assert_eq!(config.run::<Vec<String>>(&["LRANGE", "hashingslot:0", "0", "-1"]), [nodes[1].address()]);
}

/// With less than `min-copies` a slot takes no writes, and is read.
#[test]
fn too_few_copies_take_no_writes() {
    let (_config, nodes, proxy) = two_copies::<2>(&[("min-copies", "2")]);
    assert_eq!(proxy.reply("SET key 1"), "+OK");
    nodes[1].kill();
    let refused = |reply: String| reply.starts_with("-READONLY slot") && reply.contains("min-copies");
    eventually(SOON, "writes are refused", || refused(proxy.reply("SET key 1")));
    assert_eq!(proxy.reply("GET key"), "\"1\"");
}

/// H10: writes that would leave different data on each copy are made definite: copies stay equal, TTLs to the millisecond.
#[test]
fn what_depends_on_chance_and_clocks_is_the_same_on_all_copies() {
    let (config, nodes, first) = two_copies::<3>(&[]);
    // It orders nothing, and forwards all that it is sent.
    let second = super::proxy(&config);
    await_served(&second);
    for (number, proxy) in [&first, &second].into_iter().enumerate() {
        chance_and_clocks(&config, &nodes, &mut proxy.wire(), number * 20);
    }
}

fn chance_and_clocks(config: &Server, nodes: &[Server], wire: &mut Wire, from: usize) {
    let random = "EVAL return(redis.call('SET',KEYS[1],math.random())) 1";
    for number in from..from + 20 {
        assert_eq!(wire.reply(&format!("SET ttl:{number} 1 EX 1000")), "+OK");
        assert_eq!(wire.reply(&format!("EXPIRE ttl:{number} 500")), "1");
        wire.reply(&format!("SADD set:{number} a b c d e f g h"));
        assert!(wire.reply(&format!("SPOP set:{number} 3")).starts_with('['));
        assert!(wire.reply(&format!("XADD stream:{number} * a b")).contains('-'));
        assert_eq!(wire.reply(&format!("{random} random:{number}")), "+OK");
        // Each was done once.
        assert_eq!(wire.reply(&format!("SCARD set:{number}")), "5");
        assert_eq!(wire.reply(&format!("XLEN stream:{number}")), "1");
    }
    for number in from..from + 20 {
        let same = |key: String, question: &[&str]| {
            let of_key = holders(config, &key);
            let asked: Vec<&str> =
                question.iter().map(|word| if *word == "KEY" { key.as_str() } else { *word }).collect();
            let of = |address: &String| format!("{:?}", node(nodes, address).run::<redis::Value>(&asked));
            assert_eq!(of_key.len(), 2);
            assert_eq!(of(&of_key[0]), of(&of_key[1]), "{key}");
        };
        same(format!("ttl:{number}"), &["PEXPIRETIME", "KEY"]);
        same(format!("set:{number}"), &["SORT", "KEY", "ALPHA"]);
        same(format!("stream:{number}"), &["XRANGE", "KEY", "-", "+"]);
        same(format!("random:{number}"), &["GET", "KEY"]);
    }
}

/// The rights of a client's user hold for writes too, which go over the proxy's own connections.
#[test]
fn a_user_writes_what_it_may() {
    let (_config, nodes, proxy) = two_copies::<2>(&[]);
    for node in &nodes {
        node.run::<String>(&["ACL", "SETUSER", "ann", "on", ">secret", "~a:*", "+@all", "-del"]);
        node.run::<String>(&["ACL", "SETUSER", "bob", "on", ">secret", "~*", "&*", "+@all"]);
    }
    let mut ann = proxy.wire();
    assert_eq!(ann.reply("AUTH ann secret"), "+OK");
    assert_eq!(ann.reply("SET a:1 1"), "+OK");
    assert!(ann.reply("SET b:1 1").starts_with("-NOPERM"), "{}", ann.reply("SET b:1 1"));
    assert!(ann.reply("DEL a:1").starts_with("-NOPERM"));
    assert!(ann.reply("WATCH b:1").starts_with("-NOPERM"), "{}", ann.reply("WATCH b:1"));
    assert_eq!(ann.reply("WATCH a:1"), "+OK");
    assert_eq!((ann.reply("MULTI"), ann.reply("INCR a:1")), ("+OK".into(), "+QUEUED".into()));
    assert_eq!(ann.reply("EXEC"), "[2]");
    assert_eq!(ann.reply("SET a:1 1"), "+OK");
    assert_eq!(ann.reply("MULTI"), "+OK");
    assert_eq!(ann.reply("SET {b}:1 1"), "+QUEUED");
    assert!(ann.reply("EXEC").contains("NOPERM"));
    let mut bob = proxy.wire();
    assert_eq!(bob.reply("AUTH bob secret"), "+OK");
    assert_eq!(bob.reply("SET b:1 1"), "+OK");
    assert_eq!(proxy.reply("GET a:1"), "\"1\"");
}

/// Commands that wait for keys do so with several copies: who came first is served first, what is taken is taken from all copies,
/// and a time that is over is an answer.
#[test]
fn who_waits_for_a_key_gets_what_comes() {
    let (config, nodes, proxy) = two_copies::<3>(&[]);
    let mut wire = proxy.wire();
    assert_eq!(wire.reply("RPUSH {q}1 ready"), "1");
    assert_eq!(wire.reply("BLPOP {q}0 {q}1 0"), "[\"{q}1\", \"ready\"]");
    let began = Instant::now();
    assert_eq!(wire.reply("BLPOP {q}0 {q}1 0.2"), "nil");
    assert!(began.elapsed() >= Duration::from_millis(200));
    assert!(wire.reply("BLPOP {q}0 never").starts_with("-ERR timeout is not a float"));
    assert!(wire.reply("BLPOP a b 0").starts_with("-UNROUTABLE"), "they are in two slots");
    assert_eq!(wire.reply("SET text 1"), "+OK");
    assert!(wire.reply("BLPOP text 0").starts_with("-WRONGTYPE"));
    // Each of them waits before the next one comes.
    let have_waited = || proxy.log().matches("waits for keys").count();
    let before = have_waited();
    let mut waiting = Vec::new();
    for line in ["BLPOP {q}0 0", "BLPOP {q}2 {q}0 0", "BRPOPLPUSH {q}0 {q}3 0"] {
        let mut client = proxy.wire();
        client.send_raw(format!("{line}\r\n").as_bytes());
        waiting.push(client);
        let queued = before + waiting.len();
        eventually(SOON, "it waits", || have_waited() >= queued);
    }
    for (number, client) in waiting.iter_mut().enumerate() {
        assert!(wire.reply(&format!("RPUSH {{q}}0 v{number}")).parse::<u32>().is_ok());
        let reply = String::from_utf8(client.read_frame()).unwrap();
        assert!(reply.contains(&format!("v{number}")), "{reply}");
    }
    // A client that leaves takes nothing.
    let mut gone = proxy.wire();
    gone.send_raw(b"BLPOP {q}0 0\r\n");
    drop(gone);
    proxy.await_clients(2 + waiting.len());
    assert_eq!(wire.reply("RPUSH {q}0 stays"), "1");
    assert_eq!(wire.reply("LRANGE {q}0 0 -1"), "[\"stays\"]");
    for holder in holders(&config, "{q}") {
        let node = node(&nodes, &holder);
        assert_eq!(node.run::<Vec<String>>(&["LRANGE", "{q}3", "0", "-1"]), ["v2"]);
        assert_eq!(node.run::<Vec<String>>(&["LRANGE", "{q}0", "0", "-1"]), ["stays"]);
    }
    assert_eq!(wire.reply("ZADD z 1 a 2 b"), "2");
    assert_eq!(wire.reply("BZPOPMAX z 0"), "[\"z\", \"b\", \"2\"]");
    assert_eq!(wire.reply("XGROUP CREATE s g $ MKSTREAM"), "+OK");
    let mut reader = proxy.wire();
    reader.send_raw(b"XREADGROUP GROUP g c BLOCK 0 STREAMS s >\r\n");
    assert_eq!(wire.reply("XADD s 1-1 field value"), "\"1-1\"");
    assert!(String::from_utf8(reader.read_frame()).unwrap().contains("value"));
}

/// B39, H26: reads do not wait for a node that is stopped, also while nobody writes, so that it is a copy all the time.
#[test]
fn reads_do_not_wait_for_a_node_that_is_stopped() {
    let (_config, nodes, proxy) = two_copies::<3>(&[]);
    let mut wire = proxy.wire();
    for key in 0..60 {
        assert_eq!(wire.reply(&format!("SET key:{key} {key}")), "+OK");
    }
    nodes[0].stop_signal();
    let mut slow = 0;
    for round in 0..5 {
        for key in 0..60 {
            let began = Instant::now();
            assert_eq!(wire.reply(&format!("GET key:{key}")), format!("\"{key}\""), "{round}");
            assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
            slow += u32::from(began.elapsed() > Duration::from_millis(90));
        }
    }
    // A third of all would be, if nobody remembered who is late.
    assert!((1..=50).contains(&slow), "{slow} of 300 reads had to ask twice");
    // Several at once, of different slots, and none of them.
    let lines: String = (0..60).map(|key| format!("GET key:{key}\r\n")).collect();
    wire.send_raw(lines.as_bytes());
    for key in 0..60 {
        let expected = format!("${}\r\n{key}\r\n", key.to_string().len());
        assert_eq!(String::from_utf8(wire.read_frame()).unwrap(), expected);
    }
    assert!(wire.reply("MGET key:1 key:2 {a}none").matches(',').count() == 2);
    nodes[0].cont_signal();
    assert_eq!(wire.reply("GET key:1"), "\"1\"");
}
