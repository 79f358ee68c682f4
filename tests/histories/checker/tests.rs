//! Histories whose verdict is known, and chance ones against a search through all orders.

#![cfg(test)]

use proptest::prelude::*;

use super::regular::Written;
use super::*;

const LIMIT: usize = 1_000_000;

/// A register: what a key with `SET`, `GET` and compare-and-set holds.
struct Register;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Call {
    Read,
    Write(u8),
    Swap(u8, u8),
}

impl Model for Register {
    type Call = Call;
    /// The value that was read, or 1 and 0 for done and not done.
    type Answer = u8;
    type State = u8;

    fn step(state: &u8, call: &Call, answer: Option<&u8>) -> Option<u8> {
        let (after, answered) = match *call {
            Call::Read => (*state, *state),
            Call::Write(value) => (value, 1),
            Call::Swap(from, to) if from == *state => (to, 1),
            Call::Swap(..) => (*state, 0),
        };
        answer.is_none_or(|answer| *answer == answered).then_some(after)
    }
}

fn operation(called: u64, returned: u64, call: Call, answer: u8) -> Operation<Call, u8> {
    Operation { called, returned, call, answer: Some(answer) }
}

fn unknown(called: u64, call: Call) -> Operation<Call, u8> {
    Operation { called, returned: NEVER, call, answer: None }
}

fn verdict(operations: &[Operation<Call, u8>]) -> Verdict {
    check::<Register>(operations, LIMIT)
}

#[test]
fn operations_at_one_time_may_be_in_any_order() {
    let history = [
        operation(0, 90, Call::Write(1), 1),
        operation(1, 91, Call::Write(2), 1),
        operation(2, 92, Call::Write(3), 1),
        operation(3, 10, Call::Read, 3),
        operation(20, 30, Call::Read, 2),
        operation(40, 50, Call::Read, 1),
    ];
    assert_eq!(verdict(&history), Verdict::Linearizable);
}

#[test]
fn an_old_value_after_a_new_one_is_found() {
    let history =
        [operation(0, 90, Call::Write(1), 1), operation(10, 20, Call::Read, 1), operation(30, 40, Call::Read, 0)];
    assert_eq!(verdict(&history), Verdict::Illegal(2));
    let late = [operation(0, 1, Call::Write(1), 1), operation(2, 3, Call::Read, 0)];
    assert_eq!(verdict(&late), Verdict::Illegal(1));
    let nowhere = [operation(0, 1, Call::Write(1), 1), operation(0, 9, Call::Read, 7)];
    assert!(matches!(verdict(&nowhere), Verdict::Illegal(_)));
}

#[test]
fn an_unknown_outcome_is_any_time_or_never() {
    let lost = unknown(0, Call::Write(1));
    let read = |at, value| operation(at, at + 1, Call::Read, value);
    assert_eq!(verdict(&[lost.clone(), read(10, 0), read(20, 0)]), Verdict::Linearizable);
    assert_eq!(verdict(&[lost.clone(), read(10, 0), read(20, 1)]), Verdict::Linearizable);
    assert!(matches!(verdict(&[lost.clone(), read(10, 1), read(20, 0)]), Verdict::Illegal(_)));
    // Once and no more: who has done it and says that he does not know, must not do it again.
    let between = operation(30, 31, Call::Write(2), 1);
    let again = [lost.clone(), read(10, 1), between, read(40, 1)];
    assert!(matches!(verdict(&again), Verdict::Illegal(_)));
    // Not before it was sent.
    assert!(matches!(verdict(&[read(0, 1), unknown(10, Call::Write(1))]), Verdict::Illegal(_)));
    assert_eq!(verdict(&[unknown(0, Call::Swap(0, 5)), read(10, 5)]), Verdict::Linearizable);
}

