//! Expiry times that count from now, made those of one clock: every copy is told the same millisecond.
//!
//! A command that has no effect but an error is definite as it is; so is one that takes effect at once since no time is left.

use super::made::{Definite, WriteCall};
use crate::command::{Command, integer};
use crate::placement::store::without::is_without;

/// `EXPIRE key seconds [NX | XX | GT | LT]`
pub(super) fn expire(call: &WriteCall<'_>, words: &[&[u8]], now_ms: i64) -> Definite {
    key_or_fields(call, words, now_ms, SECOND, ["pexpireat", "expire"])
}

/// `PEXPIRE key milliseconds [NX | XX | GT | LT]`
pub(super) fn pexpire(call: &WriteCall<'_>, words: &[&[u8]], now_ms: i64) -> Definite {
    key_or_fields(call, words, now_ms, 1, ["pexpireat", "pexpire"])
}

/// `HEXPIRE key seconds [NX | XX | GT | LT] FIELDS count field [field ...]`
pub(super) fn hexpire(call: &WriteCall<'_>, words: &[&[u8]], now_ms: i64) -> Definite {
    key_or_fields(call, words, now_ms, SECOND, ["hpexpireat", "hexpire"])
}

/// `HPEXPIRE key milliseconds [NX | XX | GT | LT] FIELDS count field [field ...]`
pub(super) fn hpexpire(call: &WriteCall<'_>, words: &[&[u8]], now_ms: i64) -> Definite {
    key_or_fields(call, words, now_ms, 1, ["hpexpireat", "hpexpire"])
}

/// `SETEX key seconds value`
pub(super) fn setex(call: &WriteCall<'_>, words: &[&[u8]], now_ms: i64) -> Definite {
    key_and_value(call, words, now_ms, SECOND, "setex")
}

/// `PSETEX key milliseconds value`
pub(super) fn psetex(call: &WriteCall<'_>, words: &[&[u8]], now_ms: i64) -> Definite {
    key_and_value(call, words, now_ms, 1, "psetex")
}

/// `SET key value [options]`
pub(super) fn set(call: &WriteCall<'_>, words: &[&[u8]], now_ms: i64) -> Definite {
    by_option(call, words, now_ms, "set", 3)
}

/// `GETEX key [options]`
pub(super) fn getex(call: &WriteCall<'_>, words: &[&[u8]], now_ms: i64) -> Definite {
    by_option(call, words, now_ms, "getex", 2)
}

/// `HGETEX key [options] FIELDS count field [field ...]`
pub(super) fn hgetex(call: &WriteCall<'_>, words: &[&[u8]], now_ms: i64) -> Definite {
    by_option(call, words, now_ms, "hgetex", 2)
}

/// `HSETEX key [options] FIELDS count field value [field value ...]`
pub(super) fn hsetex(call: &WriteCall<'_>, words: &[&[u8]], now_ms: i64) -> Definite {
    by_option(call, words, now_ms, "hsetex", 2)
}

/// `MSETEX count key value [key value ...] [options]`
pub(super) fn msetex(call: &WriteCall<'_>, words: &[&[u8]], now_ms: i64) -> Definite {
    let pairs = count(words[1]).and_then(|pairs| pairs.checked_mul(2)?.checked_add(2));
    match pairs.filter(|&from| from <= words.len()) {
        Some(from) => by_option(call, words, now_ms, "msetex", from),
        None => Definite::AsIs,
    }
}

/// `RESTORE key ttl payload [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]`
pub(super) fn restore(call: &WriteCall<'_>, words: &[&[u8]], now_ms: i64) -> Definite {
    restored(call, words, now_ms, "restore")
}

/// Makes `RESTORE-ASKING` definite: `RESTORE`, as a server of a cluster sends it to another.
pub(super) fn restore_asking(call: &WriteCall<'_>, words: &[&[u8]], now_ms: i64) -> Definite {
    restored(call, words, now_ms, "restore-asking")
}

const SECOND: i64 = 1000;

/// A time that is counted from now.
enum Time {
    At(i64),
    /// The time is zero or negative: that has the same effect on every copy at whatever time.
    Whenever,
    /// The time may be too far away, which the first copy has to decide.
    TooFar,
}

