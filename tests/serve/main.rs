//! The program `rmr-proxy` as its clients see it: what they say and are answered, who they are, what nodes do meanwhile, and
//! how it starts and ends.
//!
//! Nodes are without the module unless a test is about it: the proxy needs none.

#[path = "../common/mod.rs"]
mod common;

mod blocking;
mod clients;
mod counters;
mod drain;
mod faults;
mod fuzz;
mod limits;
mod lists;
mod real_clients;
mod rights;
mod tls;
mod transactions;
mod wire;

use std::time::Duration;

use common::{Cluster, RmrProxy};

/// More than anything takes that does not wait for a fault.
const SOON: Duration = Duration::from_secs(10);

/// Returns a cluster of three shards without the module.
fn plain_cluster() -> Cluster {
    Cluster::builder().module(false).start()
}

/// Starts a cluster, and a proxy before it.
fn served() -> (Cluster, RmrProxy) {
    let cluster = plain_cluster();
    let proxy = RmrProxy::before(&cluster).start();
    (cluster, proxy)
}
