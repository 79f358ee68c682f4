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

/// How much more time there may be for ten times as many keys.
const LIMIT: Limit = Limit::AtMost(11.0);

/// How many times each is measured.
const ROUNDS: usize = 5;

/// Time in seconds, and how much more memory than before the process that took most had in the midst of it, in bytes.
struct Needed {
    time: f64,
    memory: u64,
}

/// Measures and prints.
pub fn run(effort: &Effort) -> Result<(), Failure> {
    let cases: Vec<Case> = super::all().into_iter().filter(|case| !case.removes).collect();
    println!("| work | ms, {} keys | MiB more | ms, {} keys | MiB more | time × |", data::KEYS, data::KEYS * 10);
    println!("|---|{}", "--:|".repeat(5));
    let mut both = Vec::new();
    for keys in [data::KEYS, data::KEYS * 10] {
        let cluster = Cluster::start(3);
        data::fill(&cluster, keys)?;
        both.push(cases.iter().map(|case| measure(&cluster, *case, keys)).collect::<Result<Vec<_>, _>>()?);
    }
    let mut comparisons = Vec::new();
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    for (at, case) in cases.iter().enumerate() {
        let (few, many) = (&both[0][at], &both[1][at]);
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

fn measure(cluster: &Cluster, case: Case, keys: usize) -> Result<Needed, Failure> {
    let (mut times, mut memory) = (Vec::new(), 0);
    for round in 0..=ROUNDS {
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
                memory = memory.max(status(node.pid(), "VmHWM:")?.saturating_sub(before));
            }
        }
    }
    Ok(Needed { time: median(times.into_iter()), memory })
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
