//! Numbers that clients of a proxy count up while something happens to the nodes: what each must be, and whether it is.
//!
//! Every key belongs to one client, which knows of each of its additions whether it was done, was not, or may have been. Its
//! reads must agree with that at all times: an answer may be an error, and late by no more than the deadline, but never
//! wrong.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::common::{RmrProxy, Wire, elements, show, while_repeating};

/// The number of clients, and of keys that each has.
const CLIENTS: usize = 6;
const KEYS: usize = 24;

/// The deadline of commands in these tests, and what a busy machine may take in addition.
pub const DEADLINE: Duration = Duration::from_millis(2000);
const SLACK: Duration = Duration::from_millis(2500);

/// The beginnings of the proxy's errors while nodes are in trouble.
const EXPECTED: [&str; 7] =
    ["-RMRNODE ", "-RMRTIMEOUT ", "-RMRSLOTS ", "-ERRCLUSTER ", "-TRYAGAIN ", "-CLUSTERDOWN ", "-LOADING "];

/// The values that a number may have.
#[derive(Default, Clone, Copy)]
struct Known {
    /// Additions that were confirmed.
    done: i64,
    /// Additions that may have been done, or may be yet.
    unknown: i64,
    /// The most that has been read: it never becomes less.
    seen: i64,
}

/// The outcome of a load.
#[derive(Default, Debug)]
pub struct Outcome {
    pub answers: usize,
    /// Errors by their first word.
    pub errors: BTreeMap<String, usize>,
    /// One of them each.
    pub shown: BTreeMap<String, String>,
    pub unknown: usize,
    pub longest: Duration,
}

/// A client with its keys.
struct Counter<'a> {
    proxy: &'a RmrProxy,
    wire: Wire,
    keys: Vec<String>,
    known: Vec<Known>,
    turn: usize,
    outcome: &'a Mutex<Outcome>,
}

/// Starts a proxy whose commands have the deadline that the load expects.
pub fn proxy_before(cluster: &crate::common::Cluster) -> RmrProxy {
    RmrProxy::before(cluster).set("timeout-ms", DEADLINE.as_millis()).start()
}

/// Lets clients count while something happens; checks every answer, and in the end every number.
pub fn count_while(proxy: &RmrProxy, meanwhile: impl FnOnce()) -> Outcome {
    static RUNS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let run = RUNS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let outcome = Mutex::new(Outcome::default());
    let finished: Mutex<Vec<(String, Known)>> = Mutex::default();
    let clients: Vec<usize> = (0..CLIENTS).collect();
    let begin = |&client: &usize| {
        let keys = (0..KEYS).map(|key| format!("count:{run}:{client}:{key}")).collect();
        let (wire, known) = (connect(proxy), vec![Known::default(); KEYS]);
        let mut counter = Finish(Counter { proxy, wire, keys, known, turn: client * 7, outcome: &outcome }, &finished);
        move || counter.0.take_turn()
    };
    while_repeating(&clients, begin, meanwhile);
    let mut wire = connect(proxy);
    for (key, known) in finished.into_inner().unwrap_or_else(PoisonError::into_inner) {
        let value = number(&wire.reply(&format!("GET {key}"))).expect("a number: all is well again");
        assert!(
            (known.done.max(known.seen)..=known.done + known.unknown).contains(&value),
            "{key} is {value}; confirmed {}, seen {}, unknown {}",
            known.done,
            known.seen,
            known.unknown
        );
    }
    let outcome = outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{outcome:?}");
    outcome
}

/// Hands over what a client knows when its thread ends.
struct Finish<'a>(Counter<'a>, &'a Mutex<Vec<(String, Known)>>);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        let mut all = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(self.0.keys.drain(..).zip(self.0.known.drain(..)));
    }
}

fn connect(proxy: &RmrProxy) -> Wire {
    Wire::connect_with_timeout(proxy.port(), DEADLINE + SLACK)
}

/// Returns a number as it is shown; 0 of a key that is not there.
fn number(shown: &str) -> Option<i64> {
    if shown == "nil" { Some(0) } else { shown.trim_matches('"').parse().ok() }
}

