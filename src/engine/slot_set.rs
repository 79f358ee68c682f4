//! [`SlotSet`]: some of the hash slots, one bit each, so that what nodes say of theirs is compared a word at a time.

use std::fmt;

use crate::topology::{SLOT_COUNT, SlotRange, SlotRanges};

const WORDS: usize = SLOT_COUNT / 64;

/// A set of slots. One without slots takes no memory: almost all of the sets that requests have are so.
#[derive(Clone, Default)]
pub(super) struct SlotSet(Vec<u64>);

impl PartialEq for SlotSet {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for SlotSet {}

impl SlotSet {
    /// Returns the set of all slots.
    pub(super) fn all() -> Self {
        Self(vec![u64::MAX; WORDS])
    }

    /// Returns the slots of these ranges.
    pub(super) fn of(ranges: &[SlotRange]) -> Self {
        let mut set = Self::default();
        ranges.iter().for_each(|&(first, last)| set.insert_range(first, last));
        set
    }

    pub(super) fn insert(&mut self, slot: u16) {
        self.insert_range(slot, slot);
    }

    fn insert_range(&mut self, first: u16, last: u16) {
        let last = last.min(SLOT_COUNT as u16 - 1);
        self.0.resize(WORDS, 0);
        for word in first / 64..=last / 64 {
            let from = u64::MAX << (first.max(word * 64) % 64);
            let to = u64::MAX >> (63 - last.min(word * 64 + 63) % 64);
            self.0[usize::from(word)] |= from & to;
        }
    }

    pub(super) fn contains(&self, slot: u16) -> bool {
        self.0.get(usize::from(slot / 64)).is_some_and(|word| word & (1 << (slot % 64)) != 0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    /// Tells whether there is one slot.
    pub(super) fn is_one(&self) -> bool {
        self.0.iter().map(|word| word.count_ones()).sum::<u32>() == 1
    }

    /// Adds the slots of another set.
    pub(super) fn add(&mut self, other: &Self) {
        if self.0.is_empty() {
            self.0.clone_from(&other.0);
        }
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }

    /// Takes the slots of another set away.
    pub(super) fn remove(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= !other);
    }

    /// Returns the slots that both have.
    pub(super) fn common(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(word, other)| word & other).collect())
    }

    /// Returns the slots that this one has and the other has not.
    pub(super) fn without(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        rest.remove(other);
        rest
    }

    /// Returns the slots in ascending order.
    pub(super) fn iter(&self) -> impl Iterator<Item = u16> {
        self.0.iter().enumerate().flat_map(|(at, &word)| {
            let some = |word: u64| (word != 0).then_some(word);
            let rest = std::iter::successors(some(word), move |word| some(word & (word - 1)));
            rest.map(move |rest| at as u16 * 64 + rest.trailing_zeros() as u16)
        })
    }

    /// Returns the slots as ranges, in ascending order.
    pub(super) fn ranges(&self) -> Vec<SlotRange> {
        let mut ranges: Vec<SlotRange> = Vec::new();
        for slot in self.iter() {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == slot => *last = slot,
                _ => ranges.push((slot, slot)),
            }
        }
        ranges
    }
}

/// Writes the slots as people do: `slot 7`, or `slots 0-5460 10923`.
impl fmt::Display for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slot{} {}", if self.is_one() { "" } else { "s" }, SlotRanges(&self.ranges()))
    }
}

impl fmt::Debug for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sets_are_compared_and_shown_as_ranges() {
        let (low, high) = (SlotSet::of(&[(0, 99), (200, 200)]), SlotSet::of(&[(63, 64), (200, 16383)]));
        assert_eq!(low.common(&high).ranges(), [(63, 64), (200, 200)]);
        assert_eq!(low.without(&high).ranges(), [(0, 62), (65, 99)]);
        assert!(SlotSet::of(&[(9, 9)]).is_one() && !low.is_one() && !SlotSet::default().is_one());
        assert!(low.contains(99) && !low.contains(100) && !low.contains(u16::MAX));
        let mut both = low.clone();
        both.add(&high);
        both.remove(&low);
        assert_eq!(both, high.without(&low));
        assert_eq!(SlotSet::all().ranges(), [(0, 16383)]);
        assert!(SlotSet::default().is_empty() && !high.is_empty());
        assert_eq!(
            SlotSet::of(&[(3, 3)]).common(&SlotSet::default()),
            SlotSet::of(&[(9, 9)]).without(&SlotSet::of(&[(0, 9)]))
        );
        assert_eq!(SlotSet::of(&[(16380, u16::MAX)]).ranges(), [(16380, 16383)]);
        assert_eq!(SlotSet::of(&[(7, 7)]).to_string(), "slot 7");
        assert_eq!(low.to_string(), "slots 0-99 200");
    }

    proptest! {
        #[test]
        fn ranges_are_filled_slot_by_slot(first in 0u16..16384, length in 0u16..300) {
            let last = (first + length).min(16383);
            let mut slots = SlotSet::default();
            (first..=last).for_each(|slot| slots.insert(slot));
            prop_assert_eq!(SlotSet::of(&[(first, last)]).ranges(), [(first, last)]);
            prop_assert!(slots == SlotSet::of(&[(first, last)]));
        }
    }
}
