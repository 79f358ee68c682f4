//! Connections whose last command was one of ours, which goes with the module.
//!
//! Servers remember the last command of each connection, also when the module of that command has been unloaded. `CLIENT LIST`
//! then names what is not there any more, and from Redis 8.2 on the next command of the connection is compared with it: the
//! server may crash in both.

use std::ffi::CStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::api::Ctx;
use super::local;
use crate::command::Command;

/// The commands that rmr has registered, under whatever names; an author's own are not among them.
static NAMES: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn names() -> MutexGuard<'static, Vec<String>> {
    NAMES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A command has been registered.
pub(super) fn note(name: &CStr) {
    names().push(name.to_string_lossy().into_owned());
}

/// Closes such connections before the module goes. Who has one connects anew.
///
/// # Errors
/// If a reply has not left one of them; none is closed then.
pub(super) fn close(ctx: Ctx) -> Result<(), String> {
    let mut names = names();
    if names.is_empty() {
        return Ok(());
    }
    let list = local::call(ctx, &Command::new("CLIENT").arg("LIST"));
    let list = String::from_utf8_lossy(list.bytes().unwrap_or_default());
    let ours = |client: &&str| {
        let last = field(client, "cmd=");
        names.iter().any(|name| name.eq_ignore_ascii_case(last))
    };
    let clients: Vec<&str> = list.lines().filter(ours).collect();
    if clients.iter().any(|client| field(client, "obl=") != "0" || field(client, "oll=") != "0") {
        return Err("replies to its clients are on their way; try again".into());
    }
    for client in clients {
        local::call(ctx, &Command::new("CLIENT").arg("KILL").arg("ID").arg(field(client, "id=")));
    }
    names.clear();
    Ok(())
}

/// What a line of `CLIENT LIST` says under this name.
fn field<'a>(client: &'a str, name: &str) -> &'a str {
    client.split(' ').find_map(|field| field.strip_prefix(name)).unwrap_or_default()
}
