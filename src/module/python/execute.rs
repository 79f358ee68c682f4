//! `execute()`: a command of a Python function, run in process.
//!
//! It runs in database 0, with the rights of the user on whose account the function runs (`rmr.gears-rights`), its effects
//! are replicated, and `maxmemory` is not looked at, all as with RedisGears. The server refuses here too what it refuses
//! because of its role, such as a write on a replica. Where a command did not run at all the script gets the words that
//! RedisGears has for that, which are those of the operating system and which scripts know; what the server says is
//! logged.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Weak;
use std::time::{Duration, Instant};

use super::call::{CallWords, TimerWanted, WrittenWords};
use super::call_socket::{CallError, NoValue};
use super::contexts::contexts;
use super::event_clients::{self, NextCommand};
use super::hashtag;
use super::serving::CallServer;
use super::timers;
use crate::command::{Command, printable};
use crate::describe::special;
use crate::error::Error;
use crate::module::catalog::{self, Facts};
use crate::module::config::{self, GearsRights};
use crate::module::flow::rights::ShareRights;
use crate::module::gears::registry::numbers;
use crate::module::gears::settings;
use crate::module::last_commands;
use crate::module::local::guards::{PAUSED, kind_of_call};
use crate::module::local::spoiled;
use crate::module::server::call::{self, CommandRunner, WritesNow};
use crate::module::server::context::{self, Ctx};
use crate::python::Context;
use crate::python::Worker;
use crate::python::marshal::{Writer, WrittenReply, write_reply};

/// The words that scripts know for a command that the server does not have.
const NO_SUCH_COMMAND: &str = "No such file or directory";
const WRONG_COUNT: &str = "Invalid argument";
const NOT_HERE: &str = "Operation not permitted";
const FAILED: &str = "Failed executing command";

/// The number of names of commands that are remembered. Scripts that use more make them up.
const MOST_NAMES: usize = 4096;

/// The server, as calls see it in one turn.
pub(super) struct ServerCalls<'c> {
    ctx: Ctx<'c>,
    runner: CommandRunner<'c>,
    /// The worker that is served now.
    worker: Weak<Worker>,
    until: Instant,
    /// The worker has the server for itself, so that nothing that is waited for would come.
    is_alone: bool,
    is_cluster: bool,
    has_run_commands: bool,
}

/// The facts about a command that are needed before it runs.
#[derive(Clone, Copy)]
struct KnownScriptCommand {
    facts: Facts,
    /// The command is about the connection that it comes by, of which calls have none.
    is_of_connection: bool,
}

/// The facts about commands, by their names as scripts write them.
#[derive(Default)]
struct KnownScriptCommands {
    /// The edition of the catalogue that the facts are from.
    edition: u64,
    by_name: HashMap<Box<[u8]>, KnownScriptCommand, foldhash::fast::RandomState>,
}

thread_local! {
    /// The facts that are known. On the main thread.
    static KNOWN: RefCell<KnownScriptCommands> = RefCell::default();

    /// The moment when a line of a refusal was logged, on the main thread.
    static LOGGED: Cell<Option<Instant>> = const { Cell::new(None) };
}

impl<'c> ServerCalls<'c> {
    /// Answers calls in a context that ends, until then.
    pub(super) fn new(ctx: Ctx<'c>, until: Instant) -> Self {
        let (runner, is_cluster) = (CommandRunner::without_memory_limit(ctx), ctx.flags().is_cluster());
        Self { ctx, runner, worker: Weak::new(), until, is_alone: false, is_cluster, has_run_commands: false }
    }

    /// Makes one that answers a worker which has the server for itself until then.
    pub(super) fn alone(ctx: Ctx<'c>, deadline: Instant) -> Self {
        Self { is_alone: true, ..Self::new(ctx, deadline) }
    }

    /// Notes whose calls come now.
    pub(super) fn serve_worker(&mut self, worker: &Weak<Worker>) {
        self.worker.clone_from(worker);
    }

    /// Tells whether commands have run, whose effects leave together with those of the commands that follow.
    pub(super) fn has_run_commands(&self) -> bool {
        self.has_run_commands
    }

