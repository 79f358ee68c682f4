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
    assert_eq!(reduce(Builtin::Concat, vec![1.into()]), Err("CONCAT cannot take an integer from 10.0.0.1:6379".into()));
}

#[test]
fn a_sum_does_not_wrap() {
    let max = || Reply::Integer(i64::MAX);
    assert_eq!(
        reduce(Builtin::Sum, vec![max(), 1.into()]),
        Err("the sum 9223372036854775808 overflows a 64 bit signed integer".into())
    );
    // A sum that overflows on the way need not overflow at the end.
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
