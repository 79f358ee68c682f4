//! [`SlotFunc`]: the slot of a key or of any other object.
//!
//! A number of slots and a hash, which never change once there is data: the slot of a key would be another one. `sha1` is what
//! the proposal of 2010 for a Redis Cluster says, `crc16` what Redis Cluster does today, `md5` what the Go library
//! redis-replica-manager does.

use std::fmt;

use md5::Md5;
use sha1::{Digest, Sha1};

use crate::error::Error;
use crate::topology::{SLOT_COUNT, hash_tag};
use crate::words::words;

/// The most slots that there can be.
pub const MAX_SLOTS: u16 = SLOT_COUNT as u16;

/// The way in which an object becomes a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum SlotHash {
    /// SHA1 as one number, big-endian, modulo the slots. With 2^n slots these are the last n bits. When the number of slots
    /// doubles, slot s becomes s and s + slots, and no other key moves.
    #[default]
    Sha1,
    /// CRC16 as in a Redis Cluster, which has 16384 slots.
    Crc16,
    /// The first two bytes of MD5, big-endian, modulo the slots, as redis-replica-manager has it.
    Md5,
}

words!(pub SlotHash { Sha1 = "sha1", Crc16 = "crc16", Md5 = "md5" });

/// Says to which slot an object belongs.
///
/// ```
/// use rmr::placement::slot::{SlotFunc, SlotHash};
///
/// let slots = SlotFunc::default();
/// assert_eq!(slots.slot(b"foo"), 563);
/// assert_eq!(slots.slot(b"{user1000}.following"), slots.slot(b"user1000"));
///
/// let slots = SlotFunc::new(SlotHash::Md5, 512)?;
/// assert_eq!(slots.slot(b"abcdefg"), 198);
/// # Ok::<(), rmr::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SlotFunc {
    hash: SlotHash,
    slots: u16,
    hash_tags: bool,
}

impl Default for SlotFunc {
    /// Returns 1024 slots by SHA1, with hash tags.
    fn default() -> Self {
        Self { hash: SlotHash::Sha1, slots: 1024, hash_tags: true }
    }
}

impl fmt::Display for SlotFunc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tags = if self.hash_tags { "with" } else { "without" };
        write!(f, "{} slots by {}, {tags} hash tags", self.slots, self.hash.as_str())
    }
}

impl SlotFunc {
    /// Makes a function of so many slots. Hash tags count, except with `md5`, whose model knows none.
    ///
    /// # Errors
    /// [`Error::Invalid`] for less than 1 or more than 16384 slots, and for `crc16` with another number than 16384.
    pub fn new(hash: SlotHash, slots: u16) -> Result<Self, Error> {
        if !(1..=MAX_SLOTS).contains(&slots) {
            return Err(Error::Invalid(format!("{slots} slots: there can be 1 to {MAX_SLOTS}")));
        }
        if hash == SlotHash::Crc16 && slots != MAX_SLOTS {
            return Err(Error::Invalid(format!("{slots} slots: crc16 has {MAX_SLOTS}, as in a Redis Cluster")));
        }
        Ok(Self { hash, slots, hash_tags: hash != SlotHash::Md5 })
    }

    /// Says whether only the part in braces counts of a key that has one: `{user1000}.following` is where `user1000` is.
    #[must_use]
    pub fn hash_tags(self, hash_tags: bool) -> Self {
        Self { hash_tags, ..self }
    }

    /// Returns the slot of an object, below [`slots`](Self::slots).
    pub fn slot(&self, object: &[u8]) -> u16 {
        let object = if self.hash_tags { hash_tag(object).unwrap_or(object) } else { object };
        match self.hash {
            SlotHash::Sha1 => modulo(&Sha1::digest(object).into(), self.slots),
            SlotHash::Crc16 => crc16::State::<crc16::XMODEM>::calculate(object) % self.slots,
            SlotHash::Md5 => first_two_bytes(object) % self.slots,
        }
    }

    /// Returns how many slots there are.
    pub fn slots(&self) -> u16 {
        self.slots
    }

    /// Returns the hash.
    pub fn hash(&self) -> SlotHash {
        self.hash
    }

    /// Returns whether hash tags count.
    pub fn has_hash_tags(&self) -> bool {
        self.hash_tags
    }
}

/// Returns the remainder of a digest as one number, big-endian.
fn modulo(digest: &[u8; 20], slots: u16) -> u16 {
    let slots = u64::from(slots);
    let (words, _) = digest.as_chunks::<4>();
    words.iter().fold(0, |rest, word| ((rest << 32) | u64::from(u32::from_be_bytes(*word))) % slots) as u16
}

