//! [`Total`]: a sum of integers and doubles that is the same in whatever order and groups they are added.

use serde::{Deserialize, Serialize};

use super::exact::ExactSum;
use crate::error::Error;
use crate::number::Number;

/// Adds numbers: integers exactly; with a double among them the sum is the double that is nearest to the exact one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Total {
    /// Wide enough for more integers than a request can have.
    integers: i128,
    doubles: Option<Box<ExactSum>>,
}

impl Total {
    /// Adds a number.
    pub fn add(&mut self, number: Number) {
        match number {
            Number::Integer(integer) => self.integers = self.integers.wrapping_add(i128::from(integer)),
            Number::Double(double) => self.doubles.get_or_insert_default().add(double),
        }
    }

    /// Adds what others have added up.
    pub fn add_total(&mut self, other: &Self) {
        self.integers = self.integers.wrapping_add(other.integers);
        if let Some(doubles) = &other.doubles {
            self.doubles.get_or_insert_default().add_sum(doubles);
        }
    }

    /// Returns the sum as a double, which may be infinite.
    pub fn as_f64(&self) -> f64 {
        self.exact().round()
    }

    /// Returns the mean of so many numbers, of which there is at least one. It is finite where the sum itself is too large
    /// for a double: no mean is beyond the largest number.
    pub(super) fn mean(&self, count: u64) -> f64 {
        /// Makes room for as many numbers as can be counted.
        const ROOM: i32 = 64;
        let (exact, count) = (self.exact(), count as f64);
        let sum = exact.round();
        if sum.is_finite() { sum / count } else { exact.round_scaled(-ROOM) / count * 2_f64.powi(ROOM) }
    }

    /// Returns doubles that add up to the sum times `2^power`.
    pub(super) fn parts(&self, power: i32) -> Vec<f64> {
        self.exact().parts(power)
    }

    fn exact(&self) -> ExactSum {
        let mut exact = self.doubles.as_deref().cloned().unwrap_or_default();
        exact.add_integer(self.integers);
        exact
    }

    /// Returns the sum.
    ///
    /// # Errors
    /// If it is too large for a 64 bit integer, or for a double.
    pub fn finish(self) -> Result<Number, Error> {
        if self.doubles.is_some() {
            let sum = Some(self.as_f64()).filter(|sum| sum.is_finite()).map(Number::Double);
            return sum.ok_or_else(|| Error::Overflow("the sum overflows a double".into()));
        }
        let sum = i64::try_from(self.integers).map(Number::Integer);
        sum.map_err(|_| Error::Overflow(format!("the sum {} overflows a 64 bit signed integer", self.integers)))
    }
}
