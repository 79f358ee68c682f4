//! Brings settings into use: when the module is loaded, and after each `CONFIG SET`.
//!
//! The one place that knows both the settings and those who heed them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::config::{self, Provider, ShardBy};
use super::local::direct;
use super::server::context::Ctx;
use super::server::setting_callbacks::{load_values, register_choice, register_number, register_text};
use super::server::{call, main_thread, paced};
use super::{gears, proxy, setup, state};

/// Registers all settings, with what `loadmodule` was given as their values.
pub(super) fn register(ctx: Ctx<'_>, args: &[&[u8]]) -> Result<(), String> {
    config::reset();
    gears::reset();
    config::read_arguments(&gears::settings::take_arguments(args)?)?;
    for number in config::NUMBERS {
        register_number(ctx, number, apply_all)?;
    }
    for choice in config::CHOICES {
        register_choice(ctx, choice, apply_all)?;
    }
    for text in config::TEXTS {
        register_text(ctx, text, apply_all)?;
    }
    load_values(ctx)?;
    check_together()?;
    config::read_overrides()?;
    warn_of_atomic_timeout();
    paced::set_share(config::flow_share());
    proxy::enter(config::proxy_mode())
}

/// Brings the values into use.
fn apply_all() -> Result<(), String> {
    check_together()?;
    config::read_overrides()?;
    warn_of_atomic_timeout();
    paced::set_share(config::flow_share());
    if let Some(engine) = state::engine_if_started() {
        setup::set_limits(&engine);
    }
    state::rebuild_if_changed().map_err(|error| error.to_string())?;
    proxy::enter(config::proxy_mode())
}

/// Says in the log if a function may keep this node for so long that others take it for dead; once for each value.
fn warn_of_atomic_timeout() {
    static SAID: AtomicU64 = AtomicU64::new(0);
    let timeout = config::atomic_timeout().as_millis() as u64;
    if SAID.load(Relaxed) == timeout {
        return;
    }
    let node_timeout = main_thread::with_detached(|ctx| {
        let text = ctx.flags().is_cluster().then(|| call::config_get(ctx, "cluster-node-timeout"))?;
        String::from_utf8_lossy(&text).parse::<u64>().ok()
    });
    SAID.store(timeout, Relaxed);
    if let Some(Some(node_timeout)) = node_timeout
        && timeout.saturating_mul(2) >= node_timeout
    {
        log::warn!(
            "rmr.atomic-timeout-ms is {timeout}, half of cluster-node-timeout ({node_timeout}) or more: a node that a function \
             keeps for so long may be taken for dead"
        );
    }
}

/// Refuses values that do not go together.
fn check_together() -> Result<(), String> {
    let is_cluster = main_thread::with_detached(|ctx| ctx.flags().is_cluster()).unwrap_or_default();
    match config::provider() {
        Provider::Static if config::nodes().trim().is_empty() => {
            Err("rmr.provider static needs rmr.nodes \"host:port ...\"".into())
        }
        Provider::Placement if config::configuration_node().0.is_empty() => {
            Err("rmr.provider placement needs rmr.placement \"redis://host:port\"".into())
        }
        Provider::Placement if config::shard_by() != ShardBy::Auto => {
            Err("rmr.provider placement needs rmr.shard-func auto: the configuration node says where keys are".into())
        }
        Provider::Cluster if !is_cluster => Err("rmr.provider is cluster, but cluster-enabled is no".into()),
        _ if config::direct_reads() => {
            direct::why_not(is_cluster).map_or_else(|| proxy::check(config::proxy_mode()), |why| Err(why.to_owned()))
        }
        _ => proxy::check(config::proxy_mode()),
    }
}
