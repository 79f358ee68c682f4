//! Keyspace events: what the server tells of each key that has changed, whatever `notify-keyspace-events` says.

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};

use redis_module::raw;

use super::api::{probe, required};
use super::callback::{guarded, stateless};
use super::context::Ctx;
use super::main_thread::enter;
use super::string::string_bytes;

/// The events but key misses and new keys, as `notify-keyspace-events A` has them.
const ALL: c_int = raw::REDISMODULE_NOTIFY_GENERIC
    | raw::REDISMODULE_NOTIFY_STRING
    | raw::REDISMODULE_NOTIFY_LIST
    | raw::REDISMODULE_NOTIFY_SET
    | raw::REDISMODULE_NOTIFY_HASH
    | raw::REDISMODULE_NOTIFY_ZSET
    | raw::REDISMODULE_NOTIFY_EXPIRED
    | raw::REDISMODULE_NOTIFY_EVICTED
    | raw::REDISMODULE_NOTIFY_STREAM
    | raw::REDISMODULE_NOTIFY_MODULE;

thread_local! {
    /// We look for a key ourselves. Servers before 7.2 tell of its absence.
    static IS_OWN_READ: Cell<bool> = const { Cell::new(false) };
}

/// Looks for a key without an event that it is missing.
pub(super) fn quietly<T>(look: impl FnOnce() -> T) -> T {
    let outer = IS_OWN_READ.replace(true);
    let found = look();
    IS_OWN_READ.set(outer);
    found
}

/// Says whether reads of keys that do not exist are reported, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WithMisses {
    Yes,
    No,
}

/// Calls back with the name of each event and its key, in the midst of the command that has caused it: nothing may be
/// written then. Until the module is unloaded. Returns `false` if the server does not do so.
fn subscribe<F: Fn(Ctx<'_>, &[u8], &[u8]) + Copy + 'static>(ctx: Ctx<'_>, misses: WithMisses, _: F) -> bool {
    unsafe extern "C" fn happened<F: Fn(Ctx<'_>, &[u8], &[u8]) + Copy + 'static>(
        ctx: *mut raw::RedisModuleCtx,
        _: c_int,
        event: *const c_char,
        key: *mut raw::RedisModuleString,
    ) -> c_int {
        // SAFETY: invariants 1, 3 and 6, for as long as this call takes.
        let (ctx, event, key) = unsafe { (Ctx::new(ctx), CStr::from_ptr(event).to_bytes(), string_bytes(key)) };
        if !(IS_OWN_READ.get() && event == b"keymiss") {
            guarded(|| stateless::<F>()(ctx, event, key));
        }
        raw::REDISMODULE_OK as c_int
    }
    let classes = if misses == WithMisses::Yes { ALL | raw::REDISMODULE_NOTIFY_KEY_MISS } else { ALL };
    // SAFETY: invariants 1, 2 and 5.
    let status =
        unsafe { required!(RedisModule_SubscribeToKeyspaceEvents)(ctx.as_ptr(), classes, Some(happened::<F>)) };
    status == raw::REDISMODULE_OK as c_int
}

/// A subscription that lasts until the module is unloaded, once it is made. On the main thread.
pub(crate) struct EventSubscription(Cell<bool>);

impl EventSubscription {
    /// Makes none yet.
    pub(crate) const fn new() -> Self {
        Self(Cell::new(false))
    }

    /// [Subscribes](subscribe), unless that is done. Returns `false` if the server does not tell of events.
    pub(crate) fn ensure<F>(&self, ctx: Ctx<'_>, misses: WithMisses, happened: F) -> bool
    where
        F: Fn(Ctx<'_>, &[u8], &[u8]) + Copy + 'static,
    {
        if !self.0.get() {
            self.0.set(subscribe(ctx, misses, happened));
        }
        self.0.get()
    }

    /// Forgets that it has subscribed: the module is unloaded, and the server forgets its subscriptions.
    pub(crate) fn reset(&self) {
        self.0.set(false);
    }
}

/// Tells whether the server runs jobs [after an event](after_event).
pub(crate) fn has_jobs() -> bool {
    probe!(RedisModule_AddPostNotificationJob).is_some()
}

/// A job, while the server has it.
type EventJob = Box<dyn FnOnce(Ctx<'_>)>;

/// Runs a job behind what has caused an event, in the same unit: what it writes follows its cause in AOF and replication, and
/// leaves with it as one `MULTI`. In the midst of an event; servers before 7.2 have [no such jobs](has_jobs). Returns
/// `false` if the server does not take it.
pub(crate) fn after_event(ctx: Ctx<'_>, job: impl FnOnce(Ctx<'_>) + 'static) -> bool {
    unsafe extern "C" fn run(ctx: *mut raw::RedisModuleCtx, job: *mut c_void) {
        // SAFETY: made by `after_event`, given back once, and freed by `free` alone.
        let job = unsafe { &mut *job.cast::<Option<EventJob>>() };
        // SAFETY: invariants 1 and 2, for as long as this call takes.
        let ctx = unsafe { Ctx::new(ctx) };
        guarded(|| enter(ctx, || job.take().map(|job| job(ctx))));
    }
    unsafe extern "C" fn free(job: *mut c_void) {
        // SAFETY: made by `after_event`, and given back for the last time.
        drop(unsafe { Box::from_raw(job.cast::<Option<EventJob>>()) });
    }
    let Some(add) = probe!(RedisModule_AddPostNotificationJob) else { return false };
    let job = Box::into_raw(Box::new(Some(Box::new(job) as EventJob)));
    // SAFETY: invariants 1, 2 and 5; the server runs the job before control goes back to its event loop.
    if unsafe { add(ctx.as_ptr(), Some(run), job.cast(), Some(free)) } == raw::REDISMODULE_OK as c_int {
        return true;
    }
    // SAFETY: not taken, so it is still ours.
    drop(unsafe { Box::from_raw(job) });
    false
}
