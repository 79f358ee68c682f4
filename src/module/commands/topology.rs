//! `RMR.TOPOLOGY`: who is there, as requests see it now; with `CODE`, who lacks the functions and users that others have.

use std::sync::atomic::Ordering::Relaxed;

use super::spec::{Arg, Call, Spec};
use crate::engine::Engine;
use crate::error::Error;
use crate::exec::{NodeCode, node_code};
use crate::link::Link;
use crate::module::request::running::Work;
use crate::module::state;
use crate::reply::Reply;
use crate::topology::{Node, Topology};

pub(super) const SPEC: Spec = Spec {
    name: c"RMR.TOPOLOGY",
    summary: c"Shows the nodes that requests are sent to, their slots and the links to them.",
    complexity: c"O(N) where N is the number of nodes",
    arity: -1,
    flags: c"readonly blocking allow-stale",
    acl_categories: "read slow blocking",
    args: &[Arg::word(c"code", c"CODE").optional()],
    run,
};

fn run(call: &Call<'_>) -> Result<Work, Error> {
    let request = match call.args[..] {
        [] => None,
        [word] if word.eq_ignore_ascii_case(b"CODE") => Some(call.request()?.begin()),
        _ => return Err(Error::Invalid("wrong number of arguments for 'rmr.topology' command".into())),
    };
    let engine = state::engine()?;
    Ok(Box::pin(async move {
        let topology = match engine.topology() {
            Some(topology) => topology,
            None => engine.refresh().await?,
        };
        let code = match &request {
            Some(request) => node_code(request).await?,
            None => Vec::new(),
        };
        Ok(describe_with_code(&engine, &topology, &code))
    }))
}

pub(super) fn describe(engine: &Engine, topology: &Topology) -> Reply {
    describe_with_code(engine, topology, &[])
}

fn describe_with_code(engine: &Engine, topology: &Topology, code: &[NodeCode]) -> Reply {
    let mut nodes = Vec::new();
    engine.each_link(|node, link| {
        let code = code.iter().find(|code| code.node.id == node.id);
        nodes.push(describe_node(topology, node, link, code));
    });
    let age = engine.topology_age().unwrap_or_default().as_millis() as i64;
    Reply::Map(vec![
        ("epoch".into(), (topology.epoch() as i64).into()),
        ("source".into(), topology.source().into()),
        ("age-ms".into(), age.into()),
        ("nodes".into(), nodes.into()),
    ])
}

fn describe_node(topology: &Topology, node: &Node, link: &dyn Link, code: Option<&NodeCode>) -> Reply {
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
    Reply::Map(fields.chain(code.map(NodeCode::fields).unwrap_or_default()).collect())
}
