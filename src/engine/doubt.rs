//! Doubts: errors to code of others in the words with which servers refuse a command before they run it.
//!
//! A script may end in any words, and must not run again for them. So the node is asked something that it refuses for the
//! same keys, or for the state that it is in: what it answers, it does not refuse, and the words were the script's own. Only
//! these errors cost another round trip.

use super::replies::ShardReply;
use super::route::Destination;
use crate::command::{Command, CommandRef};

/// An error in the words of a refusal, to a command that runs code of others.
pub(super) struct Doubt {
    pub(super) at: Destination,
    pub(super) error: ShardReply,
}

/// The most bytes in which nodes may say that they refuse.
pub(super) const LONGEST_REFUSALS: usize = 16 << 20;

/// Tells whether rmr itself has refused a command, in place of the server.
pub(super) fn is_of_rmr(message: &[u8]) -> bool {
    message == b"TRYAGAIN writes are paused, as for a failover"
}

/// Returns a command that a node refuses if it refuses this one for its keys, or for the state that it is in.
pub(super) fn question(command: CommandRef<'_>) -> Command {
    let words: Vec<&[u8]> = command.words().collect();
    let count = words.get(2).and_then(|count| std::str::from_utf8(count).ok()?.parse::<usize>().ok());
    // Commands of modules have their keys elsewhere.
    let is_script = !command.name().contains(&b'.');
    let keys = count.filter(|_| is_script).and_then(|count| words.get(3..)?.get(..count)).unwrap_or_default();
    let exists = Command::new("EXISTS").read_only(true);
    match (keys, command.routing_key()) {
        ([], None) => Command::new("DBSIZE").read_only(true),
        ([], Some(key)) => exists.key(key),
        (keys, _) => keys.iter().copied().fold(exists, Command::key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_asked_for_the_keys_of_a_script() {
        let asked = |line: &str, key: Option<&str>| {
            let command = Command::from_args(line.split(' ')).unwrap();
            let command = key.into_iter().fold(command, Command::routed_by);
            question((&command).into()).to_string()
        };
        assert_eq!(asked("EVAL body 2 a b c", Some("a")), "EXISTS a b");
        assert_eq!(asked("FCALL f 0 a", Some("route")), "EXISTS route");
        assert_eq!(asked("EVAL body 0", None), "DBSIZE");
        assert_eq!(asked("EVAL body 3 a", None), "DBSIZE");
        assert_eq!(asked("MOD.SET a 1 b", Some("a")), "EXISTS a");
    }
}
