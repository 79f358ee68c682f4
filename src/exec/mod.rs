//! Any Redis command, cluster-wide, as one would type it on a single server.
//!
//! Nothing here knows single commands, but for a short table of corrections: what a command needs is read from what the
//! server says about it ([`describe`](crate::describe)), which gives its [`policy`]. From that and the keys a [`plan`] is made, before
//! anything is sent; many replies become one again in [`merge`]. [`explain()`] shows all of this and sends nothing.

mod explain;
mod merge;
#[cfg(feature = "module")]
mod node_code;
mod options;
mod part;
mod plan;
mod policy;
mod random_key;
mod reach;
mod request;
mod scan;
mod split;

pub(crate) use explain::explain;
pub(crate) use merge::{by_node, failures, refusal};
#[cfg(feature = "module")]
pub(crate) use node_code::{NodeCode, node_code};
pub(crate) use options::ExecOptions;
pub(crate) use policy::Overrides;
pub(crate) use reach::Reach;
pub(crate) use request::{DescribedCommand, Undescribed};
pub(crate) use scan::{Scan, scan};

use crate::command::Command;
use crate::engine::{Options, Replies, Request, Targets, slot_keys};
use crate::error::Error;
use crate::reply::Reply;
use crate::resp::ServerErrorKind;
use merge::Merge;
use part::Parts;
use plan::{Keyed, Plan};
use policy::{Policy, ResponsePolicy};

/// Carries a command out. The deadline is that of the request.
pub(crate) async fn exec(request: Request, described: DescribedCommand, how: ExecOptions) -> Result<Reply, Error> {
    let topology = request.pinned_topology().await?;
    let how = ExecOptions { is_read: described.description.has_flag("readonly"), ..how };
    let (plan, policy) = plan::plan(&request, &topology, &described, &how)?;
    match plan {
        Plan::Keyed(keyed) => by_keys(&request, &described, &how, policy, keyed).await,
        Plan::Everywhere(targets) => everywhere(&request, described.command.clone(), &how, policy, targets).await,
        Plan::One(node) => {
            everywhere(&request, described.command.clone(), &how, policy, Targets::Nodes(vec![node])).await
        }
        Plan::Scan => scan(request, Scan::parse(&described.command)?.partial(how.partial)).await,
        Plan::RandomKey => random_key::random_key(request, how.inconsistent).await,
    }
}

/// Sends the parts of a command, each to where its keys are.
async fn by_keys(
    request: &Request,
    described: &DescribedCommand,
    how: &ExecOptions,
    policy: Policy,
    keyed: Keyed<'_>,
) -> Result<Reply, Error> {
    let Keyed { mut parts, splitter } = keyed;
    let commands = match &splitter {
        Some(splitter) if parts.len() > 1 => splitter.commands(&parts),
        _ => vec![described.command.clone()].into(),
    };
    let may_split_more = splitter.is_some() && parts.has_several_keys_in_one();
    let options = Options::keeping_failures(may_split_more).partial(how.partial);
    let mut replies = match request.map_commands(commands).with_options(options).await {
        Ok(replies) => replies,
        // This node would refuse its part, so no part was sent.
        Err(error) => return refusal(&error).ok_or(error),
    };
    if let Some(splitter) = &splitter
        && replies.errors().any(|(_, error)| is_tryagain(error))
    {
        // Some keys of a slot have moved, some have not: key by key each finds its own.
        let mut entries = Vec::new();
        let mut done = Parts::default();
        let mut single = Parts::default();
        for (entry, places) in replies.into_iter().zip(parts.iter()) {
            if entry.result.as_ref().is_err_and(is_tryagain) {
                places.iter().for_each(|&place| single.push(&[place]));
            } else {
                entries.push(entry);
                done.push(places);
            }
        }
        let commands = request.map_commands(splitter.commands(&single));
        entries.extend(commands.with_options(Options::keeping_failures(false).going_on()).await?);
        single.iter().for_each(|places| done.push(places));
        (replies, parts) = (entries.into_iter().collect(), done);
    }
    match Merge::of_parts(parts.len(), policy, how) {
        Merge::AsItIs => one(replies),
        Merge::ByNode => incomplete(how, &replies).map_or_else(|| merge::parts_by_node(policy, replies), Err),
        merge => merged(described, how, &parts, merge, replies),
    }
}

