//! Changes of registrations on their way into the AOF and to replicas.

use std::time::Duration;

use redis_module::raw;

use super::kept::{COMMAND, KeptRegistry};
use super::saved;
use crate::module::gears::registry::set::RegistryChange;
use crate::module::server::context::{self, Ctx};
use crate::module::server::data_type::{self, ReplicateTo};
use crate::module::server::{call, main_thread, timer};

/// Writes that are paused are tried again after this time.
const TRIED_AGAIN: Duration = Duration::from_millis(10);

/// Has a change go into the AOF and to the replicas. On the main thread.
pub(in crate::module::gears) fn replicate(ctx: Ctx<'_>, change: &RegistryChange) {
    if context::writes_are_paused() {
        timer::after(ctx, TRIED_AGAIN, replicate_whole);
        return;
    }
    match KeptRegistry::of(change.clone()).to_bytes() {
        Ok(bytes) => data_type::replicate(ctx, ReplicateTo::AofAndReplicas, COMMAND, &[&bytes]),
        Err(error) => log::warn!("registrations cannot be replicated: {error}"),
    }
}

/// Sends all, once the pause is over in which something has changed.
fn replicate_whole(ctx: Ctx<'_>) {
    if context::writes_are_paused() {
        timer::after(ctx, TRIED_AGAIN, replicate_whole);
    } else {
        saved::with_whole(|bytes| data_type::replicate(ctx, ReplicateTo::AofAndReplicas, COMMAND, &[bytes]));
    }
}

/// Hears that a child of the server has begun, or has ended.
pub(super) fn on_child(subevent: u64) {
    if subevent != raw::REDISMODULE_SUBEVENT_FORK_CHILD_BORN || saved::saved().is_none() {
        return;
    }
    main_thread::with_detached(|ctx| {
        if ctx.server_info(c"persistence", c"aof_rewrite_in_progress").as_deref() == Some("1") {
            timer::after(ctx, Duration::ZERO, complete_aof);
        }
    });
}

/// Completes a rewrite of the AOF that has begun, which lacks the registrations if it has no RDB in front.
fn complete_aof(ctx: Ctx<'_>) {
    if context::writes_are_paused() {
        timer::after(ctx, TRIED_AGAIN, complete_aof);
    } else if call::config_get(ctx, "aof-use-rdb-preamble") != b"yes" {
        saved::with_whole(|bytes| data_type::replicate(ctx, ReplicateTo::Aof, COMMAND, &[bytes]));
    }
}
