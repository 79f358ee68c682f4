//! `await GB().run()`: flows that scripts start outside of their top level, and wait for.

use std::panic::AssertUnwindSafe;

use bytes::BytesMut;
use futures_util::FutureExt;

use super::caller::GearsCaller;
use super::cluster::ClusterView;
use super::executions::{ExecutionStart, FlowOutcome};
use super::flows::{self, FlowOfSession};
use super::plans::DescribedFlow;
use super::{settings, state};
use crate::error::Error;
use crate::flow::coordinator::FlowAnswer;
use crate::module::{python, state as module_state};
use crate::python::StartedFlow;
use crate::python::stage::StageResults;

/// Runs a flow, and gives the script that waits for it its records.
pub(super) async fn run(started: StartedFlow) {
    match AssertUnwindSafe(answer(&started)).catch_unwind().await {
        Ok(Ok(mut answer)) => {
            let errors = flows::errors(&mut answer);
            let mut records = BytesMut::with_capacity(answer.records.byte_len());
            answer.records.values().for_each(|record| records.extend_from_slice(record));
            started.done(answer.records.len() as u64, &errors, records.freeze());
        }
        Ok(Err(error)) => started.fail(&error.to_string()),
        Err(_) => started.fail("internal error: the execution panicked; see the server's log"),
    }
}

async fn answer(started: &StartedFlow) -> Result<FlowAnswer, Error> {
    let malformed = || Error::Refused("the Python process has described no flow".into());
    let flow = DescribedFlow::read(&started.flow).ok_or_else(malformed)?;
    let ended = || Error::Refused("the session of this code has ended".into());
    let context = python::contexts().find(started.context).ok_or_else(ended)?;
    let sessions = module_state::python_sessions()?;
    let session = sessions.list().into_iter().find(|session| session.id == context.session).ok_or_else(ended)?;
    let caller = GearsCaller::of_code(session.user, context.rights.clone()).await?;
    let topology = caller.requests.clone().begin().pinned_topology().await?;
    let view = ClusterView::of(&topology);
    // The session stays as long as its flow runs.
    let session = sessions.open(&context.session, &caller.user, &flows::for_workers(&view)).await?;
    session.has_made(&flow.key).await;
    let execution = state::begin(ExecutionStart {
        prefix: &view.id,
        user: &caller.user,
        command: format!("run() in session {}", session.id()),
        is_kept: false,
        is_registered: false,
        parts: flow.parts(view.shards_of(flow.is_local, &topology)),
        most: settings::max_executions(),
    });
    let listed = state::sessions().list();
    let facts = listed.iter().find(|listed| listed.facts.name == context.session);
    let requirements = facts.map(|listed| listed.facts.requirements.clone()).unwrap_or_default();
    let of_session = FlowOfSession {
        session: session.id(),
        requirements: &requirements,
        flow: flow.runnable(),
        is_cluster: view.is_cluster,
    };
    let answer = flows::run(of_session, &caller, StageResults::Records, execution.flow().clone()).await;
    // Its outcome goes to the script alone.
    let outcome = match &answer {
        Ok(answer) => {
            FlowOutcome { is_aborted: answer.has_idled, errors: answer.errors.clone(), ..FlowOutcome::default() }
        }
        Err(error) => FlowOutcome::failed(&error.to_string()),
    };
    state::end(&execution, outcome);
    answer
}