impl Counter<'_> {
    fn take_turn(&mut self) {
        self.turn += 1;
        let at = self.turn * 5 % KEYS;
        match self.turn % 8 {
            0 | 1 => self.add(at),
            2 | 3 => self.read(at),
            4 => self.read_all(),
            5 => self.add_in_a_row(),
            6 => self.add_in_a_transaction(at),
            _ => self.add_by_a_script(at),
        }
    }

    /// Sends commands and returns how they were answered, all within the deadline.
    fn call(&mut self, lines: &[String]) -> Vec<String> {
        let began = Instant::now();
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            self.wire.send(&words);
        }
        let replies: Vec<String> = lines
            .iter()
            .map(|line| match self.wire.try_read_frame() {
                Ok(frame) => show(&frame),
                Err(error) => panic!("{line}: {error} after {:?}", began.elapsed()),
            })
            .collect();
        let took = began.elapsed();
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        outcome.longest = outcome.longest.max(took);
        // A transaction is two things that may each take their time: finding its node, and running there.
        assert!(took < DEADLINE + SLACK, "{} commands took {took:?}: {lines:?} {replies:?}", lines.len());
        for reply in &replies {
            match reply.strip_prefix('-') {
                Some(error) => {
                    assert!(EXPECTED.iter().any(|start| reply.starts_with(start)), "{reply}");
                    let word = error.split(' ').next().unwrap_or_default().to_owned();
                    *outcome.errors.entry(word.clone()).or_default() += 1;
                    outcome.shown.insert(word, error.to_owned());
                    outcome.unknown += usize::from(error.contains("outcome is unknown"));
                }
                None => outcome.answers += 1,
            }
        }
        replies
    }

    /// Takes the answer to an addition.
    fn added(&mut self, at: usize, reply: &str) {
        let known = &mut self.known[at];
        if let Some(error) = reply.strip_prefix('-') {
            known.unknown += i64::from(error.contains("outcome is unknown"));
            return;
        }
        let value = number(reply).unwrap_or_else(|| panic!("{}: {reply}", self.keys[at]));
        known.done += 1;
        self.is_right(at, value);
    }

    /// Checks a value against what is known.
    fn is_right(&mut self, at: usize, value: i64) {
        let known = &mut self.known[at];
        let least = known.done.max(known.seen);
        assert!(
            (least..=known.done + known.unknown).contains(&value),
            "{} is {value}, not {least} to {}",
            self.keys[at],
            known.done + known.unknown
        );
        known.seen = value;
    }

    fn add(&mut self, at: usize) {
        let reply = self.call(&[format!("INCR {}", self.keys[at])]);
        self.added(at, &reply[0]);
    }

    fn read(&mut self, at: usize) {
        let reply = self.call(&[format!("GET {}", self.keys[at])]);
        if !reply[0].starts_with('-') {
            self.is_right(at, number(&reply[0]).expect("a number"));
        }
    }

    fn read_all(&mut self) {
        let line = format!("MGET {}", self.keys.join(" "));
        let words: Vec<&str> = line.split(' ').collect();
        let began = Instant::now();
        let frame =
            self.wire.try_call(&words).unwrap_or_else(|error| panic!("MGET: {error} after {:?}", began.elapsed()));
        assert!(began.elapsed() < DEADLINE + SLACK, "MGET took {:?}", began.elapsed());
        let shown = show(&frame);
        if shown.starts_with('-') {
            return assert!(EXPECTED.iter().any(|start| shown.starts_with(start)), "{shown}");
        }
        for (at, value) in elements(&frame).into_iter().enumerate() {
            self.is_right(at, number(&show(value)).unwrap_or_else(|| panic!("{shown}")));
        }
    }

    /// Many commands in one write, of keys all over the cluster, and a reading behind each addition.
    fn add_in_a_row(&mut self) {
        let lines: Vec<String> =
            self.keys.iter().flat_map(|key| [format!("INCR {key}"), format!("GET {key}")]).collect();
        let replies = self.call(&lines);
        for (at, pair) in replies.chunks(2).enumerate() {
            self.added(at, &pair[0]);
            if !pair[1].starts_with('-') {
                self.is_right(at, number(&pair[1]).expect("a number"));
            }
        }
    }

    fn add_in_a_transaction(&mut self, at: usize) {
        let key = self.keys[at].clone();
        let replies = self.call(&["MULTI".into(), format!("INCR {key}"), "EXEC".into()]);
        // The command was refused, and the transaction has failed.
        if replies[1] != "+QUEUED" {
            return;
        }
        let executed = replies[2].trim_matches(['[', ']']).to_owned();
        self.added(at, &executed);
    }

    fn add_by_a_script(&mut self, at: usize) {
        let key = self.keys[at].clone();
        let replies = self.call(&[format!("EVAL return(redis.call('INCR',KEYS[1])) 1 {key}")]);
        self.added(at, &replies[0]);
    }
}

impl Outcome {
    /// Returns the number of errors.
    pub fn failed(&self) -> usize {
        self.errors.values().sum()
    }
}

impl Drop for Counter<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("a client of rmr-proxy at {} has failed", self.proxy.port());
        }
    }
}
