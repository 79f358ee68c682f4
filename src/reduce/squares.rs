//! [`Squares`]: an exact sum of squares, by which a standard deviation comes out the same in any order and grouping.
//!
//! The usual way, a mean that is corrected value by value, depends on the order. Here nothing is rounded before the end:
//! the square of an integer fits twice its length, and that of a double is a sum of two doubles. Squares of very large and
//! very small doubles would leave the range; these are scaled by a power of two first.

use serde::{Deserialize, Serialize};

use super::exact::{ExactSum, scaled};
use super::total::Total;
use crate::number::Number;

/// The power of two by which doubles that are too large or too small are scaled.
const SCALE: i32 = 600;

/// The sum of the squares of numbers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Squares {
    /// The sum over integers: its low 128 bits, and the carry beyond them.
    integers: (u128, u64),
    middling: Option<Box<ExactSum>>,
    /// The sum over doubles beyond 2^400, scaled down.
    large: Option<Box<ExactSum>>,
    /// The sum over doubles below 2^-400, scaled up.
    small: Option<Box<ExactSum>>,
}

impl Squares {
    /// Adds the square of a number.
    pub(super) fn add(&mut self, number: Number) {
        match number {
            Number::Integer(integer) => {
                let magnitude = u128::from(integer.unsigned_abs());
                self.add_integers((magnitude * magnitude, 0));
            }
            Number::Double(0.0) => {}
            Number::Double(double) => {
                const LARGE: f64 = f64::from_bits((1023 + 400) << 52);
                let (sum, scale) = match double.abs() {
                    large if large > LARGE => (&mut self.large, -SCALE),
                    small if small < 1.0 / LARGE => (&mut self.small, SCALE),
                    _ => (&mut self.middling, 0),
                };
                let scaled = scaled(double, scale);
                add_product(sum.get_or_insert_default(), scaled, scaled);
            }
        }
    }

    /// Adds what others have added up.
    pub(super) fn merge(&mut self, other: &Self) {
        self.add_integers(other.integers);
        let sums =
            [(&mut self.middling, &other.middling), (&mut self.large, &other.large), (&mut self.small, &other.small)];
        for (sum, other) in sums {
            if let Some(other) = other {
                sum.get_or_insert_default().add_sum(other);
            }
        }
    }

    /// Returns the standard deviation of so many numbers, of which there is at least one: the root of the mean of the
    /// squared distances from their mean. `total` is their sum, and none is further from 0 than `furthest`.
    pub(super) fn deviation(&self, total: &Total, count: u64, furthest: f64) -> f64 {
        if furthest == 0.0 {
            return 0.0;
        }
        // All is scaled so that the largest number is near 1: the distances then stay within the range of doubles.
        let scale = -exponent(furthest);
        let (sum, near_mean) = (total.parts(scale), scaled(total.mean(count), scale));
        let count = count as f64;
        // The sum of the squared distances from a number that is near the mean: of x² - 2xm + m².
        let mut distances = ExactSum::default();
        self.parts(scale).into_iter().for_each(|part| distances.add(part));
        sum.iter().for_each(|&part| add_product(&mut distances, -2.0 * near_mean, part));
        let (square, rest) = product(near_mean, near_mean);
        add_product(&mut distances, square, count);
        add_product(&mut distances, rest, count);
        // The distance of that number from the mean itself, times the count.
        let mut off = ExactSum::default();
        sum.iter().for_each(|&part| off.add(part));
        add_product(&mut off, -near_mean, count);
        let off = off.round();
        let variance = ((distances.round() - off * off / count) / count).max(0.0);
        scaled(variance.sqrt(), -scale)
    }

    /// Returns doubles that add up to the sum, times a power of two for each of the two factors of a square.
    fn parts(&self, scale: i32) -> Vec<f64> {
        let mut integers = ExactSum::default();
        let (low, high) = self.integers;
        // In halves that are no negative numbers.
        integers.add_integer((low & u128::from(u64::MAX)) as i128);
        let mut parts = integers.parts(2 * scale);
        for (limb, power) in [((low >> 64) as u64, 64), (high, 128)] {
            let mut integers = ExactSum::default();
            integers.add_integer(i128::from(limb));
            parts.extend(integers.parts(2 * scale + power));
        }
        let scaled_sums = [(&self.middling, 0), (&self.large, 2 * SCALE), (&self.small, -2 * SCALE)];
        for (sum, scaled_by) in scaled_sums {
            parts.extend(sum.iter().flat_map(|sum| sum.parts(2 * scale + scaled_by)));
        }
        parts
    }

