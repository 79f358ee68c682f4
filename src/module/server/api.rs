//! The server's module API, as far as rmr uses it: one small safe function for each call.
//!
//! Functions that every supported server has (7.0.15 up) are called through [`required!`]; newer ones are probed for,
//! and absent ones give `None`. Everything here is for the main thread unless it says otherwise. Running commands is in
//! [`call`](super::call), users are in [`user`](super::user).

use std::ffi::{CStr, CString, c_char, c_int, c_longlong, c_void};
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use redis_module::raw;

/// The pointer to an API function, if the server has it.
macro_rules! probe {
    ($name:ident) => {{
        let pointer = &raw const redis_module::raw::$name;
        // SAFETY: written once by the server's loader, before any of our code runs.
        #[allow(unused_unsafe, reason = "it also stands within unsafe blocks")]
        let function = unsafe { *pointer };
        function
    }};
}
pub(crate) use probe;

/// The pointer to an API function that every supported server has; `register` refuses to load without them.
macro_rules! required {
    ($name:ident) => {
        $crate::module::server::api::probe!($name).expect(concat!(stringify!($name), " is missing"))
    };
}
pub(crate) use required;

/// The functions without which nothing works; the name of one that this server lacks.
pub(crate) fn missing() -> Option<&'static str> {
    macro_rules! first_missing {
        ($($name:ident),* $(,)?) => {
            [$((stringify!($name), probe!($name).is_some())),*].into_iter().find(|(_, is_there)| !is_there)
        };
    }
    first_missing!(
        RedisModule_SetCommandInfo,
        RedisModule_EventLoopAdd,
        RedisModule_EventLoopAddOneShot,
        RedisModule_RegisterStringConfig,
        RedisModule_ACLCheckCommandPermissions,
        RedisModule_GetCommandKeysWithFlags,
        RedisModule_GetClientUserNameById,
        RedisModule_SetDisconnectCallback,
        RedisModule_GetDetachedThreadSafeContext,
        RedisModule_ReplyWithMap,
    )
    .map(|(name, _)| name)
}

/// A pointer to a context of the server. It is only as good as the callback it was given to.
#[derive(Clone, Copy)]
pub(crate) struct Ctx(pub(crate) *mut raw::RedisModuleCtx);

/// A string that the server made for us; freed with this.
pub(crate) struct OwnedString(NonNull<raw::RedisModuleString>);

impl OwnedString {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let create = required!(RedisModule_CreateString);
        // SAFETY: pointer and length are those of one slice; no context means that the string is ours to free.
        let string = unsafe { create(ptr::null_mut(), bytes.as_ptr().cast(), bytes.len()) };
        Self(NonNull::new(string).expect("the server is out of memory"))
    }

    pub(crate) fn from_raw(string: *mut raw::RedisModuleString) -> Option<Self> {
        NonNull::new(string).map(Self)
    }

    pub(crate) fn as_ptr(&self) -> *mut raw::RedisModuleString {
        self.0.as_ptr()
    }

    /// Hands the string over to the server.
    pub(crate) fn into_raw(self) -> *mut raw::RedisModuleString {
        std::mem::ManuallyDrop::new(self).as_ptr()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the string lives as long as `self`.
        unsafe { string_bytes(self.0.as_ptr()) }
    }
}

impl Drop for OwnedString {
    fn drop(&mut self) {
        // SAFETY: made without a context, or handed to us to free.
        unsafe { required!(RedisModule_FreeString)(ptr::null_mut(), self.0.as_ptr()) };
    }
}

/// The bytes of a server's string.
///
/// # Safety
/// `string` is a live string, and stays one for `'a`.
pub(crate) unsafe fn string_bytes<'a>(string: *mut raw::RedisModuleString) -> &'a [u8] {
    let mut length = 0;
    // SAFETY: the caller says that the string is live; the server gives a pointer and its length.
    unsafe {
        let start = required!(RedisModule_StringPtrLen)(string, &mut length);
        std::slice::from_raw_parts(start.cast(), length)
    }
}

/// What a command's context says about where it runs.
#[derive(Clone, Copy)]
pub(crate) struct Flags(u32);

