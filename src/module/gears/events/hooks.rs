//! Commands of clients that functions stand before, or that wait for functions: which ones these are.
//!
//! A filter sees each command of a client. Where a function is concerned it puts a command of ours in front, which the server
//! then runs instead. Without such functions there is no filter.

use std::cell::RefCell;
use std::sync::Arc;

use super::run::EventRunner;
use crate::command::Command;
use crate::module::catalog;
use crate::module::gears::registry::registration::{EventReader, Registration, is_of_prefix};
use crate::module::server::context::Ctx;
use crate::module::server::filter::{self, FilteredCommand, WordsFilter};
use crate::module::server::main_thread;
use crate::module::server::user::{User, key_positions};

/// The command that the filter puts in the place of another. This one asks its user for the right to it,
pub(super) const HOOKED: &str = "RG.INNERHOOK";

/// and this asks for none, not even for a password.
pub(super) const HOOKED_FOR_ALL: &str = "RG.INNERHOOKFORALL";

/// A function that stands before a command.
pub(super) struct Hook {
    /// The name of the command, in lower case.
    command: String,
    /// The beginning of one of its keys.
    prefix: Option<Vec<u8>>,
    pub(super) runner: EventRunner,
}

/// Commands whose clients wait for functions that their events begin.
struct LinkedCommands {
    id: String,
    /// The names of the commands, in lower case.
    commands: Vec<String>,
    /// The beginning of the keys.
    prefix: Vec<u8>,
}

#[derive(Default)]
struct HookTable {
    /// The newest first.
    hooks: Vec<Arc<Hook>>,
    linked: Vec<LinkedCommands>,
    filter: Option<WordsFilter>,
}

thread_local! {
    /// The hooks of this server. On the main thread.
    static TABLE: RefCell<HookTable> = RefCell::default();
}

/// Checks whether a function can stand before a command, or be waited for by its clients. On the main thread.
///
/// # Errors
/// The error says why not, as clients are told.
pub(super) fn check(ctx: Ctx<'_>, reader: &EventReader) -> Result<(), String> {
    match reader {
        EventReader::Command(wanted) => {
            let Some(name) = &wanted.hook else { return Ok(()) };
            check_command(ctx, name, "override", wanted.prefix().is_some())
        }
        EventReader::Keys(wanted) => {
            let names = wanted.commands.iter().flatten();
            if wanted.commands.is_some() && wanted.prefix.is_empty() {
                return Err("Empty perfix given to command hooker".to_owned());
            }
            names.into_iter().try_for_each(|name| check_command(ctx, name, "hook", true))
        }
        EventReader::Stream(_) => Ok(()),
    }
}

fn check_command(ctx: Ctx<'_>, name: &str, verb: &str, by_prefix: bool) -> Result<(), String> {
    let Some(description) = catalog::description(ctx, (&Command::new(name)).into()) else {
        return Err(format!("Can not {verb} an unexisting command"));
    };
    if description.has_flag("noscript") {
        return Err(format!("Can not {verb} a command which are not allowed inside a script"));
    }
    if by_prefix && description.has_flag("movablekeys") {
        return Err(format!("Can not {verb} a command with moveable keys by key prefix"));
    }
    if by_prefix && description.keys.is_empty() {
        return Err(format!("Can not {verb} a command by key prefix with none positive first key"));
    }
    Ok(())
}

/// Has functions stand before commands, or clients wait for functions, if this registration says so. On the main thread.
///
/// # Errors
/// If the server refuses the filter.
pub(super) fn add(ctx: Ctx<'_>, registration: &Registration, runner: &EventRunner) -> Result<(), String> {
    TABLE.with_borrow_mut(|table| {
        match &registration.reader {
            EventReader::Command(wanted) => {
                let Some(command) = wanted.hook.clone() else { return Ok(()) };
                let prefix = wanted.prefix().map(<[u8]>::to_vec);
                table.hooks.insert(0, Arc::new(Hook { command, prefix, runner: runner.clone() }));
            }
            EventReader::Keys(wanted) => {
                let Some(commands) = wanted.commands.clone() else { return Ok(()) };
                let (id, prefix) = (registration.id.clone(), wanted.prefix.to_vec());
                table.linked.push(LinkedCommands { id, commands, prefix });
            }
            EventReader::Stream(_) => return Ok(()),
        }
        if table.filter.is_none() {
            table.filter = Some(WordsFilter::register(ctx, see).ok_or("the server refuses a command filter")?);
        }
        Ok(())
    })
}

