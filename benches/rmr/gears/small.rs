//! Small executions, one after the other: what a script costs of which each shard does next to nothing.

use std::time::{Duration, Instant};

use super::execute;
use crate::Failure;
use crate::common::{Cluster, show};
use crate::comparison::{Aim, Limit};
use crate::rounds::{Effort, millis, percentile};

/// The measurement as filters see it.
pub const NAME: &str = "gears: small executions";

/// The least of them.
const FEWEST: usize = 100;

/// The aim for the median, in milliseconds: what RedisGears 1.2.13 once took on two cores.
const MOST: f64 = 4.6;

/// Measures them, and prints the figures.
pub fn measure(cluster: &Cluster, effort: &Effort, comparisons: &mut Vec<(String, Aim)>) -> Result<(), Failure> {
    const SCRIPT: &str = "GB('ShardsIDReader').map(lambda x: execute('DBSIZE')).run()";
    let (mut times, time) = (Vec::new(), effort.turn * 20);
    execute(cluster.node(0), SCRIPT)?;
    let began = Instant::now();
    while times.len() < FEWEST || began.elapsed() < time {
        let (time, reply) = execute(cluster.node(0), SCRIPT)?;
        if !reply.starts_with(b"*2\r\n*3\r\n") || !reply.ends_with(b"\r\n*0\r\n") {
            return Err(show(&reply).into());
        }
        times.push(time);
    }
    let rate = times.len() as f64 / began.elapsed().as_secs_f64();
    times.sort_unstable_by_key(Duration::as_nanos);
    let [p50, p99] = [50, 99].map(|percent| millis(percentile(&times, percent)));
    println!("| small executions on 3 shards, one after the other | p50 ms | p99 ms | a second |\n|---|--:|--:|--:|");
    println!("| `DBSIZE` on each | {p50:.2} | {p99:.2} | {rate:.0} |\n");
    comparisons.push((format!("{NAME}: p50 is {p50:.2} ms"), Aim::of(Limit::AtMost(MOST), p50)));
    Ok(())
}
