//! Connections whose last command is one of this module's, and goes with it.
//!
//! Servers remember the last command of each connection, also when the module of that command has been unloaded. `CLIENT LIST`
//! then names what is not there any more, and from Redis 8.2 on the next command of the connection is compared with it: the
//! server may crash in both.

use std::ffi::{CStr, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::server::call;
use super::server::context::{self, Ctx};
use crate::command::Command;
use crate::reply::Reply;

/// The commands that rmr has registered, under whatever names. The server does not list those that are internal.
static NAMES: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

fn names() -> MutexGuard<'static, Vec<Vec<u8>>> {
    NAMES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes that a command has been registered.
pub(super) fn note(name: &CStr) {
    names().push(name.to_bytes().to_vec());
}

/// Tells whether a command of this name is one that rmr has registered.
pub(super) fn is_ours(name: &[u8]) -> bool {
    names().iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// Closes such connections before the module goes. A client that has one connects anew.
///
/// # Errors
/// If a reply has not left one of them; none is closed then.
pub(super) fn close(ctx: Ctx<'_>) -> Result<(), String> {
    let ours = commands_of_this_module(ctx);
    let list = asked(ctx, &Command::new("CLIENT").arg("LIST"));
    let list = String::from_utf8_lossy(list.bytes().unwrap_or_default());
    let was_ours = |client: &&str| {
        // A subcommand stands behind its command.
        let last = field(client, "cmd=").split('|').next().unwrap_or_default();
        ours.iter().any(|name| name.eq_ignore_ascii_case(last.as_bytes()))
    };
    let clients: Vec<&str> = list.lines().filter(was_ours).collect();
    if clients.iter().any(|client| field(client, "obl=") != "0" || field(client, "oll=") != "0") {
        return Err("replies to its clients are on their way; try again".into());
    }
    for client in clients {
        call::run(ctx, &Command::new("CLIENT").arg("KILL").arg("ID").arg(field(client, "id=")));
    }
    names().clear();
    Ok(())
}

/// Lists the commands that this module has registered, its author's commands too, which only the server knows.
fn commands_of_this_module(ctx: Ctx<'_>) -> Vec<Vec<u8>> {
    let mut commands = names().clone();
    let modules = asked(ctx, &Command::new("MODULE").arg("LIST"));
    if let Some(name) = context::own_file().and_then(|file| name_of_module(&modules, &file)) {
        let listed = asked(ctx, &Command::new("COMMAND").arg("LIST").arg("FILTERBY").arg("MODULE").arg(name));
        commands.extend(listed.elements().unwrap_or_default().iter().filter_map(|name| Some(name.bytes()?.to_vec())));
    }
    commands
}

/// Finds the module of this file. It may be listed under another path, where the library has stayed mapped since it was
/// loaded before.
fn name_of_module<'a>(modules: &'a Reply, file: &[u8]) -> Option<&'a [u8]> {
    let identity = |path: &[u8]| fs::metadata(OsStr::from_bytes(path)).ok().map(|found| (found.dev(), found.ino()));
    let (modules, own) = (modules.elements()?, identity(file));
    let find = |is_it: &dyn Fn(&[u8]) -> bool| {
        modules.iter().find(|module| module.field("path").and_then(Reply::bytes).is_some_and(is_it))
    };
    let this = find(&|path| path == file).or_else(|| find(&|path| own.is_some() && identity(path) == own))?;
    this.field("name")?.bytes()
}

/// Returns the server's answer. Commands that the server was told to rename cannot be called.
fn asked(ctx: Ctx<'_>, command: &Command) -> Reply {
    let reply = call::run(ctx, command);
    if let Reply::Error(why) = &reply {
        let (command, why) = (String::from_utf8_lossy(command.name()), String::from_utf8_lossy(why));
        ctx.log(
            c"warning",
            &format!("not all connections that should end with the module are known: {command}: {why}"),
        );
    }
    reply
}

/// Returns the value of this field in a line of `CLIENT LIST`.
fn field<'a>(client: &'a str, name: &str) -> &'a str {
    client.split(' ').find_map(|field| field.strip_prefix(name)).unwrap_or_default()
}
