//! Every command of rmr on real servers: what it answers, and how it says that it cannot.
//!
//! The same must hold on any number of shards and on a server without a cluster, so most tests run on all of them.

mod common;

#[path = "commands/batch.rs"]
mod batch;
#[path = "commands/fanout.rs"]
mod fanout;
#[path = "commands/houses.rs"]
mod houses;
#[path = "commands/map.rs"]
mod map;
#[path = "commands/options.rs"]
mod options;
#[path = "commands/partial.rs"]
mod partial;
#[path = "commands/reduce.rs"]
mod reduce;
#[path = "commands/sizes.rs"]
mod sizes;
#[path = "commands/status.rs"]
mod status;
#[path = "commands/sum.rs"]
mod sum;
