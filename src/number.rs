//! [`Number`]: how Redis reads and counts numbers.

use serde::{Deserialize, Serialize};

/// A number as Redis has them: integers are exact, everything else is a double.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Number {
    /// A 64 bit integer.
    Integer(i64),
    /// A finite double.
    Double(f64),
}

impl Number {
    /// Returns the number as a double.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Integer(integer) => integer as f64,
            Self::Double(double) => double,
        }
    }

    /// Reads a number as Redis writes them. `None` for anything else, infinities and NaN included.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        if let Some(integer) = few_digits(text) {
            return Some(Self::Integer(integer));
        }
        if !matches!(text.first(), Some(b'0'..=b'9' | b'-' | b'+' | b'.')) {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        if let Ok(integer) = text.parse() {
            return Some(Self::Integer(integer));
        }
        text.parse().ok().filter(|double: &f64| double.is_finite()).map(Self::Double)
    }
}

/// Reads digits that are too few to overflow, as nearly all numbers are.
fn few_digits(text: &[u8]) -> Option<i64> {
    const SURELY_FIT: usize = 18;
    if text.is_empty() || text.len() > SURELY_FIT {
        return None;
    }
    let (mut number, mut are_digits) = (0_u64, true);
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        are_digits &= digit < 10;
        number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
    }
    if are_digits { i64::try_from(number).ok() } else { None }
}

/// Returns the shortest text that reads back as the same double.
pub(crate) fn double_text(double: f64) -> String {
    let magnitude = double.abs();
    if double.is_finite() && magnitude != 0.0 && !(1e-5..1e17).contains(&magnitude) {
        format!("{double:e}")
    } else if double.is_nan() {
        "nan".into()
    } else {
        double.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_double_reads_back_the_same(double in any::<f64>().prop_filter("NaN is not itself", |d| !d.is_nan())) {
            prop_assert_eq!(double_text(double).parse::<f64>().unwrap(), double);
        }
    }

    #[test]
    fn doubles_are_short() {
        let texts = [0.1, 3.0, -2.5, 1e300, 1e-7, f64::INFINITY, f64::NAN].map(double_text);
        assert_eq!(texts, ["0.1", "3", "-2.5", "1e300", "1e-7", "inf", "nan"]);
    }

    #[test]
    fn digits_that_might_overflow_are_parsed_the_long_way() {
        for text in ["0", "999999999999999999", "1000000000000000000", "9223372036854775807"] {
            assert_eq!(Number::parse(text.as_bytes()), Some(Number::Integer(text.parse().unwrap())), "{text}");
        }
    }
}
