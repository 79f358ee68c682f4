//! [`InFlight`]: each request is counted while it runs, and how it ended.

use std::sync::atomic::Ordering::Relaxed;

use tokio::time::Instant;

use super::stats::Stats;
use crate::error::Error;

/// A step in flight. One that is dropped without being ended was given up by its requester.
pub(super) struct InFlight<'a> {
    stats: &'a Stats,
    began: Instant,
    is_done: bool,
}

impl<'a> InFlight<'a> {
    /// Counts a step that begins.
    ///
    /// # Errors
    /// [`Error::Busy`] if as many are in flight as there may be.
    pub(super) fn begin(stats: &'a Stats, limit: usize) -> Result<Self, Error> {
        stats.requests.fetch_add(1, Relaxed);
        let in_flight = Self { stats, began: Instant::now(), is_done: false };
        let before = stats.in_flight.fetch_add(1, Relaxed);
        if before < limit { Ok(in_flight) } else { in_flight.end(Err(Error::Busy { limit })) }
    }

    /// Counts how the step ends.
    pub(super) fn end<T>(mut self, result: Result<T, Error>) -> Result<T, Error> {
        self.is_done = true;
        result.inspect_err(|error| self.stats.errors.count(error))
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.stats.in_flight.fetch_sub(1, Relaxed);
        if self.is_done {
            self.stats.latency.record(self.began.elapsed());
        } else {
            self.stats.cancelled.fetch_add(1, Relaxed);
        }
    }
}
