//! What the engine counts. Atomics only, so that it can be read at any moment, in a crash report too.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use crate::error::Error;

/// The figures of an engine since it was built.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Maps and fan-outs begun.
    pub requests: AtomicU64,
    /// Of these, how many are under way.
    pub in_flight: AtomicUsize,
    /// Answered although a node had failed, because the request allowed it.
    pub partial: AtomicU64,
    /// Given up by the requester, such as a client that disconnected.
    pub cancelled: AtomicU64,
    /// Commands that were sent elsewhere after `MOVED`.
    pub moved: AtomicU64,
    /// Commands that were sent elsewhere after `ASK`.
    pub ask: AtomicU64,
    /// Commands sent again, for every other reason.
    pub retries: AtomicU64,
    /// Shares that other nodes were asked to reduce.
    pub inner: AtomicU64,
    /// Of these, how many were declined and sent as plain commands.
    pub inner_declined: AtomicU64,
    /// Fan-outs that were checked for each slot being in the answer once.
    pub slot_checks: AtomicU64,
    /// Of these, how many asked nodes again since slots had moved.
    pub slot_repairs: AtomicU64,
    /// Of these, how many could not be settled: errors, or said beside partial results.
    pub slots_unsettled: AtomicU64,
    /// Answers that may be inexact because the request or the engine allowed it.
    pub inconsistent: AtomicU64,
    /// Topologies fetched.
    pub refreshes: AtomicU64,
    /// Attempts to fetch one that failed.
    pub refresh_failures: AtomicU64,
    /// The bytes of replies of the request that took most.
    pub largest_replies: AtomicUsize,
    /// Failed requests by kind of error.
    pub errors: ErrorCounts,
    /// How long requests took.
    pub latency: Histogram,
}

/// Failed requests by kind of error.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ErrorCounts {
    /// `RMRTIMEOUT`
    pub timeout: AtomicU64,
    /// `RMRNODE`
    pub node: AtomicU64,
    /// `RMRSHARD`
    pub shard: AtomicU64,
    /// `RMRSLOTS` and `ERRCLUSTER`
    pub topology: AtomicU64,
    /// `RMRTOOBIG`
    pub too_big: AtomicU64,
    /// `RMRBUSY`
    pub busy: AtomicU64,
    /// `NOPERM`
    pub no_permission: AtomicU64,
    /// All others.
    pub other: AtomicU64,
}

impl ErrorCounts {
    /// Counts an error under its kind.
    pub fn count(&self, error: &Error) {
        let counter = match error {
            Error::Timeout { .. } => &self.timeout,
            Error::Node { .. } => &self.node,
            Error::Shard { .. } => &self.shard,
            Error::Topology(_) | Error::Slots(_) => &self.topology,
            Error::TooBig { .. } => &self.too_big,
            Error::Busy { .. } => &self.busy,
            Error::NoPermission(_) => &self.no_permission,
            _ => &self.other,
        };
        counter.fetch_add(1, Relaxed);
    }
}

/// A histogram of durations: four buckets for each doubling of microseconds, so a quantile is at most a quarter too high.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; Self::BUCKETS],
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: std::array::from_fn(|_| AtomicU64::new(0)) }
    }
}

impl Histogram {
    /// Up to 2^32 microseconds, which is above an hour.
    const BUCKETS: usize = 32 * 4;

    /// Counts one duration.
    pub fn record(&self, duration: Duration) {
        let micros = duration.as_micros().clamp(1, (1 << 32) - 1) as u64;
        let doubling = micros.ilog2() as usize;
        let quarter = if doubling >= 2 { (micros >> (doubling - 2)) & 3 } else { (micros << (2 - doubling)) & 3 };
        self.buckets[doubling * 4 + quarter as usize].fetch_add(1, Relaxed);
    }

    /// The duration in microseconds below which this share of the counted ones lay. 0 when nothing was counted.
    pub fn quantile(&self, share: f64) -> u64 {
        let counts: [u64; Self::BUCKETS] = std::array::from_fn(|bucket| self.buckets[bucket].load(Relaxed));
        let rank = (counts.iter().sum::<u64>() as f64 * share).ceil() as u64;
        let mut below = 0;
        for (bucket, count) in counts.iter().enumerate() {
            below += count;
            if below >= rank && rank > 0 {
                let (doubling, quarter) = (bucket / 4, bucket % 4);
                return ((1u64 << doubling) * (5 + quarter as u64)).div_ceil(4) - 1;
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_quantile_is_at_most_a_quarter_too_high(micros in 8u64..4_000_000_000) {
            let histogram = Histogram::default();
            histogram.record(Duration::from_micros(micros));
            let found = histogram.quantile(0.5);
            prop_assert!(found >= micros && found <= micros + micros / 4, "{} for {}", found, micros);
        }
    }

    #[test]
    fn quantiles_are_ranked() {
        let histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.99), 0);
        (1..=100).for_each(|_| histogram.record(Duration::from_micros(100)));
        histogram.record(Duration::from_secs(1));
        assert!((100..128).contains(&histogram.quantile(0.5)));
        assert!((100..128).contains(&histogram.quantile(0.99)));
        assert!(histogram.quantile(1.0) >= 1_000_000);
    }
}
