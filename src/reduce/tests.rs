//! The law of the reducers: whatever is reduced where, in whatever order and however it is put together, the answer is
//! that of all replies one by one.

use std::sync::Arc;

use proptest::prelude::*;

use super::limit::MOST_BYTES;
use super::{Builtin, Prefix};
use crate::combine::{AnyCombine, Combine, Origin, finish};
use crate::error::Error;
use crate::reply::Reply;

/// A reply with its key; the place is that in the list.
type Keyed = (Vec<u8>, Reply);

/// Reduces shares by themselves, as nodes do, and puts together what they encode; without shares, all at once.
fn reduce(
    reducer: &(impl Combine<Output = Reply> + Clone),
    replies: &[Keyed],
    shares: &[Vec<usize>],
) -> Result<Reply, String> {
    let of_node = Arc::new(reducer.clone()) as Arc<dyn AnyCombine>;
    // A node knows the reducer by what travels.
    let of_node = of_node.clone().with_arguments(&of_node.arguments()).expect("its own arguments");
    let mut whole = (Arc::new(reducer.clone()) as Arc<dyn AnyCombine>).open();
    for share in shares {
        let mut part = of_node.clone().open();
        for &place in share {
            let (key, reply) = &replies[place];
            let origin = Origin::new(place as u32, key);
            match reply {
                // Strings are read in place, too.
                Reply::Bulk(bytes) if place % 2 == 0 => part.take_bulk(origin, bytes)?,
                reply => part.take(origin, reply.clone())?,
            }
        }
        whole.combine_encoded(&part.encode().expect("a partial result")).expect("what was encoded");
    }
    finish(reducer, whole).map_err(|error| error.to_string())
}

fn at_once(reducer: &(impl Combine<Output = Reply> + Clone), replies: &[Keyed]) -> Result<Reply, String> {
    let mut whole = (Arc::new(reducer.clone()) as Arc<dyn AnyCombine>).open();
    for (place, (key, reply)) in replies.iter().enumerate() {
        whole.take(Origin::new(place as u32, key), reply.clone())?;
    }
    finish(reducer, whole).map_err(|error| error.to_string())
}

/// Deals places out to shares, in an order of their own.
fn deal(places: usize, shares: usize, seed: u64) -> Vec<Vec<usize>> {
    let mut state = seed | 1;
    let mut next = move || {
        // Marsaglia's xorshift.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    let mut dealt = vec![Vec::new(); shares];
    for place in 0..places {
        let share: &mut Vec<usize> = &mut dealt[next() % shares];
        let at = next() % (share.len() + 1);
        share.insert(at, place);
    }
    dealt
}

fn any_key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[a-c]:[0-9]{0,2}".prop_map(String::into_bytes),
        "[a-c]::[a-c]:[a-c]".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..4),
    ]
}

fn any_number() -> impl Strategy<Value = Reply> {
    prop_oneof![
        3 => (-4..5_i64).prop_map(Reply::Integer),
        2 => (-4..5_i64).prop_map(|number| Reply::from(number.to_string())),
        2 => (-4..5_i64).prop_map(|number| Reply::Double(number as f64 / 2.0)),
        1 => any::<i64>().prop_map(Reply::Integer),
        1 => any::<f64>().prop_filter("finite", |double| double.is_finite()).prop_map(Reply::Double),
        1 => any::<f64>().prop_filter("finite", |double| double.is_finite()).prop_map(|double| Reply::from(double.to_string())),
        1 => Just(Reply::Null),
    ]
}

fn any_value() -> impl Strategy<Value = Reply> {
    prop_oneof![
        any_number(),
        "[a-c]{0,2}".prop_map(Reply::from),
        "[a-c]".prop_map(|text| Reply::Simple(text.into())),
        any::<bool>().prop_map(Reply::Boolean),
        Just(Reply::Double(f64::INFINITY)),
        Just(Reply::Double(f64::NAN)),
    ]
}

fn any_list() -> impl Strategy<Value = Reply> {
    prop_oneof![
        prop::collection::vec(any_value(), 0..3).prop_map(Reply::Array),
        prop::collection::vec(any_value(), 0..3).prop_map(Reply::Set),
    ]
}

fn any_reply() -> impl Strategy<Value = Reply> {
    prop_oneof![any_value(), any_list(), (any_value(), any_value()).prop_map(|pair| Reply::Map(vec![pair]))]
}

