//! What there is to tell about a link: its state and its figures.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

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

/// What a link is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum LinkState {
    /// Not needed so far, or not since the connection was last closed.
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
