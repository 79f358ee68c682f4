//! Keyspace events: what the server tells of each key that has changed, whatever `notify-keyspace-events` says.

use std::ffi::{CStr, c_char, c_int};

use redis_module::raw;

use super::api::required;
use super::callback::{guarded, stateless};
use super::context::Ctx;
use super::string::string_bytes;

/// All events but key misses and new keys, as `notify-keyspace-events A` has them.
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

/// Whether reads of keys that do not exist are told of, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WithMisses {
    Yes,
    No,
}

/// Calls back with the name of each event and its key, in the midst of the command that has caused it: nothing may be
/// written then. Until the module is unloaded. Returns `false` if the server does not do so.
pub(crate) fn subscribe<F: Fn(Ctx<'_>, &[u8], &[u8]) + Copy + 'static>(ctx: Ctx<'_>, misses: WithMisses, _: F) -> bool {
    unsafe extern "C" fn happened<F: Fn(Ctx<'_>, &[u8], &[u8]) + Copy + 'static>(
        ctx: *mut raw::RedisModuleCtx,
        _: c_int,
        event: *const c_char,
        key: *mut raw::RedisModuleString,
    ) -> c_int {
        // SAFETY: invariants 1, 3 and 6, for as long as this call takes.
        let (ctx, event, key) = unsafe { (Ctx::new(ctx), CStr::from_ptr(event).to_bytes(), string_bytes(key)) };
        guarded(|| stateless::<F>()(ctx, event, key));
        raw::REDISMODULE_OK as c_int
    }
    let classes = if misses == WithMisses::Yes { ALL | raw::REDISMODULE_NOTIFY_KEY_MISS } else { ALL };
    // SAFETY: invariants 1, 2 and 5.
    let status =
        unsafe { required!(RedisModule_SubscribeToKeyspaceEvents)(ctx.as_ptr(), classes, Some(happened::<F>)) };
    status == raw::REDISMODULE_OK as c_int
}
