//! The roads on which a command reaches the data: the same command answers the same on each.

use std::fmt;

use super::generate::Argv;
use super::pair::Pair;
use super::reply::Reply;
use crate::common::slot_of;

/// By what a command is sent. A road that is not open to a command is left for [`Road::Exec`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Road {
    /// `RMR.EXEC`, by any node: one that has the keys, or another.
    Exec,
    /// `RMR.MAP LIST`, for commands with one key.
    Map,
    /// `RMR.MAP COUNT` with pushdown: the node that has the key counts the one reply, and sends the count.
    Pushdown,
    /// `RMR.BATCH`, for commands whose keys share a slot.
    Batch,
    /// `RMR.FANOUT NODE`, for the same.
    Fanout,
    /// As it is, in proxy mode.
    Proxy,
    /// As it is, by the program `rmr-proxy`.
    Program,
}

impl Road {
    pub const ALL: [Self; 7] =
        [Self::Exec, Self::Map, Self::Pushdown, Self::Batch, Self::Fanout, Self::Proxy, Self::Program];
}

/// A command on its way: what is sent, and what becomes of the answer.
pub struct Way {
    pub request: Argv,
    pub road: Road,
}

impl Road {
    /// Puts a command on this road, or on [`Road::Exec`].
    pub fn way(self, pair: &mut Pair, argv: &Argv, is_nonatomic: bool) -> Way {
        let request = match self {
            Self::Exec => None,
            Self::Proxy => (pair.is_proxied() && !is_nonatomic).then(|| argv.clone()),
            Self::Program => (pair.has_program() && !is_nonatomic).then(|| argv.clone()),
            Self::Map => map(pair, argv, "LIST"),
            Self::Pushdown => map(pair, argv, "COUNT"),
            Self::Batch => one_slot(pair, argv).map(|key| {
                let count = argv.len().to_string().into_bytes();
                let front = [b"RMR.BATCH".to_vec(), b"--".to_vec(), key, b"1".to_vec(), count];
                front.into_iter().chain(argv.iter().cloned()).collect()
            }),
            Self::Fanout => one_slot(pair, argv).map(|key| {
                let address = pair.address_of(&key);
                let front = words("RMR.FANOUT NODE").into_iter().chain([address.into_bytes(), b"--".to_vec()]);
                front.chain(argv.iter().cloned()).collect()
            }),
        };
        match request {
            Some(request) => Way { request, road: self },
            None => {
                let nonatomic = is_nonatomic.then(|| b"NONATOMIC".to_vec());
                let front = [b"RMR.EXEC".to_vec()].into_iter().chain(nonatomic);
                Way { request: front.chain(argv.iter().cloned()).collect(), road: Self::Exec }
            }
        }
    }

    /// Returns what a single server's answer becomes on this road.
    pub fn expected(self, alone: &Reply) -> Reply {
        match (self, alone) {
            (Self::Pushdown, alone) if alone.error().is_none() => {
                Reply::Line(b':', vec![if alone.is_null() { b'0' } else { b'1' }])
            }
            _ => alone.clone(),
        }
    }

    /// Returns the command's own answer, out of the answer to the request.
    pub fn unwrapped(self, reply: Reply) -> Result<Reply, String> {
        if let Some(error) = reply.error() {
            return Ok(match self {
                Self::Exec | Self::Proxy | Self::Program | Self::Batch => reply,
                _ => Reply::Line(b'-', shards_own_words(&error).as_bytes().to_vec()),
            });
        }
        let inner = match (self, reply.elements()) {
            (Self::Exec | Self::Proxy | Self::Program | Self::Pushdown, _) => return Ok(reply),
            (Self::Map | Self::Fanout, [one]) => one,
            (Self::Batch, [_, list]) if list.elements().len() == 1 => &list.elements()[0],
            _ => return Err(format!("not one reply: {reply}")),
        };
        Ok(inner.clone())
    }
}

impl fmt::Display for Road {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exec => "RMR.EXEC",
            Self::Map => "RMR.MAP LIST",
            Self::Pushdown => "RMR.MAP COUNT",
            Self::Batch => "RMR.BATCH",
            Self::Fanout => "RMR.FANOUT",
            Self::Proxy => "proxy mode",
            Self::Program => "rmr-proxy",
        })
    }
}

/// Returns the words of the server in an error of one shard, which names the node before them and the key behind.
fn shards_own_words(error: &str) -> &str {
    let Some((_, words)) = error.strip_prefix("RMRSHARD ").and_then(|rest| rest.split_once(": ")) else { return error };
    words.rfind(" (key '").filter(|_| words.ends_with("')")).map_or(words, |end| &words[..end])
}

/// Returns `RMR.MAP` for a command that has one key, once.
fn map(pair: &mut Pair, argv: &Argv, reducer: &str) -> Option<Argv> {
    let keys = pair.keys(argv);
    let [key] = &keys[..] else { return None };
    let mut places = argv.iter().enumerate().filter(|(_, word)| word == &key).map(|(place, _)| place);
    let (Some(place), None) = (places.next(), places.next()) else { return None };
    if place == 0 || argv.iter().any(|word| word == b"{}") {
        return None;
    }
    let mut inner = argv.clone();
    inner[place] = b"{}".to_vec();
    let front = [b"RMR.MAP".to_vec(), reducer.as_bytes().to_vec(), b"1".to_vec(), key.clone()];
    Some(front.into_iter().chain(inner).collect())
}

/// Returns a key of a command that has some, all of one slot.
fn one_slot(pair: &mut Pair, argv: &Argv) -> Option<Vec<u8>> {
    let keys = pair.keys(argv);
    let first = keys.first()?;
    keys.iter().all(|key| slot_of(key) == slot_of(first)).then(|| first.clone())
}

fn words(line: &str) -> Argv {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}
