//! Many replies become the one that a single server would have given.

use bytes::Bytes;

use super::options::ExecOptions;
use super::part::Parts;
use super::plan::Plan;
use super::policy::{Policy, RequestPolicy, ResponsePolicy};
use crate::engine::{Replies, ShardReply, Targets};
use crate::error::Error;
use crate::reduce::{Builtin, in_place};
use crate::reply::Reply;

/// Says what becomes of the replies. Decided here for those who do it and for those who only say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Merge {
    /// The one reply is the answer.
    AsItIs,
    /// Each node's reply under its address.
    ByNode,
    /// Each element in the place of its key.
    InPlace,
    /// Merge as the response policy says.
    ByPolicy(ResponsePolicy),
    /// The plan makes an answer of its own.
    OfPlan,
}

impl Merge {
    /// Decides for any plan.
    pub(super) fn of(plan: &Plan<'_>, policy: Policy, how: &ExecOptions) -> Self {
        match plan {
            Plan::Keyed(keyed) => Self::of_parts(keyed.parts.len(), policy, how),
            Plan::Everywhere(targets) => Self::of_nodes(targets, policy, how),
            Plan::One(_) if how.with_nodes => Self::ByNode,
            Plan::One(_) => Self::AsItIs,
            Plan::Scan | Plan::RandomKey => Self::OfPlan,
        }
    }

    /// Decides for a command with keys that was sent in `parts` parts.
    pub(super) fn of_parts(parts: usize, policy: Policy, how: &ExecOptions) -> Self {
        // With PARTIAL the reply must look the same wherever the keys are.
        let may_be_cut = how.partial && policy.request == RequestPolicy::MultiShard;
        match policy.response {
            _ if how.with_nodes => Self::ByNode,
            _ if parts == 1 && !may_be_cut => Self::AsItIs,
            ResponsePolicy::Default | ResponsePolicy::Special => Self::InPlace,
            response => Self::ByPolicy(response),
        }
    }

    /// Decides for a command that all of these nodes run.
    pub(super) fn of_nodes(targets: &Targets, policy: Policy, how: &ExecOptions) -> Self {
        let is_one = match targets {
            Targets::Nodes(nodes) => nodes.len() == 1,
            Targets::Keys(keys) => keys.len() == 1,
            _ => false,
        };
        // Nobody knows how to merge what nobody has said anything about, unless the server sends it to many nodes itself.
        let is_unsaid = how.targets.is_some() && policy.is_silent();
        match policy.response {
            _ if how.with_nodes => Self::ByNode,
            _ if is_one => Self::AsItIs,
            ResponsePolicy::Special => Self::ByNode,
            _ if is_unsaid => Self::ByNode,
            response => Self::ByPolicy(response),
        }
    }

    /// Does it, with the replies to these parts; to none where all nodes ran the same command.
    pub(super) fn apply(self, parts: &Parts, replies: Replies) -> Result<Reply, Error> {
        match self {
            Self::AsItIs | Self::OfPlan => Ok(first_success(replies)),
            Self::ByNode => Ok(by_node(replies)),
            Self::InPlace => scattered(parts, replies),
            Self::ByPolicy(response) => by_policy(response, replies),
        }
    }

    /// Says it in words.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::AsItIs => "the node's reply as it is",
            Self::ByNode | Self::ByPolicy(ResponsePolicy::Special) => "a map of node to reply",
            Self::InPlace => "each element in the place of its key",
            Self::ByPolicy(ResponsePolicy::AllSucceeded) => "any error, else one of the replies",
            Self::ByPolicy(ResponsePolicy::OneSucceeded) => "any success, else an error",
            Self::ByPolicy(ResponsePolicy::AggSum) => "the sum",
            Self::ByPolicy(ResponsePolicy::AggMin) => "the smallest",
            Self::ByPolicy(ResponsePolicy::AggMax) => "the largest",
            Self::ByPolicy(ResponsePolicy::AggLogicalAnd) => "whether all are true",
            Self::ByPolicy(ResponsePolicy::AggLogicalOr) => "whether any is true",
            Self::ByPolicy(ResponsePolicy::Default) => "all elements in one list",
            Self::OfPlan => "as the plan says",
        }
    }
}

fn by_policy(response: ResponsePolicy, replies: Replies) -> Result<Reply, Error> {
    match response {
        ResponsePolicy::AllSucceeded | ResponsePolicy::OneSucceeded => Ok(first_success(replies)),
        ResponsePolicy::AggSum => aggregate(Builtin::Sum, replies),
        ResponsePolicy::AggMin | ResponsePolicy::AggLogicalAnd => aggregate(Builtin::Min, replies),
        ResponsePolicy::AggMax | ResponsePolicy::AggLogicalOr => aggregate(Builtin::Max, replies),
        ResponsePolicy::Special => Ok(by_node(replies)),
        ResponsePolicy::Default => Ok(joined(replies)),
    }
}

