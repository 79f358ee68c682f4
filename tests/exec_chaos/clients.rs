//! The clients of the loop, each with a model of what it may be told: `MGET`, `INCR`, `DEL` and `RMR.SCAN`.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use crate::common::show;
use crate::cursor;
use crate::load::{Answer, Client};

/// The words of an error about a write that may have run.
pub const UNKNOWN: &str = "outcome is unknown";

/// The beginning of the server's own error for clients that wait when it becomes a replica.
const THROWN_OUT: &str = "-UNBLOCKED ";

/// Reads keys that never change, some twice, some that nobody has.
pub struct Gets {
    keys: Vec<String>,
}

impl Gets {
    pub fn new(keys: Vec<String>) -> Self {
        Self { keys }
    }

    pub fn turn(&mut self, client: &mut Client<'_>) {
        let turn = client.turn();
        // Another choice in each turn: from one key to all.
        let picked = (0..=turn % (2 * self.keys.len())).map(|at| (at * (turn % 7 + 1) + turn) % (self.keys.len() + 3));
        let mut line = vec!["RMR.EXEC", "MGET"];
        let mut expected = Vec::new();
        for at in picked {
            line.push(self.keys.get(at).map_or("nobody", String::as_str));
            expected.push(self.keys.get(at).map_or("nil".to_owned(), |key| format!("\"of {key}\"")));
        }
        let expected = format!("[{}]", expected.join(", "));
        if let Answer::Reply(reply) = client.ask(&line)
            && show(&reply) != expected
        {
            client.wrong(format!("{line:?} gave {}", show(&reply)));
        }
    }
}

/// Increments counters of its own.
pub struct Counts<'a> {
    counters: Vec<Counter>,
    ends: &'a Mutex<Vec<(String, u64, u64)>>,
}

/// A counter: how often it was incremented for sure, how often perhaps, and the last value that was seen.
struct Counter {
    key: String,
    sure: u64,
    perhaps: u64,
    last: u64,
}

impl<'a> Counts<'a> {
    /// Returns the client of these counters, which adds the values that they may have to `ends` in the end.
    pub fn new(keys: Vec<String>, ends: &'a Mutex<Vec<(String, u64, u64)>>) -> Self {
        let counters = keys.into_iter().map(|key| Counter { key, sure: 0, perhaps: 0, last: 0 }).collect();
        Self { counters, ends }
    }

    pub fn turn(&mut self, client: &mut Client<'_>) {
        let at = client.turn() % self.counters.len();
        let counter = &mut self.counters[at];
        match client.ask(&["RMR.EXEC", "INCR", &counter.key]) {
            Answer::Reply(reply) => {
                counter.sure += 1;
                let value = show(&reply).parse::<u64>().unwrap_or(0);
                let allowed = counter.sure..=counter.sure + counter.perhaps;
                if !allowed.contains(&value) || value <= counter.last {
                    let Counter { key, last, .. } = counter;
                    client.wrong(format!("INCR {key} gave {} after {last}, not {allowed:?}", show(&reply)));
                }
                counter.last = value;
            }
            Answer::Error(error) => {
                counter.perhaps += u64::from(error.contains(UNKNOWN) || error.starts_with(THROWN_OUT));
            }
            Answer::Broken => counter.perhaps += 1,
        }
    }
}

impl Drop for Counts<'_> {
    fn drop(&mut self) {
        let ends = self.counters.drain(..).map(|counter| (counter.key, counter.sure, counter.sure + counter.perhaps));
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).extend(ends);
    }
}

/// Makes keys of its own and deletes them.
pub struct Deletes {
    keys: Vec<String>,
    /// For each key whether it exists; `None` where the answer to a write was an error.
    there: Vec<Option<bool>>,
}

impl Deletes {
    pub fn new(keys: Vec<String>) -> Self {
        let there = vec![Some(false); keys.len()];
        Self { keys, there }
    }

    pub fn turn(&mut self, client: &mut Client<'_>) {
        let turn = client.turn();
        let chosen: Vec<usize> = (0..self.keys.len()).filter(|at| !(at + turn).is_multiple_of(3)).collect();
        let mut set = vec!["RMR.EXEC", "NONATOMIC", "MSET"];
        chosen.iter().for_each(|&at| set.extend([self.keys[at].as_str(), "x"]));
        let reply = client.ask(&set);
        self.note(client, &chosen, reply, Some(true), |reply| reply == "+OK");

        let (least, most) = self.how_many();
        let all: Vec<usize> = (0..self.keys.len()).collect();
        let delete = if turn.is_multiple_of(2) { "DEL" } else { "UNLINK" };
        let line: Vec<&str> = ["RMR.EXEC", delete].into_iter().chain(self.keys.iter().map(String::as_str)).collect();
        let reply = client.ask(&line);
        let is_count = |reply: &str| reply.parse().is_ok_and(|count| (least..=most).contains(&count));
        self.note(client, &all, reply, Some(false), is_count);
    }

    /// Returns the fewest and the most of the keys that may exist.
    fn how_many(&self) -> (usize, usize) {
        let least = self.there.iter().filter(|there| **there == Some(true)).count();
        (least, least + self.there.iter().filter(|there| there.is_none()).count())
    }

    /// Notes what an answer says of the keys that it is about.
    fn note(
        &mut self,
        client: &Client<'_>,
        about: &[usize],
        answer: Answer,
        done: Option<bool>,
        is_right: impl Fn(&str) -> bool,
    ) {
        let is_done = matches!(answer, Answer::Reply(_));
        if let Answer::Reply(reply) = answer
            && !is_right(&show(&reply))
        {
            client.wrong(format!("{} for {about:?} of {:?}: {:?}", show(&reply), self.keys, self.there));
        }
        for &at in about {
            // A write that is still under way may yet come after this one.
            let is_sure = is_done && self.there[at].is_some();
            self.there[at] = if is_sure { done } else { None };
        }
    }
}

/// Passes over all keys again and again, each call at another node.
pub struct Scans {
    lasting: Vec<String>,
    seen: BTreeSet<String>,
    cursor: String,
}

impl Scans {
    pub fn new(lasting: Vec<String>) -> Self {
        Self { lasting, seen: BTreeSet::new(), cursor: "0".into() }
    }

    pub fn turn(&mut self, client: &mut Client<'_>) {
        let count = [1, 10, 100, 1000][client.turn() % 4];
        // With a type now and then; all keys are strings.
        let kind = if client.turn().is_multiple_of(5) { "TYPE string" } else { "" };
        let Answer::Reply(reply) = client.line(&format!("RMR.SCAN {} COUNT {count} {kind}", self.cursor)) else {
            return;
        };
        match cursor::read(&reply) {
            Ok((cursor, keys)) => {
                self.cursor = cursor;
                self.seen.extend(keys);
            }
            Err(reply) => client.wrong(format!("RMR.SCAN gave {reply}")),
        }
        if self.cursor == "0" {
            let seen = std::mem::take(&mut self.seen);
            let missed: Vec<&String> = self.lasting.iter().filter(|key| !seen.contains(*key)).collect();
            if !missed.is_empty() {
                client.wrong(format!("RMR.SCAN missed {missed:?}"));
            }
        }
    }
}
