//! Any Redis command, cluster-wide, as one would type it on a single server.
//!
//! Nothing here knows single commands, but for a short table of corrections: what a command needs is read from what the
//! server says about it ([`describe`]), which gives its [`policy`]. From that and the keys a [`plan`] is made, before
//! anything is sent; many replies become one again in [`merge`]. [`explain`] shows all of this and sends nothing.

mod cut;
mod explain;
mod glob;
mod merge;
mod plan;
mod policy;
mod random_key;
mod reach;
mod scan;
mod slots;

use std::sync::Arc;

use bytes::Bytes;

pub(crate) use explain::explain;
pub(crate) use merge::{by_node, failures};
pub(crate) use policy::Overrides;
pub(crate) use reach::Reach;
pub(crate) use scan::{Scan, scan};

use crate::command::Command;
pub(crate) use crate::describe::Description;
use crate::describe::special::special;
use crate::engine::{Engine, Options, Replies, ShardReply, Targets};
use crate::error::Error;
use crate::reply::Reply;
use crate::topology::Topology;
use merge::Merge;
use plan::{Part, Plan, may_cut};
use policy::{Policy, ResponsePolicy};

/// A command, and what is known of it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The command as it was given, routed by its first key.
    pub(crate) command: Command,
    /// What the server says of it; of the subcommand, where it has such.
    pub(crate) description: Arc<Description>,
    /// Where its keys stand among the arguments.
    pub(crate) keys: Vec<usize>,
}

/// What the caller wants.
#[derive(Debug, Clone, Default)]
pub(crate) struct How {
    /// These nodes, whatever the policy says.
    pub(crate) targets: Option<Targets>,
    /// Failures may be among the replies.
    pub(crate) partial: bool,
    /// The reply is a map of node to reply.
    pub(crate) with_nodes: bool,
    /// A write may be cut, and is then not atomic.
    pub(crate) nonatomic: bool,
    /// The command changes nothing: it is all the same how much of it was done. Known from its description.
    pub(crate) is_read: bool,
    /// The operator's word about policies.
    pub(crate) overrides: Arc<Overrides>,
}

/// Carries a command out. The deadline is that of the engine.
pub(crate) async fn exec(engine: Engine, request: Request, how: How) -> Result<Reply, Error> {
    let topology = engine.pinned_topology().await?;
    let how = How { is_read: request.description.has_flag("readonly"), ..how };
    let (plan, policy) = plan::plan(&engine, &topology, &request, &how)?;
    match plan {
        Plan::Keyed(parts) => keyed(&engine, &topology, &request, &how, policy, parts).await,
        Plan::Everywhere(targets) => everywhere(&engine, request.command, &how, policy, targets).await,
        Plan::One(node) => everywhere(&engine, request.command, &how, policy, Targets::Nodes(vec![node])).await,
        Plan::Scan => scan(engine, Scan::parse(&request.command)?).await,
        Plan::RandomKey => random_key::random_key(engine).await,
    }
}

/// Sends the parts of a command, each to where its keys are.
async fn keyed(
    engine: &Engine,
    topology: &Topology,
    request: &Request,
    how: &How,
    policy: Policy,
    mut parts: Vec<Part>,
) -> Result<Reply, Error> {
    let args: Vec<&[u8]> = request.command.args().collect();
    let cutter = may_cut(topology, request, &args, how, policy).ok();
    let can_be_cut = |part: &Part| cutter.is_some() && part.places.len() > 1;
    let options = Options::keeping_failures(parts.iter().any(can_be_cut));
    let commands: Vec<Command> = parts.iter().map(|part| part.command.clone()).collect();
    let mut replies = engine.map(commands).with_options(options).await?;
    if let Some(cutter) = &cutter
        && replies.errors().any(|(_, error)| is_tryagain(error))
    {
        // Some keys of a slot have moved, some have not: key by key each finds its own.
        let mut entries = Vec::new();
        let mut cut = Vec::new();
        let mut single = Vec::new();
        for (entry, part) in replies.into_iter().zip(parts) {
            if entry.result.as_ref().is_err_and(is_tryagain) {
                single.extend(part.places.iter().map(|&place| cutter.part(vec![place])));
            } else {
                entries.push(entry);
                cut.push(part);
            }
        }
        let commands: Vec<Command> = single.iter().map(|part| part.command.clone()).collect();
        entries.extend(engine.map(commands).with_options(Options::keeping_failures(false)).await?);
        cut.extend(single);
        (replies, parts) = (entries.into_iter().collect(), cut);
    }
    match Merge::of_parts(parts.len(), policy, how) {
        Merge::AsItIs => one(replies),
        Merge::ByNode => incomplete(how, &replies).map_or_else(|| merge::parts_by_node(policy, replies), Err),
        merge => merged(request, how, &parts, merge, replies),
    }
}

