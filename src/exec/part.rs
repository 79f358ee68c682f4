//! Parts the keys of a command by the node or slot that they go to, and makes the error for a command that must not be parted.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::request::DescribedCommand;
use crate::command::printable;
use crate::engine::Request;
use crate::error::Error;
use crate::topology::{Topology, key_slot};

/// The parts of a command with keys: for each, the places of its keys among all of the command's keys, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parts {
    /// The places of all parts, one part behind the other.
    places: Vec<usize>,
    /// The end of each part.
    ends: Vec<usize>,
}

impl Parts {
    /// Puts keys together that a node takes in one command.
    pub(super) fn of(request: &Request, topology: &Topology, described: &DescribedCommand) -> Result<Self, Error> {
        let args: Vec<&[u8]> = described.command.words().collect();
        let groups = request.key_groups(topology, described.keys.iter().map(|&at| args[at]))?;
        Ok(Self::by_group(&groups))
    }

    /// Puts places of the same group together. Parts are in the order of their first keys.
    fn by_group(groups: &[usize]) -> Self {
        let mut part_of: HashMap<usize, usize, RandomState> =
            HashMap::with_capacity_and_hasher(groups.len(), RandomState::default());
        let mut ends: Vec<usize> = Vec::with_capacity(groups.len());
        let parts: Vec<usize> = groups
            .iter()
            .map(|&group| {
                let part = *part_of.entry(group).or_insert(ends.len());
                if part == ends.len() {
                    ends.push(0);
                }
                ends[part] += 1;
                part
            })
            .collect();
        // From the sizes of parts to where each begins, and by the time that all places are in, to where it ends.
        let mut begin = 0;
        for end in &mut ends {
            begin += std::mem::replace(end, begin);
        }
        let mut places = vec![0; groups.len()];
        for (place, part) in parts.into_iter().enumerate() {
            places[ends[part]] = place;
            ends[part] += 1;
        }
        Self { places, ends }
    }

    /// Adds a part.
    pub(super) fn push(&mut self, places: &[usize]) {
        self.places.extend_from_slice(places);
        self.ends.push(self.places.len());
    }

    /// Returns how many parts there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns how many keys they have together.
    pub(super) fn keys(&self) -> usize {
        self.places.len()
    }

    /// Tells whether some part has several keys.
    pub(super) fn has_several_keys_in_one(&self) -> bool {
        self.len() < self.keys()
    }

    /// Returns the places of each part.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[usize]> {
        self.ends.iter().scan(0, |begin, &end| Some(&self.places[std::mem::replace(begin, end)..end]))
    }
}

/// Refuses a command whose keys must not be parted, and names two that are apart. Plain servers have no slots that keys
/// could cross.
pub(super) fn keys_apart(topology: &Topology, described: &DescribedCommand, why: &str) -> Error {
    let name = printable(described.description.name.to_ascii_uppercase().as_bytes());
    if topology.requires_same_slot() {
        let args: Vec<&[u8]> = described.command.words().collect();
        let mut keys = described.keys.iter().filter_map(|&at| args.get(at).map(|key| (key_slot(key), *key)));
        let first = keys.next();
        let other = first.and_then(|(first, _)| keys.find(|&(slot, _)| slot != first));
        let shown = first.zip(other).map(|((slot, key), (other_slot, other))| {
            format!("'{}' is in slot {slot}, '{}' in {other_slot}; ", printable(key), printable(other))
        });
        let shown = shown.unwrap_or_default();
        Error::CrossSlot(format!("Keys in request don't hash to the same slot: {shown}{name} {why}"))
    } else {
        Error::Unroutable(format!("the keys of '{name}' are on several hosts: {name} {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_one_group_are_one_part() {
        let shown = |groups: &[usize]| Parts::by_group(groups).iter().map(<[usize]>::to_vec).collect::<Vec<_>>();
        assert_eq!(shown(&[7, 3, 7, 9, 3, 7]), [vec![0, 2, 5], vec![1, 4], vec![3]]);
        assert_eq!(shown(&[5, 5]), [vec![0, 1]]);
        assert!(shown(&[]).is_empty());
        let mut parts = Parts::by_group(&[1, 2, 1]);
        assert!(parts.has_several_keys_in_one() && !Parts::by_group(&[1, 2, 3]).has_several_keys_in_one());
        parts.push(&[8]);
        assert_eq!((parts.len(), parts.keys()), (3, 4));
        assert_eq!(parts.iter().last(), Some(&[8][..]));
    }
}
