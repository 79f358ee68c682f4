//! The specification of an `RMR.*` command: what the server is told about each, and how it is served.

use std::ffi::{CStr, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::engine::RequestBuilder;
use crate::error::Error;
use crate::link::Protocol;
use crate::module::last_commands;
use crate::module::request::caller;
use crate::module::request::reply_writer::ReplyWriter;
use crate::module::request::running::{self, BlockedTime, GoesOn, Work};
use crate::module::secrets;
use crate::module::server::argv::Argv;
pub(in crate::module) use crate::module::server::command::{Arg, ArgKind};
use crate::module::server::command::{CommandDocs, RegisteredCommand};
use crate::module::server::context::Ctx;
use crate::module::server::main_thread;
use crate::reduce::Builtin;

/// Describes a command for the server, and says what it does.
pub(in crate::module) struct Spec {
    pub(in crate::module) name: &'static CStr,
    pub(in crate::module) summary: &'static CStr,
    pub(in crate::module) complexity: &'static CStr,
    /// The number of words as in `COMMAND INFO`: negative for "at least".
    pub(in crate::module) arity: c_int,
    pub(in crate::module) flags: &'static CStr,
    pub(in crate::module) acl_categories: &'static str,
    pub(in crate::module) args: &'static [Arg],
    pub(in crate::module) run: Begin,
}

/// Begins what a command does.
pub(in crate::module) type Begin = fn(&Call<'_>) -> Result<Work, Error>;

/// A call of a command.
pub(in crate::module) struct Call<'a> {
    pub(in crate::module) ctx: Ctx<'a>,
    /// Without the command's own name.
    pub(in crate::module) args: Vec<&'a [u8]>,
}

impl Call<'_> {
    /// Prepares a request with the caller's rights, database and means to wait.
    pub(in crate::module) fn request(&self) -> Result<RequestBuilder, Error> {
        caller::request(self.ctx)
    }

    /// Prepares a request with replies as the shards would give them to the caller's own connection.
    pub(in crate::module) fn request_for_handing_on(&self) -> Result<RequestBuilder, Error> {
        Ok(self.request()?.protocol(self.protocol()))
    }

    /// Returns the protocol that the caller speaks.
    pub(in crate::module) fn protocol(&self) -> Protocol {
        if self.ctx.flags().is_resp3() { Protocol::Resp3 } else { Protocol::Resp2 }
    }
}

const ON: Arg = Arg::one_of(
    c"targets",
    &[Arg::word(c"primaries", c"PRIMARIES"), Arg::word(c"replicas", c"REPLICAS"), Arg::word(c"all", c"ALL")],
)
.after(c"ON")
.optional();
const NODE: Arg = Arg::new(c"id-or-address", ArgKind::String).after(c"NODE").optional().multiple_with_token();
const KEY: Arg = Arg::new(c"key", ArgKind::String).after(c"KEY").optional().multiple_with_token();
pub(in crate::module) const TIMEOUT: Arg = Arg::new(c"timeout-ms", ArgKind::Integer).after(c"TIMEOUT").optional();
pub(in crate::module) const PARTIAL: Arg = Arg::word(c"partial", c"PARTIAL").optional();
pub(in crate::module) const INCONSISTENT: Arg = Arg::word(c"inconsistent", c"INCONSISTENT").optional();
const WITHNODES: Arg = Arg::word(c"withnodes", c"WITHNODES").optional();
pub(in crate::module) const END_OF_OPTIONS: Arg = Arg::word(c"end-of-options", c"--").optional();
pub(in crate::module) const COMMAND: Arg = Arg::new(c"command", ArgKind::String);
pub(in crate::module) const ARGS: Arg = Arg::new(c"arg", ArgKind::String).optional().multiple();

/// Returns what stands before a command that may go to several nodes, with one option of its own, and that command.
pub(in crate::module) const fn to_nodes(own: Arg) -> [Arg; 11] {
    [ON, NODE, KEY, TIMEOUT, PARTIAL, INCONSISTENT, WITHNODES, own, END_OF_OPTIONS, COMMAND, ARGS]
}

/// The reducers.
pub(in crate::module) const REDUCER: Arg = Arg::one_of(c"reducer", &all_reducers());

/// The reducers for replies of nodes, which have no keys.
pub(in crate::module) const REDUCER_OF_NODES: Arg = Arg::one_of(c"reducer", BUILTINS);

const BUILTINS: &[Arg] = &builtins();

const REDUCER_COUNT: usize = Builtin::ALL.len();