fn merged(
    described: &DescribedCommand,
    how: &ExecOptions,
    parts: &Parts,
    merge: Merge,
    replies: Replies,
) -> Result<Reply, Error> {
    if !how.partial {
        // A write that was done in part must say so, and one that may have been done.
        let changes = described.description.has_flag("write") && replies.ok().next().is_some();
        let is_unknown = replies.errors().any(|(_, error)| error.is_outcome_unknown());
        if let Some(refusal) = refusal_of_a_part(&replies).filter(|_| !changes && !is_unknown) {
            return Ok(refusal);
        }
        if let Some(error) = incomplete(how, &replies) {
            return Err(error);
        }
    }
    with_failures(how, merge, parts, replies)
}

/// Returns the merged replies; with PARTIAL beside the failures, unless these have places of their own in them.
fn with_failures(how: &ExecOptions, merge: Merge, parts: &Parts, replies: Replies) -> Result<Reply, Error> {
    if !how.partial || matches!(merge, Merge::InPlace | Merge::ByNode) {
        return merge.apply(parts, replies);
    }
    let failures = merge::failures(&replies);
    Ok(Reply::Array(vec![merge.apply(parts, replies)?, failures]))
}

/// Sends a command as it is to many nodes.
async fn everywhere(
    request: &Request,
    command: Command,
    how: &ExecOptions,
    policy: Policy,
    targets: Targets,
) -> Result<Reply, Error> {
    let merge = Merge::of_nodes(&targets, policy, how);
    let options = Options::keeping_failures(false).partial(how.partial).allow_inconsistent(how.inconsistent);
    let lists_keys = command.name().eq_ignore_ascii_case(b"KEYS");
    let replies = match request.fan_out(command).targets(targets).with_options(options).await {
        Ok(replies) => replies,
        // One node would refuse what concerns them all, so none was asked to do it.
        Err(error) => return refusal(&error).ok_or(error),
    };
    if merge == Merge::AsItIs {
        return one(replies);
    }
    let replies = if lists_keys { without_those_under_construction(replies) } else { replies };
    let one_is_enough = policy.response == ResponsePolicy::OneSucceeded && replies.ok().next().is_some();
    if !how.partial && !one_is_enough {
        if let Some(refusal) = merge::refusal_of_all(&replies) {
            return Ok(refusal);
        }
        if let Some(error) = incomplete(how, &replies) {
            return Err(error);
        }
    }
    with_failures(how, merge, &Parts::default(), replies)
}

/// Returns lists of keys without the names of results under construction.
fn without_those_under_construction(mut replies: Replies) -> Replies {
    let is_shown = |key: &Reply| !key.bytes().is_some_and(slot_keys::is_under_construction);
    for reply in replies.ok_mut() {
        if let Reply::Array(keys) = reply {
            keys.retain(is_shown);
        }
    }
    replies
}

/// Returns the answer of one node: its own words, errors too.
fn one(replies: Replies) -> Result<Reply, Error> {
    match replies.into_iter().next().map(|entry| entry.result) {
        Some(Err(error)) => refusal(&error).ok_or(error),
        Some(Ok(reply)) => Ok(reply),
        None => Err(Error::Topology("no node was asked".into())),
    }
}

/// Returns the error that says most of those that servers have given to parts of a command, in its own words.
fn refusal_of_a_part(replies: &Replies) -> Option<Reply> {
    let refusals = replies.errors().map(|(_, error)| error).filter(|error| refusal(error).is_some());
    Error::that_says_most(refusals).and_then(refusal)
}

/// Returns the failure that says most, unless failures are allowed; it says how much was done all the same.
fn incomplete(how: &ExecOptions, replies: &Replies) -> Option<Error> {
    if how.partial {
        return None;
    }
    let cause = Error::that_says_most(replies.errors().map(|(_, error)| error))?.clone();
    if how.is_read {
        return Some(cause);
    }
    let (done, asked) = (replies.ok().count(), replies.len());
    let says_all = done == 0 && (asked == 1 || !cause.is_outcome_unknown());
    Some(if says_all { cause } else { Error::Incomplete { cause: Box::new(cause), done, asked } })
}

fn is_tryagain(error: &Error) -> bool {
    matches!(error, Error::Shard { message, .. } if message.kind() == ServerErrorKind::TryAgain)
}
