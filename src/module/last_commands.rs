//! Connections whose last command is one of this module's, and goes with it.
//!
//! Servers remember the last command of each connection, also when the module of that command has been unloaded. `CLIENT LIST`
//! then names what is not there any more, and from Redis 8.2 on the next command of the connection is compared with it: the
//! server may crash in both.

use std::ffi::CStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::api::{self, Ctx};
use super::local;
use crate::command::Command;

/// The commands that rmr has registered, under whatever names. The server does not list those that are internal.
static NAMES: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

fn names() -> MutexGuard<'static, Vec<Vec<u8>>> {
    NAMES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A command has been registered.
pub(super) fn note(name: &CStr) {
    names().push(name.to_bytes().to_vec());
}

/// Closes such connections before the module goes. Who has one connects anew.
///
/// # Errors
/// If a reply has not left one of them; none is closed then.
pub(super) fn close(ctx: Ctx) -> Result<(), String> {
    let ours = commands_of_this_module(ctx);
    let list = local::call(ctx, &Command::new("CLIENT").arg("LIST"));
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
        local::call(ctx, &Command::new("CLIENT").arg("KILL").arg("ID").arg(field(client, "id=")));
    }
    names().clear();
    Ok(())
}

/// What this module has registered, its author's commands too, which only the server knows.
fn commands_of_this_module(ctx: Ctx) -> Vec<Vec<u8>> {
    let mut commands = names().clone();
    if let Some(name) = name_of_this_module(ctx) {
        let list = Command::new("COMMAND").arg("LIST").arg("FILTERBY").arg("MODULE").arg(name);
        let listed = local::call(ctx, &list);
        commands.extend(listed.elements().unwrap_or_default().iter().filter_map(|name| Some(name.bytes()?.to_vec())));
    }
    commands
}

/// The server knows it by the file.
fn name_of_this_module(ctx: Ctx) -> Option<Vec<u8>> {
    let file = api::own_file()?;
    let modules = local::call(ctx, &Command::new("MODULE").arg("LIST"));
    let paths = modules.elements()?.iter().filter_map(|module| Some((module, module.field("path")?.bytes()?)));
    // One that was loaded without saying in which directory was found in one.
    let is_end = |path: &[u8]| file.strip_suffix(path).is_some_and(|start| start.is_empty() || start.ends_with(b"/"));
    let (this, _) = paths.filter(|(_, path)| is_end(path)).max_by_key(|(_, path)| path.len())?;
    Some(this.field("name")?.bytes()?.to_vec())
}

/// What a line of `CLIENT LIST` says under this name.
fn field<'a>(client: &'a str, name: &str) -> &'a str {
    client.split(' ').find_map(|field| field.strip_prefix(name)).unwrap_or_default()
}
