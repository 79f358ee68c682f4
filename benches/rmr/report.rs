//! The table, in Markdown, fit to be pasted into the README.

use std::fs;

use crate::cases::{Case, MANY_KEYS, On};
use crate::common::Cluster;
use crate::data::KEYS;
use crate::rounds::{Effort, Round, Sample, Through};

/// Prints what was measured, and on what.
pub fn heading(cluster: &Cluster, on: On, cases: &[&Case], effort: &Effort) {
    let info: String = cluster.node(0).run(&["INFO", "server"]);
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let server = match field("valkey_version") {
        Some(version) => format!("Valkey {version}"),
        None => format!("Redis {}", field("redis_version").unwrap_or("of an unknown version")),
    };
    println!(
        "{server}, {}, {KEYS} keys with integers of six digits; servers and client on {} of one machine.",
        on.name(),
        processors(),
    );
    let longest = cases.iter().map(|case| case.stride()).max().unwrap_or(1);
    let fewer = match longest {
        1 => String::new(),
        stride => format!(" ({} of them for {MANY_KEYS} keys)", effort.rounds.div_ceil(stride)),
    };
    println!(
        "Medians of {} interleaved rounds{fewer}; a ratio is the median of the ratios within the rounds.\n",
        effort.rounds
    );
}

fn processors() -> String {
    let count = std::thread::available_parallelism().map_or(0, usize::from);
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    format!("{count} cores ({})", model.map_or("unknown", |(_, model)| model.trim()))
}

/// Prints one row for each contender of each case, the module first.
pub fn table(samples: &[Sample]) {
    const COLUMNS: [&str; 13] = [
        "request",
        "in flight",
        "through",
        "p50 ms",
        "p99 ms",
        "p50 ÷ by hand",
        "p50 ÷ module",
        "requests/s",
        "requests/s ÷ by hand",
        "CPU s/1000: client",
        "servers",
        "together",
        "CPU ÷ by hand",
    ];
    println!("| {} |", COLUMNS.join(" | "));
    println!("|---|--:|---|{}", "--:|".repeat(COLUMNS.len() - 3));
    for sample in samples {
        let of_case = |through| samples.iter().find(|other| other.case == sample.case && other.through == through);
        let ratio = |other: Option<&Sample>, figure: fn(&Round) -> f64| match other {
            Some(other) => format!("{:.2}", sample.ratio(other, figure)),
            None => String::new(),
        };
        let millis = |figure: f64| format!("{:.3}", figure * 1e3);
        let hand = of_case(Through::Hand);
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {:.0} | {} | {:.3} | {:.3} | {:.3} | {} |",
            request(sample.case),
            sample.case.in_flight,
            name(sample.through),
            millis(sample.median(|round| round.p50.as_secs_f64())),
            millis(sample.median(|round| round.p99.as_secs_f64())),
            ratio(hand, |round| round.p50.as_secs_f64()),
            ratio(of_case(Through::Module), |round| round.p50.as_secs_f64()),
            sample.median(|round| round.rate),
            ratio(hand, |round| round.rate),
            sample.median(|round| round.cpu.client.as_secs_f64() * 1e3),
            sample.median(|round| round.cpu.servers.as_secs_f64() * 1e3),
            sample.median(|round| round.cpu.together().as_secs_f64() * 1e3),
            ratio(hand, |round| round.cpu.together().as_secs_f64()),
        );
    }
    println!();
}

fn request(case: Case) -> String {
    format!("{}{}", case.command(), if case.on.direct_reads { ", direct reads" } else { "" })
}

fn name(through: Through) -> String {
    match through {
        Through::Module => "**the module**, pushdown".into(),
        Through::Plain => "**the module**".into(),
        Through::Hand => "by hand".into(),
        Through::Crate(way) => way.name(),
    }
}
