//! Adds sections to `INFO`.

use std::ffi::{CStr, c_int};
use std::marker::PhantomData;

use redis_module::raw;

use super::api::required;
use super::callback::{guarded, stateless};
use super::context::Ctx;

/// Calls back for each `INFO`, with whether it is for a crash report. On any thread: each may crash.
pub(crate) fn register<F: Fn(Sections<'_>, bool) + Copy + 'static>(ctx: Ctx<'_>, _: F) {
    unsafe extern "C" fn info<F: Fn(Sections<'_>, bool) + Copy + 'static>(
        ctx: *mut raw::RedisModuleInfoCtx,
        for_crash_report: c_int,
    ) {
        let is_crash = for_crash_report != 0;
        // A panic leaves the sections written so far.
        guarded(|| stateless::<F>()(Sections { ctx, of: PhantomData }, is_crash));
    }
    // SAFETY: invariants 1, 2 and 5.
    unsafe { required!(RedisModule_RegisterInfoFunc)(ctx.as_ptr(), Some(info::<F>)) };
}

/// The sections of one `INFO`. The server puts `rmr_` before the names of sections and fields.
#[derive(Clone, Copy)]
pub(crate) struct Sections<'a> {
    /// Invariant 1 holds for `'a`: made for one call of the callback.
    ctx: *mut raw::RedisModuleInfoCtx,
    of: PhantomData<&'a ()>,
}

impl Sections<'_> {
    /// Opens a section. Returns `false` if it was not asked for.
    pub(crate) fn section(self, name: &CStr) -> bool {
        // SAFETY: invariants 1 and 6.
        unsafe { required!(RedisModule_InfoAddSection)(self.ctx, name.as_ptr()) == raw::REDISMODULE_OK as c_int }
    }

    /// Adds a number to the open section.
    pub(crate) fn number(self, name: &CStr, value: u64) {
        // SAFETY: invariants 1 and 6.
        unsafe { required!(RedisModule_InfoAddFieldULongLong)(self.ctx, name.as_ptr(), value) };
    }

    /// Adds a text to the open section.
    pub(crate) fn text(self, name: &CStr, value: &CStr) {
        // SAFETY: invariants 1 and 6; the server copies the text.
        unsafe { required!(RedisModule_InfoAddFieldCString)(self.ctx, name.as_ptr(), value.as_ptr().cast_mut()) };
    }
}
