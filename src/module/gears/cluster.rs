//! The commands about the cluster, and [`ClusterView`]: the cluster as RedisGears knows it. The engine knows by itself
//! which nodes there are: nobody has to send `RG.REFRESHCLUSTER` after a change.

use super::asking::{self, GearsAsked};
use super::command::{GearsCommand, control, own};
use super::executions::NO_NODE;
use super::replies;
use crate::command::Command;
use crate::engine::Request;
use crate::error::Error;
use crate::module::commands::spec::Call;
use crate::module::inquiry::AskingUser;
use crate::module::request::running::Work;
use crate::module::server::context::Ctx;
use crate::module::state;
use crate::reply::Reply;
use crate::topology::{Address, Shard, Topology};

pub(super) const INFOCLUSTER: GearsCommand =
    control(c"RG.INFOCLUSTER", c"Shows the shards of the cluster.", 1, info_cluster);

pub(super) const REFRESHCLUSTER: GearsCommand = control(
    c"RG.REFRESHCLUSTER",
    c"Looks at the cluster again now. Never needed, since each node does so by itself.",
    1,
    refresh_cluster,
);

pub(super) const HELLO: GearsCommand = own(c"RG.HELLO", c"Returns the run id of this node of a cluster.", 1, hello);

pub(super) const NETWORKTEST: GearsCommand =
    control(c"RG.NETWORKTEST", c"Answers OK if all shards can be asked.", 1, network_test);

/// The cluster, as RedisGears knows it. One shard alone is none; neither are servers on which keys are placed by something else
/// than slots, since records change shards by the slots of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClusterView {
    pub(super) is_cluster: bool,
    /// The id of this node, or what stands for it in ids where there is no cluster.
    pub(super) id: String,
}

impl ClusterView {
    pub(super) fn of(topology: &Topology) -> Self {
        let is_cluster = topology.requires_same_slot() && topology.data_shards().nth(1).is_some();
        let own = topology.local().filter(|_| is_cluster);
        Self { is_cluster, id: own.map_or_else(|| NO_NODE.to_owned(), |node| node.id.clone()) }
    }

    /// Returns the cluster as this node knows it now; [`None`] before it has looked. From any thread.
    pub(super) fn known() -> Option<Self> {
        state::engine_if_started()?.topology().map(|topology| Self::of(&topology))
    }

    /// Returns the id as it stands in the ids of executions.
    pub(super) fn padded_id(&self) -> String {
        padded(&self.id)
    }

    /// Returns the name by which scripts know this shard.
    pub(super) fn shard_name(&self) -> &str {
        if self.is_cluster { &self.id } else { "1" }
    }

    /// Returns the ids of the shards that have a share of a flow, this one's first.
    pub(super) fn shards_of(&self, is_local: bool, topology: &Topology) -> Vec<String> {
        if is_local || !self.is_cluster {
            return vec![self.padded_id()];
        }
        let others = topology.data_shards().filter(|shard| shard.primary.id != self.id);
        std::iter::once(self.padded_id()).chain(others.map(|shard| padded(&shard.primary.id))).collect()
    }
}

/// Returns the id of this node, or what stands for it where there is no cluster. On the main thread.
pub(super) fn own_id(ctx: Ctx<'_>) -> String {
    ctx.cluster_id().unwrap_or_else(|| NO_NODE.to_owned())
}

/// Returns the id of a node with the length of those in a cluster.
fn padded(id: &str) -> String {
    format!("{id:0>40}")
}

fn info_cluster(call: &Call<'_>) -> Result<Work, Error> {
    let request = call.request()?.begin();
    let own_run_id = call.ctx.server_info(c"server", c"run_id").unwrap_or_default();
    Ok(Box::pin(async move {
        let topology = request.pinned_topology().await?;
        let view = ClusterView::of(&topology);
        if !view.is_cluster {
            return Ok(Reply::from("no cluster mode"));
        }
        let run_ids = run_ids(&request).await;
        let run_id = |shard: &Shard| {
            if topology.is_local(&shard.primary) {
                return Reply::from(own_run_id.as_str());
            }
            let known = run_ids.iter().find(|(node, _)| *node == shard.primary.id);
            known.map_or(Reply::Null, |(_, id)| id.as_str().into())
        };
        let shards = topology.data_shards().map(|shard| of_shard(shard, run_id(shard))).collect();
        Ok(Reply::Array(vec![
            "MyId".into(),
            view.padded_id().into(),
            "MyRunId".into(),
            own_run_id.as_str().into(),
            Reply::Array(shards),
        ]))
    }))
}

