//! Registrations that clients call by a name.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::{Semaphore, oneshot};

use super::queue::EventQueue;
use super::run::{EventRunner, RanNow};
use crate::error::Error;
use crate::module::config;
use crate::module::gears::event_result::EventResult;
use crate::module::gears::executions::FlowOutcome;
use crate::module::gears::registry::registration::RegistrationMode;
use crate::module::gears::{replies, settings};
use crate::module::request::running::Work;
use crate::module::server::context::Ctx;
use crate::module::state as module_state;
use crate::python::events::{EventBatch, EventResults};
use crate::python::stage::StageResults;
use crate::reply::Reply;

/// The number of calls that go to a process at once, if as many wait.
const AT_ONCE: usize = 64;

/// A registration that is called by a name.
pub(super) struct Trigger {
    runner: EventRunner,
    queue: Arc<EventQueue<VecDeque<TriggerCall>>>,
}

/// A client's call, and who waits for the reply.
struct TriggerCall {
    words: Vec<Bytes>,
    caller: oneshot::Sender<Reply>,
}

impl Trigger {
    /// Begins to work on calls, as they come: in order one after the other, or several at a time.
    ///
    /// # Errors
    /// If the runtime cannot be started.
    pub(super) fn begin(is_in_order: bool, runner: EventRunner) -> Result<Arc<Self>, Error> {
        let queue = Arc::<EventQueue<VecDeque<TriggerCall>>>::default();
        module_state::runtime()?.spawn(work(is_in_order, runner.clone(), queue.clone()));
        Ok(Arc::new(Self { runner, queue }))
    }

    /// Takes no more calls. Those that were not begun are aborted, or run yet.
    pub(super) fn end(&self, aborts_pending: bool) {
        // Also those that were taken from the queue.
        self.runner.live.abort_pending(aborts_pending);
        for call in self.queue.close(aborts_pending).into_iter().flatten() {
            answer(Some(call.caller), &self.runner.end(EventResult::Aborted, Duration::ZERO));
        }
    }

    /// Calls the function with these words, the name first, and waits for its end: on the main thread.
    pub(super) fn call_now(self: &Arc<Self>, ctx: Ctx<'_>, words: Vec<Bytes>) -> Work {
        if !self.runner.is_alive() && ctx.why_not_wait().is_none() {
            let trigger = self.clone();
            return self.runner.once_alive(move |ctx| trigger.run(ctx, &words));
        }
        self.run(ctx, &words)
    }

    fn run(&self, ctx: Ctx<'_>, words: &[Bytes]) -> Work {
        self.runner.live.stats.triggered();
        let batch = EventBatch::of_words(std::iter::once(words.iter().map(|word| &word[..])));
        match self.runner.run_now(ctx, EventResults::Trigger, &batch) {
            RanNow::Ended(end) => Box::pin(std::future::ready(Ok(reply(&end)))),
            RanNow::Waits(waits) => {
                let runner = self.runner.clone();
                Box::pin(async move { Ok(reply(&*runner.finish_one(waits).await)) })
            }
        }
    }

    /// Tells whether the server waits for its end.
    pub(super) fn is_sync(&self) -> bool {
        self.runner.live.registration.mode == RegistrationMode::Sync
    }

    /// Returns how many calls are not begun.
    pub(super) fn pending(&self) -> usize {
        self.queue.len()
    }

    /// Calls the function with these words, the name first.
    pub(super) fn call(&self, words: Vec<Bytes>) -> oneshot::Receiver<Reply> {
        let (caller, answered) = oneshot::channel();
        let stats = &self.runner.live.stats;
        stats.triggered();
        if let Err(gone) = self.runner.check_user() {
            answer(Some(caller), &self.runner.end(EventResult::failed(gone.to_string()), Duration::ZERO));
            return answered;
        }
        let mut call = Some(TriggerCall { words, caller });
        if !self.queue.push(config::max_pending_events(), |calls| calls.extend(call.take())) {
            stats.dropped();
            let why = "ERR Could not trigger execution, too many wait already (rmr.max-pending-events)";
            // The client waits, as long as it does.
            let _ = call.map(|call| call.caller.send(replies::error(why)));
        }
        answered
    }
}

/// Works on calls until the queue is closed and empty.
async fn work(is_in_order: bool, runner: EventRunner, queue: Arc<EventQueue<VecDeque<TriggerCall>>>) {
    let (places, most) = if is_in_order { (1, 1) } else { (settings::execution_threads(), AT_ONCE) };
    let at_a_time = Arc::new(Semaphore::new(places));
    while let Ok(place) = at_a_time.clone().acquire_owned().await {
        let Some(calls) = queue.next(most).await else { return };
        let runner = runner.clone();
        tokio::spawn(async move {
            let (words, mut callers): (Vec<Vec<Bytes>>, Vec<_>) =
                calls.into_iter().map(|call| (call.words, Some(call.caller))).unzip();
            if runner.needs_all_shards() {
                let run = |(words, caller): (&Vec<Bytes>, Option<oneshot::Sender<Reply>>)| {
                    let event = EventBatch::of_record(words.iter().map(|word| &word[..]));
                    let runner = &runner;
                    async move {
                        let outcome = runner.run_everywhere(event, StageResults::Trigger).await;
                        // Whoever called may be gone.
                        let _ = caller.map(|caller| caller.send(reply_of(outcome)));
                    }
                };
                join_all(words.iter().zip(callers).map(run)).await;
                return;
            }
            let batch = |first: usize| {
                Ok(EventBatch::of_words(words[first..].iter().map(|words| words.iter().map(|word| &word[..]))))
            };
            let mut ended = |call: usize, end: Arc<EventResult>| answer(callers[call].take(), &end);
            let unfinished = runner.run(words.len(), EventResults::Trigger, batch, &mut ended).await;
            if !is_in_order {
                drop(place);
            }
            for waits in unfinished {
                runner.finish(waits, &mut ended).await;
            }
        });
    }
}

/// Gives a client what has come of its call.
fn answer(caller: Option<oneshot::Sender<Reply>>, end: &EventResult) {
    // Whoever called may be gone.
    let _ = caller.map(|caller| caller.send(reply(end)));
}

/// Returns the results, or the first error.
fn reply(end: &EventResult) -> Reply {
    end.reply(|results| {
        Reply::Array(results.values().map(|result| replies::written(&Bytes::copy_from_slice(result))).collect())
    })
}

/// Returns the results of all shards, or the first error.
fn reply_of(outcome: FlowOutcome) -> Reply {
    match outcome.errors.first() {
        None if outcome.is_aborted => reply(&EventResult::Aborted),
        None => Reply::Array(outcome.results),
        Some(error) => replies::error(String::from_utf8_lossy(error)),
    }
}