fn keyed(replies: impl Strategy<Value = Reply>, most: usize) -> impl Strategy<Value = Vec<Keyed>> {
    prop::collection::vec((any_key(), replies), 0..most)
}

/// Holds two answers against each other by what travels: NaN is not equal to itself.
fn same(a: Result<Reply, String>, b: Result<Reply, String>) -> Result<(), TestCaseError> {
    let wire = |answer: Result<Reply, String>| {
        answer.map(|reply| {
            let mut wire = Vec::new();
            reply.write_to(&mut wire);
            String::from_utf8_lossy(&wire).into_owned()
        })
    };
    prop_assert_eq!(wire(a), wire(b));
    Ok(())
}

fn check(reducer: Builtin, replies: &[Keyed], shares: usize, seed: u64) -> Result<(), TestCaseError> {
    let dealt = deal(replies.len(), shares, seed);
    same(reduce(&reducer, replies, &dealt), at_once(&reducer, replies))?;
    let by_prefix = Prefix::new(":", reducer);
    same(reduce(&by_prefix, replies, &dealt), at_once(&by_prefix, replies))
}

/// Reducers with this number, where they take one.
fn with(reducers: &[Builtin], most: u32) -> impl Iterator<Item = Builtin> {
    reducers.iter().map(move |reducer| reducer.with_most(most))
}

const OF_NUMBERS: [Builtin; 7] =
    [Builtin::Sum, Builtin::Avg, Builtin::Min, Builtin::Max, Builtin::Top(0), Builtin::Bottom(0), Builtin::Stats];
const OF_VALUES: [Builtin; 1] = [Builtin::Group];
const OF_LISTS: [Builtin; 2] = [Builtin::Concat, Builtin::Union];
const OF_ANYTHING: [Builtin; 4] = [Builtin::List, Builtin::Count, Builtin::TopGroups(0), Builtin::Distinct];

#[test]
fn all_of_them_are_here() {
    let here = [&OF_NUMBERS[..], &OF_VALUES, &OF_LISTS, &OF_ANYTHING].concat();
    assert_eq!(here.len(), Builtin::ALL.len());
    let is_here = |reducer: &Builtin| here.iter().any(|known| Combine::name(known) == Combine::name(reducer));
    assert!(Builtin::ALL.iter().all(is_here));
}

#[test]
fn arguments_make_the_same_reducer_anew() {
    let given = |reducer: Builtin, arguments: &[u8]| Combine::with_arguments(&reducer, arguments);
    assert_eq!(given(Builtin::Top(3), b"7"), Some(Builtin::Top(7)));
    for (reducer, arguments) in [(Builtin::Top(3), &b""[..]), (Builtin::TopGroups(3), b"x"), (Builtin::Sum, b"7")] {
        assert_eq!(given(reducer, arguments), None);
    }
    let by_prefix = Prefix::new(&b"\0:\xff"[..], Builtin::Bottom(4));
    let anew = Prefix::new("x", Builtin::Sum).with_arguments(&Combine::arguments(&by_prefix));
    assert_eq!(anew, Some(by_prefix));
    // One without arguments is known by its name alone.
    let sum = || Arc::new(Builtin::Sum) as Arc<dyn AnyCombine>;
    assert!(sum().with_arguments(b"").is_some() && sum().with_arguments(b"7").is_none());
}

#[cfg(feature = "module")]
#[test]
fn nodes_know_reducers_by_name_and_arguments() {
    use super::of_all_modules;

    let known = |reducer: &dyn AnyCombine| {
        let found = of_all_modules(reducer.name(), &reducer.arguments());
        found.is_some_and(|found| found.name() == reducer.name() && found.arguments() == reducer.arguments())
    };
    for reducer in Builtin::ALL.map(|reducer| reducer.with_most(3)) {
        assert_eq!(known(&reducer), reducer != Builtin::List);
        assert!(known(&Prefix::new(":", reducer)));
    }
    assert!(known(&super::CountOfSingle) && known(&super::SumOfNumbers));
    for (name, arguments) in [("TOP", &b""[..]), ("SUM", b"1"), ("COUNT", b"double"), ("PREFIX", b""), ("NONE", b"")] {
        assert!(of_all_modules(name, arguments).is_none(), "{name}");
    }
}

