//! [`Ranking`]: the keys with the greatest numbers, or the least, for `TOP` and `BOTTOM`.
//!
//! Of equal numbers the key whose bytes come first counts. So the answer depends on nothing but keys and numbers.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::limit::{ENTRY, MOST_BYTES};
use super::order::{compare, compare_all};
use crate::number::Number;

/// Says which numbers are kept, and of how many keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) greatest: bool,
    pub(super) most: usize,
}

/// The best so far, and some that were: they are sorted out when there are twice as many as are wanted.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Ranking {
    entries: Vec<Ranked>,
    pub(super) is_over: bool,
    /// The position of the worst entry that is kept, once entries were sorted out: nothing worse counts.
    #[serde(skip)]
    worst: Option<usize>,
    #[serde(skip)]
    bytes: usize,
}

#[derive(Serialize, Deserialize)]
struct Ranked {
    number: Number,
    key: ByteBuf,
}

impl Wanted {
    /// Orders by rank, the best first.
    fn rank(self, (a, a_key): (Number, &[u8]), (b, b_key): (Number, &[u8])) -> Ordering {
        let by_number = compare(a, b);
        let by_number = if self.greatest { by_number.reverse() } else { by_number };
        by_number.then_with(|| a_key.cmp(b_key)).then_with(|| compare_all(a, b))
    }

    fn rank_entries(self, a: &Ranked, b: &Ranked) -> Ordering {
        self.rank((a.number, &a.key), (b.number, &b.key))
    }
}

impl Ranking {
    /// Takes the number of a key.
    pub(super) fn add(&mut self, wanted: Wanted, number: Number, key: &[u8]) {
        let is_worse = |worst: usize| {
            let worst = &self.entries[worst];
            wanted.rank((number, key), (worst.number, &worst.key)).is_ge()
        };
        if self.is_over || wanted.most == 0 || self.worst.is_some_and(is_worse) {
            return;
        }
        self.push(wanted, Ranked { number, key: ByteBuf::from(key) });
    }

    /// Takes all of others'.
    pub(super) fn merge(&mut self, wanted: Wanted, other: Self) {
        if other.is_over {
            self.give_up();
        }
        for entry in other.entries {
            self.add_entry(wanted, entry);
        }
    }

    /// Returns keys and numbers, the best first.
    pub(super) fn finish(mut self, wanted: Wanted) -> Vec<(Vec<u8>, Number)> {
        self.entries.sort_unstable_by(|a, b| wanted.rank_entries(a, b));
        self.entries.truncate(wanted.most);
        self.entries.into_iter().map(|entry| (entry.key.into_vec(), entry.number)).collect()
    }

    /// Returns the memory that it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn add_entry(&mut self, wanted: Wanted, entry: Ranked) {
        let is_worse = |worst: usize| wanted.rank_entries(&entry, &self.entries[worst]).is_ge();
        if !self.is_over && wanted.most > 0 && !self.worst.is_some_and(is_worse) {
            self.push(wanted, entry);
        }
    }

    fn push(&mut self, wanted: Wanted, entry: Ranked) {
        /// Sorting out takes its time, so that some more are kept where few are wanted.
        const LEAST_ROOM: usize = 64;
        self.bytes += entry.key.len() + ENTRY;
        self.entries.push(entry);
        let is_full = self.entries.len() >= wanted.most.saturating_mul(2).max(LEAST_ROOM);
        if is_full || self.bytes > MOST_BYTES {
            self.sort_out(wanted);
        }
    }

    /// Leaves those that are wanted.
    fn sort_out(&mut self, wanted: Wanted) {
        if self.entries.len() > wanted.most {
            let last = wanted.most - 1;
            self.entries.select_nth_unstable_by(last, |a, b| wanted.rank_entries(a, b));
            self.entries.truncate(wanted.most);
            self.worst = Some(last);
        }
        self.bytes = self.entries.iter().map(|entry| entry.key.len() + ENTRY).sum();
        if self.bytes > MOST_BYTES {
            self.give_up();
        }
    }

    fn give_up(&mut self) {
        *self = Self { is_over: true, ..Self::default() };
    }
}
