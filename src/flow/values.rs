//! The values of keys, for flows that want them: each as the reply to the command that reads it, in RESP3.

use std::sync::Arc;

use bytes::Bytes;

use super::records::Records;
use crate::command::{Command, printable};
use crate::engine::{Options, Request};
use crate::error::Error;
use crate::reply::Reply;
use crate::topology::{Node, Role};

/// Returns the command that reads the whole value of a key of this type, as `TYPE` says it; `None` stands for a type that a
/// module has named.
///
/// # Errors
/// [`Error::Refused`] for types of which no one command reads the value.
pub(crate) fn read_whole(type_name: Option<&str>, key: &[u8]) -> Result<Command, Error> {
    let of = |name: &str| Command::new(name).key(key).read_only(true);
    Ok(match type_name {
        Some("string") => of("GET"),
        Some("hash") => of("HGETALL"),
        Some("set") => of("SMEMBERS"),
        Some("list") => of("LRANGE").arg("0").arg("-1"),
        Some("zset") => of("ZRANGE").arg("0").arg("-1").arg("WITHSCORES"),
        other => return Err(unreadable(other, key)),
    })
}

/// Returns the error about a value that is not read.
pub(crate) fn unreadable(type_name: Option<&str>, key: &[u8]) -> Error {
    Error::Refused(format!(
        "the value of '{}' cannot be read, as it is {}: strings, hashes, lists, sets and sorted sets can; read names only, and \
         give a command for each",
        printable(key),
        if type_name == Some("stream") { "a stream" } else { "of a module's type" },
    ))
}

/// Makes the records of keys that are there, with their values if those are wanted.
///
/// # Errors
/// As [`read_values`].
pub(super) async fn records_of(
    request: &Request,
    node: Option<&Arc<Node>>,
    keys: Vec<Bytes>,
    with_values: bool,
) -> Result<Records, Error> {
    if with_values { read_values(request, node, keys).await } else { Ok(Records::of_keys(&keys)) }
}

/// Reads the values of keys by plain commands, at the node or, without one, wherever each key is. Keys that are gone are left
/// out.
///
/// # Errors
/// The first command that fails; a value that cannot be read.
async fn read_values(request: &Request, node: Option<&Arc<Node>>, keys: Vec<Bytes>) -> Result<Records, Error> {
    let types = ask_each(request, node, keys.iter().map(|key| Command::new("TYPE").key(key).read_only(true))).await?;
    let (mut typed, mut commands) = (Vec::with_capacity(keys.len()), Vec::with_capacity(keys.len()));
    for (key, found) in keys.into_iter().zip(types) {
        let name = found.bytes().and_then(|name| std::str::from_utf8(name).ok());
        if name != Some("none") {
            commands.push(read_whole(name, &key)?);
            typed.push(key);
        }
    }
    let mut records = Records::new();
    for (key, value) in typed.iter().zip(ask_each(request, node, commands.into_iter()).await?) {
        // No key has an empty value.
        let is_gone = match &value {
            Reply::Map(pairs) => pairs.is_empty(),
            other => other.is_null() || other.elements().is_some_and(<[Reply]>::is_empty),
        };
        if !is_gone {
            records.push_reply(key, &value);
        }
    }
    Ok(records)
}

/// Sends commands, and returns a reply to each.
async fn ask_each(
    request: &Request,
    node: Option<&Arc<Node>>,
    commands: impl Iterator<Item = Command>,
) -> Result<Vec<Reply>, Error> {
    let replies = match node {
        None => request.map(commands).await?,
        Some(node) if node.role == Role::Replica => {
            request.at_replica(node, commands.collect::<Vec<_>>().into()).await?
        }
        Some(node) => {
            let commands = commands.map(|command| (command, Some(node.clone()))).collect();
            request.addressed(commands, None, &Options::new()).await?
        }
    };
    replies.into_all()
}
