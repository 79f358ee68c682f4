//! Clients of `rmr-proxy --placement` work while servers and proxies are stopped, killed and cut off, and all that they saw has to
//! be explained afterwards (claims S1 to S12 of `docs/explanation/guarantees.md`).
//!
//! - [`workloads`]: what clients do, and how its answers are judged; [`checker`]: whether one order explains them
//! - [`nemesis`]: what goes wrong meanwhile; [`world`]: the servers; [`copies`]: whether copies are equal; [`run`]: one run of it all
//! - [`client`]: what an error says of its command
//!
//! All runs take 60 s, and those without a safeguard as long again; `RMR_HISTORIES_SECONDS=600` makes that ten minutes. Each
//! prints its seed and what it does: `RMR_HISTORIES_SEED=7` begins with another one. The faults are the same for the same seed,
//! and the moments in which they strike are not: the machine has a say in that. `RMR_HISTORIES_WITHOUT=fence` leaves out that
//! safeguard alone.

#[path = "../common/mod.rs"]
mod common;

mod checker;
mod client;
mod copies;
mod nemesis;
mod run;
mod workloads;
mod world;

use std::time::Instant;

use nemesis::*;
use run::{run, seed, share_of_time};
use workloads::{Reads, Work};
use world::Shape;

const ONE_COPY: Shape = Shape { copies: 1, nodes: 3, proxies: 2, moves: false, work: Work::Everything, without: "" };
const TWO_COPIES: Shape = Shape { copies: 2, ..ONE_COPY };

/// The number of seeds with which a fault is looked for.
const SEEDS: usize = 5;

#[track_caller]
fn holds(shape: Shape, reads: Reads, kinds: Kinds, percent: u32) {
    run(shape, reads, kinds, seed(1), share_of_time(percent)).unwrap_or_else(|why| panic!("{why}"));
}

/// S3 and S6 to S8 as far as one copy goes, B24, B32: whatever leaves the data nodes their memory, all is in one order.
#[test]
fn one_copy_is_in_one_order() {
    holds(ONE_COPY, Reads::Atomic, with_one_copy, 20);
}

/// S1, S4, S6, S7 and S9: one of three nodes is stopped, cut off and killed, and comes back empty or with what it had long ago.
#[test]
fn two_copies_lose_nothing() {
    holds(TWO_COPIES, Reads::Regular, with_two_copies, 25);
}

/// S3: clients that read in one order with the writes see one history of each key, whatever happens to nodes and proxies.
#[test]
fn ordered_reads_are_in_one_order() {
    holds(TWO_COPIES, Reads::Atomic, with_two_copies, 20);
}

/// S2: while proxies and the configuration node are stopped and cut off, all copies stay equal.
#[test]
fn copies_stay_equal() {
    holds(TWO_COPIES, Reads::Regular, without_nodes, 15);
}

/// S8: while slots move to a node and away from it, proxies, nodes and the configuration node are stopped, cut off and killed.
#[test]
fn slots_move_meanwhile() {
    holds(Shape { moves: true, ..TWO_COPIES }, Reads::Regular, with_two_copies, 20);
}

/// Faults must be found when each of these safeguards is left out, and within seconds.
#[test]
fn a_safeguard_that_is_left_out_is_missed() {
    let registers = Shape { work: Work::Registers, ..TWO_COPIES };
    let expiring = Shape { work: Work::Expiring, ..TWO_COPIES };
    let left_out = [
        ("order", registers, with_slow_nodes as Kinds),
        ("process", ONE_COPY, with_lost_nodes),
        ("in-force", TWO_COPIES, with_deaf_proxies),
        ("fence", TWO_COPIES, with_proxies_given_up),
        ("lease", TWO_COPIES, with_proxies_cut_off),
        ("suspect", registers, with_torn_writes),
        ("ABSTTL", expiring, with_slow_nodes),
    ];
    let only = std::env::var("RMR_HISTORIES_WITHOUT").ok();
    for (without, shape, kinds) in left_out {
        if only.as_deref().is_some_and(|only| only != without) {
            continue;
        }
        let began = Instant::now();
        // Chance has a part in when things go wrong, and a busy machine in how many do.
        let shape = Shape { without, ..shape };
        let found = (seed(1)..).take(SEEDS).find_map(|seed| {
            let why = run(shape, Reads::Regular, kinds, seed, share_of_time(8)).err()?;
            Some((seed, why))
        });
        let (seed, why) = found.unwrap_or_else(|| panic!("nothing was found without {without}"));
        let first = why.lines().next().unwrap_or_default();
        println!("without {without}: seed {seed}, after {:?}: {first}", began.elapsed());
    }
}
