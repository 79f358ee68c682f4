//! The values of keys, for flows that want them: each as the reply to the command that reads it, in RESP3.

use std::sync::Arc;

use bytes::Bytes;

use super::plan::ValuesRead;
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

/// The kind of a key's value, as the letter that stands before the value where values are [typed](ValuesRead::Typed).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TypeLetter {
    String = b's' as isize,
    Hash = b'h' as isize,
    List = b'l' as isize,
    Set = b't' as isize,
    SortedSet = b'z' as isize,
    /// A type of a module.
    Module = b'm' as isize,
    /// A stream, and what is not known.
    Other = b'x' as isize,
    /// There is no such key.
    Missing = b'e' as isize,
}

impl TypeLetter {
    /// Returns the letter for what `TYPE` says.
    pub(crate) fn of(type_name: &str) -> Self {
        match type_name {
            "string" => Self::String,
            "hash" => Self::Hash,
            "list" => Self::List,
            "set" => Self::Set,
            "zset" => Self::SortedSet,
            "stream" => Self::Other,
            "none" => Self::Missing,
            _ => Self::Module,
        }
    }

    /// Returns the byte that it is.
    pub(crate) fn byte(self) -> u8 {
        self as u8
    }

    /// Tells whether the value stands behind it.
    pub(crate) fn has_value(self) -> bool {
        matches!(self, Self::String | Self::Hash | Self::List)
    }
}

/// Says which values are wanted with which keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WantedValues {
    pub(crate) values: ValuesRead,
    /// Keys that do not exist have a [letter](TypeLetter::Missing), too.
    pub(crate) with_missing: bool,
}

impl WantedValues {
    /// Returns what is wanted of keys of which it is known that they are there.
    pub(crate) fn of_found(values: ValuesRead) -> Self {
        Self { values, with_missing: false }
    }
}

/// Makes the records of keys that are there, with their values if those are wanted.
///
/// # Errors
/// The first command that fails; a value that cannot be read.
pub(super) async fn records_of(
    request: &Request,
    node: Option<&Arc<Node>>,
    keys: Vec<Bytes>,
    wanted: WantedValues,
) -> Result<Records, Error> {
    match wanted.values {
        ValuesRead::No => Ok(Records::of_keys(&keys)),
        ValuesRead::Replies | ValuesRead::Typed => read_values(request, node, keys, wanted).await,
    }
}

/// Returns those of the keys that are there.
///
/// # Errors
/// The first command that fails.
pub(super) async fn existing(
    request: &Request,
    node: Option<&Arc<Node>>,
    keys: Vec<Bytes>,
) -> Result<Vec<Bytes>, Error> {
    let types = types_of(request, node, &keys).await?;
    let is_there = |found: &Reply| found.bytes() != Some(b"none");
    Ok(keys.into_iter().zip(types).filter(|(_, found)| is_there(found)).map(|(key, _)| key).collect())
}

async fn types_of(request: &Request, node: Option<&Arc<Node>>, keys: &[Bytes]) -> Result<Vec<Reply>, Error> {
    let commands = keys.iter().map(|key| Command::new("TYPE").key(key).read_only(true)).collect();
    ask_each(request, node, commands).await
}

/// Reads the values of keys by plain commands, at the node or, without one, wherever each key is. Keys that are gone are left
/// out unless they are wanted.
async fn read_values(
    request: &Request,
    node: Option<&Arc<Node>>,
    keys: Vec<Bytes>,
    wanted: WantedValues,
) -> Result<Records, Error> {
    let is_typed = wanted.values == ValuesRead::Typed;
    let types = types_of(request, node, &keys).await?;
    let (mut typed, mut commands) = (Vec::with_capacity(keys.len()), Vec::with_capacity(keys.len()));
    for (key, found) in keys.into_iter().zip(types) {
        let name = found.bytes().and_then(|name| std::str::from_utf8(name).ok());
        let letter = TypeLetter::of(name.unwrap_or_default());
        match letter {
            TypeLetter::Missing if !wanted.with_missing => continue,
            _ if is_typed && !letter.has_value() => {}
            _ => commands.push(read_whole(name, &key)?),
        }
        typed.push((key, letter));
    }
    let mut values = ask_each(request, node, commands).await?.into_iter();
    let mut records = Records::new();
    for (key, letter) in typed {
        if is_typed && !letter.has_value() {
            records.push(&key, &[letter.byte()]);
            continue;
        }
        let value = values.next().unwrap_or(Reply::Null);
        // No key has an empty value.
        let is_gone = match &value {
            Reply::Map(pairs) => pairs.is_empty(),
            other => other.is_null() || other.elements().is_some_and(<[Reply]>::is_empty),
        };
        match (is_gone, is_typed) {
            (false, true) => records.push_typed(&key, letter.byte(), &value),
            (false, false) => records.push_reply(&key, &value),
            (true, _) if wanted.with_missing => records.push(&key, &[TypeLetter::Missing.byte()]),
            (true, _) => {}
        }
    }
    Ok(records)
}

/// Sends commands, and returns a reply to each.
async fn ask_each(request: &Request, node: Option<&Arc<Node>>, commands: Vec<Command>) -> Result<Vec<Reply>, Error> {
    if commands.is_empty() {
        return Ok(Vec::new());
    }
    let replies = match node {
        None => request.map(commands).await?,
        Some(node) if node.role == Role::Replica => request.at_replica(node, commands.into()).await?,
        Some(node) => {
            let commands = commands.into_iter().map(|command| (command, Some(node.clone()))).collect();
            request.addressed(commands, None, &Options::new()).await?
        }
    };
    replies.into_all()
}
