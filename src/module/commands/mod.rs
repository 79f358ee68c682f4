//! The `RMR.*` commands: one file each, and here what they have in common.

mod batch;
mod exec;
mod explain;
mod fanout;
mod map;
mod options;
mod ping;
mod proxy;
mod refresh;
mod scan;
mod sum;
mod topology;

use std::ffi::{CStr, CString, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};

use redis_module::raw;

use super::request::reply::Client;
use super::request::running::{self, GoesOn, Work};
use super::server::api::{Callback, Ctx, ReplyTo};
use super::server::main_thread;
use super::{caller_engine, last_commands};
use crate::engine::Engine;
use crate::error::Error;
use crate::link::Protocol;

/// All that the server is told about a command, and what it does.
pub(super) struct Spec {
    pub(super) name: &'static CStr,
    pub(super) summary: &'static CStr,
    pub(super) complexity: &'static CStr,
    /// As in `COMMAND INFO`: negative for at least so many.
    pub(super) arity: c_int,
    pub(super) flags: &'static CStr,
    pub(super) acl_categories: &'static str,
    pub(super) args: &'static [Arg],
    pub(super) run: Run,
}

/// Begins what a command does.
type Run = fn(&Call<'_>) -> Result<Work, Error>;

const COMMANDS: [Spec; 11] = [
    sum::SPEC,
    fanout::SPEC,
    map::SPEC,
    batch::SPEC,
    exec::SPEC,
    scan::SPEC,
    explain::SPEC,
    topology::SPEC,
    ping::SPEC,
    refresh::SPEC,
    proxy::SPEC,
];

/// A call of a command.
pub(super) struct Call<'a> {
    pub(super) ctx: Ctx,
    /// Without the command's own name.
    pub(super) args: Vec<&'a [u8]>,
    /// The same, as the server has them.
    argv: &'a [*mut raw::RedisModuleString],
}

impl Call<'_> {
    /// The engine, with the caller's rights, database and means to wait.
    fn engine(&self) -> Result<Engine, Error> {
        caller_engine(self.ctx)
    }

    /// The engine, with replies as the shards would give them to the caller's own connection.
    fn engine_for_handing_on(&self) -> Result<Engine, Error> {
        let protocol = if self.ctx.flags().is_resp3() { Protocol::Resp3 } else { Protocol::Resp2 };
        Ok(self.engine()?.in_protocol(protocol))
    }
}

/// An argument as `COMMAND DOCS` shows it.
pub(super) struct Arg {
    name: &'static CStr,
    kind: Kind,
    token: Option<&'static CStr>,
    flags: u32,
    of: &'static [Arg],
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    String,
    Integer,
    Token,
    OneOf,
    Block,
}

impl Arg {
    pub(super) const fn new(name: &'static CStr, kind: Kind) -> Self {
        Self { name, kind, token: None, flags: raw::REDISMODULE_CMD_ARG_NONE, of: &[] }
    }

    /// A word that stands for itself.
    const fn word(name: &'static CStr, token: &'static CStr) -> Self {
        Self { token: Some(token), ..Self::new(name, Kind::Token) }
    }

    const fn one_of(name: &'static CStr, of: &'static [Arg]) -> Self {
        Self { of, ..Self::new(name, Kind::OneOf) }
    }

    /// Arguments that come together.
    const fn block(name: &'static CStr, of: &'static [Arg]) -> Self {
        Self { of, ..Self::new(name, Kind::Block) }
    }

    pub(super) const fn after(self, token: &'static CStr) -> Self {
        Self { token: Some(token), ..self }
    }

    pub(super) const fn optional(self) -> Self {
        Self { flags: self.flags | raw::REDISMODULE_CMD_ARG_OPTIONAL, ..self }
    }

    const fn multiple(self) -> Self {
        Self { flags: self.flags | raw::REDISMODULE_CMD_ARG_MULTIPLE, ..self }
    }

    const fn multiple_with_token(self) -> Self {
        Self { flags: self.flags | raw::REDISMODULE_CMD_ARG_MULTIPLE_TOKEN, ..self.multiple() }
    }

    /// The argument as the server takes it. Nested lists are put into `lists`, where they must stay until it has.
    fn to_raw(&self, lists: &mut Vec<Box<[raw::RedisModuleCommandArg]>>) -> raw::RedisModuleCommandArg {
        let pointer = |text: Option<&'static CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
        let kind = match self.kind {
            Kind::String => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_STRING,
            Kind::Integer => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_INTEGER,
            Kind::Token => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_PURE_TOKEN,
            Kind::Block => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_BLOCK,
            Kind::OneOf => raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_ONEOF,
        };
        raw::RedisModuleCommandArg {
            name: self.name.as_ptr(),
            type_: kind,
            key_spec_index: -1,
            token: pointer(self.token),
            summary: std::ptr::null(),
            since: std::ptr::null(),
            flags: self.flags as c_int,
            deprecated_since: std::ptr::null(),
            subargs: if self.of.is_empty() { std::ptr::null_mut() } else { to_raw_list(self.of, lists) },
            display_text: std::ptr::null(),
        }
    }
}

