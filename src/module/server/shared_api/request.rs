//! Requests as C sees them: `RMR_Request`, which is a [`GuestRequest`].

use std::ffi::{CStr, c_char, c_int, c_longlong, c_void};
use std::ptr;

use redis_module::raw;

use super::super::argv::Argv;
use super::super::callback::{ends_unanswered, guarded};
use super::super::context::Ctx;
use super::given::{bytes_of, text_of};
use super::reply::{RawReply, taken};
use crate::module::guests::registry;
use crate::module::guests::request::{GuestRequest, GuestRequestKind, MergeReplies, Merged};
use crate::reply::Reply;

type MergeFunction = unsafe extern "C" fn(*const RawReply, *mut *mut GuestRequest, *mut c_void) -> *mut RawReply;
type DoneFunction = unsafe extern "C" fn(*const RawReply, *mut c_void);
type FreeFunction = unsafe extern "C" fn(*mut c_void);

/// `RMR_CreateRequest`. Null for a module that has not entered.
pub(super) unsafe extern "C" fn create(module: *const c_char, kind: c_int) -> *mut GuestRequest {
    let kind = if kind == 1 { GuestRequestKind::Map } else { GuestRequestKind::FanOut };
    // SAFETY: a text that ends in zero, or null.
    let guest = unsafe { text_of(module) }.and_then(registry::guest);
    guest.map_or(ptr::null_mut(), |guest| Box::into_raw(Box::new(GuestRequest::new(guest, kind))))
}

/// `RMR_CreateFlowRequest`. Null for a module that has not entered.
pub(super) unsafe extern "C" fn create_flow(
    module: *const c_char,
    pattern: *const c_char,
    length: usize,
) -> *mut GuestRequest {
    // SAFETY: a text that ends in zero, or null; as many bytes as are said.
    let (module, pattern) = unsafe { (text_of(module), bytes_of(pattern, length)) };
    let guest = module.and_then(registry::guest);
    guest.map_or(ptr::null_mut(), |guest| Box::into_raw(Box::new(GuestRequest::over(guest, pattern))))
}

/// Does something with a request that C holds. Null is passed over.
///
/// # Safety
/// `request` is null, or was created and neither sent nor freed.
unsafe fn with(request: *mut GuestRequest, work: impl FnOnce(&mut GuestRequest)) {
    // SAFETY: as the caller says.
    if let Some(request) = unsafe { request.as_mut() } {
        guarded(|| work(request));
    }
}

/// Takes over a request that C has held; `None` for null.
///
/// # Safety
/// As of [`with`].
unsafe fn taken_over(request: *mut GuestRequest) -> Option<Box<GuestRequest>> {
    // SAFETY: as the caller says.
    (!request.is_null()).then(|| unsafe { Box::from_raw(request) })
}

/// `RMR_AddCommand`.
pub(super) unsafe extern "C" fn add_command(
    request: *mut GuestRequest,
    key_at: c_int,
    argc: c_int,
    argv: *const *const c_char,
    lengths: *const usize,
) {
    let count = if argv.is_null() { 0 } else { usize::try_from(argc).unwrap_or_default() };
    // SAFETY: as many words as are said, each with a length, or ending in zero where there are no lengths.
    let words = (0..count).map(|at| unsafe {
        let word = *argv.add(at);
        match lengths.is_null() {
            true if word.is_null() => &[],
            true => CStr::from_ptr(word).to_bytes(),
            false => bytes_of(word, *lengths.add(at)),
        }
    });
    // SAFETY: a request that the caller holds.
    unsafe { with(request, |request| request.add(key_at, words)) };
}

/// `RMR_AddStrings`.
pub(super) unsafe extern "C" fn add_strings(
    request: *mut GuestRequest,
    key_at: c_int,
    argc: c_int,
    argv: *mut *mut raw::RedisModuleString,
) {
    // SAFETY: invariant 3: as many strings as are said.
    let words = if argv.is_null() { Vec::new() } else { unsafe { Argv::new(argv, argc) }.bytes() };
    // SAFETY: a request that the caller holds.
    unsafe { with(request, |request| request.add(key_at, words.into_iter())) };
}

/// `RMR_SetKeyType`.
pub(super) unsafe extern "C" fn set_key_type(request: *mut GuestRequest, type_name: *const c_char) {
    // SAFETY: a text that ends in zero, or null; a request that the caller holds.
    unsafe {
        let type_name = text_of(type_name).unwrap_or_default();
        with(request, |request| request.set_key_type(type_name));
    }
}

/// `RMR_SetLimit`.
pub(super) unsafe extern "C" fn set_limit(request: *mut GuestRequest, most: c_longlong) {
    // SAFETY: a request that the caller holds.
    unsafe { with(request, |request| request.set_limit(most)) };
}

/// `RMR_AddStep`.
pub(super) unsafe extern "C" fn add_step(
    request: *mut GuestRequest,
    name: *const c_char,
    arguments: *const c_char,
    length: usize,
) {
    // SAFETY: a text that ends in zero, or null; as many bytes as are said; a request that the caller holds.
    unsafe {
        let (name, arguments) = (text_of(name).unwrap_or_default(), bytes_of(arguments, length));
        with(request, |request| request.add_step(name, arguments));
    }
}

