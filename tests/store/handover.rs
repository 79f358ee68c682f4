//! Slots go from proxy to proxy as planned: nobody is suspected, and writes go on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::copies::{Storm, holders, node, two_copies, value};
use super::{SOON, await_newest_table, await_served, proxy, push, servers};
use crate::common::{Fault, Proxy as Relay, RmrProxy, Server, eventually};

/// Returns the names of the proxies that order writes, and of how many slots.
pub(super) fn shares(config: &Server, proxy: &RmrProxy) -> usize {
    let name = format!(" 127.0.0.1:{}/", proxy.port());
    let slots: Vec<String> = config.run(&["HVALS", "slots"]);
    slots.iter().filter(|slot| slot.contains(&name)).count()
}

/// Returns what has changed so far, in words.
fn changes(config: &Server) -> Vec<String> {
    let log: Vec<(String, Vec<String>)> = config.run(&["XRANGE", "log", "-", "+"]);
    log.into_iter().map(|(_, fields)| fields[1].clone()).collect()
}

/// Checks that what was acknowledged is at all copies, and nothing was refused or unknown.
fn check(config: &Server, nodes: &[Server], proxy: &RmrProxy, storm: Storm) {
    let unknown = storm.unknown.into_inner().unwrap();
    assert!(unknown.is_empty(), "{unknown:?}");
    let mut wire = proxy.wire();
    for (key, count) in storm.acknowledged.into_inner().unwrap() {
        assert_eq!(value(&mut wire, &key), Some(count), "{key}");
        for holder in holders(config, &key) {
            assert_eq!(node(nodes, &holder).run::<i64>(&["GET", &key]), count, "{key} at {holder}");
        }
    }
    let suspected = |change: &&String| change.starts_with("taken over") || change.starts_with("suspect");
    let changes = changes(config);
    assert_eq!(changes.iter().filter(suspected).count(), 0, "{changes:?}");
}

/// Ends a storm also when a check has failed.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Writes in pipelines of several keys, until the end: all are done, in their order.
fn pipelines(proxy: &RmrProxy, end: &AtomicBool) {
    let mut wire = proxy.wire();
    let mut round = 0;
    while !end.load(Ordering::Relaxed) {
        let lines: String = (0..20).map(|key| format!("RPUSH list:{} {round}.{key}\r\n", key % 4)).collect();
        wire.send_raw(lines.as_bytes());
        for key in 0..20 {
            let expected = format!(":{}\r\n", round * 5 + key / 4 + 1);
            assert_eq!(String::from_utf8(wire.read_frame()).unwrap(), expected, "round {round}, {key}");
        }
        round += 1;
    }
}

/// B13, B31: a proxy that comes gets its share of the slots, and one that ends gives its own away, in a storm of writes by all of
/// them. Each write is done, none of them waits for long, and no slot is suspect.
#[test]
fn proxies_come_and_end_in_a_storm_of_writes() {
    let (config, nodes, first) = two_copies::<3>(&[]);
    let (storm, end) = (Storm::default(), AtomicBool::new(false));
    let second = proxy(&config);
    await_served(&second);
    thread::scope(|scope| {
        let _ends = Ends(&end);
        scope.spawn(|| storm.blow(&[&second], &end));
        scope.spawn(|| pipelines(&second, &end));
        eventually(SOON, "the second proxy has its share", || shares(&config, &second) > 400);
        let third = proxy(&config);
        eventually(SOON, "the third proxy has its share", || {
            [&first, &second, &third].into_iter().all(|proxy| shares(&config, proxy) > 250)
        });
        let total = || storm.acknowledged.lock().unwrap().values().sum::<i64>();
        let before = total();
        eventually(SOON, "writes go on", || total() > before + 200);
        *storm.slowest_write.lock().unwrap() = Duration::ZERO;
        for ending in [&first, &third] {
            ending.terminate();
            assert!(ending.end(SOON).success());
            assert_eq!(shares(&config, ending), 0);
            let address = format!("127.0.0.1:{}", ending.port());
            let known: Vec<String> = config.run(&["ZRANGE", "proxies", "0", "-1"]);
            assert!(!known.contains(&address), "{known:?}");
        }
        assert_eq!(shares(&config, &second), 1024);
    });
    let slowest = *storm.slowest_write.lock().unwrap();
    println!("the slowest write took {slowest:?}");
    let users: Vec<String> = nodes[0].run(&["ACL", "LIST"]);
    assert_eq!(users.iter().filter(|user| user.contains("rmr-")).count(), 1, "{users:?}");
    check(&config, &nodes, &second, storm);
}

