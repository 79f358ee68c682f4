//! Hash slots: which one a key belongs to, and which ones a shard gets when a cluster is formed.

use std::ops::RangeInclusive;

/// The number of hash slots of every cluster.
pub const SLOTS: u16 = 16384;

/// Returns the slot of a key: CRC16/XMODEM of the key, or of its hash tag when it has one.
pub fn slot_of(key: impl AsRef<[u8]>) -> u16 {
    crc16(hashed_part(key.as_ref())) % SLOTS
}

/// Returns the slots which shard `shard` of `shards` owns in an even split.
pub fn even_share(shard: usize, shards: usize) -> RangeInclusive<u16> {
    let border = |shard: usize| (shard * usize::from(SLOTS) / shards) as u16;
    border(shard)..=border(shard + 1) - 1
}

/// Returns the part of a key between the first `{` and the next `}`, if that is not empty; else the whole key.
fn hashed_part(key: &[u8]) -> &[u8] {
    let tag = key.iter().position(|&byte| byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|&byte| byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    });
    tag.unwrap_or(key)
}

/// CRC16/XMODEM: polynomial 0x1021, start value 0, bit by bit.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            let shifted = crc << 1;
            if crc & 0x8000 == 0 { shifted } else { shifted ^ 0x1021 }
        })
    })
}
