//! Registering commands, with what `COMMAND INFO` and `COMMAND DOCS` say about them.

use std::ffi::{CStr, CString, c_int};
use std::ptr::{self, NonNull};

use redis_module::raw;

use super::api::{probe, required};
use super::argv::Argv;
use super::callback::{ends_unanswered, stateless};
use super::context::Ctx;

/// A command of ours, while the module is being loaded.
pub(crate) struct RegisteredCommand(NonNull<raw::RedisModuleCommand>);

/// The description of a command for the server.
pub(crate) struct CommandDocs {
    pub(crate) summary: &'static CStr,
    pub(crate) complexity: &'static CStr,
    /// The number of words as in `COMMAND INFO`: negative for "at least".
    pub(crate) arity: c_int,
    pub(crate) args: &'static [Arg],
}

/// An argument as `COMMAND DOCS` shows it.
#[derive(Clone, Copy)]
pub(crate) struct Arg {
    name: &'static CStr,
    kind: ArgKind,
    token: Option<&'static CStr>,
    flags: u32,
    of: &'static [Arg],
}

#[derive(Clone, Copy)]
pub(crate) enum ArgKind {
    String,
    Integer,
    Token,
    OneOf,
    Block,
}

impl Arg {
    pub(crate) const fn new(name: &'static CStr, kind: ArgKind) -> Self {
        Self { name, kind, token: None, flags: raw::REDISMODULE_CMD_ARG_NONE, of: &[] }
    }

    /// Makes a word that stands for itself.
    pub(crate) const fn word(name: &'static CStr, token: &'static CStr) -> Self {
        Self { token: Some(token), ..Self::new(name, ArgKind::Token) }
    }

    pub(crate) const fn one_of(name: &'static CStr, of: &'static [Arg]) -> Self {
        Self { of, ..Self::new(name, ArgKind::OneOf) }
    }

    /// Arguments that come together.
    pub(crate) const fn block(name: &'static CStr, of: &'static [Arg]) -> Self {
        Self { of, ..Self::new(name, ArgKind::Block) }
    }

    pub(crate) const fn after(self, token: &'static CStr) -> Self {
        Self { token: Some(token), ..self }
    }

    pub(crate) const fn optional(self) -> Self {
        Self { flags: self.flags | raw::REDISMODULE_CMD_ARG_OPTIONAL, ..self }
    }

    pub(crate) const fn multiple(self) -> Self {
        Self { flags: self.flags | raw::REDISMODULE_CMD_ARG_MULTIPLE, ..self }
    }

    pub(crate) const fn multiple_with_token(self) -> Self {
        Self { flags: self.flags | raw::REDISMODULE_CMD_ARG_MULTIPLE_TOKEN, ..self.multiple() }
    }

    /// Returns the argument as the server takes it. Nested lists are put into `lists`, where they must stay until it has.
    fn to_raw(self, lists: &mut Vec<Box<[raw::RedisModuleCommandArg]>>) -> raw::RedisModuleCommandArg {
        let kind = match self.kind {
            ArgKind::String => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_STRING,
            ArgKind::Integer => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_INTEGER,
            ArgKind::Token => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_PURE_TOKEN,
            ArgKind::Block => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_BLOCK,
            ArgKind::OneOf => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_ONEOF,
        };
        raw::RedisModuleCommandArg {
            name: self.name.as_ptr(),
            type_: kind,
            key_spec_index: -1,
            token: self.token.map_or(ptr::null(), CStr::as_ptr),
            flags: self.flags as c_int,
            subargs: if self.of.is_empty() { ptr::null_mut() } else { to_raw_list(self.of, lists) },
            ..END_OF_LIST
        }
    }
}

const END_OF_LIST: raw::RedisModuleCommandArg = raw::RedisModuleCommandArg {
    name: ptr::null(),
    type_: raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_STRING,
    key_spec_index: 0,
    token: ptr::null(),
    summary: ptr::null(),
    since: ptr::null(),
    flags: 0,
    deprecated_since: ptr::null(),
    subargs: ptr::null_mut(),
    display_text: ptr::null(),
};

/// Returns a list of arguments that ends in one without a name.
fn to_raw_list(
    args: &'static [Arg],
    lists: &mut Vec<Box<[raw::RedisModuleCommandArg]>>,
) -> *mut raw::RedisModuleCommandArg {
    let mut list: Box<[_]> = args.iter().map(|arg| arg.to_raw(lists)).chain([END_OF_LIST]).collect();
    let start = list.as_mut_ptr();
    lists.push(list);
    start
}

