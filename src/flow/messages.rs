//! The messages between the coordinator of a flow and its leaves. To [`crate::peer`] these are bytes.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::failures::KeyFailures;
use super::plan::FlowPlan;
use super::records::Records;
use crate::error::Error;
use crate::topology::SlotRange;

/// Asks a shard to run its share of a flow. The answer comes at once: it has begun, or why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunShare {
    /// The id of the execution, and a word that nobody knows but the nodes that have a share: who knows it may hand records to
    /// the shares.
    pub(crate) execution: String,
    /// The id of the node whose share this is.
    pub(crate) node: String,
    pub(crate) plan: FlowPlan,
    /// The slots to read; [`None`] for the whole database.
    pub(crate) slots: Option<Vec<SlotRange>>,
    /// The most records that this shard's reader may give.
    pub(crate) limit: Option<u64>,
    /// The user on whose account it runs; [`None`] if nothing is restricted.
    pub(crate) caller: Option<CallerId>,
    /// The most memory that the share may take, in bytes.
    pub(crate) memory: u64,
    /// The place of the first record.
    pub(crate) first_place: u32,
    /// The nodes that take records between two stages, with their slots. Empty if there is one stage.
    pub(crate) owners: Vec<SlotOwner>,
    /// The id of the node that began the flow, for stages of code that hand on to it.
    pub(crate) coordinator: String,
    /// The stages of code that this share works on. Empty if the flow is of none.
    pub(crate) stages: Vec<u32>,
}

/// A user of the server, who must be the same one on every shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CallerId {
    #[serde(with = "serde_bytes")]
    pub(crate) name: Vec<u8>,
    /// A hash of the rules, without passwords.
    pub(crate) rules: u128,
}

/// A node that takes the records of some slots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SlotOwner {
    /// The id of the node.
    pub(crate) node: String,
    pub(crate) slots: Vec<SlotRange>,
}

/// Asks a leaf for its next report: the leave to send one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NextReport {
    /// The time, in milliseconds, after which the leaf answers with its progress alone.
    pub(crate) wait_ms: u64,
    /// The share is to end soon; the reports after this are the last ones.
    pub(crate) cancels: bool,
    /// The number of stages behind the first one that get no more records: all shards have handed theirs on.
    pub(crate) closed: u32,
}

/// The work of a leaf since its last report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) progress: LeafProgress,
    /// A batch of what it has made; empty if the flow reduces.
    pub(crate) records: Records,
    /// Records whose key was gone to another node before a command had run for it, each batch with the number of the step that
    /// is to be taken.
    pub(crate) elsewhere: Vec<(u32, Records)>,
    pub(crate) failures: KeyFailures,
    /// Errors that code has gone on from.
    pub(crate) errors: Vec<ByteBuf>,
    /// The time that each step of the code has taken, in nanoseconds; empty if nobody wants to know that.
    pub(crate) took: Vec<u64>,
    /// The time that reading has taken since the last report, in nanoseconds, if code reads.
    pub(crate) read: u64,
    /// Slots of which no key was read. These, and those behind them, are whole once the first stage has ended.
    pub(crate) unread: Vec<SlotRange>,
    /// Slots that changed hands meanwhile, each with the hashes of the keys that were read.
    pub(crate) unsettled: Vec<(u16, Vec<u128>)>,
    /// The share is over.
    pub(crate) end: Option<LeafEnd>,
}

/// The time that the steps of code, or some of them, have taken on a node.
#[derive(Debug, Clone)]
pub(crate) struct StepsTook {
    /// The id of the node; [`None`] for the one that we live in.
    pub(crate) node: Option<String>,
    /// Nanoseconds, in the order of the steps.
    pub(crate) steps: Vec<u64>,
    /// Nanoseconds in which records were read.
    pub(crate) read: u64,
}

/// The progress of a leaf since it began.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeafProgress {
    pub(crate) slots_read: u32,
    /// The number of slots that it has to read; 0 without slots.
    pub(crate) slots: u32,
    /// Keys that were looked at.
    pub(crate) keys_read: u64,
    /// Keys that the database has; 0 while that is not known.
    pub(crate) keys_in_table: u64,
    /// Records that went into each stage, and that came out.
    pub(crate) records_in: Vec<u64>,
    pub(crate) records_out: Vec<u64>,
    /// Records that have passed the limit.
    pub(crate) limited: u64,
    /// The number of stages that have handed on all of their records.
    pub(crate) stages_ended: u32,
}

/// The end of a share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum LeafEnd {
    Done {
        /// The partial result of its records, as the reducer encodes it.
        reduced: Option<ByteBuf>,
    },
    Failed(LeafFailure),
}

/// The reason why a share has failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum LeafFailure {
    /// A command was answered with an error, or may have run without anybody knowing how it ended.
    Key {
        #[serde(with = "serde_bytes")]
        key: Vec<u8>,
        #[serde(with = "serde_bytes")]
        error: Vec<u8>,
    },
    /// The share would have taken more memory than it may.
    Memory,
    Cancelled,
    /// The reducer cannot take a reply: what that was.
    Mixed {
        found: String,
    },
    /// The caller may not do this here.
    NoPermission(String),
    /// Another share takes no more records of it, as when that has failed.
    NotTaken,
    Other(String),
}

/// Hands records on to the shard that owns their slots, between two stages. The answer is the leave to send the next batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TakenRecords {
    /// The id of the execution, as [`RunShare`] has it.
    pub(crate) execution: String,
    /// The id of the node that takes them.
    pub(crate) node: String,
    /// The stage that they go into.
    pub(crate) stage: u32,
    /// They go to the share that takes what is gathered, and not to the one that reads the node's own keys.
    pub(crate) is_gathered: bool,
    pub(crate) records: Records,
}

impl RunShare {
    /// Returns how many slots the share has; 0 if it is of a whole database.
    pub(super) fn slot_count(&self) -> u32 {
        self.slots.iter().flatten().map(|(first, last)| u32::from(last.saturating_sub(*first)) + 1).sum()
    }
}

/// Returns a message as it travels.
///
/// # Errors
/// [`Error::Internal`] if it cannot be written.
pub(crate) fn encode(message: &impl Serialize) -> Result<Vec<u8>, Error> {
    postcard::to_stdvec(message).map_err(|error| Error::Internal(format!("a message of a flow: {error}")))
}

/// Reads a message of another node, of which nothing is taken for granted.
///
/// # Errors
/// [`Error::Invalid`] for bytes that are none.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Ok(message),
        _ => Err(Error::Invalid("a message of a flow is malformed".into())),
    }
}
