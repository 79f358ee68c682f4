//! The context that the server gives to a callback, and what can be done with it: one small safe function for each call.
//!
//! Functions that older servers do not have give `None`. A [`Ctx`] is for the main thread alone, and is not `Send`. Running commands is in
//! [`call`](super::call), users are in [`user`](super::user).

use std::ffi::{CStr, CString, c_char, c_int, c_longlong, c_void};
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use redis_module::raw;

use super::api::{probe, required};
use super::callback::{self, guarded, stateless};
use super::string::OwnedString;
use super::thread;
use crate::error::Error;

/// A context of the server, on the main thread or on one that holds the server's lock.
#[derive(Clone, Copy)]
pub(crate) struct Ctx<'a> {
    raw: *mut raw::RedisModuleCtx,
    of: PhantomData<&'a ()>,
}

/// The first version, Valkey 9, in which no module can block a client that has subscribed, which in RESP3 may send any
/// command.
const BLOCKS_NO_SUBSCRIBER: u32 = 0x0009_0000;

/// The flags of a command's context, which say where it runs.
#[derive(Clone, Copy)]
pub(crate) struct Flags(u32);

impl Flags {
    /// Tells whether the client cannot be blocked: `MULTI`, scripts, calls from other modules, and clients of a replica
    /// that [serves while it loads](Self::is_serving_while_loading).
    fn deny_blocking(self) -> bool {
        let denying = raw::REDISMODULE_CTX_FLAGS_DENY_BLOCKING
            | raw::REDISMODULE_CTX_FLAGS_MULTI
            | raw::REDISMODULE_CTX_FLAGS_LUA
            | raw::REDISMODULE_CTX_FLAGS_REPLICATED
            | raw::REDISMODULE_CTX_FLAGS_LOADING
            | raw::REDISMODULE_CTX_FLAGS_ASYNC_LOADING;
        self.0 & denying != 0
    }

    /// Tells whether a replica loads the data set of its primary, and serves the old one meanwhile. Commands come in
    /// the midst of the loading: until it is done no timer fires, no round of the event loop ends, and no blocked
    /// client is let go.
    pub(crate) fn is_serving_while_loading(self) -> bool {
        self.0 & raw::REDISMODULE_CTX_FLAGS_ASYNC_LOADING != 0
    }

    /// Tells whether the command comes from the primary of this node.
    pub(crate) fn is_replicated(self) -> bool {
        self.0 & raw::REDISMODULE_CTX_FLAGS_REPLICATED != 0
    }

    pub(crate) fn is_script(self) -> bool {
        self.0 & raw::REDISMODULE_CTX_FLAGS_LUA != 0
    }

    /// Tells whether the server is in the middle of a script, or of loading its data, and refuses most commands.
    pub(crate) fn is_busy(self) -> bool {
        self.0 & (raw::REDISMODULE_CTX_FLAGS_LUA | raw::REDISMODULE_CTX_FLAGS_LOADING) != 0
    }

    /// Tells whether the command comes from the node's primary, or from a file that is being loaded: nobody asks
    /// whether it may run.
    pub(crate) fn is_from_server(self) -> bool {
        self.0 & (raw::REDISMODULE_CTX_FLAGS_REPLICATED | raw::REDISMODULE_CTX_FLAGS_LOADING) != 0
    }

    /// Tells whether the server is loading its data.
    pub(crate) fn is_loading(self) -> bool {
        self.0 & raw::REDISMODULE_CTX_FLAGS_LOADING != 0
    }

    pub(crate) fn is_cluster(self) -> bool {
        self.0 & raw::REDISMODULE_CTX_FLAGS_CLUSTER != 0
    }

    pub(crate) fn is_primary(self) -> bool {
        self.0 & raw::REDISMODULE_CTX_FLAGS_MASTER != 0
    }

    pub(crate) fn is_resp3(self) -> bool {
        self.0 & raw::REDISMODULE_CTX_FLAGS_RESP3 != 0
    }
}

impl<'a> Ctx<'a> {
    /// Wraps a context.
    ///
    /// # Safety
    /// Invariants 1 and 2 hold for the context, for `'a`.
    pub(super) unsafe fn new(raw: *mut raw::RedisModuleCtx) -> Self {
        Self { raw, of: PhantomData }
    }

