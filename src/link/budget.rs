//! Bounds the memory that the replies of one request take.

use std::sync::atomic::{AtomicUsize, Ordering};

/// More bytes than this are not dealt with by a thread that has other things to do.
pub(super) const LARGE: usize = 64 * 1024;

/// Bounds the memory that one request's replies may take, over all nodes.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    /// Makes a budget with room for this many bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0) }
    }

    /// Takes this many bytes. Returns `false` when fewer were left.
    pub fn take(&self, bytes: usize) -> bool {
        self.used.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= self.limit
    }

    /// Tells whether this many bytes are left.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.used().saturating_add(bytes) <= self.limit
    }

    /// Returns the bytes that there was room for at first.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Returns the bytes that there is still room for.
    pub fn left(&self) -> usize {
        self.limit.saturating_sub(self.used())
    }

    /// Returns the bytes taken so far.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}
