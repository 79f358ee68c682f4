//! Plans all that is sent for a command, before anything is sent.

use super::options::ExecOptions;
use super::part::{Parts, keys_apart};
use super::policy::{Policy, RequestPolicy};
use super::request::DescribedCommand;
use super::split::Splitter;
use crate::command::printable;
use crate::describe::special::Handler;
use crate::engine::{Request, Targets};
use crate::error::Error;
use crate::topology::Topology;

/// Says how a command is carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan<'r> {
    /// Send it by its keys: as it is where they belong together, else in parts.
    Keyed(Keyed<'r>),
    /// Send it as it is, to many nodes.
    Everywhere(Targets),
    /// Send it as it is to one node, by this name.
    One(String),
    /// A cursor over all keys.
    Scan,
    /// Return one of all keys.
    RandomKey,
}

/// The parts of a keyed command, one for each group of keys that a node takes in one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keyed<'r> {
    pub(super) parts: Parts,
    /// The splitter of the command; `None` if it must not be split, and has one part.
    pub(super) splitter: Option<Splitter<'r>>,
}

/// Decides.
///
/// # Errors
/// The error says what cannot be done cluster-wide, with the reason and what to do instead.
pub(super) fn plan<'r>(
    request: &Request,
    topology: &Topology,
    described: &'r DescribedCommand,
    how: &ExecOptions,
) -> Result<(Plan<'r>, Policy), Error> {
    let policy = Policy::of(&described.description, &how.overrides);
    Ok((choose(request, topology, described, how, policy)?, policy))
}

fn choose<'r>(
    request: &Request,
    topology: &Topology,
    described: &'r DescribedCommand,
    how: &ExecOptions,
    policy: Policy,
) -> Result<Plan<'r>, Error> {
    let name = || printable(described.description.name.as_bytes());
    let is_one = matches!(&how.targets, Some(Targets::Nodes(nodes)) if nodes.len() == 1)
        || matches!(&how.targets, Some(Targets::Keys(keys)) if keys.len() == 1);
    if !is_one && deletes_all_functions(described) {
        let why = "the payload holds no library, so that FLUSH would delete all of all nodes; FUNCTION FLUSH does that";
        return Err(Error::Refused(format!("'{}' is not sent to several nodes: {why}", name())));
    }
    if let Some(targets) = &how.targets {
        if *targets == Targets::Replicas && described.description.has_flag("write") {
            let why = "it writes, which replicas do not; send it without ON REPLICAS";
            return Err(Error::Refused(format!("'{}' is not sent to replicas: {why}", name())));
        }
        return Ok(Plan::Everywhere(targets.clone()));
    }
    let handler = described.description.special().and_then(|special| special.handler);
    if let Some(reason) = described.description.why_not_cluster_wide() {
        return Err(Error::Refused(format!("'{}' is not run cluster-wide: {reason}", name())));
    }
    Ok(match policy.request {
        RequestPolicy::AllNodes => Plan::Everywhere(Targets::All),
        RequestPolicy::AllShards => Plan::Everywhere(Targets::Primaries),
        RequestPolicy::AllPrimaries => Plan::Everywhere(Targets::AllPrimaries),
        RequestPolicy::MultiShard | RequestPolicy::Default if !described.keys.is_empty() => {
            Plan::Keyed(by_keys(request, topology, described, how, policy)?)
        }
        RequestPolicy::MultiShard | RequestPolicy::Default => Plan::One(any_node(topology, described)?),
        RequestPolicy::Special => match handler {
            Some(_) if how.with_nodes => {
                let why = "its answer is that of all nodes together; name nodes with ON, NODE or KEY";
                return Err(Error::Refused(format!("WITHNODES is not for '{}': {why}", name())));
            }
            Some(Handler::RandomKey) if how.partial => {
                let why = "nobody could tell what is missing; name nodes with ON, NODE or KEY";
                return Err(Error::Refused(format!("PARTIAL is not for '{}': {why}", name())));
            }
            Some(Handler::Scan) => Plan::Scan,
            Some(Handler::RandomKey) => Plan::RandomKey,
            None => {
                return Err(Error::Refused(format!(
                    "there is no generic way to run '{}' cluster-wide; name nodes with ON, NODE or KEY",
                    name()
                )));
            }
        },
    })
}

/// Tells whether the command is a `FUNCTION RESTORE` of nothing in the place of everything: what a node that lacks the
/// functions of the others gives for `FUNCTION DUMP` does that.
fn deletes_all_functions(described: &DescribedCommand) -> bool {
    /// The version and the checksum, with no library in front of them.
    const EMPTY_PAYLOAD: usize = 10;
    let args: Vec<&[u8]> = described.command.words().collect();
    described.description.name == "function|restore"
        && matches!(args[..], [_, _, payload, how] if payload.len() == EMPTY_PAYLOAD && how.eq_ignore_ascii_case(b"FLUSH"))
}

/// Puts the keys together that belong together.
fn by_keys<'r>(
    request: &Request,
    topology: &Topology,
    described: &'r DescribedCommand,
    how: &ExecOptions,
    policy: Policy,
) -> Result<Keyed<'r>, Error> {
    let parts = Parts::of(request, topology, described)?;
    let splitter = splitter(topology, described, how, policy);
    let splitter = if parts.len() == 1 { splitter.ok() } else { Some(splitter?) };
    Ok(Keyed { parts, splitter })
}

/// Returns what splits the command.
///
/// # Errors
/// The error says why it must not be split.
fn splitter<'r>(
    topology: &Topology,
    described: &'r DescribedCommand,
    how: &ExecOptions,
    policy: Policy,
) -> Result<Splitter<'r>, Error> {
    if policy.request != RequestPolicy::MultiShard {
        let hint = if topology.requires_same_slot() { ", so they must share a {hash tag}" } else { "" };
        return Err(keys_apart(topology, described, &format!("works on all its keys at once{hint}")));
    }
    let splitter = Splitter::of(topology, described)?;
    let is_write = described.description.has_flag("write");
    let is_safe = described.description.special().is_some_and(|special| special.is_safe_to_split);
    if is_write && !how.nonatomic && !is_safe {
        let places = if topology.requires_same_slot() { "slots" } else { "hosts" };
        let way = how.way_to_split.unwrap_or("RMR.EXEC NONATOMIC");
        let why = format!("over several {places} is not atomic; {way} runs it in parts");
        return Err(keys_apart(topology, described, &why));
    }
    Ok(splitter)
}

/// Finds the node for a command that any node can answer: the one that we live in, where it can.
///
/// # Errors
/// Of a list of hosts, each has its own data: without a key nobody knows which one is meant.
fn any_node(topology: &Topology, described: &DescribedCommand) -> Result<String, Error> {
    if !topology.has_slots() {
        let name = printable(described.command.name());
        let why = "has no key that says which node it is for; name nodes with ON, NODE or KEY";
        return Err(Error::Unroutable(format!("'{name}' {why}")));
    }
    let is_write = described.description.has_flag("write");
    if let Some(local) = topology.local() {
        let shard = topology.shards().iter().find(|shard| shard.replicas.iter().any(|replica| replica.id == local.id));
        return Ok(match shard {
            Some(shard) if is_write => shard.primary.id.clone(),
            _ => local.id.clone(),
        });
    }
    let shard = topology.data_shards().next().or(topology.shards().first());
    let shard = shard.ok_or_else(|| Error::no_node(topology.source()))?;
    Ok(shard.primary.id.clone())
}
