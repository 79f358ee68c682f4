//! Waiting while the cluster settles.
//!
//! A node that loses its slots and the node that takes them over tell the others of it independently, so a description of
//! the cluster may for a moment show slots that are nobody's, or lack a node that another one sends to. A request waits
//! such a moment out: at most [`TRANSIT`], and never longer than its deadline. Slots that have been nobody's for longer are
//! an error at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::request::Request;
use super::snapshot::Snapshot;
use crate::error::Error;
use crate::topology::Topology;

/// The time that nodes may take to agree. A primary that takes over tells all the others at once, and whoever missed
/// that hears it with a ping, which each node sends every second.
pub(super) const TRANSIT: Duration = Duration::from_secs(1);

impl Snapshot {
    /// Returns whether slots have lost their owner so lately that a new one is likely.
    pub(super) fn is_in_transit(&self) -> bool {
        self.has_lost_slots_for().is_some_and(|time| time < TRANSIT)
    }
}

impl Request {
    /// Finds something by the snapshot. Where it cannot be found, a fresh topology may show it: that is fetched once, and
    /// as long as the cluster is in transit again and again.
    ///
    /// # Errors
    /// The error says why it cannot be found by the last snapshot.
    pub(super) async fn retry_while_unsettled<T>(
        &self,
        snapshot: &mut Arc<Snapshot>,
        find: impl Fn(&Snapshot) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut is_first = true;
        loop {
            let error = match find(snapshot) {
                Ok(found) => return Ok(found),
                Err(error) => error,
            };
            let may_change = match error {
                Error::Slots(_) | Error::Topology(_) => is_first || snapshot.is_in_transit(),
                // The name of a node that has just come.
                Error::Invalid(_) | Error::Internal(_) | Error::Panicked { .. } => is_first,
                _ => false,
            };
            if !may_change || !self.can_wait() || Instant::now() >= self.deadline.at {
                return Err(error);
            }
            is_first = false;
            self.refreshed(snapshot).await;
        }
    }

    /// Waits for a fresh topology, and takes it up. Without one the old one must do.
    pub(super) async fn refreshed(&self, snapshot: &mut Arc<Snapshot>) {
        let _ = self.refresh().await;
        if let Some(fresh) = self.engine.refresher.current() {
            *snapshot = fresh;
        }
    }

    /// Finds something by the current topology, as [`retry_while_unsettled`](Self::retry_while_unsettled) does.
    pub(crate) async fn by_topology<T>(&self, find: impl Fn(&Topology) -> Result<T, Error>) -> Result<T, Error> {
        let mut snapshot = self.pinned().await?;
        self.retry_while_unsettled(&mut snapshot, |snapshot| find(&snapshot.topology)).await
    }
}
