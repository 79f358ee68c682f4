//! [`KeyFailures`]: the keys whose command has failed, counted by the kind of the error.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::resp::error_code;

/// The number of keys of each kind that are named.
const MOST_KEYS: usize = 10;

/// The failures of keys by kind, which is the first word of the error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyFailures {
    kinds: BTreeMap<String, FailuresOfKind>,
}

/// The failures of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailuresOfKind {
    pub(crate) count: u64,
    /// The first keys, at most ten.
    pub(crate) keys: Vec<ByteBuf>,
    /// The whole text of the first one.
    #[serde(with = "serde_bytes")]
    pub(crate) example: Vec<u8>,
}

impl KeyFailures {
    /// Adds a key and the error that its command was answered with.
    pub(crate) fn add(&mut self, key: &[u8], error: &[u8]) {
        let kind = String::from_utf8_lossy(error_code(error)).into_owned();
        let failures = self.kinds.entry(kind).or_default();
        if failures.count == 0 {
            failures.example = error.to_vec();
        }
        failures.count += 1;
        if failures.keys.len() < MOST_KEYS {
            failures.keys.push(ByteBuf::from(key));
        }
    }

    /// Adds the failures of another shard.
    pub(crate) fn merge(&mut self, other: Self) {
        for (kind, other) in other.kinds {
            let failures = self.kinds.entry(kind).or_default();
            if failures.count == 0 {
                failures.example = other.example;
            }
            failures.count += other.count;
            let room = MOST_KEYS.saturating_sub(failures.keys.len());
            failures.keys.extend(other.keys.into_iter().take(room));
        }
    }

    /// Returns the kinds, in the order of their names.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = (&str, &FailuresOfKind)> {
        self.kinds.iter().map(|(kind, failures)| (kind.as_str(), failures))
    }

    /// Returns how many keys have failed.
    pub(crate) fn count(&self) -> u64 {
        self.kinds.values().map(|failures| failures.count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_by_kind_and_ten_keys_are_named() {
        let (mut failures, mut others) = (KeyFailures::default(), KeyFailures::default());
        (0..7).for_each(|key: u8| failures.add(&[key], b"WRONGTYPE of a key"));
        (0..7).for_each(|key: u8| others.add(&[10 + key], b"WRONGTYPE of another"));
        others.add(b"k", b"NOPERM no");
        failures.merge(others);
        assert_eq!(failures.count(), 15);
        let kinds: Vec<_> = failures.kinds().map(|(kind, of)| (kind, of.count, of.keys.len())).collect();
        assert_eq!(kinds, [("NOPERM", 1, 1), ("WRONGTYPE", 14, 10)]);
        let (_, wrong) = failures.kinds().nth(1).unwrap();
        assert_eq!((wrong.example.as_slice(), wrong.keys[7].as_slice()), (&b"WRONGTYPE of a key"[..], &[10][..]));
    }
}
