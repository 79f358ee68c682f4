//! Functions that are registered: they run for events of keys, for entries of streams, and for clients that call them.
//!
//! Nothing waits for a time. An event is counted with the command that causes it, and so the reply to that command says that
//! `numTriggered` is right; a test then waits until as many have ended.

mod complaints;
mod described;
mod guarantees;
mod hooks;
mod introduction;
mod kept;
mod keys;
mod keys_ends;
mod nested;
mod streams;
mod streams_failures;
mod sync;
mod triggers;
mod triggers_modes;
mod triggers_order;

use std::time::Duration;

use crate::common::{Server, elements, eventually, show};
use crate::servers::{Servers, call};

/// The longest that events may take: workers are niced, and machines are busy.
const PATIENCE: Duration = Duration::from_secs(40);

/// A registration as a node shows it.
#[derive(Debug)]
struct Shown {
    id: String,
    reader: String,
    /// As [`show`] shows them.
    data: Vec<(String, String)>,
}

/// The events of a registration, counted by their outcome.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
struct Counts {
    triggered: u64,
    succeeded: u64,
    failed: u64,
    aborted: u64,
}

impl Shown {
    /// Returns what a node says of the registration of this place in its list.
    #[track_caller]
    fn of(node: &Server, place: usize) -> Self {
        let reply = call(node, &["RG.DUMPREGISTRATIONS"]);
        let all = elements(&reply);
        assert!(place < all.len(), "there is no registration {place}: {}", show(&reply));
        let fields = elements(all[place]);
        let data = elements(fields[7]);
        let pairs = data.chunks_exact(2).map(|pair| (unquoted(pair[0]), show(pair[1])));
        Self { id: unquoted(fields[1]), reader: unquoted(fields[3]), data: pairs.collect() }
    }

    /// Returns one field of the registration's data.
    #[track_caller]
    fn field(&self, name: &str) -> &str {
        let found = self.data.iter().find(|(field, _)| field == name);
        found.map(|(_, value)| &**value).unwrap_or_else(|| panic!("no field {name}: {self:?}"))
    }

    #[track_caller]
    fn number(&self, name: &str) -> u64 {
        self.field(name).parse().expect("a number")
    }

    #[track_caller]
    fn counts(&self) -> Counts {
        let [triggered, succeeded, failed, aborted] =
            ["numTriggered", "numSuccess", "numFailures", "numAborted"].map(|name| self.number(name));
        Counts { triggered, succeeded, failed, aborted }
    }
}

impl Counts {
    /// Returns the counts of events that have all succeeded.
    fn of_successes(succeeded: u64) -> Self {
        Self { triggered: succeeded, succeeded, failed: 0, aborted: 0 }
    }

    /// Tells whether all events have ended, but for those that there was no room for.
    fn are_settled(&self, dropped: u64) -> bool {
        self.triggered == self.succeeded + self.failed + self.aborted + dropped
    }
}

fn unquoted(frame: &[u8]) -> String {
    show(frame).trim_matches('"').to_owned()
}

/// Waits until all events of a registration have ended that were counted; returns how.
#[track_caller]
fn settled(node: &Server, place: usize) -> Counts {
    eventually(PATIENCE, "all events have ended", || Shown::of(node, place).counts().are_settled(0));
    Shown::of(node, place).counts()
}

/// Waits until a node answers a line of a command so.
#[track_caller]
fn await_reply(node: &Server, line: &str, expected: &str) {
    eventually(PATIENCE, &format!("{line} is {expected}"), || node.reply(line) == expected);
}

/// Returns the elements of a list of texts.
#[track_caller]
fn list(node: &Server, key: &str) -> Vec<String> {
    elements(&call(node, &["LRANGE", key, "0", "-1"])).into_iter().map(unquoted).collect()
}

/// Registers at a single server a function for events of keys that notes an expression of each record `r` in the list `log`.
#[track_caller]
fn note(servers: &Servers, expression: &str, arguments: &str) {
    servers.ok(&format!("GB().foreach(lambda r: execute('RPUSH', 'log', {expression})).register({arguments})"));
}

/// A function that begins, and ends when the key `go` is there; how often it has is counted in `begun` and `ended`.
const HELD: &str = "
import time
def held(r):
    execute('INCR', 'begun')
    while not execute('EXISTS', 'go'):
        time.sleep(0.01)
    execute('INCR', 'ended')
";