    /// Returns the context of a command or of `OnLoad`, as the crate `redis_module` hands it to an author.
    pub(crate) fn of(ctx: &'a redis_module::Context) -> Self {
        // SAFETY: that crate makes such a reference for a callback of the server, and for no longer.
        unsafe { Self::new(ctx.ctx) }
    }

    pub(super) fn as_ptr(self) -> *mut raw::RedisModuleCtx {
        self.raw
    }

    /// Returns where replies to the caller of the command go.
    pub(crate) fn reply_to(self) -> ReplyTo<'a> {
        // SAFETY: invariant 1, by `new`.
        unsafe { ReplyTo::new(self.raw) }
    }

    pub(crate) fn flags(self) -> Flags {
        // SAFETY: invariant 1, by `new`.
        Flags(unsafe { required!(RedisModule_GetContextFlags)(self.raw) } as u32)
    }

    /// Returns why the caller must be answered before the command returns; `None` if its client can be blocked.
    pub(crate) fn why_not_wait(self) -> Option<&'static str> {
        let flags = self.flags();
        if flags.deny_blocking() {
            return Some(if flags.is_serving_while_loading() {
                "while this node loads the data of its primary only what it can serve itself is possible"
            } else {
                "in MULTI, scripts and calls from other modules only what this node can serve itself is possible"
            });
        }
        let is_subscriber = server_version() >= BLOCKS_NO_SUBSCRIBER && is_subscribed(self.client_id());
        is_subscriber.then_some(
            "this server blocks no client that has subscribed to channels, so that only what this node can serve itself is \
             possible here; use another connection",
        )
    }

    pub(crate) fn selected_database(self) -> i32 {
        // SAFETY: invariant 1, by `new`.
        unsafe { required!(RedisModule_GetSelectedDb)(self.raw) }
    }

    /// Does something in a database, and goes back to the selected one.
    ///
    /// # Errors
    /// If the server has no such database; nothing was done.
    pub(crate) fn in_database<T>(self, database: i32, work: impl FnOnce() -> T) -> Result<T, Error> {
        let selected = self.selected_database();
        if selected == database {
            return Ok(work());
        }
        if !self.select_database(database) {
            return Err(Error::Invalid("DB index is out of range".into()));
        }
        let done = work();
        self.select_database(selected);
        Ok(done)
    }

    /// Selects a database. Returns `false` if the server has no such database; the selected one is then as before.
    fn select_database(self, database: i32) -> bool {
        // SAFETY: invariant 1, by `new`.
        unsafe { required!(RedisModule_SelectDb)(self.raw, database) == raw::REDISMODULE_OK as c_int }
    }

    /// Returns the client that the command of this context runs on.
    pub(crate) fn client_id(self) -> u64 {
        // SAFETY: invariant 1, by `new`.
        unsafe { required!(RedisModule_GetClientId)(self.raw) }
    }

    /// Returns the user who calls; `None` for nobody in particular, as on the links of the server itself. `Ok(None)`:
    /// nobody in particular, as on the links of the server itself.
    pub(crate) fn user_name(self) -> Option<Vec<u8>> {
        if let Some(name) = client_user_name(self, self.client_id()) {
            return Some(name.bytes().to_vec());
        }
        // No client of that id: a script, or a call from another module. Both run on a client of their own, which may
        // have no user, and asking that one for its name crashes the server. A call checked as the user fails with
        // this errno where there is none, and otherwise with another or not at all.
        errno::set_errno(errno::Errno(0));
        // SAFETY: a live context, a command without arguments.
        let reply = unsafe { required!(RedisModule_Call)(self.raw, c"PING".as_ptr(), c"C".as_ptr()) };
        let has_user = !reply.is_null() || errno::errno().0 != libc::ENOTSUP;
        if !reply.is_null() {
            // SAFETY: the reply is ours.
            unsafe { required!(RedisModule_FreeCallReply)(reply) };
        }
        if !has_user {
            return None;
        }
        // SAFETY: the context's client has a user, as was just found out; the name is ours to free.
        let name = unsafe { OwnedString::from_raw(required!(RedisModule_GetCurrentUserName)(self.raw)) };
        name.map(|name| name.bytes().to_vec())
    }

    /// Returns one field of the server's `INFO`.
    pub(crate) fn server_info(self, section: &CStr, field: &CStr) -> Option<String> {
        // SAFETY: a live context, strings that end in zero; the data is freed below.
        unsafe {
            let data = required!(RedisModule_GetServerInfo)(self.raw, section.as_ptr());
            let value = required!(RedisModule_ServerInfoGetFieldC)(data, field.as_ptr());
            let text = (!value.is_null()).then(|| CStr::from_ptr(value).to_string_lossy().into_owned());
            required!(RedisModule_FreeServerInfo)(self.raw, data);
            text
        }
    }

    /// Returns the node's id in its cluster, which `CLUSTER RESET HARD` changes.
    pub(crate) fn cluster_id(self) -> Option<String> {
        // SAFETY: invariant 2, by `new`: nobody writes the id, which has 40 bytes and no end.
        unsafe {
            let id = required!(RedisModule_GetMyClusterID)();
            (!id.is_null()).then(|| String::from_utf8_lossy(std::slice::from_raw_parts(id.cast(), 40)).into_owned())
        }
    }

    /// Returns the secret that nodes of a cluster share, from Redis 8.0.
    pub(crate) fn internal_secret(self) -> Option<Vec<u8>> {
        let secret = probe!(RedisModule_GetInternalSecret)?;
        let mut length = 0;
        // SAFETY: a live context; the server gives a pointer and its length, or null.
        unsafe {
            let start = secret(self.raw, &mut length);
            (!start.is_null()).then(|| std::slice::from_raw_parts(start.cast(), length).to_vec())
        }
    }

    /// Tells the server what the module can stand, as bits. Servers keep those that they do not know.
    pub(crate) fn set_module_options(self, options: c_int) {
        // SAFETY: a context of OnLoad, which belongs to the module.
        unsafe { required!(RedisModule_SetModuleOptions)(self.raw, options) };
    }

    /// Adds a category to `ACL CAT`, from Redis 7.4. It outlives the module; adding it again does nothing.
    pub(crate) fn add_acl_category(self, name: &CStr) {
        if let Some(add) = probe!(RedisModule_AddACLCategory) {
            // SAFETY: a context of OnLoad.
            unsafe { add(self.raw, name.as_ptr()) };
        }
    }

    /// Calls back with the subevent when the server says that such an event has happened. Returns `false` if the server
    /// has no such event.
    pub(crate) fn subscribe<F: Fn(u64) + Copy + 'static>(self, event: u64, version: u64, _: F) -> bool {
        unsafe extern "C" fn happened<F: Fn(u64) + Copy + 'static>(
            _: *mut raw::RedisModuleCtx,
            _: raw::RedisModuleEvent,
            subevent: u64,
            _: *mut c_void,
        ) {
            guarded(|| stateless::<F>()(subevent));
        }
        self.subscribe_raw(event, version, Some(happened::<F>))
    }

    /// Calls back when a module has been loaded, or unloaded: with its name then.
    pub(crate) fn subscribe_to_modules<F: Fn(Option<&str>) + Copy + 'static>(self, _: F) -> bool {
        unsafe extern "C" fn happened<F: Fn(Option<&str>) + Copy + 'static>(
            _: *mut raw::RedisModuleCtx,
            _: raw::RedisModuleEvent,
            subevent: u64,
            data: *mut c_void,
        ) {
            let is_unloaded = subevent == raw::REDISMODULE_SUBEVENT_MODULE_UNLOADED;
            // SAFETY: invariant 6: with this event comes this structure, for the length of the call.
            let change = unsafe { data.cast::<raw::RedisModuleModuleChangeV1>().as_ref() };
            let name = change.map(|change| change.module_name).filter(|name| is_unloaded && !name.is_null());
            // SAFETY: invariant 6: a text that ends in zero.
            let gone = name.and_then(|name| unsafe { CStr::from_ptr(name) }.to_str().ok());
            guarded(|| stateless::<F>()(gone));
        }
        self.subscribe_raw(raw::REDISMODULE_EVENT_MODULE_CHANGE, 1, Some(happened::<F>))
    }

    /// Calls back with the id of each client that disconnects.
    pub(crate) fn subscribe_to_disconnections<F: Fn(u64) + Copy + 'static>(self, _: F) -> bool {
        unsafe extern "C" fn changed<F: Fn(u64) + Copy + 'static>(
            _: *mut raw::RedisModuleCtx,
            _: raw::RedisModuleEvent,
            subevent: u64,
            client: *mut c_void,
        ) {
            if subevent != raw::REDISMODULE_SUBEVENT_CLIENT_CHANGE_DISCONNECTED || client.is_null() {
                return;
            }
            // SAFETY: invariant 6; with this event comes a client in version 1, for as long as the callback runs.
            let id = unsafe { (*client.cast::<raw::RedisModuleClientInfo>()).id };
            guarded(|| stateless::<F>()(id));
        }
        self.subscribe_raw(raw::REDISMODULE_EVENT_CLIENT_CHANGE, 1, Some(changed::<F>))
    }

    /// Has the server call a function on an event, or none from now on.
    pub(super) fn subscribe_raw(self, event: u64, version: u64, callback: raw::RedisModuleEventCallback) -> bool {
        let event = raw::RedisModuleEvent { id: event, dataver: version };
        // SAFETY: invariants 1, 2 and 5.
        let status = unsafe { required!(RedisModule_SubscribeToServerEvent)(self.raw, event, callback) };
        status == raw::REDISMODULE_OK as c_int
    }

    /// Has the server leave an argument of the running command out of its logs; the name is at 0, and stays.
    pub(crate) fn redact(self, position: usize) {
        if let Ok(position) = c_int::try_from(position) {
            // SAFETY: invariant 1, by `new`; the server looks whether there is such an argument, and keeps what it hides
            // for the command.
            unsafe { required!(RedisModule_RedactClientCommandArgument)(self.raw, position) };
        }
    }

    /// Writes a line into the server's log.
    pub(crate) fn log(self, level: &CStr, text: &str) {
        // SAFETY: invariant 1, by `new`.
        unsafe { log(self.raw, level, text) };
    }
}

