//! Slots move from node to node while distributed commands run: every answer stays true, and no command runs twice.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::common::{Cluster, ConstantTotal, Server, View, eventually, slot_of, text_of, while_repeating};

/// After the cluster has settled, everything is right within this time, with no refresh asked for.
const RIGHT_AGAIN: Duration = Duration::from_secs(2);

/// The time for which slots are moved about in one test.
const CHURN: Duration = Duration::from_secs(6);

/// Moves slots of shard 0 about until time is up; gives the number of moves.
fn churn(cluster: &Cluster, slots: &[Vec<String>]) -> usize {
    let until = Instant::now() + CHURN;
    cluster.churn(slots, || Instant::now() >= until)
}

fn sum_of(nodes: &[Server], figure: &str) -> u64 {
    nodes.iter().map(|node| node.rmr_figure(figure)).sum()
}

#[test]
fn the_sum_stays_true_while_slots_move_back_and_forth() {
    let cluster = Cluster::start(3);
    let slots = cluster.crowded_slots(0, 3);
    let still = (0..200).map(|number| format!("still:{number}"));
    let total = ConstantTotal::fill_keys(&cluster, slots.iter().flatten().cloned().chain(still).collect());
    let nodes: Vec<&Server> = cluster.nodes().iter().chain(cluster.nodes()).collect();

    let (moves, answers) = total.ask_while(&nodes, || churn(&cluster, &slots));

    assert!(moves >= 6, "only {moves} moves");
    assert!(answers.right >= 100, "only {} answers", answers.right);
    // Nobody is ever without an owner in a sound migration, so there is no reason for an error either.
    assert!(answers.errors.is_empty(), "{moves} moves, {} answers: {:?}", answers.right, answers.errors);
    assert!(sum_of(cluster.nodes(), "retries_moved") > 0, "nobody was ever sent on by MOVED");
    assert!(sum_of(cluster.nodes(), "retries_ask") > 0, "nobody was ever sent on by ASK");
    println!("{moves} moves, {} answers, all true", answers.right);

    cluster.settle();
    for node in cluster.nodes() {
        eventually(RIGHT_AGAIN, "the sum is right after the last move", || total.is_right_on(node));
    }
}

#[test]
fn a_half_moved_slot_is_read_in_both_places_by_every_coordinator() {
    let cluster = Cluster::start(3);
    let keys = cluster.crowded_slots(0, 1).remove(0);
    let slot = slot_of(&keys[0]);
    let total = ConstantTotal::fill_keys(&cluster, keys.clone());
    let missing = format!("{{{}}}:missing", &keys[0][1..keys[0].find('}').expect("a hash tag")]);

    cluster.begin_move(slot, 0, 1);
    for (moved, key) in keys.iter().enumerate() {
        for node in cluster.nodes() {
            let before = node.rmr_figure("retries_ask");
            assert!(total.is_right_on(node), "{moved} keys moved, asked {}: {}", node.address(), total.ask(node));
            let asked = node.rmr_figure("retries_ask") - before;
            assert_eq!(asked, moved as u64, "one ASK for each key that has moved");
            // Neither place has it, and only the new one may say so.
            let reply = node.wire().ask(&["RMR.MAP", "LIST", "2", &missing, &keys[0], "EXISTS"]);
            assert_eq!(reply, "*2 :0 :1", "asked {}", node.address());
        }
        cluster.migrate_key(key, 0, 1);
    }
    cluster.finish_move(slot, 0, 1);
    for node in cluster.nodes() {
        assert!(total.is_right_on(node), "after the move: {}", total.ask(node));
    }
}

#[test]
fn increments_under_migration_are_applied_exactly_once() {
    let cluster = Cluster::start(3);
    let slots = cluster.crowded_slots(0, 3);
    let mut counters: Vec<String> = slots.iter().flatten().cloned().collect();
    counters.extend((0..8).map(|number| format!("still:{number}")));
    cluster.fill(counters.len(), |index| (counters[index].clone(), "0"));
    let mut increment = vec!["RMR.MAP".to_owned(), "LIST".to_owned(), counters.len().to_string()];
    increment.extend(counters.iter().cloned());
    increment.push("INCR".to_owned());

    let rounds = AtomicU64::new(0);
    let begin = |node: &Server| {
        let mut wire = node.wire();
        let (increment, rounds) = (&increment, &rounds);
        move || {
            let reply = wire.call(increment);
            assert!(!text_of(&reply).contains('-'), "an increment failed: {}", text_of(&reply));
            rounds.fetch_add(1, Ordering::Relaxed);
        }
    };
    let moves = while_repeating(cluster.nodes(), begin, || churn(&cluster, &slots));

    let rounds = rounds.into_inner();
    assert!(moves >= 6 && rounds >= 50, "only {moves} moves and {rounds} rounds");
    println!("{moves} moves, {rounds} increments of each of {} counters", counters.len());
    for counter in &counters {
        let value: u64 = cluster.node(cluster.owner_of(slot_of(counter))).run(&["GET", counter]);
        assert_eq!(value, rounds, "{counter}");
    }
}