impl Flags {
    /// The caller must be answered before the command returns: `MULTI`, scripts, calls from other modules.
    pub(crate) fn deny_blocking(self) -> bool {
        let denying = raw::REDISMODULE_CTX_FLAGS_DENY_BLOCKING
            | raw::REDISMODULE_CTX_FLAGS_MULTI
            | raw::REDISMODULE_CTX_FLAGS_LUA
            | raw::REDISMODULE_CTX_FLAGS_REPLICATED
            | raw::REDISMODULE_CTX_FLAGS_LOADING;
        self.0 & denying != 0
    }

    pub(crate) fn is_script(self) -> bool {
        self.0 & raw::REDISMODULE_CTX_FLAGS_LUA != 0
    }

    /// The server is in the middle of a script, or of loading its data.
    pub(crate) fn is_busy(self) -> bool {
        let busy = raw::REDISMODULE_CTX_FLAGS_LUA
            | raw::REDISMODULE_CTX_FLAGS_LOADING
            | raw::REDISMODULE_CTX_FLAGS_ASYNC_LOADING;
        self.0 & busy != 0
    }

    pub(crate) fn is_cluster(self) -> bool {
        self.0 & raw::REDISMODULE_CTX_FLAGS_CLUSTER != 0
    }

    pub(crate) fn is_read_only_replica(self) -> bool {
        let both = raw::REDISMODULE_CTX_FLAGS_SLAVE | raw::REDISMODULE_CTX_FLAGS_READONLY;
        self.0 & both == both
    }

    pub(crate) fn is_primary(self) -> bool {
        self.0 & raw::REDISMODULE_CTX_FLAGS_MASTER != 0
    }

    pub(crate) fn is_resp3(self) -> bool {
        self.0 & raw::REDISMODULE_CTX_FLAGS_RESP3 != 0
    }
}

impl Ctx {
    pub(crate) fn flags(self) -> Flags {
        // SAFETY: a live context.
        Flags(unsafe { required!(RedisModule_GetContextFlags)(self.0) } as u32)
    }

    pub(crate) fn selected_database(self) -> i32 {
        // SAFETY: a live context.
        unsafe { required!(RedisModule_GetSelectedDb)(self.0) }
    }

    /// `false` if the server has no such database, and the selected one is as before.
    pub(crate) fn select_database(self, database: i32) -> bool {
        // SAFETY: a live context.
        unsafe { required!(RedisModule_SelectDb)(self.0, database) == raw::REDISMODULE_OK as c_int }
    }

    /// The client that the command of this context runs on.
    pub(crate) fn client_id(self) -> u64 {
        // SAFETY: a live context.
        unsafe { required!(RedisModule_GetClientId)(self.0) }
    }

    /// The user who calls. `Ok(None)`: nobody in particular, as on the links of the server itself.
    pub(crate) fn user_name(self) -> Option<Vec<u8>> {
        if let Some(name) = client_user_name(self, self.client_id()) {
            return Some(name.bytes().to_vec());
        }
        // No client of that id: a script, or a call from another module. Both run on a client of their own, which may
        // have no user, and asking that one for its name crashes the server. A call checked as the user fails with
        // this errno where there is none, and otherwise with another or not at all.
        errno::set_errno(errno::Errno(0));
        // SAFETY: a live context, a command without arguments.
        let reply = unsafe { required!(RedisModule_Call)(self.0, c"PING".as_ptr(), c"C".as_ptr()) };
        let has_user = !reply.is_null() || errno::errno().0 != libc::ENOTSUP;
        if !reply.is_null() {
            // SAFETY: the reply is ours.
            unsafe { required!(RedisModule_FreeCallReply)(reply) };
        }
        if !has_user {
            return None;
        }
        // SAFETY: the context's client has a user, as was just found out; the name is ours to free.
        let name = OwnedString::from_raw(unsafe { required!(RedisModule_GetCurrentUserName)(self.0) });
        name.map(|name| name.bytes().to_vec())
    }

    /// One field of the server's `INFO`.
    pub(crate) fn server_info(self, section: &CStr, field: &CStr) -> Option<String> {
        // SAFETY: a live context, strings that end in zero; the data is freed below.
        unsafe {
            let data = required!(RedisModule_GetServerInfo)(self.0, section.as_ptr());
            let value = required!(RedisModule_ServerInfoGetFieldC)(data, field.as_ptr());
            let text = (!value.is_null()).then(|| CStr::from_ptr(value).to_string_lossy().into_owned());
            required!(RedisModule_FreeServerInfo)(self.0, data);
            text
        }
    }

