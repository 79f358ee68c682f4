//! What the figures are meant to be, and whether they are.

use crate::cases::{On, Work};
use crate::crate_client::Send;
use crate::rounds::{Round, Sample, Through};

/// The most that a sum of 1000 keys by plain commands may take, as a multiple of the work by hand.
const MOST_TO_HAND: f64 = 1.6;

/// How many times faster it must be than through the `redis` crate.
const LEAST_TO_CRATE: f64 = 3.0;

/// How many fan-outs a second there must be with 50 in flight, by plain commands and by default.
const LEAST_FAN_OUTS: [(Through, f64); 2] = [(Through::Plain, 30_000.0), (Through::Module, 40_000.0)];

/// Where plain commands have to meet theirs.
const PLAIN_IS_ON: On = On { shards: 3, direct_reads: false };

/// A figure of the module, where each shard reduces its share, divided by the same one of the work by hand.
struct ToHand {
    keys: usize,
    what: &'static str,
    figure: fn(&Round) -> f64,
    limit: Limit,
}

#[derive(Clone, Copy)]
enum Limit {
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

/// Prints a line for each target whose case was measured.
pub fn print(samples: &[Sample]) {
    for sample in samples {
        let others = samples.iter().filter(|other| other.case == sample.case);
        match sample.through {
            Through::Module => others.for_each(|other| by_shards(sample, other)),
            Through::Plain => others.for_each(|other| by_plain_commands(sample, other)),
            Through::Hand | Through::Crate(_) => {}
        }
        fan_outs(sample);
    }
}

/// Each shard reduces its own share.
fn by_shards(module: &Sample, other: &Sample) {
    if other.through != Through::Hand {
        return;
    }
    for target in BY_SHARDS.iter().filter(|target| module.case.work == Work::Sum { keys: target.keys }) {
        let ratio = module.ratio(other, target.figure);
        let (case, what, limit) = (module.case.name(), target.what, target.limit.text());
        line(target.limit.is_met(ratio), &format!("{case}: {what} is {ratio:.2} times that by hand, {limit}"));
    }
}

/// The values come to the coordinator.
fn by_plain_commands(plain: &Sample, other: &Sample) {
    if plain.case.work != (Work::Sum { keys: 1000 }) || plain.case.on != PLAIN_IS_ON {
        return;
    }
    let what = format!("{}, plain commands: p50", plain.case.name());
    match other.through {
        Through::Module | Through::Plain => {}
        Through::Hand => {
            let ratio = plain.ratio(other, p50);
            line(ratio <= MOST_TO_HAND, &format!("{what} is {ratio:.2} times that by hand, at most {MOST_TO_HAND}"));
        }
        Through::Crate(way) => {
            let ratio = other.ratio(plain, p50);
            let text = format!("{what} is {ratio:.2} times better than {}", way.name());
            // Keys that are grouped by hand are the business of another row.
            if way.send == Send::Pipelines {
                println!("- for comparison: {text}");
            } else {
                line(ratio >= LEAST_TO_CRATE, &format!("{text}, at least {LEAST_TO_CRATE}"));
            }
        }
    }
}

fn fan_outs(sample: &Sample) {
    if sample.case.work != Work::DbSize || sample.case.in_flight != 50 {
        return;
    }
    for (through, least) in LEAST_FAN_OUTS.into_iter().filter(|(through, _)| *through == sample.through) {
        let rate = sample.median(|round| round.rate);
        let plain = if through == Through::Plain { ", plain commands" } else { "" };
        line(rate >= least, &format!("{}{plain}: {rate:.0} a second, at least {least:.0}", sample.case.name()));
    }
}

/// One target.
pub fn line(is_met: bool, text: &str) {
    println!("- {}: {text}", if is_met { "met" } else { "NOT MET" });
}
