//! [`Distinct`]: how many different replies there are, for `DISTINCT`.
//!
//! Replies are known by hashes of 128 bits: as long as there are few, all of these are kept, and two replies are taken for one
//! once in some 10^28 requests. Of more, a [`HyperLogLog`] of the same hashes is kept. The hash is the same on every
//! machine and in every version: XXH3.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::hyperloglog::{HyperLogLog, STANDARD_ERROR};
use super::limit::ENTRY;
use super::same::Same;
use crate::reply::Reply;

/// The most different replies that are counted exactly.
const MOST_EXACT: usize = 100_000;

/// Different replies.
#[derive(Serialize, Deserialize)]
pub(super) enum Distinct {
    Exact(HashSet<u128>),
    Estimated(HyperLogLog),
}

impl Default for Distinct {
    fn default() -> Self {
        Self::Exact(HashSet::new())
    }
}

impl Distinct {
    /// Takes a reply.
    pub(super) fn add(&mut self, reply: Reply) {
        match Same::of(reply) {
            Same::Text(text) => self.add_text(&text),
            // Another seed: what stands for a string may also be one.
            Same::Wire(wire) => self.add_hash(xxh3_128_with_seed(&wire, 1)),
        }
    }

    /// Takes a string.
    pub(super) fn add_text(&mut self, text: &[u8]) {
        self.add_hash(xxh3_128_with_seed(text, 0));
    }

    /// Takes all that others have taken.
    pub(super) fn merge(&mut self, other: Self) {
        match other {
            Self::Exact(hashes) => hashes.into_iter().for_each(|hash| self.add_hash(hash)),
            Self::Estimated(other) => self.estimated().merge(&other),
        }
    }

    /// Returns the memory that it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Exact(hashes) => hashes.len() * ENTRY / 2,
            Self::Estimated(_) => 16 * 1024,
        }
    }

    /// Makes the answer.
    pub(super) fn finish(&self) -> Reply {
        let (distinct, method, error) = match self {
            Self::Exact(hashes) => (hashes.len() as u64, "exact", 0.0),
            Self::Estimated(estimate) => (estimate.estimate(), "hyperloglog", STANDARD_ERROR),
        };
        let distinct = i64::try_from(distinct).unwrap_or(i64::MAX);
        Reply::Map(vec![
            ("distinct".into(), distinct.into()),
            ("method".into(), method.into()),
            ("error".into(), error.into()),
        ])
    }

    fn add_hash(&mut self, hash: u128) {
        match self {
            Self::Exact(hashes) => {
                hashes.insert(hash);
                if hashes.len() > MOST_EXACT {
                    self.estimated();
                }
            }
            Self::Estimated(estimate) => estimate.add(hash),
        }
    }

    /// Estimates from now on.
    fn estimated(&mut self) -> &mut HyperLogLog {
        if let Self::Exact(hashes) = self {
            let mut estimate = HyperLogLog::default();
            hashes.iter().for_each(|&hash| estimate.add(hash));
            *self = Self::Estimated(estimate);
        }
        match self {
            Self::Estimated(estimate) => estimate,
            Self::Exact(_) => unreachable!("hashes were put into registers"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = u32>) -> Reply {
        let mut distinct = Distinct::default();
        values.into_iter().for_each(|value| distinct.add_text(value.to_string().as_bytes()));
        distinct.finish()
    }

    fn count(reply: &Reply) -> i64 {
        reply.field("distinct").and_then(Reply::integer).unwrap()
    }

    #[test]
    fn the_hundred_thousand_first_are_counted_exactly() {
        let exact = of((0..300_000).map(|value| value % 100_000));
        assert_eq!((count(&exact), exact.field("method")), (100_000, Some(&"exact".into())));
        let estimated = of(0..100_001);
        assert_eq!(estimated.field("method"), Some(&"hyperloglog".into()));
        assert_eq!(estimated.field("error"), Some(&STANDARD_ERROR.into()));
    }

    #[test]
    fn an_estimate_is_near() {
        for many in [100_001, 400_000] {
            let estimate = count(&of(0..many)) as f64;
            assert!((estimate / f64::from(many) - 1.0).abs() < 3.0 * STANDARD_ERROR, "{estimate} of {many}");
        }
    }

    #[test]
    fn strings_are_the_same_by_their_bytes_and_numbers_are_none() {
        let mut distinct = Distinct::default();
        let text = |text: &'static str| bytes::Bytes::from_static(text.as_bytes());
        for reply in [
            Reply::Simple(text("1")),
            Reply::Bulk(text("1")),
            Reply::Verbatim { format: *b"txt", text: text("1") },
            Reply::Integer(1),
            Reply::Bulk(text(":1\r\n")),
            Reply::Double(0.0),
            Reply::Double(-0.0),
            Reply::Array(vec![Reply::Simple(text("a"))]),
            Reply::Array(vec![Reply::Bulk(text("a"))]),
        ] {
            distinct.add(reply);
        }
        assert_eq!(count(&distinct.finish()), 5);
    }
}
