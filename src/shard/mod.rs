//! Shard functions: each tells the node that a command belongs to.

/// Makes a shard function of what places keys, whatever else the command is.
macro_rules! places_by_key {
    ($func:ty) => {
        impl $crate::shard::ShardFunc for $func {
            fn node<'t>(
                &self,
                topology: &'t $crate::topology::Topology,
                command: &$crate::command::Command,
            ) -> Result<&'t std::sync::Arc<$crate::topology::Node>, $crate::error::Error> {
                let shard = self.shard(topology, $crate::shard::routing_key(command)?)?;
                Ok(&topology.shards()[shard].primary)
            }

            fn shards_of_keys(
                &self,
                topology: &$crate::topology::Topology,
                keys: &mut dyn Iterator<Item = &[u8]>,
                put: &mut dyn FnMut(usize),
            ) -> Option<Result<(), $crate::error::Error>> {
                for key in keys {
                    match self.shard(topology, key) {
                        Ok(shard) => put(shard),
                        Err(error) => return Some(Err(error)),
                    }
                }
                Some(Ok(()))
            }
        }
    };
}

mod crc16;
mod crc32;
mod default;
mod ketama;
mod of_topology;
mod rb_label;
mod rendezvous;

use std::sync::Arc;

pub use crc16::Crc16Slots;
pub use crc32::Crc32Partition;
pub(crate) use default::default_for;
pub use ketama::Ketama;
pub use rendezvous::Rendezvous;

use crate::command::{Command, printable};
use crate::error::Error;
use crate::topology::{Node, Topology};

/// Places commands on nodes. Implement this for a placement of your own.
///
/// A panic in it is an error of the request.
///
/// ```
/// use std::sync::Arc;
/// use rmr::{Command, Error};
/// use rmr::shard::ShardFunc;
/// use rmr::topology::{Node, Topology};
///
/// /// Everything goes to the first node.
/// struct First;
///
/// impl ShardFunc for First {
///     fn node<'t>(&self, topology: &'t Topology, _command: &Command) -> Result<&'t Arc<Node>, Error> {
///         Ok(&topology.shards()[0].primary)
///     }
/// }
/// ```
pub trait ShardFunc: Send + Sync + 'static {
    /// Returns the node that this command is for.
    ///
    /// # Errors
    /// [`Error::Unroutable`] for a command that belongs to no single node.
    fn node<'t>(&self, topology: &'t Topology, command: &Command) -> Result<&'t Arc<Node>, Error>;

    /// Places commands that are routed by these keys and need nothing but the key: calls `put` with the position of
    /// each key's shard in [`Topology::shards`], whose primary the node is, in the order of the keys. A map over many
    /// keys then needs no command for each key just to place it. Default: `None`, which means that whole commands are
    /// needed.
    fn shards_of_keys(
        &self,
        _topology: &Topology,
        _keys: &mut dyn Iterator<Item = &[u8]>,
        _put: &mut dyn FnMut(usize),
    ) -> Option<Result<(), Error>> {
        None
    }
}

fn routing_key(command: &Command) -> Result<&[u8], Error> {
    command.routing_key().ok_or_else(|| {
        let name = printable(command.name());
        Error::Unroutable(format!("'{name}' has no key to route it by; mark one with Command::key, or fan it out"))
    })
}

/// Places a key by position in the list of shards, as both hash partitions do.
fn one_of_all(topology: &Topology, pick: impl FnOnce(usize) -> usize) -> Result<usize, Error> {
    match topology.shards().len() {
        0 => Err(Error::no_node(topology.source())),
        shards => Ok(pick(shards)),
    }
}
