//! Brings settings into use: when the module is loaded, and after each `CONFIG SET`.
//!
//! The one place that knows both the settings and those who heed them.

use super::config::{self, Provider};
use super::local::direct;
use super::server::context::Ctx;
use super::server::setting_callbacks::{load_values, register_choice, register_number, register_text};
use super::server::{main_thread, paced};
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
    paced::set_share(config::flow_share());
    proxy::enter(config::proxy_mode())
}

/// Brings the values into use.
fn apply_all() -> Result<(), String> {
    check_together()?;
    config::read_overrides()?;
    paced::set_share(config::flow_share());
    if let Some(engine) = state::engine_if_started() {
        setup::set_limits(&engine);
    }
    state::rebuild_if_changed().map_err(|error| error.to_string())?;
    proxy::enter(config::proxy_mode())
}

/// Refuses values that do not go together.
fn check_together() -> Result<(), String> {
    let is_cluster = main_thread::with_detached(|ctx| ctx.flags().is_cluster()).unwrap_or_default();
    match config::provider() {
        Provider::Static if config::nodes().trim().is_empty() => {
            Err("rmr.provider static needs rmr.nodes \"host:port ...\"".into())
        }
        Provider::Cluster if !is_cluster => Err("rmr.provider is cluster, but cluster-enabled is no".into()),
        _ if config::direct_reads() => {
            direct::why_not(is_cluster).map_or_else(|| proxy::check(config::proxy_mode()), |why| Err(why.to_owned()))
        }
        _ => proxy::check(config::proxy_mode()),
    }
}
