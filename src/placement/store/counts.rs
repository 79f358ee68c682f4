//! [`StoreCounts`]: what a process has counted of a store since it began.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counts that a process has made of a store since it began.
#[derive(Debug, Default)]
pub(super) struct StoreCounts {
    pub(super) writes_forwarded: Count,
    pub(super) writes_in_doubt: Count,
    pub(super) copies_dropped: Count,
    pub(super) fences: Count,
    pub(super) moves_running: Count,
    pub(super) moves_done: Count,
    pub(super) moves_failed: Count,
    pub(super) keys_moved: Count,
    pub(super) scrub_differences: Count,
}

/// A figure.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    /// Adds to it.
    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Makes it another one.
    pub(super) fn set(&self, count: u64) {
        self.0.store(count, Ordering::Relaxed);
    }

    /// Returns it.
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