proptest! {
    #[test]
    fn numbers(replies in keyed(any_number(), 60), shares in 1..6_usize, seed in any::<u64>(), most in 0..5_u32) {
        for reducer in with(&OF_NUMBERS, most) {
            check(reducer, &replies, shares, seed)?;
        }
    }

    #[test]
    fn values(replies in keyed(any_value(), 60), shares in 1..6_usize, seed in any::<u64>()) {
        check(Builtin::Group, &replies, shares, seed)?;
    }

    #[test]
    fn lists(replies in keyed(any_list(), 30), shares in 1..6_usize, seed in any::<u64>()) {
        for reducer in OF_LISTS {
            check(reducer, &replies, shares, seed)?;
        }
    }

    #[test]
    fn anything(replies in keyed(any_reply(), 60), shares in 1..6_usize, seed in any::<u64>(), most in 0..5_u32) {
        for reducer in with(&OF_ANYTHING, most) {
            check(reducer, &replies, shares, seed)?;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3))]

    /// Makes so many replies that sketches take over, and that more are kept than are wanted.
    #[test]
    fn so_many_that_they_are_estimated(seed in any::<u64>(), spread in 1..2000_u64, shares in 1..5_usize) {
        let mixed = |index: u64| index.wrapping_mul(seed | 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let replies: Vec<Keyed> = (0..25_000)
            .map(|index| (format!("k:{}", mixed(index) % spread).into_bytes(), Reply::from((mixed(index) % 20_000_000) as f64 / 7.0)))
            .collect();
        let dealt = deal(replies.len(), shares, seed);
        for reducer in [Builtin::Stats, Builtin::Top(7), Builtin::Bottom(300), Builtin::TopGroups(5)] {
            same(reduce(&reducer, &replies, &dealt), at_once(&reducer, &replies))?;
        }
        let estimated = reduce(&Builtin::Stats, &replies, &dealt).unwrap();
        prop_assert_eq!(estimated.field("method"), Some(&Reply::from("buckets")));
    }
}

#[test]
fn distinct_values_are_estimated_alike_in_any_parts() {
    let replies: Vec<Keyed> = (0..250_000_u32).map(|index| (Vec::new(), Reply::from(index.to_string()))).collect();
    let whole = at_once(&Builtin::Distinct, &replies).unwrap();
    assert_eq!(whole.field("method"), Some(&"hyperloglog".into()));
    for parts in [2, 5] {
        let dealt: Vec<Vec<usize>> =
            (0..parts).map(|part| (0..replies.len()).rev().filter(|place| place % parts == part).collect()).collect();
        assert_eq!(reduce(&Builtin::Distinct, &replies, &dealt).unwrap(), whole);
    }
}

fn of(replies: &[(&str, Reply)]) -> Vec<Keyed> {
    replies.iter().map(|(key, reply)| (key.as_bytes().to_vec(), reply.clone())).collect()
}

fn pair(key: &str, value: impl Into<Reply>) -> Reply {
    Reply::Array(vec![key.into(), value.into()])
}

#[test]
fn of_equal_numbers_the_key_decides() {
    let replies = of(&[
        ("b", 7.into()),
        ("c", Reply::Null),
        ("a", Reply::Double(7.0)),
        ("d", "9".into()),
        ("e", (-1).into()),
        ("d", 9.into()),
    ]);
    let top = |reducer| at_once(&reducer, &replies).unwrap();
    assert_eq!(top(Builtin::Top(3)), Reply::Array(vec![pair("d", 9), pair("d", 9), pair("a", 7.0)]));
    assert_eq!(top(Builtin::Bottom(3)), Reply::Array(vec![pair("e", -1), pair("a", 7.0), pair("b", 7)]));
    assert_eq!(top(Builtin::Top(0)), Reply::Array(vec![]));
    assert_eq!(at_once(&Builtin::Top(1), &of(&[("a", "x".into())])), Err("a string ('x')".into()));
}

#[test]
fn groups_are_counted_and_ordered() {
    let replies = of(&[
        ("1", "de".into()),
        ("2", Reply::Simple("de".into())),
        ("3", 5.into()),
        ("4", "at".into()),
        ("5", Reply::Null),
        ("6", "at".into()),
        ("7", "ch".into()),
    ]);
    let all = Reply::Map(vec![
        (5.into(), 1.into()),
        ("at".into(), 2.into()),
        ("ch".into(), 1.into()),
        ("de".into(), 2.into()),
    ]);
    assert_eq!(at_once(&Builtin::Group, &replies), Ok(all));
    let three = Reply::Array(vec![pair("at", 2), pair("de", 2), Reply::Array(vec![5.into(), 1.into()])]);
    assert_eq!(at_once(&Builtin::TopGroups(3), &replies), Ok(three));
    let lists = of(&[("1", Reply::Array(vec!["a".into()])), ("2", Reply::Array(vec!["a".into()]))]);
    let once = Reply::Array(vec![Reply::Array(vec![Reply::Array(vec!["a".into()]), 2.into()])]);
    assert_eq!(at_once(&Builtin::TopGroups(3), &lists), Ok(once));
    assert_eq!(at_once(&Builtin::Group, &lists), Err("an array (TOPGROUPS can)".into()));
}

