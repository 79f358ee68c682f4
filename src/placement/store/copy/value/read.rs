//! [`PieceReader`]: a value, piece by piece.

use bytes::Bytes;

use super::stream::StreamHead;
use super::{CarriedEntry, Field, Id, Piece, ValueKind};
use crate::command::Command;
use crate::error::Error;
use crate::placement::store::copy::node::DataNode;
use crate::placement::store::copy::{PIECE, scan};
use crate::reply::Reply;

/// The most elements that a piece has.
const MOST_ELEMENTS: usize = 1000;

/// Reads the value of a key in pieces. Nobody may write to it meanwhile.
pub(in super::super) struct PieceReader {
    key: Vec<u8>,
    pub(in super::super) kind: ValueKind,
    /// The number of elements that make a piece.
    count: usize,
    place: ReadPlace,
    /// The counters and groups of a stream.
    pub(in super::super) head: Option<StreamHead>,
}

/// The place up to which the value has been read.
enum ReadPlace {
    Before(usize),
    Cursor(Vec<u8>),
    UpTo(Id),
    End,
}

impl PieceReader {
    /// Looks at a key. Returns `None` if the node has no such key.
    ///
    /// # Errors
    /// Those of the node, and [`Error::BadReply`] for a type that cannot be taken to pieces.
    pub(in super::super) async fn open(node: &mut DataNode, key: &[u8]) -> Result<Option<Self>, Error> {
        let [kind, usage] = [Command::new("TYPE").key(key), Command::new("MEMORY").arg("USAGE").key(key)];
        let replies = node.call_all(&[kind, usage]).await?;
        let kind = match replies[0].bytes().unwrap_or_default() {
            b"none" => return Ok(None),
            name => ValueKind::named(name).ok_or_else(|| {
                let (kind, key) = (String::from_utf8_lossy(name), crate::command::printable(key));
                node.odd(&format!("has a value of the type {kind} at {key}, which cannot be carried in pieces"))
            })?,
        };
        let length = match kind {
            ValueKind::Text => "STRLEN",
            ValueKind::List => "LLEN",
            ValueKind::Set => "SCARD",
            ValueKind::SortedSet => "ZCARD",
            ValueKind::Hash => "HLEN",
            ValueKind::Stream => "XLEN",
        };
        let length = node.call(Command::new(length).key(key)).await?.integer().unwrap_or_default().unsigned_abs();
        let usage = replies[1].integer().unwrap_or_default().unsigned_abs();
        let of_each = (usage / length.max(1)).max(1);
        let count = usize::try_from(PIECE as u64 / of_each).unwrap_or(MOST_ELEMENTS).clamp(1, MOST_ELEMENTS);
        let head = if kind == ValueKind::Stream { Some(StreamHead::read(node, key).await?) } else { None };
        let place = match kind {
            ValueKind::Text | ValueKind::List => ReadPlace::Before(0),
            ValueKind::Stream => ReadPlace::UpTo(Id::default()),
            _ => ReadPlace::Cursor(b"0".to_vec()),
        };
        Ok(Some(Self { key: key.to_vec(), kind, count, place, head }))
    }

    /// Returns the next piece, or `None` behind the last one.
    ///
    /// # Errors
    /// Those of the node.
    pub(in super::super) async fn next(&mut self, node: &mut DataNode) -> Result<Option<Piece>, Error> {
        match std::mem::replace(&mut self.place, ReadPlace::End) {
            ReadPlace::End => Ok(None),
            ReadPlace::Before(from) if self.kind == ValueKind::Text => self.text(node, from).await.map(Some),
            ReadPlace::Before(from) => self.elements(node, from).await.map(Some),
            ReadPlace::UpTo(id) => self.entries(node, id).await.map(Some),
            ReadPlace::Cursor(cursor) => self.scanned(node, &cursor).await.map(Some),
        }
    }