/// Writes a line into the server's log, from any thread.
///
/// # Safety
/// Invariant 1 holds for the context.
pub(super) unsafe fn log(ctx: *mut raw::RedisModuleCtx, level: &CStr, text: &str) {
    let text = CString::new(text.replace('\0', " ")).unwrap_or_default();
    // SAFETY: as the caller says, and invariant 6; the text is an argument of the format, not the format.
    unsafe { required!(RedisModule_Log)(ctx, level.as_ptr(), c"%s".as_ptr(), text.as_ptr()) };
}

/// Tells whether the client of this id has subscribed to channels.
pub(crate) fn is_subscribed(id: u64) -> bool {
    client_flags(id).is_some_and(|flags| flags & u64::from(raw::REDISMODULE_CLIENTINFO_FLAG_PUBSUB) != 0)
}

/// Returns the flags that the server gives a client; `None` for what has no connection.
pub(super) fn client_flags(id: u64) -> Option<u64> {
    let version = u64::from(raw::REDISMODULE_CLIENTINFO_VERSION);
    let mut info = raw::RedisModuleClientInfo { version, flags: 0, id: 0, addr: [0; 46], port: 0, db: 0 };
    // SAFETY: a structure of the version that it says it is.
    let status = unsafe { required!(RedisModule_GetClientInfoById)((&raw mut info).cast::<c_void>(), id) };
    (status == raw::REDISMODULE_OK as c_int).then_some(info.flags)
}

