//! One turn of work on a stream, on the main thread: entries that were worked on are acknowledged and go, and the next ones are
//! read. Never within a keyspace event: what is written would stand before its cause.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::error::Error;
use crate::module::gears::registry::registration::StreamEvents;
use crate::module::server::call::{CallKind, CommandRunner};
use crate::module::server::context::Ctx;
use crate::python::marshal::Writer;
use crate::reply::Reply;
use crate::resp::decode_whole;

const CONSUMER: &str = "__gears_client__";

/// A stream as a registration reads it.
#[derive(Debug, Clone)]
pub(super) struct ReadStream {
    pub(super) key: Vec<u8>,
    pub(super) group: String,
    pub(super) batch: u64,
    pub(super) trims: bool,
}

/// Entries that were read and not acknowledged.
#[derive(Debug, Clone, Default)]
pub(super) struct StreamBatch {
    entries: Vec<StreamEntry>,
}

#[derive(Debug, Clone)]
struct StreamEntry {
    id: Bytes,
    /// Fields and values, one after the other. None for one that was deleted since.
    fields: Vec<Bytes>,
}

/// Says which entries are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntriesWanted {
    /// Entries that were read before and not acknowledged.
    Pending,
    /// New ones, if there is a whole batch of them.
    WholeBatch,
    /// New ones, however few.
    Any,
}

/// The result of a look at a stream.
#[derive(Debug)]
pub(super) enum StreamFound {
    Batch(StreamBatch),
    /// There are so many new entries, which do not make a batch.
    TooFew(u64),
    /// The key is no stream, or not this node's any more.
    Gone,
}

impl ReadStream {
    pub(super) fn new(wanted: &StreamEvents, key: &[u8]) -> Self {
        let StreamEvents { group, batch, trim, .. } = wanted;
        Self { key: key.to_vec(), group: group.clone(), batch: *batch, trims: *trim }
    }

    /// Acknowledges entries, and reads others. On the main thread, in a context that ends.
    ///
    /// # Errors
    /// The refusal of the server.
    pub(super) fn turn(
        &self,
        ctx: Ctx<'_>,
        done: Option<&StreamBatch>,
        wanted: EntriesWanted,
    ) -> Result<StreamFound, Error> {
        if !ctx.flags().is_primary() || ctx.flags().is_loading() {
            return Ok(StreamFound::Gone);
        }
        let mut server = StreamServer(CommandRunner::without_memory_limit(ctx));
        if let Some(done) = done {
            self.acknowledge_by(&mut server, done)?;
        }
        self.read(&mut server, wanted)
    }

    /// Acknowledges entries. On the main thread, in a context that ends.
    ///
    /// # Errors
    /// The refusal of the server.
    pub(super) fn acknowledge(&self, ctx: Ctx<'_>, done: &StreamBatch) -> Result<(), Error> {
        self.acknowledge_by(&mut StreamServer(CommandRunner::without_memory_limit(ctx)), done)
    }

