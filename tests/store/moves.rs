//! Slots move while all runs.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rmr::Error;
use rmr::placement::Store;
use rmr::placement::slot::{SlotFunc, SlotHash};

use super::copies::two_copies;
use super::{SOON, await_served, proxy, push, servers, url};
use crate::common::{RmrProxy, Server, eventually};

/// More than all moves of a test take.
pub(super) const MOVED: Duration = Duration::from_secs(180);

/// Returns the nodes that hold each slot.
pub(super) fn lists(config: &Server) -> Vec<Vec<String>> {
    let list = |slot| config.run(&["LRANGE", &format!("hashingslot:{slot}"), "0", "-1"]);
    (0..config.run::<u32>(&["HGET", "settings", "slots"])).map(list).collect()
}

pub(super) fn share(lists: &[Vec<String>], node: &Server) -> usize {
    lists.iter().filter(|list| list.contains(&node.address())).count()
}

/// Waits until a node holds so many slots, and nothing is left of moves.
#[track_caller]
fn await_share(config: &Server, node: &Server, slots: usize) {
    eventually(MOVED, "the slots have moved", || {
        share(&lists(config), node) == slots && !config.run::<bool>(&["EXISTS", "moves"])
    });
}

/// Clients that count up, and set keys that expire and keys that do not, and know what they have been told.
#[derive(Default)]
struct Storm {
    counters: Mutex<BTreeMap<String, i64>>,
    slowest: Mutex<Duration>,
}

impl Storm {
    fn blow(&self, proxy: &RmrProxy, end: &AtomicBool) {
        thread::scope(|scope| {
            for client in 0..2 {
                scope.spawn(move || {
                    let mut wire = proxy.wire();
                    let mut round = 0;
                    while !end.load(Ordering::Relaxed) {
                        let key = format!("counter:{client}:{}", round % 200);
                        let began = Instant::now();
                        let count: i64 = wire.reply(&format!("INCR {key}")).parse().expect("counted");
                        let took = began.elapsed();
                        let mut slowest = self.slowest.lock().unwrap();
                        *slowest = took.max(*slowest);
                        let before = self.counters.lock().unwrap().insert(key.clone(), count).unwrap_or_default();
                        assert_eq!(count, before + 1, "{key}");
                        assert_eq!(wire.reply(&format!("GET {key}")), format!("\"{count}\""), "{key}");
                        round += 1;
                    }
                });
            }
        });
    }
}

/// Ends a storm, also when a test fails.
pub(super) struct Ends<'a>(pub(super) &'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sets keys, some of which expire, and returns when each of them does.
pub(super) fn fill(proxy: &RmrProxy, keys: u32) -> BTreeMap<String, i64> {
    let mut wire = proxy.wire();
    let mut expiries = BTreeMap::new();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let expires = now.as_millis() as u64 + 600_000;
    for number in 0..keys {
        let key = format!("key:{number}");
        assert_eq!(wire.reply(&format!("SET {key} {number}")), "+OK");
        if number % 3 == 0 {
            assert_eq!(wire.reply(&format!("PEXPIREAT {key} {}", expires + u64::from(number))), "1");
        }
        expiries.insert(key.clone(), wire.reply(&format!("PEXPIRETIME {key}")).parse().unwrap());
    }
    expiries
}