/// Asks all shards who they are. One that cannot be asked is left out.
async fn run_ids(request: &Request) -> Vec<(String, String)> {
    let Ok(replies) = request.fan_out(Command::new("INFO").arg("server")).partial(true).await else {
        return Vec::new();
    };
    let of_reply = |reply: &Reply| {
        let info = String::from_utf8_lossy(reply.bytes()?).into_owned();
        Some(info.lines().find_map(|line| line.strip_prefix("run_id:"))?.trim().to_owned())
    };
    let known =
        replies.iter().filter_map(|reply| Some((reply.node.id.clone(), of_reply(reply.result.as_ref().ok()?)?)));
    known.collect()
}

fn of_shard(shard: &Shard, run_id: Reply) -> Reply {
    let (host, port) = match &shard.primary.address {
        Address::Tcp { host, port } => (host.clone(), i64::from(*port)),
        Address::Unix { path } => (path.clone(), 0),
    };
    let first = shard.slots.first().map_or(0, |range| i64::from(range.0));
    let last = shard.slots.last().map_or(0, |range| i64::from(range.1));
    replies::flat([
        ("id", padded(&shard.primary.id).into()),
        ("ip", host.into()),
        ("port", port.into()),
        ("unixSocket", "None".into()),
        ("runid", run_id),
        ("minHslot", first.into()),
        ("maxHslot", last.into()),
        ("pendingMessages", Reply::Integer(0)),
    ])
}

fn refresh_cluster(_call: &Call<'_>) -> Result<Work, Error> {
    let engine = state::engine()?;
    Ok(Box::pin(async move {
        engine.refresh().await?;
        Ok(Reply::OK)
    }))
}

fn hello(call: &Call<'_>) -> Result<Work, Error> {
    let request = call.request()?.begin();
    let run_id = call.ctx.server_info(c"server", c"run_id").unwrap_or_default();
    Ok(Box::pin(async move {
        let view = ClusterView::of(&*request.pinned_topology().await?);
        Ok(match view.is_cluster {
            true => run_id.into(),
            false => replies::error("ERRCLUSTER NULL cluster state on hello msg"),
        })
    }))
}

fn network_test(call: &Call<'_>) -> Result<Work, Error> {
    let (requests, user) = (call.request()?, AskingUser::of(call.ctx));
    Ok(Box::pin(async move {
        let answers = asking::ask_others(&GearsAsked::Ping, requests, &user).await?;
        answers.into_iter().collect::<Result<Vec<Reply>, Error>>()?;
        Ok(Reply::OK)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Node;

    #[test]
    fn one_shard_is_no_cluster() {
        let shard = |at: u16| Shard::new(Node::new(Address::new("h", 7001 + at)).into()).slots([(at, at)]);
        let nodes = |count: u16| Topology::with_slots("test", (0..count).map(shard).collect()).with_local("h:7001");
        let alone = ClusterView::of(&nodes(1));
        assert_eq!((alone.is_cluster, alone.padded_id().as_str(), alone.shard_name()), (false, NO_NODE, "1"));
        assert_eq!(alone.shards_of(false, &nodes(1)), [NO_NODE]);
        let of_two = ClusterView::of(&nodes(2));
        assert_eq!(of_two.shards_of(true, &nodes(2)).len(), 1);
        assert_eq!((of_two.is_cluster, of_two.shard_name()), (true, "h:7001"));
        assert_eq!(of_two.shards_of(false, &nodes(2))[1], format!("{}h:7002", "0".repeat(34)));
    }
}
