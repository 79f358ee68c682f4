//! Placement that the picture of the shards brings along.

use super::one_of_all;
use crate::error::Error;
use crate::topology::Topology;

/// Asks the topology where a key is.
pub(super) struct OfTopology;

impl OfTopology {
    fn shard(&self, topology: &Topology, key: &[u8]) -> Result<usize, Error> {
        let placement =
            topology.key_placement().ok_or_else(|| Error::Internal("the topology places no keys".into()))?;
        let shard = placement.shard(key).map_err(Error::Slots)?;
        one_of_all(topology, |_| shard)
    }
}

places_by_key!(OfTopology);
