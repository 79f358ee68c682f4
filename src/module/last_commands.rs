//! Connections whose last command is one of this module's, and goes with it.
//!
//! Servers remember the last command of each connection, also when the module of that command has been unloaded. `CLIENT LIST`
//! then names what is not there any more, and from Redis 8.2 on the next command of the connection is compared with it: the
//! server may crash in both.

use super::api::{self, Ctx};
use super::local;
use crate::command::Command;
use crate::reply::Reply;

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
    Ok(())
}

/// What this module has registered, its author's commands too. None while it is being loaded.
fn commands_of_this_module(ctx: Ctx) -> Vec<Vec<u8>> {
    let Some(file) = api::own_file() else { return Vec::new() };
    let modules = local::call(ctx, &Command::new("MODULE").arg("LIST"));
    let is_this = |module: &&Reply| {
        // One that was loaded without saying in which directory was found in one.
        let path = module.field("path").and_then(Reply::bytes).unwrap_or_default();
        file.strip_suffix(path).is_some_and(|before| before.is_empty() || before.ends_with(b"/"))
    };
    let this = modules.elements().unwrap_or_default().iter().find(is_this);
    let Some(name) = this.and_then(|module| module.field("name")?.bytes()) else { return Vec::new() };
    let list = Command::new("COMMAND").arg("LIST").arg("FILTERBY").arg("MODULE").arg(name);
    let commands = local::call(ctx, &list);
    commands.elements().unwrap_or_default().iter().filter_map(|name| Some(name.bytes()?.to_vec())).collect()
}

/// What a line of `CLIENT LIST` says under this name.
fn field<'a>(client: &'a str, name: &str) -> &'a str {
    client.split(' ').find_map(|field| field.strip_prefix(name)).unwrap_or_default()
}