/// `RMR_SetTimeout`.
pub(super) unsafe extern "C" fn set_timeout(request: *mut GuestRequest, millis: c_longlong) {
    // SAFETY: a request that the caller holds.
    unsafe { with(request, |request| request.set_timeout(millis)) };
}

/// `RMR_SetPartial`.
pub(super) unsafe extern "C" fn set_partial(request: *mut GuestRequest, partial: c_int) {
    // SAFETY: a request that the caller holds.
    unsafe { with(request, |request| request.set_partial(partial != 0)) };
}

/// `RMR_ReduceWith`.
pub(super) unsafe extern "C" fn reduce_with(
    request: *mut GuestRequest,
    name: *const c_char,
    arguments: *const c_char,
    length: usize,
) {
    // SAFETY: a text that ends in zero, or null; as many bytes as are said.
    let (name, arguments) = unsafe { (text_of(name).unwrap_or_default(), bytes_of(arguments, length)) };
    // SAFETY: a request that the caller holds.
    unsafe { with(request, |request| request.reduce_with(name.as_bytes(), arguments)) };
}

/// `RMR_MergeWith`.
pub(super) unsafe extern "C" fn merge_with(
    request: *mut GuestRequest,
    merge: Option<MergeFunction>,
    data: *mut c_void,
    free: Option<FreeFunction>,
) {
    let data = ForeignData { data, free };
    if let Some(merge) = merge {
        // SAFETY: a request that the caller holds.
        unsafe { with(request, |request| request.merge_with(Box::new(ForeignMerge { merge, data }))) };
    }
}

/// `RMR_Send`.
pub(super) unsafe extern "C" fn send(ctx: *mut raw::RedisModuleCtx, request: *mut GuestRequest) -> c_int {
    // SAFETY: invariants 1 and 2: the context of a command that is running; a request that the caller gives away.
    let (ctx, request) = unsafe { (Ctx::new(ctx), taken_over(request)) };
    let Some(request) = request else {
        ctx.reply_to().error(c"ERR there is no request: the module has not called RMR_Init, or it has failed");
        return raw::REDISMODULE_OK as c_int;
    };
    if ends_unanswered(|| request.serve(ctx)) {
        ctx.reply_to().error(c"ERR internal error: the request panicked; see the server's log");
    }
    raw::REDISMODULE_OK as c_int
}

/// `RMR_SendTo`.
pub(super) unsafe extern "C" fn send_to(
    ctx: *mut raw::RedisModuleCtx,
    request: *mut GuestRequest,
    done: Option<DoneFunction>,
    data: *mut c_void,
) {
    let call = ForeignDone { done, data };
    // SAFETY: a request that the caller gives away.
    let Some(request) = (unsafe { taken_over(request) }) else {
        let why = "ERR there is no request: the module has not called RMR_Init, or it has failed";
        return call.with(&Reply::Error(why.into()));
    };
    // SAFETY: invariants 1 and 2: a context of the module, on the main thread or with the server's lock.
    let ctx = unsafe { Ctx::new(ctx) };
    guarded(|| {
        request.call_back(ctx, move |result| {
            call.with(&result.unwrap_or_else(|error| Reply::Error(error.to_line().into())));
        });
    });
}

/// `RMR_FreeRequest`.
pub(super) unsafe extern "C" fn free(request: *mut GuestRequest) {
    // SAFETY: a request that the caller gives away, or null.
    guarded(|| drop(unsafe { taken_over(request) }));
}

/// A pointer of another module, which it frees when it is needed no more.
struct ForeignData {
    data: *mut c_void,
    free: Option<FreeFunction>,
}

// SAFETY: rmr.h says to the author that what is done with the pointer may be done on any thread.
unsafe impl Send for ForeignData {}

impl Drop for ForeignData {
    fn drop(&mut self) {
        if let Some(free) = self.free {
            // SAFETY: as rmr.h asks of the function: called once, with the pointer that came with it.
            unsafe { free(self.data) };
        }
    }
}

/// An `RMR_Merge`. Its request holds the module's code.
struct ForeignMerge {
    merge: MergeFunction,
    data: ForeignData,
}

impl MergeReplies for ForeignMerge {
    fn merge(self: Box<Self>, replies: &Reply) -> Merged {
        let mut next = ptr::null_mut();
        // SAFETY: as rmr.h asks of the function; the replies live for the length of the call, and what it gives is ours.
        let (reply, next) = unsafe {
            let reply = (self.merge)(RawReply::of(replies), &raw mut next, self.data.data);
            (taken(reply), taken_over(next))
        };
        match (reply, next) {
            (Some(reply), _) => Merged::Reply(reply),
            (None, Some(next)) => Merged::Next(next),
            (None, None) => Merged::Nothing,
        }
    }
}

/// An `RMR_Done`.
struct ForeignDone {
    done: Option<DoneFunction>,
    data: *mut c_void,
}

// SAFETY: rmr.h says to the author that the function is called on any thread.
unsafe impl Send for ForeignDone {}

impl ForeignDone {
    fn with(&self, reply: &Reply) {
        if let Some(done) = self.done {
            // SAFETY: as rmr.h asks of the function; the reply lives for the length of the call.
            unsafe { done(RawReply::of(reply), self.data) };
        }
    }
}
