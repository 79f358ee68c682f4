//! `RANDOMKEY` over all shards, each key as likely as any other.
//!
//! A shard's own pick will not do: with one key on one shard and a million on another, half of the answers would be that
//! one key. Shards are chosen by their number of keys.

use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;

use crate::command::Command;
use crate::engine::{Request, ShardReply, Targets};
use crate::error::Error;
use crate::reply::Reply;

/// The number of times that a key is drawn which the caller may not read, before the answer is that there is none.
const MOST_DRAWS: usize = 100;

pub(super) async fn random_key(request: Request, inconsistent: bool) -> Result<Reply, Error> {
    // The caller needs the right to RANDOMKEY, and not to what it takes here.
    request.check(Command::new("RANDOMKEY")).await?;
    let inner = request.without_gate();
    let mut shards = sizes(&inner, inconsistent).await?;
    for _ in 0..MOST_DRAWS {
        let Some(shard) = draw(&shards) else { return Ok(Reply::Null) };
        let targets = Targets::Nodes(vec![shards[shard].0.clone()]);
        let picked = match inner.fan_out(Command::new("RANDOMKEY").read_only(true)).targets(targets).await {
            // The node has gone since it was counted.
            Err(Error::Invalid(_)) => {
                shards = sizes(&inner, inconsistent).await?;
                continue;
            }
            picked => picked?.into_all()?,
        };
        let picked: Vec<Bytes> = picked.iter().filter_map(Reply::bytes).map(Bytes::copy_from_slice).collect();
        if picked.is_empty() {
            // Its keys have gone in the meantime.
            shards[shard].1 = 0;
        }
        if let Some(key) = request.readable(picked).await?.pop() {
            return Ok(Reply::Bulk(key));
        }
    }
    Ok(Reply::Null)
}

/// Asks the primaries how many keys they have.
async fn sizes(request: &Request, inconsistent: bool) -> Result<Vec<(String, u64)>, Error> {
    let sizes = request.fan_out(Command::new("DBSIZE").read_only(true)).allow_inconsistent(inconsistent).await?;
    let size = |entry: ShardReply| Ok((entry.node.id.clone(), entry.result?.integer().unwrap_or(0).unsigned_abs()));
    sizes.into_iter().map(size).collect()
}

/// Draws a shard, with a chance in proportion to its keys. Returns `None` if there are no keys.
fn draw(shards: &[(String, u64)]) -> Option<usize> {
    let total = shards.iter().map(|shard| shard.1).sum::<u64>();
    // The standard library's source of random keys for its hash tables.
    let mut left = RandomState::new().hash_one(()).checked_rem(total)?;
    shards.iter().position(|&(_, keys)| {
        let is_it = left < keys;
        left = left.saturating_sub(keys);
        is_it
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_drawn_as_often_as_it_has_keys() {
        let shards = [("a".to_owned(), 1), ("empty".to_owned(), 0), ("b".to_owned(), 9)];
        let mut drawn = [0; 3];
        (0..2000).for_each(|_| drawn[draw(&shards).unwrap()] += 1);
        assert_eq!(drawn[1], 0);
        assert!((100..320).contains(&drawn[0]), "{drawn:?}");
        assert_eq!(draw(&[]), None);
        assert_eq!(draw(&shards[1..2]), None);
    }
}
