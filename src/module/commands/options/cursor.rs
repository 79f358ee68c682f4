//! [`ArgumentCursor`]: walks over the arguments of a command, with the errors that say what was given and what is allowed.

use std::time::Duration;

use crate::command::printable;
use crate::error::Error;

/// The longest timeout that is taken: an hour.
const LONGEST_TIMEOUT_MS: u64 = 3_600_000;

/// Walks the arguments.
pub(super) struct ArgumentCursor<'a> {
    pub(super) args: &'a [&'a [u8]],
}

impl<'a> ArgumentCursor<'a> {
    /// Takes the next argument if it is this word, in any case.
    pub(super) fn word(&mut self, word: &str) -> bool {
        let is_next = self.args.first().is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
        if is_next {
            self.args = &self.args[1..];
        }
        is_next
    }

    pub(super) fn value(&mut self, option: &str, allowed: &str) -> Result<&'a [u8], Error> {
        let (&first, rest) =
            self.args.split_first().ok_or_else(|| Error::Invalid(format!("{option} has no value; give {allowed}")))?;
        self.args = rest;
        Ok(first)
    }

    pub(super) fn timeout(&mut self) -> Result<Duration, Error> {
        let allowed = format!("milliseconds from 1 to {LONGEST_TIMEOUT_MS}");
        let given = self.value("TIMEOUT", &allowed)?;
        let millis = integer(given).filter(|millis| (1..=LONGEST_TIMEOUT_MS).contains(millis));
        millis.map(Duration::from_millis).ok_or_else(|| wrong("TIMEOUT", given, &allowed))
    }

    /// Reads how many of something follow.
    pub(super) fn count(&mut self, what: impl Fn() -> String) -> Result<usize, Error> {
        const ALLOWED: &str = "how many follow, 1 or more";
        let given = self.value(&what(), ALLOWED)?;
        let count = integer(given).and_then(|count| usize::try_from(count).ok()).filter(|&count| count > 0);
        count.ok_or_else(|| wrong(&what(), given, ALLOWED))
    }
}

/// Reads digits as the server does: no sign and no leading zero.
pub(super) fn integer(text: &[u8]) -> Option<u64> {
    let is_plain = text.iter().all(u8::is_ascii_digit) && (text.len() == 1 || !text.starts_with(b"0"));
    std::str::from_utf8(text).ok().filter(|_| is_plain)?.parse().ok()
}

pub(super) fn wrong(option: &str, given: &[u8], allowed: &str) -> Error {
    Error::Invalid(format!("{option} is '{}'; give {allowed}", printable(given)))
}
