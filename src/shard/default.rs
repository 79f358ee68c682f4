//! [`default_for`]: which placement holds where nobody has chosen one.

use super::ShardFunc;
use super::crc16::Crc16Slots;
use super::crc32::Crc32Partition;
use super::of_topology::OfTopology;
use crate::topology::Topology;

/// Returns the placement where nobody has chosen one: what the topology itself says, by hash slots where shards own some, else
/// as rb places keys.
pub(crate) fn default_for(topology: &Topology) -> &'static dyn ShardFunc {
    match topology.key_placement() {
        Some(_) => &OfTopology,
        None if topology.has_slots() => &Crc16Slots,
        None => &Crc32Partition,
    }
}
