//! What is to be done for a command, decided before anything is sent.

use std::collections::HashMap;

use super::cut::Cutter;
use super::policy::{Policy, RequestPolicy};
use super::{How, Request};
use crate::command::{Command, printable};
use crate::describe::special::Handler;
use crate::engine::{Engine, Targets};
use crate::error::Error;
use crate::topology::Topology;

/// How a command is carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// By its keys: as it is where they belong together, else in parts.
    Keyed(Vec<Part>),
    /// As it is, to many nodes.
    Everywhere(Targets),
    /// As it is, to one node; this one will do.
    One(String),
    /// A cursor over all keys.
    Scan,
    /// One key of all.
    RandomKey,
}

/// A command for some of the caller's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) command: Command,
    /// Which of the caller's keys it has, in order.
    pub(super) places: Vec<usize>,
}

/// Decides.
///
/// # Errors
/// What cannot be done cluster-wide, with the reason and what to do instead.
pub(super) fn plan(
    engine: &Engine,
    topology: &Topology,
    request: &Request,
    how: &How,
) -> Result<(Plan, Policy), Error> {
    let policy = Policy::of(&request.description, &how.overrides);
    Ok((choose(engine, topology, request, how, policy)?, policy))
}

fn choose(engine: &Engine, topology: &Topology, request: &Request, how: &How, policy: Policy) -> Result<Plan, Error> {
    if let Some(targets) = &how.targets {
        return Ok(Plan::Everywhere(targets.clone()));
    }
    let name = || printable(request.description.name.as_bytes());
    let handler = request.description.special().and_then(|special| special.handler);
    if let Some(reason) = request.description.why_not_cluster_wide() {
        return Err(Error::Invalid(format!("'{}' is not run cluster-wide: {reason}", name())));
    }
    Ok(match policy.request {
        RequestPolicy::AllNodes => Plan::Everywhere(Targets::All),
        RequestPolicy::AllShards => Plan::Everywhere(Targets::Primaries),
        RequestPolicy::MultiShard | RequestPolicy::Default if !request.keys.is_empty() => {
            Plan::Keyed(by_keys(engine, topology, request, how, policy)?)
        }
        RequestPolicy::MultiShard | RequestPolicy::Default => Plan::One(any_node(topology, request)?),
        RequestPolicy::Special => match handler {
            Some(Handler::Scan) => Plan::Scan,
            Some(Handler::RandomKey) => Plan::RandomKey,
            None => {
                return Err(Error::Invalid(format!(
                    "there is no generic way to run '{}' cluster-wide; name nodes with ON, NODE or KEY",
                    name()
                )));
            }
        },
    })
}

/// The parts of a keyed command: one for each group of keys that a node takes in one command.
fn by_keys(
    engine: &Engine,
    topology: &Topology,
    request: &Request,
    how: &How,
    policy: Policy,
) -> Result<Vec<Part>, Error> {
    let args: Vec<&[u8]> = request.command.args().collect();
    let mut groups: HashMap<usize, usize> = HashMap::new();
    let mut places: Vec<Vec<usize>> = Vec::new();
    for (place, &at) in request.keys.iter().enumerate() {
        let group = *groups.entry(engine.key_group(topology, args[at])?).or_insert_with(|| {
            places.push(Vec::new());
            places.len() - 1
        });
        places[group].push(place);
    }
    if let [only] = places.as_mut_slice() {
        return Ok(vec![Part { command: request.command.clone(), places: std::mem::take(only) }]);
    }
    let cutter = may_cut(topology, request, &args, how, policy)?;
    Ok(places.into_iter().map(|places| cutter.part(places)).collect())
}

/// What cuts the command.
///
/// # Errors
/// Why it must not be cut.
pub(super) fn may_cut<'a>(
    topology: &Topology,
    request: &Request,
    args: &'a [&'a [u8]],
    how: &How,
    policy: Policy,
) -> Result<Cutter<'a>, Error> {
    if policy.request != RequestPolicy::MultiShard {
        let hint = if topology.parts_slots() { ", so they must share a {hash tag}" } else { "" };
        return Err(keys_apart(topology, request, &format!("works on all its keys at once{hint}")));
    }
    let cutter = Cutter::of(topology, request, args)?;
    let is_write = request.description.has_flag("write");
    let is_safe = request.description.special().is_some_and(|special| special.is_safe_to_split);
    if is_write && !how.nonatomic && !is_safe {
        let places = if topology.parts_slots() { "slots" } else { "hosts" };
        let why = format!("over several {places} is not atomic; RMR.EXEC NONATOMIC runs it in parts");
        return Err(keys_apart(topology, request, &why));
    }
    Ok(cutter)
}

/// The refusal of a command whose keys must not be parted. Plain servers have no slots that keys could cross.
pub(super) fn keys_apart(topology: &Topology, request: &Request, why: &str) -> Error {
    let name = printable(request.description.name.to_ascii_uppercase().as_bytes());
    if topology.parts_slots() {
        Error::CrossSlot(format!("Keys in request don't hash to the same slot: {name} {why}"))
    } else {
        Error::Unroutable(format!("the keys of '{name}' are on several hosts: {name} {why}"))
    }
}

/// The node for a command that any node can answer: the one that we live in, where it can.
///
/// # Errors
/// Of a list of hosts, each has its own data: without a key nobody knows which one is meant.
fn any_node(topology: &Topology, request: &Request) -> Result<String, Error> {
    if !topology.has_slots() {
        let name = printable(request.command.name());
        let why = "has no key that says which node it is for; name nodes with ON, NODE or KEY";
        return Err(Error::Unroutable(format!("'{name}' {why}")));
    }
    let is_write = request.description.has_flag("write");
    if let Some(local) = topology.local() {
        let shard = topology.shards().iter().find(|shard| shard.replicas.iter().any(|replica| replica.id == local.id));
        return Ok(match shard {
            Some(shard) if is_write => shard.primary.id.clone(),
            _ => local.id.clone(),
        });
    }
    let shard = topology.data_shards().next().or(topology.shards().first());
    let shard = shard.ok_or_else(|| Error::Topology(format!("the provider '{}' knows no node", topology.source())))?;
    Ok(shard.primary.id.clone())
}
