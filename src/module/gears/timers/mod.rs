//! Timers that live in keys: `registerTE` with a key.
//!
//! The value of the key is all that it takes to call the function in a new process, so the timer goes where the key goes: into
//! RDB and AOF, to replicas, to another shard with its slot. It ends with the key. The function is called by a primary that
//! owns the slot and is not loading, as long as the key of database 0 has this very value, which is looked up each time.
//!
//! - `kept`: a timer as it is saved; `value`: the value of a key
//! - `table`: the values that there are
//! - `making`: a script has a timer made; `due`, `run`: its function is called
//! - `command`: the command by which AOF and replicas have it

mod command;
mod due;
pub(in crate::module) mod kept;
pub(in crate::module) mod making;
mod run;
mod table;
pub(super) mod value;

use crate::module::server::context::Ctx;

/// Registers the command, while the module is loaded.
///
/// # Errors
/// If the server refuses it.
pub(super) fn register(ctx: Ctx<'_>) -> Result<(), String> {
    table::tell(run::begin_soon);
    command::register(ctx)
}

/// Forgets everything, as when the module is loaded.
pub(super) fn reset() {
    table::reset();
    run::reset();
}
