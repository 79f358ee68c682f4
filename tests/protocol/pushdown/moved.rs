//! Slots that move: the shard hands back just the keys that it does not have, and they are found where they are.

use std::time::Duration;

use super::pushing;
use crate::common::{ConstantTotal, eventually, slot_of};

#[test]
fn keys_that_have_moved_are_found() {
    let cluster = pushing(3);
    let slot = cluster.crowded_slots(1, 1).remove(0);
    let others: Vec<String> = (0..100).map(|index| format!("n:{index}")).collect();
    let total = ConstantTotal::fill_keys(&cluster, others.into_iter().chain(slot.iter().cloned()).collect());
    cluster.begin_move(slot_of(&slot[0]), 1, 2);
    let mut inner = cluster.node(1).calls_of("rmr.inner");
    for key in &slot {
        cluster.migrate_key(key, 1, 2);
        cluster.nodes().iter().for_each(|node| assert!(total.is_right_on(node)));
        let calls = cluster.node(1).calls_of("rmr.inner");
        assert!(calls > std::mem::replace(&mut inner, calls), "the share is not reduced any more");
    }
    cluster.finish_move(slot_of(&slot[0]), 1, 2);
    cluster.nodes().iter().for_each(|node| assert!(total.is_right_on(node)));
}

#[test]
fn a_total_is_true_while_slots_move() {
    let cluster = pushing(3);
    let slots = cluster.crowded_slots(0, 6);
    let others: Vec<String> = (0..200).map(|index| format!("n:{index}")).collect();
    let keys = slots.iter().flatten().cloned().chain(others).collect();
    let total = ConstantTotal::fill_keys(&cluster, keys);
    let began = std::time::Instant::now();
    let nodes: Vec<_> = cluster.nodes().iter().collect();
    let (moves, answers) =
        total.ask_while(&nodes, || cluster.churn(&slots, || began.elapsed() > Duration::from_secs(2)));
    assert!(moves > 0);
    assert!(answers.right > 0);
    assert!(cluster.node(0).rmr_figure("inner_shares") > 0);
    eventually(Duration::from_secs(5), "the total is right again", || {
        cluster.nodes().iter().all(|node| total.is_right_on(node))
    });
}