/// Returns the slots without an owner that failures are allowed for, each range with the error that it is.
fn missed_slots(replies: &Replies) -> impl Iterator<Item = (Reply, Reply)> + use<> {
    let missed = replies.missed_slots().into_iter();
    missed.map(|(slots, error)| (slots.into(), Reply::Error(error.to_line().into())))
}

/// Puts each node's reply under its address.
pub(crate) fn by_node(replies: Replies) -> Reply {
    let missed = missed_slots(&replies);
    let by_node = |entry: ShardReply| (entry.node.name().into(), in_place(entry));
    Reply::Map(replies.into_iter().map(by_node).chain(missed).collect())
}

/// Puts the result of the policy on the several replies of a node under its address. A failure among them is all that
/// is shown of the node: it must not vanish in a sum of the rest.
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
        let failed = Error::that_says_most(entries.iter().filter_map(|entry| entry.result.as_ref().err())).cloned();
        let reply = match (failed, entries.pop()) {
            (Some(cause), Some(_)) if asked > 1 => {
                Reply::Error(Error::Incomplete { cause: Box::new(cause), done, asked }.to_line().into())
            }
            (_, Some(last)) if asked == 1 => in_place(last),
            (_, last) => by_policy(policy.response, entries.into_iter().chain(last).collect())?,
        };
        Ok((address, reply))
    });
    merged.collect::<Result<_, Error>>().map(Reply::Map)
}

/// Returns the failures by node, each node once, and by slots without an owner.
pub(crate) fn failures(replies: &Replies) -> Reply {
    let mut failures: Vec<(Reply, Reply)> = Vec::new();
    for (node, error) in replies.errors() {
        let node = Reply::from(node.name());
        if !failures.iter().any(|(known, _)| *known == node) {
            failures.push((node, Reply::Error(error.to_line().into())));
        }
    }
    failures.extend(missed_slots(replies));
    Reply::Map(failures)
}

/// Returns the words of the server where all nodes have refused the command with the same words: it is the command's
/// fault then and no node's.
pub(super) fn refusal_of_all(replies: &Replies) -> Option<Reply> {
    let words = |entry: &ShardReply| entry.result.as_ref().err().and_then(refusal);
    let mut entries = replies.iter();
    let first = words(entries.next()?)?;
    entries.all(|entry| words(entry).as_ref() == Some(&first)).then_some(first)
}

