//! Tests topologies: clusters by whatever names their nodes have, lists of nodes and hosts without a cluster, and clusters that
//! do not agree with themselves yet.

#[path = "../common/mod.rs"]
mod common;

mod addresses;
mod dropped;
mod hosts;
mod static_nodes;
mod transit;
