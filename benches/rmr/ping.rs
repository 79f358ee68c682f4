//! Measures how long other clients of a shard wait while it works for a coordinator: `PING` during sums of very many keys.
//!
//! A shard answers nobody while it reads keys, so that it has to do so in short slices. The figure is the time that a
//! client sees: the pings share two cores with the shards, and with the client that asks for the sums.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::cases::Work;
use crate::client::Client;
use crate::common::{Cluster, Wire};
use crate::comparison::{Aim, Limit, line};
use crate::data::{Data, KEYS};
use crate::request;
use crate::rounds::{Effort, millis, percentile};

/// The case as filters see it.
pub const NAME: &str = "PING during sums in a loop, 3 shards";

/// The 99th percentile that was aimed at, in milliseconds.
const LIMIT: Limit = Limit::Below(2.0);

/// For how many turns of a case of the table the pings go on.
const TURNS: u32 = 50;

/// Measures and prints.
pub fn run(effort: &Effort) -> Result<(), Failure> {
    let cluster = Cluster::start(3);
    Data::fill(&cluster)?;
    let mut wire = Wire::connect(cluster.node(1).port());
    let idle = ping_for(&mut wire, effort.turn)?;
    let is_over = AtomicBool::new(false);
    let (pings, sums) = thread::scope(|scope| {
        let sums = scope.spawn(|| sum_until(&cluster, &is_over));
        let pings = ping_for(&mut wire, effort.turn * TURNS);
        is_over.store(true, Ordering::Relaxed);
        let sums = sums.join().map_err(|_| "the sums panicked")?;
        Ok::<_, Failure>((pings?, sums?))
    })?;
    println!("PING to one of three shards, one after the other, {} in all.\n", pings.len());
    println!("| meanwhile through another node | p50 ms | p99 ms | max ms |\n|---|--:|--:|--:|");
    row("nothing", &idle);
    row(&format!("RMR.SUM of {KEYS} keys in a loop, {sums} times"), &pings);
    let p99 = millis(percentile(&pings, 99));
    println!();
    let text = format!("PING on a shard during RMR.SUM of {KEYS} keys in a loop: p99 is {p99:.2} ms");
    line(&text, Aim::of(LIMIT, p99), effort);
    println!();
    Ok(())
}

/// Returns the times of pings in their order.
fn ping_for(wire: &mut Wire, time: Duration) -> Result<Vec<Duration>, Failure> {
    let mut pings = Vec::new();
    let end = Instant::now() + time;
    while Instant::now() < end {
        let began = Instant::now();
        let reply = wire.try_call(&["PING"])?;
        pings.push(began.elapsed());
        if reply != b"+PONG\r\n" {
            return Err(format!("PING was answered by {}", reply.escape_ascii()).into());
        }
    }
    pings.sort_unstable();
    Ok(pings)
}

/// Returns the number of sums that were made.
fn sum_until(cluster: &Cluster, is_over: &AtomicBool) -> Result<usize, Failure> {
    let mut client = Client::to_one_node(cluster.node(0).port(), 1)?;
    let requests = request::through_module(Work::Sum { keys: KEYS });
    let mut latencies = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        client.run(&requests, 1, 1, &mut latencies)?;
    }
    Ok(latencies.len())
}

fn row(meanwhile: &str, pings: &[Duration]) {
    println!(
        "| {meanwhile} | {:.3} | {:.3} | {:.3} |",
        millis(percentile(pings, 50)),
        millis(percentile(pings, 99)),
        millis(percentile(pings, 100)),
    );
}
