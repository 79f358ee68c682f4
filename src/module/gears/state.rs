//! The state that the commands of RedisGears keep in this server. A library that stays mapped after it was unloaded keeps it,
//! too; a new load begins anew.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::executions::{Dropped, ExecutionStart, FlowOutcome, GearsExecution, GearsExecutions};
use super::sessions::{GearsSessions, SessionFacts};
use crate::module::state;

static EXECUTIONS: GearsExecutions = GearsExecutions::new();

static SESSIONS: GearsSessions = GearsSessions::new();

/// Sessions whose scripts have run, and that may have left something behind that runs: functions that are called again and
/// again.
static STAYING: Mutex<Vec<Arc<SessionFacts>>> = Mutex::new(Vec::new());

/// Returns the sessions that scripts have made on this node.
pub(super) fn sessions() -> &'static GearsSessions {
    let is_open =
        |facts: &SessionFacts| state::python_sessions().is_ok_and(|sessions| sessions.find(&facts.name).is_some());
    STAYING.lock().unwrap_or_else(PoisonError::into_inner).retain(|facts| is_open(facts));
    &SESSIONS
}

/// Notes that the script of a session has run, and its flow: the session stays if it has left something behind.
pub(super) fn script_has_run(facts: Arc<SessionFacts>) {
    STAYING.lock().unwrap_or_else(PoisonError::into_inner).push(facts);
    // Those of which nothing is left go.
    sessions();
}

/// Returns the executions that this node has begun.
pub(super) fn executions() -> &'static GearsExecutions {
    &EXECUTIONS
}

/// Begins an execution.
pub(super) fn begin(start: ExecutionStart<'_>) -> Arc<GearsExecution> {
    EXECUTIONS.begin(start, state::executions())
}

/// Begins the top level of a script.
pub(super) fn begin_script(start: ExecutionStart<'_>) -> Arc<GearsExecution> {
    EXECUTIONS.begin_script(start, state::executions())
}

/// Gives an execution its end.
pub(super) fn end(execution: &GearsExecution, outcome: FlowOutcome) {
    EXECUTIONS.end(execution, outcome, state::executions());
}

/// Drops an execution that has ended.
pub(super) fn drop_ended(id: &str) -> Dropped {
    EXECUTIONS.drop_ended(id, state::executions())
}

/// Returns what tells apart the packages that this server has for some requirements; [`None`] if it has none.
pub(super) fn digest_of_packages(requirements: &BTreeSet<String>) -> Option<u128> {
    state::python_sessions().ok()?.requirements().digest(requirements)
}

/// Forgets everything, as when the module is loaded.
pub(in crate::module) fn reset() {
    EXECUTIONS.reset(state::executions());
    STAYING.lock().unwrap_or_else(PoisonError::into_inner).clear();
    SESSIONS.reset();
}
