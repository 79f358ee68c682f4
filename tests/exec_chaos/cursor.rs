//! A whole pass of `RMR.SCAN`, whose cursor goes from node to node.

use std::collections::BTreeSet;

use crate::common::{Server, Wire, elements, show};

/// The longest that a pass may be: many times what one over 16384 slots takes.
const MOST_CALLS: usize = 500;

/// Returns the cursor and the keys of one reply.
///
/// # Errors
/// The error says what came instead.
pub fn read(reply: &[u8]) -> Result<(String, Vec<String>), String> {
    if reply[0] != b'*' {
        return Err(show(reply));
    }
    let unquoted = |frame: &&[u8]| show(frame).trim_matches('"').to_owned();
    let [cursor, keys] = elements(reply)[..] else { return Err(show(reply)) };
    Ok((unquoted(&cursor), elements(keys).iter().map(unquoted).collect()))
}

/// Returns a pass from node to node: all keys, as often as they came.
///
/// # Panics
/// When a call fails.
#[track_caller]
pub fn pass<'n>(nodes: impl IntoIterator<Item = &'n Server>, options: &str) -> Vec<String> {
    let mut wires: Vec<Wire> = nodes.into_iter().map(Server::wire).collect();
    let count = wires.len();
    let mut cursor = "0".to_owned();
    let mut all = Vec::new();
    for call in 0..MOST_CALLS {
        let line = format!("RMR.SCAN {cursor} {options}");
        let words: Vec<&str> = line.split_whitespace().collect();
        let reply = wires[call % count].call(&words);
        let (next, keys) = read(&reply).unwrap_or_else(|error| panic!("{line}: {error}"));
        all.extend(keys);
        if next == "0" {
            return all;
        }
        cursor = next;
    }
    panic!("the cursor is {cursor} after {MOST_CALLS} calls");
}

/// Returns the keys that a pass does not find.
#[track_caller]
pub fn missed<'n, 'k>(
    nodes: impl IntoIterator<Item = &'n Server>,
    options: &str,
    keys: impl IntoIterator<Item = &'k String>,
) -> Vec<&'k String> {
    let found: BTreeSet<String> = pass(nodes, options).into_iter().collect();
    keys.into_iter().filter(|key| !found.contains(*key)).collect()
}
