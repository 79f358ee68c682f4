//! [`Quantiles`]: which value so many of all values do not exceed, in bounded memory.
//!
//! As long as there are few different values, each is counted by itself and the answer is one of them. Of more, those are
//! counted together that are alike in sign, power of two and the seven bits that follow: a value is then known to
//! [`WITHIN`] of itself. That is the idea of HdrHistogram and DDSketch, with limits of buckets that are bits of the double: no
//! logarithm, which might come out otherwise on another machine. The values alone decide which of them share a bucket, and
//! whether all do; so it does not matter in what order and where they were taken.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::limit::ENTRY;
use super::order::compare_all;
use crate::number::Number;

/// The most different values that are counted each by itself.
const MOST_EXACT: usize = 10_000;

/// The most by which an answer differs from the value that it stands for, in parts of that, once it is not exact.
pub(super) const WITHIN: f64 = 1.0 / 256.0;

/// Bits of a double that are not looked at: 45 of the 52 behind the leading one.
const UNSEEN_BITS: u32 = 45;

/// Counts of values.
#[derive(Serialize, Deserialize)]
pub(super) enum Quantiles {
    /// Counts by value. The key says whether the value is a double, and has its bits.
    Exact(HashMap<(bool, u64), u64>),
    /// Counts by bucket, in the order of the values.
    Bucketed(BTreeMap<u32, u64>),
}

impl Default for Quantiles {
    fn default() -> Self {
        Self::Exact(HashMap::new())
    }
}

impl Quantiles {
    /// Takes a value.
    pub(super) fn add(&mut self, number: Number) {
        self.add_times(number, 1);
    }

    /// Adds what others have counted.
    pub(super) fn merge(&mut self, other: Self) {
        match other {
            Self::Exact(values) => values.into_iter().for_each(|(bits, times)| self.add_times(number_of(bits), times)),
            Self::Bucketed(buckets) => {
                let own = self.bucketed();
                for (bucket, times) in buckets {
                    add_to(own.entry(bucket).or_default(), times);
                }
            }
        }
    }

    /// Tells whether answers are values that were taken.
    pub(super) fn are_exact(&self) -> bool {
        matches!(self, Self::Exact(_))
    }

    /// Returns for each of these percentages the least value that so many of all values do not exceed. `None` for no value.
    pub(super) fn at<const N: usize>(&self, percentages: [u64; N]) -> Option<[Number; N]> {
        let counts: Vec<(Number, u64)> = match self {
            Self::Exact(values) => {
                let mut values: Vec<_> = values.iter().map(|(bits, times)| (number_of(*bits), *times)).collect();
                values.sort_unstable_by(|(a, _), (b, _)| compare_all(*a, *b));
                values
            }
            Self::Bucketed(buckets) => {
                buckets.iter().map(|(bucket, times)| (Number::Double(middle(*bucket)), *times)).collect()
            }
        };
        let all: u128 = counts.iter().map(|(_, times)| u128::from(*times)).sum();
        let last = counts.last()?.0;
        Some(percentages.map(|percentage| {
            let rank = (all * u128::from(percentage)).div_ceil(100).max(1);
            let mut seen = 0;
            let reaches = |(_, times): &&(Number, u64)| {
                seen += u128::from(*times);
                seen >= rank
            };
            counts.iter().find(reaches).map_or(last, |(number, _)| *number)
        }))
    }

    /// Returns the memory that it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        ENTRY
            * match self {
                Self::Exact(values) => values.len(),
                Self::Bucketed(buckets) => buckets.len(),
            }
    }

    fn add_times(&mut self, number: Number, times: u64) {
        match self {
            Self::Exact(values) => {
                add_to(values.entry(bits_of(number)).or_default(), times);
                if values.len() > MOST_EXACT {
                    self.bucketed();
                }
            }
            Self::Bucketed(buckets) => add_to(buckets.entry(bucket_of(number.as_f64())).or_default(), times),
        }
    }

    /// Counts by bucket from now on.
    fn bucketed(&mut self) -> &mut BTreeMap<u32, u64> {
        if let Self::Exact(values) = self {
            let mut buckets = BTreeMap::new();
            for (bits, times) in std::mem::take(values) {
                add_to(buckets.entry(bucket_of(number_of(bits).as_f64())).or_default(), times);
            }
            *self = Self::Bucketed(buckets);
        }
        match self {
            Self::Bucketed(buckets) => buckets,
            Self::Exact(_) => unreachable!("values were put into buckets"),
        }
    }
}

