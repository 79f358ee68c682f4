//! [`Registration`]: a function that waits for events, as it is kept and sent to other nodes.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::flow::plan::Passage;
use crate::module::gears::shown::ShownStep;

/// A function that waits for events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::module::gears) struct Registration {
    /// The id by which clients know it.
    pub(in crate::module::gears) id: String,
    /// The session's name between nodes.
    pub(in crate::module::gears) session: String,
    /// The ACL user on whose account it runs.
    pub(in crate::module::gears) user: String,
    pub(in crate::module::gears) description: Option<String>,
    pub(in crate::module::gears) mode: RegistrationMode,
    pub(in crate::module::gears) reader: EventReader,
    pub(in crate::module::gears) flow: RegisteredFlow,
    /// The packages that the session requires.
    pub(in crate::module::gears) requirements: Vec<String>,
    /// The version of the interpreter that has made it, such as `3.11`.
    pub(in crate::module::gears) python: String,
}

/// Says where and when the function runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::module::gears) enum RegistrationMode {
    /// The function runs after the event, on all shards.
    Async,
    /// The function runs after the event, on the shard of the event.
    AsyncLocal,
    /// The function runs with the event: the server waits for it.
    Sync,
}

/// Says which events a function waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::module::gears) enum EventReader {
    /// Events of keys.
    Keys(KeyEvents),
    /// Entries of streams.
    Stream(StreamEvents),
    /// Calls of a name, or of a command.
    Command(CommandEvents),
}

/// Says which events of keys are wanted. Lists are [`None`] for all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::module::gears) struct KeyEvents {
    /// A key, or with `*` at its end the beginning of keys.
    pub(in crate::module::gears) prefix: ByteBuf,
    pub(in crate::module::gears) event_types: Option<Vec<String>>,
    pub(in crate::module::gears) key_types: Option<Vec<String>>,
    pub(in crate::module::gears) read_value: bool,
    /// Commands whose clients wait for the function.
    pub(in crate::module::gears) commands: Option<Vec<String>>,
}

/// Says which streams are read, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::module::gears) struct StreamEvents {
    /// A key, or with `*` at its end the beginning of keys.
    pub(in crate::module::gears) prefix: ByteBuf,
    pub(in crate::module::gears) batch: u64,
    /// The time, in milliseconds, that the first entry waits for a full batch; 0 for as long as it takes.
    pub(in crate::module::gears) duration_ms: u64,
    pub(in crate::module::gears) on_failed: OnFailed,
    pub(in crate::module::gears) retry_interval_s: u64,
    /// Entries that were worked on go.
    pub(in crate::module::gears) trim: bool,
    /// The consumer group through which it reads.
    pub(in crate::module::gears) group: String,
}

/// The consumer group of a registration that shares its streams with no other, as RedisGears calls that of all.
pub(super) const GROUP: &str = "__gears_consumer_group__";

impl StreamEvents {
    /// Takes a group that none of the others has with which it shares streams: they would share out the entries. A
    /// registration that takes the place of another goes on where that was.
    pub(in crate::module::gears) fn choose_group<'a>(&mut self, others: impl Iterator<Item = &'a Self>) {
        let taken: Vec<&str> =
            others.filter(|other| overlap(&other.prefix, &self.prefix)).map(|other| other.group.as_str()).collect();
        let numbered = (1_u32..).map(|number| format!("{GROUP}:{number}"));
        let names = std::iter::once(GROUP.to_owned()).chain(numbered);
        self.group = names.into_iter().find(|name| !taken.contains(&name.as_str())).unwrap_or_default();
    }
}

/// Tells whether some key may be of both: a key, or with `*` at its end the beginning of keys.
fn overlap(one: &[u8], other: &[u8]) -> bool {
    match (one.split_last(), other.split_last()) {
        (Some((b'*', one)), Some((b'*', other))) => one.starts_with(other) || other.starts_with(one),
        (Some((b'*', _)), _) => is_of_prefix(one, other),
        _ => is_of_prefix(other, one),
    }
}

/// Tells whether a key is meant: a key, or with `*` at its end the beginning of keys.
pub(in crate::module::gears) fn is_of_prefix(prefix: &[u8], key: &[u8]) -> bool {
    match prefix.split_last() {
        Some((b'*', prefix)) => key.starts_with(prefix),
        _ => key == prefix,
    }
}

