//! [`StageCode`]: code that works on a whole stage of a flow and keeps state from batch to batch, as a sum or groups. It runs
//! elsewhere: this floor gives it records and takes what comes of them.

use bytes::Bytes;

use super::keyspace::NamesWanted;
use super::plan::{KeyFilter, ValuesRead};
use super::records::Records;
use crate::error::Error;
use crate::topology::BoxFuture;

/// The code of one stage on one shard. It sees its batches in order, and then their end. Dropped before that it is to stop.
pub(crate) trait StageCode: Send {
    /// Takes a batch.
    ///
    /// # Errors
    /// The flow ends in the error that this, and each of the others, returns.
    fn take(&mut self, records: Records) -> BoxFuture<'_, Result<StageOutput, Error>>;

    /// Goes on, as long as the output before said that there is [more](StageOutput::more).
    fn more(&mut self) -> BoxFuture<'_, Result<StageOutput, Error>>;

    /// Hears that nothing more comes.
    fn end(&mut self) -> BoxFuture<'_, Result<StageOutput, Error>>;
}

/// The output of code for the input that it was given.
#[derive(Debug, Default)]
pub(crate) struct StageOutput {
    pub(crate) records: Records,
    /// Errors that it goes on from.
    pub(crate) errors: Vec<Bytes>,
    /// The time that each step has taken so far, in nanoseconds; empty unless that is known and was asked for.
    pub(crate) took: Vec<u64>,
    /// The time that a reader of the code has taken, in nanoseconds, if this is the last output.
    pub(crate) read: u64,
    /// There is more to be had of what it has got.
    pub(crate) more: bool,
    /// The code wants no more input.
    pub(crate) enough: bool,
}

/// The stage of the share that code is opened for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CodeShare {
    /// The id as [`RunShare`](super::messages::RunShare) has it, and behind a space a word that is secret.
    pub(crate) execution: String,
    /// Tells the shares of this process from each other; stages of one share have the same number.
    pub(crate) leaf: u64,
    pub(crate) stage: u32,
    /// The node whose share this is.
    pub(crate) node: String,
    /// The node that it runs on.
    pub(crate) runs_at: String,
    /// The share runs on the node that began the flow, for that node.
    pub(crate) is_initiators: bool,
    /// The share runs here in place of another node, whose keys it works on.
    pub(crate) is_stand_in: bool,
}

/// Code that is being opened.
pub(crate) type OpeningCode = BoxFuture<'static, Result<OpenedCode, Error>>;

/// Code that is open.
pub(crate) struct OpenedCode {
    pub(crate) code: Box<dyn StageCode>,
    /// The keys that the first stage wants to read.
    pub(crate) reads: CodeReads,
    /// Called when the flow is cancelled: the code has a moment to come to an end, and what it says then is the last of it.
    pub(crate) abort: Option<AbortCode>,
}

/// Tells code that it is to end.
pub(crate) type AbortCode = Box<dyn FnOnce() + Send>;

/// The keys that code wants to read for its first stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CodeReads {
    /// Every key that passes the filter.
    Keys(KeyFilter),
    /// Keys of these names, on the shard that has them.
    Names { wanted: NamesWanted, values: ValuesRead },
    /// No keys: the code has records of its own, and makes them at the end.
    Nothing,
}
