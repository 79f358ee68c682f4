//! Slots as ranges, which is how they travel, and as what a pattern says of them.

use crate::topology::{SLOT_COUNT, SlotRange, key_slot};

/// Returns slots as ranges, in ascending order.
pub(super) fn ranges(mut slots: Vec<u16>) -> Vec<SlotRange> {
    slots.sort_unstable();
    let mut ranges: Vec<SlotRange> = Vec::new();
    for slot in slots {
        match ranges.last_mut() {
            Some((_, last)) if *last == slot || *last + 1 == slot => *last = slot,
            _ => ranges.push((slot, slot)),
        }
    }
    ranges
}

/// Returns each slot of some ranges, in their order. Ranges come from other nodes: slots that there are not are left out.
pub(crate) fn each(ranges: &[SlotRange]) -> impl Iterator<Item = u16> {
    ranges.iter().flat_map(|(first, last)| *first..=(*last).min(SLOT_COUNT as u16 - 1))
}

/// Returns the slot of all keys that match a pattern, if its hash tag says it: that is text, and so is all before it.
pub(crate) fn slot_of_pattern(pattern: &[u8]) -> Option<u16> {
    let is_text = |part: &[u8]| !part.iter().any(|byte| b"*?[\\".contains(byte));
    let open = pattern.iter().position(|byte| *byte == b'{')?;
    let tag = pattern[open + 1..].split(|byte| *byte == b'}').next()?;
    let close = open + 1 + tag.len();
    let tagged = pattern.get(..=close)?;
    (!tag.is_empty() && is_text(tagged)).then(|| key_slot(tagged))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_put_together() {
        assert_eq!(ranges(vec![7, 3, 4, 4, 9, 8]), [(3, 4), (7, 9)]);
        assert!(ranges(Vec::new()).is_empty());
        assert_eq!(each(&[(3, 4), (7, 9), (16383, u16::MAX)]).collect::<Vec<_>>(), [3, 4, 7, 8, 9, 16383]);
    }

    #[test]
    fn a_pattern_has_one_slot_if_it_has_one_tag() {
        for (pattern, tag) in [
            ("{user}:*", Some("{user}")),
            ("a{b}c*", Some("a{b}")),
            ("a{user:1}*", Some("{user:1}")),
            ("a{user:1}[xy]", Some("{user:1}")),
            ("{*}:x", None),
            ("*{a}", None),
            ("{}x{a}*", None),
            ("{a*}", None),
            ("user:*", None),
            ("{[ab]}*", None),
            ("*{user:1}", None),
            ("{user:*}", None),
            ("{user:?}a", None),
            ("{}a*", None),
            ("{user", None),
            ("user:1*", None),
            ("{a\\}b}*", None),
            ("", None),
        ] {
            assert_eq!(slot_of_pattern(pattern.as_bytes()), tag.map(|tag| key_slot(tag.as_bytes())), "{pattern}");
        }
    }
}