/// Says what is done when a batch has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::module::gears) enum OnFailed {
    Continue,
    Abort,
    Retry,
}

/// Says which calls are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::module::gears) struct CommandEvents {
    pub(in crate::module::gears) trigger: Option<String>,
    /// A command that it stands before.
    pub(in crate::module::gears) hook: Option<String>,
    /// The beginning of the keys of that command.
    pub(in crate::module::gears) key_prefix: Option<ByteBuf>,
    pub(in crate::module::gears) in_order: bool,
}

impl CommandEvents {
    /// Returns what one of the command's keys has to begin with, if that matters: a star is for all.
    pub(in crate::module::gears) fn prefix(&self) -> Option<&[u8]> {
        self.key_prefix.as_deref().map(|prefix| &prefix[..]).filter(|prefix| !prefix.starts_with(b"*"))
    }
}

/// The parts of the function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::module::gears) struct RegisteredFlow {
    /// The key by which workers know it.
    pub(in crate::module::gears) key: String,
    /// The bytes of which a new worker makes it.
    pub(in crate::module::gears) blob: ByteBuf,
    pub(in crate::module::gears) passages: Vec<Passage>,
    pub(in crate::module::gears) steps: Vec<ShownStep>,
}

impl EventReader {
    /// Returns the name that scripts and clients know.
    pub(in crate::module::gears) fn name(&self) -> &'static str {
        match self {
            Self::Keys(_) => "KeysReader",
            Self::Stream(_) => "StreamReader",
            Self::Command(_) => "CommandReader",
        }
    }

    /// Returns how streams are read, if any are.
    pub(in crate::module::gears) fn streams(&self) -> Option<&StreamEvents> {
        match self {
            Self::Stream(wanted) => Some(wanted),
            Self::Keys(_) | Self::Command(_) => None,
        }
    }

    /// Returns the command that it stands before, if there is one.
    pub(in crate::module::gears) fn hook(&self) -> Option<&str> {
        match self {
            Self::Command(wanted) => wanted.hook.as_deref(),
            Self::Keys(_) | Self::Stream(_) => None,
        }
    }

    /// Returns the name by which `RG.TRIGGER` calls it.
    pub(in crate::module::gears) fn trigger(&self) -> Option<&str> {
        match self {
            Self::Command(wanted) => wanted.trigger.as_deref(),
            Self::Keys(_) | Self::Stream(_) => None,
        }
    }
}

impl RegistrationMode {
    /// Returns the word that scripts and clients know.
    pub(in crate::module::gears) fn word(self) -> &'static str {
        match self {
            Self::Async => "async",
            Self::AsyncLocal => "async_local",
            Self::Sync => "sync",
        }
    }
}

impl OnFailed {
    /// Returns the word that scripts and clients know.
    pub(in crate::module::gears) fn word(self) -> &'static str {
        match self {
            Self::Continue => "continue",
            Self::Abort => "abort",
            Self::Retry => "retry",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streams(prefix: &str) -> StreamEvents {
        StreamEvents {
            prefix: ByteBuf::from(prefix),
            batch: 1,
            duration_ms: 0,
            on_failed: OnFailed::Continue,
            retry_interval_s: 1,
            trim: true,
            group: GROUP.to_owned(),
        }
    }

    #[test]
    fn registrations_that_share_streams_have_groups_of_their_own() {
        let chosen = |prefix: &str, others: &[StreamEvents]| {
            let mut new = streams(prefix);
            new.choose_group(others.iter());
            new
        };
        let first = chosen("s:*", &[]);
        assert_eq!(first.group, GROUP);
        let second = chosen("s:1*", std::slice::from_ref(&first));
        assert_eq!(second.group, format!("{GROUP}:1"));
        let others = [first, second];
        for (prefix, group) in [("s:1", ":2"), ("*", ":2"), ("t:*", ""), ("s:2", ":1"), ("s", "")] {
            assert_eq!(chosen(prefix, &others).group, format!("{GROUP}{group}"), "{prefix}");
        }
    }

    #[test]
    fn a_star_at_the_end_means_what_begins_so() {
        for (prefix, key, is_meant) in [("a*", "ab", true), ("a*", "b", false), ("a", "ab", false), ("*", "", true)] {
            assert_eq!(is_of_prefix(prefix.as_bytes(), key.as_bytes()), is_meant, "{prefix} {key}");
        }
    }
}
