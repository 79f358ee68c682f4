//! The requests of the loops, from several connections to different nodes, and the model that every answer is held against.

use std::collections::BTreeMap;
use std::env;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clients::{Counts, Deletes, Gets, Scans};
use crate::common::{Cluster, Server, Wire, show, slot_of, while_repeating};

/// The number of clients that do the same.
const CLIENTS_A_KIND: usize = 3;

/// The time that a request may take beyond its own: 100 ms are promised, the rest is for a machine that has more to do than it
/// can here. Tests with one request at a time hold it to its word.
const GRACE: Duration = Duration::from_secs(1);

/// Loops take all that the machine has, so there is one at a time.
static TURN: Mutex<()> = Mutex::new(());

/// The time that a client waits for an answer before it calls that one missing.
const PATIENCE: Duration = Duration::from_secs(20);

/// The commands of the loop.
pub const KINDS: [&str; 4] = ["MGET", "INCR", "DEL", "SCAN"];

/// Returns the number of times that each command is to be given: `few` times, or as often as `RMR_SOAK` says.
pub fn rounds(few: usize) -> usize {
    env::var("RMR_SOAK").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(few)
}

/// Keys of slots that move, and of slots that do not.
pub struct Keys {
    /// The keys of each slot that moves; all that the loop uses of them, so that they can be moved by name.
    pub moving: Vec<Vec<String>>,
    /// The keys of slots that stay, apart from those.
    pub still: Vec<String>,
}

impl Keys {
    /// Keys of `slots` slots that shard 0 has at the start, and of some others.
    pub fn of(cluster: &Cluster, slots: usize) -> Self {
        let uses = |number: usize| {
            let own = |what: &str| (0..CLIENTS_A_KIND).map(|client| format!("{what}:{client}")).collect::<Vec<_>>();
            [vec![format!("get:{number}")], own("incr"), own("del:a"), own("del:b")].concat()
        };
        let tags = cluster.crowded_slots(0, slots);
        let tag = |slot: &Vec<String>| slot[0].split_inclusive('}').next().expect("a hash tag").to_owned();
        let of_slot = |tag: String| uses(0).into_iter().map(|name| format!("{tag}{name}")).collect();
        let moving: Vec<Vec<String>> = tags.iter().map(tag).map(of_slot).collect();
        let moving_slots: Vec<u16> = moving.iter().map(|keys| slot_of(&keys[0])).collect();
        let still =
            (0..12).flat_map(|number| uses(number).into_iter().map(move |name| format!("{name}:still:{number}")));
        let still = still.filter(|key| !moving_slots.contains(&slot_of(key))).collect();
        Self { moving, still }
    }

    /// All keys whose names contain this.
    pub fn named(&self, what: &str) -> Vec<String> {
        self.moving.iter().flatten().chain(&self.still).filter(|key| key.contains(what)).cloned().collect()
    }
}

/// The outcome of the loop.
#[derive(Default)]
pub struct Tally {
    done: [AtomicUsize; KINDS.len()],
    notes: Mutex<Notes>,
}

/// The notes of a loop.
#[derive(Default)]
pub struct Notes {
    /// Answers that are not true, or came too late: there must be none.
    pub wrong: Vec<String>,
    /// Errors by their text, with how often they came.
    pub errors: BTreeMap<String, usize>,
    /// The longest that a request took.
    pub slowest: Duration,
}

impl Tally {
    pub fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether each command was given this often, or something went wrong.
    pub fn is_over(&self, rounds: usize) -> bool {
        let is_wrong = !self.notes().wrong.is_empty();
        is_wrong || self.done.iter().all(|done| done.load(Ordering::Relaxed) >= rounds)
    }

    fn counts(&self) -> String {
        let count = |(kind, done): (&&str, &AtomicUsize)| format!("{} {kind}", done.load(Ordering::Relaxed));
        KINDS.iter().zip(&self.done).map(count).collect::<Vec<_>>().join(", ")
    }
}

/// The form of an answer.
pub enum Answer {
    Reply(Vec<u8>),
    /// An error, with its sign.
    Error(String),
    /// None: the connection broke.
    Broken,
}

/// A client that asks one node after the other.
pub struct Client<'a> {
    nodes: &'a [&'a Server],
    wires: Vec<Option<Wire>>,
    turn: usize,
    timeout: Duration,
    tally: &'a Tally,
}

