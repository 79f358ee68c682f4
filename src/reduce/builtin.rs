//! [`Builtin`]: the reducers that have a name, and what each of them makes of replies.

use std::cmp::Ordering;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::elements::Elements;
use super::total::Total;
use crate::combine::Combine;
use crate::engine::{Replies, ShardReply};
use crate::error::Error;
use crate::number::Number;
use crate::reply::Reply;

/// A reducer that is known by a name.
///
/// ```
/// use rmr::reduce::Builtin;
///
/// assert_eq!(Builtin::named(b"avg"), Some(Builtin::Avg));
/// assert_eq!(Builtin::named(b"median"), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Builtin {
    /// All replies, in order.
    List,
    /// The sum of numbers. Nulls add nothing.
    Sum,
    /// The mean of numbers, a double. Nulls do not count; null if there is no number.
    Avg,
    /// The smallest number; null if there is none.
    Min,
    /// The largest number; null if there is none.
    Max,
    /// How many replies are not null.
    Count,
    /// The elements of all arrays and sets, in order. Nulls have none.
    Concat,
    /// The elements of all arrays and sets, each once, in the order in which they were first seen; a set.
    Union,
}

impl Builtin {
    /// Lists all of them, in the order in which messages name them.
    pub const ALL: [Self; 8] =
        [Self::List, Self::Sum, Self::Avg, Self::Min, Self::Max, Self::Count, Self::Concat, Self::Union];

    /// Finds the reducer of this name, in any case.
    pub fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|&reducer| name.eq_ignore_ascii_case(reducer.name().as_bytes()))
    }

    /// Returns the name, in capitals.
    pub const fn name(self) -> &'static str {
        match self {
            Self::List => "LIST",
            Self::Sum => "SUM",
            Self::Avg => "AVG",
            Self::Min => "MIN",
            Self::Max => "MAX",
            Self::Count => "COUNT",
            Self::Concat => "CONCAT",
            Self::Union => "UNION",
        }
    }

    /// Whether nodes may reduce their own shares: all but `LIST`, which keeps every reply.
    pub fn can_be_split(self) -> bool {
        self != Self::List
    }

    /// Reduces the replies that arrived. Failures are for the caller to report; `LIST` keeps them in their places,
    /// and slots without an owner behind them.
    ///
    /// # Errors
    /// [`Error::Mixed`] for a reply of a type that this reducer cannot take; an error for a sum that is too large.
    pub fn reduce(self, replies: Replies) -> Result<Reply, Error> {
        if self == Self::List {
            let missed = replies.missed_slots().into_iter().map(|(_, error)| Reply::Error(error.to_line().into()));
            return Ok(Reply::Array(replies.into_iter().map(in_place).chain(missed).collect()));
        }
        let mut partial = BuiltinPartial::default();
        for (place, ShardReply { node, result }) in replies.into_iter().enumerate() {
            if let Ok(reply) = result {
                let taken = self.take(&mut partial, place as u32, reply);
                taken.map_err(|found| Error::Mixed { reducer: self.name(), found, node: node.to_string() })?;
            }
        }
        self.finish(partial)
    }
}

/// Holds what replies have come to so far. Each reducer uses the fields that it needs.
#[derive(Default, Serialize, Deserialize)]
pub struct BuiltinPartial {
    total: Total,
    count: u64,
    best: Option<Best>,
    elements: Elements,
}

/// Holds the best number so far. Of equal ones the first counts, which may be an integer or a double.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Best {
    number: Number,
    place: u32,
}

impl Combine for Builtin {
    type Partial = BuiltinPartial;
    type Output = Reply;