/// Checks that all keys are there, once, at the nodes of their slots and at no others (S8).
fn check(config: &Server, nodes: &[Server], proxy: &RmrProxy, expiries: &BTreeMap<String, i64>, storm: &Storm) {
    let mut wire = proxy.wire();
    for (key, expires) in expiries {
        assert_eq!(wire.reply(&format!("GET {key}")), format!("\"{}\"", key.trim_start_matches("key:")), "{key}");
        assert_eq!(wire.reply(&format!("PEXPIRETIME {key}")).parse::<i64>().unwrap(), *expires, "{key}");
    }
    let counters = storm.counters.lock().unwrap();
    assert!(!counters.is_empty());
    for (key, count) in counters.iter() {
        assert_eq!(wire.reply(&format!("GET {key}")), format!("\"{count}\""), "{key}");
    }
    let total = expiries.len() + counters.len();
    assert_eq!(wire.reply("DBSIZE"), total.to_string());
    assert_eq!(wire.reply("KEYS *").matches(':').count(), expiries.len() + 2 * counters.len());
    let lists = lists(config);
    let func = SlotFunc::new(SlotHash::Sha1, lists.len() as u16).unwrap();
    for key in expiries.keys().chain(counters.keys()) {
        let expected = &lists[usize::from(func.slot(key.as_bytes()))];
        let has = |node: &&Server| node.run::<bool>(&["EXISTS", key]);
        let mut holders: Vec<String> = nodes.iter().filter(has).map(Server::address).collect();
        let mut expected = expected.clone();
        holders.sort_unstable();
        expected.sort_unstable();
        assert_eq!(holders, expected, "{key}");
    }
    println!("the slowest write took {:?}", storm.slowest.lock().unwrap());
}

/// Says something to the store, as a program would.
fn say<T>(config: &Server, word: impl AsyncFnOnce(Store) -> Result<T, Error>) -> Result<T, Error> {
    let store = Store::new(&[url(config)], None).unwrap();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(word(store))
}

/// B43, B44, B50 to B54, B56, S8: a third node comes in a storm of writes. 341 of 1024 slots move to it, from both, and nothing is
/// lost, doubled or late.
#[test]
fn a_node_comes_in_a_storm_of_writes() {
    let [config, nodes @ ..] = servers::<4>();
    let proxy = proxy(&config);
    push(&config, &nodes[..2]);
    await_served(&proxy);
    let before = lists(&config);
    let expiries = fill(&proxy, 2000);
    let (storm, end) = (Storm::default(), AtomicBool::new(false));
    let grown = thread::scope(|scope| {
        scope.spawn(|| storm.blow(&proxy, &end));
        let _ends = Ends(&end);
        push(&config, &nodes[2..]);
        await_share(&config, &nodes[2], 341);
        lists(&config)
    });
    let moved = before.iter().zip(&grown).filter(|(before, after)| before != after);
    assert_eq!(moved.count(), 341);
    assert!(nodes[..2].iter().all(|node| share(&before, node) - share(&grown, node) >= 170));
    check(&config, &nodes, &proxy, &expiries, &storm);
}

/// B43, B57, H34: a node leaves in a storm of writes, gives all it has to others, and is no node then.
#[test]
fn a_node_goes_in_a_storm_of_writes() {
    let [config, nodes @ ..] = servers::<4>();
    config.run::<u64>(&["HSET", "settings", "slots", "128"]);
    let proxy = proxy(&config);
    push(&config, &nodes);
    await_served(&proxy);
    let expiries = fill(&proxy, 1000);
    let (storm, end) = (Storm::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| storm.blow(&proxy, &end));
        let _ends = Ends(&end);
        say(&config, async |store| store.drain(&nodes[0].address()).await).unwrap();
        await_share(&config, &nodes[0], 0);
        eventually(SOON, "it is no node", || !config.run::<bool>(&["HEXISTS", "nodes", &nodes[0].address()]));
    });
    check(&config, &nodes, &proxy, &expiries, &storm);
    assert_eq!(nodes[0].run::<u64>(&["DBSIZE"]), 0);
}

