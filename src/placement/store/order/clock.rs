//! [`NodeClock`]: the time of the nodes, by which keys expire. This machine's own may be wrong, and may be set while all runs, so only
//! what has passed since a node has told its time is taken from here.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

/// The time of the nodes.
pub(super) struct NodeClock {
    /// The milliseconds by which the time of the nodes is ahead of those that this process has counted.
    ahead: AtomicI64,
}

/// No node has told its time yet.
const UNKNOWN: i64 = i64::MIN;

impl Default for NodeClock {
    fn default() -> Self {
        Self { ahead: AtomicI64::new(UNKNOWN) }
    }
}

impl NodeClock {
    /// Hears the time of a node, in milliseconds since 1970.
    pub(super) fn is_now(&self, time: i64) {
        self.ahead.store(time - counted(), Ordering::Relaxed);
    }

    /// Returns the time of the nodes, in milliseconds since 1970, if one has told it.
    pub(super) fn now(&self) -> Option<i64> {
        let ahead = self.ahead.load(Ordering::Relaxed);
        (ahead != UNKNOWN).then(|| counted() + ahead)
    }
}

/// Returns the milliseconds since somebody has asked first.
fn counted() -> i64 {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    BEGAN.elapsed().as_millis() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_goes_on_from_what_a_node_has_said_last() {
        let clock = NodeClock::default();
        assert_eq!(clock.now(), None);
        for time in [5_000_000, 1_000_000] {
            clock.is_now(time);
            assert!(clock.now().is_some_and(|now| (time..time + 10_000).contains(&now)));
        }
    }
}