#[test]
fn many_unknown_outcomes_are_no_burden() {
    let mut history: Vec<_> = (0..12).map(|number| unknown(number, Call::Write(100 + number as u8))).collect();
    for turn in 0..100 {
        let (at, value) = (1000 + 10 * turn, turn as u8 % 90 + 1);
        history.extend([operation(at, at + 4, Call::Write(value), 1), operation(at + 5, at + 9, Call::Read, value)]);
    }
    assert_eq!(verdict(&history), Verdict::Linearizable);
}

#[test]
fn what_takes_too_long_is_not_decided() {
    let mut history: Vec<_> = (0..20).map(|number| operation(number, 90, Call::Write(number as u8), 1)).collect();
    history.push(operation(95, 96, Call::Read, 77));
    assert_eq!(check::<Register>(&history, 10_000), Verdict::NotDecided);
}

#[test]
fn a_read_of_any_copy_is_old_only_while_a_write_runs() {
    let write = |value, called, returned| Written { value, called, returned, seen: returned };
    let writes = [write(1, 10, 20), write(2, 30, 40), write(3, 50, NEVER)];
    let reads = |value: Option<u8>, called, returned| is_regular(&writes, value.as_ref(), called, returned);
    assert!(reads(None, 0, 5) && reads(None, 15, 16) && !reads(None, 21, 22));
    assert!(!reads(Some(1), 0, 5) && reads(Some(1), 12, 13) && reads(Some(1), 35, 36) && !reads(Some(1), 41, 42));
    // One reader sees the new value, the next one the old one: any copy.
    assert!(reads(Some(2), 32, 33) && reads(Some(1), 34, 35));
    // Nobody knows of the last one: it may come, and the one before may stay.
    assert!(reads(Some(3), 60, 61) && reads(Some(2), 70, 71) && !reads(Some(1), 60, 61));
    assert!(!reads(Some(9), 60, 61));
}

#[test]
fn what_was_seen_once_is_older_than_what_is_written_then() {
    let write = |value, called, returned, seen| Written { value, called, returned, seen };
    let writes = [write(1, 10, 20, 20), write(2, 30, NEVER, 35), write(3, 50, 60, 60)];
    let reads = |value: u8, called, returned| is_regular(&writes, Some(&value), called, returned);
    // One copy has the write that nobody has acknowledged, and another one has not.
    assert!(reads(2, 34, 35) && reads(1, 36, 37) && reads(2, 38, 39));
    assert!(!reads(2, 61, 62) && !reads(1, 61, 62) && reads(3, 61, 62));
}

/// Tries each order there is.
fn by_all_orders(left: &[Operation<Call, u8>], state: u8) -> bool {
    let is_done = left.iter().all(|operation| operation.answer.is_none());
    is_done
        || (0..left.len()).any(|place| {
            let operation = &left[place];
            let is_first = left.iter().all(|other| other.returned >= operation.called);
            let after = Register::step(&state, &operation.call, operation.answer.as_ref());
            let rest = [&left[..place], &left[place + 1..]].concat();
            is_first && after.is_some_and(|state| by_all_orders(&rest, state))
        })
}

fn any_operation() -> impl Strategy<Value = Operation<Call, u8>> {
    let value = || 0..3_u8;
    let call = prop_oneof![
        Just(Call::Read),
        value().prop_map(Call::Write),
        (value(), value()).prop_map(|(a, b)| Call::Swap(a, b))
    ];
    (0..20_u64, 0..12_u64, call, value(), 0..5).prop_map(|(called, takes, call, value, chance)| {
        let answer = if call == Call::Read { value } else { u8::from(value > 0) };
        if chance == 0 { unknown(called, call) } else { operation(called, called + takes, call, answer) }
    })
}

proptest! {
    #[test]
    fn the_verdict_is_that_of_all_orders(history in prop::collection::vec(any_operation(), 0..7)) {
        let found = verdict(&history);
        prop_assert!(found != Verdict::NotDecided);
        prop_assert_eq!(found == Verdict::Linearizable, by_all_orders(&history, 0));
    }
}
