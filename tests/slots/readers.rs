//! The questions of readers, and the right answers: the keys and their numbers never change, so each question has one right
//! answer.

use std::collections::HashSet;
use std::io;
use std::time::{Duration, Instant};

use crate::common::{Cluster, Server, Wire, elements, poll, show};
use crate::tally::{Answer, Tally};

/// The number of keys: `n:0`, `n:1` and so on, each with its number as its value.
pub const COUNT: usize = 100_000;

/// The number of keys that are asked for by name at a time.
const NAMED: usize = 400;

/// Longer than any request may take, a node that stands still for a while included.
const PATIENCE: Duration = Duration::from_secs(20);

/// The time that a reader waits for a node that is not there before it goes on.
const ABSENCE: Duration = Duration::from_millis(500);

/// Puts the keys into the cluster.
pub fn fill(cluster: &Cluster) {
    cluster.fill(COUNT, |number| (format!("n:{number}"), number.to_string()));
}

/// The names of the questions, of which the first are short.
pub const SHORT: [&str; 9] = [
    "FANOUT REDUCE SUM DBSIZE",
    "FANOUT PARTIAL SUM DBSIZE",
    "EXEC DBSIZE",
    "FANOUT DBSIZE",
    "FANOUT REDUCE CONCAT KEYS n:77*",
    "EXEC KEYS n:77*",
    "EXEC RANDOMKEY",
    "SUM of keys",
    "MAP COUNT of keys",
];
pub const ANY_COMMAND: &str = "FANOUT REDUCE SUM EVAL_RO";
pub const ALL_KEYS: &str = "EXEC KEYS *";
pub const SCAN: &str = "SCAN MATCH n:7*";

/// The names of the questions about keys that match.
pub const PATTERNS: [&str; 5] = [
    "MAP COUNT MATCH *",
    "MAP SUM MATCH * GET",
    "MAP LIST MATCH n:77*",
    "MAP LIST MATCH n:77* GET",
    "MAP PARTIAL COUNT MATCH n:7* STRLEN",
];

/// By hand, without rmr: each primary is scanned, one after the other.
pub const BY_HAND: &str = "SCAN of one after the other";

/// The longest that work over a pattern may take, in milliseconds: less than a reader waits.
const PATTERN_TIMEOUT: &str = "15000";

/// A client of one node after the other.
pub struct Reader<'a> {
    nodes: Vec<&'a Server>,
    wires: Vec<Option<Wire>>,
    /// The number of times that something was asked.
    turn: usize,
    /// The keys that a scan has seen.
    seen: HashSet<usize>,
    cursor: String,
    tally: &'a Tally,
}

/// The question that a reader asks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// In turn, what takes little time.
    Short,
    AllKeys,
    Scan,
    /// In turn, work over keys that match.
    Patterns,
    /// The number of keys, as a client finds it that knows nothing of slots.
    ByHand,
}

impl<'a> Reader<'a> {
    /// Returns a reader that asks these nodes in turn.
    pub fn new(nodes: Vec<&'a Server>, tally: &'a Tally) -> Self {
        let wires = nodes.iter().map(|_| None).collect();
        Self { nodes, wires, turn: 0, seen: HashSet::new(), cursor: "0".into(), tally }
    }

    /// Asks once.
    pub fn turn(&mut self, asks: Asks) {
        self.turn += 1;
        let asked = Instant::now();
        let (question, answer) = match asks {
            Asks::Short => self.short(),
            Asks::AllKeys => (ALL_KEYS, self.ask(&["RMR.EXEC", "KEYS", "*"], |frame| keys_are(frame, |_| true))),
            Asks::Scan => (SCAN, self.page()),
            Asks::Patterns => self.pattern(),
            Asks::ByHand => (BY_HAND, self.by_hand()),
        };
        let node = self.nodes[self.at()].address();
        // Pages but the last are no answer yet.
        if !(asks == Asks::Scan && answer == Answer::Right && self.cursor != "0") {
            self.tally.add(question, &node, answer, asked.elapsed());
        }
    }

    fn at(&self) -> usize {
        self.turn % self.nodes.len()
    }

