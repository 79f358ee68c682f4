//! Keys of a source to targets.
//!
//! A small key is one payload: `DUMP` and `PEXPIRETIME` at the source, in one transaction, so that value and TTL belong together,
//! and `RESTORE` at the targets with the time at which it expires, which does not drift however long that takes. While the
//! targets write, the source is asked for what comes next. A large key goes in pieces, and so does one whose payload a target
//! refuses: a newer server may have written it.

use futures_util::future::try_join_all;

use super::node::DataNode;
use super::value::put_together;
use super::{KEYS_AT_ONCE, LARGE, PIECE, unfinished};
use crate::command::Command;
use crate::error::Error;
use crate::reply::Reply;

/// The counts of keys that were carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::placement::store) struct Carried {
    /// Keys that the targets have now.
    pub(in crate::placement::store) keys: u64,
    /// Keys that the source had no more, and that the targets have no more either.
    pub(in crate::placement::store) gone: u64,
    /// The number of keys that went in pieces.
    pub(in crate::placement::store) in_pieces: u64,
}

/// Carries keys from a source to targets, which have each of them as the source has it, or not at all.
///
/// # Errors
/// Those of the nodes, and [`Error::BadReply`] for a value that a target cannot hold. Any of the keys may have been carried then.
pub(in crate::placement::store) async fn carry<K: AsRef<[u8]>>(
    source: &mut DataNode,
    targets: &mut [DataNode],
    keys: &[K],
) -> Result<Carried, Error> {
    let mut carried = Carried::default();
    let (mut payloads, mut large) = (Vec::new(), Vec::new());
    for keys in keys.chunks(KEYS_AT_ONCE) {
        let (found, refused) = tokio::try_join!(read(source, keys), restore_at_all(targets, &payloads))?;
        large.extend(refused);
        for SourceKey { key, value } in &found {
            match value {
                SourceValue::Gone => carried.gone += 1,
                SourceValue::Payload { .. } => carried.keys += 1,
                SourceValue::Large => large.push(key.to_vec()),
            }
        }
        payloads = found;
    }
    large.extend(restore_at_all(targets, &payloads).await?);
    large.sort_unstable();
    large.dedup();
    // Keys that were refused have been counted.
    for key in large {
        let is_there = put_together(source, targets, &key).await?.is_some();
        carried.in_pieces += u64::from(is_there);
        if !is_there {
            let forget = Command::new("UNLINK").key(&key);
            try_join_all(targets.iter_mut().map(|target| target.call(forget.clone()))).await?;
        }
    }
    Ok(carried)
}

/// A key as the source has it.
pub(super) struct SourceKey<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: SourceValue,
}

pub(super) enum SourceValue {
    Gone,
    /// The reply to `DUMP`, and when the key expires: -1 for never.
    Payload {
        payload: bytes::Bytes,
        expires: i64,
    },
    Large,
}

/// Reads keys, as many at once as make a piece.
pub(super) async fn read<'a, K: AsRef<[u8]>>(node: &mut DataNode, keys: &'a [K]) -> Result<Vec<SourceKey<'a>>, Error> {
    let usage = |key: &K| Command::new("MEMORY").arg("USAGE").key(key.as_ref());
    let sizes = node.call_all(&keys.iter().map(usage).collect::<Vec<_>>()).await?;
    let mut found = Vec::with_capacity(keys.len());
    let (mut small, mut bytes) = (Vec::new(), 0);
    for (key, size) in keys.iter().zip(sizes) {
        let (key, size) = (key.as_ref(), size.integer().unwrap_or_default().unsigned_abs());
        if size > LARGE {
            found.push(SourceKey { key, value: SourceValue::Large });
            continue;
        }
        bytes += size;
        if bytes > PIECE as u64 && !small.is_empty() {
            found.extend(dump(node, &small).await?);
            small.clear();
            bytes = size;
        }
        small.push(key);
    }
    found.extend(dump(node, &small).await?);
    Ok(found)
}

async fn dump<'a>(node: &mut DataNode, keys: &[&'a [u8]]) -> Result<Vec<SourceKey<'a>>, Error> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let ask = |key: &&[u8]| [Command::new("DUMP").key(key), Command::new("PEXPIRETIME").key(key)];
    let replies = node.transaction(keys.iter().flat_map(ask).collect()).await?;
    let (replies, _) = replies.as_chunks::<2>();
    let found = |(key, [payload, expires]): (&&'a [u8], &[Reply; 2])| {
        let value = match (payload, expires.integer()) {
            (Reply::Null, _) => SourceValue::Gone,
            (Reply::Bulk(payload), Some(expires)) => SourceValue::Payload { payload: payload.clone(), expires },
            (other, _) => return Err(node.refusal(other).unwrap_or_else(|| node.odd("answers DUMP with no payload"))),
        };
        Ok(SourceKey { key, value })
    };
    keys.iter().zip(replies).map(found).collect()
}

/// Writes keys at all targets, and forgets those that are gone. Returns the keys whose payload one of them refuses.
async fn restore_at_all(targets: &mut [DataNode], keys: &[SourceKey<'_>]) -> Result<Vec<Vec<u8>>, Error> {
    let refused = try_join_all(targets.iter_mut().map(|target| restore(target, keys))).await?;
    Ok(refused.into_iter().flatten().collect())
}

async fn restore(target: &mut DataNode, keys: &[SourceKey<'_>]) -> Result<Vec<Vec<u8>>, Error> {
    let command = |found: &SourceKey<'_>| match &found.value {
        SourceValue::Gone => Some(Command::new("UNLINK").key(found.key).key(unfinished(found.key))),
        SourceValue::Payload { payload, expires } => {
            let restore = Command::new("RESTORE").key(found.key);
            // 0 is no TTL.
            let restore = restore.arg((*expires).max(0)).arg(payload).arg("REPLACE");
            Some(if *expires >= 0 { restore.arg("ABSTTL") } else { restore })
        }
        SourceValue::Large => None,
    };
    let (keys, commands): (Vec<&[u8]>, Vec<Command>) =
        keys.iter().filter_map(|found| Some((found.key, command(found)?))).unzip();
    let mut refused = Vec::new();
    for (reply, key) in target.ask(&commands).await?.iter().zip(keys) {
        match reply {
            Reply::Error(message) if is_about_payload(message) => refused.push(key.to_vec()),
            reply => target.refusal(reply).map_or(Ok(()), Err)?,
        }
    }
    Ok(refused)
}

/// Returns whether a server says that it cannot read the payload.
fn is_about_payload(message: &[u8]) -> bool {
    message.starts_with(b"ERR DUMP payload version or checksum are wrong")
        || message.starts_with(b"ERR Bad data format")
}
