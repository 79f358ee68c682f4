//! Scripts and libraries, and other words that have to be made from a server first: digests, dumps.
//!
//! `EVAL` and `SCRIPT LOAD` are given different scripts: `EVAL` leaves its script behind on the one
//! node where it ran. And none hands `nil` to a command: Redis 8.2 dies of that at the next `FUNCTION FLUSH` or
//! `SCRIPT FLUSH`, with or without rmr.

use crate::common::Server;

use super::reply::Reply;
use crate::common::Random;

/// Run by `EVAL` only.
pub const EVALUATED: [(&str, &str); 9] = [
    ("big-set", "for i = 1, KEYS[1] and 200 or 0 do redis.call('SADD', KEYS[1], 'member' .. i) end return 200"),
    ("big-hash", "for i = 1, KEYS[1] and 200 or 0 do redis.call('HSET', KEYS[1], 'field' .. i, i) end return 200"),
    ("set", "return KEYS[1] and redis.call('SET', KEYS[1], ARGV[1] or 'none')"),
    ("get", "return KEYS[1] and redis.call('GET', KEYS[1])"),
    ("both", "return {KEYS[1] and redis.call('TYPE', KEYS[1]), #KEYS, ARGV[1] or 'none', false, 1.5}"),
    ("map", "redis.setresp(3) return {map={a=1}, 1}"),
    ("own-error", "return redis.error_reply('MINE own words')"),
    ("raise", "return KEYS[1] and redis.call('INCR', KEYS[1])"),
    ("undeclared", "return redis.call('GET', '{' .. (ARGV[1] or 'b') .. '}str1')"),
];

/// Loaded before each sequence.
pub const LOADED: [&str; 3] = [
    "return KEYS[1] and redis.call('GET', KEYS[1])--loaded",
    "return KEYS[1] and redis.call('APPEND', KEYS[1], 'more')--loaded",
    "return {KEYS, ARGV}--loaded",
];

/// Loaded before each sequence.
pub const LIBRARY: &str = "#!lua name=lib1\n\
    redis.register_function('append', function(keys, args) return keys[1] and redis.call('APPEND', keys[1], 'more') end)\n\
    redis.register_function{function_name='read', callback=function(keys, args) return #keys end, flags={'no-writes'}}";

const OTHER_LIBRARY: &str =
    "#!lua name=lib2\nredis.register_function('two', function(keys, args) return {2, args[1]} end)";

/// The stock of values that the single server makes of its data at the beginning of a sequence.
pub struct Stock {
    digests: Vec<Vec<u8>>,
    dumps: Vec<Vec<u8>>,
    library_dump: Vec<u8>,
}

impl Stock {
    /// Asks for it.
    pub fn of(server: &Server) -> Self {
        let mut wire = server.wire();
        let mut ask = |args: &[&str]| Reply::parse(&wire.call(args)).bytes().to_vec();
        Self {
            digests: LOADED.iter().map(|script| ask(&["SCRIPT", "LOAD", script])).collect(),
            dumps: ["{a}str1", "{b}list1", "{c}hash1", "zset1", "{a}set2"]
                .iter()
                .map(|key| ask(&["DUMP", key]))
                .collect(),
            library_dump: ask(&["FUNCTION", "DUMP"]),
        }
    }

    /// Returns a word for an argument of this name, if it is one of these.
    pub fn word(&self, name: &str, random: &mut Random) -> Option<Vec<u8>> {
        let text = match name {
            "sha1" if random.chance(80) => return Some(random.pick(&self.digests)),
            "sha1" => "0123456789012345678901234567890123456789",
            "dump" => return Some(random.pick(&self.dumps)),
            "library-dump" => return Some(self.library_dump.clone()),
            "empty" => "",
            "evaluated" => random.pick(&EVALUATED).1,
            "script" => random.pick(&LOADED),
            "function" => random.pick(&["append", "read", "two", "nosuch"]),
            "library-name" | "library-name-pattern" => random.pick(&["lib1", "lib2", "nosuch", "lib*"]),
            "library" => LIBRARY,
            "other-library" => OTHER_LIBRARY,
            "function-code" => random.pick(&[LIBRARY, OTHER_LIBRARY, "no code", "#!lua name=lib3\nnonsense("]),
            "serialized-value" => "not a payload",
            _ => EVALUATED.iter().find(|(known, _)| *known == name)?.1,
        };
        Some(text.as_bytes().to_vec())
    }
}
