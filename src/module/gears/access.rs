//! Tells which users may use the commands of RedisGears.
//!
//! Commands that make or control functions run code of users on all shards: it stands in `@admin`, `@dangerous` and `@scripting`.
//! From Redis 7.2 on a module puts its commands into categories, and the server asks for the right to them. Before, it knows
//! of no category that a module's command is in, so that whoever has `+@all -@admin -@dangerous -@scripting` could run them:
//! each command then asks for the right to a command of the server's own for each of the categories.

use std::ffi::CStr;

use crate::command::{Command, CommandRef};
use crate::error::Error;
use crate::module::acl::CallersRights;
use crate::module::catalog;
use crate::module::server::context::{self, Ctx};
use crate::module::server::user::User;

/// The categories of what makes or controls functions.
pub(super) const CONTROL: &str = "admin dangerous scripting slow blocking";

/// The categories of what everybody may do who has any right to commands of modules.
pub(super) const OWN: &str = "read slow blocking";

/// The first version, Redis 7.2, in which modules put their commands into categories.
const HAS_CATEGORIES: u32 = 0x0007_0200;

/// Names, for each category, commands that are in it, that name no keys and that nobody is granted for their own sake.
/// The first one that the server has stands for the category; some are renamed on some servers.
const STAND_INS: [[&[&str]; 2]; 3] = [
    [&["BGREWRITEAOF"], &["REPLICAOF", "NO", "ONE"]],
    [&["SWAPDB", "0", "1"], &["FLUSHALL"]],
    [&["EVAL", "", "0"], &["SCRIPT", "FLUSH"]],
];

/// Refuses a caller who may not make or control functions. On the main thread.
///
/// # Errors
/// That the caller has no right to the command.
pub(super) fn check(ctx: Ctx<'_>, name: &CStr) -> Result<(), Error> {
    if context::server_version() >= HAS_CATEGORIES {
        return Ok(());
    }
    let Some(caller) = CallersRights::of(ctx).into_name() else { return Ok(()) };
    let name = name.to_string_lossy().to_lowercase();
    let denied = || Error::NoPermission(format!("this user has no permissions to run the '{name}' command"));
    let user = User::named(&caller).ok_or_else(denied)?;
    if STAND_INS.iter().all(|of_category| may_use(ctx, &user, of_category)) {
        return Ok(());
    }
    user.note_denied(ctx, name.as_bytes());
    Err(denied())
}

fn may_use(ctx: Ctx<'_>, user: &User, stand_ins: &[&[&str]]) -> bool {
    let is_known = |words: &&&[&str]| {
        let command = Command::new(words[0]);
        catalog::description(ctx, CommandRef::Whole(&command)).is_some()
    };
    stand_ins.iter().find(is_known).is_some_and(|words| {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        user.may_run_keyless(&words)
    })
}
