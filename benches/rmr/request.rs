//! A request as the minimal client sends it: encoded beforehand, with the answer that it must get.

use std::ops::Range;

use crate::cases::Work;
use crate::data::{Data, KEYS, key, pick, value};

/// Returns the number of different requests that a case has. They are sent in turn, so that no answer comes from a warm spot; a
/// few large ones name all keys there are.
fn variants(work: Work) -> Range<usize> {
    const MOST: usize = 64;
    0..(KEYS / work.keys().max(1)).clamp(1, MOST)
}

/// One request.
pub struct Request {
    /// The parts of the request, one for each node.
    pub parts: Vec<Part>,
    /// The sum of all numbers in the replies.
    pub expected: i64,
}

/// The commands that go to one node in one write.
pub struct Part {
    /// The number of the node.
    pub node: usize,
    /// The commands.
    pub wire: Vec<u8>,
    /// The number of replies that they get.
    pub replies: usize,
}

/// Returns the requests of a case through the module: one command for one node.
pub fn through_module(work: Work) -> Vec<Request> {
    let name: &[&str] = match work {
        Work::Sum { .. } => &["RMR.SUM"],
        Work::DbSize => &["RMR.FANOUT", "DBSIZE"],
        Work::ExecMget { .. } => &["RMR.EXEC", "MGET"],
        Work::ExecGet => &["RMR.EXEC", "GET"],
        Work::ExecDbSize => &["RMR.EXEC", "DBSIZE"],
    };
    let command = |seed| {
        let keys: Vec<String> = pick(seed, work.keys()).into_iter().map(key).collect();
        encode(name.iter().copied().chain(keys.iter().map(String::as_str)))
    };
    let part = |seed| Part { node: 0, wire: command(seed), replies: 1 };
    variants(work).map(|seed| Request { parts: vec![part(seed)], expected: expected(work, seed) }).collect()
}

/// Returns the requests of a case by hand: one write a node, with the keys grouped by node beforehand.
pub fn by_hand(work: Work, data: &Data, shards: usize) -> Vec<Request> {
    let part = |seed, node| match work.keys() {
        0 => Part { node, wire: encode(["DBSIZE"]), replies: 1 },
        keys => {
            let own: Vec<usize> = pick(seed, keys).into_iter().filter(|&number| data.owner(number) == node).collect();
            let wire = own.iter().flat_map(|&number| encode(["GET", &key(number)])).collect();
            Part { node, wire, replies: own.len() }
        }
    };
    let parts = |seed| (0..shards).map(|node| part(seed, node)).filter(|part| part.replies > 0).collect();
    variants(work).map(|seed| Request { parts: parts(seed), expected: expected(work, seed) }).collect()
}

/// Returns what the requests of a case sum up: for each request the numbers of its keys.
pub fn key_numbers(work: Work) -> Vec<Vec<usize>> {
    variants(work).map(|seed| pick(seed, work.keys())).collect()
}

/// Returns the right answer.
pub fn expected(work: Work, seed: usize) -> i64 {
    match work.keys() {
        0 => KEYS as i64,
        keys => pick(seed, keys).into_iter().map(value).sum(),
    }
}

/// Returns a command as an array of bulk strings.
fn encode<'a>(args: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let args: Vec<&str> = args.into_iter().collect();
    let mut wire = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        wire.extend_from_slice(format!("${}\r\n{arg}\r\n", arg.len()).as_bytes());
    }
    wire
}