/// Ends that. On the main thread, and not within a filter.
pub(super) fn remove(id: &str) {
    let filter = TABLE.with_borrow_mut(|table| {
        table.hooks.retain(|hook| hook.runner.live.registration.id != id);
        table.linked.retain(|linked| linked.id != id);
        if table.hooks.is_empty() && table.linked.is_empty() { table.filter.take() } else { None }
    });
    end(filter);
}

/// Ends all: the module is unloaded.
pub(super) fn close() {
    end(TABLE.take().filter);
}

fn end(filter: Option<WordsFilter>) {
    if let Some(filter) = filter {
        main_thread::with_detached(|ctx| filter.remove(ctx));
    }
}

/// Returns the functions that stand before a command of these words, the newest first.
pub(super) fn chain_of(ctx: Ctx<'_>, words: &[&[u8]]) -> Vec<Arc<Hook>> {
    TABLE.with_borrow(|table| {
        let mut keys = None;
        let mut stands_before = |hook: &Hook| {
            let is_named = words.first().is_some_and(|name| hook.command.as_bytes().eq_ignore_ascii_case(name));
            is_named
                && hook.prefix.as_ref().is_none_or(|prefix| {
                    let keys = keys.get_or_insert_with(|| positions(ctx, words));
                    keys.iter().any(|&at| words.get(at).is_some_and(|key| key.starts_with(prefix)))
                })
        };
        table.hooks.iter().filter(|hook| stands_before(hook)).cloned().collect()
    })
}

/// Tells whether the client of a command of these words waits for functions that it begins.
pub(super) fn is_linked(ctx: Ctx<'_>, words: &[&[u8]]) -> bool {
    TABLE.with_borrow(|table| {
        let mut keys = None;
        table.linked.iter().any(|linked| {
            let name = words.first().copied().unwrap_or_default();
            linked.commands.iter().any(|command| command.as_bytes().eq_ignore_ascii_case(name)) && {
                let keys = keys.get_or_insert_with(|| positions(ctx, words));
                keys.iter().any(|&at| words.get(at).is_some_and(|key| is_of_prefix(&linked.prefix, key)))
            }
        })
    })
}

/// Returns where the keys of a command stand in its words.
pub(super) fn positions(ctx: Ctx<'_>, words: &[&[u8]]) -> Vec<usize> {
    let ask = || key_positions(ctx, words);
    let description = words.first().and_then(|name| catalog::description(ctx, (&Command::new(*name)).into()));
    description.map_or_else(ask, |description| description.keys(words, ask))
}

/// Looks at a command, and has ours run in its place if a function is concerned.
fn see(filtered: &mut FilteredCommand<'_>) {
    let is_named = TABLE.with_borrow(|table| {
        let name = filtered.word(0);
        let is_it = |command: &String| command.as_bytes().eq_ignore_ascii_case(name);
        table.hooks.iter().any(|hook| is_it(&hook.command))
            || table.linked.iter().any(|it| it.commands.iter().any(is_it))
    });
    if is_named {
        main_thread::with_detached(|ctx| see_with(ctx, filtered));
    }
}

fn see_with(ctx: Ctx<'_>, filtered: &mut FilteredCommand<'_>) {
    // Calls of scripts have no room for words that are put in front.
    if ctx.flags().is_busy() {
        return;
    }
    let words: Vec<&[u8]> = (0..filtered.len()).map(|at| filtered.word(at)).collect();
    if chain_of(ctx, &words).is_empty() && !is_linked(ctx, &words) {
        return;
    }
    let is_for_all = if filter::missing().is_some() {
        // Nobody says whose command it is. Where it is the server's own, ours will let it through.
        let_in_without_password()
    } else {
        let id = filtered.client();
        match filter::look(ctx, id) {
            Some(seen) if seen.is_user => is_let_in(ctx, id),
            _ => return,
        }
    };
    filtered.put_in_front(&[if is_for_all { HOOKED_FOR_ALL } else { HOOKED }.as_bytes()]);
}

/// Tells whether it is certain that a client has given the password that it needs. A server does not say so; but whoever is
/// another user than the first has, and where the first user needs no password nobody else does.
pub(super) fn is_let_in(ctx: Ctx<'_>, client: u64) -> bool {
    let is_another = filter::user_of(ctx, client).is_some_and(|name| name != b"default");
    is_another || let_in_without_password()
}

fn let_in_without_password() -> bool {
    let rules = User::named(b"default").and_then(|user| user.rules()).unwrap_or_default();
    let has = |word: &[u8]| rules.split(|byte| *byte == b' ').any(|rule| rule == word);
    has(b"nopass") && has(b"on")
}
