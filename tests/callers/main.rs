//! Whoever calls: clients that go away, clients with habits of their own, the clients that programs really use, and
//! those that do not know of rmr because the server answers their plain commands for the whole cluster.

#[path = "../common/mod.rs"]
mod common;

mod clients;
mod odd_clients;
mod proxy;
mod real_clients;
