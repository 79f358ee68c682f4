//! Workers whose session has ended and that are as good as new, kept for the next session of the same user.

use std::sync::Arc;

use super::worker::Worker;

/// The number of workers that are kept. Each takes some ten megabytes.
const MOST_WARM: usize = 4;

/// The number of sessions that one worker may have, so that what modules keep for ever does not grow for ever: of flows
/// that came from other shards some ten kilobytes each. A new worker takes a millisecond.
const MOST_SESSIONS: u32 = 250;

/// The number of bytes that a worker may have grown since its first session.
const MOST_GROWTH: u64 = 64 << 20;

/// Is a worker that may be used again.
pub(super) struct WarmWorker {
    pub(super) worker: Arc<Worker>,
    /// The ACL user whose code it has run: what may be left in it is nothing to others.
    pub(super) user: String,
    /// The number of sessions that it has had.
    pub(super) sessions: u32,
    /// Its memory after the first session.
    pub(super) first_size: u64,
}

/// Keeps the workers that were used last.
#[derive(Default)]
pub(super) struct WarmWorkers {
    kept: Vec<WarmWorker>,
}

impl WarmWorkers {
    /// Takes out the worker of a user that was used last.
    pub(super) fn take(&mut self, user: &str) -> Option<WarmWorker> {
        self.kept.retain(|warm| !warm.worker.is_ending());
        let place = self.kept.iter().rposition(|warm| warm.user == user)?;
        Some(self.kept.remove(place))
    }

    /// Keeps a worker, and returns one that is not kept any more: itself, if it is worn out.
    pub(super) fn put(&mut self, warm: WarmWorker, size: u64) -> Option<WarmWorker> {
        if warm.sessions >= MOST_SESSIONS || size > warm.first_size.saturating_add(MOST_GROWTH) {
            return Some(warm);
        }
        self.kept.push(warm);
        (self.kept.len() > MOST_WARM).then(|| self.kept.remove(0))
    }

    /// Returns the workers that are kept.
    pub(super) fn workers(&self) -> impl Iterator<Item = &Arc<Worker>> {
        self.kept.iter().map(|warm| &warm.worker)
    }

    /// Lets go of all.
    pub(super) fn clear(&mut self) -> Vec<WarmWorker> {
        std::mem::take(&mut self.kept)
    }
}
