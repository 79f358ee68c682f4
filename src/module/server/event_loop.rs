//! The server's event loop: descriptors that it watches for us, and its rounds.

use std::ffi::{c_int, c_void};
use std::os::fd::RawFd;
use std::ptr;

use redis_module::raw;

use super::api::required;
use super::callback::{guarded, stateless};
use super::thread;

/// Calls back whenever the descriptor has something to be read, until [`unwatch`]. Returns `false` if the event loop does
/// not take it, as it is too high a number.
pub(crate) fn watch<F: Fn(RawFd) + Copy + 'static>(descriptor: RawFd, ready: F) -> bool {
    watch_for(descriptor, raw::REDISMODULE_EVENTLOOP_READABLE, ready)
}

/// Ends what [`watch`] began; before the descriptor is closed.
pub(crate) fn unwatch(descriptor: RawFd) {
    unwatch_for(descriptor, raw::REDISMODULE_EVENTLOOP_READABLE);
}

/// Calls back whenever the descriptor can be written, until [`unwatch_writable`]. Returns `false` if the event loop does not
/// take it, as it is too high a number.
pub(crate) fn watch_writable<F: Fn(RawFd) + Copy + 'static>(descriptor: RawFd, ready: F) -> bool {
    watch_for(descriptor, raw::REDISMODULE_EVENTLOOP_WRITABLE, ready)
}

/// Ends what [`watch_writable`] began; before the descriptor is closed.
pub(crate) fn unwatch_writable(descriptor: RawFd) {
    unwatch_for(descriptor, raw::REDISMODULE_EVENTLOOP_WRITABLE);
}

fn watch_for<F: Fn(RawFd) + Copy + 'static>(descriptor: RawFd, what: u32, _: F) -> bool {
    unsafe extern "C" fn ready<F: Fn(RawFd) + Copy + 'static>(descriptor: c_int, _: *mut c_void, _: c_int) {
        guarded(|| {
            thread::debug_assert_main();
            stateless::<F>()(descriptor);
        });
    }
    thread::debug_assert_main();
    let add = required!(RedisModule_EventLoopAdd);
    // SAFETY: invariants 2 and 5; all descriptors are unwatched before the module is unloaded.
    unsafe { add(descriptor, what as c_int, Some(ready::<F>), ptr::null_mut()) == raw::REDISMODULE_OK as c_int }
}

fn unwatch_for(descriptor: RawFd, what: u32) {
    thread::debug_assert_main();
    // SAFETY: invariant 2; a descriptor that the event loop does not know is passed over.
    unsafe { required!(RedisModule_EventLoopDel)(descriptor, what as c_int) };
}

/// Calls back on the main thread, from its event loop. Returns `false` if the server cannot. From any thread.
pub(crate) fn add_one_shot<F: Fn() + Copy + 'static>(_: F) -> bool {
    unsafe extern "C" fn arrived<F: Fn() + Copy + 'static>(_: *mut c_void) {
        guarded(|| {
            thread::debug_assert_main();
            stateless::<F>()();
        });
    }
    // SAFETY: invariant 5; the server guards its list of callbacks.
    unsafe {
        required!(RedisModule_EventLoopAddOneShot)(Some(arrived::<F>), ptr::null_mut()) == raw::REDISMODULE_OK as c_int
    }
}
