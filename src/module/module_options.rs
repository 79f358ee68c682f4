//! Tells the server what rmr can stand (`SetModuleOptions`). A server does less for its operator as long as a module is loaded
//! that has not said so; each option is a promise, and here is why it holds.

use std::ffi::c_int;

use redis_module::raw;

use super::server::context::Ctx;

/// A load may end in the middle: what has come of a value, or of registrations, is thrown away then.
const HANDLES_IO_ERRORS: c_int = raw::REDISMODULE_OPTIONS_HANDLE_IO_ERRORS as c_int;

/// A replica may load the data of its primary while it serves the old (`repl-diskless-load swapdb`). rmr holds on to no
/// key from one command to the next, and takes the registrations that it was sent once all is there. Since nobody who is blocked is let go before the load is done, it answers all requests
/// at once meanwhile ([`Flags::deny_blocking`](super::server::context::Flags::deny_blocking)).
const HANDLES_ASYNC_LOADING: c_int = raw::REDISMODULE_OPTIONS_HANDLE_REPL_ASYNC_LOAD as c_int;

/// Keys may be in the server before their slot is (`CLUSTER MIGRATESLOTS`, Valkey 9). Whatever rmr shows of a node's keys
/// comes from commands that know of that, but for `CLUSTER GETKEYSINSLOT`, which is believed for slots that the node
/// serves, and for reading strings in place, which `rmr.direct-reads` does not do in clusters of such servers.
const HANDLES_ATOMIC_SLOT_MIGRATION: c_int = 1 << 5;

/// Says it all, when the module is loaded.
pub(super) fn declare(ctx: Ctx<'_>) {
    let is_valkey = ctx.server_info(c"server", c"valkey_version").is_some();
    // Redis may give the bit another meaning one day.
    let of_valkey = if is_valkey { HANDLES_ATOMIC_SLOT_MIGRATION } else { 0 };
    ctx.set_module_options(HANDLES_IO_ERRORS | HANDLES_ASYNC_LOADING | of_valkey);
}
