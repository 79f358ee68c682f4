//! Redis Cluster's own placement: CRC16 (XMODEM) of the key, or of its hash tag, modulo 16384 slots.
//! Source: the Redis Cluster specification, "Key distribution model" and "Hash tags".

use crate::error::Error;
use crate::topology::{SLOT_COUNT, Topology};

/// The slot of a key. With a non-empty part in braces, only that part counts.
///
/// ```
/// assert_eq!(rmr::key_slot(b"123456789"), 12739);
/// assert_eq!(rmr::key_slot(b"{user1000}.following"), rmr::key_slot(b"user1000"));
/// ```
pub fn key_slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|&byte| byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|&byte| byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    });
    crc16::State::<crc16::XMODEM>::calculate(tag.unwrap_or(key)) % SLOT_COUNT as u16
}

/// Places a key on the primary that owns its slot.
#[derive(Debug, Clone, Copy, Default)]
pub struct Crc16Slots;

impl Crc16Slots {
    fn shard(&self, topology: &Topology, key: &[u8]) -> Result<usize, Error> {
        if !topology.has_slots() {
            let source = topology.source();
            return Err(Error::Topology(format!("the nodes of the provider '{source}' own no slots; use crc32")));
        }
        let slot = key_slot(key);
        topology.owner_at(slot).ok_or_else(|| Error::Slots(format!("slot {slot} has no owner")))
    }
}

places_by_key!(Crc16Slots);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tags_are_cut_as_the_specification_says() {
        let whole = |key: &[u8]| crc16::State::<crc16::XMODEM>::calculate(key) % 16384;
        assert_eq!(key_slot(b"foo{}{bar}"), whole(b"foo{}{bar}"));
        assert_eq!(key_slot(b"foo{{bar}}zap"), whole(b"{bar"));
        assert_eq!(key_slot(b"foo{bar}{zap}"), whole(b"bar"));
        assert_eq!(key_slot(b"foo{bar"), whole(b"foo{bar"));
        assert_eq!(key_slot(b""), 0);
        assert_eq!(key_slot(b"foo"), 12182);
    }

    proptest! {
        #[test]
        fn one_tag_means_one_slot(tag in "[a-z0-9]{1,12}", head in "[^{}]{0,8}", tail in ".{0,8}") {
            prop_assert_eq!(key_slot(format!("{head}{{{tag}}}{tail}").as_bytes()), key_slot(tag.as_bytes()));
        }

        #[test]
        fn every_key_has_a_slot(key in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(usize::from(key_slot(&key)) < SLOT_COUNT);
        }
    }
}
