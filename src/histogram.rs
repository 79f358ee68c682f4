//! [`Histogram`]: how long things took, for whoever asks for quantiles or for buckets.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A histogram of durations: four buckets for each doubling of microseconds, so a quantile is at most a quarter too high.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; Self::BUCKETS],
    total_micros: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: std::array::from_fn(|_| AtomicU64::new(0)), total_micros: AtomicU64::new(0) }
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
        self.total_micros.fetch_add(micros, Relaxed);
    }

    /// Returns how many durations were below each power of two of microseconds, and not below the one before.
    pub fn by_doubling(&self) -> Doublings {
        let counts = std::array::from_fn(|doubling| {
            self.buckets[doubling * 4..][..4].iter().map(|bucket| bucket.load(Relaxed)).sum()
        });
        Doublings { counts, total_micros: self.total_micros.load(Relaxed) }
    }

    /// Returns the duration, in microseconds, below which this share of the counted durations lay. Returns 0 when
    /// nothing was counted.
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

/// Holds what a [`Histogram`] held at one moment, with one bucket for each doubling.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Doublings {
    /// The bucket `n` counts durations of at least 2^n and less than 2^(n + 1) microseconds.
    pub counts: [u64; 32],
    /// The sum of all durations.
    pub total_micros: u64,
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
    #[test]
    fn doublings_add_up() {
        let histogram = Histogram::default();
        [1, 2, 3, 4, 1000, 1023, 1024].into_iter().for_each(|micros| histogram.record(Duration::from_micros(micros)));
        let Doublings { counts, total_micros } = histogram.by_doubling();
        assert_eq!((counts[0], counts[1], counts[2], counts[9], counts[10]), (1, 2, 1, 2, 1));
        assert_eq!((counts.iter().sum::<u64>(), total_micros), (7, 3057));
    }
}
