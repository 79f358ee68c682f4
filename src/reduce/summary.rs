//! [`Summary`]: what `STATS` says of numbers, all in one pass.
//!
//! Count, sum, least, greatest, mean and standard deviation are exact until they are rounded. Percentiles are, as long as there
//! are few different numbers, and the answer says how they came about.

use serde::{Deserialize, Serialize};

use super::order::compare_all;
use super::quantiles::{Quantiles, WITHIN};
use super::squares::Squares;
use super::total::Total;
use crate::number::Number;
use crate::reply::Reply;

/// Numbers, summed up.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Summary {
    count: u64,
    total: Total,
    squares: Squares,
    /// The least number and the greatest.
    range: Option<(Number, Number)>,
    quantiles: Quantiles,
}

impl Summary {
    /// Takes a number.
    pub(super) fn add(&mut self, number: Number) {
        self.count += 1;
        self.total.add(number);
        self.squares.add(number);
        self.widen((number, number));
        self.quantiles.add(number);
    }

    /// Adds what others have summed up.
    pub(super) fn merge(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.total.add_total(&other.total);
        self.squares.merge(&other.squares);
        if let Some(range) = other.range {
            self.widen(range);
        }
        self.quantiles.merge(other.quantiles);
    }

    /// Returns the memory that it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.quantiles.bytes()
    }

    /// Makes the answer. A sum that is too large for an integer is a double.
    pub(super) fn finish(self) -> Reply {
        let is_exact = self.quantiles.are_exact();
        let (method, error) = if is_exact { ("exact", 0.0) } else { ("buckets", WITHIN) };
        let (least, greatest) = self.range.unzip();
        let mean = (self.count > 0).then(|| self.total.mean(self.count));
        let deviation = self.range.map(|(least, greatest)| {
            let furthest = least.as_f64().abs().max(greatest.as_f64().abs());
            self.squares.deviation(&self.total, self.count, furthest)
        });
        let percentiles = self.quantiles.at([50, 90, 99]);
        // The middle of a bucket may be beyond all that is in it.
        let in_range = |number: Number| match self.range {
            Some((least, _)) if compare_all(number, least).is_lt() => least,
            Some((_, greatest)) if compare_all(number, greatest).is_gt() => greatest,
            _ => number,
        };
        let percentile = |at: usize| Reply::from(percentiles.map(|all| in_range(all[at])));
        let sum = self.total.as_f64();
        let sum = self.total.finish().map_or(Reply::Double(sum), Reply::from);
        let count = i64::try_from(self.count).unwrap_or(i64::MAX);
        Reply::Map(vec![
            ("count".into(), count.into()),
            ("sum".into(), sum),
            ("min".into(), least.into()),
            ("max".into(), greatest.into()),
            ("mean".into(), mean.into()),
            ("stddev".into(), deviation.into()),
            ("p50".into(), percentile(0)),
            ("p90".into(), percentile(1)),
            ("p99".into(), percentile(2)),
            ("method".into(), method.into()),
            ("error".into(), error.into()),
        ])
    }

    fn widen(&mut self, (least, greatest): (Number, Number)) {
        let (known_least, known_greatest) = self.range.get_or_insert((least, greatest));
        if compare_all(least, *known_least).is_lt() {
            *known_least = least;
        }
        if compare_all(greatest, *known_greatest).is_gt() {
            *known_greatest = greatest;
        }
    }
}
