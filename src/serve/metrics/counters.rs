//! [`ProxyCounters`]: what all connections count together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::command_counts::CommandCounts;
use crate::histogram::Histogram;

/// The reason why a client was cut off that did not want to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::serve) enum Cut {
    /// The client has not read its replies in time.
    SlowReader,
    /// Too many messages waited for it.
    TooMuchOutput,
    /// The client has sent nothing for too long.
    Idle,
    /// `CLIENT KILL`.
    Killed,
    /// The client has sent bytes that are not the protocol, or too long.
    BadRequest,
    /// The client has not agreed on TLS.
    Tls,
}

/// Counts the clients that were cut off.
#[derive(Debug, Default)]
pub(in crate::serve) struct CutCounts([AtomicU64; Self::REASONS.len()]);

impl CutCounts {
    const REASONS: [(&'static str, Cut); 6] = [
        ("slow_reader", Cut::SlowReader),
        ("too_much_output", Cut::TooMuchOutput),
        ("idle", Cut::Idle),
        ("killed", Cut::Killed),
        ("bad_request", Cut::BadRequest),
        ("tls", Cut::Tls),
    ];

    /// Counts a client.
    pub(in crate::serve) fn count(&self, cut: Cut) {
        self.0[cut as usize].fetch_add(1, Relaxed);
    }

    /// Returns how many there were for each reason.
    pub(in crate::serve) fn all(&self) -> Vec<(&'static str, u64)> {
        Self::REASONS.iter().map(|&(name, cut)| (name, self.0[cut as usize].load(Relaxed))).collect()
    }
}

/// The counters of all connections.
#[derive(Debug, Default)]
pub(in crate::serve) struct ProxyCounters {
    /// Bytes from clients.
    pub(in crate::serve) received_bytes: AtomicU64,
    /// Bytes to clients.
    pub(in crate::serve) sent_bytes: AtomicU64,
    /// The time that commands of one key wait in the proxy: from when they were read to when they go to the nodes.
    pub(in crate::serve) queue: Histogram,
    /// The time that it takes to write replies.
    pub(in crate::serve) write: Histogram,
    /// The time from when commands were read to when their replies are written.
    pub(in crate::serve) total: Histogram,
    /// Commands that nodes do not know.
    pub(in crate::serve) unknown: Arc<CommandCounts>,
}

impl ProxyCounters {
    /// Counts bytes from a client.
    pub(in crate::serve) fn received(&self, bytes: usize) {
        self.received_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Counts bytes to a client, and how long it took to write them.
    pub(in crate::serve) fn sent(&self, bytes: usize, within: Duration) {
        self.sent_bytes.fetch_add(bytes as u64, Relaxed);
        self.write.record(within);
    }
}
