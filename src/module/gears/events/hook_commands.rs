//! The commands that the filter of [`hooks`] puts in front of others: they run a function in the place of the
//! command behind them, or that command, for a client that waits for functions.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::hooks::{self, Hook};
use super::linked::{self, LinkedClient};
use super::run::{EventRunner, RanNow};
use crate::command::{Command, CommandRef};
use crate::error::Error;
use crate::module::catalog;
use crate::module::commands::spec::{Arg, ArgKind, Call};
use crate::module::flow::rights::ShareRights;
use crate::module::gears::command::{GearsCommand, at_once, own};
use crate::module::gears::event_result::EventResult;
use crate::module::gears::registry::registration::RegistrationMode;
use crate::module::gears::replies;
use crate::module::local::guards::kind_of_call;
use crate::module::python::{EventClient, NextCommand};
use crate::module::request::running::Work;
use crate::module::server::call::CommandRunner;
use crate::module::server::context::Ctx;
use crate::python::events::{EventBatch, EventResults};
use crate::python::marshal::{Writer, WrittenReply, write_reply};
use crate::reply::Reply;
use crate::resp::decode_whole;

const WORDS: [Arg; 2] =
    [Arg::new(c"command", ArgKind::String), Arg::new(c"arg", ArgKind::String).optional().multiple()];

pub(in crate::module::gears) const HOOKED: GearsCommand =
    own(c"RG.INNERHOOK", c"Runs what stands before a command. For the server itself.", -2, hooked)
        .with_keys(c"readonly blocking getkeys-api", keys)
        .with_args(&WORDS)
        .that_works();

pub(in crate::module::gears) const HOOKED_FOR_ALL: GearsCommand =
    own(c"RG.INNERHOOKFORALL", c"Runs what stands before a command. For the server itself.", -2, hooked_for_all)
        .with_keys(c"readonly blocking getkeys-api no-auth", keys)
        .with_args(&WORDS)
        .that_works();

/// Returns where the keys of the command behind ours stand.
fn keys(ctx: Ctx<'_>, words: &[&[u8]]) -> Vec<usize> {
    let behind = words.get(1..).unwrap_or_default();
    crate::module::server::user::key_positions(ctx, behind).into_iter().map(|at| at + 1).collect()
}

fn hooked_for_all(call: &Call<'_>) -> Result<Work, Error> {
    let is_own = call.ctx.flags().is_replicated() || call.ctx.flags().is_loading();
    if !is_own && !hooks::is_let_in(call.ctx, call.ctx.client_id()) {
        return at_once(replies::error("NOAUTH Authentication required."));
    }
    hooked(call)
}

fn hooked(call: &Call<'_>) -> Result<Work, Error> {
    let (ctx, words) = (call.ctx, &call.args[..]);
    let Some(command) = Command::from_args(words) else {
        return at_once(replies::error("ERR there is no command"));
    };
    let command = CommandRef::from(&command);
    let flags = ctx.flags();
    if flags.is_replicated() || flags.is_loading() {
        return at_once(run_itself(call, command)?);
    }
    let facts = catalog::facts(ctx, command);
    for user in ShareRights::of(ctx, None)?.users()? {
        user.check(ctx, command, facts)??;
    }
    let chain = hooks::chain_of(ctx, words);
    let owned: Vec<Bytes> = words.iter().map(|word| Bytes::copy_from_slice(word)).collect();
    if !chain.is_empty() {
        return Ok(run_hook(ctx, &chain, owned));
    }
    if !hooks::is_linked(ctx, words) || ctx.why_not_wait().is_some() {
        return at_once(run_itself(call, command)?);
    }
    let link = Arc::new(LinkedClient::new(owned));
    let reply = linked::during(&link, || run_itself(call, command))?;
    Ok(Box::pin(async move { Ok(link.reply(reply).await) }))
}

/// Runs the command that stands behind ours, as the server itself: the rights to it have been checked.
fn run_itself(call: &Call<'_>, command: CommandRef<'_>) -> Result<Reply, Error> {
    let kind = kind_of_call(catalog::facts(call.ctx, command));
    let mut runner = CommandRunner::new(call.ctx, call.protocol());
    let called = runner.call(call.args.iter().copied(), kind);
    let broken = |error| Error::Internal(format!("the reply to a command: {error}"));
    decode_whole(&Bytes::copy_from_slice(called.wire())).map_err(broken)
}

