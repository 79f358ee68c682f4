//! The two things that travel over a link: a batch of commands one way, its delivery the other.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::budget::Budget;
use super::own_slots::SlotsAround;
use crate::command::{CommandRef, CommandSet};
use crate::describe::special::may_run_code;
use crate::peer::{ReducedShare, Reduction};
use crate::reply::Reply;
use crate::resp::Protocol;

/// Says which copy of a key is read, where keys have several that all writes go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadFrom {
    /// Any: never older than the last write that was acknowledged before the read began.
    #[default]
    AnyCopy,
    /// The first one, alone.
    FirstCopy,
    /// The first one, in one order with the writes: all clients see the same history of a key.
    Ordered,
}

/// The commands that one request has for one node; they travel in one write.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Batch {
    /// The commands of the whole request.
    pub commands: Arc<CommandSet>,
    /// The places of the commands for this node, in the order in which they run.
    pub picks: Vec<u32>,
    /// Says how the node is asked.
    pub mode: Mode,
    /// The protocol whose types the replies are to have.
    pub protocol: Protocol,
    /// The database to run in, for the node that we live in. Connections are in that of their endpoint.
    pub database: i32,
    /// The client of the server that we live in for which the commands run, by its id there.
    pub caller: Option<u64>,
    /// The bytes of replies that the request may still take.
    pub budget: Arc<Budget>,
    /// The reduction of the replies, if the node itself may reduce them. A link whose node cannot reduce returns the
    /// replies.
    pub reduction: Option<Reduction>,
    /// Says which copy of a key reads are of, where keys have several.
    pub reads: ReadFrom,
    /// The node is to say for which slots its answers hold.
    pub asks_own_slots: bool,
    /// Counts the deliveries of other nodes to the same request that are still to come. It is set if the task that
    /// waits looks at the delivery of this batch whenever one of those arrives: until the last of them, this delivery
    /// need wake nobody.
    #[cfg_attr(not(feature = "module"), expect(dead_code, reason = "only a server wakes nobody for its own share"))]
    pub(crate) others: Option<Arc<AtomicUsize>>,
}

impl Batch {
    /// Makes a batch of the picked ones of these commands, whose replies the budget pays for: in the mode
    /// [`Plain`](Mode::Plain), in RESP3 and database 0, nothing to be reduced, and slots not asked for.
    pub fn new(commands: Arc<CommandSet>, picks: Vec<u32>, budget: Arc<Budget>) -> Self {
        Self {
            commands,
            picks,
            mode: Mode::default(),
            protocol: Protocol::default(),
            database: 0,
            caller: None,
            budget,
            reduction: None,
            reads: ReadFrom::default(),
            asks_own_slots: false,
            others: None,
        }
    }

    /// Returns the commands for this node, in order.
    pub fn picked(&self) -> impl ExactSizeIterator<Item = CommandRef<'_>> {
        self.picks.iter().map(|&pick| self.commands.at(pick as usize))
    }

    /// Tells whether one of the commands may run code of others.
    pub(super) fn may_run_code(&self) -> bool {
        match &*self.commands {
            // All have one name.
            CommandSet::PerKey(_) => self.picked().next().is_some_and(may_run_code),
            CommandSet::Each(_) => self.picked().any(may_run_code),
        }
    }
}

/// Says which words a connection must be told around a batch. The words go with the batch in one write and are taken
/// back at its end, so that requests that share the connection do not see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Mode {
    /// No words.
    #[default]
    Plain,
    /// Each command is preceded by `ASKING`, as an `ASK` redirect demands.
    Asking,
    /// A replica may answer for the keys of its primary: `READONLY` before, `READWRITE` after.
    Replica,
}

/// The answer of a node to a batch: the replies to its first commands, and the reason why the rest has none.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Delivery {
    /// One reply for each command that was answered, in order. There are fewer than commands only with a failure.
    pub replies: Vec<Reply>,
    /// The reason why the rest was not answered.
    pub failure: Option<Failure>,
    /// The node's reduced share, in place of all replies.
    pub partial: Option<ReducedShare>,
    /// The slots that the node has named as its own before and after its answers, if the batch
    /// [asked](Batch::asks_own_slots) and the node could answer that.
    pub own_slots: Option<SlotsAround>,
}

impl Delivery {
    /// Delivers a reply to each command of the batch.
    pub fn of(replies: Vec<Reply>) -> Self {
        Self { replies, ..Self::default() }
    }

    /// Delivers nothing but a failure.
    pub fn failed(failure: Failure) -> Self {
        Self { failure: Some(failure), ..Self::default() }
    }

    /// Delivers what the node has reduced its share to.
    pub fn reduced(share: ReducedShare) -> Self {
        Self { partial: Some(share), ..Self::default() }
    }
}

/// The reason why a node did not answer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Failure {
    /// The node could not be reached, or refused us at the handshake; nothing was sent.
    Unreachable(String),
    /// The connection broke after the commands had left, wholly or in part.
    Lost(String),
    /// The replies grew past the request's budget.
    TooBig,
    /// The node does not reduce, or not now; nothing has run.
    Declined,
    /// All commands were answered, but the node has not said for which slots, for this reason.
    OwnSlotsUnknown(String),
}
