//! [`GearsCommand`]: what the commands of RedisGears have in common.

use std::ffi::CStr;

use super::{access, arguments, replies};
use crate::error::Error;
use crate::module::commands::spec::{self, Call, Spec};
use crate::module::request::running::{BlockedTime, Work};
use crate::module::server::argv::Argv;
use crate::module::server::command;
use crate::module::server::context::Ctx;
use crate::reply::Reply;

/// A command of RedisGears.
pub(super) struct GearsCommand {
    pub(super) spec: Spec,
    /// The command makes or controls functions.
    controls: bool,
    /// Finds where keys stand in its words, the name included.
    keys: Option<FindKeys>,
    time: BlockedTime,
}

/// Finds where keys stand in the words of a command, the name included.
pub(super) type FindKeys = fn(Ctx<'_>, &[&[u8]]) -> Vec<usize>;

/// Describes a command that may not be used by everybody: it makes or controls functions.
pub(super) const fn control(name: &'static CStr, summary: &'static CStr, arity: i32, run: spec::Begin) -> GearsCommand {
    let spec = described(name, summary, arity, access::CONTROL, run);
    GearsCommand { spec, controls: true, keys: None, time: BlockedTime::Waits }
}

/// Describes a command for whoever may use commands of modules.
pub(super) const fn own(name: &'static CStr, summary: &'static CStr, arity: i32, run: spec::Begin) -> GearsCommand {
    let spec = described(name, summary, arity, access::OWN, run);
    GearsCommand { spec, controls: false, keys: None, time: BlockedTime::Waits }
}

const fn described(
    name: &'static CStr,
    summary: &'static CStr,
    arity: i32,
    acl_categories: &'static str,
    run: spec::Begin,
) -> Spec {
    let complexity = c"O(N) where N is the number of shards, besides what a function takes";
    // All commands run on replicas, too, and name no keys: no cluster sends them elsewhere.
    Spec { name, summary, complexity, arity, flags: c"readonly blocking", acl_categories, args: &[], run }
}

impl GearsCommand {
    /// Says what arguments there are.
    pub(super) const fn with_args(self, args: &'static [spec::Arg]) -> Self {
        Self { spec: Spec { args, ..self.spec }, ..self }
    }

    /// Has the server ask where its keys are.
    pub(super) const fn with_keys(self, flags: &'static CStr, keys: FindKeys) -> Self {
        Self { spec: Spec { flags, ..self.spec }, keys: Some(keys), ..self }
    }

    /// Says that what it waits for is its own work.
    pub(super) const fn that_works(self) -> Self {
        Self { time: BlockedTime::Works, ..self }
    }

    /// Serves a caller who may use the command.
    pub(super) fn serve(&'static self, ctx: Ctx<'_>, argv: Argv<'_>) {
        if let Some(keys) = self.keys
            && command::asks_for_keys(ctx)
        {
            return keys(ctx, &argv.bytes()).into_iter().for_each(|position| command::tell_key(ctx, position));
        }
        if self.controls
            && let Err(refused) = access::check(ctx, self.spec.name)
        {
            return spec::refuse(ctx, refused);
        }
        spec::serve_timed(self.spec.run, ctx, argv, self.time);
    }
}

/// Answers at once.
pub(super) fn at_once(reply: Reply) -> Result<Work, Error> {
    Ok(Box::pin(std::future::ready(Ok(reply))))
}

/// Answers what somebody has found out, or the error as clients of RedisGears get it.
pub(super) fn said(answer: Result<Reply, String>) -> Result<Work, Error> {
    at_once(answer.unwrap_or_else(replies::error))
}

/// Returns an argument as text.
pub(super) fn argument(call: &Call<'_>, at: usize) -> String {
    arguments::text(call.args.get(at).copied().unwrap_or_default())
}
