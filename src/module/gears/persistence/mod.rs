//! Saves and loads the part of functions that outlives the process: registrations, the packages that they need, and timers in
//! keys.
//!
//! - **RDB**: beside the keys, as long as there are registrations. Redis 7.0 would save an empty piece of ours otherwise, which
//!   a server without the module does not load, so that there an operator has to say that it is wanted (`rmr.gears on`).
//! - **AOF and replicas**: a command for each change (`RG.INNERREGISTER`), which nobody else may send. No server saves what
//!   stands beside the keys when it rewrites an AOF without an RDB in front: then the whole is sent to the new AOF alone.
//! - **Loading**: what comes is kept until all is there. Then it takes the place of what there was, before any client is
//!   served.
//!
//! The bytes to be saved stand ready: a child that writes a file has none of our other threads, and a lock of theirs would
//! never be let go.

pub(super) mod came;
mod command;
mod kept;
mod loading;
pub(super) mod saved;
pub(super) mod sending;

use redis_module::raw;

use super::timers::value::TYPE;
use crate::module::server::context::Ctx;

/// Tells the server of our data type and command, while the module is loaded.
///
/// # Errors
/// If it refuses.
pub(super) fn register(ctx: Ctx<'_>) -> Result<(), String> {
    command::register(ctx)?;
    loading::subscribe(ctx);
    ctx.subscribe(raw::REDISMODULE_EVENT_FORK_CHILD, 1, sending::on_child);
    if saved::is_kept() && !TYPE.register(ctx) {
        return Err("the data type of registrations cannot be registered: another module has it".to_owned());
    }
    Ok(())
}

/// Forgets everything, as when the module is loaded.
pub(super) fn reset() {
    saved::reset();
    came::reset();
    TYPE.reset();
}
