//! The claims hold in every order of events that the model has, and each rule is needed for that.

use std::time::Instant;

use rmr_model::{Safeguards, SlotModel};
use stateright::{Checker, HasDiscoveries, Model};

/// Enough to find what each rule is for. `RMR_MODEL=large` goes through more writes, more reads and a crash at once.
const ORDERED: SlotModel = SlotModel { safeguards: Safeguards::ALL, writes: 1, reads: 1, ordered: true, crash: true };
const ANY: SlotModel = SlotModel { ordered: false, ..ORDERED };

fn is_large() -> bool {
    std::env::var("RMR_MODEL").is_ok_and(|size| size == "large")
}

fn holds(model: SlotModel) {
    let began = Instant::now();
    let checker = model.checker().threads(2).spawn_bfs().join();
    println!("{} states, {} steps deep, {:?}", checker.unique_state_count(), checker.max_depth(), began.elapsed());
    checker.assert_properties();
}

/// Checks that claims are broken without a rule, and shows how.
fn finds(claims: &[&'static str], model: SlotModel) {
    let checker = model.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let found = checker.discoveries();
    let broken: Vec<_> = claims.iter().filter_map(|claim| found.get(claim)).collect();
    assert!(!broken.is_empty(), "none of {claims:?} is broken; found: {:?}", found.keys());
    println!("{} states: {:?}", checker.unique_state_count(), broken[0].clone().into_actions());
}

#[test]
fn reads_in_order_are_linearizable_and_no_write_is_lost() {
    holds(ORDERED);
    holds(SlotModel { reads: 2, crash: is_large(), ..ORDERED });
    holds(SlotModel { writes: 2, crash: is_large(), ..ORDERED });
}

#[test]
fn reads_of_any_copy_are_never_older_than_what_was_acknowledged() {
    holds(SlotModel { writes: if is_large() { 2 } else { 1 }, ..ANY });
}

#[test]
fn without_order_copies_differ() {
    let safeguards = Safeguards { order: false, ..Safeguards::ALL };
    finds(&["S2"], SlotModel { safeguards, writes: 2, reads: 0, ..ORDERED });
}

#[test]
fn without_a_fence_a_former_sequencer_writes() {
    let safeguards = Safeguards { fence: false, ..Safeguards::ALL };
    finds(&["S5"], SlotModel { safeguards, ..ORDERED });
}

#[test]
fn without_waiting_for_changes_to_be_in_force_reads_are_too_old() {
    let safeguards = Safeguards { in_force: false, ..Safeguards::ALL };
    finds(&["S4"], SlotModel { safeguards, ..ANY });
}

#[test]
fn without_the_state_suspect_copies_differ_after_a_takeover() {
    let safeguards = Safeguards { suspect: false, ..Safeguards::ALL };
    finds(&["S2", "S3"], SlotModel { safeguards, reads: 2, ..ORDERED });
}

#[test]
fn without_held_reads_a_write_is_seen_that_comes_to_nothing() {
    let safeguards = Safeguards { held_reads: false, ..Safeguards::ALL };
    finds(&["S3"], SlotModel { safeguards, reads: 2, ..ORDERED });
}

#[test]
fn without_epochs_a_former_sequencer_changes_the_table() {
    let safeguards = Safeguards { epochs: false, ..Safeguards::ALL };
    finds(&["S1", "S2", "S3", "S5"], SlotModel { safeguards, ..ORDERED });
}

#[test]
fn a_slot_that_is_given_away_with_writes_under_way_is_written_by_two() {
    let safeguards = Safeguards { drained: false, ..Safeguards::ALL };
    finds(&["S5"], SlotModel { safeguards, ..ORDERED });
}