/// B21, B52 for two copies, H34: with two copies a move replaces one of them, `copies` is raised and lowered while all runs, and
/// both copies of each slot are equal in the end (S2).
#[test]
fn copies_come_and_go_in_a_storm_of_writes() {
    let [config, nodes @ ..] = servers::<4>();
    config.run::<u64>(&["HSET", "settings", "slots", "128"]);
    let proxy = proxy(&config);
    push(&config, &nodes[..2]);
    await_served(&proxy);
    let expiries = fill(&proxy, 1500);
    let (storm, end) = (Storm::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| storm.blow(&proxy, &end));
        let _ends = Ends(&end);
        set_copies(&config, 2);
        await_share(&config, &nodes[0], 128);
        await_share(&config, &nodes[1], 128);
        push(&config, &nodes[2..]);
        eventually(MOVED, "all have their share", || {
            let lists = lists(&config);
            nodes.iter().all(|node| (85..=86).contains(&share(&lists, node)))
                && !config.run::<bool>(&["EXISTS", "moves"])
        });
    });
    check(&config, &nodes, &proxy, &expiries, &storm);

    end.store(false, Ordering::Relaxed);
    thread::scope(|scope| {
        scope.spawn(|| storm.blow(&proxy, &end));
        let _ends = Ends(&end);
        set_copies(&config, 1);
        eventually(MOVED, "one copy is left", || {
            lists(&config).iter().all(|list| list.len() == 1) && !config.run::<bool>(&["EXISTS", "moves"])
        });
    });
    check(&config, &nodes, &proxy, &expiries, &storm);
}

fn set_copies(config: &Server, copies: u32) {
    config.run::<u64>(&["HSET", "settings", "copies", &copies.to_string()]);
    config.run::<u64>(&["INCR", "epoch"]);
}

/// H35: a node that is lost leaves its slots with a copy less. After the time of grace others get them.
#[test]
fn lost_copies_are_made_anew_after_a_while() {
    let [config, nodes @ ..] = servers::<4>();
    for (name, value) in [("slots", "64"), ("copies", "2"), ("grace-ms", "1500")] {
        config.run::<u64>(&["HSET", "settings", name, value]);
    }
    let proxy = proxy(&config);
    push(&config, &nodes);
    await_served(&proxy);
    let expiries = fill(&proxy, 500);
    let (storm, end) = (Storm::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| storm.blow(&proxy, &end));
        let _ends = Ends(&end);
        nodes[2].kill();
        eventually(MOVED, "it is out", || share(&lists(&config), &nodes[2]) == 0);
        let short = || lists(&config).iter().filter(|list| list.len() < 2).count();
        assert!(short() > 0, "there is a time of grace");
        eventually(MOVED, "all slots have two copies", || short() == 0 && !config.run::<bool>(&["EXISTS", "moves"]));
    });
    check(&config, &nodes[..2], &proxy, &expiries, &storm);
    // It is not waited for any more.
    say(&config, async |store| store.drain(&nodes[2].address()).await).unwrap();
    assert!(!config.run::<bool>(&["HEXISTS", "nodes", &nodes[2].address()]));
    let refused = say(&config, async |store| store.drain(&nodes[2].address()).await).unwrap_err().to_string();
    assert!(refused.contains("it is no node"), "{refused}");
}

/// A move that is cut off leaves nothing behind, and is made again: here the node that gets the slots is stopped for a while.
#[test]
fn the_target_may_be_stopped_in_the_middle() {
    let [config, nodes @ ..] = servers::<3>();
    config.run::<u64>(&["HSET", "settings", "slots", "256"]);
    let proxy = proxy(&config);
    push(&config, &nodes[..1]);
    await_served(&proxy);
    let expiries = fill(&proxy, 1000);
    push(&config, &nodes[1..2]);
    eventually(MOVED, "some have moved", || share(&lists(&config), &nodes[1]) > 20);
    let storm = Storm::default();
    storm.counters.lock().unwrap().insert("counter:x:1".into(), proxy.reply("INCR counter:x:1").parse().unwrap());
    nodes[1].stop_signal();
    let held = lists(&config);
    let mut wire = proxy.wire();
    for key in expiries.keys().take(200) {
        let slot = SlotFunc::new(SlotHash::Sha1, 256).unwrap().slot(key.as_bytes());
        if !held[usize::from(slot)].contains(&nodes[1].address()) {
            assert_eq!(wire.reply(&format!("GET {key}")), format!("\"{}\"", key.trim_start_matches("key:")), "{key}");
        }
    }
    nodes[1].cont_signal();
    await_share(&config, &nodes[1], 128);
    check(&config, &nodes, &proxy, &expiries, &storm);
}

