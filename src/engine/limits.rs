//! [`Limits`]: what bounds every request of an engine, and may be changed while it runs.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// The defaults of a request's timeout, and the bounds of all requests together and of each.
#[derive(Debug)]
pub(super) struct Limits {
    timeout_ms: AtomicU64,
    max_in_flight: AtomicUsize,
    max_reply_bytes: AtomicUsize,
}

impl Default for Limits {
    /// Five seconds, 10,000 requests, 1 GiB.
    fn default() -> Self {
        Self {
            timeout_ms: AtomicU64::new(5_000),
            max_in_flight: AtomicUsize::new(10_000),
            max_reply_bytes: AtomicUsize::new(1 << 30),
        }
    }
}

impl Limits {
    pub(super) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms.load(Relaxed))
    }

    pub(super) fn set_timeout(&self, timeout: Duration) {
        self.timeout_ms.store(timeout.as_millis() as u64, Relaxed);
    }

    pub(super) fn max_in_flight(&self) -> usize {
        self.max_in_flight.load(Relaxed)
    }

    pub(super) fn set_max_in_flight(&self, requests: usize) {
        self.max_in_flight.store(requests, Relaxed);
    }

    pub(super) fn max_reply_bytes(&self) -> usize {
        self.max_reply_bytes.load(Relaxed)
    }

    pub(super) fn set_max_reply_bytes(&self, bytes: usize) {
        self.max_reply_bytes.store(bytes, Relaxed);
    }
}
