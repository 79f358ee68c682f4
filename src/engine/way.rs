//! Finding a way while the cluster changes.
//!
//! A node that loses its slots and the node that takes them over tell the others of it independently, so a description of
//! the cluster may for a moment show slots that are nobody's, or lack a node that another one sends to. A request waits
//! such a moment out: at most [`TRANSIT`], and never longer than its deadline. Slots that have been nobody's for longer are
//! an error at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Engine;
use super::view::View;
use crate::error::Error;
use crate::topology::Topology;

/// How long nodes may take to agree. A primary that takes over tells all the others at once, and whoever missed that
/// hears it with a ping, which each node sends every second.
pub(super) const TRANSIT: Duration = Duration::from_secs(1);

impl View {
    /// Whether slots have lost their owner so lately that a new one is likely.
    pub(super) fn is_in_transit(&self) -> bool {
        self.has_lost_slots_for().is_some_and(|time| time < TRANSIT)
    }
}

impl Engine {
    /// Finds a way by the view. Where it shows none, a fresh one may: it is asked once, and as long as the cluster is in
    /// transit again and again.
    ///
    /// # Errors
    /// Why there is no way by the last view.
    pub(super) async fn way<T>(
        &self,
        view: &mut Arc<View>,
        find: impl Fn(&View) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let deadline = self.deadline();
        let mut is_first = true;
        loop {
            let error = match find(view) {
                Ok(found) => return Ok(found),
                Err(error) => error,
            };
            let may_change = match error {
                Error::Slots(_) | Error::Topology(_) => is_first || view.is_in_transit(),
                // The name of a node that has just come.
                Error::Invalid(_) | Error::Internal(_) | Error::Panicked { .. } => is_first,
                _ => false,
            };
            if !may_change || self.scope.in_process.is_some() || Instant::now() >= deadline.at {
                return Err(error);
            }
            is_first = false;
            self.look_again(view).await;
        }
    }

    /// Waits for a fresh topology. Without one the old one must do.
    pub(super) async fn look_again(&self, view: &mut Arc<View>) {
        let _ = self.shared.views.refresh(self.deadline(), self.stats()).await;
        if let Some(fresh) = self.shared.views.current() {
            *view = fresh;
        }
    }

    /// As [`way`](Self::way), from the current topology.
    pub(crate) async fn by_topology<T>(&self, find: impl Fn(&Topology) -> Result<T, Error>) -> Result<T, Error> {
        let mut view = self.pinned().await?;
        self.way(&mut view, |view| find(&view.topology)).await
    }
}
