//! One look at the nodes for all users: the proxy's own engine follows the topology, and the engines of users take it from
//! there.

use std::sync::Mutex;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::engine::Engine;
use crate::error::Error;
use crate::topology::{BoxFuture, NodeProvider, Topology};

/// The time between two looks at the proxy's own engine for a change that it has noticed.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The topology of another engine.
pub(super) struct SharedTopology {
    of: Engine,
    stamps: watch::Receiver<u64>,
    /// The last one that was given on.
    given: Mutex<u64>,
}

impl SharedTopology {
    /// Shares the topology of this engine, until all who share it are gone.
    pub(super) fn of(engine: Engine) -> Self {
        let (told, stamps) = watch::channel(0);
        tokio::spawn({
            let engine = engine.clone();
            async move {
                let mut last = 0;
                while !told.is_closed() {
                    let stamp = engine.topology().map_or(0, |topology| topology.stamp());
                    if stamp != last {
                        last = stamp;
                        told.send_replace(stamp);
                    }
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
        });
        Self { of: engine, stamps, given: Mutex::new(0) }
    }

    /// Gives it on. Returns `None` if it has been given on already.
    fn give(&self, topology: &Arc<Topology>) -> Option<Topology> {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = std::mem::replace(&mut *given, topology.stamp()) != topology.stamp();
        is_new.then(|| Topology::clone(topology))
    }
}

/// Gives each user's engine every topology once.
impl Clone for SharedTopology {
    fn clone(&self) -> Self {
        Self { of: self.of.clone(), stamps: self.stamps.clone(), given: Mutex::new(0) }
    }
}

impl NodeProvider for SharedTopology {
    fn topology(&self) -> BoxFuture<'_, Result<Topology, Error>> {
        Box::pin(async {
            if let Some(topology) = self.of.topology()
                && let Some(given) = self.give(&topology)
            {
                return Ok(given);
            }
            // Whoever asks again has seen signs of a change.
            let topology = self.of.refresh().await?;
            self.give(&topology).map_or_else(|| Ok(Topology::clone(&topology)), Ok)
        })
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        let mut stamps = self.stamps.clone();
        let given = *self.given.lock().unwrap_or_else(PoisonError::into_inner);
        Box::pin(async move {
            // Later topologies have higher stamps.
            if stamps.wait_for(|&stamp| stamp > given).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}