/// B7, H7, S9: nodes that were lost come back, one as the process that it was and one started again, and begin anew: what they have
/// is gone before they get copies.
#[test]
fn nodes_that_come_back_begin_anew() {
    let [config, nodes @ ..] = servers::<4>();
    for (name, value) in [("slots", "64"), ("copies", "2"), ("node-timeout-ms", "300")] {
        config.run::<u64>(&["HSET", "settings", name, value]);
    }
    let proxy = proxy(&config);
    push(&config, &nodes);
    await_served(&proxy);
    let expiries = fill(&proxy, 300);
    let (storm, end) = (Storm::default(), AtomicBool::new(false));
    let ways: [fn(&Server); 2] = [|node| node.cont_signal(), |node| node.restart()];
    for comes_back in ways {
        end.store(false, Ordering::Relaxed);
        thread::scope(|scope| {
            scope.spawn(|| storm.blow(&proxy, &end));
            let _ends = Ends(&end);
            nodes[2].stop_signal();
            eventually(MOVED, "it is out", || share(&lists(&config), &nodes[2]) == 0);
            comes_back(&nodes[2]);
            eventually(MOVED, "it has its share", || {
                (42..=43).contains(&share(&lists(&config), &nodes[2])) && !config.run::<bool>(&["EXISTS", "moves"])
            });
        });
        check(&config, &nodes, &proxy, &expiries, &storm);
    }
}

/// Nodes may all be lost to some slots, and each have copies of others: nobody is in to whom these could move. They come back with the
/// copies that they have, and without what they have no copies of.
#[test]
fn nodes_that_were_all_lost_come_back_with_their_copies() {
    let [config, nodes @ ..] = servers::<4>();
    for (name, value) in [("slots", "64"), ("copies", "2")] {
        config.run::<u64>(&["HSET", "settings", name, value]);
    }
    let proxy = proxy(&config);
    push(&config, &nodes);
    await_served(&proxy);
    let expiries = fill(&proxy, 300);
    let storm = Storm::default();
    storm.counters.lock().unwrap().insert("counter:x:1".into(), proxy.reply("INCR counter:x:1").parse().unwrap());
    // Another node was lost to each third of the slots.
    let lose = "for slot = 0, 63 do
            local list = 'hashingslot:' .. slot
            local node = ARGV[slot % 3 + 1]
            redis.call('LREM', list, 0, node)
        end
        for _, node in ipairs(ARGV) do
            redis.call('HSET', 'nodes', node, (redis.call('HGET', 'nodes', node):gsub(' in ', ' out ')))
        end
        return redis.call('INCR', 'epoch')";
    let [one, two, three] = nodes.each_ref().map(Server::address);
    config.run::<u64>(&["EVAL", lose, "0", &one, &two, &three]);
    eventually(MOVED, "all slots have two copies again", || {
        let states: Vec<String> = config.run(&["HVALS", "nodes"]);
        states.iter().all(|state| state.contains(" in "))
            && lists(&config).iter().all(|list| list.len() == 2)
            && !config.run::<bool>(&["EXISTS", "moves"])
    });
    check(&config, &nodes, &proxy, &expiries, &storm);
    let log: Vec<(String, Vec<String>)> = config.run(&["XRANGE", "log", "-", "+"]);
    let kept = log.iter().filter(|(_, entry)| entry.contains(&"admitted again with its copies".to_owned()));
    assert_eq!(kept.count(), 3);
}

