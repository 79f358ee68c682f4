//! Commands that once told something to the wrong caller, or did something twice: chance alone would send few of them.

use crate::common::Random;
use crate::generate::Argv;
use crate::keys::PLACES;

/// Stands in no log of any server.
pub const SECRET: &str = "hush-of-a-stranger";

/// Errors as a script may raise them. Not all servers take the line breaks out.
const BROKEN: [&str; 5] = [
    "error('x\\r\\n+forged')",
    "error('x\\r\\n+forged\\r\\n+forged')",
    "error('x\\r\\n$100\\r\\n')",
    "error('x\\r\\nno reply at all')",
    "error({err = 'x\\r\\n:1'})",
];

/// Counts how often it runs, and ends in the words of whoever calls it.
const COUNTS: &str = "redis.call('INCR', KEYS[1]) return redis.error_reply(ARGV[1])";

/// The errors of a server that has not run a command.
const REFUSALS: [&str; 11] = [
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "TRYAGAIN x",
    "CLUSTERDOWN Hash slot not served",
    "CLUSTERDOWN The cluster is down",
    "LOADING Redis is loading the dataset in memory",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "READONLY You can't write against a read only replica.",
    "NOSCRIPT No matching script. Please use EVAL.",
    "NOSCRIPT No matching script.",
    "MOVED 1 127.0.0.1:1",
    "ASK 1 127.0.0.1:1",
];

/// Names of keys, in any number.
const NAMES: [&str; 9] = [
    "KEYS *",
    "SCAN 0",
    "SCAN 0 COUNT 1000",
    "SCAN 0 COUNT 1000 TYPE string",
    "RANDOMKEY",
    "CLUSTER GETKEYSINSLOT 15495 100",
    "CLUSTER GETKEYSINSLOT 3300 100",
    "SORT {a}list2 BY {b}str* GET {b}str1",
    "SORT_RO {a}list2 BY {b}str* GET {b}str1",
];

/// The option words of streams as names of groups and consumers, and other ordinary commands with odd words.
const ODD: [&str; 8] = [
    "XREADGROUP GROUP block c STREAMS {a}stream1 >",
    "XREADGROUP GROUP streams block STREAMS {b}stream1 >",
    "XREADGROUP BLOCK 1 GROUP g1 c STREAMS {a}stream1 >",
    "XREAD COUNT 1 STREAMS block 0",
    "MGET {a}str1 {b}str1 {c}str1 {a}num1",
    "EXISTS {a}str1 {b}str1 {c}str1",
    "DEL {a}str2 {b}str2",
    "FLUSHALL",
];

/// A command, and what is to be looked at.
pub struct Telling {
    pub argv: Argv,
    /// The key that counts how often it ran.
    pub counter: Option<Vec<u8>>,
    pub has_secret: bool,
}

/// Draws one.
pub fn draw(random: &mut Random) -> Telling {
    let text = |line: &str| line.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Argv>();
    let key = |name: &str, random: &mut Random| format!("{}{name}", random.pick(&PLACES)).into_bytes();
    let (argv, counter, has_secret) = match random.below(5) {
        0 => {
            let name = random.pick(&["EVAL", "EVAL_RO", "eval"]);
            let body = random.pick(&BROKEN).as_bytes().to_vec();
            (vec![name.into(), body, b"1".to_vec(), key("str1", random)], None, false)
        }
        1 => {
            let counter = key("counter", random);
            let words = random.pick(&REFUSALS).as_bytes().to_vec();
            (vec![b"EVAL".to_vec(), COUNTS.into(), b"1".to_vec(), counter.clone(), words], Some(counter), false)
        }
        2 => (text(random.pick(&NAMES)), None, false),
        3 => (text(random.pick(&ODD)), None, false),
        _ => {
            let line = random.pick(&[
                "ACL SETUSER bob >{}",
                "acl setuser bob reset on >{} +@all",
                "MIGRATE 127.0.0.1 1 {a}str1 0 10 AUTH {}",
                "MIGRATE 127.0.0.1 1 {b}str1 0 10 COPY AUTH2 someone {}",
            ]);
            (text(&line.replace("{}", SECRET)), None, true)
        }
    };
    Telling { argv, counter, has_secret }
}
