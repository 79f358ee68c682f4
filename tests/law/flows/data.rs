//! The keys: of all types, under names that are easily mistaken for something else.

use std::collections::BTreeSet;

use crate::common::Random;
use crate::generate::Argv;

const STARTS: [&[u8]; 14] = [
    b"user:",
    b"user:",
    b"user:",
    b"session:",
    b"a b ",
    b"{tag}",
    b"{x}y:",
    b"{}",
    b"}{",
    b"[a-c]*?\\",
    b"",
    b"\xff\x00\r\n",
    "schl\u{fc}ssel:".as_bytes(),
    b"--",
];

const ENDS: [&[u8]; 9] = [b"", b"", b"", b"", b":n", b" x", b"}", b"{", b"\x80"];

const NUMBERS: [&str; 7] = ["0.1", "1e16", "3", "-4", "12", "0", "9007199254740993"];

const TEXTS: [&str; 4] = ["de", "at", "", "a text that is longer than forty-four bytes, and so not embedded"];

/// The types of keys that there are.
pub const TYPES: [&str; 6] = ["string", "list", "set", "zset", "hash", "stream"];

/// The patterns of keys that questions ask for.
const PATTERNS: [&[u8]; 17] = [
    b"*",
    b"*",
    b"*",
    b"user:*",
    b"user:*",
    b"?ser:*",
    b"*:n",
    b"{tag}*",
    b"*[0-4]",
    b"[^u]*",
    b"a b *",
    b"*\\**",
    b"\\[a-c]*",
    b"*\xff*",
    b"**7",
    b"",
    b"nothing:*",
];

/// A moment that is far away, in seconds.
const FAR: &str = "4102444800";

/// Keys, each with the commands that make it; some are gone a moment later, and stay in the table of the server.
pub fn keys(random: &mut Random) -> Vec<(Vec<u8>, Vec<Argv>)> {
    let count = [2, 40, 150, 150][random.below(4)];
    let mut names = BTreeSet::new();
    if random.chance(20) {
        names.insert(Vec::new());
    }
    for _ in 0..count {
        let number = random.below(60).to_string().into_bytes();
        names.insert([random.pick(&STARTS).to_vec(), number, random.pick(&ENDS).to_vec()].concat());
    }
    names.into_iter().map(|name| (name.clone(), make(&name, random))).collect()
}

fn make(name: &[u8], random: &mut Random) -> Vec<Argv> {
    let (number, text) = (random.pick(&NUMBERS), random.pick(&TEXTS));
    let mut lines = match random.below(9) {
        0 | 1 => vec![line(name, "SET", &["12"])],
        2 => vec![line(name, "SET", &[number])],
        3 => vec![line(name, "SET", &[text])],
        4 => vec![line(name, "RPUSH", &[text, number, "z"])],
        5 => vec![line(name, "SADD", &["3", "1", number])],
        6 => vec![line(name, "ZADD", &["1", "m", "2.5", text])],
        7 => vec![line(name, "HSET", &["f", number, "n", "7", "text", text])],
        _ => vec![line(name, "XADD", &["1-1", "f", number])],
    };
    match random.below(20) {
        0..3 => lines.push(line(name, "EXPIREAT", &[FAR])),
        3 => lines.push(line(name, "PEXPIRE", &["1"])),
        _ => {}
    }
    lines
}

/// Returns a command with its key behind its name.
fn line(key: &[u8], command: &str, rest: &[&str]) -> Argv {
    let rest = rest.iter().map(|word| word.as_bytes().to_vec());
    [command.as_bytes().to_vec(), key.to_vec()].into_iter().chain(rest).collect()
}

/// Returns a pattern: one of the table, or made of a name.
pub fn pattern(keys: &[(Vec<u8>, Vec<Argv>)], random: &mut Random) -> Vec<u8> {
    if keys.is_empty() || random.chance(80) {
        return random.pick(&PATTERNS).to_vec();
    }
    let name = &keys[random.below(keys.len())].0;
    let end = random.below(name.len() + 1);
    [&name[..end], b"*"].concat()
}

