//! The server's own descriptions of its commands: whether one writes, whether it blocks, and where its keys are.
//!
//! Asked once with `COMMAND`, later for each new name with `COMMAND INFO`, and kept. On the main thread only.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};

use futures_util::FutureExt;

use super::server::call;
use super::server::context::Ctx;
use super::server::user::key_positions;
use crate::command::{Command, CommandRef};
use crate::describe::{Catalogue, CommandSource, Description, KeyUse};
use crate::error::Error;
use crate::reply::Reply;
use crate::topology::key_slot;

/// The facts about a command that matter, from its flags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// The server knows it as a write: it may be refused for what the server is or lacks. So may all that is not known.
    pub(super) is_write: bool,
    /// A write that the server cannot be asked to guard where it runs in process: those of `FUNCTION`.
    pub(super) is_guarded_by_hand: bool,
    /// The server refuses it, or makes room first, when its memory is full.
    pub(super) needs_memory: bool,
    /// `CLIENT PAUSE WRITE` holds it back.
    pub(super) is_held_by_pause: bool,
    /// The command may change data or reach other clients, as scripts that only read may not.
    pub(super) may_replicate: bool,
    /// The command changes nothing, and may be sent twice.
    pub(super) is_read_only: bool,
    /// The command may block its client.
    pub(super) is_blocking: bool,
    /// The command runs code that may call any other command.
    pub(super) is_script: bool,
    /// The command runs code of others, be it a script or a module's, by whatever name.
    pub(super) runs_code: bool,
    /// Its replies have names of keys that its arguments do not name.
    pub(super) names_keys: bool,
    /// The facts are those of a subcommand; other subcommands of the same command differ.
    pub(super) is_of_subcommand: bool,
    /// Another module runs it, and may block its client unasked.
    pub(super) is_of_module: bool,
    /// The command may have several keys, which may be in several slots.
    pub(super) may_have_several_keys: bool,
    /// The command has no key, so any node may carry it out.
    pub(super) is_keyless: bool,
}

static KNOWN: LazyLock<Catalogue> = LazyLock::new(Catalogue::default);

/// Counts how often all that is known may have changed.
static EDITION: AtomicU64 = AtomicU64::new(0);

/// Returns a number that is another one once commands may have come, gone or changed.
pub(super) fn edition() -> u64 {
    EDITION.load(Relaxed)
}

/// Asks this server, in process.
pub(super) struct InProcess<'a>(pub(super) Ctx<'a>);

impl CommandSource for InProcess<'_> {
    async fn ask(&self, question: Command) -> Result<Reply, Error> {
        Ok(call::run(self.0, &question))
    }
}

/// Returns what is known of this server's commands.
pub(super) fn known() -> &'static Catalogue {
    &KNOWN
}

/// Returns what the server says about this command; for one with subcommands, about the subcommand. `None` if it knows no
/// such command.
pub(super) fn description(ctx: Ctx<'_>, command: CommandRef<'_>) -> Option<Arc<Description>> {
    of_name(ctx, command.name())?.of_call(command.args())
}

/// Returns where the keys of a command with these arguments stand. Keys that the server alone can find may be read and written.
pub(super) fn key_uses(ctx: Ctx<'_>, description: &Description, args: &[&[u8]]) -> Vec<KeyUse> {
    let by_server = || {
        let found = key_positions(ctx, args).into_iter();
        found.map(|at| KeyUse { at, reads: true, writes: true }).collect()
    };
    description.key_uses(args).unwrap_or_else(by_server)
}

/// Tells whether the keys of a command are in several slots. To be asked before a node of a cluster runs one in process: a
/// server that refuses such a call may remember a slot on the client that it lends to calls, and refuse all later ones of
/// all modules and scripts, as Valkey 9 does.
pub(super) fn crosses_slots(ctx: Ctx<'_>, command: CommandRef<'_>) -> bool {
    let Some(description) = description(ctx, command) else { return false };
    if !description.may_have_several_keys() {
        return false;
    }
    let args: Vec<&[u8]> = command.words().collect();
    let mut slots = description.keys(&args, || key_positions(ctx, &args)).into_iter().map(|at| key_slot(args[at]));
    slots.next().is_some_and(|first| slots.any(|slot| slot != first))
}

fn of_name(ctx: Ctx<'_>, name: &[u8]) -> Option<Arc<Description>> {
    // In process nothing is waited for.
    KNOWN.look_up(&InProcess(ctx), name).now_or_never()?.ok()?
}

/// Returns the facts about this command; for one with subcommands, about the subcommand.
pub(super) fn facts(ctx: Ctx<'_>, command: CommandRef<'_>) -> Facts {
    let Some(whole) = of_name(ctx, command.name()) else {
        return Facts { is_write: true, is_held_by_pause: true, may_replicate: true, ..Facts::default() };
    };
    if whole.subcommands.is_empty() {
        return read(&whole);
    }
    let subcommand = command.words().nth(1).and_then(|subcommand| whole.subcommand(subcommand));
    Facts { is_of_subcommand: true, ..read(subcommand.unwrap_or(&whole)) }
}

/// Facts about one command after the other. A map has one name for all of its commands, which is looked up once, with the
/// subcommand if there is one.
#[derive(Default)]
pub(super) struct InTurn {
    last: Option<(Vec<u8>, Facts)>,
}

impl InTurn {
    pub(super) fn facts(&mut self, ctx: Ctx<'_>, command: CommandRef<'_>) -> Facts {
        if let Some((name, facts)) = &self.last
            && name == command.name()
        {
            return *facts;
        }
        let facts = facts(ctx, command);
        let holds_for_all = !facts.is_of_subcommand || command.is_as_all(true);
        self.last = holds_for_all.then(|| (command.name().to_vec(), facts));
        facts
    }
}

fn read(description: &Description) -> Facts {
    let special = description.special();
    let has = |flag: &str| description.has_flag(flag);
    let is_scripting = description.is_about_scripts();
    let is_script = is_scripting && special.is_some_and(|special| special.runs_code);
    let publishes = special.is_some_and(|special| special.publishes);
    // The server's flag for what it replicates though it is no write is not shown.
    let writes_by_itself = is_script && !has("readonly");
    Facts {
        is_write: has("write"),
        is_guarded_by_hand: has("write") && has("noscript"),
        needs_memory: has("denyoom") || writes_by_itself,
        is_held_by_pause: has("write") || writes_by_itself || publishes || description.name == "pfcount",
        may_replicate: has("write") || publishes || (is_scripting && !has("readonly")),
        is_read_only: has("readonly"),
        // An option that blocks is looked for by the engine.
        is_blocking: description.blocks_always(),
        is_script,
        runs_code: description.may_run_code(),
        names_keys: special.is_some_and(|special| special.names_keys),
        is_of_subcommand: false,
        is_of_module: has("module"),
        may_have_several_keys: description.may_have_several_keys(),
        is_keyless: description.places.as_ref().is_some_and(Vec::is_empty) && description.channel.is_none(),
    }
}

/// Asks for all commands: the module begins, or others with their commands have come or gone. Later the server may not
/// answer a module any more.
pub(super) fn learn_all(ctx: Ctx<'_>) {
    EDITION.fetch_add(1, Relaxed);
    // In process nothing is waited for, and what the server does not say now is asked for by name.
    let _ = KNOWN.learn_all(&InProcess(ctx)).now_or_never();
}

/// Forgets everything: this module is unloaded.
pub(super) fn forget() {
    EDITION.fetch_add(1, Relaxed);
    KNOWN.forget();
}