/// Returns the server's version: a byte each for the major, minor and patch number.
pub(crate) fn server_version() -> u32 {
    // SAFETY: takes nothing, and only reads.
    probe!(RedisModule_GetServerVersion).map_or(0, |version| unsafe { version() } as u32)
}

/// Tells whether writes must wait: a failover is under way, or `CLIENT PAUSE`.
pub(crate) fn writes_are_paused() -> bool {
    thread::debug_assert_locked();
    // SAFETY: no arguments.
    unsafe { required!(RedisModule_AvoidReplicaTraffic)() != 0 }
}

/// Returns how much of `maxmemory` is in use: more than 1 if there is too much, 0 where there is no limit.
pub(crate) fn used_memory_ratio() -> f32 {
    thread::debug_assert_locked();
    // SAFETY: no arguments.
    unsafe { required!(RedisModule_GetUsedMemoryRatio)() }
}

/// Returns the name of the user that a client is; `None` if there is no such client, or it is nobody in particular.
pub(super) fn client_user_name(ctx: Ctx<'_>, id: u64) -> Option<OwnedString> {
    // SAFETY: a live context; the name is ours to free.
    unsafe { OwnedString::from_raw(required!(RedisModule_GetClientUserNameById)(ctx.raw, id)) }
}

/// Returns the name that a client has given itself, from Redis 7.0.3.
pub(super) fn client_name(ctx: Ctx<'_>, id: u64) -> Option<OwnedString> {
    let name = probe!(RedisModule_GetClientNameById)?;
    // SAFETY: a live context; the name is ours to free.
    unsafe { OwnedString::from_raw(name(ctx.raw, id)) }
}