    async fn text(&mut self, node: &mut DataNode, from: usize) -> Result<Piece, Error> {
        let range = Command::new("GETRANGE").key(&self.key).arg(from).arg(from + PIECE - 1);
        let text = node.call(range).await?.into_bytes().unwrap_or_default();
        if text.len() == PIECE {
            self.place = ReadPlace::Before(from + PIECE);
        }
        Ok(Piece::Text(text))
    }

    async fn elements(&mut self, node: &mut DataNode, from: usize) -> Result<Piece, Error> {
        let range = Command::new("LRANGE").key(&self.key).arg(from).arg(from + self.count - 1);
        let elements = texts(node.call(range).await?.into_elements().unwrap_or_default());
        if elements.len() == self.count {
            self.place = ReadPlace::Before(from + self.count);
        }
        Ok(Piece::Elements(elements))
    }

    async fn entries(&mut self, node: &mut DataNode, after: Id) -> Result<Piece, Error> {
        let range = Command::new("XRANGE").key(&self.key).arg(format!("({after}")).arg("+");
        // 0-0 is the id of no entry.
        let replies = node.call(range.arg("COUNT").arg(self.count)).await?.into_elements().unwrap_or_default();
        let entry = |reply: Reply| {
            let mut parts = reply.into_elements()?.into_iter();
            let id = Id::parse(parts.next()?.bytes()?)?;
            Some(CarriedEntry { id, words: texts(parts.next()?.into_elements()?) })
        };
        let (asked, entries) = (replies.len(), replies.into_iter().filter_map(entry).collect::<Vec<_>>());
        match entries.last() {
            _ if entries.len() < asked => return Err(node.odd("answers XRANGE with something else than entries")),
            Some(last) if asked == self.count => self.place = ReadPlace::UpTo(last.id),
            _ => {}
        }
        Ok(Piece::Entries(entries))
    }

    async fn scanned(&mut self, node: &mut DataNode, cursor: &[u8]) -> Result<Piece, Error> {
        let name = match self.kind {
            ValueKind::Set => "SSCAN",
            ValueKind::SortedSet => "ZSCAN",
            _ => "HSCAN",
        };
        let scan = Command::new(name).key(&self.key).arg(cursor).arg("COUNT").arg(self.count);
        let (cursor, found) = scan::page(node, scan).await?;
        if cursor != b"0" {
            self.place = ReadPlace::Cursor(cursor);
        }
        let found = texts(found);
        if self.kind == ValueKind::Set {
            return Ok(Piece::Elements(found));
        }
        let (pairs, _) = found.as_chunks::<2>();
        let pairs = pairs.iter().map(|[name, value]| (name.clone(), value.clone()));
        match self.kind {
            ValueKind::SortedSet => Ok(Piece::Scores(pairs.collect())),
            _ => self.fields(node, pairs.collect()).await.map(Piece::Fields),
        }
    }

    /// Asks when fields of a hash expire, and leaves those out that have expired meanwhile.
    async fn fields(&self, node: &mut DataNode, pairs: Vec<(Bytes, Bytes)>) -> Result<Vec<Field>, Error> {
        let mut expiries = Vec::new();
        if node.has_field_ttls && !pairs.is_empty() {
            let ask = Command::new("HPEXPIRETIME").key(&self.key).arg("FIELDS").arg(pairs.len());
            let ask = pairs.iter().fold(ask, |ask, (name, _)| ask.arg(name));
            expiries = node.call(ask).await?.into_elements().unwrap_or_default();
        }
        let expiry = |place: usize| expiries.get(place).and_then(Reply::integer).unwrap_or(-1);
        let fields = pairs.into_iter().enumerate().filter(|(place, _)| expiry(*place) != -2);
        let fields = fields.map(|(place, (name, value))| {
            let expires = Some(expiry(place)).filter(|&expires| expires >= 0);
            Field { name, value, expires }
        });
        Ok(fields.collect())
    }
}

/// Returns the strings of replies.
fn texts(replies: Vec<Reply>) -> Vec<Bytes> {
    replies.into_iter().filter_map(Reply::into_bytes).collect()
}
