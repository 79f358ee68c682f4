//! Nodes that reduce their own share: the answer is the one that plain commands give, whatever happens on the way.

mod common;

#[path = "pushdown/both_ways.rs"]
mod both_ways;
#[path = "pushdown/declined.rs"]
mod declined;
#[path = "pushdown/direct.rs"]
mod direct;
#[path = "pushdown/given_up.rs"]
mod given_up;
#[path = "pushdown/moved.rs"]
mod moved;
#[path = "pushdown/requests.rs"]
mod requests;

use common::Cluster;

/// A cluster whose nodes have each other reduce their share.
fn pushing(shards: usize) -> Cluster {
    Cluster::builder().shards(shards).module_args(["pushdown", "on"]).start()
}
