//! [`key_slot`]: the hash slot of a key: CRC16 (XMODEM) of the key, or of its hash tag, modulo 16384 slots.
//! Source: the Redis Cluster specification, "Key distribution model" and "Hash tags".

use super::slots::SLOT_COUNT;

/// Returns the slot of a key. With a non-empty part in braces, only that part counts.
///
/// ```
/// assert_eq!(rmr::topology::key_slot(b"123456789"), 12739);
/// assert_eq!(rmr::topology::key_slot(b"{user1000}.following"), rmr::topology::key_slot(b"user1000"));
/// ```
pub fn key_slot(key: &[u8]) -> u16 {
    crc16::State::<crc16::XMODEM>::calculate(hash_tag(key).unwrap_or(key)) % SLOT_COUNT as u16
}

/// Returns the same slot, in half the time: a map asks for one key after another.
pub(super) fn key_slot_of_many(key: &[u8]) -> u16 {
    let (crc, may_have_tag) = crc16_and_brace(key);
    let tag = if may_have_tag { hash_tag(key) } else { None };
    tag.map_or(crc, |tag| crc16_and_brace(tag).0) % SLOT_COUNT as u16
}

/// Returns what stands between the first brace and the next one that closes, if anything does.
pub(crate) fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    let open = key.iter().position(|&byte| byte == b'{')?;
    let rest = &key[open + 1..];
    let close = rest.iter().position(|&byte| byte == b'}')?;
    (close > 0).then(|| &rest[..close])
}

/// Computes CRC16 XMODEM, and tells whether a brace opens somewhere. A map does this for each of its keys, so it takes
/// four bytes a step: their tables can be looked up at the same time, where byte by byte each step waits for the one
/// before. (M. E. Kounavis and F. L. Berry, "A Systematic Approach to Building High Performance, Software-based, CRC
/// Generators", 2005.)
fn crc16_and_brace(bytes: &[u8]) -> (u16, bool) {
    let (words, rest) = bytes.as_chunks::<4>();
    let (mut crc, mut has_brace) = (0_u16, false);
    for word in words {
        has_brace |= has_byte(u32::from_le_bytes(*word), b'{');
        let [high, low] = crc.to_be_bytes();
        let [first, second, third, fourth] = word.map(usize::from);
        crc = TABLES[3][first ^ usize::from(high)]
            ^ TABLES[2][second ^ usize::from(low)]
            ^ TABLES[1][third]
            ^ TABLES[0][fourth];
    }
    for &byte in rest {
        has_brace |= byte == b'{';
        crc = step(crc, byte);
    }
    (crc, has_brace)
}

/// Tells whether one of the bytes of a word is `byte`. (S. Anderson, "Bit Twiddling Hacks": a zero byte in a word.)
fn has_byte(word: u32, byte: u8) -> bool {
    let word = word ^ u32::from_ne_bytes([byte; 4]);
    word.wrapping_sub(0x0101_0101) & !word & 0x8080_8080 != 0
}

fn step(crc: u16, byte: u8) -> u16 {
    (crc << 8) ^ TABLES[0][usize::from((crc >> 8) as u8 ^ byte)]
}

/// The part that a byte adds to the checksum when none, one, two or three other bytes follow it.
static TABLES: [[u16; 256]; 4] = tables();

const fn tables() -> [[u16; 256]; 4] {
    const POLYNOMIAL: u16 = 0x1021;
    let mut tables = [[0; 256]; 4];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ POLYNOMIAL } else { crc << 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut behind = 1;
    while behind < 4 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[behind - 1][byte];
            tables[behind][byte] = (before << 8) ^ tables[0][(before >> 8) as usize];
            byte += 1;
        }
        behind += 1;
    }
    tables
}

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
        fn the_checksum_is_that_of_the_crate_crc16(key in prop::collection::vec(any::<u8>(), 0..64)) {
            let (crc, has_brace) = crc16_and_brace(&key);
            prop_assert_eq!(crc, crc16::State::<crc16::XMODEM>::calculate(&key));
            prop_assert_eq!(has_brace, key.contains(&b'{'));
        }

        #[test]
        fn many_keys_have_the_slots_of_the_crate(key in "[a-c{}]{0,12}") {
            prop_assert_eq!(key_slot_of_many(key.as_bytes()), key_slot(key.as_bytes()));
        }

        #[test]
        fn every_key_has_a_slot(key in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(usize::from(key_slot(&key)) < SLOT_COUNT);
        }
    }
}