#[test]
fn a_node_that_is_added_counts_as_soon_as_it_owns_slots() {
    let mut cluster = Cluster::start(3);
    cluster.fill(3000, |number| (format!("key:{number}"), "x"));
    let count = |node: &Server| node.wire().ask(&["RMR.FANOUT", "REDUCE", "SUM", "DBSIZE"]);
    assert_eq!(count(cluster.node(0)), ":3000");

    let added = cluster.add_node();
    // A primary without slots holds nothing, and is not asked.
    assert_eq!(count(cluster.node(added)), ":3000");
    assert_eq!(cluster.node(added).calls_of("dbsize"), 0);
    let slots: Vec<u16> = (0..8).map(|number| slot_of(format!("key:{number}"))).collect();
    for slot in slots {
        cluster.move_slot(slot, cluster.owner_of(slot), added);
    }

    let settled = Instant::now();
    for node in cluster.nodes() {
        eventually(RIGHT_AGAIN, "all keys are counted", || count(node) == ":3000");
    }
    assert!(settled.elapsed() < RIGHT_AGAIN, "right on all nodes after {:?}", settled.elapsed());
    assert!(cluster.node(added).calls_of("dbsize") > 0, "the new node is not asked");
}

#[test]
fn keys_on_a_node_nobody_told_of_are_found_at_once() {
    let mut cluster = Cluster::builder().module_args(["topology-refresh-ms", "3600000"]).start();
    let total = ConstantTotal::fill(&cluster, 300);
    // Each coordinator has its topology now, and nothing but what it notices will make it look again.
    assert!(cluster.nodes().iter().all(|node| total.is_right_on(node)));

    let added = cluster.add_node();
    let slot = slot_of(&total.keys()[0]);
    cluster.move_slot(slot, cluster.owner_of(slot), added);

    for node in cluster.nodes() {
        assert!(total.is_right_on(node), "asked {}: {}", node.address(), total.ask(node));
    }
    for node in cluster.nodes() {
        eventually(RIGHT_AGAIN, "the new node is in the topology", || {
            let topology = text_of(&node.wire().call(&["RMR.TOPOLOGY"]));
            topology.contains(&cluster.node(added).address())
        });
    }
}

/// Gives all slots of one node to another one; it must hold no keys.
fn give_all_slots(cluster: &Cluster, from: usize, to: usize) {
    let view = View::of(cluster.node(to)).expect("a view of the cluster");
    let port = cluster.node(from).port();
    let id: String = cluster.node(to).run(&["CLUSTER", "MYID"]);
    let mut assign = redis::pipe();
    for slot in view.ranges.iter().filter(|range| range.primary == port).flat_map(|range| range.first..=range.last) {
        assign.cmd("CLUSTER").arg("SETSLOT").arg(slot).arg("NODE").arg(&id).ignore();
    }
    for node in [to, from].into_iter().chain(0..cluster.nodes().len()) {
        // A node that has lost its last slot becomes a replica and refuses the rest: it has heard of all by then.
        let _ = assign.query::<()>(&mut cluster.node(node).connection());
    }
    cluster.settle();
}

#[test]
fn a_shard_that_gives_everything_away_is_asked_no_more() {
    let cluster = Cluster::start(3);
    let keys = cluster.keys_for(0, "total").take(40).chain(cluster.keys_for(1, "total").take(40));
    let total = ConstantTotal::fill_keys(&cluster, keys.collect());
    let count = |node: usize| cluster.node(node).wire().ask(&["RMR.FANOUT", "DBSIZE"]);
    assert_eq!(count(0), "*3 :40 :40 :0");

    let asked: Vec<&Server> = cluster.nodes().iter().collect();
    let ((), answers) = total.ask_while(&asked, || give_all_slots(&cluster, 2, 0));

    assert!(answers.right > 0);
    for node in 0..3 {
        eventually(RIGHT_AGAIN, "two shards are left", || count(node) == "*2 :40 :40");
        assert!(total.is_right_on(cluster.node(node)));
    }
    // Servers make a replica of such a node, unless they are told not to; either way it can be sent away.
    let gone: String = cluster.node(2).run(&["CLUSTER", "MYID"]);
    cluster.node(0).run::<()>(&["CLUSTER", "FORGET", &gone]);
    cluster.node(1).run::<()>(&["CLUSTER", "FORGET", &gone]);
    let links = || cluster.node(2).run::<String>(&["CLIENT", "LIST"]).matches(" name=rmr ").count();
    eventually(RIGHT_AGAIN, "the links to the node that has left are closed", || links() == 0);
    assert_eq!(count(0), "*2 :40 :40");
}
