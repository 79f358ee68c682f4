//! Every command of rmr on real servers: what it answers, and how it says that it cannot.
//!
//! The same must hold on any number of shards and on a server without a cluster, so most tests run on all of them.

#[path = "../common/mod.rs"]
mod common;

mod batch;
mod deployments;
mod events;
mod fanout;
mod map;
mod options;
mod partial;
mod reduce;
mod reduce_by_key;
mod scripts;
mod sizes;
mod status;
mod sum;
