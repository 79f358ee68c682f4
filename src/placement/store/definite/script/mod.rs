//! Tells the scripts that leave equal data on every copy as they are.
//!
//! A script does if all that it can get at is its keys, its arguments, and what definite commands say. So it is read word by
//! word: each call of a command has to name one that is definite whatever its arguments are, and each other name has to be
//! one of the script's own, or of the few things of Lua that are the same everywhere. A name that is not known is not
//! definite: the script is then run once, and its keys are carried over. That costs more, and is never wrong.
//!
//! Not the same everywhere are chance, clocks, the order of `pairs` and of JSON objects, the text that stands for a table,
//! and what the mathematical library of a machine computes.

mod words;

use std::collections::HashSet;

use super::table::{Rule, reads_the_same_everywhere, rule};
use words::{LuaWord, words_of};

const KEYWORDS: [&[u8]; 21] = [
    b"and",
    b"break",
    b"do",
    b"else",
    b"elseif",
    b"end",
    b"false",
    b"for",
    b"function",
    b"if",
    b"in",
    b"local",
    b"nil",
    b"not",
    b"or",
    b"repeat",
    b"return",
    b"then",
    b"true",
    b"until",
    b"while",
];

/// The globals that a script may use without naming one of their members.
const FREE: [&[u8]; 10] =
    [b"KEYS", b"ARGV", b"tonumber", b"type", b"ipairs", b"unpack", b"select", b"error", b"assert", b"pcall"];

/// The globals of which a script may use these members alone, each by its name.
const MEMBERS: [(&[u8], &[&[u8]]); 7] = [
    (
        b"string",
        &[
            b"sub", b"len", b"format", b"rep", b"byte", b"char", b"find", b"match", b"gmatch", b"gsub", b"lower",
            b"upper", b"reverse",
        ],
    ),
    (b"table", &[b"insert", b"remove", b"concat", b"sort", b"getn", b"maxn"]),
    (b"math", &[b"floor", b"ceil", b"abs", b"max", b"min", b"fmod", b"modf", b"huge"]),
    (
        b"bit",
        &[
            b"tobit", b"tohex", b"bnot", b"band", b"bor", b"bxor", b"lshift", b"rshift", b"arshift", b"rol", b"ror",
            b"bswap",
        ],
    ),
    (b"cjson", &[b"decode", b"null"]),
    (b"struct", &[b"pack", b"unpack", b"size"]),
    (b"cmsgpack", &[b"unpack"]),
];

/// The server, by both of its names, and what may be asked of it besides commands.
const SERVER: [&[u8]; 2] = [b"redis", b"server"];
const OF_SERVER: [&[u8]; 8] =
    [b"error_reply", b"status_reply", b"sha1hex", b"log", b"LOG_DEBUG", b"LOG_VERBOSE", b"LOG_NOTICE", b"LOG_WARNING"];

/// The names that a script must not use, not even for a variable of its own.
const NEVER: [&[u8]; 22] = [
    b"_G",
    b"_VERSION",
    b"collectgarbage",
    b"coroutine",
    b"debug",
    b"dofile",
    b"getfenv",
    b"getmetatable",
    b"load",
    b"loadfile",
    b"loadstring",
    b"module",
    b"next",
    b"newproxy",
    b"os",
    b"pairs",
    b"print",
    b"rawget",
    b"require",
    b"setfenv",
    b"setmetatable",
    b"tostring",
];

/// Tells whether a script leaves equal data on every copy as it is.
pub(super) fn is_definite(text: &[u8]) -> bool {
    words_of(text).is_some_and(|words| ScriptText { own: own_names(&words), words }.is_definite())
}

struct ScriptText<'a> {
    words: Vec<LuaWord<'a>>,
    own: HashSet<&'a [u8]>,
}

/// Returns the names of variables and parameters.
fn own_names<'a>(words: &[LuaWord<'a>]) -> HashSet<&'a [u8]> {
    let mut own = HashSet::new();
    let is_symbol = |at: usize, symbol: &[u8]| words.get(at) == Some(&LuaWord::Symbol(symbol));
    for (at, word) in words.iter().enumerate() {
        let mut next = match word {
            LuaWord::Name(b"local") if words.get(at + 1) == Some(&LuaWord::Name(b"function")) => {
                if let Some(LuaWord::Name(name)) = words.get(at + 2) {
                    own.insert(*name);
                }
                continue;
            }
            LuaWord::Name(b"local" | b"for") => at + 1,
            LuaWord::Name(b"function") => {
                let Some(open) = (at + 1..words.len()).find(|&at| is_symbol(at, b"(")) else { continue };
                open + 1
            }
            _ => continue,
        };
        while let Some(LuaWord::Name(name)) = words.get(next) {
            own.insert(*name);
            if !is_symbol(next + 1, b",") {
                break;
            }
            next += 2;
        }
    }
    own
}

