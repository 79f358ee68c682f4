//! Timers of the server: work on the main thread in a context that ends.
//!
//! All that such work writes, or finds expired, is replicated when the context ends, all of it as one `MULTI`. Made while the
//! event loop hands out what can be read, a timer that is due at once runs in the same round; made within a timer, not
//! before a millisecond has gone.

use std::ffi::c_void;
use std::ptr;
use std::time::Duration;

use redis_module::raw::RedisModuleCtx;

use super::api::required;
use super::callback::{guarded, stateless};
use super::context::Ctx;
use super::main_thread::enter;
use super::thread;

/// Calls back once, after this time, with a context of no client that ends with the call. A module with timers is not
/// unloaded.
pub(crate) fn after<F: Fn(Ctx<'_>) + Copy + 'static>(ctx: Ctx<'_>, time: Duration, _: F) {
    unsafe extern "C" fn due<F: Fn(Ctx<'_>) + Copy + 'static>(ctx: *mut RedisModuleCtx, _: *mut c_void) {
        thread::debug_assert_main();
        // SAFETY: invariants 1 and 2: the context of this timer.
        let ctx = unsafe { Ctx::new(ctx) };
        guarded(|| enter(ctx, || stateless::<F>()(ctx)));
    }
    let milliseconds = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    // SAFETY: invariants 1, 2 and 5; a module with timers is not unloaded.
    unsafe { required!(RedisModule_CreateTimer)(ctx.as_ptr(), milliseconds, Some(due::<F>), ptr::null_mut()) };
}
