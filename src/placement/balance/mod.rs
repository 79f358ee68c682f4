//! [`Balance`]: who ought to hold a slot. Pure: whoever knows the same candidates comes to the same result, in whatever order
//! they are given.
//!
//! Rendezvous or highest-random-weight hashing (Thaler and Ravishankar, 1998): every candidate has a number in every slot, and
//! the best numbers have it. A candidate that leaves takes only its own slots along; one that comes gets an equal share from
//! all. The shares are even give or take a few slots; [`mod@even`] plans exact shares for what can be stored.

mod candidate;
mod even;

pub use candidate::Candidate;
use candidate::{entry, share_a_zone};
pub use even::even;

use super::slot::first_two_bytes;
use crate::words::words;

/// Says how the candidates of a slot are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Order {
    /// 64 bits, the highest first: XXH3 of the id, the slot in two bytes and the number of an entry in four, big-endian. A
    /// candidate of weight w has w entries, and its best one counts. Integers only, so all machines agree.
    #[default]
    Rendezvous,
    /// 16 bits, the lowest first: MD5 of `id:slot:slots`, as the Go library redis-replica-manager has it. Weights are none of
    /// its model: a candidate has weight 1, or none.
    Md5,
}

words!(pub Order { Rendezvous = "rendezvous", Md5 = "md5" });

/// Candidates, and how many of them a slot wants.
///
/// ```
/// use rmr::placement::balance::{Balance, Candidate, Order};
///
/// let sites = ["site1", "site2", "site3", "site4", "site5"].map(Candidate::new);
/// let balance = Balance::new(512, 2, sites).order(Order::Md5);
/// assert_eq!(balance.holders(0).collect::<Vec<_>>(), ["site4", "site5"]);
/// ```
#[derive(Debug, Clone)]
pub struct Balance {
    slots: u16,
    copies: usize,
    order: Order,
    /// The candidates in the order of their ids, so that ties are decided by id.
    candidates: Vec<Candidate>,
}

impl Balance {
    /// Takes the candidates of so many slots, each of which wants so many of them. Of candidates with the same id the first
    /// counts.
    pub fn new(slots: u16, copies: usize, candidates: impl IntoIterator<Item = Candidate>) -> Self {
        let mut candidates: Vec<Candidate> = candidates.into_iter().filter(|candidate| candidate.weight > 0).collect();
        candidates.sort_by(|one, other| one.id.cmp(&other.id));
        candidates.dedup_by(|one, other| one.id == other.id);
        Self { slots, copies, order: Order::default(), candidates }
    }

    /// Orders them in another way.
    #[must_use]
    pub fn order(self, order: Order) -> Self {
        Self { order, ..self }
    }

    /// Returns all candidates of a slot, the best first. Ties are decided by the ids, in ascending order of their bytes.
    pub fn ranked(&self, slot: u16) -> impl Iterator<Item = &str> {
        self.ranks(slot).into_iter().map(|place| self.candidates[place].id())
    }

    /// Returns those who ought to hold a slot, the best first: as many as it wants, or all there are. A zone that has one
    /// already is passed over while there are others. None for a slot that does not exist.
    pub fn holders(&self, slot: u16) -> impl Iterator<Item = &str> {
        let ranks = if slot < self.slots { self.ranks(slot) } else { Vec::new() };
        self.spread(ranks).into_iter().map(|place| self.candidates[place].id())
    }

    /// Returns the slots that somebody ought to hold, in ascending order.
    pub fn slots_of(&self, id: &str) -> Vec<u16> {
        (0..self.slots).filter(|&slot| self.holders(slot).any(|holder| holder == id)).collect()
    }

    fn ranks(&self, slot: u16) -> Vec<usize> {
        let mut ranks: Vec<(u64, usize)> = match self.order {
            Order::Rendezvous => self.numbered(|candidate| !entry(candidate, slot)),
            Order::Md5 => self.numbered(|Candidate { id, .. }| {
                first_two_bytes(format!("{id}:{slot}:{}", self.slots).as_bytes()).into()
            }),
        };
        ranks.sort_unstable();
        ranks.into_iter().map(|(_, place)| place).collect()
    }

    fn numbered(&self, number: impl Fn(&Candidate) -> u64) -> Vec<(u64, usize)> {
        self.candidates.iter().enumerate().map(|(place, candidate)| (number(candidate), place)).collect()
    }

    /// Takes as many as are wanted, from other zones first.
    fn spread(&self, mut ranks: Vec<usize>) -> Vec<usize> {
        if self.candidates.iter().any(|candidate| candidate.zone.is_some()) {
            for taken in 1..self.copies.min(ranks.len()) {
                let (before, rest) = ranks.split_at(taken);
                let is_free = |&place: &usize| before.iter().all(|&one| !self.share_a_zone(one, place));
                if let Some(next) = rest.iter().position(is_free) {
                    ranks[taken..=taken + next].rotate_right(1);
                }
            }
        }
        ranks.truncate(self.copies);
        ranks
    }

    fn share_a_zone(&self, one: usize, other: usize) -> bool {
        share_a_zone(&self.candidates[one], &self.candidates[other])
    }
}

#[cfg(test)]
mod tests;
