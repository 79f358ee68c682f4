//! Words for arguments that are no keys, by what the documentation calls them.
//!
//! Times to live are long or over: what expired during a sequence would expire a little earlier on one side.

use super::listed::{Arg, Listed};
use super::scripts::Stock;
use crate::common::Random;

/// The words that nobody expects, for any argument.
pub const ODD: [&str; 12] =
    ["", "abc", "0", "-1", "1", "9223372036854775807", "9223372036854775808", "1.5", "nan", "*", "\u{e9}\r\n", "(1"];

/// The same, without what could pass as a short time.
pub const ODD_WITHOUT_NUMBERS: [&str; 6] = ["", "abc", "nan", "*", "\u{e9}\r\n", "(1"];

const INTEGERS: [&str; 9] = ["0", "1", "2", "3", "5", "10", "-1", "-2", "1"];
const DOUBLES: [&str; 10] = ["0", "1", "2.5", "-1", "1e3", "0.1", "3.0e-2", "inf", "-inf", "2"];
const MEMBERS: [&str; 12] = ["m1", "m2", "m3", "m4", "m5", "1", "2", "3", "Palermo", "Catania", "m1", "m2"];
const SCORES: [&str; 8] = ["0", "1", "(1", "2", "3", "-inf", "+inf", "10"];
const IDS: [&str; 8] = ["1-1", "2-1", "3-1", "0", "9-9", "2-1", "7", "1-2"];
const RANGE_IDS: [&str; 8] = ["-", "+", "1-1", "(1-1", "2-1", "3", "0", "9-9"];

/// Returns a word for an argument.
pub fn word(command: &Listed, arg: &Arg, stock: &Stock, random: &mut Random) -> Vec<u8> {
    let one_of = |words: &[&str], random: &mut Random| random.pick(words).as_bytes().to_vec();
    let name = match arg.name.as_str() {
        "script" if command.name.starts_with("eval") => "evaluated",
        name => name,
    };
    if let Some(word) = stock.word(name, random) {
        return word;
    }
    let words: &[&str] = match (name, arg.kind.as_str()) {
        ("longitude", _) => &["13.361389", "15.087269", "2.35", "13.4", "500"],
        ("latitude", _) => &["38.115556", "37.502669", "48.85", "52.52"],
        ("radius" | "width" | "height", _) => &["100", "500", "5000", "1.5", "0"],
        ("milliseconds" | "ms", _) => &["1000000", "5000000", "99999999", "-1"],
        ("seconds", _) => &["1000", "5000", "100000", "-1"],
        // `SET` makes keys that are over, and DBSIZE counts them for a while.
        (_, "unix-time") if command.name == "set" && name.contains("milli") => &["4102444800000", "4102444801000"],
        (_, "unix-time") if command.name == "set" => &["4102444800", "4102444801"],
        (_, "unix-time") if name.contains("milli") => &["4102444800000", "4102444801000", "1"],
        (_, "unix-time") => &["4102444800", "4102444801", "1"],
        ("min-idle-time", _) => &["0", "3600000"],
        ("cursor", _) => &["0", "0", "0", "x"],
        ("bit", _) => &["0", "1"],
        ("offset", "integer") => &["0", "1", "7", "21", "100"],
        ("count" | "limit", "integer") => &["1", "2", "3", "10", "0", "-1"],
        (_, "integer") => &INTEGERS,
        ("id" | "lastid" | "last-id" | "max-deleted-id" | "max_deleted_entry_id", _) => {
            if random.chance(40) {
                return format!("{}-{}", 4 + random.below(40), random.below(3)).into_bytes();
            }
            if command.name.starts_with("xread") { &["0", "$", ">", "1-1", ">", "0"] } else { &IDS }
        }
        ("start" | "end" | "min" | "max" | "stop", _) if command.group == "stream" => &RANGE_IDS,
        ("start" | "end" | "min" | "max" | "stop", _) => {
            if command.name.contains("lex") || random.chance(15) {
                &["-", "+", "[m1", "(m2", "[m3", "[a"]
            } else {
                &SCORES
            }
        }
        ("threshold", _) => &["1", "2", "2-1", "0", "10"],
        (_, "double") => &DOUBLES,
        ("field", _) => &["f1", "f2", "f3", "f4", "m1"],
        ("value", _) => &["v1", "10", "", "3.5", "{\"a\":1}", "b\u{0}\u{e9}"],
        ("group" | "groupname", _) => &["g1", "g2", "g1", "g3"],
        ("consumer" | "consumername", _) => &["c1", "c2", "c1"],
        ("pattern", _) => &["*", "{a}*", "str*", "m?", "[l-m]*1", "f*"],
        ("by-pattern", _) => &["nosort", "w_*"],
        ("get-pattern", _) => &["#", "w_*"],
        ("username", _) => &["alice", "bob", "nobody"],
        ("module-name", _) => &["rmr", "nosuch"],
        ("category" | "categoryname", _) => &["read", "string", "nosuch"],
        ("channel" | "shardchannel", _) => &["news", "{a}news", "{b}x"],
        ("section", _) => &["server", "clients", "keyspace", "all", "nosuch"],
        ("event", _) => &["command", "fork"],
        ("command" | "command-name", _) => &["get", "mget", "config|get", "nosuch", "xread"],
        ("encoding", _) => &["u8", "i16", "u63", "i64", "u1", "u64"],
        ("offset", _) => &["0", "#1", "8", "#0", "100"],
        ("operation", _) => &["AND", "OR", "XOR", "NOT"],
        ("type", _) => &["string", "zset", "hash", "nosuch"],
        ("subcommand", _) => &["GETREG", "ENCODING", "DECODE", "TODENSE"],
        _ if ["member", "element", "pivot"].iter().any(|known| name.starts_with(known)) => &MEMBERS,
        _ => &["x", "1", "0", "abc"],
    };
    one_of(words, random)
}
