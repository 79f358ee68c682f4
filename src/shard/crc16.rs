//! Redis Cluster's own placement: each key on the owner of its hash slot.

use crate::error::Error;
use crate::topology::Topology;

/// Places a key on the primary that owns its slot.
#[derive(Debug, Clone, Copy, Default)]
pub struct Crc16Slots;

impl Crc16Slots {
    fn shard(&self, topology: &Topology, key: &[u8]) -> Result<usize, Error> {
        if !topology.has_slots() {
            let source = topology.source();
            return Err(Error::Topology(format!("the nodes of the provider '{source}' own no slots; use crc32")));
        }
        let slot = topology.slot_of(key);
        topology.owner_at(slot).ok_or_else(|| Error::Slots(format!("slot {slot} has no owner")))
    }
}

places_by_key!(Crc16Slots);
