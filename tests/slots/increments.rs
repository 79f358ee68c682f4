//! Writes over all keys that match a pattern: each key is commanded once, while slots move and nodes are killed.
//!
//! The increments are read back key by key, by names that the test knows. After a success each key has grown by one; after an
//! error by one or not at all, and by one where the answer says so.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Cluster, Server, Wire, elements, poll, show};
use crate::failing;
use crate::movers::{Shards, Way};
use crate::scene::{assert_same_keys, share_of_time, turn};

/// The number of keys that are counted up.
const COUNTERS: usize = 20_000;

/// The number of keys that are read in one command.
const READ: usize = 5_000;

/// The time that a command has, in milliseconds.
const TIMEOUT: &str = "15000";

/// Longer than any command may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The longest for which a command may go on when a node has been killed that it needs: much less than it has, and less than a
/// node is waited for that says nothing.
const AT_ONCE: Duration = Duration::from_secs(3);

/// The longest that a machine that is busy may take to begin with a command.
const BEGIN: Duration = Duration::from_secs(10);

/// The fewest rounds of killing.
const KILLS: usize = 3;

/// The forms of the commands that count up: the words, and whether the answer names the keys that are done.
const FORMS: [(&[&str], bool); 4] = [
    (&["COUNT", "MATCH", "w:*", "INCR"], false),
    (&["LIST", "MATCH", "w:*", "INCR"], true),
    (&["PARTIAL", "LIST", "MATCH", "w:*", "INCR"], true),
    (&["SUM", "MATCH", "w:*", "TYPE", "string", "INCRBY", "{}", "1"], false),
];

fn counter(number: usize) -> String {
    format!("w:{number}")
}

/// The keys, and what each of them holds.
struct Counters(Vec<u64>);

/// The answer to a command.
enum Answer {
    /// All is done; which keys, if it says so, and what they hold now.
    Done(Option<BTreeMap<String, u64>>),
    /// Some is done, of these keys for sure.
    Some(BTreeMap<String, u64>),
    Error(String),
}

impl Counters {
    fn fill(cluster: &Cluster) -> Self {
        cluster.fill(COUNTERS, |number| (counter(number), "0"));
        Self(vec![0; COUNTERS])
    }

    /// Reads all keys by their names, and checks them against what a command was answered.
    fn check(&mut self, node: &Server, answer: &Answer) {
        let now = read_all(node);
        for (number, (before, now)) in self.0.iter().zip(&now).enumerate() {
            let (name, grown) = (counter(number), now - before);
            let least = match answer {
                Answer::Done(None) => 1,
                Answer::Done(Some(listed)) => {
                    assert_eq!(listed.get(&name), Some(now), "{name} by the answer, and as it is; it was {before}");
                    1
                }
                Answer::Some(listed) => {
                    assert!(listed.get(&name).is_none_or(|said| said == now), "{name} is {now}: {:?}", listed[&name]);
                    u64::from(listed.contains_key(&name))
                }
                Answer::Error(_) => 0,
            };
            let what = || match answer {
                Answer::Done(_) => "after a success",
                Answer::Some(_) => "after a part",
                Answer::Error(error) => error,
            };
            assert!((least..=1).contains(&grown), "{name} has grown from {before} to {now}: {}", what());
        }
        self.0 = now;
    }
}

/// Returns the keys' numbers, by a command that names them and follows them wherever they are.
fn read_all(node: &Server) -> Vec<u64> {
    let names: Vec<String> = (0..COUNTERS).map(counter).collect();
    let mut wire = Wire::connect_with_timeout(node.port(), PATIENCE);
    let mut read = |names: &[String]| {
        let count = names.len().to_string();
        let words = ["RMR.MAP", "TIMEOUT", TIMEOUT, "LIST", &count];
        let words: Vec<&str> = words.into_iter().chain(names.iter().map(String::as_str)).chain(["GET"]).collect();
        let frame = wire.call(&words);
        assert_eq!(frame[0], b'*', "{}", show(&frame[..frame.len().min(200)]));
        elements(&frame).into_iter().map(number).collect::<Vec<u64>>()
    };
    names.chunks(READ).flat_map(&mut read).collect()
}

fn number(frame: &[u8]) -> u64 {
    show(frame).trim_matches('"').parse().unwrap_or_else(|_| panic!("no number: {}", show(frame)))
}

