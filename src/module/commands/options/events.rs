//! The arguments of `RMR.EVENTS`.

use std::time::Duration;

use serde_bytes::ByteBuf;

use super::cursor::{ArgumentCursor, integer, wrong};
use crate::command::printable;
use crate::error::Error;
use crate::module::events::{EventCursor, EventsAsked, EventsWanted};
use crate::module::inquiry::block;

/// The number of events that are returned at most by default, and the most that can be asked for.
const COUNT: usize = 1000;
const MOST: u64 = 100_000;

/// Events that the server tells of only when it is asked for them by name, which would cost each reader of a key.
const NOT_KEPT: [&str; 2] = ["keymiss", "new"];

/// `cursor [BLOCK ms] [COUNT n] MATCH pattern [TYPES event ...]`
pub(in crate::module::commands) fn events(args: &[&[u8]], database: i32) -> Result<EventsAsked, Error> {
    let mut rest = ArgumentCursor { args };
    let allowed = "$ for what happens from now on, or the cursor of the reply before";
    let given = rest.value("the cursor", allowed)?;
    let cursor = EventCursor::parse(given).ok_or_else(|| wrong("the cursor", given, allowed))?;
    let (mut wait, mut count) = (Duration::ZERO, COUNT);
    loop {
        if rest.word("BLOCK") {
            wait = block(rest.block_ms()?);
        } else if rest.word("COUNT") {
            let allowed = format!("how many events at most, 1 to {MOST}");
            let given = rest.value("COUNT", &allowed)?;
            let number = integer(given).filter(|number| (1..=MOST).contains(number));
            count = number.ok_or_else(|| wrong("COUNT", given, &allowed))? as usize;
        } else {
            break;
        }
    }
    if !rest.word("MATCH") {
        let allowed = "BLOCK ms, COUNT n, or MATCH pattern, which has to be there";
        let given = rest.value("what follows the cursor", allowed)?;
        return Err(wrong("what follows the cursor", given, allowed));
    }
    let pattern = ByteBuf::from(rest.value("MATCH", "a pattern that keys have to match, * for all")?);
    let mut names = Vec::new();
    if rest.word("TYPES") {
        const ALLOWED: &str = "names of events, such as set, del or expired; not keymiss or new, which are not kept";
        let first = rest.value("TYPES", ALLOWED)?;
        names = [first].iter().chain(rest.args).map(|name| printable(name).to_lowercase()).collect();
        if let Some(name) = names.iter().find(|name| NOT_KEPT.contains(&name.as_str())) {
            return Err(wrong("TYPES", name.as_bytes(), ALLOWED));
        }
    } else if let Some(more) = rest.args.first() {
        return Err(wrong("what follows the pattern", more, "TYPES event ..., or nothing"));
    }
    Ok(EventsAsked { cursor, wanted: EventsWanted { database, pattern, names, count }, wait })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Result<EventsAsked, String> {
        let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        events(&words, 0).map_err(|error| error.to_string())
    }

    #[test]
    fn questions_are_read() {
        let plain = asked("$ MATCH *").unwrap();
        assert_eq!((plain.wait, plain.wanted.count, plain.wanted.names.len()), (Duration::ZERO, COUNT, 0));
        let all = asked("a:p1:5 count 10 Block 5000 match user:* types SET expired").unwrap();
        assert_eq!((all.wait, all.wanted.count), (Duration::from_secs(5), 10));
        assert_eq!(all.wanted.names, ["set", "expired"]);
        assert_eq!((all.wanted.pattern.as_slice(), all.cursor.to_string()), (&b"user:*"[..], "a:p1:5".to_owned()));
        assert!(asked("$ BLOCK 0 MATCH *").unwrap().wait > Duration::from_secs(86_400));
    }

    #[test]
    fn a_bad_question_says_what_is_allowed() {
        let error = |line: &str| asked(line).err().unwrap();
        assert!(
            error("0 MATCH *").starts_with("the cursor is '0'; give $ for what happens from now on, or the cursor of")
        );
        assert!(
            error("$").starts_with("what follows the cursor has no value; give BLOCK ms, COUNT n, or MATCH pattern")
        );
        assert!(error("$ PATTERN *").starts_with("what follows the cursor is 'PATTERN'"));
        assert!(error("$ MATCH").starts_with("MATCH has no value"));
        assert!(error("$ MATCH * set").starts_with("what follows the pattern is 'set'; give TYPES event ..."));
        assert!(error("$ MATCH * TYPES").starts_with("TYPES has no value; give names of events"));
        assert!(error("$ MATCH * TYPES set keymiss").starts_with("TYPES is 'keymiss'"));
        assert!(error("$ COUNT 0 MATCH *").starts_with("COUNT is '0'; give how many events at most, 1 to 100000"));
        assert!(error("$ BLOCK x MATCH *").starts_with("BLOCK is 'x'; give milliseconds"));
    }
}
