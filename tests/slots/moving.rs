//! Slots move all the time: counts, lists and sums over all shards are right, or an error names the slots.

use std::time::Duration;

use crate::common::Cluster;
use crate::movers::{Shards, Way};
use crate::readers::{ALL_KEYS, ANY_COMMAND, SHORT};
use crate::scene::{ask_while, assert_whole, filled, go_on, push_down_from, set_all, share_of_time, turn};
use crate::tally::Tally;
use crate::{atomic, scene};

/// Nobody fails, so nothing but a slot that has not settled is a reason for an error; or a machine that has too much to do.
const ALLOWED: [&str; 3] = ["RMRSLOTS", "RMRTIMEOUT", "PARTIAL"];

/// The number of wrong answers that show that the check is needed.
const ENOUGH: usize = 10;

/// The longest that it may take until so much is counted wrongly by nodes that are told not to mind.
const PROOF: Duration = Duration::from_secs(20);

/// Reads while slots move, first as if nobody minded.
fn read_while_moving(way: Way, movers: usize) -> Tally {
    let mut cluster = filled(Cluster::builder());
    // One that has no slots, to which all answers come from elsewhere.
    cluster.add_node();
    let shards = Shards::new(&cluster);

    set_all(&cluster, "rmr.consistent", |_| "no");
    let ((), unminded) = ask_while(&cluster, |tally| {
        shards.move_while(way, movers, || {
            push_down_from(&cluster, 0);
            rmr::testing::poll(PROOF, || (tally.wrong() >= ENOUGH).then_some(()));
        });
    });
    println!("{way:?}, without the check, {} moves of a block:\n{unminded}", shards.moves());
    assert!(unminded.wrong() > 0, "nothing here would find a wrong count:\n{unminded}");
    assert_whole(&cluster);

    set_all(&cluster, "rmr.consistent", |_| "yes");
    let proof = shards.moves();
    let time = share_of_time(if way == Way::Classic { 35 } else { 25 });
    let ((), tally) = ask_while(&cluster, |tally| shards.move_while(way, movers, || go_on(&cluster, tally, time)));
    let moves = shards.moves() - proof;
    println!("{way:?}, {time:?}, {moves} moves of a block:\n{tally}");
    assert_whole(&cluster);
    tally.assert_sound(&ALLOWED);
    assert!(moves > 2, "{moves} moves");
    tally
}

/// Checks that these questions were answered by the truth, too.
#[track_caller]
fn assert_answered<'q>(tally: &Tally, questions: impl IntoIterator<Item = &'q str>) {
    let all = tally.all();
    for question in questions {
        assert!(all.get(question).is_some_and(|counts| counts.right > 0), "{question} was never answered:\n{tally}");
    }
}

#[test]
fn while_slots_move_key_by_key() {
    let _turn = turn();
    let tally = read_while_moving(Way::Classic, 2);
    // A reducer over what scripts say can be right only in the moments when no slot is on the move.
    assert_answered(&tally, SHORT.into_iter().chain([ALL_KEYS]));
}

#[test]
fn while_slots_move_in_one_moment() {
    let _turn = turn();
    if !atomic::is_possible(&scene::one_node()) {
        return;
    }
    let tally = read_while_moving(Way::Atomic, 1);
    assert_answered(&tally, SHORT.into_iter().chain([ANY_COMMAND, ALL_KEYS]));
}
