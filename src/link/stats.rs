//! The state of a link, and its figures.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::histogram::Histogram;
use crate::topology::Address;

/// A link's figures. Atomics only: they are read by `INFO` and in crash reports.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct LinkStats {
    state: AtomicU8,
    /// Batches sent and not yet answered.
    pub in_flight: AtomicUsize,
    /// Connections opened so far.
    pub connects: AtomicU64,
    /// Connections that broke or could not be opened.
    pub failures: AtomicU64,
    /// Replies that came after their request had been given up. Counted where replies are read, in `connection/read.rs`.
    pub late_replies: AtomicU64,
    /// Bytes of commands that have left.
    pub sent_bytes: AtomicU64,
    /// Bytes of replies that have come.
    pub received_bytes: AtomicU64,
    /// Counts how long answers to batches took, from when these were handed to a connection.
    pub round_trips: Histogram,
}

impl LinkStats {
    /// Returns what the link is doing now.
    pub fn state(&self) -> LinkState {
        match self.state.load(Ordering::Relaxed) {
            1 => LinkState::Connecting,
            2 => LinkState::Connected,
            3 => LinkState::Failed,
            4 => LinkState::Local,
            _ => LinkState::Idle,
        }
    }

    /// Sets what the link is doing now.
    pub fn set_state(&self, state: LinkState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }
}

/// The figures of all links to each node, where several engines have links to it: each adds to the same.
#[derive(Debug, Default)]
pub(crate) struct StatsByNode {
    by_address: Mutex<HashMap<Address, Arc<LinkStats>>>,
}

impl StatsByNode {
    /// Returns the figures of links to this node.
    pub(crate) fn get(&self, address: &Address) -> Arc<LinkStats> {
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner).entry(address.clone()).or_default().clone()
    }

    /// Returns the figures of these nodes, and forgets all others to which there are no links.
    pub(crate) fn of(&self, nodes: &[Address]) -> Vec<Arc<LinkStats>> {
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        by_address.retain(|address, stats| Arc::strong_count(stats) > 1 || nodes.contains(address));
        nodes.iter().map(|node| by_address.get(node).cloned().unwrap_or_default()).collect()
    }
}

/// Says what a link is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum LinkState {
    /// The connection was not needed so far, or not since it was last closed.
    Idle,
    /// Dialling.
    Connecting,
    /// Connected.
    Connected,
    /// The last attempt to connect failed; the next request tries again.
    Failed,
    /// The node that we live in: no connection is needed.
    Local,
}

impl LinkState {
    /// Returns the name of the state in lower case, as `RMR.TOPOLOGY` shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Failed => "failed",
            Self::Local => "local",
        }
    }
}