#[test]
fn numbers_are_summed_up_in_one_pass() {
    let replies: Vec<Keyed> = (1..=100).map(|number| (Vec::new(), Reply::from(number.to_string()))).collect();
    let stats = at_once(&Builtin::Stats, &replies).unwrap();
    for (field, expected) in [
        ("count", 100.into()),
        ("sum", 5050.into()),
        ("min", 1.into()),
        ("max", 100.into()),
        ("mean", 50.5.into()),
        ("stddev", Reply::Double((9999.0_f64 / 12.0).sqrt())),
        ("p50", 50.into()),
        ("p90", 90.into()),
        ("p99", 99.into()),
        ("method", "exact".into()),
        ("error", 0.0.into()),
    ] {
        assert_eq!(stats.field(field), Some(&expected), "{field}");
    }
    let nothing = at_once(&Builtin::Stats, &[]).unwrap();
    assert_eq!((nothing.field("count"), nothing.field("p99")), (Some(&0.into()), Some(&Reply::Null)));
    let too_large = of(&[("a", i64::MAX.into()), ("b", i64::MAX.into())]);
    let stats = at_once(&Builtin::Stats, &too_large).unwrap();
    assert_eq!(stats.field("sum"), Some(&Reply::Double(2.0 * i64::MAX as f64)));
}

#[test]
fn prefixes_are_reduced_by_themselves() {
    let replies = of(&[("user:1", 5.into()), ("user:2:x", 6.into()), ("visits", 1.into()), ("cart:1", Reply::Null)]);
    let sum = |separator: &str| at_once(&Prefix::new(separator, Builtin::Sum), &replies).unwrap();
    assert_eq!(sum(":"), Reply::Map(vec![("user".into(), 11.into()), ("visits".into(), 1.into())]));
    let all = Reply::Map(vec![("user:1".into(), 5.into()), ("user:2".into(), 6.into()), ("visits".into(), 1.into())]);
    assert_eq!(sum(":x"), all);
    let mixed = at_once(&Prefix::new(":", Builtin::Sum), &of(&[("a:b", "x".into())]));
    assert_eq!(mixed, Err("a string ('x') (for SUM)".into()));
}

#[test]
fn what_would_take_too_much_memory_is_an_error_in_any_parts() {
    const LENGTH: usize = 64 * 1024;
    let long = |index: u8| {
        let mut long = vec![b'x'; LENGTH];
        long[0] = index;
        long
    };
    let replies: Vec<Keyed> = (0..70).map(|index| (long(index), long(index).into())).collect();
    let shares: Vec<Vec<usize>> = vec![(0..35).collect(), (35..70).collect()];
    let groups = "would have to keep more than 4194304 bytes; give it fewer or shorter keys and values";
    for reducer in [Builtin::Group, Builtin::TopGroups(1)] {
        let error = Err(format!("{} {groups}", Combine::name(&reducer)));
        assert_eq!(at_once(&reducer, &replies), error);
        assert_eq!(reduce(&reducer, &replies, &shares), error);
        assert!(at_once(&reducer, &replies[..60]).is_ok());
    }
    let sizes: Vec<Keyed> = replies.into_iter().map(|(key, _)| (key, 1.into())).collect();
    for (reducer, is_over) in [(Builtin::Top(70), true), (Builtin::Bottom(60), false)] {
        let error: Result<Reply, Error> =
            Err(Error::KeepsTooMuch { reducer: Combine::name(&reducer), limit: MOST_BYTES });
        let answer = [at_once(&reducer, &sizes), reduce(&reducer, &sizes, &shares)];
        for answer in answer {
            assert_eq!(answer.is_err(), is_over);
            assert!(!is_over || answer == error.clone().map_err(|error| error.to_string()));
        }
    }
    let by_prefix = Prefix::new(":", Builtin::Sum);
    assert_eq!(at_once(&by_prefix, &sizes), Err(format!("PREFIX {groups}")));
    assert_eq!(reduce(&by_prefix, &sizes, &shares), Err(format!("PREFIX {groups}")));
}
