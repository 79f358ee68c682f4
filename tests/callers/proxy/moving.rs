//! Slots that move and nodes that fail, as seen by clients that know nothing of either.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::Served;
use crate::common::{Cluster, RmrProxy, slot_of, while_repeating};

/// Keys of one slot.
const KEYS: [&str; 4] = ["{moving}a", "{moving}b", "{moving}c", "{moving}d"];

#[test]
fn a_slot_that_moves_is_nothing_that_a_client_sees() {
    Served::three().iter().for_each(move_under_traffic);
}

fn move_under_traffic(served: &Served) {
    let cluster = &served.cluster;
    let slot = slot_of("{moving}");
    let mut at = cluster.owner_of(slot);
    let counted: Vec<AtomicU64> = KEYS.iter().map(|_| AtomicU64::new(0)).collect();
    for key in KEYS {
        cluster.set(key, "0");
    }
    let traffic = |&asked: &usize| {
        let (mut wire, counted, mut turn) = (served.wire(asked), &counted, 0);
        move || {
            turn += 1;
            let index = turn % KEYS.len();
            let reply = wire.reply(&format!("INCR {}", KEYS[index]));
            assert!(reply.parse::<u64>().is_ok(), "INCR: {reply}");
            counted[index].fetch_add(1, Relaxed);
            let reply = wire.reply(&format!("MGET {}", KEYS.join(" ")));
            assert!(reply.starts_with("[\"") && !reply.contains("nil"), "MGET: {reply}");
            let reply = wire.reply(&format!("GET {}", KEYS[(index + 1) % KEYS.len()]));
            assert!(reply.starts_with('"'), "GET: {reply}");
        }
    };
    while_repeating(&[0, 1, 2], traffic, || {
        for _ in 0..6 {
            let to = (at + 1) % 3;
            cluster.move_slot(slot, at, to);
            at = to;
        }
    });
    let mut wire = served.wire(0);
    for (key, counted) in KEYS.iter().zip(&counted) {
        assert_eq!(wire.reply(&format!("GET {key}")), format!("\"{}\"", counted.load(Relaxed)), "{key}");
    }
}

/// An open slot: what has moved, and what has not, is found by one who asks neither of the two nodes for `ASKING`.
#[test]
fn an_open_slot_is_answered_by_all_nodes() {
    Served::three().iter().for_each(ask_for_an_open_slot);
}

fn ask_for_an_open_slot(served: &Served) {
    let cluster = &served.cluster;
    let slot = slot_of("{moving}");
    let from = cluster.owner_of(slot);
    let to = (from + 1) % 3;
    for key in KEYS {
        cluster.set(key, key);
    }
    cluster.begin_move(slot, from, to);
    let target = cluster.node(to).port().to_string();
    let moved = ["MIGRATE", "127.0.0.1", &target, "", "0", "5000", "KEYS", KEYS[0], KEYS[1]];
    assert_eq!(cluster.node(from).run::<String>(&moved), "OK");
    for door in 0..served.doors() {
        let mut wire = served.wire(door);
        for key in KEYS {
            assert_eq!(wire.reply(&format!("GET {key}")), format!("\"{key}\""), "{key} at door {door}");
        }
        let all: Vec<String> = KEYS.iter().map(|key| format!("\"{key}\"")).collect();
        assert_eq!(wire.reply(&format!("MGET {}", KEYS.join(" "))), format!("[{}]", all.join(", ")));
        assert_eq!(wire.reply("SET {moving}new 1"), "+OK");
        assert_eq!(wire.reply("DEL {moving}new"), "1");
    }
    cluster.migrate_keys(slot, from, to);
    cluster.finish_move(slot, from, to);
}

#[test]
fn a_failover_is_followed() {
    for served in Served::in_all_ways(|| Cluster::builder().shards(2).replicas(1)) {
        let cluster = &served.cluster;
        let key = cluster.key_for(1, "k");
        let mut wire = served.wire(0);
        assert_eq!(wire.reply(&format!("SET {key} 1")), "+OK");
        cluster.failover(cluster.replicas_of(1).start);
        assert_eq!(wire.reply(&format!("INCR {key}")), "2");
        // The old primary, where it is the door, is a replica now, and serves its clients all the same.
        assert_eq!(served.wire(1).reply(&format!("INCR {key}")), "3");
    }
}

#[test]
fn a_node_that_does_not_answer_costs_the_deadline_and_is_named() {
    for mut served in Served::in_all_ways(|| Cluster::builder().node_timeout(Duration::from_secs(30))) {
        if served.is_by_program() {
            served.programs = vec![RmrProxy::before(&served.cluster).set("timeout-ms", 300).start()];
        }
        let cluster = &served.cluster;
        let (key, stopped) = (cluster.key_for(1, "k"), cluster.node(1));
        let name = stopped.shown_name();
        let mut wire = served.wire(0);
        assert_eq!(wire.reply(&format!("GET {key}")), "nil");
        if !served.is_by_program() {
            assert_eq!(wire.reply("CONFIG SET rmr.timeout-ms 300"), "+OK");
        }
        stopped.stop_signal();
        for line in [format!("GET {key}"), "DBSIZE".to_owned()] {
            let asked = Instant::now();
            let refusal = wire.reply(&line);
            assert!(refusal.starts_with("-RMRTIMEOUT 300 ms") && refusal.contains(&name), "{line}: {refusal}");
            assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        }
        assert_eq!(wire.reply(&format!("GET {}", cluster.key_for(0, "k"))), "nil", "keys of another node");
        assert_eq!(cluster.node(2).wire().reply("PING"), "+PONG");
        stopped.cont_signal();
    }
}
