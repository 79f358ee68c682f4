//! The counters of the engine. They are atomics, so that they can be read at any moment, in a crash report too.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::error::Error;
use crate::histogram::Histogram;

/// The figures of an engine since it was built.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Maps and fan-outs begun.
    pub requests: AtomicU64,
    /// Counts the requests that are under way.
    pub in_flight: AtomicUsize,
    /// Answered although a node had failed, because the request allowed it.
    pub partial: AtomicU64,
    /// Requests that the requester gave up, such as a client that disconnected.
    pub cancelled: AtomicU64,
    /// Commands that were sent elsewhere after `MOVED`.
    pub moved: AtomicU64,
    /// Commands that were sent elsewhere after `ASK`.
    pub ask: AtomicU64,
    /// Commands sent again, for every other reason.
    pub retries: AtomicU64,
    /// Shares that other nodes were asked to reduce.
    pub inner: AtomicU64,
    /// Counts the shares that were declined and sent as plain commands.
    pub inner_declined: AtomicU64,
    /// Fan-outs that were checked for each slot being in the answer once.
    pub slot_checks: AtomicU64,
    /// Counts the checked fan-outs that asked nodes again since slots had moved.
    pub slot_repairs: AtomicU64,
    /// Counts the checked fan-outs that could not be settled: errors, or said beside partial results.
    pub slots_unsettled: AtomicU64,
    /// Answers that may be inexact because the request or the engine allowed it.
    pub inconsistent: AtomicU64,
    /// Topologies fetched.
    pub refreshes: AtomicU64,
    /// Attempts to fetch one that failed.
    pub refresh_failures: AtomicU64,
    /// The bytes of replies of the request that took most.
    pub largest_replies: AtomicUsize,
    /// Failed requests by kind of error.
    pub errors: ErrorCounts,
    /// Counts how long requests took.
    pub latency: Histogram,
}

/// Failed requests by kind of error.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ErrorCounts {
    /// `RMRTIMEOUT`
    pub timeout: AtomicU64,
    /// `RMRNODE`
    pub node: AtomicU64,
    /// `RMRSHARD`
    pub shard: AtomicU64,
    /// `RMRSLOTS` and `ERRCLUSTER`
    pub topology: AtomicU64,
    /// `RMRTOOBIG`
    pub too_big: AtomicU64,
    /// `RMRBUSY`
    pub busy: AtomicU64,
    /// `NOPERM`
    pub no_permission: AtomicU64,
    /// Errors of any other kind.
    pub other: AtomicU64,
}

impl ErrorCounts {
    /// Counts an error under its kind.
    pub fn count(&self, error: &Error) {
        let counter = match error {
            Error::Timeout { .. } => &self.timeout,
            Error::Node { .. } => &self.node,
            Error::Shard { .. } => &self.shard,
            Error::Topology(_) | Error::Slots(_) => &self.topology,
            Error::TooBig { .. } => &self.too_big,
            Error::Busy { .. } => &self.busy,
            Error::NoPermission(_) => &self.no_permission,
            _ => &self.other,
        };
        counter.fetch_add(1, Relaxed);
    }
}