const fn all_reducers() -> [Arg; REDUCER_COUNT + 1] {
    const OF_PREFIX: &[Arg] = &[Arg::new(c"separator", ArgKind::String), Arg::one_of(c"reducer-of-prefix", BUILTINS)];
    let mut all = [Arg::block(c"prefix", OF_PREFIX).after(c"PREFIX"); REDUCER_COUNT + 1];
    let mut at = 0;
    while at < REDUCER_COUNT {
        all[at] = BUILTINS[at];
        at += 1;
    }
    all
}

/// Makes a word for each reducer, with a number behind some.
const fn builtins() -> [Arg; REDUCER_COUNT] {
    const SMALL: &[[u8; 16]; REDUCER_COUNT] = &reducer_names(false);
    const CAPITALS: &[[u8; 16]; REDUCER_COUNT] = &reducer_names(true);
    let mut words = [Arg::word(c"", c""); REDUCER_COUNT];
    let mut at = 0;
    while at < REDUCER_COUNT {
        words[at] = match (CStr::from_bytes_until_nul(&SMALL[at]), CStr::from_bytes_until_nul(&CAPITALS[at])) {
            (Ok(name), Ok(token)) if Builtin::ALL[at].most().is_some() => Arg::new(name, ArgKind::Integer).after(token),
            (Ok(name), Ok(token)) => Arg::word(name, token),
            _ => panic!("the name of a reducer is too long"),
        };
        at += 1;
    }
    words
}

/// Returns the names of the reducers with zeros behind them, as the server takes texts.
const fn reducer_names(in_capitals: bool) -> [[u8; 16]; REDUCER_COUNT] {
    let mut names = [[0; 16]; REDUCER_COUNT];
    let mut at = 0;
    while at < REDUCER_COUNT {
        let name = Builtin::ALL[at].name().as_bytes();
        let mut letter = 0;
        while letter < name.len() {
            names[at][letter] = if in_capitals { name[letter] } else { name[letter].to_ascii_lowercase() };
            letter += 1;
        }
        at += 1;
    }
    names
}

/// Registers a command under a name that may differ from the one it was described by, in the category of our own. `run` is to
/// [`serve`] it.
pub(in crate::module) fn register<F>(ctx: Ctx<'_>, spec: &Spec, name: &CStr, run: F) -> Result<(), String>
where
    F: Fn(Ctx<'_>, Argv<'_>) + Copy + 'static,
{
    // Servers before 7.4 have no such category.
    ctx.add_acl_category(c"rmr");
    register_in(ctx, spec, name, &[&format!("{} rmr", spec.acl_categories), spec.acl_categories], run)
}

/// Registers a command in the first of these sets of categories that the server knows.
pub(in crate::module) fn register_in<F>(
    ctx: Ctx<'_>,
    spec: &Spec,
    name: &CStr,
    categories: &[&str],
    run: F,
) -> Result<(), String>
where
    F: Fn(Ctx<'_>, Argv<'_>) + Copy + 'static,
{
    let refused = || format!("the command {} cannot be registered", name.to_string_lossy());
    let command = RegisteredCommand::create(ctx, name, spec.flags, run).ok_or_else(refused)?;
    last_commands::note(name);
    let Spec { summary, complexity, arity, args, .. } = *spec;
    if !command.describe(&CommandDocs { summary, complexity, arity, args }) {
        return Err(refused());
    }
    let _ = categories.iter().any(|categories| command.set_acl_categories(categories));
    Ok(())
}

/// Begins a command and serves its client.
pub(in crate::module) fn serve(run: Begin, ctx: Ctx<'_>, argv: Argv<'_>) {
    serve_timed(run, ctx, argv, BlockedTime::Waits);
}

/// Begins a command and serves its client; says what the time is in which that is blocked.
pub(in crate::module) fn serve_timed(run: Begin, ctx: Ctx<'_>, argv: Argv<'_>, time: BlockedTime) {
    let begun = catch_unwind(AssertUnwindSafe(|| {
        let (name, argv) = (argv.name(), argv.without_name());
        let call = Call { ctx, args: argv.bytes() };
        secrets::hide(ctx, name, &call.args);
        main_thread::enter(ctx, || run(&call))
    }));
    match begun {
        Ok(Ok(work)) => running::serve(ctx, work, GoesOn::WhereItIsRead, time),
        Ok(Err(error)) => refuse(ctx, error),
        Err(_) => refuse(ctx, Error::Internal("internal error: the command panicked; see the server's log".into())),
    }
}

/// Refuses a command.
pub(in crate::module) fn refuse(ctx: Ctx<'_>, error: Error) {
    ReplyWriter { to: ctx.reply_to(), is_resp3: false }.send(&Err(error));
}
