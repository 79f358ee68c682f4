//! Waiting for something to become true, with a limit.

use std::thread;
use std::time::{Duration, Instant};

/// How long [`poll`] pauses between two attempts. No other line of the tests sleeps.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Calls `attempt` until it returns a value, at least once and for no longer than `within`.
///
/// # Returns
///
/// The value, or `None` when time ran out.
pub fn poll<T>(within: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(value) = attempt() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Waits until `condition` holds.
///
/// # Panics
///
/// Names `what` when it did not come true within the limit.
#[track_caller]
pub fn eventually(within: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    if poll(within, || condition().then_some(())).is_none() {
        panic!("not within {within:?}: {what}");
    }
}