/// Returns a server's own words, unless they would send the caller to another node.
pub(crate) fn refusal(error: &Error) -> Option<Reply> {
    match error {
        Error::Shard { message, .. } if !message.kind().is_redirect() => {
            Some(Reply::Error(message.clone().into_bytes()))
        }
        _ => None,
    }
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

/// Puts each element in the place of its key.
fn scattered(parts: &Parts, replies: Replies) -> Result<Reply, Error> {
    let mut all = vec![Reply::Null; parts.keys()];
    for (entry, places) in replies.into_iter().zip(parts.iter()) {
        match entry.result {
            Ok(Reply::Array(elements)) if elements.len() == places.len() => {
                for (element, &place) in elements.into_iter().zip(places) {
                    all[place] = element;
                }
            }
            Ok(other) => {
                let found = format!("{} for {} keys", other.describe(), places.len());
                return Err(Error::Mixed { reducer: "MERGE", found, node: entry.node.to_string() });
            }
            Err(error) => {
                let error = Bytes::from(error.to_line());
                places.iter().for_each(|&place| all[place] = Reply::Error(error.clone()));
            }
        }
    }
    Ok(Reply::Array(all))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::exec::policy::Source;
    use crate::resp::ServerError;
    use crate::topology::{Address, Node};

    fn policy(request: RequestPolicy, response: ResponsePolicy) -> Policy {
        Policy { request, response, source: Source::Tips }
    }

    /// Entries by the ports of their nodes.
    fn replies(entries: Vec<(u16, Result<Reply, Error>)>) -> Replies {
        let node = |port| Arc::new(Node::new(Address::new("10.0.0.1", port)));
        entries.into_iter().map(|(port, result)| ShardReply { node: node(port), result }).collect()
    }

    fn oom(port: u16) -> Error {
        Error::Shard { node: format!("10.0.0.1:{port}"), message: ServerError::new("OOM"), key: None }
    }

    fn list(words: &[&str]) -> Reply {
        words.iter().map(|word| Reply::from(*word)).collect::<Vec<_>>().into()
    }

    /// Returns the result by node for the parts of a command, with PARTIAL and WITHNODES.
    fn by_node_of(response: ResponsePolicy, entries: Vec<(u16, Result<Reply, Error>)>) -> Vec<(String, Reply)> {
        let policy = policy(RequestPolicy::MultiShard, response);
        let Reply::Map(nodes) = parts_by_node(policy, replies(entries)).unwrap() else { panic!("not a map") };
        let name = |node: Reply| String::from_utf8(node.bytes().unwrap().to_vec()).unwrap();
        nodes.into_iter().map(|(node, reply)| (name(node).replace("10.0.0.1:", ""), reply)).collect()
    }

    #[test]
    fn the_parts_of_a_node_are_merged_as_the_policy_says_each_node_once() {
        let sums = by_node_of(
            ResponsePolicy::AggSum,
            vec![(2, Ok(1.into())), (1, Ok(2.into())), (2, Ok(3.into())), (3, Ok(0.into()))],
        );
        assert_eq!(sums, [("2".into(), 4.into()), ("1".into(), 2.into()), ("3".into(), 0.into())]);
        let ok = || Ok(Reply::Simple("OK".into()));
        let set = by_node_of(ResponsePolicy::AllSucceeded, vec![(1, ok()), (1, ok()), (2, ok())]);
        assert_eq!(set, [("1".into(), Reply::Simple("OK".into())), ("2".into(), Reply::Simple("OK".into()))]);
        let values = by_node_of(
            ResponsePolicy::Default,
            vec![(1, Ok(list(&["a"]))), (2, Ok(list(&["b"]))), (1, Ok(list(&["c"])))],
        );
        assert_eq!(values, [("1".into(), list(&["a", "c"])), ("2".into(), list(&["b"]))]);
    }

    #[test]
    fn a_failed_part_stands_for_its_node_and_says_how_much_was_done() {
        let error = |text: &str| Reply::Error(Bytes::copy_from_slice(text.as_bytes()));
        let sums = by_node_of(
            ResponsePolicy::AggSum,
            vec![(1, Ok(1.into())), (2, Err(oom(2))), (1, Err(oom(1))), (3, Ok(5.into())), (1, Ok(1.into()))],
        );
        let several = error("RMRSHARD 10.0.0.1:1: OOM; 2 of 3 parts were done");
        let only = error("RMRSHARD 10.0.0.1:2: OOM");
        assert_eq!(sums, [("1".into(), several), ("2".into(), only), ("3".into(), 5.into())]);
    }

    #[test]
    fn a_failed_part_has_its_error_in_the_places_of_its_keys() {
        let mut parts = Parts::default();
        parts.push(&[0, 2]);
        parts.push(&[1, 3]);
        let entries = vec![(1, Ok(list(&["a", "c"]))), (2, Err(oom(2)))];
        let merged = Merge::InPlace.apply(&parts, replies(entries)).unwrap();
        let error = Reply::Error(Bytes::from_static(b"RMRSHARD 10.0.0.1:2: OOM"));
        assert_eq!(merged, Reply::Array(vec!["a".into(), error.clone(), "c".into(), error]));
    }

    #[test]
    fn with_partial_the_shape_is_that_of_many_parts_wherever_the_keys_are() {
        let partial = ExecOptions { partial: true, ..ExecOptions::default() };
        let by_node = ExecOptions { with_nodes: true, ..partial.clone() };
        let mget = policy(RequestPolicy::MultiShard, ResponsePolicy::Default);
        let del = policy(RequestPolicy::MultiShard, ResponsePolicy::AggSum);
        let get = policy(RequestPolicy::Default, ResponsePolicy::Default);
        for (policy, how, one, many) in [
            (mget, &ExecOptions::default(), Merge::AsItIs, Merge::InPlace),
            (mget, &partial, Merge::InPlace, Merge::InPlace),
            (mget, &by_node, Merge::ByNode, Merge::ByNode),
            (del, &ExecOptions::default(), Merge::AsItIs, Merge::ByPolicy(ResponsePolicy::AggSum)),
            (del, &partial, Merge::ByPolicy(ResponsePolicy::AggSum), Merge::ByPolicy(ResponsePolicy::AggSum)),
            (del, &by_node, Merge::ByNode, Merge::ByNode),
        ] {
            assert_eq!([1, 2].map(|parts| Merge::of_parts(parts, policy, how)), [one, many], "{policy} {how:?}");
        }
        assert_eq!(Merge::of_parts(1, get, &partial), Merge::AsItIs, "what is never cut has one shape");
    }
}
