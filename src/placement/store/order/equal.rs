//! Compares the replies of copies.

use std::cmp::Ordering;

use crate::reply::Reply;

/// Returns whether two replies say the same: sets and maps in any order, and numbers however they are written.
pub(super) fn same(one: &Reply, other: &Reply) -> bool {
    match (one, other) {
        (Reply::Error(one), Reply::Error(other)) => code(one) == code(other),
        (Reply::Set(one), Reply::Set(other)) => same_in_any_order(one.iter().collect(), other.iter().collect()),
        (Reply::Map(one), Reply::Map(other)) => {
            let pairs = |map: &[(Reply, Reply)]| -> Vec<Reply> {
                map.iter().map(|(key, value)| Reply::Array(vec![key.clone(), value.clone()])).collect()
            };
            let (one, other) = (pairs(one), pairs(other));
            same_in_any_order(one.iter().collect(), other.iter().collect())
        }
        (Reply::Array(one), Reply::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Reply::Attributed { reply, .. }, other) => same(reply, other),
        (one, Reply::Attributed { reply, .. }) => same(one, reply),
        (one, other) => one == other || one.number().is_some_and(|number| Some(number) == other.number()),
    }
}

fn same_in_any_order(mut one: Vec<&Reply>, mut other: Vec<&Reply>) -> bool {
    let by_text = |one: &&Reply, other: &&Reply| -> Ordering { one.to_string().cmp(&other.to_string()) };
    one.sort_by(by_text);
    other.sort_by(by_text);
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
}

/// Errors are told apart by their first word: the rest may name what is the server's own.
fn code(words: &[u8]) -> &[u8] {
    words.split(|byte| *byte == b' ').next().unwrap_or_default()
}

/// Returns whether an error is about the node that has sent it, and not about the data.
pub(super) fn is_about_the_node(reply: &Reply) -> bool {
    const CODES: [&[u8]; 9] =
        [b"OOM", b"MISCONF", b"READONLY", b"LOADING", b"MASTERDOWN", b"NOAUTH", b"NOPERM", b"BUSY", b"NOREPLICAS"];
    matches!(reply, Reply::Error(words) if CODES.contains(&code(words)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_counts_only_where_it_means_something() {
        let list = |parts: [&str; 2]| parts.into_iter().map(Reply::from).collect::<Vec<_>>();
        assert!(same(&Reply::Set(list(["a", "b"])), &Reply::Set(list(["b", "a"]))));
        assert!(!same(&Reply::Set(list(["a", "b"])), &Reply::Set(list(["b", "b"]))));
        assert!(!same(&Reply::Array(list(["a", "b"])), &Reply::Array(list(["b", "a"]))));
        let map = |pairs: [(&str, &str); 2]| Reply::Map(pairs.map(|(key, value)| (key.into(), value.into())).into());
        assert!(same(&map([("a", "1"), ("b", "2")]), &map([("b", "2"), ("a", "1")])));
        assert!(!same(&map([("a", "1"), ("b", "2")]), &map([("b", "1"), ("a", "2")])));
        assert!(same(&Reply::Double(3.0), &Reply::Double(3.0)) && !same(&Reply::Integer(1), &Reply::Integer(2)));
    }

    #[test]
    fn errors_about_a_node_are_told_from_those_about_data() {
        let error = |words: &'static str| Reply::Error(words.into());
        assert!(is_about_the_node(&error("OOM command not allowed")));
        assert!(!is_about_the_node(&error("WRONGTYPE Operation")) && !is_about_the_node(&Reply::OK));
        assert!(same(&error("NOSCRIPT a"), &error("NOSCRIPT b")) && !same(&error("ERR a"), &error("NOSCRIPT b")));
    }
}