/// Returns the file that this code was loaded from, under the name by which it was mapped.
pub(crate) fn own_file() -> Option<Vec<u8>> {
    let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: an address within this file; of what is written there only the name is read, which lives as long as the
    // file is loaded.
    unsafe {
        if libc::dladdr(own_file as *const c_void, info.as_mut_ptr()) == 0 {
            return None;
        }
        let name = info.assume_init().dli_fname;
        (!name.is_null()).then(|| CStr::from_ptr(name).to_bytes().to_vec())
    }
}

/// The context that a reply goes to: that of a command, or that of a blocked client. The latter may be used from any
/// one thread, without the server's lock.
#[derive(Clone, Copy)]
pub(crate) struct ReplyTo<'a> {
    raw: *mut raw::RedisModuleCtx,
    of: PhantomData<&'a ()>,
}

impl ReplyTo<'_> {
    /// Wraps a context that may be replied to.
    ///
    /// # Safety
    /// Invariant 1 holds for the context, for `'a`; and so does invariant 2, unless it is that of a blocked client.
    pub(super) unsafe fn new(raw: *mut raw::RedisModuleCtx) -> Self {
        Self { raw, of: PhantomData }
    }
}

macro_rules! reply_calls {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) = $function:ident($($value:expr),*);)*) => {
        impl ReplyTo<'_> {
            $($(#[$doc])* pub(crate) fn $name(self $(, $arg: $type)*) {
                callback::note_answer();
                // SAFETY: invariant 1, by `new`, and invariant 6.
                unsafe { required!($function)(self.raw $(, $value)*) };
            })*
        }
    };
}

reply_calls! {
    null() = RedisModule_ReplyWithNull();
    null_array() = RedisModule_ReplyWithNullArray();
    integer(value: i64) = RedisModule_ReplyWithLongLong(value as c_longlong);
    double(value: f64) = RedisModule_ReplyWithDouble(value);
    boolean(value: bool) = RedisModule_ReplyWithBool(c_int::from(value));
    simple(text: &CStr) = RedisModule_ReplyWithSimpleString(text.as_ptr());
    /// The text carries no `-` in front.
    error(text: &CStr) = RedisModule_ReplyWithError(text.as_ptr());
    bulk(bytes: &[u8]) = RedisModule_ReplyWithStringBuffer(bytes.as_ptr().cast::<c_char>(), bytes.len());
    big_number(digits: &[u8]) = RedisModule_ReplyWithBigNumber(digits.as_ptr().cast::<c_char>(), digits.len());
    verbatim(text: &[u8], format: &CStr) =
        RedisModule_ReplyWithVerbatimStringType(text.as_ptr().cast::<c_char>(), text.len(), format.as_ptr());
    array(length: usize) = RedisModule_ReplyWithArray(length as _);
    set(length: usize) = RedisModule_ReplyWithSet(length as _);
    map(length: usize) = RedisModule_ReplyWithMap(length as _);
    attribute(length: usize) = RedisModule_ReplyWithAttribute(length as _);
}
