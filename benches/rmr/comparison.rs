//! Words for the figures: a line for each comparison that matters, and how to read the table.
//!
//! Some of them were once aimed at a figure, on one machine. The figures of a run on another machine tell its user
//! nothing, so that it is printed only when asked for (`--aims`).

use crate::cases::{On, Work};
use crate::crate_client::Send;
use crate::rounds::{Effort, Round, Sample, Through};

/// The most that a sum of 1000 keys by plain commands may take, as a multiple of the work by hand.
const MOST_TO_HAND: f64 = 1.6;

/// The factor by which it must be faster than through the `redis` crate.
const LEAST_TO_CRATE: f64 = 3.0;

/// The fewest fan-outs a second with 50 in flight, by plain commands and by default.
const LEAST_FAN_OUTS: [(Through, f64); 2] = [(Through::Plain, 30_000.0), (Through::Module, 40_000.0)];

/// The place where plain commands have to meet their aims.
const PLAIN_IS_ON: On = On { shards: 3, direct_reads: false };

/// A figure of the module, where each shard reduces its share, divided by the same one of the work by hand.
struct ToHand {
    keys: usize,
    what: &'static str,
    figure: fn(&Round) -> f64,
    limit: Limit,
}

#[derive(Clone, Copy)]
pub enum Limit {
    AtLeast(f64),
    AtMost(f64),
    Below(f64),
}

impl Limit {
    fn is_met(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(least) => figure >= least,
            Self::AtMost(most) => figure <= most,
            Self::Below(bound) => figure < bound,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(least) => format!("at least {least}"),
            Self::AtMost(most) => format!("at most {most}"),
            Self::Below(bound) => format!("below {bound}"),
        }
    }
}

const BY_SHARDS: [ToHand; 6] = [
    ToHand { keys: 10, what: "p50", figure: p50, limit: Limit::AtMost(2.0) },
    ToHand { keys: 1000, what: "p50", figure: p50, limit: Limit::AtMost(0.7) },
    ToHand { keys: 1000, what: "throughput", figure: |round| round.rate, limit: Limit::AtLeast(1.5) },
    ToHand { keys: 1000, what: "CPU time", figure: cpu, limit: Limit::Below(1.0) },
    ToHand { keys: 10_000, what: "throughput", figure: |round| round.rate, limit: Limit::AtLeast(2.0) },
    ToHand { keys: 10_000, what: "CPU time", figure: cpu, limit: Limit::Below(1.0) },
];

fn p50(round: &Round) -> f64 {
    round.p50.as_secs_f64()
}

fn cpu(round: &Round) -> f64 {
    round.cpu.together().as_secs_f64()
}

/// The explanation of the table.
const EXPLAINED: &str = "\
How to read this: p50 and CPU as a ratio are better below 1, requests/s above 1. `by hand` is the least that any client
could do: it knows the slots, has the keys grouped by node before the clock starts, and sends one write a node. It is no
bound for pushdown, where each shard reduces its own keys and sends one number instead of all values. The `redis` crate
is what a program has without rmr. CPU is that of the client and of all servers together: what a request costs, whoever
pays for it.
";

/// Prints a line for each comparison whose case was measured, and how to read the table.
pub fn print(samples: &[Sample], effort: &Effort) {
    if samples.is_empty() {
        return;
    }
    if !effort.only_module {
        println!("{EXPLAINED}");
    }
    for sample in samples {
        let others = samples.iter().filter(|other| other.case == sample.case);
        match sample.through {
            Through::Module => others.for_each(|other| by_shards(sample, other, effort)),
            Through::Plain => others.for_each(|other| by_plain_commands(sample, other, effort)),
            Through::Hand | Through::Crate(_) => {}
        }
        fan_outs(sample, effort);
    }
}

/// Compares a module whose shards reduce their own shares.
fn by_shards(module: &Sample, other: &Sample, effort: &Effort) {
    if other.through != Through::Hand {
        return;
    }
    for target in BY_SHARDS.iter().filter(|target| module.case.work == Work::Sum { keys: target.keys }) {
        let ratio = module.ratio(other, target.figure);
        let (case, what) = (module.case.name(), target.what);
        let text = format!("{case}: {what} is {ratio:.2} times that by hand");
        line(&text, Aim::of(target.limit, ratio), effort);
    }
}

/// Compares plain commands, whose values come to the coordinator.
fn by_plain_commands(plain: &Sample, other: &Sample, effort: &Effort) {
    if plain.case.work != (Work::Sum { keys: 1000 }) || plain.case.on != PLAIN_IS_ON {
        return;
    }
    let what = format!("{}, plain commands: p50", plain.case.name());
    match other.through {
        Through::Module | Through::Plain => {}
        Through::Hand => {
            let ratio = plain.ratio(other, p50);
            let aim = Aim::of(Limit::AtMost(MOST_TO_HAND), ratio);
            line(&format!("{what} is {ratio:.2} times that by hand"), aim, effort);
        }
        Through::Crate(way) => {
            let ratio = other.ratio(plain, p50);
            let text = format!("{what} is {ratio:.2} times better than {}", way.name());
            // Keys that are grouped by hand are the business of another row.
            if way.send == Send::Pipelines {
                println!("- {text}");
            } else {
                line(&text, Aim::of(Limit::AtLeast(LEAST_TO_CRATE), ratio), effort);
            }
        }
    }
}

fn fan_outs(sample: &Sample, effort: &Effort) {
    if sample.case.work != Work::DbSize || sample.case.in_flight != 50 {
        return;
    }
    for (through, least) in LEAST_FAN_OUTS.into_iter().filter(|(through, _)| *through == sample.through) {
        let rate = sample.median(|round| round.rate);
        let plain = if through == Through::Plain { ", plain commands" } else { "" };
        let text = format!("{}{plain}: {rate:.0} a second", sample.case.name());
        line(&text, Aim::of(Limit::AtLeast(least), rate), effort);
    }
}

/// A figure that was once aimed at, and whether this one is as good.
pub struct Aim {
    text: String,
    is_met: bool,
}

impl Aim {
    pub fn of(limit: Limit, figure: f64) -> Self {
        Self { text: limit.text(), is_met: limit.is_met(figure) }
    }
}

/// Prints one comparison; with its aim if that was asked for.
pub fn line(text: &str, aim: Aim, effort: &Effort) {
    match (effort.aims, aim.is_met) {
        (false, _) => println!("- {text}"),
        (true, true) => println!("- met: {text}, {}", aim.text),
        (true, false) => println!("- NOT MET: {text}, {}", aim.text),
    }
}