    fn add_integers(&mut self, (low, high): (u128, u64)) {
        let (sum, has_carry) = self.integers.0.overflowing_add(low);
        self.integers = (sum, self.integers.1.wrapping_add(high).wrapping_add(has_carry.into()));
    }
}

/// Adds a product, exactly.
fn add_product(sum: &mut ExactSum, a: f64, b: f64) {
    let (product, rest) = product(a, b);
    sum.add(product);
    sum.add(rest);
}

/// Returns a product, rounded, and what was rounded away.
fn product(a: f64, b: f64) -> (f64, f64) {
    let product = a * b;
    (product, a.mul_add(b, -product))
}

/// Returns the power of two that is in a double other than 0.
fn exponent(double: f64) -> i32 {
    let bits = (double.to_bits() >> 52 & 0x7ff) as i32;
    bits.max(1) - 1023
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn deviation(numbers: &[Number]) -> f64 {
        let (mut squares, mut total) = (Squares::default(), Total::default());
        for &number in numbers {
            squares.add(number);
            total.add(number);
        }
        let furthest = numbers.iter().map(|number| number.as_f64().abs()).fold(0.0, f64::max);
        squares.deviation(&total, numbers.len() as u64, furthest)
    }

    fn of(doubles: &[f64]) -> f64 {
        deviation(&doubles.iter().map(|&double| Number::Double(double)).collect::<Vec<_>>())
    }

    fn of_integers(integers: &[i64]) -> f64 {
        deviation(&integers.iter().map(|&integer| Number::Integer(integer)).collect::<Vec<_>>())
    }

    #[test]
    fn it_is_that_of_the_books() {
        assert_eq!(of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]), 2.0);
        assert_eq!(of_integers(&[2, 4, 4, 4, 5, 5, 7, 9]), 2.0);
        assert_eq!(of(&[0.0, 0.0]), 0.0);
        assert_eq!(of(&[7.5]), 0.0);
        assert_eq!(deviation(&[Number::Integer(1), Number::Double(3.0)]), 1.0);
    }

    #[test]
    fn what_is_far_from_zero_and_close_together_is_told_apart() {
        assert_eq!(of_integers(&[1_000_000_000_000_000_000, 1_000_000_000_000_000_002]), 1.0);
        assert_eq!(of_integers(&[i64::MAX - 4, i64::MAX - 2, i64::MAX]), (8.0_f64 / 3.0).sqrt());
        assert_eq!(of_integers(&[i64::MIN, i64::MIN]), 0.0);
        assert_eq!(of(&[0.1; 1000]), 0.0);
        assert_eq!(of(&[1.0, 1.0 + f64::EPSILON]), f64::EPSILON / 2.0);
    }

    #[test]
    fn no_number_is_too_large_or_too_small() {
        assert_eq!(of(&[f64::MAX, f64::MAX]), 0.0);
        assert_eq!(of(&[f64::MAX, -f64::MAX]), f64::MAX);
        assert_eq!(of(&[1e308, -1e308, 1e308, -1e308]), 1e308);
        assert_eq!(of(&[1e-200, 3e-200]), 1e-200);
        assert_eq!(of(&[0.0, 5e-324 * 4.0]), 5e-324 * 2.0);
        let (mixed, expected) = (of(&[1e200, 1e-200, 1e200]), (2.0_f64 / 9.0).sqrt() * 1e200);
        assert!((mixed - expected).abs() <= expected * 1e-15, "{mixed} {expected}");
    }

    proptest! {
        #[test]
        fn it_is_near_what_the_plain_way_comes_to(doubles in prop::collection::vec(-1e6..1e6_f64, 1..60)) {
            let count = doubles.len() as f64;
            let mean = doubles.iter().sum::<f64>() / count;
            let plain = (doubles.iter().map(|double| (double - mean).powi(2)).sum::<f64>() / count).sqrt();
            prop_assert!((of(&doubles) - plain).abs() <= plain * 1e-9 + 1e-6, "{} {plain}", of(&doubles));
        }
    }
}
