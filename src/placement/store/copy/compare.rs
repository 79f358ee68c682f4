//! Comparison of keys at two nodes: types, values and TTLs.
//!
//! Equal payloads are equal values, and most are. Where they differ the values may still be the same: sets and hashes have no order,
//! and two versions of the server write them otherwise. Then, and for large values, both are read in pieces, and all that is kept
//! of an element is a hash of 128 bits.

use std::time::Duration;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::KEYS_AT_ONCE;
use super::carry::{SourceKey, SourceValue, read};
use super::node::DataNode;
use super::value::{Piece, PieceReader, StreamHead, ValueKind};
use crate::command::Command;
use crate::error::Error;
use crate::reply::Reply;

/// The time before and after its end in which a key may be at one node and not at the other: their clocks are not quite the same.
const NEAR_THE_END: Duration = Duration::from_millis(200);

/// A key that is not the same at two nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::placement::store) struct Difference {
    pub(in crate::placement::store) key: Vec<u8>,
    /// The difference, as the rest of a sentence.
    pub(in crate::placement::store) what: &'static str,
}

/// Compares keys at two nodes. Keys that are written meanwhile may differ.
///
/// # Errors
/// Those of the nodes, and [`Error::BadReply`] for a large value of a type that cannot be taken to pieces.
pub(in crate::placement::store) async fn compare<K: AsRef<[u8]>>(
    one: &mut DataNode,
    other: &mut DataNode,
    keys: &[K],
) -> Result<Vec<Difference>, Error> {
    let mut differences = Vec::new();
    for keys in keys.chunks(KEYS_AT_ONCE) {
        let (mut of_one, mut of_other) = tokio::try_join!(read(one, keys), read(other, keys))?;
        for found in [&mut of_one, &mut of_other] {
            found.sort_unstable_by_key(|found| found.key);
            found.dedup_by_key(|found| found.key);
        }
        for (of_one, of_other) in of_one.iter().zip(&of_other) {
            if let Some(what) = differ(one, other, of_one, of_other).await? {
                differences.push(Difference { key: of_one.key.to_vec(), what });
            }
        }
    }
    Ok(differences)
}

async fn differ(
    one: &mut DataNode,
    other: &mut DataNode,
    of_one: &SourceKey<'_>,
    of_other: &SourceKey<'_>,
) -> Result<Option<&'static str>, Error> {
    match (&of_one.value, &of_other.value) {
        (SourceValue::Gone, SourceValue::Gone) => return Ok(None),
        (
            SourceValue::Payload { payload, expires },
            SourceValue::Payload { payload: other_payload, expires: other_expires },
        ) => {
            if expires != other_expires {
                return Ok(Some("expires at another time"));
            }
            if payload == other_payload {
                return Ok(None);
            }
        }
        _ => {}
    }
    let key = of_one.key;
    let (of_one, of_other) = tokio::try_join!(Content::read(one, key), Content::read(other, key))?;
    Ok(match (of_one, of_other) {
        (None, None) => None,
        (Some(content), None) => (!content.is_ending(one).await?).then_some("is not at the other node"),
        (None, Some(content)) => (!content.is_ending(other).await?).then_some("is only at the other node"),
        (Some(content), Some(other)) => content.differs(&other),
    })
}

/// The value of a key, in a form that has no order where the value has none.
struct Content {
    kind: ValueKind,
    digest: u128,
    head: Option<StreamHead>,
    /// -1 for never.
    expires: i64,
}

impl Content {
    async fn read(node: &mut DataNode, key: &[u8]) -> Result<Option<Self>, Error> {
        let Some(mut reader) = PieceReader::open(node, key).await? else { return Ok(None) };
        let mut digest = Digest::of(reader.kind);
        while let Some(piece) = reader.next(node).await? {
            digest.take(&piece);
        }
        let expires = node.call(Command::new("PEXPIRETIME").key(key)).await?.integer().unwrap_or(-2);
        let content = Self { kind: reader.kind, digest: digest.end(), head: reader.head, expires };
        Ok((expires != -2).then_some(content))
    }

    fn differs(&self, other: &Self) -> Option<&'static str> {
        if self.kind != other.kind {
            return Some("is of another type");
        }
        if self.digest != other.digest || self.head != other.head {
            return Some("has another value");
        }
        (self.expires != other.expires).then_some("expires at another time")
    }

    /// Returns whether the key expires about now.
    async fn is_ending(&self, node: &mut DataNode) -> Result<bool, Error> {
        if self.expires < 0 {
            return Ok(false);
        }
        let time = node.call(Command::new("TIME")).await?;
        let part = |place: usize| time.elements().and_then(|parts| parts.get(place)).and_then(Reply::integer);
        let now = part(0).unwrap_or_default() * 1000 + part(1).unwrap_or_default() / 1000;
        Ok(self.expires.saturating_sub(now) < NEAR_THE_END.as_millis() as i64)
    }
}

/// The digest of the pieces of a value.
enum Digest {
    /// The order counts, and how a value falls into pieces does not.
    Ordered(Box<Xxh3>),
    /// The order does not count; an element may come twice.
    Unordered(Vec<u128>),
}

impl Digest {
    fn of(kind: ValueKind) -> Self {
        if kind.is_ordered() { Self::Ordered(Box::default()) } else { Self::Unordered(Vec::new()) }
    }

    fn take(&mut self, piece: &Piece) {
        let mut buffer = Vec::new();
        match piece {
            Piece::Text(text) => self.bytes(text),
            Piece::Elements(elements) => elements.iter().for_each(|element| self.element(&mut buffer, &[element])),
            Piece::Scores(scores) => {
                // Two versions may write the same number in two ways.
                let bits = |score: &[u8]| std::str::from_utf8(score).ok()?.parse::<f64>().ok().map(f64::to_bits);
                for (member, score) in scores {
                    let bits = bits(score).map(u64::to_be_bytes);
                    self.element(&mut buffer, &[member, bits.as_ref().map_or(score, |bits| bits)]);
                }
            }
            Piece::Fields(fields) => {
                for field in fields {
                    let expires = field.expires.unwrap_or(-1).to_be_bytes();
                    self.element(&mut buffer, &[&field.name, &field.value, &expires]);
                }
            }
            Piece::Entries(entries) => {
                for entry in entries {
                    let id = [entry.id.0.to_be_bytes(), entry.id.1.to_be_bytes()].concat();
                    let words = entry.words.iter().map(|word| &word[..]);
                    self.element(&mut buffer, &std::iter::once(&id[..]).chain(words).collect::<Vec<_>>());
                }
            }
        }
    }

    /// Takes an element of several parts, so that no other parts look the same.
    fn element(&mut self, buffer: &mut Vec<u8>, parts: &[&[u8]]) {
        buffer.clear();
        for part in parts {
            buffer.extend((part.len() as u64).to_be_bytes());
            buffer.extend_from_slice(part);
        }
        buffer.extend((parts.len() as u64).to_be_bytes());
        self.bytes(buffer);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        match self {
            Self::Ordered(hash) => hash.update(bytes),
            Self::Unordered(hashes) => hashes.push(xxh3_128(bytes)),
        }
    }

    fn end(self) -> u128 {
        match self {
            Self::Ordered(hash) => hash.digest128(),
            Self::Unordered(mut hashes) => {
                hashes.sort_unstable();
                hashes.dedup();
                let mut all = Xxh3::new();
                hashes.iter().for_each(|hash| all.update(&hash.to_be_bytes()));
                all.digest128()
            }
        }
    }
}
