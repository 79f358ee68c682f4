//! [`CopyMove`]: a copy of a slot that goes from one node to another, as the configuration node has it in `moves`.

use std::collections::HashMap;

/// The word in a record that stands for no node.
pub(super) const NOBODY: &str = "-";

/// A copy of a slot that goes from one node to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CopyMove {
    pub(super) slot: u16,
    /// The node that loses the copy; `None` if the slot gets one copy more.
    pub(super) from: Option<String>,
    /// The node that gets the copy; `None` if the slot gets one copy less.
    pub(super) to: Option<String>,
    pub(super) phase: Phase,
    /// The epoch at which the move was planned, flipped or cancelled.
    pub(super) epoch: u64,
}

/// The phase that a move has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing has been done.
    Planned,
    /// The new copy is being made. A proxy that goes on with it in place of another one begins from nothing.
    Copying,
    /// The new copy counts, and the old one does not; its keys are still to go.
    Flipped,
    /// The move was given up; the keys of the new copy are still to go.
    Cancelled,
}

impl CopyMove {
    /// Reads a record: who loses the slot, who gets it, the phase, the epoch.
    fn read(slot: &str, record: &str) -> Option<Self> {
        let mut words = record.split(' ');
        let (from, to, phase, epoch) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let node = |name: &str| (name != NOBODY).then(|| name.to_owned());
        let phase = match phase {
            "planned" => Phase::Planned,
            "copying" => Phase::Copying,
            "flipped" => Phase::Flipped,
            "cancelled" => Phase::Cancelled,
            _ => return None,
        };
        let (slot, epoch) = (slot.parse().ok()?, epoch.parse().ok()?);
        Some(Self { slot, from: node(from), to: node(to), phase, epoch })
    }

    /// Reads all records, in the order of their slots.
    pub(super) fn read_all(records: &HashMap<String, String>) -> Vec<Self> {
        let mut moves: Vec<Self> = records.iter().filter_map(|(slot, record)| Self::read(slot, record)).collect();
        moves.sort_unstable_by_key(|one| one.slot);
        moves
    }

    /// Returns the node at which keys are left of a move that is over.
    pub(super) fn leftover(&self) -> Option<&str> {
        match self.phase {
            Phase::Flipped => self.from.as_deref(),
            Phase::Cancelled => self.to.as_deref(),
            Phase::Planned | Phase::Copying => None,
        }
    }

    /// Returns the word that stands in the record for one of its nodes.
    pub(super) fn word(node: &Option<String>) -> &str {
        node.as_deref().unwrap_or(NOBODY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_says_who_loses_and_who_gets_a_slot() {
        let moves = CopyMove::read("7", "a:1 b:2 copying 12").unwrap();
        assert_eq!((moves.slot, moves.phase, moves.epoch, moves.leftover()), (7, Phase::Copying, 12, None));
        let added = CopyMove::read("7", "- b:2 cancelled 12").unwrap();
        assert_eq!((added.from.clone(), added.leftover(), CopyMove::word(&added.from)), (None, Some("b:2"), "-"));
        let flipped = CopyMove::read("7", "a:1 b:2 flipped 12").unwrap();
        assert_eq!(flipped.leftover(), Some("a:1"));
        for odd in ["", "a:1 b:2 flown 12", "a:1 b:2 copying", "a:1 b:2 copying x"] {
            assert_eq!(CopyMove::read("7", odd), None, "{odd}");
        }
        assert_eq!(CopyMove::read("x", "a:1 b:2 copying 12"), None);
    }
}
