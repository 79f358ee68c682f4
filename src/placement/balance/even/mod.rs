//! [`even`]: who holds which slot, with exact shares and the fewest moves, for placements that are stored.
//!
//! Three steps. [`shares`] says how many slots each candidate gets. Then every slot keeps whom it has, as far as the shares
//! allow, and the rest is dealt out: a copy goes straight from one who has too many to one who has too few, and where every slot of
//! the one is at the other already, by way of a third. At last [`firsts`] chooses the first of each slot, since that is the one
//! that most is asked of.

mod firsts;
mod shares;

use std::cmp::Reverse;
use std::collections::VecDeque;

use crate::placement::balance::candidate::{Candidate, entry, share_a_zone};

/// Plans who holds which slot: `now` has the holders of each slot as they are, the first one first.
///
/// Nobody gets more than its share by weight, rounded up, or less than that, rounded down; but no slot is twice at one candidate, and
/// not twice in a zone while there are other zones, and those come before even shares. As few copies move as that allows, and
/// whom a slot is asked for first is spread by weight as well. The same input has the same result on every machine, and what it
/// has planned it leaves as it is. With fewer candidates than `copies` every slot has all of them.
///
/// ```
/// use rmr::placement::balance::{Candidate, even};
///
/// let two = even(1, ["a", "b"].map(Candidate::new), &vec![Vec::<String>::new(); 1024]);
/// let three = even(1, ["a", "b", "c"].map(Candidate::new), &two);
/// let moved = two.iter().zip(&three).filter(|(before, after)| before != after);
/// assert_eq!(moved.count(), 341);
/// ```
pub fn even<S: AsRef<str>>(
    copies: usize,
    candidates: impl IntoIterator<Item = Candidate>,
    now: &[Vec<S>],
) -> Vec<Vec<String>> {
    let mut candidates: Vec<Candidate> = candidates.into_iter().filter(|candidate| candidate.weight > 0).collect();
    candidates.sort_by(|one, other| one.id.cmp(&other.id));
    candidates.dedup_by(|one, other| one.id == other.id);
    let place = |id: &S| candidates.binary_search_by(|candidate| candidate.id.as_str().cmp(id.as_ref())).ok();
    let was: Vec<Vec<usize>> = now.iter().map(|holders| holders.iter().filter_map(place).collect()).collect();

    let mut plan = EvenPlan::keep(copies, &candidates, &was);
    plan.deal_out();
    plan.move_round_corners();
    plan.fill_anyhow();
    firsts::choose(&candidates, &was, &mut plan.holders);
    let ids = |holders: &Vec<usize>| holders.iter().map(|&holder| candidates[holder].id.clone()).collect();
    plan.holders.iter().map(ids).collect()
}

/// The slots that each candidate holds by now, and the number that it ought to have. Candidates are numbers, in the
/// order of their ids.
struct EvenPlan<'a> {
    candidates: &'a [Candidate],
    copies: usize,
    was: &'a [Vec<usize>],
    /// The number of copies of a slot that have to be in a zone with another copy of it.
    crowded: usize,
    holders: Vec<Vec<usize>>,
    counts: Vec<usize>,
    targets: Vec<usize>,
}

impl<'a> EvenPlan<'a> {
    /// Keeps who is there, without those who are one too many in a zone.
    fn keep(copies: usize, candidates: &'a [Candidate], was: &'a [Vec<usize>]) -> Self {
        let copies = copies.min(candidates.len());
        let zones = shares::zones(candidates).len();
        let mut plan = Self {
            candidates,
            copies,
            was,
            crowded: copies.saturating_sub(zones),
            holders: vec![Vec::new(); was.len()],
            counts: vec![0; candidates.len()],
            targets: Vec::new(),
        };
        for (slot, holders) in was.iter().enumerate() {
            for &holder in holders {
                if plan.takes(slot, None, holder) {
                    plan.put(slot, None, holder);
                }
            }
        }
        plan.targets = shares::shares(copies, was.len(), candidates, &plan.counts);
        plan
    }

    /// Returns whether a slot may have this candidate, in place of another or as one more.
    fn takes(&self, slot: usize, instead_of: Option<usize>, candidate: usize) -> bool {
        let holders = &self.holders[slot];
        if holders.contains(&candidate) || (instead_of.is_none() && holders.len() == self.copies) {
            return false;
        }
        let mut set: Vec<usize> = holders.iter().copied().filter(|&holder| Some(holder) != instead_of).collect();
        set.push(candidate);
        self.crowded(&set) <= self.crowded
    }

    /// Returns how many of a set share a zone with one before them.
    fn crowded(&self, set: &[usize]) -> usize {
        let shares = |one: usize, other: usize| share_a_zone(&self.candidates[one], &self.candidates[other]);
        (1..set.len()).filter(|&place| set[..place].iter().any(|&one| shares(one, set[place]))).count()
    }

    fn put(&mut self, slot: usize, instead_of: Option<usize>, candidate: usize) {
        if let Some(holder) = instead_of {
            self.holders[slot].retain(|&one| one != holder);
            self.counts[holder] -= 1;
        }
        self.holders[slot].push(candidate);
        self.counts[candidate] += 1;
    }

    fn excess(&self, candidate: usize) -> usize {
        self.counts[candidate].saturating_sub(self.targets[candidate])
    }

    fn lacks(&self, candidate: usize) -> bool {
        self.counts[candidate] < self.targets[candidate]
    }

