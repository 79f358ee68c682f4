//! Runs the flow of a registration in its process, for one event after the other, and tells what has come of each.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::home::SessionHome;
use crate::error::Error;
use crate::module::gears::cluster::ClusterView;
use crate::module::gears::event_result::EventResult;
use crate::module::gears::executions::{ExecutionParts, ExecutionStart, FlowOutcome, GearsExecution, NO_NODE};
use crate::module::gears::last_events::outcome_of;
use crate::module::gears::registry::live::LiveRegistration;
use crate::module::gears::registry::registration::Registration;
use crate::module::gears::{settings, state};
use crate::module::python::{self, BoundClient, EventClient, SyncEnd};
use crate::module::request::running::Work;
use crate::module::server::context::Ctx;
use crate::module::server::main_thread;
use crate::module::{config, state as module_state};
use crate::python::events::{self, EventBatch, EventResults, EventsRun, WaitingEvents};
use crate::python::{ContextGuard, SessionHandle, stage};

const NO_PROCESS: &str = "the Python process of the session has ended, and is begun anew";

/// The outcome of the events of one request.
struct SomeRan {
    begun: usize,
    waits: Option<Unfinished>,
    /// Somebody has ended them; those that were not begun are not to be.
    is_aborted: bool,
}

/// Events of one request, among the executions: so they are seen, and can be ended. The first event has the execution's number.
struct RunningEvents {
    execution: Arc<GearsExecution>,
    /// The result of the first event.
    first: Option<Arc<EventResult>>,
}

impl RunningEvents {
    fn begin(registration: &Registration) -> Self {
        let prefix = ClusterView::known().map_or_else(|| NO_NODE.to_owned(), |view| view.id);
        let shards = vec![format!("{prefix:0>40}")];
        let execution = state::begin(ExecutionStart {
            prefix: &prefix,
            user: &registration.user,
            command: format!("events of the registration {}", registration.id),
            is_kept: false,
            is_registered: true,
            parts: ExecutionParts { shards, steps: registration.flow.steps.clone() },
            most: None,
        });
        Self { execution, first: None }
    }
}

impl Drop for RunningEvents {
    fn drop(&mut self) {
        let is_aborted = self.execution.flow().is_cancelled();
        let outcome = self.first.as_deref().map(outcome_of).unwrap_or_default();
        state::end(&self.execution, FlowOutcome { is_aborted: is_aborted || outcome.is_aborted, ..outcome });
    }
}

/// The outcome of an event that the main thread has run.
pub(super) enum RanNow {
    Ended(Arc<EventResult>),
    /// The event waits for a future or coroutine, which the main thread does not.
    Waits(Unfinished),
}