/// Returns the first two bytes of an MD5, big-endian.
pub(super) fn first_two_bytes(text: &[u8]) -> u16 {
    let digest: [u8; 16] = Md5::digest(text).into();
    u16::from_be_bytes([digest[0], digest[1]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::key_slot;
    use proptest::prelude::*;

    /// The last bits of the SHA1 of these keys: key, 4 bits, 8, 10, 12, 14, and modulo 1000.
    const SHA1: [(&[u8], [u16; 6]); 16] = [
        (b"", [9, 9, 777, 1801, 1801, 305]),
        (b"mykey", [6, 6, 6, 3078, 11270, 22]),
        (b"foo", [3, 51, 563, 2611, 2611, 155]),
        (b"bar", [13, 77, 845, 3917, 8013, 893]),
        (b"test", [3, 211, 979, 3027, 15315, 875]),
        (b"123456789", [1, 65, 65, 1089, 13377, 713]),
        (b"user:1000", [9, 153, 665, 2713, 6809, 217]),
        (b"user1000", [3, 195, 707, 1731, 14019, 707]),
        (b"{user1000}.following", [15, 95, 95, 95, 12383, 327]),
        (b"a", [8, 184, 952, 1976, 10168, 152]),
        (b"hello", [13, 77, 845, 845, 845, 181]),
        (b"key:0", [0, 192, 192, 2240, 2240, 80]),
        (b"key:1", [13, 205, 205, 1229, 13517, 669]),
        (b"key:2", [0, 160, 672, 2720, 15008, 376]),
        (&[0], [15, 79, 79, 2127, 14415, 39]),
        (&[0xff, 0xfe], [11, 187, 955, 3003, 3003, 883]),
    ];

    /// The slots that MD5 gives these objects: of 16 slots, 512, 1000, 1024, 16384.
    const MD5: [(&[u8], [u16; 5]); 7] = [
        (b"abcdefg", [6, 198, 430, 710, 15046]),
        (b"", [13, 29, 301, 29, 5149]),
        (b"foo", [13, 189, 221, 189, 11453]),
        (b"bar", [5, 437, 261, 949, 14261]),
        (b"user:1000", [2, 354, 890, 866, 1890]),
        (b"{user1000}.following", [13, 317, 509, 317, 8509]),
        (b"123456789", [9, 505, 721, 505, 9721]),
    ];

    fn slots_of(hash: SlotHash, key: &[u8], counts: &[u16]) -> Vec<u16> {
        let func = |&count: &u16| SlotFunc::new(hash, count).unwrap().hash_tags(false);
        counts.iter().map(|count| func(count).slot(key)).collect()
    }

    #[test]
    fn sha1_takes_the_last_bits() {
        for (key, slots) in SHA1 {
            assert_eq!(slots_of(SlotHash::Sha1, key, &[16, 256, 1024, 4096, 16384, 1000]), slots, "{key:?}");
        }
    }

    #[test]
    fn md5_takes_the_first_two_bytes() {
        for (key, slots) in MD5 {
            assert_eq!(slots_of(SlotHash::Md5, key, &[16, 512, 1000, 1024, 16384]), slots, "{key:?}");
        }
        assert_eq!(first_two_bytes(b"abcdefg"), 31430);
    }

    #[test]
    fn hash_tags_count_unless_they_are_switched_off() {
        assert_eq!(SlotFunc::default().slot(b"{user1000}.following"), 707);
        assert_eq!(SlotFunc::default().hash_tags(false).slot(b"{user1000}.following"), 95);
        assert_eq!(SlotFunc::new(SlotHash::Md5, 512).unwrap().slot(b"{user1000}.following"), 317);
        let crc16 = SlotFunc::new(SlotHash::Crc16, MAX_SLOTS).unwrap();
        assert_eq!(crc16.slot(b"{user1000}.following"), key_slot(b"user1000"));
        assert_ne!(crc16.hash_tags(false).slot(b"{user1000}.following"), key_slot(b"user1000"));
    }

    #[test]
    fn keys_are_spread() {
        let mut counts = [0; 1024];
        for key in 0..100_000 {
            counts[usize::from(SlotFunc::default().slot(format!("key:{key}").as_bytes()))] += 1;
        }
        assert_eq!((counts.iter().min(), counts.iter().max()), (Some(&65), Some(&127)));
    }

    #[test]
    fn numbers_of_slots_that_cannot_be_are_refused() {
        for slots in [0, 16385, u16::MAX] {
            assert!(SlotFunc::new(SlotHash::Sha1, slots).unwrap_err().to_string().contains("1 to 16384"));
        }
        let error = SlotFunc::new(SlotHash::Crc16, 1024).unwrap_err().to_string();
        assert_eq!(error, "1024 slots: crc16 has 16384, as in a Redis Cluster");
        assert_eq!(SlotFunc::new(SlotHash::Sha1, 1).unwrap().slot(b"foo"), 0);
    }

    proptest! {
        #[test]
        fn crc16_is_that_of_a_redis_cluster(key in "[a-c{}]{0,12}") {
            let func = SlotFunc::new(SlotHash::Crc16, MAX_SLOTS).unwrap();
            prop_assert_eq!(func.slot(key.as_bytes()), key_slot(key.as_bytes()));
        }

        #[test]
        fn any_number_of_slots_will_do(key in prop::collection::vec(any::<u8>(), 0..64), slots in 1_u16..=MAX_SLOTS) {
            let func = SlotFunc::new(SlotHash::Sha1, slots).unwrap().hash_tags(false);
            let bytewise = Sha1::digest(&key).iter().fold(0, |rest, byte| (rest * 256 + u64::from(*byte)) % u64::from(slots));
            prop_assert_eq!(u64::from(func.slot(&key)), bytewise);
        }

        #[test]
        fn a_slot_splits_in_two_when_their_number_doubles(key in ".{0,16}", slots in 1_u16..=MAX_SLOTS / 2) {
            let few = SlotFunc::new(SlotHash::Sha1, slots).unwrap().slot(key.as_bytes());
            let many = SlotFunc::new(SlotHash::Sha1, slots * 2).unwrap().slot(key.as_bytes());
            prop_assert!(many == few || many == few + slots);
        }
    }
}
