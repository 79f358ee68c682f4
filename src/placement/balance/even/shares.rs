//! The planner's count of slots for each candidate: by weight, within what it can hold.
//!
//! A slot is once at a candidate, and once in a zone where there are zones enough, so nobody gets more than all slots, and no
//! zone does. A candidate that would get more by its weight gets as much as that, and the rest is shared among the others.

use std::cmp::Reverse;

use crate::placement::balance::candidate::Candidate;

/// Returns who is in which zone; who names none is in one of its own.
pub(super) fn zones(candidates: &[Candidate]) -> Vec<Vec<usize>> {
    let mut zones: Vec<Vec<usize>> = Vec::new();
    for (place, candidate) in candidates.iter().enumerate() {
        let same = |zone: &&mut Vec<usize>| candidate.zone.is_some() && candidates[zone[0]].zone == candidate.zone;
        match zones.iter_mut().find(same) {
            Some(zone) => zone.push(place),
            None => zones.push(vec![place]),
        }
    }
    zones
}

/// Returns the shares, which add up to all copies of all slots. The remainder of rounding goes to those who have the
/// most already, so that no slot need move for it.
pub(super) fn shares(copies: usize, slots: usize, candidates: &[Candidate], counts: &[usize]) -> Vec<usize> {
    let mut groups = zones(candidates);
    if copies > groups.len() {
        groups = (0..candidates.len()).map(|place| vec![place]).collect();
    }
    let weight = |group: &[usize]| group.iter().map(|&place| u128::from(candidates[place].weight)).sum::<u128>();
    let mut left = (copies * slots) as u128;
    let mut rest = groups;
    let mut shares = vec![0; candidates.len()];
    loop {
        let total: u128 = rest.iter().map(|group| weight(group)).sum();
        let (full, others): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|group| left * weight(group) >= slots as u128 * total);
        if full.is_empty() {
            divide(left as usize, slots, &others, candidates, counts, &mut shares);
            return shares;
        }
        for group in full {
            left -= slots as u128;
            divide(slots, slots, &[group], candidates, counts, &mut shares);
        }
        rest = others;
        if rest.is_empty() {
            return shares;
        }
    }
}

/// Divides a number of copies by weight; no group gets more than `limit`.
fn divide(
    copies: usize,
    limit: usize,
    groups: &[Vec<usize>],
    candidates: &[Candidate],
    counts: &[usize],
    shares: &mut [usize],
) {
    let members: Vec<usize> = groups.iter().flatten().copied().collect();
    let total: u128 = members.iter().map(|&place| u128::from(candidates[place].weight)).sum();
    let mut left = copies;
    let mut rests = Vec::new();
    for &place in &members {
        let product = copies as u128 * u128::from(candidates[place].weight);
        shares[place] = (product / total) as usize;
        left -= shares[place];
        rests.push((Reverse(counts[place] as i128 - shares[place] as i128), Reverse(product % total), place));
    }
    rests.sort_unstable();
    for (_, Reverse(rest), place) in rests {
        let group = groups.iter().find(|group| group.contains(&place)).into_iter().flatten();
        let has_room = group.map(|&one| shares[one]).sum::<usize>() < limit;
        if left > 0 && rest > 0 && has_room {
            shares[place] += 1;
            left -= 1;
        }
    }
}
