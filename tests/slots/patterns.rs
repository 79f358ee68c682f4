//! Work over all keys that match a pattern, while slots move and primaries change: right, or an error that says why not.

use std::ops::Range;
use std::time::Duration;

use crate::atomic;
use crate::common::Cluster;
use crate::failing;
use crate::movers::{Shards, Way};
use crate::readers::{Asks, PATTERNS};
use crate::scene::{self, ask_by, assert_whole, filled, go_on, share_of_time, turn};
use crate::tally::Tally;

/// Nobody fails, so nothing but a slot that has not settled is a reason for an error; or a machine that has too much to do.
const ALLOWED: [&str; 3] = ["RMRSLOTS", "RMRTIMEOUT", "PARTIAL"];

/// The longest that it may take until a client that knows nothing of slots counts wrongly.
const PROOF: Duration = Duration::from_secs(30);

/// The time that a busy machine may take longer until each question has been answered once.
const ANSWERED: Duration = Duration::from_secs(60);

/// Readers of all nodes of a cluster, by what they ask.
fn readers(cluster: &Cluster, asks: &[Asks]) -> Vec<(Range<usize>, Asks)> {
    asks.iter().map(|asks| (0..cluster.nodes().len(), *asks)).collect()
}

/// Has slots move until a plain `SCAN` of all nodes has seen a key twice, or missed one.
fn assert_it_matters(cluster: &Cluster, shards: &Shards<'_>, way: Way, movers: usize) {
    let ((), tally) = ask_by(cluster, &readers(cluster, &[Asks::ByHand]), |tally| {
        shards.move_while(way, movers, || rmr::testing::poll(PROOF, || (tally.wrong() > 0).then_some(())));
    });
    assert!(tally.wrong() > 0, "nothing here would find a wrong count:\n{tally}");
}

fn count_while_moving(way: Way, movers: usize) {
    let mut cluster = filled(Cluster::builder());
    // One that has no slots, to which all answers come from elsewhere.
    cluster.add_node();
    let shards = Shards::new(&cluster);
    assert_it_matters(&cluster, &shards, way, movers);
    let before = shards.moves();
    let time = share_of_time(10);
    let asks = readers(&cluster, &[Asks::Patterns, Asks::Patterns]);
    let ((), tally) = ask_by(&cluster, &asks, |tally| {
        shards.move_while(way, movers, || {
            go_on(&cluster, tally, time);
            rmr::testing::poll(ANSWERED, || (tally.wrong() > 0 || unanswered(tally).is_none()).then_some(()));
        });
    });
    println!("{way:?}, {time:?}, {} moves of a block:\n{tally}", shards.moves() - before);
    assert_whole(&cluster);
    tally.assert_sound(&ALLOWED);
    assert_eq!(unanswered(&tally), None, "this was never answered:\n{tally}");
}

fn is_any_answered(tally: &Tally) -> bool {
    tally.all().values().any(|counts| counts.right > 0)
}

/// Returns a question that was not yet answered by the truth.
fn unanswered(tally: &Tally) -> Option<&'static str> {
    let all = tally.all();
    PATTERNS.into_iter().find(|question| all.get(question).is_none_or(|counts| counts.right == 0))
}

#[test]
fn keys_that_match_while_slots_move_key_by_key() {
    let _turn = turn();
    count_while_moving(Way::Classic, 2);
}

#[test]
fn keys_that_match_while_slots_move_in_one_moment() {
    let _turn = turn();
    if atomic::is_possible(&scene::one_node()) {
        count_while_moving(Way::Atomic, 1);
    }
}

#[test]
fn keys_that_match_while_slots_move_and_primaries_change() {
    let _turn = turn();
    let ways = failing::ways();
    let cluster = filled(failing::with_replicas());
    cluster.settle();
    let shards = Shards::new(&cluster);
    let time = share_of_time(10) / ways.len() as u32;
    for way in ways {
        let asks = readers(&cluster, &[Asks::Patterns, Asks::Patterns]);
        let (changes, tally) =
            ask_by(&cluster, &asks, |tally| shards.move_while(way, 1, || failing::change_all(&shards, tally, time)));
        println!("{way:?}, {changes} new primaries:\n{tally}");
        assert_whole(&cluster);
        tally.assert_sound(&failing::ALLOWED);
        assert!(is_any_answered(&tally), "nothing was ever answered:\n{tally}");
    }
}
