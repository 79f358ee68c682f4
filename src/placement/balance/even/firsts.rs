//! The planner's choice of the first copy of each slot: spread by weight, and left as it is where it can be.

use std::collections::VecDeque;

use crate::placement::balance::candidate::Candidate;

/// Puts the first of each slot in front.
pub(super) fn choose(candidates: &[Candidate], was: &[Vec<usize>], holders: &mut [Vec<usize>]) {
    let mut firsts = Firsts::new(candidates, holders);
    for (slot, was) in was.iter().enumerate() {
        let kept = was.first().filter(|first| firsts.holders[slot].contains(first)).copied();
        if let Some(first) = kept.or_else(|| firsts.least_loaded(slot)) {
            firsts.put(slot, first);
        }
    }
    // From too many to too few, then whoever still has too many or too few.
    firsts.shift(|load| load.count > load.most, |load| load.count < load.least);
    firsts.shift(|load| load.count > load.most, |load| load.count < load.most);
    firsts.shift(|load| load.count > load.least, |load| load.count < load.least);
}

/// The number of slots in which a candidate comes first, and the number in which it ought to.
#[derive(Clone, Copy)]
struct Load {
    count: usize,
    least: usize,
    most: usize,
}

struct Firsts<'a> {
    candidates: &'a [Candidate],
    holders: &'a mut [Vec<usize>],
    loads: Vec<Load>,
    /// The number of slots that have the one candidate first and the other behind it.
    behind: Vec<Vec<usize>>,
    placed: Vec<bool>,
}

impl<'a> Firsts<'a> {
    fn new(candidates: &'a [Candidate], holders: &'a mut [Vec<usize>]) -> Self {
        let total: u128 = candidates.iter().map(|candidate| u128::from(candidate.weight)).sum();
        let load = |candidate: &Candidate| {
            let product = holders.len() as u128 * u128::from(candidate.weight);
            Load { count: 0, least: (product / total) as usize, most: product.div_ceil(total) as usize }
        };
        let loads = candidates.iter().map(load).collect();
        let placed = vec![false; holders.len()];
        Self { candidates, holders, loads, behind: vec![vec![0; candidates.len()]; candidates.len()], placed }
    }

    fn least_loaded(&self, slot: usize) -> Option<usize> {
        let load = |one: usize| self.loads[one].count as u64 * 1_000_000 / u64::from(self.candidates[one].weight);
        self.holders[slot].iter().copied().min_by_key(|&one| (load(one), one))
    }

    fn put(&mut self, slot: usize, first: usize) {
        let holders = &mut self.holders[slot];
        if self.placed[slot] {
            self.loads[holders[0]].count -= 1;
            holders[1..].iter().for_each(|&other| self.behind[holders[0]][other] -= 1);
        }
        if let Some(place) = holders.iter().position(|&one| one == first) {
            holders[..=place].rotate_right(1);
        }
        self.loads[first].count += 1;
        holders[1..].iter().for_each(|&other| self.behind[first][other] += 1);
        self.placed[slot] = true;
    }

    /// Makes others first, as long as there is a way from one who has too many to one who has too few.
    fn shift(&mut self, has_many: impl Fn(Load) -> bool, has_few: impl Fn(Load) -> bool) {
        while let Some(way) = self.way(&has_many, &has_few) {
            for (from, to) in way {
                let is_of_way = |holders: &Vec<usize>| holders[0] == from && holders[1..].contains(&to);
                let slots = self.holders.iter().enumerate().filter(|(_, holders)| !holders.is_empty());
                let slot = slots.filter(|(_, holders)| is_of_way(holders)).map(|(slot, _)| slot).next();
                self.put(slot.expect("as many slots as are counted"), to);
            }
        }
    }

    fn way(&self, has_many: impl Fn(Load) -> bool, has_few: impl Fn(Load) -> bool) -> Option<Vec<(usize, usize)>> {
        let everyone = 0..self.candidates.len();
        let mut before = vec![usize::MAX; self.candidates.len()];
        let mut queue: VecDeque<usize> = everyone.clone().filter(|&one| has_many(self.loads[one])).collect();
        queue.iter().for_each(|&start| before[start] = start);
        while let Some(from) = queue.pop_front() {
            for to in everyone.clone().filter(|&to| self.behind[from][to] > 0) {
                if before[to] != usize::MAX {
                    continue;
                }
                before[to] = from;
                if has_few(self.loads[to]) {
                    let mut way = Vec::new();
                    let mut end = to;
                    while before[end] != end {
                        way.push((before[end], end));
                        end = before[end];
                    }
                    return Some(way);
                }
                queue.push_back(to);
            }
        }
        None
    }
}
