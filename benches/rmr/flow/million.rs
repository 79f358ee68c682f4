//! Ten times as many keys: the time that it takes and the memory that it takes, over 100,000 and over a million.

use std::fs;
use std::time::Instant;

use super::{Case, data, through_module};
use crate::Failure;
use crate::common::Cluster;
use crate::comparison::{Aim, Limit, line};
use crate::rounds::{Effort, median};

/// The case as filters see it.
pub const NAME: &str = "flow: a million keys, 3 shards";

/// The factor by which ten times as many keys may take longer.
const LIMIT: Limit = Limit::AtMost(11.0);

/// Few keys, and many.
const KEYS: [usize; 2] = [data::KEYS, data::KEYS * 10];

/// The number of times that each case is measured.
const ROUNDS: usize = 5;

/// Time in seconds, and how much more memory than before the process that took most had in the midst of it, in bytes.
struct Needed {
    time: f64,
    memory: u64,
}

/// Measures and prints.
pub fn run(effort: &Effort) -> Result<(), Failure> {
    let cases: Vec<Case> = super::all().into_iter().filter(|case| !case.removes).collect();
    let [few, many] = KEYS;
    println!("| work | ms, {few} keys | MiB more | ms, {many} keys | MiB more | time × |");
    println!("|---|{}", "--:|".repeat(5));
    let clusters = [Cluster::start(3), Cluster::start(3)];
    for (cluster, keys) in clusters.iter().zip(KEYS) {
        data::fill(cluster, keys)?;
    }
    let mut comparisons = Vec::new();
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    for case in &cases {
        let [few, many] = measure(&clusters, *case)?;
        let factor = many.time / few.time;
        println!(
            "| {} | {:.1} | {:.1} | {:.1} | {:.1} | {factor:.1} |",
            case.what,
            few.time * 1e3,
            mebibytes(few.memory),
            many.time * 1e3,
            mebibytes(many.memory),
        );
        comparisons.push((format!("{}: ten times the keys take {factor:.1} times the time", case.name()), factor));
    }
    println!();
    for (text, factor) in comparisons {
        line(&text, Aim::of(LIMIT, factor), effort);
    }
    println!();
    Ok(())
}

/// Measures in interleaved rounds over few keys and many.
fn measure(clusters: &[Cluster; 2], case: Case) -> Result<[Needed; 2], Failure> {
    let mut needed = [(Vec::new(), 0), (Vec::new(), 0)];
    for round in 0..=ROUNDS {
        for ((cluster, keys), (times, memory)) in clusters.iter().zip(KEYS).zip(&mut needed) {
            let before = cluster.nodes().iter().map(|node| forget_peak(node.pid())).collect::<Result<Vec<u64>, _>>()?;
            let began = Instant::now();
            let outcome = through_module(cluster.node(0), case)?;
            let time = began.elapsed().as_secs_f64();
            if outcome != (case.expected)(keys) {
                return Err(format!("{} over {keys} keys: a wrong answer: {outcome:?}", case.name()).into());
            }
            // The first one warms up: what is allocated then stays.
            if round > 0 {
                times.push(time);
                for (node, before) in cluster.nodes().iter().zip(before) {
                    *memory = (*memory).max(status(node.pid(), "VmHWM:")?.saturating_sub(before));
                }
            }
        }
    }
    Ok(needed.map(|(times, memory)| Needed { time: median(times.into_iter()), memory }))
}

/// Has the kernel forget the most memory that a process ever had; what it has now.
fn forget_peak(pid: u32) -> Result<u64, Failure> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
    status(pid, "VmRSS:")
}

/// A figure of `/proc`, in bytes.
fn status(pid: u32, name: &str) -> Result<u64, Failure> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kilobytes =
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse().ok());
    Ok(kilobytes.map(|kilobytes: u64| kilobytes * 1024).ok_or("no such figure in /proc")?)
}
