//! What the server says about its commands: does one write, does it block, where are its keys?
//!
//! Asked once for each name with `COMMAND INFO`, and kept. On the main thread only.

use std::sync::{Arc, LazyLock};

use futures_util::FutureExt;

use super::server::call;
use super::server::context::Ctx;
use crate::command::Command;
use crate::command::CommandRef;
use crate::describe::{Catalogue, CommandSource, Description};
use crate::error::Error;
use crate::reply::Reply;

/// What matters of a command's flags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// It may change data. So may all that is neither said to read only nor known at all.
    pub(super) is_write: bool,
    /// It may change data or reach other clients, as scripts that only read may not.
    pub(super) may_replicate: bool,
    /// It changes nothing, and may be sent twice.
    pub(super) is_read_only: bool,
    /// It may block its client.
    pub(super) is_blocking: bool,
    /// It runs code that may call any other command.
    pub(super) is_script: bool,
    /// It runs code of others, be it a script or a module's, by whatever name.
    pub(super) runs_code: bool,
    /// All of this is said of a subcommand; others of the same command differ.
    pub(super) is_of_subcommand: bool,
    /// Another module runs it, and may block its client unasked.
    pub(super) is_of_module: bool,
}

static KNOWN: LazyLock<Catalogue> = LazyLock::new(Catalogue::default);

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
pub(super) fn description(ctx: Ctx<'_>, command: &Command) -> Option<Arc<Description>> {
    of_name(ctx, command.name())?.of_call(command.words().skip(1))
}

fn of_name(ctx: Ctx<'_>, name: &[u8]) -> Option<Arc<Description>> {
    // In process nothing is waited for.
    KNOWN.look_up(&InProcess(ctx), name).now_or_never()?.ok()?
}

/// The flags of this command; for one with subcommands, of the subcommand.
pub(super) fn facts(ctx: Ctx<'_>, command: CommandRef<'_>) -> Facts {
    let Some(whole) = of_name(ctx, command.name()) else {
        return Facts { is_write: true, may_replicate: true, ..Facts::default() };
    };
    if whole.subcommands.is_empty() {
        return read(&whole);
    }
    let subcommand = command.words().nth(1).and_then(|subcommand| whole.subcommand(subcommand));
    Facts { is_of_subcommand: true, ..read(subcommand.unwrap_or(&whole)) }
}

/// Facts about one command after the other. A map has one name for all of its commands, which is looked up once.
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
        self.last = (!facts.is_of_subcommand).then(|| (command.name().to_vec(), facts));
        facts
    }
}

fn read(description: &Description) -> Facts {
    let special = description.special();
    let has = |flag: &str| description.has_flag(flag);
    let is_scripting = description.is_about_scripts();
    let is_write = has("write") || (is_scripting && !has("readonly"));
    Facts {
        is_write,
        may_replicate: is_write || special.is_some_and(|special| special.publishes),
        is_read_only: has("readonly"),
        // An option that blocks is looked for by the engine.
        is_blocking: description.blocks_always(),
        is_script: is_scripting && special.is_some_and(|special| special.runs_code),
        runs_code: description.may_run_code(),
        is_of_subcommand: false,
        is_of_module: has("module"),
    }
}

/// Forgets everything: this module is unloaded, or others with their commands have come or gone.
pub(super) fn forget() {
    KNOWN.forget();
}
