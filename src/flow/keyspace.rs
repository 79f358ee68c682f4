//! [`Keyspace`]: the keys of the server that a leaf lives in, as far as a flow needs them. The module implements it.
//!
//! One is made for each share: it knows whose rights count and which database is meant.

use std::sync::Arc;

use bytes::Bytes;
use serde_bytes::ByteBuf;

use super::plan::KeyFilter;
use super::records::Records;
use crate::combine::AnyCombine;
use crate::command::PerKey;
use crate::error::Error;
use crate::peer::ReducedShare;
use crate::reply::Reply;
use crate::topology::{BoxFuture, SlotRange, key_slot};

/// The keys of this server, for one share of a flow.
pub(crate) trait Keyspace: Send + Sync {
    /// Begins to read keys. Nothing is read before the source is asked for it.
    fn read(&self, wanted: KeysWanted) -> Box<dyn KeySource>;

    /// Runs a command for each of its keys, in order, in paced turns, with the caller's rights. The replies have the types of
    /// the [protocol](super::plan::FlowPlan::protocol) that the flow's plan names.
    ///
    /// With a reducer its replies are given to it in process; the place of the first one is `first_place`.
    ///
    /// # Errors
    /// The error says why no command has run, if that is about none of them alone; then none has. The errors of single
    /// commands are among the replies.
    fn run(&self, commands: PerKey, reducing: Option<Reducing>) -> BoxFuture<'_, Result<CommandsDone, Error>>;

    /// Tells whether commands have gone wherever their keys are, so that nobody else can do better with those that were
    /// refused.
    fn reaches_all(&self) -> bool {
        false
    }
}

/// The reducer that takes replies on the spot.
#[derive(Clone)]
pub(crate) struct Reducing {
    pub(crate) combine: Arc<dyn AnyCombine>,
    /// The place of the first command in the whole flow.
    pub(crate) first_place: u32,
}

/// The outcome of commands.
pub(crate) enum CommandsDone {
    /// One reply for each key, in order: [`None`] if the key is not served here any more, so that its command has not
    /// run.
    Replies(Vec<Option<Reply>>),
    /// The partial result of the replies, and the numbers of the commands that have not run since their key is not
    /// served here any more.
    Reduced { share: ReducedShare, elsewhere: Vec<u32> },
}

/// Says which keys are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeysWanted {
    /// The slots; [`None`] for the whole database.
    pub(crate) slots: Option<Vec<SlotRange>>,
    pub(crate) filter: KeyFilter,
    /// The names that alone are wanted, as far as they are in the slots; [`None`] for all that the filter lets pass.
    pub(crate) names: Option<NamesWanted>,
    /// The most memory that the source may take, in bytes: names that it holds, and hashes of names that it has shown.
    pub(crate) memory: u64,
}

/// Keys that are wanted by their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamesWanted {
    pub(crate) names: Vec<ByteBuf>,
    /// Names that do not exist are wanted, too; with typed values they have the
    /// [letter](super::values::TypeLetter::Missing) that says so.
    pub(crate) with_missing: bool,
}

impl NamesWanted {
    /// Takes those out that are in other slots.
    pub(crate) fn keep_those_in(&mut self, slots: Option<&[SlotRange]>) {
        let Some(slots) = slots else { return };
        let is_in = |slot: u16| slots.iter().any(|(first, last)| (*first..=*last).contains(&slot));
        self.names.retain(|name| is_in(key_slot(name)));
    }
}

/// Reads keys, a slice at a time.
pub(crate) trait KeySource: Send {
    /// Reads the next slice: `most` keys or a few, or none at the end or while there is nothing to show but progress. No
    /// key is shown twice.
    ///
    /// # Errors
    /// The error says why the keyspace cannot be read.
    fn next(&mut self, most: usize) -> BoxFuture<'_, Result<KeySlice, Error>>;

    /// Returns the memory that the source takes now, in bytes.
    fn memory(&self) -> u64;
}

/// The keys that one turn of reading has found.
#[derive(Debug, Default)]
pub(crate) struct KeySlice {
    /// Keys that exist, pass the filter and may be shown; without values unless the filter wants them.
    pub(crate) records: Records,
    /// The number of slots that have been read since the last slice.
    pub(crate) slots_read: u32,
    /// Slots that were not read, since they were not here or were moving; no key of theirs was shown.
    pub(crate) unread: Vec<u16>,
    /// Slots that changed hands while they were read, each with the hashes ([`key_hash`]) of its keys that were shown.
    pub(crate) unsettled: Vec<(u16, Vec<u128>)>,
    /// Keys that are to be read where they are now, since they have gone to another node before their values were read.
    pub(crate) elsewhere: Records,
    /// The number of keys in the database; 0 if that was not asked.
    pub(crate) keys_in_table: u64,
    /// The number of keys that have been looked at since the last slice, whether they were shown or not.
    pub(crate) keys_read: u64,
    /// There is nothing more to read.
    pub(crate) is_end: bool,
}

/// Returns the memory that names take which wait to be shown, in bytes.
pub(super) fn names_memory(names: &[Bytes]) -> usize {
    names.iter().map(|name| name.len() + size_of::<Bytes>()).sum()
}

/// Returns the hash by which keys are told apart where there is no room for their names.
pub(crate) fn key_hash(key: &[u8]) -> u128 {
    xxhash_rust::xxh3::xxh3_128(key)
}
