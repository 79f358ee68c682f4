//! `RMR.TOPOLOGY`: who is there, as requests see it now.

use std::sync::atomic::Ordering::Relaxed;

use super::spec::{Call, Spec};
use crate::engine::Engine;
use crate::error::Error;
use crate::link::Link;
use crate::module::request::running::Work;
use crate::module::state;
use crate::reply::Reply;
use crate::topology::{Node, Topology};

pub(super) const SPEC: Spec = Spec {
    name: c"RMR.TOPOLOGY",
    summary: c"Shows the nodes that requests are sent to, their slots and the links to them.",
    complexity: c"O(N) where N is the number of nodes",
    arity: 1,
    flags: c"readonly allow-stale",
    acl_categories: "read slow",
    args: &[],
    run,
};

fn run(_call: &Call<'_>) -> Result<Work, Error> {
    let engine = state::engine()?;
    Ok(Box::pin(async move {
        let topology = match engine.topology() {
            Some(topology) => topology,
            None => engine.refresh().await?,
        };
        Ok(describe(&engine, &topology))
    }))
}

pub(super) fn describe(engine: &Engine, topology: &Topology) -> Reply {
    let mut nodes = Vec::new();
    engine.each_link(|node, link| nodes.push(describe_node(topology, node, link)));
    let age = engine.topology_age().unwrap_or_default().as_millis() as i64;
    Reply::Map(vec![
        ("epoch".into(), (topology.epoch() as i64).into()),
        ("source".into(), topology.source().into()),
        ("age-ms".into(), age.into()),
        ("nodes".into(), nodes.into()),
    ])
}

fn describe_node(topology: &Topology, node: &Node, link: &dyn Link) -> Reply {
    let shard = topology.shards().iter().find(|shard| shard.primary.id == node.id);
    let range = |&(first, last): &(u16, u16)| Reply::Array(vec![i64::from(first).into(), i64::from(last).into()]);
    let slots: Vec<Reply> = shard.map(|shard| shard.slots.iter().map(range).collect()).unwrap_or_default();
    let host_id = node.host.as_ref().and_then(|host| host.host_id());
    let host_id = host_id.map(|id| ("host-id".into(), i64::from(id).into()));
    let fields = [("id".into(), node.id.as_str().into())].into_iter().chain(host_id);
    let fields = fields.chain([
        ("address".into(), node.name().into()),
        ("role".into(), node.role.as_str().into()),
        ("slots".into(), slots.into()),
        ("link".into(), link.stats().state().as_str().into()),
        ("in-flight".into(), (link.stats().in_flight.load(Relaxed) as i64).into()),
    ]);
    Reply::Map(fields.collect())
}