fn time(text: &[u8], unit: i64, now_ms: i64) -> Time {
    match integer(text) {
        Some(units) if units > 0 && !is_without("ABSTTL") => {
            let at = units.checked_mul(unit).and_then(|ms| ms.checked_add(now_ms));
            at.map_or(Time::TooFar, Time::At)
        }
        _ => Time::Whenever,
    }
}

fn count(text: &[u8]) -> Option<usize> {
    integer(text).and_then(|count| usize::try_from(count).ok())
}

fn is(word: &[u8], option: &str) -> bool {
    word.eq_ignore_ascii_case(option.as_bytes())
}

/// A time behind the key, and a command that is the same for a time of the clock.
fn key_or_fields(call: &WriteCall<'_>, words: &[&[u8]], now_ms: i64, unit: i64, names: [&'static str; 2]) -> Definite {
    let [absolute, was] = names;
    match time(words[2], unit, now_ms) {
        Time::At(at) => {
            let command = Command::new(absolute).arg(words[1]).arg(at);
            Definite::rewritten(words[3..].iter().fold(command, Command::arg), was)
        }
        Time::Whenever => Definite::AsIs,
        Time::TooFar => call.carry_written(),
    }
}

fn key_and_value(call: &WriteCall<'_>, words: &[&[u8]], now_ms: i64, unit: i64, was: &'static str) -> Definite {
    match time(words[2], unit, now_ms) {
        Time::At(at) => Definite::rewritten(Command::new("set").arg(words[1]).arg(words[3]).arg("PXAT").arg(at), was),
        Time::Whenever => Definite::AsIs,
        Time::TooFar => call.carry_written(),
    }
}

/// Commands with the options `EX` and `PX`, which stand behind this many words or later.
fn by_option(call: &WriteCall<'_>, words: &[&[u8]], now_ms: i64, name: &'static str, from: usize) -> Definite {
    let mut at = from;
    let mut found = None;
    while let Some(word) = words.get(at) {
        let unit = if is(word, "EX") { SECOND } else { 1 };
        at += match *word {
            option if is(option, "EX") || is(option, "PX") => {
                // Two of them are an error, if the server knows no better.
                if found.replace((at, unit)).is_some() {
                    return call.carry_written();
                }
                2
            }
            option if is(option, "EXAT") || is(option, "PXAT") => 2,
            option if ["IFEQ", "IFNE", "IFDEQ", "IFDNE"].iter().any(|known| is(option, known)) => 2,
            option if ["NX", "XX", "FNX", "FXX", "GET", "KEEPTTL", "PERSIST"].iter().any(|known| is(option, known)) => {
                1
            }
            option if is(option, "FIELDS") => {
                let width = if name == "hsetex" { 2 } else { 1 };
                let fields =
                    words.get(at + 1).and_then(|text| count(text)).and_then(|fields| fields.checked_mul(width));
                match fields.filter(|fields| *fields <= words.len()) {
                    Some(fields) => fields + 2,
                    None => return call.carry_written(),
                }
            }
            // An error, or something that a later server knows.
            _ => return call.carry_written(),
        };
    }
    let Some((at, unit)) = found else { return Definite::AsIs };
    match words.get(at + 1).map(|text| time(text, unit, now_ms)) {
        Some(Time::At(ms)) => {
            let command = Command::from_args(&words[..at]).expect("a name");
            let command = command.arg("PXAT").arg(ms);
            Definite::rewritten(words[at + 2..].iter().fold(command, Command::arg), name)
        }
        Some(Time::Whenever) | None => Definite::AsIs,
        Some(Time::TooFar) => call.carry_written(),
    }
}

fn restored(call: &WriteCall<'_>, words: &[&[u8]], now_ms: i64, name: &'static str) -> Definite {
    let mut at = 4;
    while let Some(word) = words.get(at) {
        at += match *word {
            option if is(option, "ABSTTL") => return Definite::AsIs,
            option if is(option, "REPLACE") => 1,
            option if is(option, "IDLETIME") || is(option, "FREQ") => 2,
            _ => return call.carry_written(),
        };
    }
    match time(words[2], 1, now_ms) {
        Time::At(ms) => {
            let command = Command::new(words[0]).arg(words[1]).arg(ms);
            Definite::rewritten(words[3..].iter().fold(command, Command::arg).arg("ABSTTL"), name)
        }
        Time::Whenever => Definite::AsIs,
        Time::TooFar => call.carry_written(),
    }
}