/// S10: a proxy hears from the one that gives slots away, and orders their writes while the configuration node does not answer it.
#[test]
fn a_proxy_hears_of_its_slots_without_the_configuration_node() {
    let (config, _nodes, first) = two_copies::<3>(&[("lease-ms", "20000")]);
    let to_config = Relay::to(config.port());
    let deaf = RmrProxy::builder().set("placement", format!("redis://{}", to_config.address())).start();
    let third = proxy(&config);
    await_served(&deaf);
    await_served(&third);
    eventually(SOON, "all have their shares", || {
        [&first, &deaf, &third].into_iter().all(|proxy| shares(&config, proxy) > 250)
    });
    await_newest_table(&config, &[&first, &deaf, &third]);
    let before = shares(&config, &deaf);
    to_config.set(Fault::HalfOpen);
    third.terminate();
    eventually(SOON, "the third has given its slots away", || shares(&config, &third) == 0);
    assert!(shares(&config, &deaf) > before + 50);
    await_newest_table(&config, &[&deaf]);
    for key in 0..200 {
        assert_eq!(first.reply(&format!("SET key:{key} {key}")), "+OK");
        assert_eq!(deaf.reply(&format!("INCR key:{key}")), (key + 1).to_string());
    }
    to_config.set(Fault::Pass);
    to_config.cut_all();
    assert!(third.end(SOON).success());
}

/// The only proxy leaves its slots to nobody, and the next one serves them at once.
#[test]
fn the_last_proxy_leaves_nothing_suspect() {
    let (config, nodes, first) = two_copies::<2>(&[]);
    assert_eq!(first.reply("SET key 1"), "+OK");
    first.terminate();
    assert!(first.end(SOON).success());
    let slots: Vec<String> = config.run(&["HVALS", "slots"]);
    assert!(slots.iter().all(|slot| slot.ends_with(" - ok")), "{:?}", slots.first());
    let second = proxy(&config);
    await_served(&second);
    assert_eq!(second.reply("INCR key"), "2");
    check(&config, &nodes, &second, Storm::default());
}

/// A proxy ends while slots move, with writes to them: the move that is under way is ended, and others go on with the rest.
#[test]
fn a_proxy_ends_while_slots_move() {
    let (config, mut nodes, first) = {
        let (config, nodes, first) = two_copies::<2>(&[("slots", "64")]);
        (config, Vec::from(nodes), first)
    };
    let mut wire = first.wire();
    for key in 0..3000 {
        wire.send_raw(format!("SET filler:{key} {key}\r\n").as_bytes());
    }
    (0..3000).for_each(|_| assert_eq!(wire.read_frame(), b"+OK\r\n"));
    let second = proxy(&config);
    await_served(&second);
    let (storm, end) = (Storm::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        let _ends = Ends(&end);
        scope.spawn(|| storm.blow(&[&second], &end));
        eventually(SOON, "the second proxy has its share", || shares(&config, &second) > 15);
        nodes.extend(servers::<1>());
        push(&config, &nodes[2..]);
        eventually(SOON, "slots move", || changes(&config).iter().any(|change| change.starts_with("moved")));
        first.terminate();
        assert!(first.end(SOON).success());
        assert_eq!(shares(&config, &second), 64);
        eventually(SOON * 2, "all have moved", || config.run::<i64>(&["EXISTS", "moves"]) == 0);
    });
    check(&config, &nodes, &second, storm);
    assert_eq!(second.reply("DBSIZE").parse::<usize>().unwrap() - 200, 3000);
}

/// H23: all keys are emptied at one moment of the order of all writes, also while several proxies order them: all copies are equal
/// afterwards, and each proxy has its share again.
#[test]
fn all_keys_are_emptied_while_several_proxies_write() {
    let (config, nodes, first) = two_copies::<3>(&[]);
    let second = proxy(&config);
    await_served(&second);
    let both_share = || [&first, &second].into_iter().all(|proxy| shares(&config, proxy) > 400);
    eventually(SOON, "both proxies have their share", both_share);
    let end = AtomicBool::new(false);
    thread::scope(|scope| {
        let _ends = Ends(&end);
        for proxy in [&first, &second] {
            scope.spawn(|| {
                let mut wire = proxy.wire();
                for round in 0.. {
                    if end.load(Ordering::Relaxed) {
                        break;
                    }
                    let reply = wire.reply(&format!("RPUSH list:{} {round}", round % 40));
                    assert!(reply.parse::<u64>().is_ok(), "{reply}");
                }
            });
        }
        for proxy in [&first, &second, &first, &second] {
            assert_eq!(proxy.reply("FLUSHALL"), "+OK");
        }
    });
    for list in (0..40).map(|list| format!("list:{list}")) {
        let content = |node: &Server| node.run::<Vec<String>>(&["LRANGE", &list, "0", "-1"]);
        let copies: Vec<_> = holders(&config, &list).iter().map(|holder| content(node(&nodes, holder))).collect();
        assert_eq!(copies[0], copies[1], "{list}");
    }
    assert_eq!(second.reply("FLUSHDB"), "+OK");
    assert_eq!(first.reply("DBSIZE"), "0");
    assert!(nodes.iter().all(|node| node.run::<i64>(&["DBSIZE"]) == 0));
    eventually(SOON, "both proxies have their share again", both_share);
    check(&config, &nodes, &second, Storm::default());
}
