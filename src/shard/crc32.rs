//! Placement by CRC-32 modulo the number of nodes, as the Python library rb does it.
//!
//! rb reads the checksum as a *signed* number and takes Python's modulo, which rounds down: placement differs from an
//! unsigned modulo unless the number of nodes is a power of two.

use super::one_of_all;
use crate::error::Error;
use crate::topology::Topology;

/// `signed crc32(key) mod nodes`: compatible with rb's `PartitionRouter`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Crc32Partition;

impl Crc32Partition {
    fn index(key: &[u8], count: usize) -> usize {
        let signed = i64::from(crc32fast::hash(key) as i32);
        signed.rem_euclid(count as i64) as usize
    }

    fn shard(&self, topology: &Topology, key: &[u8]) -> Result<usize, Error> {
        one_of_all(topology, |count| Self::index(key, count))
    }
}

places_by_key!(Crc32Partition);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Taken from rb 1.10 itself: key, then its node out of 3, 5, 7 and 8.
    const GOLDEN: [(&str, [usize; 4]); 7] = [
        ("test", [0, 0, 2, 4]),
        ("foo", [1, 3, 5, 1]),
        ("bar", [2, 3, 0, 2]),
        ("baz", [0, 2, 3, 0]),
        ("mykey", [2, 0, 3, 4]),
        ("123456789", [1, 1, 1, 6]),
        ("", [0, 0, 0, 0]),
    ];

    #[test]
    fn places_as_rb_does() {
        for (key, nodes) in GOLDEN {
            let placed = [3, 5, 7, 8].map(|count| Crc32Partition::index(key.as_bytes(), count));
            assert_eq!(placed, nodes, "{key}");
        }
    }

    proptest! {
        #[test]
        fn every_key_has_a_node(key in prop::collection::vec(any::<u8>(), 0..64), count in 1usize..1000) {
            prop_assert!(Crc32Partition::index(&key, count) < count);
        }
    }
}
