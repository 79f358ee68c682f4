//! The proxy that moves slots is killed in each phase of a move, while another one writes to them. That one goes on with the move or
//! begins anew (H20): no acknowledged write is lost, the copies end alike, and nothing is left of the move.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rmr::placement::slot::{SlotFunc, SlotHash};

use super::check::{check, figure};
use super::copies::{Storm, value};
use super::moves::{Ends, MOVED, fill, lists, share};
use super::{SOON, await_served, proxy, push, servers};
use crate::common::{RmrProxy, Server, eventually};

const SLOTS: u16 = 64;

/// A store of three nodes, two copies and two proxies, to which a fourth node comes.
struct Moving {
    config: Server,
    nodes: [Server; 4],
    /// The proxy that is to be killed.
    mover: RmrProxy,
    other: RmrProxy,
}

impl Moving {
    fn start() -> Self {
        Self::with_lease(500)
    }

    /// Starts it with a lease of so many milliseconds, after which a proxy that is stopped is taken for dead.
    fn with_lease(lease: u32) -> Self {
        let [config, nodes @ ..] = servers::<5>();
        for (name, value) in [("slots", &*SLOTS.to_string()), ("copies", "2"), ("lease-ms", &*lease.to_string())] {
            config.run::<u64>(&["HSET", "settings", name, value]);
        }
        let (mover, other) = (proxy(&config), proxy(&config));
        push(&config, &nodes[..3]);
        await_served(&mover);
        await_served(&other);
        let started = Self { config, nodes, mover, other };
        eventually(SOON, "both order slots", || {
            [&started.mover, &started.other].iter().all(|proxy| started.ordered_by(proxy).count() >= 10)
        });
        started
    }

    fn ordered_by(&self, proxy: &RmrProxy) -> impl Iterator<Item = String> {
        let name = format!("127.0.0.1:{}/", proxy.port());
        let slots: HashMap<String, String> = self.config.run(&["HGETALL", "slots"]);
        slots.into_iter().filter(move |(_, entry)| entry.contains(&name)).map(|(slot, _)| slot)
    }

    fn add_node(&self) {
        push(&self.config, &self.nodes[3..]);
    }

    /// Returns whether a slot of the first proxy is in this phase of a move.
    fn is_in(&self, phase: &str) -> bool {
        let moves: HashMap<String, String> = self.config.run(&["HGETALL", "moves"]);
        let is_in = |slot: &String| moves.get(slot).is_some_and(|record| record.contains(&format!(" {phase} ")));
        self.ordered_by(&self.mover).any(|slot| is_in(&slot))
    }

    /// Stops the first proxy in this phase of a move.
    fn stop_in(&self, phase: &str) {
        eventually(MOVED, "a slot is in that phase", || {
            if !self.is_in(phase) {
                return false;
            }
            self.mover.stop_signal();
            let is_in = self.is_in(phase);
            if !is_in {
                self.mover.cont_signal();
            }
            is_in
        });
    }