    fn name(&self) -> &'static str {
        (*self).name()
    }

    fn needs_places(&self) -> bool {
        !matches!(self, Self::Sum | Self::Avg | Self::Count)
    }

    fn take(&self, partial: &mut BuiltinPartial, place: u32, reply: Reply) -> Result<(), String> {
        if reply.is_null() {
            return Ok(());
        }
        match self {
            Self::Sum | Self::Avg | Self::Min | Self::Max => {
                let number = reply.number().ok_or_else(|| reply.describe())?;
                self.take_number(partial, place, number);
            }
            Self::Count => partial.count += 1,
            Self::List => partial.elements.add_all(place, vec![reply]),
            Self::Concat | Self::Union => match reply {
                Reply::Array(elements) | Reply::Set(elements) => match self {
                    Self::Union => partial.elements.add_new(place, elements),
                    _ => partial.elements.add_all(place, elements),
                },
                other => return Err(other.describe()),
            },
        }
        Ok(())
    }

    fn take_bulk(&self, partial: &mut BuiltinPartial, place: u32, bytes: &[u8]) -> Result<(), String> {
        match (self, Number::parse(bytes)) {
            (Self::Sum | Self::Avg | Self::Min | Self::Max, Some(number)) => {
                self.take_number(partial, place, number);
                Ok(())
            }
            _ => self.take(partial, place, Reply::Bulk(Bytes::copy_from_slice(bytes))),
        }
    }

    fn combine(&self, partial: &mut BuiltinPartial, other: BuiltinPartial) {
        partial.total.add_total(&other.total);
        partial.count = partial.count.saturating_add(other.count);
        if let Some(best) = other.best {
            self.keep_best(&mut partial.best, best);
        }
        match self {
            Self::Union => partial.elements.merge(other.elements),
            _ => partial.elements.append(other.elements),
        }
    }

    fn finish(&self, partial: BuiltinPartial) -> Result<Reply, Error> {
        Ok(match self {
            Self::Sum => partial.total.finish()?.into(),
            Self::Avg if partial.count == 0 => Reply::Null,
            Self::Avg => Reply::Double(partial.total.mean(partial.count)),
            Self::Min | Self::Max => partial.best.map(|best| best.number).into(),
            Self::Count => Reply::Integer(i64::try_from(partial.count).unwrap_or(i64::MAX)),
            Self::List | Self::Concat => Reply::Array(partial.elements.finish()),
            Self::Union => Reply::Set(partial.elements.finish()),
        })
    }
}

impl Builtin {
    fn take_number(self, partial: &mut BuiltinPartial, place: u32, number: Number) {
        match self {
            Self::Min | Self::Max => self.keep_best(&mut partial.best, Best { number, place }),
            _ => {
                partial.total.add(number);
                partial.count += 1;
            }
        }
    }

    fn keep_best(self, best: &mut Option<Best>, new: Best) {
        let is_better = |known: &Best| {
            let order = compare(new.number, known.number);
            let order = if self == Self::Max { order.reverse() } else { order };
            order.then(new.place.cmp(&known.place)).is_lt()
        };
        if best.as_ref().is_none_or(is_better) {
            *best = Some(new);
        }
    }
}

/// Returns the reply, or the error as an error reply in its place.
pub(crate) fn in_place(entry: ShardReply) -> Reply {
    entry.result.unwrap_or_else(|error| Reply::Error(error.to_line().into()))
}

/// Orders numbers by their exact values: a large integer need not be a double.
fn compare(a: Number, b: Number) -> Ordering {
    match (a, b) {
        (Number::Integer(a), Number::Integer(b)) => a.cmp(&b),
        (Number::Double(a), Number::Double(b)) => a.total_cmp(&b),
        (Number::Integer(a), Number::Double(b)) => compare_mixed(a, b),
        (Number::Double(a), Number::Integer(b)) => compare_mixed(b, a).reverse(),
    }
}

