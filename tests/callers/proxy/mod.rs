//! `rmr.proxy-mode`: plain commands of plain clients, answered by any node for the whole cluster.
//!
//! Redis 7.0 refuses the mode, as it does not tell modules whose command they see. Every test here finds out from the
//! server what it is, and checks the refusal there.
//!
//! All that is not about the mode itself holds for the program `rmr-proxy` as well, on all servers, and is tested with both.

mod answers;
mod exempt;
mod life;
mod modes;
mod moving;
mod rights;

use crate::common::{Cluster, ClusterBuilder, RmrProxy, Server, Wire, error_text};

/// Returns whether the server tells modules whose command they see.
fn is_possible(node: &Server) -> bool {
    node.redis_version() >= (7, 2)
}

/// Sets the mode on one node. `false` where the server cannot have it, which it must then have said.
fn set(node: &Server, mode: &str) -> bool {
    let set = node.try_run::<String>(&["CONFIG", "SET", "rmr.proxy-mode", mode]);
    if is_possible(node) {
        assert_eq!(set.expect("a mode that this server can have"), "OK");
        return true;
    }
    let refusal = error_text(&set.expect_err("a mode that this server cannot have"));
    for part in ["does not tell modules whose command they see", "rmr.proxy-mode takes Redis 7.2 or Valkey"] {
        assert!(refusal.contains(part), "{refusal}");
    }
    assert_eq!(node.reply("CONFIG GET rmr.proxy-mode"), "[\"rmr.proxy-mode\", \"off\"]");
    false
}

/// Sets the mode on all nodes.
fn set_all(cluster: &Cluster, mode: &str) -> bool {
    // All are told, also after one has refused.
    let set: Vec<bool> = cluster.nodes().iter().map(|node| set(node, mode)).collect();
    set.into_iter().all(|set| set)
}

/// A cluster of three shards in the mode `on`; `None` where the server cannot have it.
fn proxied() -> Option<Cluster> {
    proxied_of(Cluster::builder())
}

/// Starts a cluster of three shards with this builder, in the mode `on`.
fn proxied_of(builder: ClusterBuilder) -> Option<Cluster> {
    let cluster = builder.start();
    set_all(&cluster, "on").then_some(cluster)
}

/// Returns the number of commands that a node has rewritten. The question is one for the node itself.
fn rewritten(node: &Server) -> u64 {
    node.rmr_figure("proxied_commands")
}

/// A cluster of three shards, or more nodes, that plain clients find behind doors: its nodes in the mode, or as many
/// programs.
struct Served {
    cluster: Cluster,
    /// None where the nodes are in the mode.
    programs: Vec<RmrProxy>,
}

impl Served {
    /// Starts proxied clusters in every way that this server can be: the mode, and the program.
    fn in_all_ways(start: impl Fn() -> ClusterBuilder) -> Vec<Self> {
        let cluster = start().start();
        let mut served = Vec::new();
        if set_all(&cluster, "on") {
            served.push(Self { cluster, programs: Vec::new() });
        }
        let cluster = start().module(false).start();
        let programs = cluster.primaries().iter().map(|_| RmrProxy::before(&cluster).start()).collect();
        served.push(Self { cluster, programs });
        served
    }

    /// Starts proxied clusters of three shards in every way.
    fn three() -> Vec<Self> {
        Self::in_all_ways(|| Cluster::builder().shards(3))
    }

    fn is_by_program(&self) -> bool {
        !self.programs.is_empty()
    }

    fn doors(&self) -> usize {
        self.cluster.primaries().len()
    }

    /// A connection to one of the doors.
    fn wire(&self, door: usize) -> Wire {
        self.programs.get(door).map_or_else(|| self.cluster.node(door).wire(), RmrProxy::wire)
    }

    /// Returns a connection to one of the doors, in RESP3.
    fn wire3(&self, door: usize) -> Wire {
        self.programs.get(door).map_or_else(|| self.cluster.node(door).wire3(), RmrProxy::wire3)
    }
}