    fn short(&mut self) -> (&'static str, Answer) {
        let at = self.turn % (SHORT.len() + 1);
        let question = SHORT.get(at).copied().unwrap_or(ANY_COMMAND);
        let whole = COUNT.to_string();
        let first = self.turn * 37 % (COUNT - NAMED);
        let named: Vec<String> = (first..first + NAMED).map(|number| format!("n:{number}")).collect();
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
        let with_names = |start: &[&str], end: &[&str]| [owned(start), named.clone(), owned(end)].concat();
        let begins_with_77 = |number: usize| begins_with(number, "77");
        let answer = match at {
            0 => self.ask(&["RMR.FANOUT", "REDUCE", "SUM", "DBSIZE"], |frame| is(&show(frame), &whole)),
            1 => self.ask(&["RMR.FANOUT", "PARTIAL", "REDUCE", "SUM", "DBSIZE"], sum_is_whole_or_says_what_is_missing),
            2 => self.ask(&["RMR.EXEC", "DBSIZE"], |frame| is(&show(frame), &whole)),
            3 => self.ask(&["RMR.FANOUT", "DBSIZE"], |frame| {
                let sizes: usize =
                    elements(frame).into_iter().filter_map(|size| show(size).parse::<usize>().ok()).sum();
                if sizes == COUNT { Answer::Right } else { Answer::Wrong(show(frame)) }
            }),
            4 => {
                self.ask(&["RMR.FANOUT", "REDUCE", "CONCAT", "KEYS", "n:77*"], |frame| keys_are(frame, begins_with_77))
            }
            5 => self.ask(&["RMR.EXEC", "KEYS", "n:77*"], |frame| keys_are(frame, begins_with_77)),
            6 => self.ask(&["RMR.EXEC", "RANDOMKEY"], |frame| {
                if number_of(frame).is_some() { Answer::Right } else { Answer::Wrong(show(frame)) }
            }),
            7 => {
                let sum: usize = (first..first + NAMED).sum();
                self.ask(&with_names(&["RMR.SUM"], &[]), |frame| is(&show(frame), &sum.to_string()))
            }
            8 => {
                let count = NAMED.to_string();
                self.ask(&with_names(&["RMR.MAP", "COUNT", &count], &["GET"]), |frame| is(&show(frame), &count))
            }
            _ => {
                let script = "return redis.call('dbsize')";
                self.ask(&["RMR.FANOUT", "REDUCE", "SUM", "EVAL_RO", script, "0"], |frame| is(&show(frame), &whole))
            }
        };
        (question, answer)
    }

