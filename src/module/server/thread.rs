//! Knows the server's main thread. Debug builds hold to it what needs it.

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use redis_module::raw::RedisModuleCtx;

thread_local! {
    /// The context of what the thread does now for the server; null while it does nothing.
    pub(super) static CURRENT: Cell<*mut RedisModuleCtx> = const { Cell::new(ptr::null_mut()) };

    /// Tells whether this is the thread that has loaded the module. A child that the server forks is that thread too.
    static IS_MAIN: Cell<bool> = const { Cell::new(false) };
}

/// Tells whether some thread is known to be the main thread.
static IS_KNOWN: AtomicBool = AtomicBool::new(false);

/// Notes that this is the main thread.
pub(super) fn is_main() {
    IS_MAIN.set(true);
    IS_KNOWN.store(true, Ordering::Relaxed);
}

/// Tells whether this is known not to be the main thread, as one on which another module calls with the server's lock.
pub(super) fn is_another() -> bool {
    !IS_MAIN.get() && IS_KNOWN.load(Ordering::Relaxed)
}

/// Asserts, in debug builds, that this is the server's main thread.
///
/// For what keeps something of that thread. Another module may call commands of rmr on a thread of its own, with the
/// server's lock, and so come to all else.
#[track_caller]
pub(super) fn debug_assert_main() {
    debug_assert!(!is_another(), "not on the server's main thread");
}

/// Asserts, in debug builds, that this is the main thread, or runs a command for a module that holds the server's lock.
#[track_caller]
pub(super) fn debug_assert_locked() {
    if CURRENT.get().is_null() {
        debug_assert_main();
    }
}
