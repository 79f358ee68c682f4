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

/// The commands that this module has registered.
static NAMES: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn names() -> MutexGuard<'static, Vec<String>> {
    NAMES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A command has been registered.
pub(super) fn note(name: &CStr) {
    names().push(name.to_string_lossy().into_owned());
}

/// Closes such connections before the module goes. Who has one connects anew.
pub(super) fn close(ctx: Ctx) {
    let names = std::mem::take(&mut *names());
    if names.is_empty() {
        return;
    }
    let list = local::call(ctx, &Command::new("CLIENT").arg("LIST"));
    for client in String::from_utf8_lossy(list.bytes().unwrap_or_default()).lines() {
        let mut fields = client.split(' ');
        let id = fields.next().and_then(|id| id.strip_prefix("id="));
        let last = fields.find_map(|field| field.strip_prefix("cmd="));
        let is_ours = last.is_some_and(|last| names.iter().any(|name| name.eq_ignore_ascii_case(last)));
        if let Some(id) = id.filter(|_| is_ours) {
            local::call(ctx, &Command::new("CLIENT").arg("KILL").arg("ID").arg(id));
        }
    }
}
