//! [`Unblocked`]: the command that does what one that blocks does, without waiting.

use std::time::Duration;

use crate::command::Command;
use crate::reply::Reply;

/// A command that waits for something, taken apart: what is tried, and for how long.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Unblocked {
    shape: Shape,
    /// The words of the command that does not wait, around its keys.
    head: Vec<Vec<u8>>,
    pub(super) keys: Vec<Vec<u8>>,
    tail: Vec<Vec<u8>>,
    /// The queues in which the client waits for its turn: of its keys, or of the groups that read them.
    pub(super) queues: Vec<Vec<u8>>,
    /// For how long is waited; for ever without it.
    pub(super) limit: Option<Duration>,
}

/// The shape of the keys and of the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// The number of keys, the keys; one element of the list in the reply.
    Popped,
    /// The same, and its member with the score.
    PoppedScore,
    /// The number of keys, the keys; the reply as it is.
    Several,
    /// The keys at their places: all of them are needed.
    Fixed,
}

impl Unblocked {
    /// Takes a command apart; `None` if it is none of those that are known to wait for keys.
    ///
    /// # Errors
    /// The words of a server about its time.
    pub(super) fn of(command: &Command) -> Option<Result<Self, &'static str>> {
        let words: Vec<&[u8]> = command.words().collect();
        let name = words.first()?.to_ascii_uppercase();
        let all = |words: &[&[u8]]| words.iter().map(|word| word.to_vec()).collect::<Vec<_>>();
        let last = words.len().checked_sub(1)?;
        let make = |shape, head: &str, keys: &[&[u8]], tail: Vec<Vec<u8>>, time: &[u8]| {
            let head = vec![head.as_bytes().to_vec()];
            // Values of another list are not waited for.
            let queues = all(if shape == Shape::Fixed { &keys[..1] } else { keys });
            Some(seconds(time).map(|limit| Self { shape, head, keys: all(keys), tail, queues, limit }))
        };
        let word = |text: &str| vec![text.as_bytes().to_vec()];
        match &name[..] {
            b"BLPOP" => make(Shape::Popped, "LMPOP", words.get(1..last)?, word("LEFT"), words[last]),
            b"BRPOP" => make(Shape::Popped, "LMPOP", words.get(1..last)?, word("RIGHT"), words[last]),
            b"BZPOPMIN" => make(Shape::PoppedScore, "ZMPOP", words.get(1..last)?, word("MIN"), words[last]),
            b"BZPOPMAX" => make(Shape::PoppedScore, "ZMPOP", words.get(1..last)?, word("MAX"), words[last]),
            b"BLMPOP" | b"BZMPOP" => {
                let count: usize = std::str::from_utf8(words.get(2)?).ok()?.parse().ok()?;
                let end = count.checked_add(3)?;
                let (keys, tail) = (words.get(3..end)?, words.get(end..).filter(|tail| !tail.is_empty())?);
                let head = if name[1] == b'L' { "LMPOP" } else { "ZMPOP" };
                make(Shape::Several, head, keys, all(tail), words[1])
            }
            b"BLMOVE" if words.len() == 6 => make(Shape::Fixed, "LMOVE", &words[1..3], all(&words[3..5]), words[5]),
            b"BRPOPLPUSH" if words.len() == 4 => make(Shape::Fixed, "RPOPLPUSH", &words[1..3], Vec::new(), words[3]),
            b"XREADGROUP" => {
                let is = |word: &[u8], name: &str| word.eq_ignore_ascii_case(name.as_bytes());
                let streams = words.iter().position(|word| is(word, "STREAMS"))?;
                let block = words[..streams].iter().skip(4).position(|word| is(word, "BLOCK"))? + 4;
                let limit = match milliseconds(words.get(block + 1)?) {
                    Ok(limit) => limit,
                    Err(why) => return Some(Err(why)),
                };
                let after = &words[streams + 1..];
                let (keys, ids) = after.split_at(after.len() / 2);
                let head = [&words[..block], &words[block + 2..=streams]].concat();
                // Each group has the entries for itself.
                let queues = keys.iter().map(|key| [key, &b" "[..], words[2]].concat()).collect();
                Some(Ok(Self { shape: Shape::Fixed, head: all(&head), keys: all(keys), tail: all(ids), queues, limit }))
            }
            _ => None,
        }
    }

    /// Returns the command that takes from some of the keys what is there, and the place of its first key.
    pub(super) fn attempt(&self, keys: &[Vec<u8>]) -> (Command, usize) {
        let counted = (self.shape != Shape::Fixed).then(|| keys.len().to_string().into_bytes());
        let words = self.head.iter().chain(counted.iter()).chain(keys).chain(&self.tail);
        let command = Command::from_args(words.map(|word| &word[..])).unwrap_or_else(|| Command::new("PING"));
        (command, self.head.len() + usize::from(counted.is_some()))
    }

    /// Returns whether each key is needed for an attempt.
    pub(super) fn needs_all(&self) -> bool {
        self.shape == Shape::Fixed
    }

    /// Returns what the client is told when something was there; `None` if nothing was.
    pub(super) fn answer(&self, reply: Reply) -> Option<Reply> {
        if reply.is_null() {
            return None;
        }
        let is_taken_apart = matches!(self.shape, Shape::Popped | Shape::PoppedScore);
        match reply {
            Reply::Array(parts) if is_taken_apart && parts.len() == 2 => {
                let mut flat = Vec::with_capacity(3);
                for part in parts {
                    flatten(part, &mut flat);
                }
                Some(Reply::Array(flat))
            }
            reply => Some(reply),
        }
    }
}

