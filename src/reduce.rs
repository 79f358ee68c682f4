//! The built-in reducers, by name: `LIST`, `SUM`, `AVG`, `MIN`, `MAX`, `COUNT`, `CONCAT`, `UNION`.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};

use crate::engine::{Replies, ShardReply};
use crate::error::Error;
use crate::reply::{Number, Reply};

/// A reducer that is known by a name.
///
/// ```
/// use rmr::Builtin;
///
/// assert_eq!(Builtin::named(b"avg"), Some(Builtin::Avg));
/// assert_eq!(Builtin::named(b"median"), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::List, Self::Sum, Self::Avg, Self::Min, Self::Max, Self::Count, Self::Concat, Self::Union];

    /// The reducer of this name, in any case.
    pub fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|reducer| name.eq_ignore_ascii_case(reducer.name().as_bytes()))
    }

    /// Its name, in capitals.
    pub fn name(self) -> &'static str {
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

    /// Reduces the replies that arrived. Failures are for the caller to report; `LIST` keeps them in their places.
    ///
    /// # Errors
    /// [`Error::Mixed`] for a reply of a type that this reducer cannot take; an error for a sum that is too large.
    pub fn reduce(self, replies: Replies) -> Result<Reply, Error> {
        match self {
            Self::List => Ok(Reply::Array(replies.into_iter().map(in_place).collect())),
            Self::Sum => {
                let mut total = Total::default();
                self.numbers(&replies, |number| total.add(number))?;
                Ok(total.finish()?.into())
            }
            Self::Avg => {
                let (mut total, mut count) = (Total::default(), 0u64);
                self.numbers(&replies, |number| {
                    total.add(number);
                    count += 1;
                })?;
                Ok(if count == 0 { Reply::Null } else { Reply::Double(total.as_f64() / count as f64) })
            }
            Self::Min => self.best(&replies, |number, best| compare(number, best).is_lt()),
            Self::Max => self.best(&replies, |number, best| compare(number, best).is_gt()),
            Self::Count => Ok(Reply::Integer(replies.ok().filter(|reply| !reply.is_null()).count() as i64)),
            Self::Concat => self.elements(replies).map(Reply::Array),
            Self::Union => {
                let mut seen = HashSet::new();
                let mut elements = self.elements(replies)?;
                elements.retain(|element| seen.insert(ByValue(element.clone())));
                Ok(Reply::Set(elements))
            }
        }
    }

    fn mixed(self, entry: &ShardReply, reply: &Reply) -> Error {
        Error::Mixed { reducer: self.name(), found: reply.describe(), node: entry.node.to_string() }
    }

    fn numbers(self, replies: &Replies, mut visit: impl FnMut(Number)) -> Result<(), Error> {
        for entry in replies {
            match &entry.result {
                Ok(reply) if !reply.is_null() => visit(reply.number().ok_or_else(|| self.mixed(entry, reply))?),
                _ => {}
            }
        }
        Ok(())
    }

    fn best(self, replies: &Replies, is_better: impl Fn(Number, Number) -> bool) -> Result<Reply, Error> {
        let mut best = None;
        self.numbers(replies, |number| {
            if best.is_none_or(|best| is_better(number, best)) {
                best = Some(number);
            }
        })?;
        Ok(best.into())
    }

    fn elements(self, replies: Replies) -> Result<Vec<Reply>, Error> {
        let mut all = Vec::new();
        for mut entry in replies {
            match std::mem::replace(&mut entry.result, Ok(Reply::Null)) {
                Ok(Reply::Array(elements) | Reply::Set(elements)) => all.extend(elements),
                Ok(Reply::Null | Reply::NullArray) | Err(_) => {}
                Ok(other) => return Err(self.mixed(&entry, &other)),
            }
        }
        Ok(all)
    }
}

/// A reply, or in its place the error.
pub(crate) fn in_place(entry: ShardReply) -> Reply {
    entry.result.unwrap_or_else(|error| Reply::Error(error.to_line().into()))
}

/// Adds numbers: integers exactly, in any order; with a double among them the sum is a double.
#[derive(Debug, Clone, Copy, Default)]
pub struct Total {
    /// Wide enough for more integers than a request can have.
    integers: i128,
    doubles: f64,
    has_double: bool,
}

impl Total {
    /// Adds a number.
    pub fn add(&mut self, number: Number) {
        match number {
            Number::Integer(integer) => self.integers += i128::from(integer),
            Number::Double(double) => {
                self.doubles += double;
                self.has_double = true;
            }
        }
    }

    fn as_f64(self) -> f64 {
        self.integers as f64 + self.doubles
    }

    /// The sum.
    ///
    /// # Errors
    /// If it is too large for a 64 bit integer, or for a double.
    pub fn finish(self) -> Result<Number, Error> {
        if self.has_double {
            let sum = Some(self.as_f64()).filter(|sum| sum.is_finite()).map(Number::Double);
            return sum.ok_or_else(|| Error::Invalid("the sum overflows a double".into()));
        }
        let sum = i64::try_from(self.integers).map(Number::Integer);
        sum.map_err(|_| Error::Invalid(format!("the sum {} overflows a 64 bit signed integer", self.integers)))
    }
}

fn compare(a: Number, b: Number) -> std::cmp::Ordering {
    match (a, b) {
        (Number::Integer(a), Number::Integer(b)) => a.cmp(&b),
        _ => a.as_f64().total_cmp(&b.as_f64()),
    }
}

/// A reply that can be looked up.
struct ByValue(Reply);

impl PartialEq for ByValue {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for ByValue {}

impl Hash for ByValue {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash(&self.0, state);
    }
}

fn hash<H: Hasher>(reply: &Reply, state: &mut H) {
    std::mem::discriminant(reply).hash(state);
    match reply {
        Reply::Integer(integer) => integer.hash(state),
        // 0.0 and -0.0 are equal.
        Reply::Double(double) => (double + 0.0).to_bits().hash(state),
        Reply::Boolean(boolean) => boolean.hash(state),
        Reply::Array(elements) | Reply::Set(elements) => elements.iter().for_each(|element| hash(element, state)),
        Reply::Map(pairs) => pairs.iter().for_each(|(key, value)| {
            hash(key, state);
            hash(value, state);
        }),
        Reply::Error(message) => message.hash(state),
        other => other.bytes().hash(state),
    }
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
    fn what_cannot_be_taken_names_node_and_type() {
        assert_eq!(
            reduce(Builtin::Sum, vec![1.into(), "abc".into()]),
            Err("RMRMIXED SUM cannot take a string ('abc') from 10.0.0.1:6379".into())
        );
        assert_eq!(
            reduce(Builtin::Concat, vec![1.into()]),
            Err("RMRMIXED CONCAT cannot take an integer from 10.0.0.1:6379".into())
        );
    }

    #[test]
    fn a_sum_does_not_wrap() {
        let max = || Reply::Integer(i64::MAX);
        assert_eq!(
            reduce(Builtin::Sum, vec![max(), 1.into()]),
            Err("ERR the sum 9223372036854775808 overflows a 64 bit signed integer".into())
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