/// The command for each key, by the type that it is meant for; whether it writes; and the reducers of its replies.
pub struct Asked {
    pub kind: Option<&'static str>,
    pub words: &'static [&'static str],
    pub is_write: bool,
}

const fn read(kind: Option<&'static str>, words: &'static [&'static str]) -> Asked {
    Asked { kind, words, is_write: false }
}

const fn write(kind: Option<&'static str>, words: &'static [&'static str]) -> Asked {
    Asked { kind, words, is_write: true }
}

/// The commands. A key stands in place of `{}`, else behind the name.
pub const COMMANDS: [Asked; 41] = [
    read(None, &["TYPE"]),
    read(None, &["EXISTS", "{}"]),
    read(None, &["EXPIRETIME"]),
    read(None, &["OBJECT", "ENCODING", "{}"]),
    read(None, &["TOUCH", "{}"]),
    read(None, &["SORT_RO", "{}", "ALPHA"]),
    write(None, &["PERSIST"]),
    write(None, &["EXPIREAT", "{}", FAR, "NX"]),
    write(None, &["UNLINK"]),
    write(None, &["DEL", "{}"]),
    write(None, &["SET", "{}", "new", "KEEPTTL", "XX"]),
    read(Some("string"), &["GET"]),
    read(Some("string"), &["GET", "{}"]),
    read(Some("string"), &["STRLEN", "{}"]),
    read(Some("string"), &["GETRANGE", "{}", "0", "1"]),
    read(Some("string"), &["BITCOUNT"]),
    read(Some("string"), &["MGET", "{}"]),
    write(Some("string"), &["INCR"]),
    write(Some("string"), &["INCRBYFLOAT", "{}", "1.5"]),
    write(Some("string"), &["APPEND", "{}", "x"]),
    write(Some("string"), &["GETDEL", "{}"]),
    read(Some("list"), &["LLEN"]),
    read(Some("list"), &["LRANGE", "{}", "0", "-1"]),
    read(Some("list"), &["LINDEX", "{}", "1"]),
    write(Some("list"), &["LPOP"]),
    write(Some("list"), &["RPUSH", "{}", "end"]),
    read(Some("set"), &["SCARD"]),
    read(Some("set"), &["SISMEMBER", "{}", "3"]),
    write(Some("set"), &["SADD", "{}", "3", "4"]),
    read(Some("zset"), &["ZCARD"]),
    read(Some("zset"), &["ZRANGE", "{}", "0", "-1"]),
    read(Some("zset"), &["ZSCORE", "{}", "m"]),
    write(Some("zset"), &["ZINCRBY", "{}", "1.5", "m"]),
    read(Some("hash"), &["HGET", "{}", "f"]),
    read(Some("hash"), &["HGETALL"]),
    read(Some("hash"), &["HKEYS", "{}"]),
    write(Some("hash"), &["HINCRBY", "{}", "n", "5"]),
    write(Some("hash"), &["HDEL", "{}", "f", "n"]),
    read(Some("stream"), &["XLEN"]),
    read(Some("stream"), &["XRANGE", "{}", "-", "+"]),
    write(Some("stream"), &["XADD", "{}", "2-1", "g", "v"]),
];

/// The reducers of the replies. `LIST` and `COUNT` take anything.
pub const REDUCERS: [&str; 20] = [
    "LIST",
    "LIST",
    "LIST",
    "COUNT",
    "COUNT",
    "SUM",
    "AVG",
    "MIN",
    "MAX",
    "CONCAT",
    "UNION",
    "TOP 3",
    "BOTTOM 1000",
    "GROUP",
    "TOPGROUPS 2",
    "STATS",
    "DISTINCT",
    "PREFIX : COUNT",
    "PREFIX : SUM",
    "PREFIX } GROUP",
];
