//! Registrations for entries of streams: each stream is read in order, a batch at a time, through a group of the
//! registration's own, so that what was not acknowledged is worked on again: at least once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::run::{EventRunner, RanNow};
use super::stream_turn::{EntriesWanted, ReadStream, StreamBatch, StreamFound};
use crate::error::Error;
use crate::flow::keyspace::KeysWanted;
use crate::flow::plan::{KeyFilter, ValuesRead};
use crate::link::Protocol;
use crate::module::flow::keyspace_with;
use crate::module::gears::caller::DATABASE;
use crate::module::gears::event_result::EventResult;
use crate::module::gears::executions::FlowOutcome;
use crate::module::gears::registry::live::RegistrationState;
use crate::module::gears::registry::registration::{OnFailed, RegistrationMode, StreamEvents, is_of_prefix};
use crate::module::server::context::Ctx;
use crate::module::server::{keyspace_events, main_thread};
use crate::module::{config, python, state as module_state};
use crate::python::events::{EventBatch, EventOutcome, EventResults};
use crate::python::marshal::Writer;
use crate::python::stage::StageResults;
use crate::topology::key_slot;

/// The number of times that a batch is tried whose process has died, where nothing is said about failures.
const TRIES_OF_DEATHS: u64 = 3;

/// The first pause before what the server has refused is tried again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A registration that reads streams.
pub(super) struct StreamListener {
    shared: Arc<SharedListener>,
}

struct SharedListener {
    wanted: StreamEvents,
    runner: EventRunner,
    /// The streams that are read.
    streams: Mutex<HashMap<Vec<u8>, Arc<StreamSignal>>>,
    is_closed: AtomicBool,
}

/// Tells who reads a stream that something has changed.
#[derive(Default)]
struct StreamSignal {
    has_changed: Notify,
    /// The stream has changed since the reader has last looked.
    is_new: AtomicBool,
}

impl StreamListener {
    /// Begins to read the streams that there are, and those that come.
    ///
    /// # Errors
    /// If the runtime cannot be started.
    pub(super) fn begin(wanted: StreamEvents, runner: EventRunner) -> Result<Self, Error> {
        let (streams, is_closed) = (Mutex::default(), AtomicBool::new(false));
        let listener = Self { shared: Arc::new(SharedListener { wanted, runner, streams, is_closed }) };
        listener.discover()?;
        Ok(listener)
    }

    /// Reads no more. The batch that is being worked on is worked on to its end, unless it was not begun and that is aborted.
    pub(super) fn end(&self, aborts_pending: bool) {
        self.shared.runner.live.abort_pending(aborts_pending);
        self.shared.is_closed.store(true, Relaxed);
        self.wake_all();
    }

    /// Looks for streams, as there may be some that nobody has told of.
    ///
    /// # Errors
    /// If the runtime cannot be started.
    pub(super) fn discover(&self) -> Result<(), Error> {
        let shared = self.shared.clone();
        module_state::runtime()?.spawn(async move {
            let mut refusals = 0;
            while let Err(error) = shared.discover().await {
                shared.runner.live.stats.note_error(format!("streams were not looked for: {error}"));
                refusals += 1;
                sleep(growing_pause(FIRST_PAUSE, refusals)).await;
                if shared.is_closed.load(Relaxed) {
                    return;
                }
            }
        });
        Ok(())
    }

    /// Has all streams looked at again.
    pub(super) fn wake_all(&self) {
        self.shared.streams().values().for_each(|signal| signal.wake());
    }

    /// Notes an entry, if it is one of those that are wanted. On the main thread, in the midst of the command.
    pub(super) fn take(&self, ctx: Ctx<'_>, name: &[u8], key: &[u8]) {
        if name != b"xadd" || !is_of_prefix(&self.shared.wanted.prefix, key) {
            return;
        }
        if self.shared.runner.live.registration.mode == RegistrationMode::Sync {
            let (shared, key) = (self.shared.clone(), key.to_vec());
            keyspace_events::after_event(ctx, move |ctx| shared.work_now(ctx, &key, EntriesWanted::WholeBatch));
        } else {
            self.shared.wake(key);
        }
    }
}