fn compare_mixed(integer: i64, double: f64) -> Ordering {
    // One past the largest integer is a double; every integer that rounds to less is below it.
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::topology::{Address, Node};

    fn replies(replies: Vec<Reply>) -> Replies {
        let node = Arc::new(Node::new(Address::new("10.0.0.1", 6379)));
        replies.into_iter().map(|reply| ShardReply { node: node.clone(), result: Ok(reply) }).collect()
    }

    fn reduce(reducer: Builtin, values: Vec<Reply>) -> Result<Reply, String> {
        reducer.reduce(replies(values)).map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_are_reduced() {
        let values = || vec!["5".into(), Reply::Null, 7.into(), "-2".into()];
        assert_eq!(reduce(Builtin::Sum, values()), Ok(10.into()));
        assert_eq!(reduce(Builtin::Min, values()), Ok((-2).into()));
        assert_eq!(reduce(Builtin::Max, values()), Ok(7.into()));
        assert_eq!(reduce(Builtin::Count, values()), Ok(3.into()));
        assert_eq!(reduce(Builtin::Avg, values()), Ok((10.0 / 3.0).into()));
        assert_eq!(reduce(Builtin::Sum, vec!["1".into(), "0.5".into()]), Ok(1.5.into()));
    }

    #[test]
    fn nothing_has_no_best_and_no_mean() {
        assert_eq!(reduce(Builtin::Sum, vec![]), Ok(0.into()));
        for reducer in [Builtin::Min, Builtin::Max, Builtin::Avg] {
            assert_eq!(reduce(reducer, vec![Reply::Null]), Ok(Reply::Null));
        }
    }

    #[test]
    fn a_mean_is_finite_where_the_sum_is_not() {
        let mean = |values: &[f64]| reduce(Builtin::Avg, values.iter().map(|&value| value.into()).collect());
        assert_eq!(mean(&[1e308, 1e308]), Ok(1e308.into()));
        assert_eq!(mean(&[-f64::MAX; 3]), Ok((-f64::MAX).into()));
        assert_eq!(mean(&[f64::MAX, f64::MAX, -f64::MAX]), Ok((f64::MAX / 3.0).into()));
        assert_eq!(mean(&[5e-324, 5e-324]), Ok(5e-324.into()));
        let mixed = reduce(Builtin::Avg, vec![f64::MAX.into(), f64::MAX.into(), i64::MAX.into(), 0.into()]);
        assert_eq!(mixed, Ok((f64::MAX / 2.0).into()));
    }

    #[test]
    fn what_cannot_be_taken_names_node_and_type() {
        assert_eq!(
            reduce(Builtin::Sum, vec![1.into(), "abc".into()]),
            Err("SUM cannot take a string ('abc') from 10.0.0.1:6379".into())
        );
        assert_eq!(
            reduce(Builtin::Concat, vec![1.into()]),
            Err("CONCAT cannot take an integer from 10.0.0.1:6379".into())
        );
    }

    #[test]
    fn a_sum_does_not_wrap() {
        let max = || Reply::Integer(i64::MAX);
        assert_eq!(
            reduce(Builtin::Sum, vec![max(), 1.into()]),
            Err("the sum 9223372036854775808 overflows a 64 bit signed integer".into())
        );
        // What overflows on the way need not overflow at the end.
        assert_eq!(reduce(Builtin::Sum, vec![max(), max(), Reply::Integer(-i64::MAX)]), Ok(max()));
    }

    #[test]
    fn elements_are_joined() {
        let lists =
            || vec![Reply::Array(vec!["a".into(), "b".into()]), Reply::Null, Reply::Set(vec!["b".into(), 1.into()])];
        let joined = vec!["a".into(), "b".into(), "b".into(), 1.into()];
        assert_eq!(reduce(Builtin::Concat, lists()), Ok(Reply::Array(joined)));
        assert_eq!(reduce(Builtin::Union, lists()), Ok(Reply::Set(vec!["a".into(), "b".into(), 1.into()])));
    }

    proptest! {
        #[test]
        fn integers_add_exactly_in_any_order(mut integers in prop::collection::vec(any::<i64>(), 0..50)) {
            let sum = |integers: &[i64]| reduce(Builtin::Sum, integers.iter().map(|&i| i.into()).collect());
            let exact = integers.iter().map(|&integer| i128::from(integer)).sum::<i128>();
            let forwards = sum(&integers);
            match i64::try_from(exact) {
                Ok(exact) => prop_assert_eq!(&forwards, &Ok(exact.into())),
                Err(_) => prop_assert!(forwards.is_err()),
            }
            integers.reverse();
            prop_assert_eq!(sum(&integers), forwards);
        }
    }
}
