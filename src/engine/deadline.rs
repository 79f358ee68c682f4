//! [`Deadline`]: the one moment by which all of a request is over.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::Error;

/// The begin of a request, its time, and the moment when that is up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    began: Instant,
    pub(super) timeout: Duration,
    pub(super) at: Instant,
}

impl Deadline {
    /// Starts the clock now.
    pub(super) fn after(timeout: Duration) -> Self {
        Self::of(Instant::now(), timeout)
    }

    /// Gives the same request another timeout. Its clock runs on.
    pub(super) fn with_timeout(self, timeout: Duration) -> Self {
        Self::of(self.began, timeout)
    }

    fn of(began: Instant, timeout: Duration) -> Self {
        // A timeout beyond what the clock can say is as good as ten years.
        let at = began.checked_add(timeout).unwrap_or_else(|| began + Duration::from_secs(315_360_000));
        Self { began, timeout, at }
    }

    /// Returns the time that is left; none after the deadline.
    pub(super) fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// Builds the error of a request for one node, which has not answered by then.
    pub(super) fn missed_by(&self, waiting_on: String, outcome_unknown: bool) -> Error {
        let timeout_ms = self.timeout.as_millis() as u64;
        Error::Timeout { timeout_ms, answered: 0, asked: 1, waiting_on, outcome_unknown }
    }

    /// Builds the error of a request for which no node was found by then.
    pub(super) fn missed_by_none(&self) -> Error {
        let timeout_ms = self.timeout.as_millis() as u64;
        let waiting_on = "a node for the command".into();
        Error::Timeout { timeout_ms, answered: 0, asked: 0, waiting_on, outcome_unknown: false }
    }

    /// Waits until the time is up.
    pub(super) async fn passed(&self) {
        tokio::time::sleep_until(self.at).await;
    }
}