thread_local! {
    /// The number of events that the main thread is in.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Counts as one more event that the main thread is in, until this is dropped.
pub(super) struct Depth(usize);

impl Depth {
    /// Returns how many there are.
    pub(super) fn now() -> usize {
        DEPTH.get()
    }

    /// Goes into one more, unless there are so many.
    fn enter(most: usize) -> Option<Self> {
        let outer = DEPTH.get();
        DEPTH.set(outer + 1);
        let depth = Self(outer);
        (outer < most).then_some(depth)
    }

    /// Goes to where an event came from that is run later.
    pub(super) fn resume(depth: usize) -> Self {
        Self(DEPTH.replace(depth))
    }
}

impl Drop for Depth {
    fn drop(&mut self) {
        DEPTH.set(self.0);
    }
}

/// A registration, and the process in which it lives.
#[derive(Clone)]
pub(super) struct EventRunner {
    pub(super) live: Arc<LiveRegistration>,
    pub(super) home: Arc<SessionHome>,
    /// The client that waits for the event.
    pub(super) client: Option<Arc<dyn EventClient>>,
}

/// Events that wait for a future or coroutine.
pub(super) struct Unfinished {
    waiting: WaitingEvents,
    /// The numbers of the events, by their places in the request.
    events: Vec<Option<usize>>,
    began: Instant,
    session: SessionHandle,
    /// The context by which the calls of the events are known.
    context: RunContext,
    execution: RunningEvents,
}

/// The number of an execution, and the client that is known by it.
struct RunContext {
    guard: ContextGuard,
    #[expect(dead_code, reason = "it is held")]
    client: Option<BoundClient>,
}

impl EventRunner {
    /// Returns the same for events for which a client waits.
    pub(super) fn for_client(&self, client: Arc<dyn EventClient>) -> Self {
        Self { client: Some(client), ..self.clone() }
    }

    /// Checks that the user is there on whose account the function runs. On the main thread.
    ///
    /// # Errors
    /// That the user is gone.
    pub(super) fn check_user(&self) -> Result<(), Error> {
        self.home.rights().users().map(drop)
    }

    fn open_context(&self) -> RunContext {
        let guard = self.home.open_context();
        let client = self.client.clone().map(|client| python::bind(guard.number(), client));
        RunContext { guard, client }
    }

    /// Has the registration live in its process, as soon as may be.
    ///
    /// # Errors
    /// If the runtime cannot be started.
    pub(super) fn come_to_life(&self) -> Result<(), Error> {
        let runner = self.clone();
        module_state::runtime()?.spawn(async move { runner.live_or_note().await });
        Ok(())
    }

    /// Waits until the registration lives in its process; if it cannot, keeps why.
    async fn live_or_note(&self) {
        if let Err(error) = self.live_or_fail().await {
            self.live.stats.note_error(error.to_string());
        }
    }

    /// Waits until the registration lives in its process.
    ///
    /// # Errors
    /// The error says why it cannot: no event has begun.
    pub(super) async fn live_or_fail(&self) -> Result<(), Error> {
        self.home.staff().await.map(drop)
    }

    /// Runs events. `batch` writes those from one number on; `ended` takes the end of each that does not wait for a future or
    /// coroutine. Returns those that do.
    pub(super) async fn run(
        &self,
        count: usize,
        results: EventResults,
        mut batch: impl FnMut(usize) -> Result<EventBatch, Error>,
        mut ended: impl FnMut(usize, Arc<EventResult>),
    ) -> Vec<Unfinished> {
        let mut unfinished = Vec::new();
        let mut next = 0;
        while next < count {
            if self.live.aborts_pending() {
                (next..count).for_each(|event| ended(event, self.end(EventResult::Aborted, Duration::ZERO)));
                break;
            }
            match self.run_some(results, batch(next), next, &mut ended).await {
                Ok(SomeRan { begun, waits, is_aborted }) => {
                    unfinished.extend(waits);
                    next += begun;
                    if is_aborted {
                        (next..count).for_each(|event| ended(event, self.end(EventResult::Aborted, Duration::ZERO)));
                        break;
                    }
                }
                Err(error) => {
                    // At most once: which of them have run nobody can tell.
                    let why = error.to_string();
                    (next..count)
                        .for_each(|event| ended(event, self.end(EventResult::Lost(why.clone()), Duration::ZERO)));
                    break;
                }
            }
        }
        unfinished
    }

    /// Runs one event, and waits for its end.
    pub(super) async fn run_one(&self, results: EventResults, batch: &EventBatch) -> Arc<EventResult> {
        let mut end = None;
        let waits = self.run(1, results, |_| Ok(batch.clone()), |_, ended| end = Some(ended)).await;
        match waits.into_iter().next() {
            Some(waits) => self.finish_one(waits).await,
            None => end.unwrap_or_else(|| Arc::new(EventResult::none())),
        }
    }

    /// Waits for the end of one event.
    pub(super) async fn finish_one(&self, waits: Unfinished) -> Arc<EventResult> {
        let mut end = None;
        self.finish(waits, |_, ended| end = Some(ended)).await;
        end.unwrap_or_else(|| Arc::new(EventResult::none()))
    }

    /// Runs events, of which the first has this number, as far as the process begins them.
    async fn run_some(
        &self,
        results: EventResults,
        batch: Result<EventBatch, Error>,
        first: usize,
        ended: &mut impl FnMut(usize, Arc<EventResult>),
    ) -> Result<SomeRan, Error> {
        let batch = batch?;
        let session = tokio::select! {
            session = self.home.staff() => session?,
            () = self.live.pending_are_aborted() => {
                return Ok(SomeRan { begun: 0, waits: None, is_aborted: true });
            }
        };
        let context = self.open_context();
        let mut execution = RunningEvents::begin(&self.live.registration);
        let began = Instant::now();
        let key = &self.live.registration.flow.key;
        let mut is_aborted = false;
        let answer = {
            let mut running = std::pin::pin!(events::run(&session, &context.guard, key, results, &batch));
            tokio::select! {
                biased;
                answer = &mut running => answer,
                () = execution.execution.flow().cancelled() => {
                    is_aborted = true;
                    stage::end_code(session.worker(), context.guard.number()).await;
                    running.await
                }
            }
        }?;
        let begun = answer.outcomes.len();
        if begun == 0 && !is_aborted {
            return Err(Error::Refused("the Python process has begun no event".into()));
        }
        let took = began.elapsed() / u32::try_from(begun.max(1)).unwrap_or(u32::MAX);
        let mut places = Vec::new();
        for (at, outcome) in answer.outcomes.into_iter().enumerate() {
            let event = first + at;
            let waits = outcome.is_none();
            if let Some(outcome) = outcome {
                let number = if at == 0 { execution.execution.number() } else { None };
                let end = self.end_of(number, EventResult::Ran(outcome), took);
                if at == 0 {
                    execution.first = Some(end.clone());
                }
                ended(event, end);
            }
            places.push(waits.then_some(event));
        }
        let unfinished = |waiting| Unfinished { waiting, events: places, began, session, context, execution };
        Ok(SomeRan { begun, waits: answer.waiting.map(unfinished), is_aborted })
    }

    /// Has the registration live in its process, if it does not yet.
    ///
    /// # Errors
    /// If it does not live there now.
    pub(super) fn check_is_alive(&self) -> Result<(), Error> {
        if self.is_alive() {
            return Ok(());
        }
        self.come_to_life()?;
        Err(Error::Refused(NO_PROCESS.into()))
    }

    /// Tells whether the registration lives in its process now.
    pub(super) fn is_alive(&self) -> bool {
        self.home.staff_now(&self.live.registration.id).is_some()
    }

    /// Waits until the registration lives in its process, or cannot, and goes on with something on the main thread. For clients
    /// that can wait.
    pub(super) fn once_alive(&self, go_on: impl FnOnce(Ctx<'_>) -> Work + Send + 'static) -> Work {
        let runner = self.clone();
        Box::pin(async move {
            runner.live_or_note().await;
            main_thread::in_turn(move |turn| go_on(turn.ctx)).await?.await
        })
    }

    /// Runs one event on the main thread, which does nothing else meanwhile.
    pub(super) fn run_now(&self, ctx: Ctx<'_>, results: EventResults, batch: &EventBatch) -> RanNow {
        let began = Instant::now();
        let failed = |why: String| RanNow::Ended(self.end(EventResult::failed(why), began.elapsed()));
        if let Err(gone) = self.check_user() {
            return failed(gone.to_string());
        }
        let most = config::max_trigger_depth();
        let Some(_deeper) = Depth::enter(most) else {
            return failed(format!(
                "functions have called each other {most} deep, and rmr.max-trigger-depth allows no more"
            ));
        };
        let Some(session) = self.home.staff_now(&self.live.registration.id) else {
            // For the next event.
            let _ = self.come_to_life();
            return failed(NO_PROCESS.into());
        };
        let context = self.open_context();
        let waiting = events::expect(&session, &context.guard);
        let (execution, key) = (context.guard.number(), &self.live.registration.flow.key);
        let run = EventsRun { execution, session: session.id(), key, results, may_wait: true };
        match python::run_event(ctx, session.worker(), &run, batch) {
            Ok(SyncEnd::Done(outcome)) => RanNow::Ended(self.end(EventResult::Ran(outcome), began.elapsed())),
            Ok(SyncEnd::Waits) => RanNow::Waits(Unfinished {
                waiting,
                events: vec![Some(0)],
                began,
                session,
                context,
                execution: RunningEvents::begin(&self.live.registration),
            }),
            Err(why) => failed(why),
        }
    }

    /// Waits for the ends of events that wait for a future or coroutine.
    pub(super) async fn finish(&self, mut waits: Unfinished, mut ended: impl FnMut(usize, Arc<EventResult>)) {
        let mut left = waits.events.iter().flatten().count();
        let mut is_aborted = false;
        while left > 0 {
            let next = tokio::select! {
                biased;
                next = waits.waiting.next() => next,
                () = waits.execution.execution.flow().cancelled(), if !is_aborted => {
                    is_aborted = true;
                    stage::end_code(waits.session.worker(), waits.context.guard.number()).await;
                    continue;
                }
            };
            let Some((place, outcome)) = next else { break };
            if let Some(event) = waits.events.get_mut(place).and_then(Option::take) {
                ended(event, self.end_of_waiting(&mut waits.execution, place, EventResult::Ran(outcome), waits.began));
                left -= 1;
            }
        }
        for (place, event) in std::mem::take(&mut waits.events).into_iter().enumerate() {
            let lost = EventResult::Lost("the Python process has ended".into());
            if let Some(event) = event {
                ended(event, self.end_of_waiting(&mut waits.execution, place, lost, waits.began));
            }
        }
    }

    /// Waits for them, while others go on. From any thread.
    pub(super) fn finish_later(&self, waits: Unfinished, ended: impl FnOnce() + Send + 'static) {
        let runner = self.clone();
        if let Ok(runtime) = module_state::runtime() {
            runtime.spawn(async move {
                runner.finish(waits, |_, _| {}).await;
                ended();
            });
        }
    }

    fn end_of_waiting(
        &self,
        execution: &mut RunningEvents,
        place: usize,
        end: EventResult,
        began: Instant,
    ) -> Arc<EventResult> {
        let number = if place == 0 { execution.execution.number() } else { None };
        let end = self.end_of(number, end, began.elapsed());
        if place == 0 {
            execution.first = Some(end.clone());
        }
        end
    }

    /// Counts the end of an event, and keeps it.
    pub(super) fn end(&self, end: EventResult, took: Duration) -> Arc<EventResult> {
        self.end_of(None, end, took)
    }

    /// Does the same for the event of an execution with a number already.
    fn end_of(&self, number: Option<u64>, end: EventResult, took: Duration) -> Arc<EventResult> {
        let end = Arc::new(end);
        let number = number.unwrap_or_else(|| state::executions().next_number());
        self.live.kept.keep(number, end.clone(), took, settings::max_executions_per_registration());
        match &*end {
            EventResult::Aborted => self.count(None, true, took),
            EventResult::Lost(why) => self.count(Some(why.as_bytes()), false, took),
            EventResult::Ran(outcome) => self.count(outcome.errors.first().map(|error| &error[..]), false, took),
        }
        end
    }

    /// Counts an end: with an error it is a failure, also if it was aborted.
    pub(super) fn count(&self, error: Option<&[u8]>, is_aborted: bool, took: Duration) {
        let stats = &self.live.stats;
        match error {
            Some(error) => stats.failed(String::from_utf8_lossy(error).into_owned(), took),
            None if is_aborted => stats.aborted(),
            None => stats.succeeded(took),
        }
    }
}
