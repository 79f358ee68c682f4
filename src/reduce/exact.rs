//! A sum of doubles that is exact, and so the same in whatever order and groups its parts are added.
//!
//! A double is a whole number of 2^-1074. The sum is kept as one long number of such units, in limbs of 32 bits each of
//! which has room for carries, and rounded once, at the end. As in Radford M. Neal, "Fast exact summation using small and
//! large superaccumulators" (2015), with carries taken up at once.

use serde::{Deserialize, Serialize};

/// Units of 2^-1074: 2098 bits for the largest double, and some for sums of many.
const LIMBS: usize = 68;

/// The unit of the lowest limb, as a power of two.
const LOWEST: i32 = -1074;

/// Two's complement, lowest limb first. Kept as long as it has to be: whole numbers of middling size have few limbs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ExactSum {
    limbs: Vec<u32>,
}

impl Default for ExactSum {
    fn default() -> Self {
        Self { limbs: vec![0; LIMBS] }
    }
}

impl ExactSum {
    /// Adds a finite double.
    pub(super) fn add(&mut self, double: f64) {
        self.add_times(double, 0);
    }

    /// Adds a finite double times `2^power`.
    fn add_times(&mut self, double: f64, power: usize) {
        let bits = double.to_bits();
        let exponent = (bits >> 52 & 0x7ff) as usize;
        let fraction = bits & ((1 << 52) - 1);
        // The exponents 0 and 1 have the same unit; only the first lacks the leading bit.
        let mantissa = if exponent == 0 { fraction } else { fraction | 1 << 52 };
        self.add_shifted(u128::from(mantissa), exponent.max(1) - 1 + power, bits >> 63 == 1);
    }

    /// Adds a whole number.
    pub(super) fn add_integer(&mut self, integer: i128) {
        let magnitude = integer.unsigned_abs();
        let one = LOWEST.unsigned_abs() as usize;
        // In two halves, each of which leaves room to be shifted.
        self.add_shifted(magnitude & u128::from(u64::MAX), one, integer < 0);
        self.add_shifted(magnitude >> 64, one + 64, integer < 0);
    }

    /// Adds another sum; a damaged one of another length adds what it has.
    pub(super) fn add_sum(&mut self, other: &Self) {
        let mut carry = 0;
        for (index, limb) in self.limbs.iter_mut().enumerate() {
            let sum = u64::from(*limb) + u64::from(other.limbs.get(index).copied().unwrap_or(0)) + carry;
            *limb = sum as u32;
            carry = sum >> 32;
        }
    }

    /// Returns the nearest double, and of two the even one. Sums beyond the largest double are infinite.
    pub(super) fn round(&self) -> f64 {
        self.round_scaled(0)
    }

    /// Rounds the sum times `2^power`, which may be a double where the sum itself is too large for one.
    pub(super) fn round_scaled(&self, power: i32) -> f64 {
        let is_negative = self.limbs.last().is_some_and(|&limb| limb >> 31 == 1);
        let mut magnitude = self.limbs.clone();
        if is_negative {
            let mut carry = true;
            for limb in &mut magnitude {
                (*limb, carry) = (!*limb).overflowing_add(u32::from(carry));
            }
        }
        let rounded = round_magnitude(&magnitude, power);
        if is_negative { -rounded } else { rounded }
    }

    /// Returns doubles, the largest first, that add up to the sum times `2^power`: to some 300 bits of it.
    pub(super) fn parts(&self, power: i32) -> Vec<f64> {
        const MOST: usize = 6;
        /// The power of two by which a sum is scaled that is too large for a double.
        const ROOM: i32 = 64;
        let (mut rest, mut parts) = (self.clone(), Vec::new());
        while parts.len() < MOST {
            let (part, room) = match rest.round() {
                0.0 => break,
                part if part.is_finite() => (part, 0),
                _ => (rest.round_scaled(-ROOM), ROOM),
            };
            parts.push(scaled(part, power + room));
            rest.add_times(-part, room as usize);
        }
        parts
    }

    fn add_shifted(&mut self, number: u128, shift: usize, is_negative: bool) {
        let (first, bits) = (shift / 32, shift % 32);
        // At most 64 bits, so that they fit when shifted.
        let mut rest = number << bits;
        if is_negative {
            let mut borrow = 0;
            for limb in self.limbs.iter_mut().skip(first) {
                let taken = (rest & 0xffff_ffff) as i64 + borrow;
                rest >>= 32;
                let left = i64::from(*limb) - taken;
                *limb = left as u32;
                borrow = i64::from(left < 0);
                if rest == 0 && borrow == 0 {
                    return;
                }
            }
        } else {
            let mut carry = 0;
            for limb in self.limbs.iter_mut().skip(first) {
                let sum = u64::from(*limb) + (rest & 0xffff_ffff) as u64 + carry;
                rest >>= 32;
                *limb = sum as u32;
                carry = sum >> 32;
                if rest == 0 && carry == 0 {
                    return;
                }
            }
        }
    }
}