/// Counts all keys up by way of a node.
fn count_up(node: &Server, form: usize) -> Answer {
    let (words, is_listed) = FORMS[form % FORMS.len()];
    let words = [&["RMR.MAP", "TIMEOUT", TIMEOUT], words].concat();
    let reply = Wire::try_connect(node.port(), PATIENCE).and_then(|mut wire| wire.try_call(&words));
    let frame = match reply {
        Ok(frame) => frame,
        Err(error) => {
            assert!(error.kind() != std::io::ErrorKind::WouldBlock, "no answer within {PATIENCE:?}: {words:?}");
            return Answer::Error(format!("broken: {error}"));
        }
    };
    if frame[0] == b'-' {
        return Answer::Error(show(&frame));
    }
    let listed = |frame: &[u8]| {
        let parts = elements(frame);
        parts.chunks(2).map(|pair| (show(pair[0]).replace('"', ""), number(pair[1]))).collect::<BTreeMap<_, _>>()
    };
    if words.contains(&"PARTIAL") {
        let [value, failures] = elements(&frame)[..] else { panic!("{}", show(&frame)) };
        let done = listed(value);
        return if elements(failures).is_empty() { Answer::Done(Some(done)) } else { Answer::Some(done) };
    }
    if is_listed {
        return Answer::Done(Some(listed(&frame)));
    }
    if words.contains(&"COUNT") {
        assert_eq!(show(&frame), COUNTERS.to_string());
    }
    Answer::Done(None)
}

/// The number of times that each thing came about.
#[derive(Debug, Default)]
struct Came {
    done: usize,
    parts: usize,
    errors: BTreeMap<String, usize>,
}

impl Came {
    fn add(&mut self, answer: &Answer) {
        match answer {
            Answer::Done(_) => self.done += 1,
            Answer::Some(_) => self.parts += 1,
            Answer::Error(error) => *self.errors.entry(first_word(error).to_owned()).or_default() += 1,
        }
    }
}

fn first_word(error: &str) -> &str {
    error.trim_start_matches('-').split(' ').next().unwrap_or_default()
}

#[test]
fn each_key_is_incremented_once_while_slots_move() {
    let _turn = turn();
    for way in failing::ways() {
        let cluster = Cluster::start(3);
        let mut counters = Counters::fill(&cluster);
        let shards = Shards::new(&cluster);
        let mut came = Came::default();
        let movers = if way == Way::Classic { 2 } else { 1 };
        shards.move_while(way, movers, || {
            let end = Instant::now() + share_of_time(8);
            let mut turns = 0;
            while Instant::now() < end || turns < FORMS.len() {
                let answer = count_up(cluster.node(turns % 3), turns);
                if let Answer::Error(error) = &answer {
                    assert!(["RMRSLOTS", "RMRTIMEOUT"].contains(&first_word(error)), "{error}");
                }
                came.add(&answer);
                counters.check(cluster.node((turns + 1) % 3), &answer);
                turns += 1;
            }
        });
        println!("{way:?}, {} moves of a block: {came:?}", shards.moves());
        assert_same_keys(&cluster, COUNTERS);
        assert!(came.done > 0, "never done: {came:?}");
        assert!(shards.moves() > 0, "nothing has moved");
    }
}

#[test]
fn each_key_is_incremented_once_at_most_when_a_node_is_killed() {
    let _turn = turn();
    // An increment is on the disk when it is answered, and there again after a restart.
    let cluster = Cluster::builder().config("appendonly", "yes").start();
    let mut counters = Counters::fill(&cluster);
    let mut came = Came::default();
    let end = Instant::now() + share_of_time(8);
    let mut turns = 0;
    while turns < KILLS || Instant::now() < end || came.errors.is_empty() {
        assert!(turns < 20 || !came.errors.is_empty(), "no command was under way when a node was killed: {came:?}");
        let (asked, victim) = (cluster.node(turns % 3), cluster.node((turns + 1) % 3));
        let lost = victim.address();
        let (answer, took) = thread::scope(|scope| {
            let before = increments(victim);
            let counting = scope.spawn(|| count_up(asked, turns));
            // It has begun there, so that there is something to lose.
            poll(BEGIN, || (increments(victim) > before || counting.is_finished()).then_some(()));
            victim.kill();
            let killed = Instant::now();
            let answer = counting.join().expect("the command is answered");
            (answer, killed.elapsed())
        });
        if let Answer::Error(error) = &answer {
            assert!(error.contains(&lost), "an error that does not name {lost}: {error}");
        }
        assert!(took < AT_ONCE, "{took:?} after the end of a node");
        victim.restart();
        cluster.settle();
        came.add(&answer);
        counters.check(asked, &answer);
        turns += 1;
    }
    println!("{turns} nodes killed: {came:?}");
    // And nothing is left of all that.
    let answer = count_up(cluster.node(0), 0);
    assert!(matches!(answer, Answer::Done(_)), "everything is there again");
    counters.check(cluster.node(1), &answer);
}

/// Returns the number of times that a server has counted up.
fn increments(node: &Server) -> u64 {
    node.calls_of("incr") + node.calls_of("incrby")
}
