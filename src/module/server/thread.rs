//! Which thread is the server's main thread. Debug builds hold every entry to it.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

thread_local! {
    /// Whether this is the thread that has loaded the module. A child that the server forks is that thread too.
    static IS_MAIN: Cell<bool> = const { Cell::new(false) };
}

/// Whether some thread is known to be the main thread.
static IS_KNOWN: AtomicBool = AtomicBool::new(false);

/// Notes that this is the main thread.
pub(super) fn is_main() {
    IS_MAIN.set(true);
    IS_KNOWN.store(true, Ordering::Relaxed);
}

/// Asserts, in debug builds, that this is the server's main thread.
///
/// A module whose thread calls commands of rmr with the server's lock would be a second one, and is unknown to us.
#[track_caller]
pub(super) fn debug_assert_main() {
    debug_assert!(IS_MAIN.get() || !IS_KNOWN.load(Ordering::Relaxed), "not on the server's main thread");
}
