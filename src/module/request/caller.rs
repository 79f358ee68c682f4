//! The engine as the caller of a command may use it.

use std::sync::Arc;

use super::running::CANNOT_WAIT;
use crate::engine::Engine;
use crate::error::Error;
use crate::module::acl::CallersRights;
use crate::module::server::context::Ctx;
use crate::module::state;

/// Returns the engine within the caller's rights, in its database, and without waiting where it cannot wait.
pub(crate) fn engine(ctx: Ctx<'_>) -> Result<Engine, Error> {
    let engine = state::engine()?.with_gate(Arc::new(CallersRights::of(ctx)));
    let engine = engine.in_database(ctx.selected_database());
    Ok(if ctx.flags().deny_blocking() { engine.in_process_only(CANNOT_WAIT) } else { engine })
}