fn flatten(reply: Reply, flat: &mut Vec<Reply>) {
    match reply {
        Reply::Array(parts) => parts.into_iter().for_each(|part| flatten(part, flat)),
        reply => flat.push(reply),
    }
}

/// Reads a time in seconds, of which there may be a part. 0 is for ever.
fn seconds(word: &[u8]) -> Result<Option<Duration>, &'static str> {
    let number: Option<f64> = std::str::from_utf8(word).ok().and_then(|word| word.parse().ok());
    match number {
        Some(number) if number < 0.0 => Err("ERR timeout is negative"),
        Some(0.0) => Ok(None),
        Some(number) if number.is_finite() => {
            Duration::try_from_secs_f64(number).map(Some).map_err(|_| "ERR timeout is out of range")
        }
        _ => Err("ERR timeout is not a float or out of range"),
    }
}

fn milliseconds(word: &[u8]) -> Result<Option<Duration>, &'static str> {
    match std::str::from_utf8(word).ok().and_then(|word| word.parse::<i64>().ok()) {
        Some(number) if number < 0 => Err("ERR timeout is negative"),
        Some(0) => Ok(None),
        Some(number) => Ok(Some(Duration::from_millis(number.unsigned_abs()))),
        None => Err("ERR timeout is not an integer or out of range"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Command {
        Command::from_args(line.split(' ')).unwrap()
    }

    fn attempt(line: &str) -> (String, usize) {
        let unblocked = Unblocked::of(&command(line)).unwrap().unwrap();
        let (command, key) = unblocked.attempt(&unblocked.keys);
        let words: Vec<String> = command.words().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        (words.join(" "), key)
    }

    #[test]
    fn each_is_tried_without_waiting() {
        let tried = [
            ("BLPOP a b 0", "LMPOP 2 a b LEFT", 2),
            ("brpop a 1.5", "LMPOP 1 a RIGHT", 2),
            ("BZPOPMIN a 0", "ZMPOP 1 a MIN", 2),
            ("BZPOPMAX a b 0", "ZMPOP 2 a b MAX", 2),
            ("BLMPOP 0 2 a b LEFT COUNT 3", "LMPOP 2 a b LEFT COUNT 3", 2),
            ("BZMPOP 1 1 a MAX", "ZMPOP 1 a MAX", 2),
            ("BLMOVE a b LEFT RIGHT 0", "LMOVE a b LEFT RIGHT", 1),
            ("BRPOPLPUSH a b 3", "RPOPLPUSH a b", 1),
            (
                "XREADGROUP GROUP g c COUNT 2 BLOCK 100 STREAMS a b > >",
                "XREADGROUP GROUP g c COUNT 2 STREAMS a b > >",
                7,
            ),
        ];
        for (line, expected, key) in tried {
            assert_eq!(attempt(line), (expected.to_owned(), key), "{line}");
        }
        for line in ["GET a", "XREADGROUP GROUP g c STREAMS a >", "BLMPOP 0 3 a b LEFT", "BLMPOP 0 x a LEFT"] {
            assert!(Unblocked::of(&command(line)).is_none(), "{line}");
        }
    }

    #[test]
    fn a_time_is_what_servers_take_for_one() {
        let limit = |line: &str| Unblocked::of(&command(line)).unwrap().map(|unblocked| unblocked.limit);
        assert_eq!(limit("BLPOP a 0"), Ok(None));
        assert_eq!(limit("BLPOP a 0.25"), Ok(Some(Duration::from_millis(250))));
        assert_eq!(limit("XREADGROUP GROUP g c BLOCK 20 STREAMS a >"), Ok(Some(Duration::from_millis(20))));
        assert_eq!(limit("BLPOP a -1"), Err("ERR timeout is negative"));
        assert!(limit("BLPOP a soon").is_err() && limit("BLPOP a inf").is_err() && limit("BLPOP a 1e300").is_err());
    }

    #[test]
    fn the_reply_is_that_of_the_command_that_waits() {
        let answer = |line: &str, reply| Unblocked::of(&command(line)).unwrap().unwrap().answer(reply);
        let list = |parts: &[&str]| Reply::Array(parts.iter().map(|part| Reply::from(*part)).collect());
        let popped = Reply::Array(vec!["a".into(), list(&["v"])]);
        assert_eq!(answer("BLPOP a 0", popped.clone()), Some(list(&["a", "v"])));
        assert_eq!(answer("BLMPOP 0 1 a LEFT", popped.clone()), Some(popped));
        let scored =
            Reply::Array(vec!["a".into(), Reply::Array(vec![Reply::Array(vec!["m".into(), Reply::Double(2.5)])])]);
        let expected = Reply::Array(vec!["a".into(), "m".into(), Reply::Double(2.5)]);
        assert_eq!(answer("BZPOPMIN a 0", scored), Some(expected));
        assert_eq!(answer("BLPOP a 0", Reply::NullArray), None);
    }
}
