//! Names of keys, for those who may read the keys.

use bytes::Bytes;

use crate::engine::{Replies, Request, ShardReply};
use crate::error::Error;
use crate::reply::Reply;

/// Leaves in lists of keys those that the caller may read.
pub(super) async fn only_readable(engine: &Request, replies: Replies) -> Result<Replies, Error> {
    let mut kept: Vec<ShardReply> = Vec::with_capacity(replies.len());
    for ShardReply { node, result } in replies {
        let result = match result {
            Ok(Reply::Array(keys)) => Ok(Reply::Array(readable(engine, keys).await?)),
            other => other,
        };
        kept.push(ShardReply { node, result });
    }
    Ok(kept.into_iter().collect())
}

/// Returns the keys that the caller may read.
pub(super) async fn readable(engine: &Request, keys: Vec<Reply>) -> Result<Vec<Reply>, Error> {
    let names: Vec<Bytes> = keys.iter().filter_map(Reply::bytes).map(Bytes::copy_from_slice).collect();
    Ok(match engine.may_read(names).await? {
        Some(verdicts) => keys.into_iter().zip(verdicts).filter_map(|(key, may)| may.then_some(key)).collect(),
        None => keys,
    })
}
