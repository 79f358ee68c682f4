//! Slots as ranges, which is how they travel.

use crate::topology::SlotRange;

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

#[cfg(test)]
mod tests {
    use super::ranges;

    #[test]
    fn slots_are_put_together() {
        assert_eq!(ranges(vec![7, 3, 4, 4, 9, 8]), [(3, 4), (7, 9)]);
        assert!(ranges(Vec::new()).is_empty());
    }
}
