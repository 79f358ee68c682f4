//! Which node a command belongs to.

/// Makes a shard function of what places keys, whatever else the command is.
macro_rules! places_by_key {
    ($func:ty) => {
        impl $crate::shard::ShardFunc for $func {
            fn node<'t>(
                &self,
                topology: &'t $crate::topology::Topology,
                command: &$crate::command::Command,
            ) -> Result<&'t std::sync::Arc<$crate::topology::Node>, $crate::error::Error> {
                self.place(topology, $crate::shard::routing_key(command)?)
            }

            fn node_of_key<'t>(
                &self,
                topology: &'t $crate::topology::Topology,
                key: &[u8],
            ) -> Option<Result<&'t std::sync::Arc<$crate::topology::Node>, $crate::error::Error>> {
                Some(self.place(topology, key))
            }
        }
    };
}

mod crc16;
mod ketama;
mod partition;
mod rb_label;
mod rendezvous;

use std::sync::Arc;

pub use crc16::{Crc16Slots, key_slot};
pub use ketama::Ketama;
pub use partition::Crc32Partition;
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
/// use rmr::{Command, Error, Node, ShardFunc, Topology};
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
    /// The node that this command is for.
    ///
    /// # Errors
    /// [`Error::Unroutable`] for a command that belongs to no single node.
    fn node<'t>(&self, topology: &'t Topology, command: &Command) -> Result<&'t Arc<Node>, Error>;

    /// The same for any command that is routed by this key, where no more of it matters. Saves a map over many keys a
    /// command for each. `None`, the default: the whole command is needed.
    fn node_of_key<'t>(&self, _topology: &'t Topology, _key: &[u8]) -> Option<Result<&'t Arc<Node>, Error>> {
        None
    }
}

fn routing_key(command: &Command) -> Result<&[u8], Error> {
    command.routing_key().ok_or_else(|| {
        let name = printable(command.name());
        Error::Unroutable(format!("'{name}' has no key to route it by; mark one with Command::key, or fan it out"))
    })
}

/// Placement by position in the list of shards, as both hash partitions do it.
fn node_at(topology: &Topology, pick: impl FnOnce(usize) -> usize) -> Result<&Arc<Node>, Error> {
    let shards = topology.shards();
    if shards.is_empty() {
        return Err(Error::Topology(format!("the provider '{}' knows no node", topology.source())));
    }
    Ok(&shards[pick(shards.len())].primary)
}
