//! What the commands of RedisGears keep in this server. A library that stays mapped after it was unloaded keeps it, too; a
//! new load begins anew.

use std::sync::Arc;

use super::executions::{Dropped, ExecutionStart, FlowOutcome, GearsExecution, GearsExecutions};
use super::sessions::GearsSessions;
use crate::module::state;

static EXECUTIONS: GearsExecutions = GearsExecutions::new();

static SESSIONS: GearsSessions = GearsSessions::new();

/// Returns the sessions that scripts have made on this node.
pub(super) fn sessions() -> &'static GearsSessions {
    &SESSIONS
}

/// Returns the executions that this node has begun.
pub(super) fn executions() -> &'static GearsExecutions {
    &EXECUTIONS
}

/// Begins an execution.
pub(super) fn begin(start: ExecutionStart<'_>) -> Arc<GearsExecution> {
    EXECUTIONS.begin(start, state::executions())
}

/// Gives an execution its end.
pub(super) fn end(execution: &GearsExecution, outcome: FlowOutcome) {
    EXECUTIONS.end(execution, outcome, state::executions());
}

/// Drops an execution that has ended.
pub(super) fn drop_ended(id: &str) -> Dropped {
    EXECUTIONS.drop_ended(id, state::executions())
}

/// Begins anew.
pub(in crate::module) fn reset() {
    EXECUTIONS.reset(state::executions());
    SESSIONS.reset();
}
