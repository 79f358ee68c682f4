//! [`FlowRequests`]: how a flow begins requests of its own.

use std::time::Duration;

use tokio::time::Instant;

use crate::engine::{Request, RequestBuilder};

/// Begins requests for a flow: each has the time that the flow has left, and no more than any other request.
#[derive(Clone)]
pub(super) struct FlowRequests {
    pub(super) requests: RequestBuilder,
    /// The moment when the flow's time is up; [`None`] for a flow that has all the time it takes.
    pub(super) until: Option<Instant>,
}

impl FlowRequests {
    /// Begins a request for one batch.
    pub(super) fn begin(&self) -> Request {
        let request = self.requests.clone().begin();
        let left = |until: Instant| until.saturating_duration_since(Instant::now());
        let time = self.until.map_or(Duration::MAX, left).min(request.time_left());
        request.timeout(time)
    }

    /// Returns how long a node may be silent that is asked something.
    pub(super) fn patience(&self) -> Duration {
        self.requests.clone().begin().time_left()
    }
}
