//! Commands that make one key of others.

use super::made::{Definite, WriteCall};
use crate::command::integer;

fn is(word: &[u8], option: &str) -> bool {
    word.eq_ignore_ascii_case(option.as_bytes())
}

/// `COPY source destination [DB database] [REPLACE]`
pub(super) fn is_to_another_database(words: &[&[u8]]) -> bool {
    let mut options = words.iter().skip(3);
    let mut is_to_another = false;
    while let Some(option) = options.next() {
        if is(option, "DB") {
            is_to_another |= options.next().is_some_and(|database| *database != b"0");
        }
    }
    is_to_another
}

/// `SORT key [BY pattern] [LIMIT offset count] [GET pattern ...] [ASC | DESC] [ALPHA] [STORE destination]`
///
/// Numbers come in the same order everywhere. Texts come in that of the node's language, and patterns lead to keys that a
/// node may not have.
pub(super) fn sort(call: &WriteCall<'_>, words: &[&[u8]], _: i64) -> Definite {
    let (mut stores, mut is_certain, mut at) = (false, true, 2);
    while let Some(option) = words.get(at) {
        at += match *option {
            option if is(option, "LIMIT") => 3,
            option if is(option, "STORE") => {
                stores = true;
                2
            }
            option if is(option, "ASC") || is(option, "DESC") => 1,
            _ => {
                is_certain = false;
                1 + usize::from(is(option, "BY") || is(option, "GET"))
            }
        };
    }
    match (stores, is_certain) {
        (true, true) => Definite::AsIs,
        (true, false) => call.carry_written(),
        (false, _) => Definite::nothing_more(),
    }
}

/// `GEORADIUS` and its like with `STORE` or `STOREDIST`: distances are computed by the node's mathematical library.
pub(super) fn by_distance(call: &WriteCall<'_>, words: &[&[u8]], _: i64) -> Definite {
    let writes = call.description.key_uses(words).is_none_or(|keys| keys.iter().any(|key| key.writes));
    if writes { call.carry_written() } else { Definite::nothing_more() }
}

/// `ZUNIONSTORE` and `ZINTERSTORE`: the sum of two doubles is the same in whatever order, the sum of more is not; and
/// some machines multiply and add in one step, which rounds once only.
pub(super) fn sums(call: &WriteCall<'_>, words: &[&[u8]], _: i64) -> Definite {
    let Some(sets) = integer(words[2]).and_then(|sets| usize::try_from(sets).ok()) else { return Definite::AsIs };
    let options = words.get(3..).and_then(|rest| rest.get(sets..)).unwrap_or_default();
    let has_weights = options.iter().any(|word| is(word, "WEIGHTS"));
    let takes_one =
        options.windows(2).any(|pair| is(pair[0], "AGGREGATE") && (is(pair[1], "MIN") || is(pair[1], "MAX")));
    if takes_one || (sets <= 2 && !has_weights) { Definite::AsIs } else { call.carry_written() }
}