/// B43: an operator pauses moves, gives them up, and has them go on. Keys that were copied by then are gone at the node that was
/// to get it. Nodes that would leave too few do not leave.
#[test]
fn moves_are_paused_given_up_and_resumed() {
    let [config, nodes @ ..] = servers::<3>();
    config.run::<u64>(&["HSET", "settings", "slots", "256"]);
    let proxy = proxy(&config);
    push(&config, &nodes[..1]);
    await_served(&proxy);
    let expiries = fill(&proxy, 1000);
    let storm = Storm::default();
    storm.counters.lock().unwrap().insert("counter:x:1".into(), proxy.reply("INCR counter:x:1").parse().unwrap());
    let refused = say(&config, async |store| store.drain(&nodes[0].address()).await).unwrap_err().to_string();
    assert!(refused.contains("0 nodes would stay"), "{refused}");

    push(&config, &nodes[1..]);
    eventually(MOVED, "some have moved", || share(&lists(&config), &nodes[1]) > 5);
    say(&config, async |store| store.pause_moves().await).unwrap();
    assert!(say(&config, async |store| store.cancel_moves(&[]).await).unwrap() > 0);
    eventually(MOVED, "nothing is left of it", || !config.run::<bool>(&["EXISTS", "moves"]));
    let moved = share(&lists(&config), &nodes[1]);
    assert!(moved < 128, "{moved}");
    check(&config, &nodes, &proxy, &expiries, &storm);
    assert_eq!(share(&lists(&config), &nodes[1]), moved);

    say(&config, async |store| store.resume_moves().await).unwrap();
    await_share(&config, &nodes[1], 128);
    check(&config, &nodes, &proxy, &expiries, &storm);
}

/// A server with data becomes a store of one node with its keys; then it gets help.
#[test]
fn a_server_with_data_becomes_a_store() {
    let [config, nodes @ ..] = servers::<4>();
    config.run::<u64>(&["HSET", "settings", "slots", "32", "copies", "2"]);
    for number in 0..500 {
        nodes[0].run::<String>(&["SET", &format!("key:{number}"), &number.to_string()]);
    }
    let proxy = proxy(&config);
    eventually(SOON, "there are settings", || config.run::<bool>(&["HEXISTS", "settings", "version"]));
    let adopt = || say(&config, async |store| store.adopt(&nodes[0].address()).await);
    adopt().unwrap();
    await_served(&proxy);
    assert!(adopt().unwrap_err().to_string().contains("given out already"));
    assert_eq!(proxy.reply("DBSIZE"), "500");
    assert_eq!(proxy.reply("GET key:17"), "\"17\"");
    let storm = Storm::default();
    storm.counters.lock().unwrap().insert("counter:x:1".into(), proxy.reply("INCR counter:x:1").parse().unwrap());
    push(&config, &nodes[1..]);
    eventually(MOVED, "all have their share", || {
        let lists = lists(&config);
        nodes.iter().all(|node| (21..=22).contains(&share(&lists, node))) && !config.run::<bool>(&["EXISTS", "moves"])
    });
    let expiries = (0..500).map(|number| (format!("key:{number}"), -1)).collect();
    check(&config, &nodes, &proxy, &expiries, &storm);
}

/// A move that cannot be made any more, since who was to lose the slot is no copy or who was to get it is not in, keeps no others.
#[test]
fn moves_that_cannot_be_made_are_given_up() {
    let (config, nodes, proxy) = two_copies::<3>(&[]);
    assert_eq!(proxy.reply("SET key 1"), "+OK");
    let copies_of = |slot: u16| config.run::<Vec<String>>(&["LRANGE", &format!("hashingslot:{slot}"), "0", "-1"]);
    let copies = copies_of(0);
    let third = nodes.iter().map(Server::address).find(|node| !copies.contains(node)).unwrap();
    let (from_nobody, to_nobody) = (format!("127.0.0.1:1 {third} copying 1"), "- 127.0.0.1:1 planned 1");
    let twice = format!("- {} copying 1", copies_of(2)[0]);
    config.run::<u64>(&["HSET", "moves", "0", &from_nobody, "1", to_nobody, "2", &twice]);
    config.run::<u64>(&["HSET", "settings", "moving", "1"]);
    config.run::<u64>(&["INCR", "epoch"]);
    eventually(SOON, "they are given up", || !config.run::<bool>(&["EXISTS", "moves"]));
    assert!(!config.run::<bool>(&["HEXISTS", "settings", "moving"]));
    assert_eq!(copies_of(0), copies);
    assert_eq!(proxy.reply("GET key"), "\"1\"");
}