    /// Gives those who lack slots the ones where they rank highest: free ones, and those of who has too many.
    fn deal_out(&mut self) {
        let lacking: Vec<usize> = (0..self.candidates.len()).filter(|&candidate| self.lacks(candidate)).collect();
        let places = lacking.iter().flat_map(|&candidate| (0..self.holders.len()).map(move |slot| (candidate, slot)));
        let mut wishes: Vec<(Reverse<u64>, usize, usize)> = places
            .filter(|&(candidate, slot)| !self.holders[slot].contains(&candidate))
            .map(|(candidate, slot)| (Reverse(entry(&self.candidates[candidate], slot as u16)), slot, candidate))
            .collect();
        wishes.sort_unstable();
        for (_, slot, candidate) in wishes {
            if !self.lacks(candidate) {
                continue;
            }
            if self.takes(slot, None, candidate) {
                self.put(slot, None, candidate);
                continue;
            }
            let givers = self.holders[slot].iter().copied().filter(|&holder| self.excess(holder) > 0);
            let giver = givers.filter(|&holder| self.takes(slot, Some(holder), candidate));
            if let Some(giver) = giver.max_by_key(|&holder| self.excess(holder)) {
                self.put(slot, Some(giver), candidate);
            }
        }
    }

    /// Moves what is left by way of others: one who has enough takes a slot and gives another one on.
    fn move_round_corners(&mut self) {
        // Each way brings a slot to one who lacks it. The limit is for zones, which may stop one half-way.
        for _ in 0..2 * self.holders.len() * self.copies {
            let Some(way) = self.way() else { return };
            for Handover { slot, from, to } in way {
                if !self.takes(slot, from, to) {
                    break;
                }
                self.put(slot, from, to);
            }
        }
    }

    /// Returns what it costs that one takes a copy over from another: 1 if it moves for that, -1 if it goes back to where it was.
    fn cost(&self, step: &Handover) -> i64 {
        let is_new = |one: usize| i64::from(!self.was[step.slot].contains(&one));
        is_new(step.to) - step.from.map_or(0, is_new)
    }

    /// Returns the steps with the fewest moves from a free place, or from one who has too many, to one who lacks a slot.
    ///
    /// Shortest ways one after the other make the cheapest flow of copies (Busacker and Gowen, 1960), and no way costs less than
    /// the one before. The first ones, in [`deal_out`](Self::deal_out), cost a move each: a way that costs 1 is the best one.
    fn way(&self) -> Option<Vec<Handover>> {
        let everyone = 0..self.candidates.len();
        if !everyone.clone().any(|one| self.lacks(one)) {
            return None;
        }
        let mut ways = Ways::new(self.candidates.len());
        for start in everyone.clone().filter(|&one| self.excess(one) > 0) {
            ways.costs[start] = 0;
            ways.queue.push_back(Some(start));
        }
        ways.queue.push_front(None);
        while let Some(from) = ways.queue.pop_front() {
            let cost = from.map_or(0, |from| ways.costs[from]);
            for (slot, holders) in self.holders.iter().enumerate() {
                if from.map_or(holders.len() == self.copies, |from| !holders.contains(&from)) {
                    continue;
                }
                for to in everyone.clone() {
                    let step = Handover { slot, from, to };
                    let cost = cost + self.cost(&step);
                    let is_reached = cost < ways.costs[to] && self.takes(slot, from, to) && ways.reach(step, cost);
                    if is_reached && self.lacks(to) && cost <= 1 {
                        return ways.way_to(to);
                    }
                }
            }
        }
        let ends = everyone.filter(|&one| self.lacks(one) && ways.costs[one] < i64::MAX);
        ways.way_to(ends.min_by_key(|&end| ways.costs[end])?)
    }

    /// Fills places that the shares leave free, where zones allow no even ones: by whoever has the least for its weight.
    fn fill_anyhow(&mut self) {
        for slot in 0..self.holders.len() {
            while self.holders[slot].len() < self.copies {
                let free = (0..self.candidates.len()).filter(|one| !self.holders[slot].contains(one));
                let load = |one: usize| self.counts[one] as u64 * 1_000_000 / u64::from(self.candidates[one].weight);
                let best = free.min_by_key(|&one| (!self.takes(slot, None, one), load(one), one));
                let Some(best) = best else { return };
                self.put(slot, None, best);
            }
        }
    }
}

/// A step: a candidate takes a copy of a slot, from another or as one more.
#[derive(Clone, Copy)]
struct Handover {
    slot: usize,
    from: Option<usize>,
    to: usize,
}

/// The cheapest ways that are known so far.
struct Ways {
    costs: Vec<i64>,
    /// The last step of the way to each.
    last: Vec<Option<Handover>>,
    /// The candidates whose steps are to be looked at; `None` for the free places.
    queue: VecDeque<Option<usize>>,
    /// Counts how often each was queued: more often than there are candidates only in a circle.
    queued: Vec<usize>,
}

impl Ways {
    fn new(candidates: usize) -> Self {
        Self {
            costs: vec![i64::MAX; candidates],
            last: vec![None; candidates],
            queue: VecDeque::new(),
            queued: vec![0; candidates],
        }
    }

    /// Takes the step as the last one of the way to its end, unless that goes in a circle.
    fn reach(&mut self, step: Handover, cost: i64) -> bool {
        if self.queued[step.to] > self.queued.len() {
            return false;
        }
        self.queued[step.to] += 1;
        self.costs[step.to] = cost;
        self.last[step.to] = Some(step);
        self.queue.push_back(Some(step.to));
        true
    }

    fn way_to(&self, end: usize) -> Option<Vec<Handover>> {
        let mut way = Vec::new();
        let mut to = Some(end);
        while let Some(step) = to.and_then(|to| self.last[to]) {
            way.push(step);
            to = step.from;
            if way.len() > self.last.len() {
                return None;
            }
        }
        way.reverse();
        Some(way)
    }
}
