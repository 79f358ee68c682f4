//! [`Limits`]: what holds for every request of an engine, and may be changed while it runs.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// The time of a request that says nothing else, in milliseconds.
pub(crate) const DEFAULT_TIMEOUT_MS: u64 = 5_000;

/// The number of requests that may be under way at once.
pub(crate) const DEFAULT_MAX_IN_FLIGHT: usize = 10_000;

/// The number of bytes that the replies to one request may take.
pub(crate) const DEFAULT_MAX_REPLY_BYTES: usize = 1 << 30;

/// Holds a request's timeout where it says nothing else, and the bounds of all requests together and of each.
#[derive(Debug)]
pub(super) struct Limits {
    timeout_ms: AtomicU64,
    max_in_flight: AtomicUsize,
    max_reply_bytes: AtomicUsize,
    is_consistent: AtomicBool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout_ms: AtomicU64::new(DEFAULT_TIMEOUT_MS),
            max_in_flight: AtomicUsize::new(DEFAULT_MAX_IN_FLIGHT),
            max_reply_bytes: AtomicUsize::new(DEFAULT_MAX_REPLY_BYTES),
            is_consistent: AtomicBool::new(true),
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

    /// Returns whether answers that depend on keys must be exact unless a request says otherwise.
    pub(super) fn is_consistent(&self) -> bool {
        self.is_consistent.load(Relaxed)
    }

    pub(super) fn set_consistent(&self, is_consistent: bool) {
        self.is_consistent.store(is_consistent, Relaxed);
    }
}
