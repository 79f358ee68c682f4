//! Slots move to and fro under the loop: every answer is right, and none is an error.

use std::time::{Duration, Instant};

use crate::common::Cluster;
use crate::load::{self, Keys, rounds};

/// The time that a request has; none needs it.
const TIMEOUT: Duration = Duration::from_secs(5);

#[test]
fn nothing_goes_wrong_while_slots_move_to_and_fro() {
    let rounds = rounds(200);
    let cluster = Cluster::start(3);
    let keys = Keys::of(&cluster, 3);
    let nodes: Vec<_> = cluster.nodes().iter().collect();
    let limit = Instant::now() + Duration::from_secs(60) + rounds as u32 * Duration::from_millis(100);
    let (moves, notes) = load::run(&cluster, &nodes, &keys, TIMEOUT, |tally| {
        let mut moves = 0;
        cluster.churn(&keys.moving, || {
            moves += keys.moving.len();
            assert!(Instant::now() < limit, "the loop does not come to its end");
            tally.is_over(rounds) && moves > 10
        })
    });
    println!("{moves} moves of slots");
    // Nobody is ever without an owner in a sound migration, so there is no reason for an error either.
    assert!(notes.errors.is_empty(), "{:?}", notes.errors);
    let sent_on: u64 = cluster.nodes().iter().map(|node| node.rmr_figure("retries_ask")).sum();
    assert!(sent_on > 0, "nobody was ever sent on by ASK");
}
