//! Checks that the answers of many nodes count each slot once. Each node says which slots it counted; here that is put together.
//!
//! Each node has answered at a moment of its own. That does not matter as long as all slots are in the answers, and each
//! of them in one: a slot that has changed hands between two answers is claimed by both nodes, or by neither. A slot
//! whose keys move one by one is on both of its nodes in part, and claimed by one of them only; so it is named apart.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::slot_set::SlotSet;
use crate::topology::{OwnSlots, SlotRange};

/// The claims of nodes, compared with all slots.
#[derive(Debug, Default)]
pub(super) struct Cover {
    /// The slots that several units have answered for, and these units.
    pub(super) twice: SlotSet,
    pub(super) overlapping: Vec<u32>,
    /// The slots that nobody has answered for.
    pub(super) missing: SlotSet,
    /// The slots whose keys move one by one.
    pub(super) moves: Vec<SlotMove>,
}

/// Slots that move from one node to another, by the nodes' ids.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SlotMove {
    pub(super) slots: SlotSet,
    pub(super) from: String,
    pub(super) to: String,
}

impl Cover {
    /// Puts the claims of units together. Slots that are `read_apart` do not matter.
    pub(super) fn of<'a>(claims: impl Iterator<Item = (u32, &'a OwnSlots)> + Clone, read_apart: &SlotSet) -> Self {
        let (mut claimed, mut cover) = (SlotSet::default(), Self::default());
        for (_, own) in claims.clone() {
            cover.add_moves(own);
            let owned = owned(own).without(read_apart);
            cover.twice.add(&claimed.common(&owned));
            claimed.add(&owned);
        }
        cover.missing = SlotSet::all().without(&claimed).without(read_apart);
        if !cover.twice.is_empty() {
            let overlaps = claims.filter(|(_, own)| !owned(own).common(&cover.twice).is_empty());
            cover.overlapping = overlaps.map(|(unit, _)| unit).collect();
        }
        cover
    }

    fn add_moves(&mut self, own: &OwnSlots) {
        for moving in &own.moving {
            let (from, to) = if moving.leaves { (&own.id, &moving.peer) } else { (&moving.peer, &own.id) };
            let at = self.moves.iter().position(|known| known.from == *from && known.to == *to).unwrap_or_else(|| {
                self.moves.push(SlotMove { slots: SlotSet::default(), from: from.clone(), to: to.clone() });
                self.moves.len() - 1
            });
            self.moves[at].slots.insert(moving.slot);
        }
    }

    /// Returns all slots that move.
    pub(super) fn moving(&self) -> SlotSet {
        let mut moving = SlotSet::default();
        self.moves.iter().for_each(|known| moving.add(&known.slots));
        moving
    }
}

/// Returns the slots that a node owns; a replica owns none, whatever it serves.
pub(super) fn owned(own: &OwnSlots) -> SlotSet {
    if own.is_primary { SlotSet::of(&own.owned) } else { SlotSet::default() }
}

/// Returns the slots that a node may have keys of: its own, and those that move there.
pub(super) fn touched(own: &OwnSlots) -> SlotSet {
    let mut touched = owned(own);
    own.moving.iter().for_each(|moving| touched.insert(moving.slot));
    touched
}

/// Remembers the last claims that were exact. As long as nodes say the same there is nothing to be put together.
#[derive(Default)]
pub(super) struct LastCover(ArcSwapOption<Vec<Arc<OwnSlots>>>);

impl LastCover {
    /// Tells whether these are the claims that were exact.
    pub(super) fn is_same<'a>(&self, claims: impl ExactSizeIterator<Item = &'a Arc<OwnSlots>>) -> bool {
        let last = self.0.load();
        let Some(last) = last.as_ref().filter(|last| last.len() == claims.len()) else { return false };
        last.iter().zip(claims).all(|(known, claim)| Arc::ptr_eq(known, claim))
    }

    /// Takes claims that are exact.
    pub(super) fn remember(&self, claims: Vec<Arc<OwnSlots>>) {
        self.0.store(Some(Arc::new(claims)));
    }
}