impl Client<'_> {
    /// Sends a command to the next node.
    pub fn ask<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Answer {
        self.turn += 1;
        let at = self.turn % self.nodes.len();
        let asked = Instant::now();
        let wire = &mut self.wires[at];
        let answer = match wire {
            Some(open) => open.try_call(args),
            None => Wire::try_connect(self.nodes[at].port(), PATIENCE).and_then(|new| wire.insert(new).try_call(args)),
        };
        let took = asked.elapsed();
        let mut notes = self.tally.notes();
        notes.slowest = notes.slowest.max(took);
        let shown = || String::from_utf8_lossy(args[0].as_ref()).into_owned();
        if took > self.timeout + GRACE {
            notes.wrong.push(format!("{} at {} took {took:?}", shown(), self.nodes[at].address()));
        }
        match answer {
            Ok(reply) if reply[0] == b'-' => {
                let error = show(&reply);
                *notes.errors.entry(error.clone()).or_default() += 1;
                Answer::Error(error)
            }
            Ok(reply) => Answer::Reply(reply),
            Err(error) => {
                *notes.errors.entry(error.to_string()).or_default() += 1;
                *wire = None;
                Answer::Broken
            }
        }
    }

    /// Asks for a command, typed with blanks between the words.
    pub fn line(&mut self, line: &str) -> Answer {
        self.ask(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// Notes an answer that is not true.
    pub fn wrong(&self, what: String) {
        self.tally.notes().wrong.push(what);
    }

    /// Returns the number of the turn.
    pub fn turn(&self) -> usize {
        self.turn
    }
}

/// Asks `nodes` until each command was given `rounds` times and `meanwhile` has ended, which is given the tally. No answer
/// may be wrong, then or in the end.
pub fn run<R>(
    cluster: &Cluster,
    nodes: &[&Server],
    keys: &Keys,
    timeout: Duration,
    meanwhile: impl FnOnce(&Tally) -> R,
) -> (R, Notes) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let began = Instant::now();
    let gets = keys.named("get");
    cluster.fill(gets.len(), |index| (gets[index].clone(), format!("of {}", gets[index])));
    let counters = keys.named("incr");
    cluster.fill(counters.len(), |index| (counters[index].clone(), "0"));
    let lasting: Vec<String> = gets.iter().chain(&counters).cloned().collect();

    let tally = Tally::default();
    let ends = Mutex::new(Vec::new());
    let workers: Vec<(usize, usize)> =
        (0..KINDS.len()).flat_map(|kind| (0..CLIENTS_A_KIND).map(move |client| (kind, client))).collect();
    let begin = |&(kind, number): &(usize, usize)| {
        let wires = nodes.iter().map(|_| None).collect();
        let mut client = Client { nodes, wires, turn: number, timeout, tally: &tally };
        let own = |what: &str| {
            let (moving, still) = (format!("{what}:{number}"), format!("{what}:{number}:still"));
            let is_own = |key: &String| key.ends_with(&moving) || key.contains(&still);
            keys.named(what).into_iter().filter(is_own).collect::<Vec<_>>()
        };
        let mut turn: Box<dyn FnMut(&mut Client<'_>)> = match kind {
            0 => {
                let mut gets = Gets::new(gets.clone());
                Box::new(move |client| gets.turn(client))
            }
            1 => {
                let mut counts = Counts::new(own("incr"), &ends);
                Box::new(move |client| counts.turn(client))
            }
            2 => {
                let mut deletes = Deletes::new([own("del:a"), own("del:b")].concat());
                Box::new(move |client| deletes.turn(client))
            }
            _ => {
                let mut scans = Scans::new(lasting.clone());
                Box::new(move |client| scans.turn(client))
            }
        };
        let done = &tally.done[kind];
        move || {
            turn(&mut client);
            done.fetch_add(1, Ordering::Relaxed);
        }
    };
    let result = while_repeating(&workers, begin, || meanwhile(&tally));

    let counts = tally.counts();
    let notes = tally.notes.into_inner().unwrap_or_else(PoisonError::into_inner);
    let errors: usize = notes.errors.values().sum();
    println!("{counts}; {errors} errors; longest {:?}; {:?} in all", notes.slowest, began.elapsed());
    assert!(notes.wrong.is_empty(), "{counts}: {:#?}", notes.wrong);
    cluster.settle();
    for (key, least, most) in ends.into_inner().unwrap_or_else(PoisonError::into_inner) {
        let held: u64 = cluster.node(cluster.owner_of(slot_of(&key))).run(&["GET", &key]);
        assert!((least..=most).contains(&held), "{key} is {held} after {least} to {most} increments");
    }
    for key in &gets {
        let held: String = cluster.node(cluster.owner_of(slot_of(key))).run(&["GET", key]);
        assert_eq!(held, format!("of {key}"));
    }
    (result, notes)
}
