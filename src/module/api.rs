//! The server's module API, as far as rmr uses it: one small safe function for each call.
//!
//! Functions that every supported server has (7.0.15 up) are called through [`required!`]; newer ones are probed for,
//! and absent ones give `None`. Everything here is for the main thread unless it says otherwise.

use std::ffi::{CStr, CString, c_char, c_int, c_longlong, c_void};
use std::ptr::{self, NonNull};

use bytes::{BufMut, BytesMut};
use redis_module::raw;

use crate::link::Protocol;

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
pub(super) use probe;

/// The pointer to an API function that every supported server has; `register` refuses to load without them.
macro_rules! required {
    ($name:ident) => {
        $crate::module::api::probe!($name).expect(concat!(stringify!($name), " is missing"))
    };
}
pub(super) use required;

/// The functions without which nothing works; the name of one that this server lacks.
pub(super) fn missing() -> Option<&'static str> {
    macro_rules! first_missing {
        ($($name:ident),* $(,)?) => {
            [$((stringify!($name), probe!($name).is_some())),*].into_iter().find(|(_, is_there)| !is_there)
        };
    }
    first_missing!(
        RedisModule_SetCommandInfo,
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
pub(super) struct Ctx(pub(super) *mut raw::RedisModuleCtx);

/// A string that the server made for us; freed with this.
pub(super) struct OwnedString(NonNull<raw::RedisModuleString>);

impl OwnedString {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let create = required!(RedisModule_CreateString);
        // SAFETY: pointer and length are those of one slice; no context means that the string is ours to free.
        let string = unsafe { create(ptr::null_mut(), bytes.as_ptr().cast(), bytes.len()) };
        Self(NonNull::new(string).expect("the server is out of memory"))
    }

    fn from_raw(string: *mut raw::RedisModuleString) -> Option<Self> {
        NonNull::new(string).map(Self)
    }

    pub(super) fn as_ptr(&self) -> *mut raw::RedisModuleString {
        self.0.as_ptr()
    }

    /// Hands the string over to the server.
    pub(super) fn into_raw(self) -> *mut raw::RedisModuleString {
        std::mem::ManuallyDrop::new(self).as_ptr()
    }

    pub(super) fn bytes(&self) -> &[u8] {
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
pub(super) unsafe fn string_bytes<'a>(string: *mut raw::RedisModuleString) -> &'a [u8] {
    let mut length = 0;
    // SAFETY: the caller says that the string is live; the server gives a pointer and its length.
    unsafe {
        let start = required!(RedisModule_StringPtrLen)(string, &mut length);
        std::slice::from_raw_parts(start.cast(), length)
    }
}

/// What a command's context says about where it runs.
#[derive(Clone, Copy)]
pub(super) struct Flags(u32);

impl Flags {
    /// The caller must be answered before the command returns: `MULTI`, scripts, calls from other modules.
    pub(super) fn deny_blocking(self) -> bool {
        let denying = raw::REDISMODULE_CTX_FLAGS_DENY_BLOCKING
            | raw::REDISMODULE_CTX_FLAGS_MULTI
            | raw::REDISMODULE_CTX_FLAGS_LUA
            | raw::REDISMODULE_CTX_FLAGS_REPLICATED
            | raw::REDISMODULE_CTX_FLAGS_LOADING;
        self.0 & denying != 0
    }

    pub(super) fn is_script(self) -> bool {
        self.0 & raw::REDISMODULE_CTX_FLAGS_LUA != 0
    }

    /// The server is in the middle of a script, or of loading its data.
    pub(super) fn is_busy(self) -> bool {
        let busy = raw::REDISMODULE_CTX_FLAGS_LUA
            | raw::REDISMODULE_CTX_FLAGS_LOADING
            | raw::REDISMODULE_CTX_FLAGS_ASYNC_LOADING;
        self.0 & busy != 0
    }

    pub(super) fn is_cluster(self) -> bool {
        self.0 & raw::REDISMODULE_CTX_FLAGS_CLUSTER != 0
    }

    pub(super) fn is_read_only_replica(self) -> bool {
        let both = raw::REDISMODULE_CTX_FLAGS_SLAVE | raw::REDISMODULE_CTX_FLAGS_READONLY;
        self.0 & both == both
    }

    pub(super) fn is_resp3(self) -> bool {
        self.0 & raw::REDISMODULE_CTX_FLAGS_RESP3 != 0
    }
}

impl Ctx {
    pub(super) fn flags(self) -> Flags {
        // SAFETY: a live context.
        Flags(unsafe { required!(RedisModule_GetContextFlags)(self.0) } as u32)
    }

    pub(super) fn selected_database(self) -> i32 {
        // SAFETY: a live context.
        unsafe { required!(RedisModule_GetSelectedDb)(self.0) }
    }

    /// `false` if the server has no such database, and the selected one is as before.
    pub(super) fn select_database(self, database: i32) -> bool {
        // SAFETY: a live context.
        unsafe { required!(RedisModule_SelectDb)(self.0, database) == raw::REDISMODULE_OK as c_int }
    }

    /// The client that the command of this context runs on.
    pub(super) fn client_id(self) -> u64 {
        // SAFETY: a live context.
        unsafe { required!(RedisModule_GetClientId)(self.0) }
    }

    /// The user who calls. `Ok(None)`: nobody in particular, as on the links of the server itself.
    pub(super) fn user_name(self) -> Option<Vec<u8>> {
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
    pub(super) fn server_info(self, section: &CStr, field: &CStr) -> Option<String> {
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
    pub(super) fn cluster_id(self) -> Option<String> {
        // SAFETY: the id has 40 bytes and no end.
        unsafe {
            let id = required!(RedisModule_GetMyClusterID)();
            (!id.is_null()).then(|| String::from_utf8_lossy(std::slice::from_raw_parts(id.cast(), 40)).into_owned())
        }
    }

    /// The secret that nodes of a cluster share, from Redis 8.0.
    pub(super) fn internal_secret(self) -> Option<Vec<u8>> {
        let secret = probe!(RedisModule_GetInternalSecret)?;
        let mut length = 0;
        // SAFETY: a live context; the server gives a pointer and its length, or null.
        unsafe {
            let start = secret(self.0, &mut length);
            (!start.is_null()).then(|| std::slice::from_raw_parts(start.cast(), length).to_vec())
        }
    }

    pub(super) fn create_command(self, name: &CStr, callback: Callback, flags: &CStr) -> Option<Command> {
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
    pub(super) fn add_acl_category(self, name: &CStr) {
        if let Some(add) = probe!(RedisModule_AddACLCategory) {
            // SAFETY: a context of OnLoad.
            unsafe { add(self.0, name.as_ptr()) };
        }
    }

    /// Calls back when the server says that such an event has happened. `false` if the server has no such event.
    pub(super) fn subscribe(self, event: u64, version: u64, callback: EventCallback) -> bool {
        let event = raw::RedisModuleEvent { id: event, dataver: version };
        // SAFETY: a context of OnLoad; the callback lives until the module is unloaded.
        let status = unsafe { required!(RedisModule_SubscribeToServerEvent)(self.0, event, Some(callback)) };
        status == raw::REDISMODULE_OK as c_int
    }

    /// Ends a subscription to such events.
    pub(super) fn unsubscribe(self, event: u64, version: u64) {
        let event = raw::RedisModuleEvent { id: event, dataver: version };
        // SAFETY: a context of this module. Without a callback it ends a subscription, if there is one.
        unsafe { required!(RedisModule_SubscribeToServerEvent)(self.0, event, None) };
    }

    pub(super) fn log(self, level: &CStr, text: &str) {
        let text = CString::new(text.replace('\0', " ")).unwrap_or_default();
        // SAFETY: strings that end in zero; the text is an argument of the format, not the format.
        unsafe { required!(RedisModule_Log)(self.0, level.as_ptr(), c"%s".as_ptr(), text.as_ptr()) };
    }

    /// Calls back in this round of the event loop, or in the next.
    pub(super) fn create_timer(self, callback: unsafe extern "C" fn(*mut raw::RedisModuleCtx, *mut c_void)) {
        // SAFETY: a live context; a module with timers is not unloaded.
        unsafe { required!(RedisModule_CreateTimer)(self.0, 0, Some(callback), ptr::null_mut()) };
    }

    /// A context that belongs to no client, for use until the module is unloaded.
    pub(super) fn detached(self) -> Self {
        // SAFETY: a context of OnLoad.
        Self(unsafe { required!(RedisModule_GetDetachedThreadSafeContext)(self.0) })
    }

    /// Frees what [`detached`](Self::detached) made.
    pub(super) fn free_detached(self) {
        // SAFETY: on the main thread, with nobody left who uses it.
        unsafe { required!(RedisModule_FreeThreadSafeContext)(self.0) };
    }
}

/// Runs commands in process. What it needs for one command serves the next.
pub(super) struct Caller {
    ctx: Ctx,
    protocol: Protocol,
    name: CString,
    args: Vec<OwnedString>,
    pointers: Vec<*mut raw::RedisModuleString>,
}

impl Caller {
    pub(super) fn new(ctx: Ctx, protocol: Protocol) -> Self {
        Self { ctx, protocol, name: CString::default(), args: Vec::new(), pointers: Vec::new() }
    }

    /// Runs a command as the server itself; appends the reply to `out`.
    pub(super) fn call<'a>(&mut self, mut command: impl Iterator<Item = &'a [u8]>, out: &mut BytesMut) -> Called {
        let name = command.next().unwrap_or_default();
        if self.name.as_bytes() != name {
            let Ok(name) = CString::new(name) else {
                out.put_slice(b"-ERR unknown command: its name has a zero byte\r\n");
                return Called::Done;
            };
            self.name = name;
        }
        let first = command.next();
        let second = command.next();
        // ! replicate, 3 reply in RESP3, E errors as replies, M mind maxmemory; then b one string, or v a vector of them.
        let (one, many) = match self.protocol {
            Protocol::Resp2 => (c"!EMb", c"!EMv"),
            Protocol::Resp3 => (c"!3EMb", c"!3EMv"),
        };
        let (call, ctx, name) = (required!(RedisModule_Call), self.ctx.0, self.name.as_ptr());
        errno::set_errno(errno::Errno(0));
        let reply = match (first, second) {
            // SAFETY: the format says what follows: the bytes of one string, and how many they are.
            (Some(only), None) => unsafe { call(ctx, name, one.as_ptr(), only.as_ptr(), only.len()) },
            _ => {
                self.args.clear();
                self.args.extend(first.into_iter().chain(second).chain(command).map(OwnedString::new));
                self.pointers.clear();
                self.pointers.extend(self.args.iter().map(OwnedString::as_ptr));
                let (pointers, count) = (self.pointers.as_mut_ptr(), self.pointers.len());
                // SAFETY: the format says what follows: pointers to strings that live until the call returns, and how
                // many they are.
                unsafe { call(ctx, name, many.as_ptr(), pointers, count) }
            }
        };
        let errno = errno::errno();
        if reply.is_null() {
            out.put_slice(format!("-ERR the call failed: {errno}\r\n").as_bytes());
            return Called::Done;
        }
        // SAFETY: the reply is ours; its bytes live as long as it does.
        unsafe {
            let mut length = 0;
            let start = required!(RedisModule_CallReplyProto)(reply, &mut length);
            out.put_slice(std::slice::from_raw_parts(start.cast(), length));
            required!(RedisModule_FreeCallReply)(reply);
        }
        if matches!(errno.0, libc::EPERM | libc::ENETDOWN | libc::EROFS) { Called::NotHere } else { Called::Done }
    }
}

/// What became of a command that was run in process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Called {
    /// It ran, or was refused for what it is.
    Done,
    /// It did not run, if its error says so too: its keys are not this node's, or the cluster is down.
    NotHere,
}

pub(super) type Callback =
    unsafe extern "C" fn(*mut raw::RedisModuleCtx, *mut *mut raw::RedisModuleString, c_int) -> c_int;
pub(super) type EventCallback = unsafe extern "C" fn(*mut raw::RedisModuleCtx, raw::RedisModuleEvent, u64, *mut c_void);

/// A command of ours, while the module is being loaded.
pub(super) struct Command(NonNull<raw::RedisModuleCommand>);

impl Command {
    pub(super) fn set_info(&self, info: &raw::RedisModuleCommandInfo) -> bool {
        // SAFETY: a live command; the server copies what the description points to.
        unsafe { required!(RedisModule_SetCommandInfo)(self.0.as_ptr(), info) == raw::REDISMODULE_OK as c_int }
    }

    /// Puts the command into ACL categories, from Redis 7.2. `false` if the server knows one of them not.
    pub(super) fn set_acl_categories(&self, categories: &CStr) -> bool {
        // SAFETY: a live command.
        probe!(RedisModule_SetCommandACLCategories)
            .is_some_and(|set| unsafe { set(self.0.as_ptr(), categories.as_ptr()) } == raw::REDISMODULE_OK as c_int)
    }
}

/// Calls back on the main thread, from its event loop. `false` if the server cannot. From any thread.
pub(super) fn add_one_shot(callback: unsafe extern "C" fn(*mut c_void)) -> bool {
    // SAFETY: the server guards its list of callbacks.
    unsafe {
        required!(RedisModule_EventLoopAddOneShot)(Some(callback), ptr::null_mut()) == raw::REDISMODULE_OK as c_int
    }
}

/// Whether writes must wait: a failover is under way, or `CLIENT PAUSE`.
pub(super) fn writes_are_paused() -> bool {
    // SAFETY: no arguments.
    unsafe { required!(RedisModule_AvoidReplicaTraffic)() != 0 }
}

/// The name of the user that a client is; `None` if there is no such client, or it is nobody in particular.
pub(super) fn client_user_name(ctx: Ctx, id: u64) -> Option<OwnedString> {
    // SAFETY: a live context; the name is ours to free.
    OwnedString::from_raw(unsafe { required!(RedisModule_GetClientUserNameById)(ctx.0, id) })
}

/// The name that a client has given itself, from Redis 7.0.3.
pub(super) fn client_name(ctx: Ctx, id: u64) -> Option<OwnedString> {
    let name = probe!(RedisModule_GetClientNameById)?;
    // SAFETY: a live context; the name is ours to free.
    OwnedString::from_raw(unsafe { name(ctx.0, id) })
}

/// A user as the ACL functions want it; freed with this.
pub(super) struct User(NonNull<raw::RedisModuleUser>);

/// What the ACL says to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Permission {
    Granted,
    /// The command, or a channel that it names.
    CommandDenied,
    KeyDenied(Vec<u8>),
    /// The server does not know the command.
    UnknownCommand,
    WrongArity,
}

impl User {
    pub(super) fn named(name: &[u8]) -> Option<Self> {
        let name = OwnedString::new(name);
        // SAFETY: a live string.
        NonNull::new(unsafe { required!(RedisModule_GetModuleUserFromUserName)(name.as_ptr()) }).map(Self)
    }

    /// The user's rules as `ACL LIST` shows them, from Redis 7.0.6.
    pub(super) fn rules(&self) -> Option<Vec<u8>> {
        let rules = probe!(RedisModule_GetModuleUserACLString)?;
        // SAFETY: a live user; the string is ours to free.
        OwnedString::from_raw(unsafe { rules(self.0.as_ptr()) }).map(|rules| rules.bytes().to_vec())
    }

    /// Whether the user may read this key.
    pub(super) fn may_read(&self, key: &[u8]) -> bool {
        let key = OwnedString::new(key);
        let flags = raw::REDISMODULE_CMD_KEY_ACCESS as c_int;
        // SAFETY: a live user and string.
        let verdict = unsafe { required!(RedisModule_ACLCheckKeyPermissions)(self.0.as_ptr(), key.as_ptr(), flags) };
        verdict == raw::REDISMODULE_OK as c_int
    }

    /// Whether the user may run this command with these keys and channels; a refusal goes to `ACL LOG`.
    pub(super) fn may_run(&self, ctx: Ctx, args: &[OwnedString]) -> Permission {
        let mut pointers: Vec<_> = args.iter().map(OwnedString::as_ptr).collect();
        let count = pointers.len() as c_int;
        // Servers before March 2026 read past the arguments of a keyed command that has too few of them (redis#14843);
        // looking for its keys counts them first.
        let keys = match keys(ctx, &mut pointers) {
            Ok(keys) => keys,
            Err(refusal) => return refusal,
        };
        // SAFETY: a live user, `count` live strings.
        let verdict =
            unsafe { required!(RedisModule_ACLCheckCommandPermissions)(self.0.as_ptr(), pointers.as_mut_ptr(), count) };
        if verdict == raw::REDISMODULE_OK as c_int {
            return Permission::Granted;
        }
        let is_denied = |&&(position, flags): &&(usize, c_int)| {
            // SAFETY: a live user and string.
            let verdict =
                unsafe { required!(RedisModule_ACLCheckKeyPermissions)(self.0.as_ptr(), pointers[position], flags) };
            verdict != raw::REDISMODULE_OK as c_int
        };
        let denied_key = keys.iter().find(is_denied).map(|&(position, _)| position);
        let reason = match denied_key {
            Some(_) => raw::RedisModuleACLLogEntryReason_REDISMODULE_ACL_LOG_KEY,
            None => raw::RedisModuleACLLogEntryReason_REDISMODULE_ACL_LOG_CMD,
        };
        let object = pointers[denied_key.unwrap_or(0)];
        // SAFETY: a live context and user; the server takes a reference to the string.
        unsafe { required!(RedisModule_ACLAddLogEntry)(ctx.0, self.0.as_ptr(), object, reason) };
        denied_key.map_or(Permission::CommandDenied, |key| Permission::KeyDenied(args[key].bytes().to_vec()))
    }
}

/// Where a command's keys stand; none if the server cannot say, as with a bad count of keys.
///
/// # Safety
/// All of `args` are live strings.
pub(super) unsafe fn key_positions(ctx: Ctx, args: &[*mut raw::RedisModuleString]) -> Vec<usize> {
    let found = keys(ctx, &mut args.to_vec()).unwrap_or_default();
    found.into_iter().map(|(position, _)| position).collect()
}

/// Where a command's keys stand, each with what is done to it.
fn keys(ctx: Ctx, args: &mut [*mut raw::RedisModuleString]) -> Result<Vec<(usize, c_int)>, Permission> {
    let (mut count, mut flags) = (0, ptr::null_mut());
    errno::set_errno(errno::Errno(0));
    // SAFETY: a live context and live strings; both arrays are ours to free.
    unsafe {
        let find = required!(RedisModule_GetCommandKeysWithFlags);
        let positions = find(ctx.0, args.as_mut_ptr(), args.len() as c_int, &mut count, &mut flags);
        if positions.is_null() {
            return match errno::errno().0 {
                libc::ENOENT => Err(Permission::UnknownCommand),
                libc::EINVAL => Err(Permission::WrongArity),
                _ => Ok(Vec::new()),
            };
        }
        let count = count as usize;
        let keys = std::slice::from_raw_parts(positions, count)
            .iter()
            .zip(std::slice::from_raw_parts(flags, count))
            .map(|(&position, &flags)| (position as usize, flags))
            .collect();
        required!(RedisModule_Free)(positions.cast());
        required!(RedisModule_Free)(flags.cast());
        Ok(keys)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // SAFETY: ours, and freed once.
        unsafe { required!(RedisModule_FreeModuleUser)(self.0.as_ptr()) };
    }
}

/// Where a reply goes: the context of a command, or that of a blocked client. The latter may be used from any one
/// thread, without the server's lock.
#[derive(Clone, Copy)]
pub(super) struct ReplyTo(pub(super) *mut raw::RedisModuleCtx);

macro_rules! reply_calls {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) = $function:ident($($value:expr),*);)*) => {
        impl ReplyTo {
            $($(#[$doc])* pub(super) fn $name(self $(, $arg: $type)*) {
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