    /// The node's id in its cluster.
    pub(crate) fn cluster_id(self) -> Option<String> {
        // SAFETY: the id has 40 bytes and no end.
        unsafe {
            let id = required!(RedisModule_GetMyClusterID)();
            (!id.is_null()).then(|| String::from_utf8_lossy(std::slice::from_raw_parts(id.cast(), 40)).into_owned())
        }
    }

    /// The secret that nodes of a cluster share, from Redis 8.0.
    pub(crate) fn internal_secret(self) -> Option<Vec<u8>> {
        let secret = probe!(RedisModule_GetInternalSecret)?;
        let mut length = 0;
        // SAFETY: a live context; the server gives a pointer and its length, or null.
        unsafe {
            let start = secret(self.0, &mut length);
            (!start.is_null()).then(|| std::slice::from_raw_parts(start.cast(), length).to_vec())
        }
    }

    pub(crate) fn create_command(self, name: &CStr, callback: Callback, flags: &CStr) -> Option<Command> {
        // SAFETY: a context of OnLoad; the callback lives until the module is unloaded.
        unsafe {
            let create = required!(RedisModule_CreateCommand);
            if create(self.0, name.as_ptr(), Some(callback), flags.as_ptr(), 0, 0, 0) != raw::REDISMODULE_OK as c_int {
                return None;
            }
            NonNull::new(required!(RedisModule_GetCommand)(self.0, name.as_ptr())).map(Command)
        }
    }

    /// Adds a category to `ACL CAT`, from Redis 7.4. It outlives the module; adding it again does nothing.
    pub(crate) fn add_acl_category(self, name: &CStr) {
        if let Some(add) = probe!(RedisModule_AddACLCategory) {
            // SAFETY: a context of OnLoad.
            unsafe { add(self.0, name.as_ptr()) };
        }
    }

    /// Calls back when the server says that such an event has happened. `false` if the server has no such event.
    pub(crate) fn subscribe(self, event: u64, version: u64, callback: EventCallback) -> bool {
        let event = raw::RedisModuleEvent { id: event, dataver: version };
        // SAFETY: a context of OnLoad; the callback lives until the module is unloaded.
        let status = unsafe { required!(RedisModule_SubscribeToServerEvent)(self.0, event, Some(callback)) };
        status == raw::REDISMODULE_OK as c_int
    }

    /// Ends a subscription to such events.
    pub(crate) fn unsubscribe(self, event: u64, version: u64) {
        let event = raw::RedisModuleEvent { id: event, dataver: version };
        // SAFETY: a context of this module. Without a callback it ends a subscription, if there is one.
        unsafe { required!(RedisModule_SubscribeToServerEvent)(self.0, event, None) };
    }

    pub(crate) fn log(self, level: &CStr, text: &str) {
        let text = CString::new(text.replace('\0', " ")).unwrap_or_default();
        // SAFETY: strings that end in zero; the text is an argument of the format, not the format.
        unsafe { required!(RedisModule_Log)(self.0, level.as_ptr(), c"%s".as_ptr(), text.as_ptr()) };
    }

    /// Calls back in this round of the event loop, or in the next.
    pub(crate) fn create_timer(self, callback: unsafe extern "C" fn(*mut raw::RedisModuleCtx, *mut c_void)) {
        // SAFETY: a live context; a module with timers is not unloaded.
        unsafe { required!(RedisModule_CreateTimer)(self.0, 0, Some(callback), ptr::null_mut()) };
    }

    /// A context that belongs to no client, for use until the module is unloaded.
    pub(crate) fn detached(self) -> Self {
        // SAFETY: a context of OnLoad.
        Self(unsafe { required!(RedisModule_GetDetachedThreadSafeContext)(self.0) })
    }

    /// Frees what [`detached`](Self::detached) made.
    pub(crate) fn free_detached(self) {
        // SAFETY: on the main thread, with nobody left who uses it.
        unsafe { required!(RedisModule_FreeThreadSafeContext)(self.0) };
    }
}

/// The server's version: a byte each for the major, minor and patch number.
pub(crate) fn server_version() -> u32 {
    // SAFETY: takes nothing, and only reads.
    probe!(RedisModule_GetServerVersion).map_or(0, |version| unsafe { version() } as u32)
}

