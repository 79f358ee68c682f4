//! Nodes that reduce their own share: the answer is the one that plain commands give, whatever happens on the way.

mod both_ways;
mod declined;
mod direct;
mod given_up;
mod moved;
mod requests;

use crate::common::{Cluster, ClusterBuilder};

/// Returns a cluster whose nodes have each other reduce their share.
fn pushing(shards: usize) -> Cluster {
    pushing_of(Cluster::builder(), shards)
}

/// Starts a cluster with this builder, of which every node pushes down.
fn pushing_of(builder: ClusterBuilder, shards: usize) -> Cluster {
    builder.shards(shards).module_args(["pushdown", "on"]).start()
}
