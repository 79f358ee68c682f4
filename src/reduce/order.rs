//! The order of numbers, by their exact values: a large integer need not be a double.

use std::cmp::Ordering;

use crate::number::Number;

/// Orders numbers by their exact values. An integer and a double of one value are equal.
pub(super) fn compare(a: Number, b: Number) -> Ordering {
    match (a, b) {
        (Number::Integer(a), Number::Integer(b)) => a.cmp(&b),
        (Number::Double(a), Number::Double(b)) => a.total_cmp(&b),
        (Number::Integer(a), Number::Double(b)) => compare_mixed(a, b),
        (Number::Double(a), Number::Integer(b)) => compare_mixed(b, a).reverse(),
    }
}

/// Orders numbers so that no two are equal that are written differently: of one value the integer comes first.
pub(super) fn compare_all(a: Number, b: Number) -> Ordering {
    let is_double = |number| matches!(number, Number::Double(_));
    compare(a, b).then_with(|| is_double(a).cmp(&is_double(b)))
}

fn compare_mixed(integer: i64, double: f64) -> Ordering {
    // One past the largest integer is a double; every integer that rounds to less is below it.
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    // None is ever taken, but what another node has sent may be anything.
    if double.is_nan() {
        return if double.is_sign_negative() { Ordering::Greater } else { Ordering::Less };
    }
    if double >= BEYOND {
        return Ordering::Less;
    }
    if double < -BEYOND {
        return Ordering::Greater;
    }
    let whole = double.trunc();
    // A zero keeps its sign, by which doubles are told apart.
    let rest = if whole == 0.0 { double } else { double - whole };
    integer.cmp(&(whole as i64)).then_with(|| 0.0_f64.total_cmp(&rest))
}