    /// Has the first proxy killed by this in a storm of writes, and looks at what is left.
    fn killed_by(&self, kill: impl FnOnce()) {
        let expiries = fill(&self.other, 600);
        let (storm, end) = (Storm::default(), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| storm.blow(&[&self.other], &end));
            let _ends = Ends(&end);
            let sum = || storm.acknowledged.lock().unwrap().values().sum::<i64>();
            eventually(SOON, "writes are under way", || sum() >= 100);
            kill();
            self.mover.kill();
            eventually(MOVED, "the other proxy has taken over, and all slots have moved", || {
                let entries: Vec<String> = self.config.run(&["HVALS", "slots"]);
                self.ordered_by(&self.other).count() == usize::from(SLOTS)
                    && entries.iter().all(|entry| entry.ends_with(" ok"))
                    && share(&lists(&self.config), &self.nodes[3]) == usize::from(SLOTS) / 2
                    && !self.config.run::<bool>(&["EXISTS", "moves"])
            });
            let before = sum();
            eventually(SOON, "writes go on", || sum() > before + 100);
            end.store(true, Ordering::Relaxed);
        });
        let unknown = storm.unknown.into_inner().unwrap();
        let mut wire = self.other.wire();
        for (key, count) in storm.acknowledged.into_inner().unwrap() {
            let may_be_more = unknown.iter().filter(|write| write.starts_with(&format!("{key} "))).count() as i64;
            let read = value(&mut wire, &key).unwrap();
            assert!((count..=count + may_be_more).contains(&read), "{key}: {read}, acknowledged {count}, {unknown:?}");
            self.is_at_its_nodes(&key, &read.to_string());
        }
        for key in expiries.keys() {
            self.is_at_its_nodes(key, key.trim_start_matches("key:"));
        }
        let checked = check(&self.other, "ALL");
        assert_eq!(figure(&checked, "differences"), 0, "{checked}");
    }

    /// Checks that a key has this value at the nodes of its slot, and that no other node has it.
    #[track_caller]
    fn is_at_its_nodes(&self, key: &str, value: &str) {
        let slot = SlotFunc::new(SlotHash::Sha1, SLOTS).unwrap().slot(key.as_bytes());
        let list: Vec<String> = self.config.run(&["LRANGE", &format!("hashingslot:{slot}"), "0", "-1"]);
        assert_eq!(list.len(), 2, "{key}");
        for node in &self.nodes {
            let found: Option<String> = node.run(&["GET", key]);
            let expected = list.contains(&node.address()).then(|| value.to_owned());
            assert_eq!(found, expected, "{key} at {}", node.address());
        }
    }
}

/// Nothing has been done yet.
#[test]
fn the_mover_may_be_killed_when_moves_are_planned() {
    let moving = Moving::with_lease(5000);
    moving.killed_by(|| {
        moving.mover.stop_signal();
        moving.add_node();
        eventually(SOON, "moves are planned", || moving.is_in("planned"));
    });
}

/// The next mover does not trust what was copied.
#[test]
fn the_mover_may_be_killed_while_it_copies() {
    let moving = Moving::start();
    moving.killed_by(|| {
        moving.add_node();
        moving.stop_in("copying");
    });
}

/// The last word of the proxy that was killed is read by the configuration node when another one is about to take over.
#[test]
fn the_mover_may_be_killed_when_it_has_asked_for_the_flip() {
    let moving = Moving::start();
    moving.killed_by(|| {
        moving.add_node();
        eventually(MOVED, "it copies", || moving.is_in("copying"));
        moving.config.stop_signal();
        eventually(SOON, "the configuration node is asked", || moving.config.unread_bytes() > 0);
        moving.mover.kill();
        moving.config.cont_signal();
    });
}

/// The new copy counts; the keys of the old one are still to go.
#[test]
fn the_mover_may_be_killed_before_it_has_cleaned_up() {
    let moving = Moving::start();
    moving.killed_by(|| {
        moving.add_node();
        moving.stop_in("flipped");
    });
}

/// An operator has given the moves up; what was copied is still to go at the node that was to have it.
#[test]
fn the_mover_may_be_killed_when_moves_are_given_up() {
    let moving = Moving::start();
    moving.killed_by(|| {
        moving.add_node();
        let mut wire = moving.other.wire();
        eventually(MOVED, "moves under way are given up", || {
            assert_eq!(wire.reply("RMR.PLACE RESUME"), "+OK");
            if moving.is_in("copying") {
                assert_eq!(wire.reply("RMR.PLACE PAUSE"), "+OK");
                wire.reply("RMR.PLACE CANCEL");
            }
            moving.is_in("cancelled")
        });
        moving.stop_in("cancelled");
        moving.mover.kill();
        assert_eq!(wire.reply("RMR.PLACE RESUME"), "+OK");
    });
}