fn merged(request: &Request, how: &How, parts: &[Part], merge: Merge, replies: Replies) -> Result<Reply, Error> {
    if !how.partial {
        // A write that was done in part must say so, and one that may have been done.
        let changes = request.description.has_flag("write") && replies.ok().next().is_some();
        let is_unknown = replies.errors().any(|(_, error)| error.is_outcome_unknown());
        if let Some(refusal) = first_refusal(&replies).filter(|_| !changes && !is_unknown) {
            return Ok(refusal);
        }
        if let Some(error) = incomplete(how, &replies) {
            return Err(error);
        }
    }
    with_failures(how, merge, parts, replies)
}

/// The merged replies; with PARTIAL beside the failures, but where these have places of their own in it.
fn with_failures(how: &How, merge: Merge, parts: &[Part], replies: Replies) -> Result<Reply, Error> {
    if !how.partial || matches!(merge, Merge::InPlace | Merge::ByNode) {
        return merge.apply(parts, replies);
    }
    let failures = merge::failures(&replies);
    Ok(Reply::Array(vec![merge.apply(parts, replies)?, failures]))
}

/// Sends a command as it is to many nodes.
async fn everywhere(
    engine: &Engine,
    command: Command,
    how: &How,
    policy: Policy,
    targets: Targets,
) -> Result<Reply, Error> {
    let merge = Merge::of_nodes(&targets, policy, how);
    let reveals_keys = special(command.name()).is_some_and(|special| special.names_keys);
    let options = Options::keeping_failures(false).partial(how.partial);
    let mut replies = engine.fan_out(command).targets(targets).with_options(options).await?;
    if reveals_keys {
        replies = only_readable(engine, replies).await?;
    }
    if merge == Merge::AsItIs {
        return one(replies);
    }
    let one_is_enough = policy.response == ResponsePolicy::OneSucceeded && replies.ok().next().is_some();
    if !how.partial && !one_is_enough {
        if let Some(refusal) = merge::refusal_of_all(&replies) {
            return Ok(refusal);
        }
        if let Some(error) = incomplete(how, &replies) {
            return Err(error);
        }
    }
    with_failures(how, merge, &[], replies)
}

/// The answer of one node: its own words, errors too.
fn one(replies: Replies) -> Result<Reply, Error> {
    match replies.into_iter().next().map(|entry| entry.result) {
        Some(Err(error)) => refusal(&error).ok_or(error),
        Some(Ok(reply)) => Ok(reply),
        None => Err(Error::Topology("no node was asked".into())),
    }
}

/// The first error that a server has given to a part of a command, in its own words.
fn first_refusal(replies: &Replies) -> Option<Reply> {
    replies.errors().find_map(|(_, error)| refusal(error))
}

/// A server's own words, but for those that would send the caller to another node.
pub(crate) fn refusal(error: &Error) -> Option<Reply> {
    match error {
        Error::Shard { message, .. } if !message.starts_with(b"MOVED ") && !message.starts_with(b"ASK ") => {
            Some(Reply::Error(message.clone()))
        }
        _ => None,
    }
}

/// The first failure, unless failures are allowed; it says how much was done all the same. One that leaves open what was
/// done says more than one that does not.
fn incomplete(how: &How, replies: &Replies) -> Option<Error> {
    if how.partial {
        return None;
    }
    let mut errors = replies.errors().map(|(_, error)| error);
    let first = errors.next()?;
    if how.is_read {
        return Some(first.clone());
    }
    let cause =
        if first.is_outcome_unknown() { first } else { errors.find(|e| e.is_outcome_unknown()).unwrap_or(first) };
    let (cause, done, asked) = (cause.clone(), replies.ok().count(), replies.len());
    let says_all = done == 0 && (asked == 1 || !cause.is_outcome_unknown());
    Some(if says_all { cause } else { Error::Incomplete { cause: Box::new(cause), done, asked } })
}

fn is_tryagain(error: &Error) -> bool {
    matches!(error, Error::Shard { message, .. } if message.starts_with(b"TRYAGAIN"))
}

/// Leaves of lists of keys those that the caller may read.
async fn only_readable(engine: &Engine, replies: Replies) -> Result<Replies, Error> {
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

/// The keys that the caller may read.
async fn readable(engine: &Engine, keys: Vec<Reply>) -> Result<Vec<Reply>, Error> {
    let names: Vec<Bytes> = keys.iter().filter_map(Reply::bytes).map(Bytes::copy_from_slice).collect();
    Ok(match engine.may_read(names).await? {
        Some(verdicts) => keys.into_iter().zip(verdicts).filter_map(|(key, may)| may.then_some(key)).collect(),
        None => keys,
    })
}
