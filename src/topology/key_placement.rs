//! [`KeyPlacement`]: where keys are, as a part of the picture itself.

use std::fmt::Debug;

/// Says which shard a key belongs to, where the servers themselves do not know. Implement this for a provider whose
/// shards hold keys by a table of its own, and pin it to the picture with
/// [`Topology::with_key_placement`](super::Topology::with_key_placement).
pub trait KeyPlacement: Debug + Send + Sync + 'static {
    /// Returns the position of the key's shard in [`Topology::shards`](super::Topology::shards), or why nobody holds it.
    ///
    /// # Errors
    /// The error for whoever asks for the key.
    fn shard(&self, key: &[u8]) -> Result<usize, String>;

    /// Returns whether keys have copies on other nodes, which only the links of an engine write. The default is that they have
    /// none.
    fn has_copies(&self) -> bool {
        false
    }

    /// Returns a number that two keys share if one command may have both. The default is that of their shard.
    ///
    /// # Errors
    /// The error for whoever asks for the key.
    fn group(&self, key: &[u8]) -> Result<usize, String> {
        self.shard(key)
    }

    /// Returns a number that is another one when keys belong to other shards than before, or shards stand in another order. A scan
    /// over all shards that began by another one ends in an error, since it may have missed keys. The default, 0, is for shards that
    /// keep their keys.
    fn layout(&self) -> u64 {
        0
    }
}
