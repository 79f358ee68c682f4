//! What the figures are meant to be, and whether they are.

use crate::cases::Work;
use crate::crate_client::Send;
use crate::rounds::{Sample, Through};

/// The most that a sum of 1000 keys may take, as a multiple of the work by hand.
const MOST_TO_HAND: f64 = 1.6;

/// How many times faster it must be than through the `redis` crate.
const LEAST_TO_CRATE: f64 = 3.0;

/// How many fan-outs a second there must be with 50 in flight.
const LEAST_FAN_OUTS: f64 = 30_000.0;

/// Prints a line for each target whose case was measured.
pub fn print(samples: &[Sample]) {
    let large_sums = samples.iter().filter(|sample| sample.case.work == Work::Sum { keys: 1000 });
    for module in large_sums.clone().filter(|sample| sample.through == Through::Module) {
        for other in large_sums.clone().filter(|sample| sample.case == module.case) {
            let what = format!("RMR.SUM of 1000 keys, {} in flight: p50", module.case.in_flight);
            match other.through {
                Through::Module => {}
                Through::Hand => {
                    let ratio = module.ratio(other, |round| round.p50.as_secs_f64());
                    line(
                        ratio <= MOST_TO_HAND,
                        &format!("{what} is {ratio:.2} times that by hand, at most {MOST_TO_HAND}"),
                    );
                }
                Through::Crate(way) => {
                    let ratio = other.ratio(module, |round| round.p50.as_secs_f64());
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
    }
    for sample in samples {
        let case = sample.case;
        if case.work == Work::DbSize && case.in_flight == 50 && sample.through == Through::Module {
            let rate = sample.median(|round| round.rate);
            line(
                rate >= LEAST_FAN_OUTS,
                &format!("RMR.FANOUT DBSIZE, 50 in flight: {rate:.0} a second, at least {LEAST_FAN_OUTS:.0}"),
            );
        }
    }
}

fn line(is_met: bool, text: &str) {
    println!("- {}: {text}", if is_met { "met" } else { "NOT MET" });
}