    fn acknowledge_by(&self, server: &mut StreamServer<'_>, done: &StreamBatch) -> Result<(), Error> {
        if done.is_empty() {
            return Ok(());
        }
        let start: [&[u8]; 3] = [b"XACK", &self.key, self.group.as_bytes()];
        let ids = done.entries.iter().map(|entry| &entry.id[..]);
        match server.run(start.into_iter().chain(ids), CallKind::Write) {
            Ok(_) if self.trims => self.trim(server),
            Ok(_) => Ok(()),
            // The stream is gone, and its group.
            Err(error) if is_gone(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Lets go of entries that all groups have acknowledged.
    fn trim(&self, server: &mut StreamServer<'_>) -> Result<(), Error> {
        let groups = server.run([&b"XINFO"[..], b"GROUPS", &self.key], CallKind::Plain)?;
        let mut oldest: Option<(u64, u64)> = None;
        for group in groups.elements().unwrap_or_default() {
            let pending = field(group, "pending").and_then(number).unwrap_or_default();
            let needed = if pending > 0 {
                let name = field(group, "name").and_then(Reply::bytes).unwrap_or_default();
                let first = server.run([&b"XPENDING"[..], &self.key, name, b"-", b"+", b"1"], CallKind::Plain)?;
                let first = first.elements().and_then(<[Reply]>::first).and_then(Reply::elements);
                first.and_then(<[Reply]>::first).and_then(Reply::bytes).and_then(id)
            } else {
                field(group, "last-delivered-id").and_then(Reply::bytes).and_then(id).map(next)
            };
            let Some(needed) = needed else { return Ok(()) };
            oldest = Some(oldest.map_or(needed, |oldest| oldest.min(needed)));
        }
        let Some((ms, number)) = oldest else { return Ok(()) };
        let least = format!("{ms}-{number}");
        server.run([&b"XTRIM"[..], &self.key, b"MINID", least.as_bytes()], CallKind::Write).map(|_| ())
    }

    fn read(&self, server: &mut StreamServer<'_>, wanted: EntriesWanted) -> Result<StreamFound, Error> {
        match self.try_to_read(server, wanted) {
            Err(error) if is_gone(&error) => {
                let create = [&b"XGROUP"[..], b"CREATE", &self.key, self.group.as_bytes(), b"0"];
                match server.run(create, CallKind::Write) {
                    Ok(_) => self.try_to_read(server, wanted),
                    Err(error) if is_not_here(&error) => Ok(StreamFound::Gone),
                    // The server refuses it for now, for example while the cluster is down.
                    Err(error) => Err(error),
                }
            }
            Err(error) if is_not_here(&error) => Ok(StreamFound::Gone),
            read => read,
        }
    }

    fn try_to_read(&self, server: &mut StreamServer<'_>, wanted: EntriesWanted) -> Result<StreamFound, Error> {
        let is_pending = wanted == EntriesWanted::Pending;
        if self.batch > 1 && wanted == EntriesWanted::WholeBatch {
            let waiting = self.waiting(server)?;
            if waiting < self.batch {
                return Ok(StreamFound::TooFew(waiting));
            }
        }
        let count = self.batch.to_string();
        let from: &[u8] = if is_pending { b"0" } else { b">" };
        let read: [&[u8]; 9] = [
            b"XREADGROUP",
            b"GROUP",
            self.group.as_bytes(),
            CONSUMER.as_bytes(),
            b"COUNT",
            count.as_bytes(),
            b"STREAMS",
            &self.key,
            from,
        ];
        let batch = StreamBatch::read(&server.run(read, CallKind::Write)?);
        Ok(if batch.entries.is_empty() && !is_pending { StreamFound::TooFew(0) } else { StreamFound::Batch(batch) })
    }

    /// Returns how many new entries there are, up to a batch.
    fn waiting(&self, server: &mut StreamServer<'_>) -> Result<u64, Error> {
        let groups = server.run([&b"XINFO"[..], b"GROUPS", &self.key], CallKind::Plain)?;
        let is_own = |group: &&Reply| field(group, "name").and_then(Reply::bytes) == Some(self.group.as_bytes());
        let own = groups.elements().unwrap_or_default().iter().find(is_own);
        let none = || Error::Refused("NOGROUP there is no such group".into());
        let last = own.and_then(|group| field(group, "last-delivered-id")?.bytes()).ok_or_else(none)?;
        let after = [b"(", last].concat();
        let count = self.batch.to_string();
        let range = [&b"XRANGE"[..], &self.key, &after, b"+", b"COUNT", count.as_bytes()];
        let entries = server.run(range, CallKind::Plain)?;
        Ok(entries.elements().map_or(0, |entries| entries.len() as u64))
    }

    /// Keeps entries that have failed too often where somebody can look at them, with the reason.
    ///
    /// # Errors
    /// The refusal of the server.
    pub(super) fn bury(&self, ctx: Ctx<'_>, to: &[u8], batch: &StreamBatch, why: &[u8]) -> Result<(), Error> {
        let mut server = StreamServer(CommandRunner::without_memory_limit(ctx));
        for entry in &batch.entries {
            let start: [&[u8]; 9] = [b"XADD", to, b"*", b"stream", &self.key, b"id", &entry.id, b"error", why];
            let words = start.into_iter().chain(entry.fields.iter().map(|field| &field[..]));
            server.run(words, CallKind::Write)?;
        }
        Ok(())
    }
}

impl StreamBatch {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns how old the last entry is.
    pub(super) fn lag(&self) -> Duration {
        let added = self.entries.last().and_then(|entry| id(&entry.id)).map_or(0, |(ms, _)| ms);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if added == 0 { Duration::ZERO } else { now.saturating_sub(Duration::from_millis(added)) }
    }

    /// Returns how many entries there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Writes the records, one for each entry.
    pub(super) fn write(&self, key: &[u8], to: &mut Writer) {
        for entry in &self.entries {
            to.begin_dict();
            to.name(b"id");
            to.text_or_bytes(&entry.id);
            to.name(b"value");
            to.begin_dict();
            for pair in entry.fields.chunks_exact(2) {
                to.name(&pair[0]);
                to.text_or_bytes(&pair[1]);
            }
            to.end_dict();
            to.name(b"key");
            to.text_or_bytes(key);
            to.end_dict();
        }
    }

    /// Reads the reply to `XREADGROUP`.
    fn read(reply: &Reply) -> Self {
        let stream = reply.elements().and_then(<[Reply]>::first).and_then(Reply::elements);
        let entries = stream.and_then(|stream| stream.get(1)?.elements()).unwrap_or_default();
        let owned = |reply: &Reply| Bytes::copy_from_slice(reply.bytes().unwrap_or_default());
        let entry = |entry: &Reply| {
            let entry = entry.elements()?;
            let fields = entry.get(1).and_then(Reply::elements).unwrap_or_default();
            Some(StreamEntry { id: owned(entry.first()?), fields: fields.iter().map(owned).collect() })
        };
        Self { entries: entries.iter().filter_map(entry).collect() }
    }
}

/// The server, as far as streams need it.
struct StreamServer<'c>(CommandRunner<'c>);

impl StreamServer<'_> {
    fn run<'a>(&mut self, words: impl IntoIterator<Item = &'a [u8]>, kind: CallKind) -> Result<Reply, Error> {
        let called = self.0.call(words.into_iter(), kind);
        let reply = decode_whole(&Bytes::copy_from_slice(called.wire()));
        match reply.map_err(|error| Error::Internal(format!("a reply about a stream: {error}")))? {
            Reply::Error(error) => Err(Error::Refused(String::from_utf8_lossy(&error).into_owned())),
            reply => Ok(reply),
        }
    }
}

fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Refused(text) if text.contains("NOGROUP") || text.contains("no such key"))
}

/// Returns whether there is no such stream on this node, or something else by that name.
fn is_not_here(error: &Error) -> bool {
    let texts = ["requires the key to exist", "WRONGTYPE", "MOVED"];
    matches!(error, Error::Refused(text) if texts.iter().any(|part| text.contains(part)))
}

/// Returns the value of this name in a reply of names and values.
fn field<'r>(reply: &'r Reply, name: &str) -> Option<&'r Reply> {
    let fields = reply.elements()?;
    fields.chunks_exact(2).find(|pair| pair[0].bytes() == Some(name.as_bytes())).map(|pair| &pair[1])
}

fn number(reply: &Reply) -> Option<u64> {
    match reply {
        Reply::Integer(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

/// Reads the id of an entry.
fn id(text: &[u8]) -> Option<(u64, u64)> {
    let (ms, number) = std::str::from_utf8(text).ok()?.split_once('-')?;
    Some((ms.parse().ok()?, number.parse().ok()?))
}

/// Returns the id that follows.
fn next((ms, number): (u64, u64)) -> (u64, u64) {
    number.checked_add(1).map_or((ms + 1, 0), |number| (ms, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_each_other() {
        assert_eq!(id(b"5-7").map(next), Some((5, 8)));
        assert_eq!(id(b"5-18446744073709551615").map(next), Some((6, 0)));
        assert!(id(b"5").is_none() && id(b"x-1").is_none());
    }

    #[test]
    fn entries_are_read_from_the_reply() {
        let text = |text: &str| Reply::from(text);
        let entry = Reply::Array(vec![text("1-1"), Reply::Array(vec![text("f"), text("v")])]);
        let deleted = Reply::Array(vec![text("1-2"), Reply::Null]);
        let stream = Reply::Array(vec![text("s"), Reply::Array(vec![entry, deleted])]);
        let batch = StreamBatch::read(&Reply::Array(vec![stream]));
        let fields: Vec<usize> = batch.entries.iter().map(|entry| entry.fields.len()).collect();
        assert_eq!((batch.entries[1].id.as_ref(), fields), (&b"1-2"[..], vec![2, 0]));
        assert!(StreamBatch::read(&Reply::Null).is_empty());
    }
}
