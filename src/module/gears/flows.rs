//! Runs a flow of a session on the shards, and turns what comes of it into what clients and scripts get.

use std::sync::Arc;

use bytes::Bytes;
use serde_bytes::ByteBuf;

use super::caller::GearsCaller;
use super::cluster::ClusterView;
use super::executions::FlowOutcome;
use super::settings;
use crate::error::Error;
use crate::flow::coordinator::{self, FlowAnswer, FlowSpec};
use crate::flow::execution::Execution;
use crate::flow::plan::Passage;
use crate::module::config;
use crate::module::flow::own_code::OwnCode;
use crate::module::state as module_state;
use crate::python::WorkerSettings;
use crate::python::stage::{GivenEvents, PythonStage, StageResults};

/// A flow, and the session whose it is.
pub(super) struct FlowOfSession<'a> {
    /// The name of the session between nodes.
    pub(super) session: &'a str,
    /// The requirements of its script.
    pub(super) requirements: &'a [String],
    pub(super) flow: RunnableFlow<'a>,
    /// Tells whether there are other shards.
    pub(super) is_cluster: bool,
}

/// The facts about a flow that are needed to run it.
pub(super) struct RunnableFlow<'a> {
    /// The key by which workers know it.
    pub(super) key: &'a str,
    /// The bytes of which the workers of other shards make it.
    pub(super) blob: &'a [u8],
    /// The ways in which its stages hand on records.
    pub(super) passages: &'a [Passage],
    /// The steps run on this shard, as one stage.
    pub(super) is_local: bool,
    /// The flow is not to be forgotten when it has run.
    pub(super) stays: bool,
    /// The events for the flow of a registration.
    pub(super) given: Option<GivenEvents>,
}

/// Runs a flow.
///
/// # Errors
/// The error says why it cannot be run. Failures while it runs are among the errors of its answer.
pub(super) async fn run(
    run: FlowOfSession<'_>,
    caller: &GearsCaller,
    results: StageResults,
    execution: Arc<Execution>,
) -> Result<FlowAnswer, Error> {
    let RunnableFlow { key, blob, passages, is_local, stays, given } = run.flow;
    let moves_records = run.is_cluster && !is_local;
    let stage = PythonStage {
        session: run.session.to_owned(),
        user: caller.user.clone(),
        key: key.to_owned(),
        blob: ByteBuf::from(blob.to_vec()),
        is_local: !moves_records,
        is_cluster: run.is_cluster,
        results,
        with_traceback: settings::attempts_traceback(),
        is_profiling: settings::profiles_executions(),
        is_one_off: !stays,
        requirements: run.requirements.to_vec(),
        python: module_state::python_sessions()?.python_version().await?.to_string(),
        given,
    };
    let spec = FlowSpec {
        plan: stage.plan(if moves_records { passages } else { &[Passage::Collect] })?,
        combine: None,
        timeout: None,
        idle: settings::execution_max_idle(),
        memory: config::flow_memory(),
        registry: Arc::new(OwnCode::with(caller.rights.clone())),
        caller: caller.caller.clone(),
        on_replicas: false,
        only_here: !moves_records,
        keeps_results: true,
        home: Some(caller.keyspace.clone()),
    };
    coordinator::run(spec, caller.requests.clone(), execution).await
}

/// Returns what workers of this node have to know.
pub(super) fn for_workers(view: &ClusterView) -> WorkerSettings {
    WorkerSettings {
        shard: view.shard_name().to_owned(),
        is_cluster: view.is_cluster,
        with_traceback: settings::attempts_traceback(),
        is_profiling: settings::profiles_executions(),
    }
}

/// Takes the errors out of an answer: those of records, and why it has ended too soon.
pub(super) fn errors(answer: &mut FlowAnswer) -> Vec<Bytes> {
    let mut errors = std::mem::take(&mut answer.errors);
    if answer.has_idled {
        errors.push(Bytes::from_static(b"Execution max idle reached"));
    }
    errors.extend(answer.error.take().map(|error| error.to_string().into()));
    errors
}

/// Returns what a client gets.
pub(super) fn outcome(mut answer: FlowAnswer) -> FlowOutcome {
    // Whoever has waited only, or not begun, is aborted; code that was ended in its midst says so itself.
    let was_aborted = answer.errors.is_empty() && matches!(answer.error, Some(Error::Cancelled { .. }));
    answer.error = answer.error.filter(|error| !matches!(error, Error::Cancelled { .. }));
    let mut errors = errors(&mut answer);
    let mut results = Vec::with_capacity(answer.records.len());
    for (_, reply) in answer.records.replies() {
        match reply {
            Ok(reply) => results.push(reply),
            Err(error) => errors.push(Bytes::from(error.to_string())),
        }
    }
    FlowOutcome { is_aborted: was_aborted || answer.has_idled, results, errors, steps_took: answer.took }
}