/// The layout of the structures below. The server's header defines it as a static, which has no symbol to link with.
const INFO_VERSION: raw::RedisModuleCommandInfoVersion = raw::RedisModuleCommandInfoVersion {
    version: 1,
    sizeof_historyentry: size_of::<raw::RedisModuleCommandHistoryEntry>(),
    sizeof_keyspec: size_of::<raw::RedisModuleCommandKeySpec>(),
    sizeof_arg: size_of::<raw::RedisModuleCommandArg>(),
};

impl RegisteredCommand {
    /// Registers a command, which calls `run` with its arguments, the name included. `None` if the server refuses it.
    pub(crate) fn create<F>(ctx: Ctx<'_>, name: &CStr, flags: &CStr, _: F) -> Option<Self>
    where
        F: Fn(Ctx<'_>, Argv<'_>) + Copy + 'static,
    {
        unsafe extern "C" fn called<F: Fn(Ctx<'_>, Argv<'_>) + Copy + 'static>(
            ctx: *mut raw::RedisModuleCtx,
            argv: *mut *mut raw::RedisModuleString,
            argc: c_int,
        ) -> c_int {
            // SAFETY: invariants 1 to 3: the server's own context and arguments, for the length of this call.
            let (ctx, argv) = unsafe { (Ctx::new(ctx), Argv::new(argv, argc)) };
            if ends_unanswered(|| stateless::<F>()(ctx, argv)) {
                ctx.reply_to().error(c"ERR internal error: the command panicked; see the server's log");
            }
            raw::REDISMODULE_OK as c_int
        }
        // SAFETY: invariants 1, 2, 5 and 6.
        unsafe {
            let create = required!(RedisModule_CreateCommand);
            let status = create(ctx.as_ptr(), name.as_ptr(), Some(called::<F>), flags.as_ptr(), 0, 0, 0);
            if status != raw::REDISMODULE_OK as c_int {
                return None;
            }
            NonNull::new(required!(RedisModule_GetCommand)(ctx.as_ptr(), name.as_ptr())).map(Self)
        }
    }

    /// Tells the server about the command. Returns `false` if it refuses that.
    pub(crate) fn describe(&self, docs: &CommandDocs) -> bool {
        let mut lists = Vec::new();
        let info = raw::RedisModuleCommandInfo {
            version: &INFO_VERSION,
            summary: docs.summary.as_ptr(),
            complexity: docs.complexity.as_ptr(),
            since: c"0.1.0".as_ptr(),
            history: ptr::null_mut(),
            tips: c"nondeterministic_output".as_ptr(),
            arity: docs.arity,
            key_specs: ptr::null_mut(),
            args: if docs.args.is_empty() { ptr::null_mut() } else { to_raw_list(docs.args, &mut lists) },
        };
        // SAFETY: a command that was just registered, and invariant 6; the server copies what the description points to,
        // and `lists` lives until then.
        unsafe { required!(RedisModule_SetCommandInfo)(self.0.as_ptr(), &info) == raw::REDISMODULE_OK as c_int }
    }

    /// Puts the command into ACL categories, from Redis 7.2. Returns `false` if the server does not know one of them.
    pub(crate) fn set_acl_categories(&self, categories: &str) -> bool {
        let categories = CString::new(categories).unwrap_or_default();
        // SAFETY: a command that was just registered, and invariant 6.
        probe!(RedisModule_SetCommandACLCategories)
            .is_some_and(|set| unsafe { set(self.0.as_ptr(), categories.as_ptr()) } == raw::REDISMODULE_OK as c_int)
    }
}

/// Tells whether the server asks a command with the flag `getkeys-api` where its keys stand, and does not run it.
pub(crate) fn asks_for_keys(ctx: Ctx<'_>) -> bool {
    // SAFETY: invariant 1.
    unsafe { required!(RedisModule_IsKeysPositionRequest)(ctx.as_ptr()) != 0 }
}

/// Answers where a key stands; 0 is the name of the command. Nothing is said of what is done with the key: any right to it
/// will do for the server.
pub(crate) fn tell_key(ctx: Ctx<'_>, position: usize) {
    // SAFETY: invariant 1, while the server asks.
    unsafe { required!(RedisModule_KeyAtPosWithFlags)(ctx.as_ptr(), position as c_int, 0) };
}