    fn known(&self, words: CallWords<'_>) -> KnownScriptCommand {
        let name = words.name();
        let edition = catalog::edition();
        let found = KNOWN.with_borrow_mut(|known| {
            if known.edition != edition || known.by_name.len() > MOST_NAMES {
                known.edition = edition;
                known.by_name.clear();
            }
            known.by_name.get(name).copied()
        });
        found.unwrap_or_else(|| {
            let command = Command::new(name);
            let facts = catalog::facts(self.ctx, (&command).into());
            let is_of_connection = special::needs_own_connection(&command);
            let known = KnownScriptCommand { facts, is_of_connection };
            if catalog::description(self.ctx, (&command).into()).is_some() {
                KNOWN.with_borrow_mut(|names| names.by_name.insert(name.into(), known));
            }
            known
        })
    }

    /// Looks whether a command may run now, as far as it takes all of its words to say so. Returns what is known of it.
    fn check(&self, words: CallWords<'_>, facts: Facts, rights: Option<&ShareRights>) -> Result<Facts, NoValue> {
        let Some(command) = Command::from_args(words.iter()) else { return Ok(facts) };
        let command = (&command).into();
        let facts = catalog::facts(self.ctx, command);
        if facts.is_of_subcommand && special::needs_own_connection(&command.command()) {
            return Err(refused(words, FAILED, "it is about the connection that it comes by, and functions have none"));
        }
        if let Some(rights) = rights.filter(|rights| !rights.are_full()) {
            if catalog::description(self.ctx, command).is_none() {
                return Err(refused(words, NO_SUCH_COMMAND, "this server has no such command"));
            }
            for user in rights.users().map_err(denied)? {
                match user.check(self.ctx, command, facts) {
                    Ok(Ok(())) => {}
                    Err(Error::Invalid(why)) => return Err(refused(words, WRONG_COUNT, &why)),
                    Ok(Err(error)) | Err(error) => return Err(denied(error)),
                }
            }
        }
        if self.is_cluster && facts.may_have_several_keys && catalog::crosses_slots(self.ctx, command) {
            return Err(refused(words, NOT_HERE, "its keys are in several slots"));
        }
        Ok(facts)
    }

    /// Looks whether the server takes writes now.
    fn check_write(&self, facts: Facts) -> Result<(), NoValue> {
        if facts.is_held_by_pause && context::writes_are_paused() {
            // The pause cannot end before a worker does that has the server for itself.
            return Err(if self.is_alone { error_line(PAUSED).into() } else { NoValue::NotNow });
        }
        if facts.is_guarded_by_hand
            && let WritesNow::Refused(wire) = call::writes_now(self.ctx, None)
        {
            return Err(error_line(&wire).into());
        }
        Ok(())
    }
}

