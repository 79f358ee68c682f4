//! Waiting for something to become true, with a limit.

use std::thread;
use std::time::{Duration, Instant};

/// The pause of [`poll`] between two attempts.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Calls `attempt` until it returns a value, at least once and for no longer than `within`.
///
/// Gives the value, or `None` when time ran out. It blocks its thread: in an async test, call it within
/// `tokio::task::spawn_blocking`.
///
/// ```
/// use std::time::Duration;
///
/// let mut left = 3;
/// let done = rmr::testing::poll(Duration::from_secs(1), || { left -= 1; (left == 0).then_some("done") });
/// assert_eq!(done, Some("done"));
/// ```
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
