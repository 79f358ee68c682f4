//! Many replies become the one that a single server would have given.

use bytes::Bytes;

use super::plan::Part;
use super::policy::{Policy, ResponsePolicy};
use crate::engine::{Replies, ShardReply};
use crate::error::Error;
use crate::reduce::{Builtin, in_place};
use crate::reply::Reply;

/// Merges the replies of nodes that all ran the same command.
pub(super) fn of_nodes(policy: Policy, replies: Replies) -> Result<Reply, Error> {
    match policy.response {
        ResponsePolicy::AllSucceeded | ResponsePolicy::OneSucceeded => Ok(first_success(replies)),
        ResponsePolicy::AggSum => aggregate(Builtin::Sum, replies),
        ResponsePolicy::AggMin | ResponsePolicy::AggLogicalAnd => aggregate(Builtin::Min, replies),
        ResponsePolicy::AggMax | ResponsePolicy::AggLogicalOr => aggregate(Builtin::Max, replies),
        ResponsePolicy::Special => Ok(by_node(replies)),
        ResponsePolicy::Default => Ok(joined(replies)),
    }
}

/// Merges the replies of the parts of a command.
pub(super) fn of_parts(policy: Policy, parts: &[Part], replies: Replies) -> Result<Reply, Error> {
    match policy.response {
        ResponsePolicy::Default | ResponsePolicy::Special => scattered(parts, replies),
        _ => of_nodes(policy, replies),
    }
}

/// Each node's reply under its address.
pub(crate) fn by_node(replies: Replies) -> Reply {
    let by_node = |entry: ShardReply| (entry.node.name().into(), in_place(entry));
    Reply::Map(replies.into_iter().map(by_node).collect())
}

/// As [`by_node`], with what the policy makes of a node's several replies. A failure among them is all that is shown of
/// the node: it must not vanish in a sum of the rest.
pub(super) fn parts_by_node(policy: Policy, replies: Replies) -> Result<Reply, Error> {
    let mut nodes: Vec<(Reply, Vec<ShardReply>)> = Vec::new();
    for entry in replies {
        let address = Reply::from(entry.node.name());
        match nodes.iter_mut().find(|(known, _)| *known == address) {
            Some((_, entries)) => entries.push(entry),
            None => nodes.push((address, vec![entry])),
        }
    }
    let merged = nodes.into_iter().map(|(address, mut entries)| {
        let (done, asked) = (entries.iter().filter(|entry| entry.result.is_ok()).count(), entries.len());
        let failed = entries.iter().find_map(|entry| entry.result.as_ref().err().cloned());
        let reply = match (failed, entries.pop()) {
            (Some(cause), Some(_)) if asked > 1 => {
                Reply::Error(Error::Incomplete { cause: Box::new(cause), done, asked }.to_line().into())
            }
            (_, Some(last)) if asked == 1 => in_place(last),
            (_, last) => of_nodes(policy, entries.into_iter().chain(last).collect())?,
        };
        Ok((address, reply))
    });
    merged.collect::<Result<_, Error>>().map(Reply::Map)
}

/// The failures by node, each node once.
pub(crate) fn failures(replies: &Replies) -> Reply {
    let mut failures: Vec<(Reply, Reply)> = Vec::new();
    for (node, error) in replies.errors() {
        let node = Reply::from(node.name());
        if !failures.iter().any(|(known, _)| *known == node) {
            failures.push((node, Reply::Error(error.to_line().into())));
        }
    }
    Reply::Map(failures)
}

/// The words of the server, where all nodes have refused the command with the same: it is the command's fault then and no
/// node's.
pub(super) fn refusal_of_all(replies: &Replies) -> Option<Reply> {
    let words = |entry: &ShardReply| match &entry.result {
        Err(Error::Shard { message, .. }) => Some(message.clone()),
        _ => None,
    };
    let mut entries = replies.iter();
    let first: Bytes = words(entries.next()?)?;
    entries.all(|entry| words(entry).as_ref() == Some(&first)).then_some(Reply::Error(first))
}

fn first_success(replies: Replies) -> Reply {
    replies.into_iter().find_map(|entry| entry.result.ok()).unwrap_or(Reply::Null)
}

/// Reduces numbers; arrays of one length element by element.
fn aggregate(reducer: Builtin, replies: Replies) -> Result<Reply, Error> {
    let Some(width) = replies.ok().next().and_then(Reply::elements).map(<[Reply]>::len) else {
        return reducer.reduce(replies);
    };
    let mut columns: Vec<Vec<ShardReply>> = (0..width).map(|_| Vec::with_capacity(replies.len())).collect();
    for entry in replies {
        let elements = match entry.result {
            Ok(Reply::Array(elements)) if elements.len() == width => elements,
            Ok(other) => {
                let found = format!("{}, where others gave {width} elements,", other.describe());
                return Err(Error::Mixed { reducer: reducer.name(), found, node: entry.node.to_string() });
            }
            Err(_) => continue,
        };
        for (column, element) in columns.iter_mut().zip(elements) {
            column.push(ShardReply { node: entry.node.clone(), result: Ok(element) });
        }
    }
    let reduced = columns.into_iter().map(|column| reducer.reduce(column.into_iter().collect()));
    reduced.collect::<Result<_, Error>>().map(Reply::Array)
}

/// Arrays and sets one behind the other, maps in one; what is neither stands in an array.
fn joined(replies: Replies) -> Reply {
    let replies: Vec<Reply> = replies.into_iter().filter_map(|entry| entry.result.ok()).collect();
    let are_all = |is_kind: fn(&Reply) -> bool| !replies.is_empty() && replies.iter().all(is_kind);
    let are_maps = are_all(|reply| matches!(reply, Reply::Map(_)));
    let are_sets = are_all(|reply| matches!(reply, Reply::Set(_)));
    let mut pairs = Vec::new();
    let mut elements = Vec::new();
    for reply in replies {
        match reply {
            Reply::Map(more) if are_maps => pairs.extend(more),
            Reply::Array(more) | Reply::Set(more) => elements.extend(more),
            other => elements.push(other),
        }
    }
    match (are_maps, are_sets) {
        (true, _) => Reply::Map(pairs),
        (_, true) => Reply::Set(elements),
        _ => Reply::Array(elements),
    }
}

/// Each element to the place of its key.
fn scattered(parts: &[Part], replies: Replies) -> Result<Reply, Error> {
    let keys = parts.iter().map(|part| part.places.len()).sum();
    let mut all = vec![Reply::Null; keys];
    for (entry, part) in replies.into_iter().zip(parts) {
        let node = entry.node.to_string();
        match entry.result {
            Ok(Reply::Array(elements)) if elements.len() == part.places.len() => {
                for (element, &place) in elements.into_iter().zip(&part.places) {
                    all[place] = element;
                }
            }
            Ok(other) => {
                let found = format!("{} for {} keys", other.describe(), part.places.len());
                return Err(Error::Mixed { reducer: "MERGE", found, node });
            }
            Err(error) => {
                let error = Bytes::from(error.to_line());
                part.places.iter().for_each(|&place| all[place] = Reply::Error(error.clone()));
            }
        }
    }
    Ok(Reply::Array(all))
}