fn add_to(count: &mut u64, times: u64) {
    *count = count.saturating_add(times);
}

fn bits_of(number: Number) -> (bool, u64) {
    match number {
        Number::Integer(integer) => (false, integer as u64),
        Number::Double(double) => (true, double.to_bits()),
    }
}

fn number_of((is_double, bits): (bool, u64)) -> Number {
    if is_double { Number::Double(f64::from_bits(bits)) } else { Number::Integer(bits as i64) }
}

/// Returns the bucket of a value: of a greater value it is not less. Numbers that are too small to be told from 0 by the
/// whole of their bits count as 0.
fn bucket_of(value: f64) -> u32 {
    let value = if value.abs() < f64::MIN_POSITIVE { 0.0 } else { value };
    let bits = value.to_bits();
    let in_order = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
    (in_order >> UNSEEN_BITS) as u32
}

/// Returns the value in the middle of a bucket, from which none in it is further than it may be.
fn middle(bucket: u32) -> f64 {
    /// Half of the bits that are not looked at.
    const HALF: u64 = 1 << (UNSEEN_BITS - 1);
    let in_order = u64::from(bucket) << UNSEEN_BITS | HALF;
    let bits = if in_order >> 63 == 1 { in_order ^ 1 << 63 } else { !in_order };
    let value = f64::from_bits(bits);
    match value.abs() {
        small if small < f64::MIN_POSITIVE => 0.0,
        finite if finite.is_finite() => value,
        // No value is in the bucket of infinities; what another node has sent may be anything.
        _ => f64::MAX.copysign(value),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn integers(values: impl IntoIterator<Item = i64>) -> Quantiles {
        let mut quantiles = Quantiles::default();
        values.into_iter().for_each(|value| quantiles.add(Number::Integer(value)));
        quantiles
    }

    #[test]
    fn few_values_are_answered_with_one_of_them() {
        let hundred = integers((1..=100).rev());
        assert_eq!(hundred.at([0, 50, 99, 100]).map(|all| all.map(Number::as_f64)), Some([1.0, 50.0, 99.0, 100.0]));
        assert_eq!(integers([7]).at([50, 99]), Some([Number::Integer(7); 2]));
        assert_eq!(integers([]).at([50]), None);
        // However many there are of each.
        let many = integers((0..1_000_000).map(|value| value % 10));
        assert!(many.are_exact());
        assert_eq!(many.at([50, 90]), Some([4, 8].map(Number::Integer)));
    }

    #[test]
    fn many_values_are_answered_within_the_bound() {
        let many = integers((1..=100_000).map(|value| value * 37));
        assert!(!many.are_exact());
        for (percentage, expected) in [(50, 50_000.0 * 37.0), (90, 90_000.0 * 37.0), (99, 99_000.0 * 37.0)] {
            let [answer] = many.at([percentage]).unwrap();
            assert!((answer.as_f64() - expected).abs() <= expected * WITHIN, "p{percentage}: {answer:?}");
        }
        let Quantiles::Bucketed(buckets) = many else { panic!("exact") };
        assert!(buckets.len() < 128 * 23, "{} buckets", buckets.len());
    }

    proptest! {
        #[test]
        fn a_value_is_near_the_middle_of_its_bucket(value in any::<f64>().prop_filter("finite", |value| value.is_finite())) {
            let near = middle(bucket_of(value));
            let is_tiny = value.abs() < f64::MIN_POSITIVE;
            prop_assert!(if is_tiny { near == 0.0 } else { (near - value).abs() <= value.abs() * WITHIN }, "{near}");
        }

        #[test]
        fn buckets_stand_in_the_order_of_values(a in any::<f64>(), b in any::<f64>()) {
            prop_assume!(a.is_finite() && b.is_finite() && a <= b);
            prop_assert!(bucket_of(a) <= bucket_of(b));
        }
    }
}
