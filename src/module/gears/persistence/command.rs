//! `RG.INNERREGISTER`: a change of the registrations, as it stands in the AOF and goes to replicas.

use super::kept::{COMMAND, KeptRegistry};
use super::{came, loading};
use crate::error::Error;
use crate::module::commands::spec::{self, Arg, ArgKind, Call, Spec};
use crate::module::gears::command::at_once;
use crate::module::gears::registry::TakenSets;
use crate::module::request::running::Work;
use crate::module::server::context::Ctx;
use crate::module::server::data_type::replicate_this;
use crate::reply::Reply;

/// The description of the command for the server.
const SPEC: Spec = Spec {
    name: COMMAND,
    summary: c"For the server itself: a change of what is registered.",
    complexity: c"O(N) where N is the number of registrations",
    arity: 2,
    flags: c"write admin deny-script",
    acl_categories: "admin dangerous write",
    args: &[Arg::new(c"change", ArgKind::String)],
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
    let flags = call.ctx.flags();
    if !flags.is_from_server() {
        call.ctx.redact(1);
        return Err(Error::NoPermission("only the server itself registers so; RG.PYEXECUTE is for clients".into()));
    }
    let kept = KeptRegistry::read(call.args.first().copied().unwrap_or_default())?;
    if flags.is_loading() {
        came::change(kept);
    } else {
        loading::take(call.ctx, kept, TakenSets::Change);
        replicate_this(call.ctx);
    }
    at_once(Reply::OK)
}
