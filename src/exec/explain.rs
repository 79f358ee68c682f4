//! Explains what rmr would do for a command, and why. Nothing is sent.

use super::merge::Merge;
use super::options::ExecOptions;
use super::plan::{self, Keyed, Plan};
use super::policy::Policy;
use super::request::DescribedCommand;
use crate::command::Command;
use crate::engine::{Request, Targets};
use crate::error::Error;
use crate::reply::Reply;
use crate::topology::Topology;

/// Returns a map of what is known, what follows from it, and which node would get what.
pub(crate) async fn explain(request: Request, described: DescribedCommand, how: ExecOptions) -> Result<Reply, Error> {
    let topology = request.pinned_topology().await?;
    let policy = Policy::of(&described.description, &how.overrides);
    let mut lines: Vec<(Reply, Reply)> = vec![
        ("command".into(), described.description.name.as_str().into()),
        ("request-policy".into(), policy.request.as_str().into()),
        ("response-policy".into(), policy.response.as_str().into()),
        ("policy-from".into(), policy.source.as_str().into()),
        ("keys".into(), (described.keys.len() as i64).into()),
    ];
    match plan::plan(&request, &topology, &described, &how) {
        Err(error) => lines.push(("refused".into(), Reply::Error(error.to_line().into()))),
        Ok((plan, policy)) => {
            let parts = match &plan {
                Plan::Keyed(keyed) => {
                    let owned = |part: Command| Ok((request.owner(&topology, &part)?.clone(), part));
                    commands(&described, keyed).into_iter().map(owned).collect::<Result<Vec<_>, Error>>()?
                }
                Plan::Everywhere(targets) => {
                    let nodes = request.targeted(&topology, targets)?;
                    nodes.into_iter().map(|node| (node, described.command.clone())).collect()
                }
                Plan::One(node) => {
                    let nodes = request.targeted(&topology, &Targets::Nodes(vec![node.clone()]))?;
                    nodes.into_iter().map(|node| (node, described.command.clone())).collect()
                }
                Plan::Scan | Plan::RandomKey => Vec::new(),
            };
            lines.push(("plan".into(), way(&plan, &topology).into()));
            lines.push(("merge".into(), Merge::of(&plan, policy, &how).as_str().into()));
            let parts = parts.into_iter();
            let parts = parts.map(|(node, part)| vec![node.to_string().into(), Reply::from(part.to_string())].into());
            lines.push(("parts".into(), parts.collect::<Vec<Reply>>().into()));
        }
    }
    Ok(Reply::Map(lines))
}

/// Returns the command of each part.
fn commands(described: &DescribedCommand, keyed: &Keyed<'_>) -> Vec<Command> {
    match &keyed.splitter {
        Some(splitter) if keyed.parts.len() > 1 => keyed.parts.iter().map(|places| splitter.part(places)).collect(),
        _ => vec![described.command.clone()],
    }
}

fn way(plan: &Plan<'_>, topology: &Topology) -> String {
    let places = if topology.requires_same_slot() { "slot" } else { "host" };
    match plan {
        Plan::Keyed(keyed) if keyed.parts.len() == 1 => "unsplit, to the shard of its keys".into(),
        Plan::Keyed(keyed) => {
            format!("split by {places} into {} parts; each part is atomic, the whole is not", keyed.parts.len())
        }
        Plan::Everywhere(Targets::All) => "to all nodes".into(),
        Plan::Everywhere(Targets::Primaries) => "to the primary of every shard that holds data".into(),
        Plan::Everywhere(Targets::AllPrimaries) => "to every primary, those without data included".into(),
        Plan::Everywhere(Targets::Replicas) => "to the replicas of every shard that holds data".into(),
        Plan::Everywhere(Targets::Nodes(_)) => "to the nodes that are named".into(),
        Plan::Everywhere(Targets::Keys(_)) => "to the nodes that hold the keys given with KEY".into(),
        Plan::One(_) => "to one node; any can answer".into(),
        Plan::Scan => "a part of the slots at a time, by a cursor that any node can go on with".into(),
        Plan::RandomKey => "to a shard that is drawn by its number of keys (DBSIZE), then RANDOMKEY there".into(),
    }
}
