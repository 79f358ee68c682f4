//! Changes a request that somebody might have meant.

use crate::common::Random;
use crate::generate::Argv;

/// Words that mean something to some command or to rmr, where they stand as values.
const WORDS: [&str; 26] = [
    "GROUP",
    "BLOCK",
    "STREAMS",
    "KEYS",
    "STORE",
    "BY",
    "GET",
    "LIMIT",
    "AUTH",
    "NX",
    "MATCH",
    "COUNT",
    "TYPE",
    "PARTIAL",
    "WITHNODES",
    "NONATOMIC",
    "TIMEOUT",
    "NODE",
    "KEY",
    "ON",
    "ALL",
    "REDUCE",
    "NOMERGE",
    "--",
    "{}",
    "FLUSH",
];

/// The words that stand where a number is expected.
const NUMBERS: [&str; 8] = ["-1", "0", "1", "9223372036854775808", "+5", "007", "1e3", " 1"];

/// Line breaks, the beginnings of replies, and a byte that ends strings of C.
const BREAKS: [&[u8]; 5] = [b"\r\n", b"\r\n+forged\r\n", b"\r\n$100\r\n", b"\0", b"\xff\xfe"];

/// Longer than any buffer for small things.
const HUGE: usize = 70_000;

/// Changes one thing, or a few. The first word stays what it is.
pub fn mutate(words: &mut Argv, random: &mut Random) {
    for _ in 0..=random.below(3) {
        if words.len() < 2 {
            return;
        }
        let at = 1 + random.below(words.len() - 1);
        match random.below(11) {
            0 => drop(words.remove(at)),
            1 => words.insert(at, words[at].clone()),
            2 => words[at].clear(),
            3 => words[at] = vec![b'x'; HUGE],
            4 => words[at].extend_from_slice(random.pick(&BREAKS)),
            5 => words[at] = random.pick(&WORDS).as_bytes().to_vec(),
            6 => words.insert(at, random.pick(&WORDS).as_bytes().to_vec()),
            7 => words[at] = random.pick(&NUMBERS).as_bytes().to_vec(),
            8 => words[at].iter_mut().for_each(|byte| *byte ^= if byte.is_ascii_alphabetic() { 0x20 } else { 0 }),
            9 => {
                let other = 1 + random.below(words.len() - 1);
                words.swap(at, other);
            }
            _ => words.truncate(at + 1),
        }
    }
}

/// Changes some bytes of what has no words.
pub fn garble(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            return;
        }
        let at = random.below(bytes.len());
        match random.below(5) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.pick(&[0, 1, 2, 0x7f, 0x80, 0xff]),
            2 => drop(bytes.remove(at)),
            3 => bytes.insert(at, random.roll() as u8),
            _ => bytes.truncate(at),
        }
    }
}
