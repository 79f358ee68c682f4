//! Plans, tables and routes of 16384 slots and 100 nodes, without anything that is served.

use std::hint::black_box;
use std::time::{Duration, Instant};

use rmr::placement::Store;
use rmr::placement::balance::{Candidate, even};
use rmr::topology::NodeProvider;

use crate::Failure;
use crate::common::Server;
use crate::comparison::{Aim, Limit, line};
use crate::rounds::{Effort, median, millis};

const SLOTS: usize = 16_384;
const NODES: usize = 100;
const COPIES: usize = 2;

/// The aims: a plan and a table in milliseconds, a route in nanoseconds.
const LONGEST_PLAN: f64 = 1000.0;
const LONGEST_LOAD: f64 = 50.0;
const LONGEST_ROUTE: f64 = 50.0;

/// The number of keys that are looked for in a round.
const ROUTES: u32 = 1_000_000;

/// Measures, and prints.
pub fn run(effort: &Effort) -> Result<(), Failure> {
    println!("## Placement: {SLOTS} slots, {NODES} nodes, {COPIES} copies\n");
    let rounds = effort.rounds.min(5);
    let say = |text: String, most, figure| line(&text, Aim::of(Limit::AtMost(most), figure), effort);

    let lists = plan(NODES, &vec![Vec::new(); SLOTS]);
    let first = timed(rounds, || drop(black_box(plan(NODES, &vec![Vec::new(); SLOTS]))));
    say(format!("plan: {first:.0} ms for {NODES} nodes that come at once"), LONGEST_PLAN, first);
    let next = timed(rounds, || drop(black_box(plan(NODES + 1, &lists))));
    say(format!("plan: {next:.0} ms for one node more"), LONGEST_PLAN, next);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for hash in ["sha1", "crc16"] {
        let config = config_node(hash, &lists)?;
        let store = Store::new(&[format!("redis://{}", config.address())], None)?;
        let topology = runtime.block_on(store.topology())?;
        let load = timed(rounds, || drop(black_box(runtime.block_on(store.topology()))));
        say(format!("table, {hash}: {load:.0} ms from the configuration node"), LONGEST_LOAD, load);
        let placement = topology.key_placement().ok_or("the store places no keys")?;
        let keys: Vec<String> = (0..1000).map(|key| format!("user:{key}:name")).collect();
        let route = timed(rounds, || {
            for key in keys.iter().cycle().take(ROUTES as usize) {
                let _ = black_box(placement.shard(black_box(key.as_bytes())));
            }
        });
        let nanos = route * 1e6 / f64::from(ROUTES);
        say(format!("route, {hash}: {nanos:.0} ns a key"), LONGEST_ROUTE, nanos);
    }
    println!();
    Ok(())
}

fn plan(nodes: usize, now: &[Vec<String>]) -> Vec<Vec<String>> {
    even(COPIES, (0..nodes).map(|node| Candidate::new(name(node))), now)
}

/// Nobody is there.
fn name(node: usize) -> String {
    format!("10.0.{}.{}:6379", node / 256, node % 256)
}

/// Starts a configuration node that knows who holds which slot.
fn config_node(hash: &str, lists: &[Vec<String>]) -> Result<Server, Failure> {
    let config = Server::builder().module(false).start();
    let mut pipeline = redis::pipe();
    pipeline.cmd("HSET").arg("settings").arg(&["slots", &SLOTS.to_string(), "hash", hash, "copies", "2"]).ignore();
    pipeline.cmd("SET").arg("epoch").arg(7).ignore();
    for node in 0..NODES {
        pipeline.cmd("HSET").arg("nodes").arg(name(node)).arg(format!("{node:040} 1 - in 1")).ignore();
    }
    for (slot, list) in lists.iter().enumerate() {
        pipeline.cmd("RPUSH").arg(format!("hashingslot:{slot}")).arg(list).ignore();
        pipeline.cmd("HSET").arg("slots").arg(slot).arg("7 10.0.9.1:6379/0123abcd ok").ignore();
    }
    pipeline.query::<()>(&mut config.connection())?;
    Ok(config)
}

/// Returns how long something takes, as the median over some rounds, in milliseconds.
fn timed(rounds: usize, mut work: impl FnMut()) -> f64 {
    let times = (0..rounds).map(|_| {
        let began = Instant::now();
        work();
        began.elapsed()
    });
    let times: Vec<Duration> = times.collect();
    median(times.into_iter().map(millis))
}