pub(crate) type Callback =
    unsafe extern "C" fn(*mut raw::RedisModuleCtx, *mut *mut raw::RedisModuleString, c_int) -> c_int;
pub(crate) type EventCallback = unsafe extern "C" fn(*mut raw::RedisModuleCtx, raw::RedisModuleEvent, u64, *mut c_void);

/// A command of ours, while the module is being loaded.
pub(crate) struct Command(NonNull<raw::RedisModuleCommand>);

impl Command {
    pub(crate) fn set_info(&self, info: &raw::RedisModuleCommandInfo) -> bool {
        // SAFETY: a live command; the server copies what the description points to.
        unsafe { required!(RedisModule_SetCommandInfo)(self.0.as_ptr(), info) == raw::REDISMODULE_OK as c_int }
    }

    /// Puts the command into ACL categories, from Redis 7.2. `false` if the server knows one of them not.
    pub(crate) fn set_acl_categories(&self, categories: &CStr) -> bool {
        // SAFETY: a live command.
        probe!(RedisModule_SetCommandACLCategories)
            .is_some_and(|set| unsafe { set(self.0.as_ptr(), categories.as_ptr()) } == raw::REDISMODULE_OK as c_int)
    }
}

/// Calls back on the main thread, from its event loop. `false` if the server cannot. From any thread.
pub(crate) fn add_one_shot(callback: unsafe extern "C" fn(*mut c_void)) -> bool {
    // SAFETY: the server guards its list of callbacks.
    unsafe {
        required!(RedisModule_EventLoopAddOneShot)(Some(callback), ptr::null_mut()) == raw::REDISMODULE_OK as c_int
    }
}

/// Calls back whenever the descriptor has something to be read, until [`unwatch`]. `false` if the event loop does not take
/// it, as it is too high a number.
pub(crate) fn watch(descriptor: c_int, callback: unsafe extern "C" fn(c_int, *mut c_void, c_int)) -> bool {
    let add = required!(RedisModule_EventLoopAdd);
    let readable = raw::REDISMODULE_EVENTLOOP_READABLE as c_int;
    // SAFETY: the callback lives until the module is unloaded, before which all descriptors are unwatched.
    unsafe { add(descriptor, readable, Some(callback), ptr::null_mut()) == raw::REDISMODULE_OK as c_int }
}

/// Ends what [`watch`] began; before the descriptor is closed.
pub(crate) fn unwatch(descriptor: c_int) {
    // SAFETY: a descriptor that the event loop does not know is passed over.
    unsafe { required!(RedisModule_EventLoopDel)(descriptor, raw::REDISMODULE_EVENTLOOP_READABLE as c_int) };
}

/// Whether writes must wait: a failover is under way, or `CLIENT PAUSE`.
pub(crate) fn writes_are_paused() -> bool {
    // SAFETY: no arguments.
    unsafe { required!(RedisModule_AvoidReplicaTraffic)() != 0 }
}

/// The name of the user that a client is; `None` if there is no such client, or it is nobody in particular.
pub(crate) fn client_user_name(ctx: Ctx, id: u64) -> Option<OwnedString> {
    // SAFETY: a live context; the name is ours to free.
    OwnedString::from_raw(unsafe { required!(RedisModule_GetClientUserNameById)(ctx.0, id) })
}

/// The name that a client has given itself, from Redis 7.0.3.
pub(crate) fn client_name(ctx: Ctx, id: u64) -> Option<OwnedString> {
    let name = probe!(RedisModule_GetClientNameById)?;
    // SAFETY: a live context; the name is ours to free.
    OwnedString::from_raw(unsafe { name(ctx.0, id) })
}

/// The file that this code was loaded from, as it was called when it was mapped.
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

/// Where a reply goes: the context of a command, or that of a blocked client. The latter may be used from any one
/// thread, without the server's lock.
#[derive(Clone, Copy)]
pub(crate) struct ReplyTo(pub(crate) *mut raw::RedisModuleCtx);

macro_rules! reply_calls {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) = $function:ident($($value:expr),*);)*) => {
        impl ReplyTo {
            $($(#[$doc])* pub(crate) fn $name(self $(, $arg: $type)*) {
                // SAFETY: a context that may be replied to; pointers and lengths are those of live slices.
                unsafe { required!($function)(self.0 $(, $value)*) };
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