impl<'a> ScriptText<'a> {
    fn is_definite(&self) -> bool {
        let mut brackets = Vec::new();
        for (at, word) in self.words.iter().enumerate() {
            match *word {
                LuaWord::Symbol(bracket @ (b"(" | b"[" | b"{")) => brackets.push(bracket),
                LuaWord::Symbol(b")" | b"]" | b"}") => {
                    brackets.pop();
                }
                // The mathematical library's.
                LuaWord::Symbol(b"^") => return false,
                LuaWord::Name(name) if !self.is_harmless(at, name, brackets.last() == Some(&&b"{"[..])) => {
                    return false;
                }
                _ => {}
            }
        }
        true
    }

    fn symbol(&self, at: usize) -> &'a [u8] {
        match self.words.get(at) {
            Some(LuaWord::Symbol(symbol)) => symbol,
            _ => b"",
        }
    }

    fn name(&self, at: usize) -> &'a [u8] {
        match self.words.get(at) {
            Some(LuaWord::Name(name)) => name,
            _ => b"",
        }
    }

    fn is_harmless(&self, at: usize, name: &[u8], in_table: bool) -> bool {
        let before = at.checked_sub(1).map_or(&b""[..], |at| self.symbol(at));
        if before == b"." || before == b":" {
            // Code as bytes differs between servers.
            return name != b"dump";
        }
        let is_field = in_table && [&b"{"[..], b",", b";"].contains(&before) && self.symbol(at + 1) == b"=";
        if is_field || KEYWORDS.contains(&name) || FREE.contains(&name) {
            return true;
        }
        if NEVER.contains(&name) {
            return false;
        }
        let member = if self.symbol(at + 1) == b"." { self.name(at + 2) } else { b"" };
        if SERVER.contains(&name) {
            return match member {
                b"call" | b"pcall" => self.calls_the_definite(at + 3),
                member => OF_SERVER.contains(&member),
            };
        }
        match MEMBERS.iter().find(|(known, _)| *known == name) {
            Some((_, members)) => members.contains(&member),
            None => self.own.contains(name),
        }
    }

    /// Tells whether the arguments that begin here are those of a definite command.
    fn calls_the_definite(&self, at: usize) -> bool {
        let (b"(", Some(LuaWord::Text(command)), b"," | b")") =
            (self.symbol(at), self.words.get(at + 1), self.symbol(at + 2))
        else {
            return false;
        };
        let Some(command) = std::str::from_utf8(command).ok().map(str::to_ascii_lowercase) else { return false };
        match rule(&command) {
            Some(Rule::Always) => !matches!(&*command, "flushall" | "flushdb"),
            _ if command == "set" => self.sets_without_time(at + 1),
            _ => reads_the_same_everywhere(&command),
        }
    }

    /// Tells whether the arguments of `SET`, its name being the first, have no other options than such as are named and
    /// definite.
    fn sets_without_time(&self, from: usize) -> bool {
        let (mut depth, mut commas, mut at) = (0, Vec::new(), from);
        let end = loop {
            match self.words.get(at) {
                None => return false,
                Some(LuaWord::Symbol(b"(" | b"[" | b"{")) => depth += 1,
                Some(LuaWord::Symbol(b")" | b"]" | b"}")) if depth == 0 => break at,
                Some(LuaWord::Symbol(b")" | b"]" | b"}")) => depth -= 1,
                Some(LuaWord::Symbol(b",")) if depth == 0 => commas.push(at),
                Some(_) => {}
            }
            at += 1;
        };
        // Several values may come out of the last argument.
        let is_single = !matches!(self.symbol(end - 1), b")" | b"...");
        let is_option = |option: &[u8]| {
            [&b"NX"[..], b"XX", b"GET", b"KEEPTTL"].iter().any(|known| option.eq_ignore_ascii_case(known))
        };
        let mut options = commas.iter().skip(2);
        let are_known = options.all(|&comma| {
            let is_alone = matches!(self.symbol(comma + 2), b"," | b")");
            matches!(self.words.get(comma + 1), Some(LuaWord::Text(option)) if is_option(option)) && is_alone
        });
        is_single && are_known
    }
}
