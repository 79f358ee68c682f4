//! Clients of `rmr-proxy --placement` work while servers and proxies are stopped, killed and cut off, and all that they saw has to
//! be explained afterwards (claims S1 to S12 of `docs/explanation/guarantees.md`).
//!
//! - [`workloads`]: what clients do, and how its answers are judged; [`checker`]: whether one order explains them
//! - [`nemesis`]: what goes wrong meanwhile; [`world`]: the servers; [`run`]: one run of it all
//! - [`client`]: what an error says of its command
//!
//! All runs take 60 s; `RMR_HISTORIES_SECONDS=600` makes that ten minutes. Each prints its seed and what it does:
//! `RMR_HISTORIES_SEED=7` begins with another one. What happens is the same for the same seed, and when it strikes is not: the
//! machine has a say in that.

#[path = "../common/mod.rs"]
mod common;

mod checker;
mod client;
mod nemesis;
mod run;
mod workloads;
mod world;

use nemesis::with_one_copy;
use run::{run, seed, share_of_time};
use workloads::Reads;
use world::Shape;

/// S3 and S6 to S8 as far as one copy goes, B24, B32: whatever leaves the data nodes their memory, all is in one order.
#[test]
fn one_copy_is_in_one_order() {
    let shape = Shape { copies: 1, nodes: 3, proxies: 2 };
    run(shape, Reads::Atomic, with_one_copy, seed(1), share_of_time(30)).unwrap_or_else(|why| panic!("{why}"));
}