impl CallServer for ServerCalls<'_> {
    fn execute(&mut self, context: u64, words: CallWords<'_>, reply: &mut Writer) -> Result<(), NoValue> {
        let context = contexts().find(context).ok_or_else(gone)?;
        let rights = rights_of(&context)?;
        let KnownScriptCommand { mut facts, is_of_connection } = self.known(words);
        if is_of_connection {
            return Err(refused(words, FAILED, "it is about the connection that it comes by, and functions have none"));
        }
        let is_restricted = rights.is_some_and(|rights| !rights.are_full());
        if is_restricted || facts.is_of_subcommand || (facts.may_have_several_keys && self.is_cluster) {
            facts = self.check(words, facts, rights)?;
        }
        if facts.is_held_by_pause || facts.is_guarded_by_hand {
            self.check_write(facts)?;
        }
        self.has_run_commands = true;
        let called = if facts.is_of_module && !last_commands::is_ours(words.name()) {
            self.runner.call_others(words.iter(), kind_of_call(facts))
        } else {
            self.runner.call(words.iter(), kind_of_call(facts))
        };
        if called.has_blocked() {
            return Err(refused(words, FAILED, "it blocks its client, and has none here to answer later"));
        }
        if let Some(errno) = called.errno_of_refusal() {
            if called.is_not_here() {
                spoiled::look(self.ctx);
            }
            let said = String::from_utf8_lossy(called.wire());
            return Err(refused(words, words_of(errno), said.trim_start_matches("-ERR ").trim_end()));
        }
        match write_reply(called.wire(), reply) {
            WrittenReply::Value => Ok(()),
            WrittenReply::Error(text) => Err(CallError::of(text).into()),
            WrittenReply::Broken => Err(refused(words, FAILED, "its reply cannot be read")),
        }
    }

    fn may_be_alone(&mut self, context: u64) -> Result<(), NoValue> {
        contexts().find(context).ok_or_else(gone)?;
        // A failover must not wait for a script.
        if context::writes_are_paused() { Err(NoValue::NotNow) } else { Ok(()) }
    }

    fn setting(&mut self, name: &[u8], value: &mut Writer) {
        match settings::extra(name) {
            Some(text) => value.text_or_bytes(&text),
            None => value.none(),
        }
    }

    fn hashtag(&mut self) -> String {
        hashtag::of_this_server(self.ctx)
    }

    fn add_timer(&mut self, context: u64, timer: TimerWanted<'_>) -> Result<bool, NoValue> {
        let context = contexts().find(context).ok_or_else(gone)?;
        let full = ShareRights::default();
        timers::add(self.ctx, &self.worker, rights_of(&context)?.unwrap_or(&full), timer)
    }

    fn plan_id(&mut self, builders: u64) -> String {
        numbers::new_id(self.ctx.cluster_id().as_deref(), builders)
    }

    fn command_of_event(&mut self, context: u64, words: &mut Writer) -> Result<(), CallError> {
        event_clients::write_command(context, words)
    }

    fn override_reply(&mut self, context: u64, reply: &[u8]) -> Result<(), CallError> {
        event_clients::override_reply(context, reply)
    }

    fn call_next(&mut self, context: u64, words: CallWords<'_>, reply: &mut Writer) -> Result<(), NoValue> {
        let arguments: Vec<&[u8]> = words.iter().collect();
        match event_clients::next(context, &arguments)? {
            NextCommand::Hook(run) => run(self.ctx, reply).map_err(|why| CallError::of(why).into()),
            NextCommand::Command(words) => {
                let written = WrittenWords::of(words.iter().map(|word| &word[..]));
                self.execute(context, written.words(), reply)
            }
        }
    }

    fn is_time_up(&self) -> bool {
        Instant::now() >= self.until
    }

    fn most_reply_bytes(&self) -> usize {
        /// A frame says its size in 32 bits.
        const LARGEST: usize = 1 << 30;
        config::max_reply_bytes().min(LARGEST)
    }
}

/// Returns whose rights hold; `None` where functions may do everything.
fn rights_of(context: &Context) -> Result<Option<&ShareRights>, CallError> {
    match config::gears_rights() {
        GearsRights::Server => Ok(None),
        GearsRights::Caller => match context.rights.downcast_ref() {
            Some(rights) => Ok(Some(rights)),
            None => Err(CallError::of("ERR internal error: it is not known whose rights this function has")),
        },
    }
}

fn gone() -> CallError {
    CallError::of("the execution or session that this code belongs to has ended")
}

fn denied(error: Error) -> NoValue {
    CallError::of(error.to_line()).into()
}

/// Returns the words that scripts know, and logs those that say more, once in a while.
fn refused(words: CallWords<'_>, known: &str, why: &str) -> NoValue {
    const LOG_EVERY: Duration = Duration::from_secs(1);
    if LOGGED.get().is_none_or(|logged| logged.elapsed() >= LOG_EVERY) {
        LOGGED.set(Some(Instant::now()));
        log::info!("execute(): '{}' did not run: {why}", printable(words.name()));
    }
    CallError::of(known).into()
}

/// Returns the text of an error line.
fn error_line(wire: &[u8]) -> CallError {
    let line = wire.strip_prefix(b"-").unwrap_or(wire);
    CallError::of(line.strip_suffix(b"\r\n").unwrap_or(line))
}

/// Returns how the operating system words an error, which is how scripts know it, whatever the language of the server.
fn words_of(errno: i32) -> &'static str {
    match errno {
        libc::ENOENT => NO_SUCH_COMMAND,
        libc::EINVAL => WRONG_COUNT,
        libc::EPERM => NOT_HERE,
        libc::ENETDOWN => "Network is down",
        libc::EROFS => "Read-only file system",
        _ => FAILED,
    }
}