impl StreamSignal {
    fn wake(&self) {
        self.is_new.store(true, Relaxed);
        self.has_changed.notify_one();
    }
}

impl SharedListener {
    fn streams(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Arc<StreamSignal>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the reader of a stream that something has come; begins to read it if nobody does.
    fn wake(self: &Arc<Self>, key: &[u8]) {
        let mut streams = self.streams();
        if let Some(signal) = streams.get(key) {
            return signal.wake();
        }
        let Ok(runtime) = module_state::runtime() else { return };
        let signal = Arc::<StreamSignal>::default();
        streams.insert(key.to_vec(), signal.clone());
        runtime.spawn(self.clone().read(ReadStream::new(&self.wanted, key), signal));
    }

    async fn discover(self: &Arc<Self>) -> Result<(), Error> {
        let found = |shared: &Arc<Self>, key: &[u8]| match shared.runner.live.registration.mode {
            RegistrationMode::Sync => {
                let (shared, key) = (shared.clone(), key.to_vec());
                main_thread::post(move |turn| shared.work_now(turn.ctx, &key, EntriesWanted::Pending));
            }
            RegistrationMode::Async | RegistrationMode::AsyncLocal => shared.wake(key),
        };
        let Some((b'*', prefix)) = self.wanted.prefix.split_last() else {
            found(self, &self.wanted.prefix);
            return Ok(());
        };
        let is_special = |byte: &u8| b"*?[]\\".contains(byte);
        let mut pattern: Vec<u8> =
            prefix.iter().flat_map(|byte| is_special(byte).then_some(b'\\').into_iter().chain([*byte])).collect();
        pattern.push(b'*');
        let filter = KeyFilter { pattern, type_name: Some("stream".into()), values: ValuesRead::No };
        let wanted = KeysWanted { slots: None, filter, names: None, memory: config::flow_memory() };
        let keyspace = keyspace_with(DATABASE, self.runner.home.rights().clone(), Protocol::Resp3);
        let mut source = keyspace.read(wanted);
        loop {
            let slice = source.next(1000).await?;
            slice.records.keys().for_each(|key| found(self, key));
            if slice.is_end {
                return Ok(());
            }
        }
    }

    /// Reads a stream until it is gone, or not this node's any more. Commands that the server refuses are tried again: the
    /// cluster may be down after a restart, a replica may be missing, and nobody may add an entry that would wake the reader
    /// later.
    async fn read(self: Arc<Self>, stream: ReadStream, signal: Arc<StreamSignal>) {
        let mut reader = StreamReading::new(&self, &stream);
        loop {
            signal.is_new.store(false, Relaxed);
            let goes_on = match reader.go_on(&signal).await {
                Ok(goes_on) => goes_on,
                Err(error) => {
                    self.runner.live.stats.note_error(error.to_string());
                    reader.wait_after_refusal(&signal).await
                }
            };
            if goes_on {
                continue;
            }
            let mut streams = self.streams();
            if !signal.is_new.load(Relaxed) || self.is_closed.load(Relaxed) {
                streams.remove(&stream.key);
                return;
            }
        }
    }

    /// Works on what there is of a stream, on the main thread, which does nothing else meanwhile. Commands that the server
    /// refuses are tried again.
    fn work_now(self: &Arc<Self>, ctx: Ctx<'_>, key: &[u8], wanted: EntriesWanted) {
        if let Err(error) = self.try_work_now(ctx, key, wanted) {
            self.runner.live.stats.note_error(error.to_string());
            self.work_later(key);
        }
    }

    /// Works on a stream after a pause, again and again until the server allows it.
    fn work_later(self: &Arc<Self>, key: &[u8]) {
        let mut streams = self.streams();
        let Ok(runtime) = module_state::runtime() else { return };
        let Entry::Vacant(place) = streams.entry(key.to_vec()) else { return };
        let signal = place.insert(Arc::default()).clone();
        let (shared, key) = (self.clone(), key.to_vec());
        runtime.spawn(async move {
            let mut refusals = 1;
            while !shared.is_closed.load(Relaxed) {
                let _ = timeout(growing_pause(FIRST_PAUSE, refusals), signal.has_changed.notified()).await;
                let (worker, stream) = (shared.clone(), key.clone());
                let worked =
                    main_thread::in_turn(move |turn| worker.try_work_now(turn.ctx, &stream, EntriesWanted::Pending))
                        .await;
                match worked.and_then(|worked| worked) {
                    Ok(()) => break,
                    Err(error) => shared.runner.live.stats.note_error(error.to_string()),
                }
                refusals += 1;
            }
            shared.streams().remove(&key);
        });
    }

    fn try_work_now(self: &Arc<Self>, ctx: Ctx<'_>, key: &[u8], mut wanted: EntriesWanted) -> Result<(), Error> {
        let stream = ReadStream::new(&self.wanted, key);
        while !self.is_closed.load(Relaxed) && self.runner.live.state() == RegistrationState::Works {
            // Whoever is gone, or may not read it any more, works on nothing.
            self.runner.home.rights().check_reading(std::iter::once(key))?;
            self.runner.check_is_alive()?;
            let StreamFound::Batch(batch) = stream.turn(ctx, None, wanted)? else {
                return Ok(());
            };
            if batch.is_empty() {
                // None are left from before.
                wanted = EntriesWanted::WholeBatch;
                continue;
            }
            self.runner.live.stats.triggered();
            match self.runner.run_now(ctx, EventResults::Replies, &batch_of(&stream, &batch)) {
                RanNow::Ended(_) => {
                    self.runner.live.stats.lagged(batch.lag());
                    stream.acknowledge(ctx, &batch)?;
                }
                RanNow::Waits(waits) => {
                    let (shared, stream) = (self.clone(), stream.clone());
                    module_state::runtime()?.spawn(async move {
                        shared.runner.finish(waits, |_, _| {}).await;
                        main_thread::post(move |turn| {
                            if let Err(error) = stream.acknowledge(turn.ctx, &batch) {
                                shared.runner.live.stats.note_error(error.to_string());
                            }
                            shared.work_now(turn.ctx, &stream.key, EntriesWanted::Pending);
                        });
                    });
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Returns how long to wait before the next try: twice as long each time.
fn growing_pause(first: Duration, tries: u64) -> Duration {
    let doublings = u32::try_from(tries.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    first.saturating_mul(1 << doublings).min(LONGEST_PAUSE.max(first))
}

fn batch_of(stream: &ReadStream, batch: &StreamBatch) -> EventBatch {
    let mut list = Writer::default();
    list.begin_list(batch.len());
    batch.write(&stream.key, &mut list);
    EventBatch::of_lists(1, list)
}

/// The progress of reading a stream.
struct StreamReading<'s> {
    shared: &'s Arc<SharedListener>,
    stream: &'s ReadStream,
    /// Worked on, and not acknowledged.
    done: Option<StreamBatch>,
    wanted: EntriesWanted,
    /// Tells whether the entries that were left from before have been looked at.
    is_begun: bool,
    /// The moment when the first entry was seen that waits for others.
    waits_since: Option<Instant>,
    failures: u64,
    /// The number of times in a row that the server has refused to have the stream read.
    refusals: u64,
}

impl<'s> StreamReading<'s> {
    fn new(shared: &'s Arc<SharedListener>, stream: &'s ReadStream) -> Self {
        let wanted = EntriesWanted::Pending;
        Self { shared, stream, done: None, wanted, is_begun: false, waits_since: None, failures: 0, refusals: 0 }
    }

    /// Works on one batch, or waits for one. Returns whether there is anything to go on with.
    async fn go_on(&mut self, signal: &StreamSignal) -> Result<bool, Error> {
        let live = &self.shared.runner.live;
        if self.shared.is_closed.load(Relaxed) {
            return self.leave().await;
        }
        match live.state() {
            RegistrationState::IsPaused => {
                self.leave().await?;
                signal.has_changed.notified().await;
                return Ok(true);
            }
            RegistrationState::IsAborted => return self.leave().await,
            RegistrationState::Works | RegistrationState::Retries => {}
        }
        let found = self.turn(self.wanted).await?;
        self.refusals = 0;
        match found {
            StreamFound::Gone => Ok(false),
            StreamFound::TooFew(0) => {
                self.waits_since = None;
                self.wanted = EntriesWanted::WholeBatch;
                signal.has_changed.notified().await;
                Ok(true)
            }
            StreamFound::TooFew(_) => {
                self.wait_for_others(signal).await;
                Ok(true)
            }
            StreamFound::Batch(batch) => {
                self.waits_since = None;
                let is_first = !std::mem::replace(&mut self.is_begun, true);
                if batch.is_empty() && !is_first {
                    self.wanted = EntriesWanted::WholeBatch;
                } else {
                    self.work_on(batch).await?;
                }
                Ok(true)
            }
        }
    }

    /// Waits until it is worth to ask the server again. Returns whether somebody still wants the stream read.
    async fn wait_after_refusal(&mut self, signal: &StreamSignal) -> bool {
        self.refusals += 1;
        // Entries that were worked on may not have been acknowledged.
        self.wanted = EntriesWanted::Pending;
        let _ = timeout(growing_pause(FIRST_PAUSE, self.refusals), signal.has_changed.notified()).await;
        !self.shared.is_closed.load(Relaxed)
    }

    /// Acknowledges what was worked on, and reads no more.
    async fn leave(&mut self) -> Result<bool, Error> {
        if self.done.is_some() {
            let found = self.turn(EntriesWanted::Pending).await?;
            drop(found);
        }
        Ok(false)
    }

    async fn turn(&mut self, wanted: EntriesWanted) -> Result<StreamFound, Error> {
        let (stream, done, rights) = (self.stream.clone(), self.done.take(), self.shared.runner.home.rights().clone());
        main_thread::in_turn(move |turn| {
            // Whoever is gone, or may not read it any more, works on nothing.
            rights.check_reading(std::iter::once(&stream.key[..]))?;
            turn.ctx.in_database(DATABASE, || stream.turn(turn.ctx, done.as_ref(), wanted))?
        })
        .await?
    }

    /// Waits until there may be a whole batch, or the first entry has waited long enough.
    async fn wait_for_others(&mut self, signal: &StreamSignal) {
        let since = *self.waits_since.get_or_insert_with(Instant::now);
        self.wanted = EntriesWanted::WholeBatch;
        match self.shared.wanted.duration_ms {
            0 => signal.has_changed.notified().await,
            ms => {
                let left = Duration::from_millis(ms).saturating_sub(since.elapsed());
                if timeout(left, signal.has_changed.notified()).await.is_err() {
                    self.wanted = EntriesWanted::Any;
                }
            }
        }
    }

    async fn work_on(&mut self, batch: StreamBatch) -> Result<(), Error> {
        let live = &self.shared.runner.live;
        live.stats.triggered();
        let lives = tokio::select! {
            lives = self.shared.runner.live_or_fail() => lives,
            () = live.pending_are_aborted() => Ok(()),
        };
        if let Err(why) = lives {
            // Nothing has begun: it is tried until there is a process, whatever is done about failures.
            self.shared.runner.end(EventResult::Lost(why.to_string()), Duration::ZERO);
            return Err(why);
        }
        let end = self.end_of(&batch).await;
        live.stats.lagged(batch.lag());
        let (why, has_died) = match &*end {
            EventResult::Ran(outcome) => (outcome.errors.first().cloned(), false),
            EventResult::Lost(why) => (Some(why.clone().into()), true),
            EventResult::Aborted if live.aborts_pending() => {
                // It was not begun, and is there for when the registration goes on.
                self.wanted = EntriesWanted::Pending;
                return Ok(());
            }
            EventResult::Aborted => (None, false),
        };
        let Some(why) = why else {
            self.succeed(batch);
            return Ok(());
        };
        if why.starts_with(b"PAUSE") {
            live.set_state(RegistrationState::IsPaused);
            self.wanted = EntriesWanted::Pending;
            return Ok(());
        }
        self.failures += 1;
        let wanted = &self.shared.wanted;
        let retries = match wanted.on_failed {
            OnFailed::Retry => config::stream_max_retries().unwrap_or(u64::MAX),
            OnFailed::Continue | OnFailed::Abort if has_died => TRIES_OF_DEATHS - 1,
            OnFailed::Continue | OnFailed::Abort => 0,
        };
        if self.failures <= retries {
            live.set_state(RegistrationState::Retries);
            self.wanted = EntriesWanted::Pending;
            sleep(self.pause()).await;
            return Ok(());
        }
        match wanted.on_failed {
            OnFailed::Abort => live.set_state(RegistrationState::IsAborted),
            OnFailed::Continue => self.succeed(batch),
            OnFailed::Retry => {
                let (stream, buried) = (self.stream.clone(), batch.clone());
                let names = [false, true].map(|is_cluster| self.dead_letters(is_cluster));
                main_thread::in_turn(move |turn| {
                    let to = &names[usize::from(turn.ctx.flags().is_cluster())];
                    turn.ctx.in_database(DATABASE, || stream.bury(turn.ctx, to, &buried, &why))?
                })
                .await??;
                self.succeed(batch);
            }
        }
        Ok(())
    }

    /// Runs the flow for a batch, and waits for its end.
    async fn end_of(&self, batch: &StreamBatch) -> Arc<EventResult> {
        let runner = &self.shared.runner;
        if runner.needs_all_shards() {
            let mut records = Writer::default();
            batch.write(&self.stream.key, &mut records);
            let events = EventBatch::of_records(batch.len(), records);
            let FlowOutcome { errors, is_aborted, .. } = runner.run_everywhere(events, StageResults::Replies).await;
            let outcome = EventOutcome { errors, ..EventOutcome::default() };
            return Arc::new(if is_aborted { EventResult::Aborted } else { EventResult::Ran(outcome) });
        }
        runner.run_one(EventResults::Replies, &batch_of(self.stream, batch)).await
    }

    fn succeed(&mut self, batch: StreamBatch) {
        let live = &self.shared.runner.live;
        self.failures = 0;
        if live.state() == RegistrationState::Retries {
            live.set_state(RegistrationState::Works);
        }
        // Until there are none left from before.
        self.wanted = if batch.is_empty() || self.wanted != EntriesWanted::Pending {
            EntriesWanted::WholeBatch
        } else {
            EntriesWanted::Pending
        };
        self.done = Some(batch);
    }

    /// Returns how long to wait before a batch that has failed is tried again.
    fn pause(&self) -> Duration {
        let first = Duration::from_secs(self.shared.wanted.retry_interval_s).max(FIRST_PAUSE);
        growing_pause(first, self.failures)
    }

    /// Returns where entries go that have failed too often; in a cluster that is in the slot of their stream.
    fn dead_letters(&self, is_cluster: bool) -> Vec<u8> {
        let name = format!("rmr:dead:{}", self.shared.runner.live.registration.id);
        if !is_cluster {
            return name.into_bytes();
        }
        format!("{name}:{{{}}}", python::hashtag_of_slot(key_slot(&self.stream.key))).into_bytes()
    }
}
