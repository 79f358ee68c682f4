//! Values in pieces, by type: read one after the other at a node, and written at another.

mod read;
mod stream;
mod write;

pub(super) use read::PieceReader;
pub(super) use stream::StreamHead;
pub(super) use write::put_together;

use bytes::Bytes;

use crate::command::integer;
use crate::reply::Reply;

/// The types of values that can be taken to pieces: all that a server has without modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueKind {
    Text,
    List,
    Set,
    SortedSet,
    Hash,
    Stream,
}

impl ValueKind {
    /// Returns what `TYPE` means.
    fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"string" => Self::Text,
            b"list" => Self::List,
            b"set" => Self::Set,
            b"zset" => Self::SortedSet,
            b"hash" => Self::Hash,
            b"stream" => Self::Stream,
            _ => return None,
        })
    }

    /// Returns whether pieces of such values come in an order that is part of the value. Those of others may come in any order,
    /// and some of their elements twice.
    pub(super) fn is_ordered(self) -> bool {
        matches!(self, Self::Text | Self::List | Self::Stream)
    }
}

/// A part of a value.
#[derive(Debug)]
pub(super) enum Piece {
    /// Some bytes of a string.
    Text(Bytes),
    /// Elements of a list, or members of a set.
    Elements(Vec<Bytes>),
    /// Members of a sorted set, each with its score.
    Scores(Vec<(Bytes, Bytes)>),
    /// Fields of a hash.
    Fields(Vec<Field>),
    /// Entries of a stream.
    Entries(Vec<CarriedEntry>),
}

/// A field of a hash.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: Bytes,
    pub(super) value: Bytes,
    /// The time at which the key expires, in milliseconds since 1970.
    pub(super) expires: Option<i64>,
}

/// An entry of a stream.
#[derive(Debug)]
pub(super) struct CarriedEntry {
    pub(super) id: Id,
    /// Names and values by turns.
    pub(super) words: Vec<Bytes>,
}

/// The id of an entry of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Id(pub(super) u64, pub(super) u64);

impl Id {
    fn parse(text: &[u8]) -> Option<Self> {
        let (time, sequence) = std::str::from_utf8(text).ok()?.split_once('-')?;
        Some(Self(time.parse().ok()?, sequence.parse().ok()?))
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

/// Returns the number that a reply is or says.
fn number(reply: Option<&Reply>) -> Option<u64> {
    match reply? {
        Reply::Integer(number) => u64::try_from(*number).ok(),
        other => u64::try_from(integer(other.bytes()?)?).ok(),
    }
}
