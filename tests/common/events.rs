//! [`read_events`]: reads keyspace events by `RMR.EVENTS`.

use std::time::Duration;

use super::{Server, Wire, elements, show};

/// The longest that an answer may take besides what it waits for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks a node for the events after a cursor, with all words that follow it, and moves the cursor: `event key` of each, or
/// `lost id`. The error is what the node says.
pub fn read_events(node: &Server, cursor: &mut String, options: &[&str]) -> Result<Vec<String>, String> {
    let words = [&["RMR.EVENTS", cursor.as_str()], options].concat();
    let reply = Wire::connect_with_timeout(node.port(), PATIENCE).call(&words);
    if reply.starts_with(b"-") {
        return Err(show(&reply));
    }
    let [next, entries] = elements(&reply)[..] else { panic!("{}", show(&reply)) };
    *cursor = text(next);
    Ok(elements(entries).into_iter().map(shown_event).collect())
}

/// Returns an entry of the list of events, after a look at its form.
pub fn shown_event(entry: &[u8]) -> String {
    let words: Vec<String> = elements(entry).into_iter().map(text).collect();
    if words[0] == "lost" {
        assert_eq!(words.len(), 2, "{words:?}");
    } else {
        let since_1970: u128 = words[2].parse().expect("milliseconds");
        assert!(words.len() == 4 && since_1970 > 1_700_000_000_000, "{words:?}");
    }
    words[..2].join(" ")
}

fn text(frame: &[u8]) -> String {
    show(frame).trim_matches('"').to_owned()
}
