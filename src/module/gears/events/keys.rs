//! Registrations for events of keys: which events are theirs, and their flows run for them.
//!
//! The server tells of an event in the midst of the command that has caused it. Nothing is done then but to note it; the
//! value is read when the flow runs, and may be a later one. Each event is worked on once at most.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::linked::{self, LinkedClient};
use super::queue::EventQueue;
use super::run::{Depth, EventRunner, RanNow, Unfinished};
use crate::error::Error;
use crate::flow::Records;
use crate::flow::values::TypeLetter;
use crate::module::flow;
use crate::module::gears::event_result::EventResult;
use crate::module::gears::registry::registration::{KeyEvents, RegistrationMode, is_of_prefix};
use crate::module::gears::settings;
use crate::module::server::context::Ctx;
use crate::module::server::scan::{KeyKind, Now, with_key};
use crate::module::server::{keyspace_events, main_thread};
use crate::module::{config, state as module_state};
use crate::python::events::{EventBatch, EventResults};
use crate::python::stage::StageResults;

/// The number of events that go to a process at once.
const AT_ONCE: usize = 128;

/// A registration that waits for events of keys.
pub(super) struct KeyListener {
    wanted: KeyEvents,
    runner: EventRunner,
    queue: Arc<EventQueue<Records>>,
}

impl KeyListener {
    /// Begins to work on events, as they come.
    ///
    /// # Errors
    /// If the runtime cannot be started.
    pub(super) fn begin(wanted: KeyEvents, runner: EventRunner) -> Result<Self, Error> {
        let queue = Arc::<EventQueue<Records>>::default();
        let listener = Self { wanted, runner: runner.clone(), queue: queue.clone() };
        module_state::runtime()?.spawn(work(listener.wanted.read_value, runner, queue));
        Ok(listener)
    }

    /// Takes no more events. Those that were not begun are aborted, or run yet.
    pub(super) fn end(&self, aborts_pending: bool) {
        // Also those that were taken from the queue.
        self.runner.live.abort_pending(aborts_pending);
        for _ in 0..self.queue.close(aborts_pending).map_or(0, |dropped| dropped.len()) {
            self.runner.end(EventResult::Aborted, Duration::ZERO);
        }
    }

    /// Returns how many events are not begun.
    pub(super) fn pending(&self) -> usize {
        self.queue.len()
    }

    /// Notes an event, if it is one of those that are wanted. On the main thread, in the midst of the command.
    pub(super) fn take(&self, ctx: Ctx<'_>, name: &[u8], key: &[u8]) {
        if !self.wants(ctx, name, key) {
            return;
        }
        let stats = &self.runner.live.stats;
        stats.triggered();
        if let Some(link) = self.wanted.commands.as_deref().and_then(linked::current) {
            return self.run_for(ctx, &link, name, key);
        }
        if self.runner.live.registration.mode == RegistrationMode::Sync {
            return self.run_behind(ctx, &self.runner, name, key, || {});
        }
        if !self.queue.push(config::max_pending_events(), |events| events.push(key, name)) {
            stats.dropped();
        }
    }

    /// Runs the flow in the same unit as what has caused the event, with the value as it is now.
    fn run_behind(
        &self,
        ctx: Ctx<'_>,
        runner: &EventRunner,
        name: &[u8],
        key: &[u8],
        ended: impl FnOnce() + Send + 'static,
    ) {
        let runner = runner.clone();
        let batch = self.event_now(ctx, name, key);
        let depth = Depth::now();
        let is_taken = keyspace_events::after_event(ctx, move |ctx| {
            let _depth = Depth::resume(depth);
            match batch {
                Err(error) => drop(runner.end(EventResult::failed(error.to_string()), Duration::ZERO)),
                Ok(batch) => match runner.run_now(ctx, EventResults::Replies, &batch) {
                    RanNow::Ended(_) => {}
                    RanNow::Waits(waits) => return runner.finish_later(waits, ended),
                },
            }
            ended();
        });
        if !is_taken {
            self.runner.end(EventResult::failed("the server does not run the function with the event"), Duration::ZERO);
        }
    }

    /// Runs the flow for a client that waits for it.
    fn run_for(&self, ctx: Ctx<'_>, link: &Arc<LinkedClient>, name: &[u8], key: &[u8]) {
        let runner = self.runner.for_client(link.clone());
        let waits = LinkWaits::begin(link);
        if runner.live.registration.mode == RegistrationMode::Sync {
            return self.run_behind(ctx, &runner, name, key, move || drop(waits));
        }
        let (reads_values, mut event) = (self.wanted.read_value, Records::new());
        event.push(key, name);
        if let Ok(runtime) = module_state::runtime() {
            runtime.spawn(async move {
                let unfinished = run(reads_values, &runner, event).await;
                for each in unfinished {
                    runner.finish(each, |_, _| {}).await;
                }
                drop(waits);
            });
        }
    }

