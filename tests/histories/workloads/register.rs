//! Keys that are read, written, and compared and set by a script. Each value is written once.

use std::sync::atomic::{AtomicU64, Ordering};

use redis::Value;

use super::{Histories, Reads, Workload};
use crate::checker::{Model, Operation, Verdict, Written, check, is_regular};
use crate::client::{Asked, Client, Outcome, number};
use crate::common::Random;

const SWAP: &str =
    "if (redis.call('GET',KEYS[1]) or '0')==ARGV[1] then redis.call('SET',KEYS[1],ARGV[2]) return 1 end return 0";

/// The longest that one key may take to be judged: some seconds.
const LIMIT: usize = 3_000_000;

pub struct Registers {
    histories: Histories<Operation<Call, u64>>,
    values: AtomicU64,
}

impl Default for Registers {
    fn default() -> Self {
        Self { histories: Histories::new("register"), values: AtomicU64::new(1) }
    }
}

#[derive(Clone, Copy, Debug)]
enum Call {
    Read,
    Write(u64),
    Swap(u64, u64),
}

/// A key that holds nothing counts as 0.
struct Register;

impl Model for Register {
    type Call = Call;
    type Answer = u64;
    type State = u64;

    fn step(state: &u64, call: &Call, answer: Option<&u64>) -> Option<u64> {
        let (after, answered) = match *call {
            Call::Read => (*state, *state),
            Call::Write(value) => (value, 1),
            Call::Swap(from, to) if from == *state => (to, 1),
            Call::Swap(..) => (*state, 0),
        };
        answer.is_none_or(|answer| *answer == answered).then_some(after)
    }
}

impl Workload for Registers {
    fn turn(&self, client: &mut Client, random: &mut Random) {
        let key = self.histories.key(random);
        let value = self.values.fetch_add(1, Ordering::Relaxed);
        match random.below(10) {
            0..4 => self.read(client, &key),
            4..8 => {
                let asked = client.ask(&["SET", &key, &value.to_string()]);
                let is_ok = asked.answer().map(|answer| u64::from(*answer == Value::Okay));
                self.keep(&key, &asked, Call::Write(value), is_ok);
            }
            _ => {
                let Some(from) = client.ask(&["GET", &key]).number() else { return };
                let asked = client.ask(&["EVAL", SWAP, "1", &key, &from.to_string(), &value.to_string()]);
                self.keep(&key, &asked, Call::Swap(from, value), asked.number());
            }
        }
    }

    fn look(&self, client: &mut Client, random: &mut Random) {
        let key = self.histories.key(random);
        self.read(client, &key);
    }

    fn finish(&self, client: &mut Client) {
        self.histories.keys().iter().for_each(|key| self.read(client, key));
    }

    fn judge(&self, reads: Reads) -> Result<String, String> {
        self.histories.judge(|history| match reads {
            Reads::Atomic => in_one_order(history),
            Reads::Regular => regular(history),
        })
    }
}

impl Registers {
    fn read(&self, client: &mut Client, key: &str) {
        let asked = client.ask(&["GET", key]);
        // A read without an answer says nothing.
        if asked.outcome != Outcome::Unknown {
            self.keep(key, &asked, Call::Read, asked.answer().map(|value| number(value).unwrap_or(u64::MAX)));
        }
    }

    fn keep(&self, key: &str, asked: &Asked, call: Call, answer: Option<u64>) {
        if asked.outcome != Outcome::Refused {
            let (called, returned) = (asked.called, asked.returned);
            self.histories.keep(key, Operation { called, returned, call, answer });
        }
    }
}

fn in_one_order(history: &[Operation<Call, u64>]) -> Result<(), String> {
    match check::<Register>(history, LIMIT) {
        Verdict::Linearizable => Ok(()),
        Verdict::NotDecided => Err(format!("{} operations were not judged in {LIMIT} steps", history.len())),
        Verdict::Illegal(place) => {
            let mut sorted: Vec<_> = history.iter().collect();
            sorted.sort_by_key(|operation| operation.called);
            let around = &sorted[place.saturating_sub(12)..sorted.len().min(place + 4)];
            Err(format!("no order explains {:?}; around it:\n{around:#?}", sorted[place]))
        }
    }
}

/// Writes are in one order, and each read gives one that was not over by then.
fn regular(history: &[Operation<Call, u64>]) -> Result<(), String> {
    let is_read = |operation: &&Operation<Call, u64>| matches!(operation.call, Call::Read);
    let (reads, writes): (Vec<_>, Vec<_>) = history.iter().partition(is_read);
    let seen_at = |value: u64| reads.iter().filter(|read| read.answer == Some(value)).map(|read| read.returned).min();
    let written: Vec<Written<u64>> = writes
        .iter()
        .filter_map(|write| {
            let value = match write.call {
                Call::Write(value) => value,
                Call::Swap(_, value) if write.answer != Some(0) => value,
                _ => return None,
            };
            let seen = write.returned.min(seen_at(value).unwrap_or(u64::MAX));
            Some(Written { value, called: write.called, returned: write.returned, seen })
        })
        .collect();
    for read in reads {
        let value = read.answer.filter(|value| *value != 0);
        if !is_regular(&written, value.as_ref(), read.called, read.returned) {
            return Err(format!("{read:?} is too old, or out of nowhere, by {history:#?}"));
        }
    }
    in_one_order(&writes.into_iter().cloned().collect::<Vec<_>>())
}