/// Returns a double times `2^power`.
pub(super) fn scaled(double: f64, power: i32) -> f64 {
    // In steps, since the power need not be a double itself.
    let third = power / 3;
    double * 2_f64.powi(third) * 2_f64.powi(third) * 2_f64.powi(power - 2 * third)
}

fn round_magnitude(limbs: &[u32], scale: i32) -> f64 {
    let Some(top) = limbs.iter().rposition(|&limb| limb != 0) else { return 0.0 };
    let highest = top * 32 + 31 - limbs[top].leading_zeros() as usize;
    let bit = |at: usize| limbs[at / 32] >> (at % 32) & 1 == 1;
    // Of up to 53 bits from the highest down, and in units that a double can have.
    let lowest = highest.saturating_sub(52);
    let mut mantissa = (lowest..=highest).rev().fold(0_u64, |mantissa, at| mantissa << 1 | u64::from(bit(at)));
    let is_half_or_more = lowest > 0 && bit(lowest - 1);
    let is_more = is_half_or_more && (0..lowest - 1).any(bit);
    if is_half_or_more && (is_more || mantissa & 1 == 1) {
        mantissa += 1;
    }
    // Twice, since the power may be too small or too large to be a double by itself.
    let power = lowest as i32 + LOWEST + scale;
    let half = power / 2;
    mantissa as f64 * 2_f64.powi(half) * 2_f64.powi(power - half)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(doubles: &[f64]) -> f64 {
        let mut sum = ExactSum::default();
        doubles.iter().for_each(|&double| sum.add(double));
        sum.round()
    }

    #[test]
    fn nothing_is_lost_on_the_way() {
        assert_eq!(sum(&[]), 0.0);
        assert_eq!(sum(&[0.1; 10]), 1.0);
        assert_eq!(sum(&[1e308, 1e308, -1e308, -1e308, 1e-320]), 1e-320);
        assert_eq!(sum(&[1e16, 1.0, -1e16]), 1.0);
        assert_eq!(sum(&[f64::MAX, f64::MAX]), f64::INFINITY);
        assert_eq!(sum(&[-f64::MAX, -f64::MAX]), f64::NEG_INFINITY);
        assert_eq!(sum(&[f64::MIN_POSITIVE, -f64::MIN_POSITIVE / 2.0]), f64::MIN_POSITIVE / 2.0);
    }

    #[test]
    fn halves_go_to_the_even_neighbour() {
        let half = f64::EPSILON / 2.0;
        assert_eq!(sum(&[1.0, half]), 1.0);
        assert_eq!(sum(&[1.0, half, 1e-300]), 1.0 + f64::EPSILON);
        assert_eq!(sum(&[1.0 + f64::EPSILON, half]), 1.0 + 2.0 * f64::EPSILON);
    }

    #[test]
    fn integers_are_added_exactly() {
        let mut sum = ExactSum::default();
        for integer in [i128::from(i64::MAX), i128::MAX, -i128::MAX, -i128::from(i64::MAX), 7, i128::MIN, i128::MIN + 1]
        {
            sum.add_integer(integer);
        }
        sum.add_integer(i128::MAX);
        sum.add_integer(i128::MAX);
        sum.add(0.25);
        assert_eq!(sum.round(), 6.25 + 1.0 - 1.0);
    }

    proptest! {
        #[test]
        fn one_double_is_itself(double in any::<f64>().prop_filter("finite", |double| double.is_finite())) {
            prop_assert_eq!(sum(&[double]), double);
        }

        #[test]
        fn two_doubles_round_as_the_processor_does(a in -1e300..1e300, b in -1e300..1e300) {
            prop_assert_eq!(sum(&[a, b]), a + b);
        }

        #[test]
        fn order_and_groups_do_not_matter(
            doubles in prop::collection::vec(any::<f64>().prop_filter("finite", |double| double.is_finite()), 1..40),
            cut in any::<prop::sample::Index>(),
        ) {
            let forwards = sum(&doubles);
            let (left, right) = doubles.split_at(cut.index(doubles.len()));
            let (mut a, mut b) = (ExactSum::default(), ExactSum::default());
            right.iter().rev().for_each(|&double| a.add(double));
            left.iter().for_each(|&double| b.add(double));
            a.add_sum(&b);
            prop_assert_eq!(a.round(), forwards);
        }
    }
}
