//! Keeps the changes that come while the server loads, until all is there.
//!
//! An RDB has registrations or none, and either way that is all there is then. An AOF may begin with one, and changes follow.

use redis_module::raw;

use super::came;
use super::kept::KeptRegistry;
use crate::module::gears::registry::{self, TakenSets};
use crate::module::server::context::Ctx;
use crate::module::server::main_thread;

/// Has the server tell when loads begin and end.
pub(super) fn subscribe(ctx: Ctx<'_>) {
    ctx.subscribe(raw::REDISMODULE_EVENT_LOADING, 1, |subevent| match subevent {
        raw::REDISMODULE_SUBEVENT_LOADING_RDB_START | raw::REDISMODULE_SUBEVENT_LOADING_REPL_START => came::begin(true),
        raw::REDISMODULE_SUBEVENT_LOADING_AOF_START => came::begin(false),
        raw::REDISMODULE_SUBEVENT_LOADING_ENDED => end(),
        _ => came::reset(),
    });
    ctx.subscribe(raw::REDISMODULE_EVENT_REPL_ASYNC_LOAD, 1, |subevent| match subevent {
        raw::REDISMODULE_SUBEVENT_REPL_ASYNC_LOAD_STARTED => came::begin(true),
        raw::REDISMODULE_SUBEVENT_REPL_ASYNC_LOAD_COMPLETED => end(),
        _ => came::reset(),
    });
}

/// Brings what has come into use. On the main thread, before any client is served.
fn end() {
    let Some(came) = came::end() else { return };
    main_thread::with_detached(|ctx| {
        if came.is_whole || came.aside.is_some() {
            take(ctx, came.aside.unwrap_or_default(), TakenSets::Whole);
        }
        came.changes.into_iter().for_each(|kept| take(ctx, kept, TakenSets::Change));
    });
}

/// Makes this node have what is kept.
pub(super) fn take(ctx: Ctx<'_>, kept: KeptRegistry, taken: TakenSets) {
    kept.packages.into_iter().for_each(|packages| packages.keep_for_later());
    registry::take(ctx, kept.change, taken, true);
}
