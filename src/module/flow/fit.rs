//! Tells the commands that can be run for a key, wherever that is, by what this server says of them, before anything has run.

use crate::command::{Command, CommandRef, CommandSet, printable};
use crate::describe::special;
use crate::engine::check_fit;
use crate::error::Error;
use crate::flow::plan::KeyedCommand;
use crate::flow::slots::slot_of_pattern;
use crate::module::catalog;
use crate::module::server::context::Ctx;
use crate::module::server::user::key_positions;
use crate::topology::{Topology, key_slot};

/// Stands for the key.
const PLACE: &[u8] = b"{}";

/// A command that can be run for a key.
#[derive(Debug, Clone)]
pub(crate) struct FittingCommand {
    /// Marked if it changes nothing.
    pub(crate) command: KeyedCommand,
    /// Keys that it has besides, the same ones each time.
    other_keys: Vec<Vec<u8>>,
}

/// Checks a command by what this server says of it.
///
/// # Errors
/// The error says why it cannot be run for a key.
pub(crate) fn check(ctx: Ctx<'_>, command: &KeyedCommand) -> Result<FittingCommand, Error> {
    let sample = command.for_keys([PLACE]).command(0);
    check_fit(&CommandSet::from(vec![sample.clone()]))?;
    let name = printable(sample.name());
    let words: Vec<&[u8]> = CommandRef::from(&sample).words().collect();
    let Some(description) = catalog::description(ctx, (&sample).into()) else {
        return Err(Error::Invalid(format!("this server knows no command '{}'", shown(&sample))));
    };
    if !description.takes(words.len()) {
        return Err(Error::Invalid(format!(
            "wrong number of arguments for '{}' command, as '{}'",
            description.name,
            shown(&sample)
        )));
    }
    if description.blocks_always() {
        return Err(Error::Refused(format!("'{name}' cannot be run for each key: {}", special::BLOCKING)));
    }
    let key_at = command.key_at as usize;
    let keys = description.keys(&words, || key_positions(ctx, &words));
    if keys.is_empty() {
        return Err(Error::Refused(format!(
            "'{name}' has no key, so it cannot be run for each; RMR.FANOUT and RMR.EXEC send it as it is"
        )));
    }
    if !keys.contains(&key_at) {
        return Err(Error::Invalid(format!(
            "'{}' has its key elsewhere; put {{}} where the key belongs",
            shown(&sample)
        )));
    }
    let other_keys = keys.into_iter().filter(|&at| at != key_at).map(|at| words[at].to_vec()).collect();
    let command = KeyedCommand { is_read_only: description.has_flag("readonly"), ..command.clone() };
    Ok(FittingCommand { command, other_keys })
}

/// Returns the words of a command, as far as one wants to read them.
fn shown(command: &Command) -> String {
    const MOST_WORDS: usize = 6;
    let words: Vec<String> = CommandRef::from(command).words().take(MOST_WORDS).map(printable).collect();
    words.join(" ")
}

impl FittingCommand {
    /// Checks the keys that the command has besides: they must be where each of the keys is.
    ///
    /// # Errors
    /// If they are not.
    pub(crate) fn check_other_keys(&self, topology: &Topology, pattern: &[u8]) -> Result<(), Error> {
        let Some(other) = self.other_keys.first() else { return Ok(()) };
        let servers = topology.data_shards().count();
        let slot_of_all = slot_of_pattern(pattern);
        let are_together = match topology.requires_same_slot() {
            true => self.other_keys.iter().all(|key| slot_of_all == Some(key_slot(key))),
            false => servers == 1,
        };
        if are_together {
            return Ok(());
        }
        let name = printable(self.command.words.first().map_or(&[][..], |name| name));
        Err(Error::CrossSlot(format!(
            "'{name}' has the key '{}' besides, which is not on the shards of all keys that match; a pattern that begins \
             with its tag in braces, as '{{tag}}:*', keeps them together",
            printable(other)
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_keys_must_be_where_all_keys_are() {
        let command = KeyedCommand { words: vec![serde_bytes::ByteBuf::from("COPY")], key_at: 1, is_read_only: false };
        let fitting = |other: &str| FittingCommand { command: command.clone(), other_keys: vec![other.into()] };
        let cluster = Topology::with_slots("test", Vec::new());
        assert!(fitting("{a}2").check_other_keys(&cluster, b"{a}:*").is_ok());
        let error = fitting("b").check_other_keys(&cluster, b"a:*").unwrap_err().to_string();
        assert!(error.starts_with("'COPY' has the key 'b' besides"), "{error}");
        assert!(
            FittingCommand { command: command.clone(), other_keys: vec![] }.check_other_keys(&cluster, b"*").is_ok()
        );
        let hosts =
            |count: u16| Topology::of_nodes("test", (0..count).map(|port| crate::topology::Address::new("h", port)));
        assert!(
            fitting("b").check_other_keys(&hosts(1), b"*").is_ok()
                && fitting("b").check_other_keys(&hosts(2), b"*").is_err()
        );
    }
}