    fn pattern(&mut self) -> (&'static str, Answer) {
        let at = self.turn % PATTERNS.len();
        let whole = COUNT.to_string();
        let begins_with_77 = |number: usize| begins_with(number, "77");
        let map = |words: &[&'static str]| [&["RMR.MAP", "TIMEOUT", PATTERN_TIMEOUT], words].concat();
        let answer = match at {
            0 => self.ask(&map(&["COUNT", "MATCH", "*"]), |frame| is(&show(frame), &whole)),
            1 => {
                let sum: usize = (0..COUNT).sum();
                self.ask(&map(&["SUM", "MATCH", "*", "GET"]), |frame| is(&show(frame), &sum.to_string()))
            }
            2 => self.ask(&map(&["LIST", "MATCH", "n:77*"]), |frame| keys_are(frame, begins_with_77)),
            3 => self.ask(&map(&["LIST", "MATCH", "n:77*", "GET"]), |frame| pairs_are(frame, begins_with_77)),
            _ => {
                let meant = (0..COUNT).filter(|&number| begins_with(number, "7")).count();
                self.ask(&map(&["PARTIAL", "COUNT", "MATCH", "n:7*", "STRLEN"]), |frame| {
                    count_is_whole_or_says_what_has_failed(frame, meant)
                })
            }
        };
        (PATTERNS[at], answer)
    }

    /// Scans all nodes of this reader that say they are primaries.
    fn by_hand(&mut self) -> Answer {
        let mut found = 0;
        for node in &self.nodes {
            let Ok(mut connection) = node.try_connection() else { return Answer::Broken };
            let mut cursor = "0".to_owned();
            loop {
                let page = redis::cmd("SCAN").arg(&cursor).arg("COUNT").arg(1000).query(&mut connection);
                let Ok((next, names)): Result<(String, Vec<String>), _> = page else { return Answer::Broken };
                found += names.len();
                cursor = next;
                if cursor == "0" {
                    break;
                }
            }
        }
        is(&found.to_string(), &COUNT.to_string())
    }

    /// Goes on with the scan, from where it was if that failed. At its end each key must have been seen.
    fn page(&mut self) -> Answer {
        let (mut next, mut keys) = (None, Vec::new());
        let cursor = self.cursor.clone();
        let page = ["RMR.SCAN", &cursor, "MATCH", "n:7*", "COUNT", "2000"];
        let answer = self.ask(&page, |frame| match elements(frame)[..] {
            [cursor, page] => {
                next = Some(show(cursor).replace('"', ""));
                keys = elements(page).into_iter().map(number_of).collect();
                Answer::Right
            }
            _ => Answer::Wrong(show(frame)),
        });
        let Some(next) = next else { return answer };
        self.cursor = next;
        if keys.iter().any(|key| key.is_none_or(|number| !begins_with(number, "7"))) {
            return Answer::Wrong("a key that nobody has set, or that was not asked for".into());
        }
        self.seen.extend(keys.into_iter().flatten());
        if self.cursor != "0" {
            return answer;
        }
        let seen = std::mem::take(&mut self.seen);
        let meant = (0..COUNT).filter(|&number| begins_with(number, "7")).count();
        if seen.len() == meant { answer } else { Answer::Wrong(format!("{} of {meant} keys were seen", seen.len())) }
    }

    /// Sends a command to the node whose turn it is, and judges the reply.
    fn ask<A: AsRef<[u8]>>(&mut self, words: &[A], judge: impl FnOnce(&[u8]) -> Answer) -> Answer {
        let at = self.at();
        let (port, wire) = (self.nodes[at].port(), &mut self.wires[at]);
        let reply = match wire {
            Some(open) => open.try_call(words),
            None => Wire::try_connect(port, PATIENCE).and_then(|new| wire.insert(new).try_call(words)),
        };
        match reply {
            Ok(frame) if frame[0] == b'-' => Answer::Error(show(&frame)),
            Ok(frame) => judge(&frame),
            Err(error) => {
                *wire = None;
                if error.kind() == io::ErrorKind::WouldBlock {
                    return Answer::Wrong(format!("no answer within {PATIENCE:?}"));
                }
                // One that was killed is to be asked again when it is there.
                poll(ABSENCE, || self.nodes[at].running().then_some(()));
                Answer::Broken
            }
        }
    }
}

fn begins_with(number: usize, start: &str) -> bool {
    number.to_string().starts_with(start)
}

fn is(given: &str, right: &str) -> Answer {
    if given == right { Answer::Right } else { Answer::Wrong(format!("{given} is not {right}")) }
}

/// Returns whether a partial sum has all keys; or has some, and names nodes or slots that are missing.
fn sum_is_whole_or_says_what_is_missing(frame: &[u8]) -> Answer {
    let [sum, missing] = elements(frame)[..] else { return Answer::Wrong(show(frame)) };
    match show(sum).parse::<usize>() {
        Ok(COUNT) => Answer::Right,
        Ok(sum) if sum < COUNT && !elements(missing).is_empty() => Answer::Error(format!("PARTIAL {}", show(missing))),
        _ => Answer::Wrong(show(frame)),
    }
}

/// Returns whether an array has each of the keys with such numbers, and each once.
fn keys_are(frame: &[u8], is_meant: impl Fn(usize) -> bool) -> Answer {
    let listed: Vec<Option<usize>> = elements(frame).into_iter().map(number_of).collect();
    numbers_are(&listed, is_meant)
}

/// Returns whether these are all the numbers that are meant, each once.
fn numbers_are(listed: &[Option<usize>], is_meant: impl Fn(usize) -> bool) -> Answer {
    let distinct: HashSet<usize> = listed.iter().copied().flatten().filter(|&number| is_meant(number)).collect();
    let meant = (0..COUNT).filter(|&number| is_meant(number)).count();
    if distinct.len() == meant && listed.len() == meant {
        return Answer::Right;
    }
    Answer::Wrong(format!("{} names, {} of them of the {meant} that there are", listed.len(), distinct.len()))
}

/// Returns whether an array of keys and values in turn has each of the keys with such numbers, each once with its number.
fn pairs_are(frame: &[u8], is_meant: impl Fn(usize) -> bool) -> Answer {
    let parts = elements(frame);
    let is_right = |pair: &[&[u8]]| match number_of(pair[0]) {
        Some(number) => show(pair[1]) == format!("\"{number}\""),
        None => false,
    };
    if let Some(pair) = parts.chunks(2).find(|pair| !is_right(pair)) {
        return Answer::Wrong(format!("{} of {}", show(pair[1]), show(pair[0])));
    }
    let listed: Vec<Option<usize>> = parts.chunks(2).map(|pair| number_of(pair[0])).collect();
    numbers_are(&listed, is_meant)
}

/// Returns whether a partial number has all keys; or has some, and names failures.
fn count_is_whole_or_says_what_has_failed(frame: &[u8], meant: usize) -> Answer {
    let [count, failures] = elements(frame)[..] else { return Answer::Wrong(show(frame)) };
    match (show(count).parse::<usize>(), elements(failures).is_empty()) {
        (Ok(count), true) if count == meant => Answer::Right,
        (Ok(count), false) if count < meant => Answer::Error(format!("PARTIAL {}", show(failures))),
        _ => Answer::Wrong(format!("{meant} is right, not {}", show(frame))),
    }
}

/// Returns the number of a key in a reply, if there is such a key.
fn number_of(frame: &[u8]) -> Option<usize> {
    let name = show(frame);
    let number = name.strip_prefix("\"n:")?.strip_suffix('"')?.parse().ok()?;
    (number < COUNT).then_some(number)
}
