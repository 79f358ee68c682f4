//! Rendezvous or highest-random-weight hashing (Thaler and Ravishankar, 1998): every node scores the key, the highest
//! score has it. A node that leaves takes only its own keys with it; a node that comes takes an equal share from all.

use super::one_of_all;
use crate::error::Error;
use crate::topology::Topology;

/// Highest score of a 64 bit hash over the node's id, or the [label](crate::topology::Host::label) that a list gives
/// it, and the key.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rendezvous;

impl Rendezvous {
    fn shard(&self, topology: &Topology, key: &[u8]) -> Result<usize, Error> {
        let ids = topology.shards().iter().map(|shard| shard.primary.label().as_bytes());
        let best = ids.enumerate().max_by_key(|(_, id)| score(id, key)).map_or(0, |(index, _)| index);
        one_of_all(topology, |_| best)
    }
}

places_by_key!(Rendezvous);

/// Computes FNV-1a over id, a separator and key, finished by the mixer of SplitMix64: stable across versions and
/// machines, which the standard library's hasher is not.
fn score(id: &[u8], key: &[u8]) -> u64 {
    let bytes = id.iter().chain(&[0xff]).chain(key);
    let mut hash = bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;
    use crate::shard::ShardFunc;
    use crate::topology::Address;
    use proptest::prelude::*;

    fn nodes(ports: impl IntoIterator<Item = u16>) -> Topology {
        Topology::of_nodes("test", ports.into_iter().map(|port| Address::new("10.0.0.1", port)))
    }

    fn place(topology: &Topology, key: &[u8]) -> u16 {
        Rendezvous.node(topology, &Command::new("GET").key(key)).unwrap().address.port().unwrap()
    }

    /// Reckoned apart from this code. A placement may never change: data would be lost from sight.
    const GOLDEN: [u16; 5] = [1, 1, 3, 3, 5];

    #[test]
    fn placement_is_stable() {
        let topology = nodes(1..=5);
        let placed: Vec<u16> = ["foo", "bar", "baz", "mykey", ""].map(|key| place(&topology, key.as_bytes())).into();
        assert_eq!(placed, GOLDEN);
    }

    #[test]
    fn keys_spread_evenly() {
        let topology = nodes(1..=5);
        let mut counts = [0; 5];
        for key in 0..10_000 {
            counts[usize::from(place(&topology, format!("key:{key}").as_bytes())) - 1] += 1;
        }
        assert!(counts.iter().all(|count| (1800..2200).contains(count)), "{counts:?}");
    }

    proptest! {
        #[test]
        fn a_leaving_node_moves_only_its_own_keys(key in prop::collection::vec(any::<u8>(), 0..32), gone in 1u16..=8) {
            let before = place(&nodes(1..=8), &key);
            let after = place(&nodes((1..=8).filter(|&port| port != gone)), &key);
            prop_assert!(before == gone || before == after);
        }

        #[test]
        fn order_does_not_matter(key in prop::collection::vec(any::<u8>(), 0..32)) {
            prop_assert_eq!(place(&nodes(1..=8), &key), place(&nodes((1..=8).rev()), &key));
        }
    }
}