    fn event_now(&self, ctx: Ctx<'_>, name: &[u8], key: &[u8]) -> Result<EventBatch, Error> {
        let mut record = Records::new();
        if !self.wanted.read_value {
            record.push(key, name);
            return Ok(EventBatch::of_names(&record));
        }
        self.runner.home.rights().check_reading(std::iter::once(key))?;
        record.push(key, &flow::value_now(ctx, key)?);
        EventBatch::of_keys(&record, std::iter::once(name))
    }

    fn wants(&self, ctx: Ctx<'_>, name: &[u8], key: &[u8]) -> bool {
        let KeyEvents { prefix, event_types, key_types, .. } = &self.wanted;
        let is_named = |names: &Vec<String>| names.iter().any(|wanted| wanted.as_bytes().eq_ignore_ascii_case(name));
        let is_of_type = |types: &Vec<String>| {
            let kind = with_key(ctx, key, Now::read(), |view| view.kind());
            let found = match kind {
                None => "empty",
                Some(KeyKind::Other) => "module",
                Some(kind) => kind.name().unwrap_or("module"),
            };
            types.iter().any(|wanted| wanted == found)
        };
        is_of_prefix(prefix, key)
            && event_types.as_ref().is_none_or(is_named)
            && key_types.as_ref().is_none_or(is_of_type)
    }
}

/// Counts as one function that a client waits for, until this is dropped.
struct LinkWaits(Arc<LinkedClient>);

impl LinkWaits {
    fn begin(link: &Arc<LinkedClient>) -> Self {
        link.begin();
        Self(link.clone())
    }
}

impl Drop for LinkWaits {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Works on events until the queue is closed and empty.
async fn work(reads_values: bool, runner: EventRunner, queue: Arc<EventQueue<Records>>) {
    let at_a_time = Arc::new(Semaphore::new(settings::execution_threads()));
    while let Ok(place) = at_a_time.clone().acquire_owned().await {
        let Some(events) = queue.next(AT_ONCE).await else { return };
        let runner = runner.clone();
        tokio::spawn(async move {
            let unfinished = run(reads_values, &runner, events).await;
            drop(place);
            unfinished.into_iter().for_each(|waits| runner.finish_later(waits, || {}));
        });
    }
}

/// Runs the flow for events. Returns those that wait for futures and coroutines.
async fn run(reads_values: bool, runner: &EventRunner, events: Records) -> Vec<Unfinished> {
    let began = Instant::now();
    let values = match values(reads_values, runner, &events).await {
        Ok(values) => values,
        Err(error) => {
            let why = error.to_string();
            (0..events.len()).for_each(|_| drop(runner.end(EventResult::failed(&*why), began.elapsed())));
            return Vec::new();
        }
    };
    if runner.needs_all_shards() {
        for at in 0..events.len() {
            if runner.live.aborts_pending() {
                runner.end(EventResult::Aborted, Duration::ZERO);
                continue;
            }
            match batch_of(&events, values.as_ref(), at, 1) {
                Ok(event) => drop(runner.run_everywhere(event, StageResults::Replies).await),
                Err(error) => drop(runner.end(EventResult::failed(error.to_string()), began.elapsed())),
            }
        }
        return Vec::new();
    }
    let batch = |first: usize| batch_of(&events, values.as_ref(), first, events.len() - first);
    runner.run(events.len(), EventResults::Replies, batch, |_, _| {}).await
}

/// Returns so many events from one on, as a process takes them.
fn batch_of(events: &Records, values: Option<&Records>, first: usize, count: usize) -> Result<EventBatch, Error> {
    match values {
        None => Ok(EventBatch::of_names(&part(events, first, count))),
        Some(values) => EventBatch::of_keys(&part(values, first, count), events.values().skip(first).take(count)),
    }
}

/// Returns so many records from one on; all of them as they are.
fn part(records: &Records, first: usize, count: usize) -> Cow<'_, Records> {
    if count == records.len() {
        return Cow::Borrowed(records);
    }
    let mut part = Records::new();
    records.iter().skip(first).take(count).for_each(|(key, value)| part.push(key, value));
    Cow::Owned(part)
}

/// Reads the values of the events' keys, if they are wanted, with the rights of the user whose registration it is.
async fn values(reads_values: bool, runner: &EventRunner, events: &Records) -> Result<Option<Records>, Error> {
    let rights = runner.home.rights().clone();
    let mut keys = Records::new();
    if reads_values {
        events.keys().for_each(|key| keys.push(key, b""));
    }
    let keys = main_thread::run(move |_| rights.check_reading(keys.keys()).map(|()| keys)).await??;
    if !reads_values {
        return Ok(None);
    }
    let found = flow::values_of(keys).await?;
    let mut found = found.iter().peekable();
    // Those that have gone to another node are as good as gone.
    let mut values = Records::new();
    for key in events.keys() {
        match found.next_if(|(name, _)| *name == key) {
            Some((_, value)) => values.push(key, value),
            None => values.push(key, &[TypeLetter::Missing.byte()]),
        }
    }
    Ok(Some(values))
}
