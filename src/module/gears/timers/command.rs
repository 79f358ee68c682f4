//! `RG.INNERTIMER`: a timer and its key, as they stand in the AOF and go to replicas.

use super::kept::COMMAND;
use super::value::{TYPE, TimerValue};
use crate::error::Error;
use crate::module::commands::spec::{self, Arg, ArgKind, Call, Spec};
use crate::module::gears::command::at_once;
use crate::module::request::running::Work;
use crate::module::server::context::Ctx;
use crate::module::server::data_type::{KeyValue, replicate_this};
use crate::reply::Reply;

const SPEC: Spec = Spec {
    name: COMMAND,
    summary: c"For the server itself: a time event and the key in which it lives.",
    complexity: c"O(1)",
    arity: 3,
    flags: c"write admin deny-script",
    acl_categories: "admin dangerous write",
    args: &[Arg::new(c"key", ArgKind::String), Arg::new(c"timer", ArgKind::String)],
    run,
};

/// Registers the command.
///
/// # Errors
/// If the server refuses it.
pub(super) fn register(ctx: Ctx<'_>) -> Result<(), String> {
    spec::register_in(ctx, &SPEC, COMMAND, &[SPEC.acl_categories], |ctx, argv| spec::serve(run, ctx, argv))
}

fn run(call: &Call<'_>) -> Result<Work, Error> {
    if !call.ctx.flags().is_from_server() {
        call.ctx.redact(2);
        return Err(Error::NoPermission(
            "only the server itself moves time events so; registerTE is for scripts".into(),
        ));
    }
    let [key, bytes] = call.args[..] else { return Err(Error::Invalid("give a key and a time event".into())) };
    let malformed = || Error::Invalid("this is no time event of this version of rmr".into());
    let value = TimerValue::load(key, bytes).ok_or_else(malformed)?;
    if !TYPE.set(call.ctx, key, value) {
        return Err(Error::Refused("this server keeps no time events in keys: load the module with 'gears on'".into()));
    }
    replicate_this(call.ctx);
    at_once(Reply::OK)
}