/// Shows slots as ranges, each with the same reason.
pub(super) fn each_range<T: Clone>(slots: &SlotSet, why: &T) -> impl Iterator<Item = (SlotRange, T)> {
    slots.ranges().into_iter().map(|range| (range, why.clone()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::topology::MovingSlot;

    fn claim(node: &str, owned: &[SlotRange]) -> OwnSlots {
        OwnSlots { id: node.into(), is_primary: true, epoch: 1, owned: owned.to_vec(), moving: Vec::new() }
    }

    impl Cover {
        fn is_exact(&self) -> bool {
            self.twice.is_empty() && self.missing.is_empty() && self.moves.is_empty()
        }
    }

    fn cover(claims: &[OwnSlots]) -> Cover {
        Cover::of((0..).zip(claims), &SlotSet::default())
    }

    #[test]
    fn slots_are_counted_once_twice_or_never() {
        assert!(cover(&[claim("a", &[(0, 99), (300, 16383)]), claim("b", &[(100, 299)])]).is_exact());
        let twice = cover(&[claim("a", &[(0, 8191)]), claim("c", &[(9000, 9000)]), claim("b", &[(8190, 16383)])]);
        assert_eq!((twice.twice.ranges(), twice.overlapping), (vec![(8190, 8191), (9000, 9000)], vec![0, 1, 2]));
        assert!(twice.missing.is_empty());
        let missing = cover(&[claim("a", &[(0, 8190)]), claim("b", &[(8193, 16380)])]);
        assert_eq!(missing.missing.ranges(), [(8191, 8192), (16381, 16383)]);
        assert!(missing.overlapping.is_empty() && !missing.is_exact());
        assert_eq!(cover(&[]).missing, SlotSet::all());
    }

    #[test]
    fn a_replica_claims_nothing() {
        let replica = OwnSlots { is_primary: false, ..claim("b", &[(8192, 16383)]) };
        assert_eq!(cover(&[claim("a", &[(0, 8191)]), replica]).missing.ranges(), [(8192, 16383)]);
    }

    #[test]
    fn a_move_is_one_whichever_end_tells_of_it() {
        let moving = |slot, leaves, peer: &str| MovingSlot { slot, leaves, peer: peer.into() };
        let mut a = claim("a", &[(0, 8191)]);
        a.moving = vec![moving(3, true, "b"), moving(9000, false, "b")];
        let mut b = claim("b", &[(8192, 16383)]);
        b.moving = vec![moving(3, false, "a"), moving(4, false, "a")];
        let cover = cover(&[a.clone(), b.clone()]);
        let expected = [("a", "b", vec![(3, 4)]), ("b", "a", vec![(9000, 9000)])];
        let moves: Vec<_> = cover.moves.iter().map(|known| (&*known.from, &*known.to, known.slots.ranges())).collect();
        assert_eq!(moves, expected);
        assert_eq!(cover.moving().ranges(), [(3, 4), (9000, 9000)]);
        assert!(!cover.is_exact());
        assert_eq!(touched(&a).ranges(), [(0, 8191), (9000, 9000)]);
        // Slots whose owners are read one after the other may be claimed by both nodes or by none.
        b.owned = vec![(8193, 16383)];
        let apart = SlotSet::of(&[(3, 4), (8192, 8192)]);
        let cover = Cover::of([(0, &a), (1, &b)].into_iter(), &apart);
        assert!(cover.twice.is_empty() && cover.missing.is_empty());
    }

    #[test]
    fn claims_that_were_exact_are_known_again() {
        let (last, claims) = (LastCover::default(), [claim("a", &[(0, 9)]), claim("b", &[])].map(Arc::new));
        assert!(!last.is_same(claims.iter()));
        last.remember(claims.to_vec());
        assert!(last.is_same(claims.iter()) && !last.is_same(claims[..1].iter()));
        let other = [claims[0].clone(), Arc::new(claim("b", &[]))];
        assert!(!last.is_same(other.iter()), "it may have said so at another time");
    }

    proptest! {
        #[test]
        fn it_is_exact_if_each_slot_has_one_owner(owners in prop::collection::vec(0u8..6, 40)) {
            // Forty groups of slots, each with no owner, one, or two.
            let group = |at: usize| (at as u16 * 410, (at as u16 * 410 + 409).min(16383));
            let owned = |number: u8| -> Vec<SlotRange> {
                let is_owner = |owner: u8| owner == number || (owner == 4 && number < 2);
                owners.iter().enumerate().filter(|(_, owner)| is_owner(**owner)).map(|(at, _)| group(at)).collect()
            };
            let claims: Vec<OwnSlots> = (0..4).map(|number| claim(&number.to_string(), &owned(number))).collect();
            let cover = cover(&claims);
            prop_assert_eq!(cover.is_exact(), owners.iter().all(|owner| *owner < 4));
            prop_assert_eq!(cover.missing.is_empty(), !owners.contains(&5));
            prop_assert_eq!(cover.twice.is_empty(), !owners.contains(&4));
        }
    }
}