/// A client whose command is in a function's hands.
struct HookClient {
    /// The name of the command.
    name: Bytes,
    /// The hooks that stand before the command behind this function.
    rest: Vec<Arc<Hook>>,
}

impl EventClient for HookClient {
    fn command(&self) -> Option<&[Bytes]> {
        None
    }

    fn override_reply(&self, _reply: &[u8]) -> Result<(), &'static str> {
        Err("Can not get command ctx")
    }

    fn next(&self, arguments: &[&[u8]]) -> Option<NextCommand> {
        let arguments = arguments.iter().map(|argument| Bytes::copy_from_slice(argument));
        let words: Vec<Bytes> = std::iter::once(self.name.clone()).chain(arguments).collect();
        if self.rest.is_empty() {
            return Some(NextCommand::Command(words));
        }
        let rest = self.rest.clone();
        Some(NextCommand::Hook(Box::new(move |ctx, to| run_next(ctx, &rest, &words, to))))
    }
}

fn run_hook(ctx: Ctx<'_>, chain: &[Arc<Hook>], words: Vec<Bytes>) -> Work {
    let first = chain.first().map(|hook| &hook.runner);
    let is_waited_for = first.filter(|it| it.live.registration.mode == RegistrationMode::Sync && !it.is_alive());
    match is_waited_for {
        Some(runner) if ctx.why_not_wait().is_none() => {
            let chain = chain.to_vec();
            runner.once_alive(move |ctx| run_chain(ctx, &chain, words))
        }
        _ => run_chain(ctx, chain, words),
    }
}

fn run_chain(ctx: Ctx<'_>, chain: &[Arc<Hook>], words: Vec<Bytes>) -> Work {
    let Some((runner, batch)) = first_of(chain, &words) else { return answered(Reply::Null) };
    if runner.live.registration.mode == RegistrationMode::Sync {
        return match runner.run_now(ctx, EventResults::Trigger, &batch) {
            RanNow::Ended(end) => answered(reply(&end)),
            RanNow::Waits(waits) => Box::pin(async move { Ok(reply(&*runner.finish_one(waits).await)) }),
        };
    }
    if let Err(gone) = runner.check_user() {
        return answered(reply(&runner.end(EventResult::failed(gone.to_string()), Duration::ZERO)));
    }
    if ctx.why_not_wait().is_some() {
        runner.end(EventResult::Aborted, Duration::ZERO);
        return answered(replies::cannot_wait());
    }
    Box::pin(async move { Ok(reply(&*runner.run_one(EventResults::Trigger, &batch).await)) })
}

/// Runs the function that stands behind another, within that one.
fn run_next(ctx: Ctx<'_>, chain: &[Arc<Hook>], words: &[Bytes], to: &mut Writer) -> Result<(), String> {
    let (runner, batch) = first_of(chain, words).ok_or("there is no command")?;
    let RanNow::Ended(end) = runner.run_now(ctx, EventResults::Trigger, &batch) else {
        return Err("a function that another one calls by call_next() cannot wait for a future or coroutine".to_owned());
    };
    let mut wire = Vec::new();
    reply(&end).write_to(&mut wire);
    match write_reply(&wire, to) {
        WrittenReply::Value => Ok(()),
        WrittenReply::Error(text) => Err(String::from_utf8_lossy(text).into_owned()),
        WrittenReply::Broken => Err("the reply cannot be read".to_owned()),
    }
}

/// Takes the first function of a chain for a command of these words, and counts its event.
fn first_of(chain: &[Arc<Hook>], words: &[Bytes]) -> Option<(EventRunner, EventBatch)> {
    let (first, rest) = chain.split_first()?;
    let client = HookClient { name: words.first().cloned().unwrap_or_default(), rest: rest.to_vec() };
    let runner = first.runner.for_client(Arc::new(client));
    runner.live.stats.triggered();
    Some((runner, EventBatch::of_words(std::iter::once(words.iter().map(|word| &word[..])))))
}

fn answered(reply: Reply) -> Work {
    Box::pin(std::future::ready(Ok(reply)))
}

/// Returns the one result of a hook, or the first error.
fn reply(end: &EventResult) -> Reply {
    end.reply(|results| {
        let mut values = results.values();
        match (values.next(), values.next()) {
            (Some(result), None) => replies::written(&Bytes::copy_from_slice(result)),
            _ => replies::error("Command hook must return exactly one result"),
        }
    })
}