/// What stands before an inner command that may go to several nodes, and that command.
const ON: Arg = Arg::one_of(
    c"targets",
    &[Arg::word(c"primaries", c"PRIMARIES"), Arg::word(c"replicas", c"REPLICAS"), Arg::word(c"all", c"ALL")],
)
.after(c"ON")
.optional();
const NODE: Arg = Arg::new(c"id-or-address", Kind::String).after(c"NODE").optional().multiple_with_token();
const KEY: Arg = Arg::new(c"key", Kind::String).after(c"KEY").optional().multiple_with_token();
const TIMEOUT: Arg = Arg::new(c"timeout-ms", Kind::Integer).after(c"TIMEOUT").optional();
const PARTIAL: Arg = Arg::word(c"partial", c"PARTIAL").optional();
const WITHNODES: Arg = Arg::word(c"withnodes", c"WITHNODES").optional();
const END_OF_OPTIONS: Arg = Arg::word(c"end-of-options", c"--").optional();
const COMMAND: Arg = Arg::new(c"command", Kind::String);
const ARGS: Arg = Arg::new(c"arg", Kind::String).optional().multiple();

/// A list of arguments that ends in one without a name.
fn to_raw_list(
    args: &'static [Arg],
    lists: &mut Vec<Box<[raw::RedisModuleCommandArg]>>,
) -> *mut raw::RedisModuleCommandArg {
    // SAFETY: a structure of pointers and numbers, for which zero stands for the end of a list.
    let end: raw::RedisModuleCommandArg = unsafe { std::mem::zeroed() };
    let mut list: Box<[_]> = args.iter().map(|arg| arg.to_raw(lists)).chain([end]).collect();
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

/// Registers all commands.
pub(super) fn register(ctx: Ctx) -> Result<(), String> {
    register_one::<0>(ctx)?;
    register_one::<1>(ctx)?;
    register_one::<2>(ctx)?;
    register_one::<3>(ctx)?;
    register_one::<4>(ctx)?;
    register_one::<5>(ctx)?;
    register_one::<6>(ctx)?;
    register_one::<7>(ctx)?;
    register_one::<8>(ctx)?;
    register_one::<9>(ctx)?;
    register_one::<10>(ctx)
}

fn register_one<const INDEX: usize>(ctx: Ctx) -> Result<(), String> {
    let spec = &COMMANDS[INDEX];
    register_spec(ctx, spec, spec.name, handle::<INDEX>)
}

/// Registers a command under a name that may differ from the one it was described by.
pub(super) fn register_spec(ctx: Ctx, spec: &Spec, name: &CStr, callback: Callback) -> Result<(), String> {
    let refused = || format!("the command {} cannot be registered", name.to_string_lossy());
    let command = ctx.create_command(name, callback, spec.flags).ok_or_else(refused)?;
    last_commands::note(name);

    let mut lists = Vec::new();
    let info = raw::RedisModuleCommandInfo {
        version: &INFO_VERSION,
        summary: spec.summary.as_ptr(),
        complexity: spec.complexity.as_ptr(),
        since: c"0.1.0".as_ptr(),
        history: std::ptr::null_mut(),
        tips: c"nondeterministic_output".as_ptr(),
        arity: spec.arity,
        key_specs: std::ptr::null_mut(),
        args: if spec.args.is_empty() { std::ptr::null_mut() } else { to_raw_list(spec.args, &mut lists) },
    };
    if !command.set_info(&info) {
        return Err(refused());
    }
    // The category of our own first; servers before 7.4 have none.
    ctx.add_acl_category(c"rmr");
    for own in [" rmr", ""] {
        let categories = CString::new(format!("{}{own}", spec.acl_categories)).unwrap_or_default();
        if command.set_acl_categories(&categories) {
            break;
        }
    }
    Ok(())
}

unsafe extern "C" fn handle<const INDEX: usize>(
    ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
) -> c_int {
    // SAFETY: the server's own arguments.
    unsafe { handle_with(COMMANDS[INDEX].run, ctx, argv, argc) }
}

/// Begins a command and serves its client. No panic gets out of here.
///
/// # Safety
/// Context and arguments are those that the server has just called a command with.
pub(super) unsafe fn handle_with(
    run: Run,
    ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
) -> c_int {
    let ctx = Ctx(ctx);
    let begun = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the server's own arguments, of which there is at least the name; they live as long as this call.
        let (args, argv) = unsafe {
            let (argv, argc) = (argv.add(1), argc - 1);
            (running::arguments(argv, argc), std::slice::from_raw_parts(argv, argc as usize))
        };
        main_thread::enter(ctx, || run(&Call { ctx, args, argv }))
    }));
    let refuse = |error| Client { to: ReplyTo(ctx.0), is_resp3: false }.send(&Err(error));
    match begun {
        Ok(Ok(work)) => running::serve(ctx, work, GoesOn::WhereItIsRead),
        Ok(Err(error)) => refuse(error),
        Err(_) => refuse(Error::Invalid("internal error: the command panicked; see the server's log".into())),
    }
    raw::REDISMODULE_OK as c_int
}
