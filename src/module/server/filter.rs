//! The server's command filter: sees each command before the server looks at it, and may put arguments in front of it.
//!
//! As far as [`proxy`](crate::module::proxy) uses it, one small safe function for each call, with what the server says about the
//! client behind a command. All of it is for the main thread.

use std::cell::Cell;
use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;
use std::ptr::NonNull;

use redis_module::raw;

use super::api::{probe, required};
use super::callback::{guarded, stateless};
use super::context::{Ctx, client_flags, client_name, client_user_name};
use super::string::{OwnedString, string_bytes};
use super::thread;

/// A filter that is in place until it is removed, and that hears of clients that leave.
pub(crate) struct Filter(WordsFilter);

/// Returns the name of the function that the server lacks for telling whose command a filter sees.
pub(crate) fn missing() -> Option<&'static str> {
    probe!(RedisModule_CommandFilterGetClientId).is_none().then_some("RedisModule_CommandFilterGetClientId")
}

thread_local! {
    /// The server gives what it calls back no data of ours.
    static GONE: Cell<Option<fn(u64)>> = const { Cell::new(None) };
}

impl Filter {
    /// Shows every command that is not called by this module to `see`, and every client that leaves to `gone`.
    pub(crate) fn register<F>(ctx: Ctx<'_>, see: F, gone: fn(u64)) -> Option<Self>
    where
        F: Fn(&mut FilteredCommand<'_>) + Copy + 'static,
    {
        let filter = WordsFilter::register(ctx, see).map(Self)?;
        GONE.set(Some(gone));
        ctx.subscribe_raw(raw::REDISMODULE_EVENT_CLIENT_CHANGE, 1, Some(on_client_change));
        Some(filter)
    }

    /// Ends that. Not from within a filter.
    pub(crate) fn remove(self, ctx: Ctx<'_>) {
        ctx.subscribe_raw(raw::REDISMODULE_EVENT_CLIENT_CHANGE, 1, None);
        self.0.remove(ctx);
        GONE.set(None);
    }
}

/// A filter that looks at words alone. It may be there beside the other one, also where the server does not tell whose command
/// it is.
pub(crate) struct WordsFilter(NonNull<raw::RedisModuleCommandFilter>);

impl WordsFilter {
    /// Shows every command that is not called by this module.
    pub(crate) fn register<F: Fn(&mut FilteredCommand<'_>) + Copy + 'static>(ctx: Ctx<'_>, _: F) -> Option<Self> {
        unsafe extern "C" fn seen<F: Fn(&mut FilteredCommand<'_>) + Copy + 'static>(
            filtered: *mut raw::RedisModuleCommandFilterCtx,
        ) {
            // Other threads, on which other modules call commands, are not ours.
            if thread::is_another() {
                return;
            }
            // After a panic the command goes on as it is.
            // SAFETY: invariant 1: the server's own context of this call.
            guarded(|| stateless::<F>()(&mut unsafe { FilteredCommand::new(filtered) }));
        }
        let flags = raw::REDISMODULE_CMDFILTER_NOSELF as c_int;
        // SAFETY: a context of this module; the callback lives until the module is unloaded, and is removed before.
        let filter = unsafe { required!(RedisModule_RegisterCommandFilter)(ctx.as_ptr(), Some(seen::<F>), flags) };
        NonNull::new(filter).map(Self)
    }

    /// Ends that. Not from within a filter.
    pub(crate) fn remove(self, ctx: Ctx<'_>) {
        // SAFETY: a context of this module, and a filter of its own that is in place.
        unsafe { required!(RedisModule_UnregisterCommandFilter)(ctx.as_ptr(), self.0.as_ptr()) };
    }
}

/// A command on its way to the server.
pub(crate) struct FilteredCommand<'a> {
    ctx: *mut raw::RedisModuleCommandFilterCtx,
    of: PhantomData<&'a ()>,
}

impl FilteredCommand<'_> {
    /// Wraps what a filter was called with.
    ///
    /// # Safety
    /// Invariant 1 holds for the context, for `'a`.
    unsafe fn new(ctx: *mut raw::RedisModuleCommandFilterCtx) -> Self {
        Self { ctx, of: PhantomData }
    }

    /// Returns the client that sent the command, or that it runs on.
    pub(crate) fn client(&self) -> u64 {
        // SAFETY: invariant 1, by `new`.
        unsafe { required!(RedisModule_CommandFilterGetClientId)(self.ctx) }
    }

    /// Returns the number of words; the name is one of them.
    pub(crate) fn len(&self) -> usize {
        // SAFETY: invariant 1, by `new`.
        unsafe { required!(RedisModule_CommandFilterArgsCount)(self.ctx) as usize }
    }

    fn string(&self, at: usize) -> *mut raw::RedisModuleString {
        // SAFETY: invariant 1, by `new`; past the end the server gives null.
        unsafe { required!(RedisModule_CommandFilterArgGet)(self.ctx, at as c_int) }
    }

    /// Returns one of the words; empty past the end.
    pub(crate) fn word(&self, at: usize) -> &[u8] {
        let string = self.string(at);
        // SAFETY: a string of the command, which stays as it is while `self` is borrowed.
        if string.is_null() { &[] } else { unsafe { string_bytes(string) } }
    }

    /// Puts words in front of it.
    pub(crate) fn put_in_front(&mut self, words: &[&[u8]]) {
        for (at, word) in words.iter().enumerate() {
            // A string of its own each time: the server may free it on another thread.
            let word = OwnedString::new(word).into_raw();
            // SAFETY: invariant 1, by `new`; the string is handed over.
            unsafe { required!(RedisModule_CommandFilterArgInsert)(self.ctx, at as c_int, word) };
        }
    }

    /// Tells whether this node would run the command, as far as its keys go: by the server's own look at whose they are
    /// and what is moving, which it takes again in a moment, with nothing happening in between.
    pub(crate) fn is_for_this_node(&self, ctx: Ctx<'_>, name: &CStr) -> bool {
        let mut args: Vec<_> = (1..self.len()).map(|at| self.string(at)).collect();
        errno::set_errno(errno::Errno(0));
        // SAFETY: the format says what follows: pointers to live strings, and how many they are. D: the command is only
        // checked. The reply, which stands for an error, is ours.
        unsafe {
            let check = required!(RedisModule_Call);
            let reply = check(ctx.as_ptr(), name.as_ptr(), c"Dv".as_ptr(), args.as_mut_ptr(), args.len());
            if reply.is_null() {
                return true;
            }
            let errno = errno::errno();
            required!(RedisModule_FreeCallReply)(reply);
            // The rest are mistakes that the server finds by itself.
            !matches!(errno.0, libc::EPERM | libc::ENETDOWN | libc::EROFS)
        }
    }
}

/// The server's facts about a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The client came to a port of the server and is some user, unlike the server's own links and those of modules
    /// that share the server's secret.
    pub(crate) is_user: bool,
    pub(crate) is_in_multi: bool,
    /// The client keeps copies of what it reads, and is told when that changes.
    pub(crate) is_tracking: bool,
}

/// Returns the server's facts about the client of this id; `None` for one without a connection: scripts, modules, the
/// append only file.
pub(crate) fn look(ctx: Ctx<'_>, id: u64) -> Option<Seen> {
    let flags = client_flags(id)?;
    let has = |flag: u32| flags & u64::from(flag) != 0;
    Some(Seen {
        is_user: client_user_name(ctx, id).is_some(),
        is_in_multi: has(raw::REDISMODULE_CLIENTINFO_FLAG_MULTI),
        is_tracking: has(raw::REDISMODULE_CLIENTINFO_FLAG_TRACKING),
    })
}

/// Returns the ACL user of the client of this id.
pub(crate) fn user_of(ctx: Ctx<'_>, id: u64) -> Option<Vec<u8>> {
    client_user_name(ctx, id).map(|name| name.bytes().to_vec())
}

/// Tells whether the client has this name.
pub(crate) fn is_named(ctx: Ctx<'_>, id: u64, name: &str) -> bool {
    client_name(ctx, id).is_some_and(|known| known.bytes() == name.as_bytes())
}

/// Tells whether the client has sent `MULTI`, and not yet `EXEC`.
pub(crate) fn is_in_multi(id: u64) -> bool {
    client_flags(id).is_some_and(|flags| flags & u64::from(raw::REDISMODULE_CLIENTINFO_FLAG_MULTI) != 0)
}

unsafe extern "C" fn on_client_change(
    _: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    subevent: u64,
    client: *mut c_void,
) {
    if subevent == raw::REDISMODULE_SUBEVENT_CLIENT_CHANGE_DISCONNECTED
        && let Some(gone) = GONE.get()
    {
        // SAFETY: with this event comes such a structure.
        let id = unsafe { (*client.cast::<raw::RedisModuleClientInfo>()).id };
        guarded(|| {
            thread::debug_assert_main();
            gone(id);
        });
    }
}
