//! The leaves of this process that take records from other shards, by the execution and the node whose share they are.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::inlet::Inlet;
use super::messages::TakenRecords;

/// The time that records wait for a share that may just begin.
const PATIENCE: Duration = Duration::from_millis(500);

/// An execution, a node, and whether it is what was gathered that the share takes.
type ShareName = (String, String, bool);

static TAKERS: LazyLock<Takers> = LazyLock::new(Takers::default);

/// The ways into shares.
#[derive(Default)]
struct Takers {
    inlets: Mutex<HashMap<ShareName, Arc<[Arc<Inlet>]>>>,
    begun: Notify,
}

impl Takers {
    fn lock(&self) -> MutexGuard<'_, HashMap<ShareName, Arc<[Arc<Inlet>]>>> {
        self.inlets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A share that takes records while this lives.
pub(super) struct Taker(ShareName);

impl Taker {
    /// Lets the share of a node take records, by the ways into its stages behind the first one.
    pub(super) fn begin(execution: &str, node: &str, is_gathered: bool, inlets: &[Arc<Inlet>]) -> Self {
        let name = (execution.to_owned(), node.to_owned(), is_gathered);
        TAKERS.lock().insert(name.clone(), inlets.into());
        TAKERS.begun.notify_waiters();
        Self(name)
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        TAKERS.lock().remove(&self.0);
    }
}

/// Tells whether the share that these records go to is in this process.
pub(super) fn has(taken: &TakenRecords) -> bool {
    let name = (taken.execution.clone(), taken.node.clone(), taken.is_gathered);
    TAKERS.lock().contains_key(&name)
}

/// The fate of records that another shard sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Yes,
    /// There was no room in time. They can be sent again.
    NotYet,
    /// No share takes the records here.
    No,
}

/// Takes records that another shard sends, once there is room; waits for that as long as it takes. Returns `false` if no
/// share takes them here.
pub(crate) async fn take(taken: TakenRecords) -> bool {
    match inlet(&taken).await {
        Some(inlet) => inlet.put(taken.records).await,
        None => false,
    }
}

/// Gives the records to their share, and waits for room no longer than `wait`, since code behind it may work for any
/// time.
pub(crate) async fn take_within(wait: Duration, taken: TakenRecords) -> Taken {
    let Some(inlet) = inlet(&taken).await else { return Taken::No };
    match tokio::time::timeout(wait, inlet.put(taken.records)).await {
        Ok(true) => Taken::Yes,
        Ok(false) => Taken::No,
        Err(_) => Taken::NotYet,
    }
}

/// Finds the way into the stage that records go into.
async fn inlet(taken: &TakenRecords) -> Option<Arc<Inlet>> {
    let name = (taken.execution.clone(), taken.node.clone(), taken.is_gathered);
    let until = Instant::now() + PATIENCE;
    let inlets = loop {
        let begun = TAKERS.begun.notified();
        let inlets = TAKERS.lock().get(&name).cloned();
        if let Some(inlets) = inlets {
            break inlets;
        }
        tokio::time::timeout_at(until, begun).await.ok()?;
    };
    inlets.get((taken.stage as usize).checked_sub(1)?).cloned()
}
