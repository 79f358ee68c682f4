//! Runs the flow of a registration in its process, for one event after the other, and tells what has come of each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::home::SessionHome;
use crate::error::Error;
use crate::module::gears::registry::LiveRegistration;
use crate::module::state as module_state;
use crate::python::events::{self, EventBatch, EventOutcome, EventResults, WaitingEvents};
use crate::python::{ContextGuard, SessionHandle};

/// How an event has ended.
#[derive(Debug)]
pub(super) enum EventEnd {
    /// Its flow has come to its end, perhaps with errors.
    Ran(EventOutcome),
    /// It was aborted.
    Aborted,
}

impl EventEnd {
    /// Returns the end of an event that could not run.
    pub(super) fn failed(why: impl Into<String>) -> Self {
        Self::Ran(EventOutcome { errors: vec![Bytes::from(why.into())], ..EventOutcome::default() })
    }
}

/// A registration, and the process in which it lives.
#[derive(Clone)]
pub(super) struct EventRunner {
    pub(super) live: Arc<LiveRegistration>,
    pub(super) home: Arc<SessionHome>,
}

/// Events that wait for a future or coroutine.
pub(super) struct Unfinished {
    waiting: WaitingEvents,
    /// The numbers of the events, by their places in the request.
    events: Vec<Option<usize>>,
    began: Instant,
    session: SessionHandle,
    context: ContextGuard,
}

impl EventRunner {
    /// Has the registration live in its process, as soon as may be.
    ///
    /// # Errors
    /// If the runtime cannot be started.
    pub(super) fn come_to_life(&self) -> Result<(), Error> {
        let runner = self.clone();
        module_state::runtime()?.spawn(async move {
            if let Err(error) = runner.home.staff().await {
                runner.live.stats.note_error(error.to_string());
            }
        });
        Ok(())
    }

    /// Runs events. `batch` writes those from one number on; `ended` takes the end of each that does not wait for a future or
    /// coroutine. Returns those that do.
    pub(super) async fn run(
        &self,
        count: usize,
        results: EventResults,
        mut batch: impl FnMut(usize) -> Result<EventBatch, Error>,
        mut ended: impl FnMut(usize, EventEnd),
    ) -> Vec<Unfinished> {
        let mut unfinished = Vec::new();
        let mut next = 0;
        while next < count {
            match self.run_some(results, batch(next), &mut next, &mut ended).await {
                Ok(waits) => unfinished.extend(waits),
                Err(error) => {
                    // At most once: which of them have run nobody can tell.
                    let why = error.to_string();
                    (next..count).for_each(|event| ended(event, self.end(EventEnd::failed(&*why), Duration::ZERO)));
                    break;
                }
            }
        }
        unfinished
    }

    async fn run_some(
        &self,
        results: EventResults,
        batch: Result<EventBatch, Error>,
        next: &mut usize,
        ended: &mut impl FnMut(usize, EventEnd),
    ) -> Result<Option<Unfinished>, Error> {
        let batch = batch?;
        let session = self.home.staff().await?;
        let context = self.home.open_context();
        let began = Instant::now();
        let key = &self.live.registration.flow.key;
        let answer = events::run(&session, &context, key, results, &batch).await?;
        let begun = answer.outcomes.len();
        if begun == 0 {
            return Err(Error::Refused("the Python process has begun no event".into()));
        }
        let took = began.elapsed() / u32::try_from(begun).unwrap_or(u32::MAX);
        let mut places = Vec::new();
        for (at, outcome) in answer.outcomes.into_iter().enumerate() {
            let event = *next + at;
            let waits = outcome.is_none();
            if let Some(outcome) = outcome {
                ended(event, self.end(EventEnd::Ran(outcome), took));
            }
            places.push(waits.then_some(event));
        }
        *next += begun;
        let unfinished = |waiting| Unfinished { waiting, events: places, began, session, context };
        Ok(answer.waiting.map(unfinished))
    }

    /// Waits for the ends of events that wait for a future or coroutine.
    pub(super) async fn finish(&self, mut waits: Unfinished, mut ended: impl FnMut(usize, EventEnd)) {
        let mut left = waits.events.iter().flatten().count();
        while left > 0 {
            let Some((place, outcome)) = waits.waiting.next().await else { break };
            if let Some(event) = waits.events.get_mut(place).and_then(Option::take) {
                ended(event, self.end(EventEnd::Ran(outcome), waits.began.elapsed()));
                left -= 1;
            }
        }
        for event in waits.events.into_iter().flatten() {
            ended(event, self.end(EventEnd::failed("the Python process has ended"), waits.began.elapsed()));
        }
    }

    /// Counts the end of an event.
    pub(super) fn end(&self, end: EventEnd, took: Duration) -> EventEnd {
        let stats = &self.live.stats;
        match &end {
            EventEnd::Aborted => stats.aborted(),
            EventEnd::Ran(outcome) => match outcome.errors.first() {
                None => stats.succeeded(took),
                Some(error) => stats.failed(String::from_utf8_lossy(error).into_owned(), took),
            },
        }
        end
    }
}
