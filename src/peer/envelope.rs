//! The envelope of every inner command, whatever it asks for: an id, how long somebody waits for the answer and how long that may
//! be, and the kind of the request with what belongs to it.
//!
//! It travels as a byte for the version and this struct in the [postcard] format. The parts of a share to be reduced are
//! read where they lie; those of flows and jobs are bytes here, which the floors above read. All of it comes from another
//! node, so that nothing is taken for granted: bytes that are not well-formed are an error.
//!
//! [postcard]: https://postcard.jamesmunns.com/

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::VERSION;
use super::reduce::ReduceRequest;
use crate::command::Command;
use crate::reply::Reply;
use crate::resp::Protocol;

/// An inner command as it travels.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Envelope<'a> {
    /// The id by which the command can be given up, from another connection. Questions about a share of a flow carry
    /// the id with which the share began.
    pub(crate) id: u64,
    time_left_ms: u64,
    reply_bytes: u64,
    is_resp3: bool,
    #[serde(borrow)]
    pub(crate) kind: Kind<'a>,
}

/// The request that an inner command makes. The order of the kinds is part of the format.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind<'a> {
    /// The node's share of a map or a fan-out, to be reduced there.
    #[serde(borrow)]
    Reduce(ReduceRequest<'a>),
    /// The node's share of a flow is to begin. Answered at once.
    #[serde(borrow)]
    RunFlow(&'a serde_bytes::Bytes),
    /// The next report of the share that began with this id; the leave to send one.
    #[serde(borrow)]
    NextReport(&'a serde_bytes::Bytes),
    /// Records of a flow for the shard that owns their keys.
    #[serde(borrow)]
    TakeRecords(&'a serde_bytes::Bytes),
    /// About the node's executions of flows.
    #[serde(borrow)]
    Jobs(&'a serde_bytes::Bytes),
    /// Gives up the command with this id: nobody waits for its answer any more.
    GiveUp,
    /// About the node's part in functions of RedisGears.
    #[serde(borrow)]
    Gears(&'a serde_bytes::Bytes),
    /// Asks for the events of the node's keys.
    #[serde(borrow)]
    Events(&'a serde_bytes::Bytes),
}

/// The reason why bytes are no inner command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the request has version {0}, this node has {VERSION}")]
    Version(u8),
    #[error("the request is malformed: {0}")]
    Format(&'static str),
}

impl Malformed {
    /// Returns the reply to such bytes: an error, as other versions read no answers of this one.
    pub(crate) fn to_reply(&self) -> Reply {
        Reply::Error(format!("RMRDECLINED {self}").into())
    }
}

impl<'a> Envelope<'a> {
    /// Makes an inner command whose answer, in this protocol's types, may take so many bytes and is waited for this long.
    pub(crate) fn new(id: u64, time_left: Duration, reply_bytes: usize, protocol: Protocol, kind: Kind<'a>) -> Self {
        let time_left_ms = time_left.as_millis().try_into().unwrap_or(u64::MAX);
        Self { id, time_left_ms, reply_bytes: reply_bytes as u64, is_resp3: protocol == Protocol::Resp3, kind }
    }

    /// Tells a node that nobody waits any more for the answer to the request of this id.
    pub(crate) fn give_up(id: u64) -> Self {
        Self::new(id, Duration::ZERO, 0, Protocol::default(), Kind::GiveUp)
    }

    /// Returns the bytes that travel.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_extend(self, vec![VERSION])
    }

    /// Returns the command that is sent to a node whose inner command has this name.
    pub(crate) fn command(&self, inner_command: &str) -> Result<Command, postcard::Error> {
        Ok(Command::new(inner_command).arg(self.encode()?))
    }

    /// Reads what another node has sent.
    ///
    /// # Errors
    /// The error says what is wrong with it.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let Some((&version, rest)) = bytes.split_first() else { return Err(Malformed::Format("it is empty")) };
        if version != VERSION {
            return Err(Malformed::Version(version));
        }
        let (envelope, rest): (Self, _) =
            postcard::take_from_bytes(rest).map_err(|_| Malformed::Format("it is damaged"))?;
        if !rest.is_empty() {
            return Err(Malformed::Format("there is more than the request"));
        }
        if let Kind::Reduce(request) = &envelope.kind {
            request.check().map_err(Malformed::Format)?;
        }
        Ok(envelope)
    }

    /// Returns for how long the answer is waited for.
    pub(crate) fn time_left(&self) -> Duration {
        Duration::from_millis(self.time_left_ms)
    }

    /// Returns the most memory that replies may take on the way, in bytes.
    pub(crate) fn reply_bytes(&self) -> usize {
        usize::try_from(self.reply_bytes).unwrap_or(usize::MAX)
    }

    /// Returns the protocol whose types replies have.
    pub(crate) fn protocol(&self) -> Protocol {
        if self.is_resp3 { Protocol::Resp3 } else { Protocol::Resp2 }
    }
}
