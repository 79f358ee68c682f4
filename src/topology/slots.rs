//! [`SlotMap`]: which shard owns which hash slot, and [`SlotRanges`]: how slots are written for people.

use std::fmt;

/// Holds the number of hash slots of a Redis Cluster.
pub const SLOT_COUNT: usize = 16384;

/// Slots from the first to the last, both included.
pub type SlotRange = (u16, u16);

/// Writes slot ranges as people do: `0-5460 10923`.
///
/// ```
/// assert_eq!(rmr::topology::SlotRanges(&[(0, 5460), (10923, 10923)]).to_string(), "0-5460 10923");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotRanges<'a>(pub &'a [SlotRange]);

impl fmt::Display for SlotRanges<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (first, last)) in self.0.iter().enumerate() {
            let space = if at > 0 { " " } else { "" };
            match first == last {
                true => write!(f, "{space}{first}")?,
                false => write!(f, "{space}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

/// Reads `7` or `0-5460`; `None` for the marks of slots that are on the move, such as `[7->-id]`.
pub(super) fn parse_range(range: &str) -> Option<SlotRange> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    Some((first.parse().ok()?, last.parse().ok()?))
}

const NO_OWNER: u16 = u16::MAX;

/// Holds the position of each slot's owner.
#[derive(Debug, Clone)]
pub(super) struct SlotMap(Box<[u16]>);

impl SlotMap {
    /// Makes the map of owners, of which each has these slots, by their positions.
    pub(super) fn new<'a>(slots_of_each: impl Iterator<Item = &'a [SlotRange]>) -> Self {
        let mut owners = vec![NO_OWNER; SLOT_COUNT].into_boxed_slice();
        for (position, slots) in slots_of_each.enumerate() {
            for &(first, last) in slots {
                let last = usize::from(last).min(SLOT_COUNT - 1);
                owners[usize::from(first).min(last)..=last].fill(position as u16);
            }
        }
        Self(owners)
    }

    /// Returns the position of a slot's owner.
    pub(super) fn owner(&self, slot: u16) -> Option<usize> {
        self.0.get(usize::from(slot)).filter(|position| **position != NO_OWNER).map(|&position| usize::from(position))
    }

    /// Lists the slots that nobody owns.
    pub(super) fn uncovered(&self) -> Vec<SlotRange> {
        let mut gaps: Vec<SlotRange> = Vec::new();
        for (slot, _) in self.0.iter().enumerate().filter(|(_, owner)| **owner == NO_OWNER) {
            let slot = slot as u16;
            match gaps.last_mut() {
                Some((_, last)) if *last + 1 == slot => *last = slot,
                _ => gaps.push((slot, slot)),
            }
        }
        gaps
    }
}
