//! Events for which all shards have to work: flows whose records change shards, and calls of which every shard gets a copy.
//!
//! Each is an execution of its own, as one that a script has started.

use super::run::EventRunner;
use crate::error::Error;
use crate::flow::plan::Passage;
use crate::module::gears::caller::GearsCaller;
use crate::module::gears::cluster::ClusterView;
use crate::module::gears::executions::{ExecutionParts, ExecutionStart, FlowOutcome};
use crate::module::gears::flows::{self, FlowOfSession, RunnableFlow};
use crate::module::gears::last_events::plain;
use crate::module::gears::registry::registration::{EventReader, Registration, RegistrationMode};
use crate::module::gears::{settings, state};
use crate::python::events::EventBatch;
use crate::python::stage::{GivenEvents, StageResults};

impl EventRunner {
    /// Tells whether all shards have to work for an event. A flow that hands its records on to one shard alone needs no other:
    /// the event is here, and the others have none.
    pub(super) fn needs_all_shards(&self) -> bool {
        let Registration { mode, reader, flow, .. } = &*self.live.registration;
        let has_copies = matches!(reader, EventReader::Command(_));
        let changes_shards = has_copies || flow.passages.contains(&Passage::Repartition);
        *mode == RegistrationMode::Async && changes_shards && ClusterView::known().is_some_and(|view| view.is_cluster)
    }

    /// Runs an event on all shards.
    pub(super) async fn run_everywhere(&self, events: EventBatch, results: StageResults) -> FlowOutcome {
        let began = std::time::Instant::now();
        let outcome = match self.try_everywhere(events, results).await {
            Ok(outcome) => outcome,
            Err(error) => FlowOutcome::failed(&error.to_string()),
        };
        self.count(outcome.errors.first().map(|error| &error[..]), outcome.is_aborted, began.elapsed());
        outcome
    }

    async fn try_everywhere(&self, events: EventBatch, results: StageResults) -> Result<FlowOutcome, Error> {
        let Registration { id, user, reader, flow, requirements, .. } = &*self.live.registration;
        let caller = GearsCaller::of_code(user.clone(), self.home.rights().clone()).await?;
        let topology = caller.requests.clone().begin().pinned_topology().await?;
        let view = ClusterView::of(&topology);
        let session = self.home.staff().await?;
        let execution = state::begin(ExecutionStart {
            prefix: &view.id,
            user,
            command: format!("an event of the registration {id}"),
            is_kept: false,
            is_registered: true,
            parts: ExecutionParts { shards: view.shards_of(false, &topology), steps: flow.steps.clone() },
            most: settings::max_executions(),
        });
        let only_at = match reader {
            EventReader::Command(_) => None,
            EventReader::Keys(_) | EventReader::Stream(_) => Some(view.id.clone()),
        };
        let runnable = RunnableFlow {
            key: &flow.key,
            blob: &flow.blob,
            passages: &flow.passages,
            is_local: false,
            stays: true,
            given: Some(GivenEvents { only_at, is_only_stage: flow.passages.len() == 1, events }),
        };
        let run = FlowOfSession { session: session.id(), requirements, flow: runnable, is_cluster: view.is_cluster };
        let answer = flows::run(run, &caller, results, execution.flow().clone()).await;
        let outcome = answer.map(flows::outcome).unwrap_or_else(|error| FlowOutcome::failed(&error.to_string()));
        let shown = FlowOutcome { results: outcome.results.iter().cloned().map(plain).collect(), ..outcome.clone() };
        state::end(&execution, shown);
        if let Some((number, end)) = execution.number().zip(execution.end()) {
            self.live.kept.keep_of_all(number, end, settings::max_executions_per_registration());
        }
        Ok(outcome)
    }
}
