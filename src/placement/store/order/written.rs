//! [`WriteCounts`]: how often keys were written, for clients that watch them (`WATCH`); [`WatchedSlot`]: what such a client is told.
//!
//! The proxy that orders a slot counts its writes by a hash of each word, and a client gets the counts of its keys. `EXEC` brings
//! them back: the transaction runs if they are still the same, while nobody else writes to the slot. So nothing is kept of who watches,
//! and nothing has to be forgotten. Two keys may share a count, and a slot may have been elsewhere meanwhile: then a transaction may
//! end that need not, and the client tries again, as it has to be able to.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::command::Command;
use crate::peer::UNLESS_WRITTEN;
use crate::reply::Reply;

/// The number of counts: half a megabyte.
const COUNTS: usize = 1 << 16;

/// The commands that may write to keys which none of their words tells.
const SCRIPTS: [&[u8]; 3] = [b"EVAL", b"EVALSHA", b"FCALL"];

/// The counts of writes, by key. There are none before somebody watches a key.
#[derive(Default)]
pub(super) struct WriteCounts {
    counts: OnceLock<Box<[AtomicU64]>>,
    /// Counts what may have written to any key.
    all: AtomicU64,
}

impl WriteCounts {
    /// Counts commands that are about to write to a slot.
    pub(super) fn are_to_run(&self, slot: u16, commands: &[Command]) {
        let Some(counts) = self.counts.get() else { return };
        for command in commands {
            if SCRIPTS.iter().any(|name| name.eq_ignore_ascii_case(command.name())) {
                counts[place_of_slot(slot)].fetch_add(1, Ordering::SeqCst);
            }
            // Every word may be a key: too many do no harm.
            for word in command.args() {
                counts[place_of(word)].fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    /// Takes keys for written.
    pub(super) fn are_written(&self, keys: &[Bytes]) {
        let Some(counts) = self.counts.get() else { return };
        for key in keys {
            counts[place_of(key)].fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Takes all keys for written.
    pub(super) fn all_are_written(&self) {
        self.all.fetch_add(1, Ordering::SeqCst);
    }

    fn counts(&self) -> &[AtomicU64] {
        self.counts.get_or_init(|| std::iter::repeat_with(AtomicU64::default).take(COUNTS).collect())
    }

    pub(super) fn of(&self, key: &[u8]) -> u64 {
        self.counts()[place_of(key)].load(Ordering::SeqCst)
    }

    /// Returns the count for all keys, and the one for what scripts write in a slot.
    pub(super) fn common(&self, slot: u16) -> [u64; 2] {
        [self.all.load(Ordering::SeqCst), self.counts()[place_of_slot(slot)].load(Ordering::SeqCst)]
    }
}

fn place_of(key: &[u8]) -> usize {
    xxh3_64(key) as usize % COUNTS
}

fn place_of_slot(slot: u16) -> usize {
    place_of(&[b"slot", &slot.to_be_bytes()[..]].concat())
}

/// Keys as they were when a client began to watch them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WatchedSlot {
    /// The proxy that has counted.
    pub(super) proxy: String,
    pub(super) common: [u64; 2],
    /// Each key with its count, and whether it was to expire.
    pub(super) keys: Vec<(Bytes, u64, bool)>,
}

impl WatchedSlot {
    /// Takes those off the front of a step that say what it depends on.
    ///
    /// # Errors
    /// If one cannot be read.
    pub(super) fn take(commands: &mut Vec<Command>) -> Result<Vec<Self>, Bytes> {
        let is_one = |command: &Command| command.name() == UNLESS_WRITTEN.as_bytes();
        let count = commands.iter().take_while(|command| is_one(command)).count();
        let read = |command: Command| Self::read(command.args()).ok_or_else(|| "ERR odd watched keys".into());
        commands.drain(..count).map(read).collect()
    }

    fn read<'w>(mut words: impl Iterator<Item = &'w [u8]>) -> Option<Self> {
        let number = |word: &[u8]| std::str::from_utf8(word).ok()?.parse().ok();
        let proxy = String::from_utf8(words.next()?.to_vec()).ok()?;
        let common = [number(words.next()?)?, number(words.next()?)?];
        let mut keys = Vec::new();
        while let Some(key) = words.next() {
            keys.push((Bytes::copy_from_slice(key), number(words.next()?)?, words.next()? == b"expires"));
        }
        Some(Self { proxy, common, keys })
    }

    /// Returns the words of which a client makes what it brings back.
    pub(super) fn reply(&self) -> Reply {
        let [all, scripts] = self.common.map(|count| Reply::from(count.to_string()));
        let mut words = vec![Reply::from(self.proxy.as_str()), all, scripts];
        for (key, count, expires) in &self.keys {
            words.push(Reply::Bulk(key.clone()));
            words.push(Reply::from(count.to_string()));
            words.push(Reply::from(if *expires { "expires" } else { "stays" }));
        }
        Reply::Array(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_counted_once_somebody_watches() {
        let written = WriteCounts::default();
        let set = [Command::new("SET").arg("key").arg("v")];
        written.are_to_run(3, &set);
        assert_eq!((written.of(b"key"), written.common(3)), (0, [0, 0]));
        written.are_to_run(3, &set);
        assert_eq!((written.of(b"key"), written.of(b"other"), written.common(3)), (1, 0, [0, 0]));
        written.are_to_run(3, &[Command::new("eval").arg("return 1").arg(0)]);
        assert_eq!((written.common(3), written.common(4)), ([0, 1], [0, 0]));
        written.all_are_written();
        assert_eq!(written.common(4), [1, 0]);
    }

    #[test]
    fn what_a_client_brings_back_is_what_it_got() {
        let keys = vec![("a b".into(), 7, true), ("\r\n".into(), 0, false)];
        let watched = WatchedSlot { proxy: "127.0.0.1:1/x".into(), common: [1, 2], keys };
        let words = watched.reply();
        let words = words.elements().unwrap().iter().filter_map(Reply::bytes);
        let brought = words.fold(Command::new(UNLESS_WRITTEN), |command, word| command.arg(word));
        let mut commands = vec![brought, Command::new("MULTI"), Command::new("EXEC")];
        assert_eq!(WatchedSlot::take(&mut commands), Ok(vec![watched]));
        assert_eq!(commands, [Command::new("MULTI"), Command::new("EXEC")]);
        assert!(WatchedSlot::take(&mut vec![Command::new(UNLESS_WRITTEN).arg("a")]).is_err());
    }
}
