//! Two histories of etcd that Jepsen recorded, as the checker Porcupine has them among its tests, with its verdicts.
//!
//! A line is `client invoke|ok|fail|info operation values`; `info` is an outcome that nobody knows.

#![cfg(test)]

use super::*;

struct Register;

#[derive(Clone, Copy, Debug)]
enum Call {
    Read,
    Write(u8),
    Swap(u8, u8),
}

#[derive(Debug, PartialEq)]
enum Answer {
    Value(Option<u8>),
    IsDone(bool),
}

impl Model for Register {
    type Call = Call;
    type Answer = Answer;
    type State = Option<u8>;

    fn step(state: &Option<u8>, call: &Call, answer: Option<&Answer>) -> Option<Option<u8>> {
        let (after, answered) = match *call {
            Call::Read => (*state, Answer::Value(*state)),
            Call::Write(value) => (Some(value), Answer::IsDone(true)),
            Call::Swap(from, to) if *state == Some(from) => (Some(to), Answer::IsDone(true)),
            Call::Swap(..) => (*state, Answer::IsDone(false)),
        };
        answer.is_none_or(|answer| *answer == answered).then_some(after)
    }
}

fn read(text: &str) -> Vec<Operation<Call, Answer>> {
    let mut operations: Vec<(&str, Operation<Call, Answer>)> = Vec::new();
    for (time, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split(' ').collect();
        let value = |place: usize| words[place].parse::<u8>().ok();
        let number = |place: usize| value(place).expect("a value");
        if words[1] == "invoke" {
            let call = match words[2] {
                "read" => Call::Read,
                "write" => Call::Write(number(3)),
                _ => Call::Swap(number(3), number(4)),
            };
            let called = time as u64;
            operations.push((words[0], Operation { called, returned: NEVER, call, answer: None }));
            continue;
        }
        let of_client = operations.iter_mut().rev().find(|(client, _)| *client == words[0]);
        let (_, operation) = of_client.expect("a call of this client");
        operation.answer = match (words[1], operation.call) {
            ("ok", Call::Read) => Some(Answer::Value(value(3))),
            ("ok", _) => Some(Answer::IsDone(true)),
            ("fail", Call::Swap(..)) => Some(Answer::IsDone(false)),
            _ => None,
        };
        if operation.answer.is_some() {
            operation.returned = time as u64;
        }
    }
    operations.into_iter().map(|(_, operation)| operation).collect()
}

#[test]
fn histories_of_another_store_are_judged_as_by_others() {
    let verdict = |text| check::<Register>(&read(text), 10_000_000);
    assert_eq!(verdict(include_str!("etcd_sound.txt")), Verdict::Linearizable);
    assert!(matches!(verdict(include_str!("etcd_broken.txt")), Verdict::Illegal(_)));
}
