//! [`StageTask`]: one stage of a leaf, or all of them where records do not move: reads, works, and hands on.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use serde_bytes::ByteBuf;

use super::inlet::Inlet;
use super::keyspace::{KeySlice, KeySource};
use super::messages::{LeafEnd, LeafFailure, LeafProgress};
use super::outbox::Outbox;
use super::records::{BATCH_BYTES, BATCH_RECORDS, Records};
use super::router::Router;
use super::work::{StageWork, WorkFailed};
use crate::engine::panicked;
use crate::error::Error;

/// How many keys are read at a time, if a command runs for each of them: so many run before a failure ends the flow.
const SLICE: usize = 1000;

/// How many are read at a time otherwise, as far as a turn on the main thread suffices: each slice costs a hop to it.
const NAMES: usize = BATCH_RECORDS;

/// How long a command that is under way has when the leaf is cancelled.
pub(super) const GRACE: Duration = Duration::from_millis(50);

/// The work of one stage, or of all.
pub(super) struct StageTask {
    /// [`None`] for all stages.
    stage: Option<usize>,
    first_step: usize,
    source: Box<dyn KeySource>,
    memory: u64,
    work: StageWork,
    exit: Exit,
    unread: Vec<u16>,
    unsettled: Vec<(u16, Vec<u128>)>,
}

/// Where records go that have taken all steps.
pub(super) enum Exit {
    /// To the coordinator; with those that are not yet a batch.
    Outbox(Records),
    /// To the next stage.
    Router(Router),
}

/// Runs the tasks of a leaf until all have ended, and says so.
pub(super) async fn run_all(
    mut tasks: Vec<StageTask>,
    inlets: Vec<Arc<Inlet>>,
    outbox: Arc<Outbox>,
    error: Arc<Mutex<Option<Error>>>,
) {
    let failed = Mutex::new(None);
    let run = |task| run(task, &outbox, &failed);
    join_all(tasks.iter_mut().map(run)).await;
    inlets.iter().for_each(|inlet| inlet.close());
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    let end = match failed {
        None => end(tasks),
        Some(failed) => Err(failed),
    };
    outbox.put_end(end.unwrap_or_else(|failed: WorkFailed| {
        *error.lock().unwrap_or_else(PoisonError::into_inner) = failed.error.map(|error| *error);
        LeafEnd::Failed(failed.failure)
    }));
}

/// Runs a task. When it fails, all tasks of the leaf end; the first failure is the leaf's.
async fn run(task: &mut StageTask, outbox: &Outbox, first: &Mutex<Option<WorkFailed>>) {
    let ended = AssertUnwindSafe(task.work_to_the_end(outbox)).catch_unwind().await;
    let ended = ended.unwrap_or_else(|panic| Err(panicked("step or the reducer", &*panic).into()));
    outbox.put_work(&mut task.work, task.stage);
    match ended {
        Ok(()) => {
            outbox.put_open(std::mem::take(&mut task.unread), std::mem::take(&mut task.unsettled), Records::new());
            if let Some(stage) = task.stage {
                outbox.put_stages_ended(stage + 1);
            }
        }
        Err(failed) => {
            first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failed);
            outbox.cancel();
        }
    }
}

/// Puts together how the tasks of a leaf have ended: the last one has reduced.
fn end(tasks: Vec<StageTask>) -> Result<LeafEnd, WorkFailed> {
    let reduced = tasks.last().and_then(|task| task.work.reduced.as_ref()).map(|reduced| reduced.encode()).transpose();
    let reduced = reduced.map_err(|error| Error::Internal(format!("a partial result: {error}")))?;
    Ok(LeafEnd::Done { reduced: reduced.map(ByteBuf::from) })
}

impl StageTask {
    pub(super) fn new(
        stage: Option<usize>,
        first_step: usize,
        source: Box<dyn KeySource>,
        memory: u64,
        work: StageWork,
        exit: Exit,
    ) -> Self {
        Self { stage, first_step, source, memory, work, exit, unread: Vec::new(), unsettled: Vec::new() }
    }

    pub(super) fn progress(&self) -> &LeafProgress {
        &self.work.progress
    }

    async fn work_to_the_end(&mut self, outbox: &Outbox) -> Result<(), WorkFailed> {
        let slice = if self.work.runs_commands() { SLICE } else { NAMES };
        loop {
            let most = self.work.worth_reading(self.first_step, slice);
            if most == 0 {
                break;
            }
            let mut slice = unless_cancelled(outbox, self.source.next(most)).await??;
            let records = std::mem::take(&mut slice.records);
            let is_end = slice.is_end;
            self.note(slice);
            let stage = self.work.stage_of(self.first_step);
            self.work.progress.records_in[stage] += records.len() as u64;
            self.check_memory(outbox, records.byte_len())?;
            let passed = match self.stage {
                None => unless_cancelled(outbox, self.work.pass(self.first_step, records)).await??,
                Some(_) => unless_cancelled(outbox, self.work.pass_stage(self.first_step, records)).await??,
            };
            self.check_memory(outbox, passed.byte_len())?;
            self.hand_on(outbox, &passed).await?;
            outbox.put_work(&mut self.work, self.stage);
            if is_end {
                break;
            }
        }
        self.hand_on_the_rest(outbox).await
    }

    /// Takes how far the source is.
    fn note(&mut self, slice: KeySlice) {
        let progress = &mut self.work.progress;
        progress.slots_read += slice.slots_read;
        progress.keys_read += slice.keys_read;
        if slice.keys_in_table > 0 {
            progress.keys_in_table = slice.keys_in_table;
        }
        self.unread.extend(slice.unread);
        self.unsettled.extend(slice.unsettled);
    }

    /// Hands on records, as far as they are batches.
    async fn hand_on(&mut self, outbox: &Outbox, records: &Records) -> Result<(), WorkFailed> {
        match &mut self.exit {
            Exit::Outbox(batch) => {
                batch.append(records);
                self.send(outbox, false).await
            }
            Exit::Router(router) => {
                let nobodys = unless_cancelled(outbox, router.send(records)).await??;
                self.leave_to_coordinator(nobodys);
                Ok(())
            }
        }
    }

    /// Hands on all that is left.
    async fn hand_on_the_rest(&mut self, outbox: &Outbox) -> Result<(), WorkFailed> {
        match &mut self.exit {
            Exit::Outbox(_) => self.send(outbox, true).await,
            Exit::Router(router) => {
                let nobodys = unless_cancelled(outbox, router.flush()).await??;
                self.leave_to_coordinator(nobodys);
                Ok(())
            }
        }
    }

    /// Leaves records to the coordinator that no shard takes into the next stage.
    fn leave_to_coordinator(&mut self, records: Records) {
        if let Some(stage) = self.stage
            && !records.is_empty()
        {
            self.work.elsewhere.push((self.work.first_step_of(stage + 1) as u32, records));
        }
    }

    /// Sends the coordinator what is a batch; with `all` also what is less than one.
    async fn send(&mut self, outbox: &Outbox, all: bool) -> Result<(), WorkFailed> {
        while let Exit::Outbox(waiting) = &mut self.exit
            && (waiting.is_batch() || (all && !waiting.is_empty()))
        {
            let batch = waiting.take_batch(BATCH_RECORDS, BATCH_BYTES);
            let is_last = waiting.is_empty();
            self.check_memory(outbox, batch.byte_len())?;
            unless_cancelled(outbox, outbox.put_batch(batch, all && is_last)).await?;
        }
        Ok(())
    }

    fn check_memory(&self, outbox: &Outbox, beside: usize) -> Result<(), LeafFailure> {
        let hashes: usize = self.unsettled.iter().map(|(_, hashes)| hashes.len() * size_of::<u128>()).sum();
        let waiting = match &self.exit {
            Exit::Outbox(batch) => batch.byte_len(),
            Exit::Router(router) => router.memory(),
        };
        let reduced = self.work.reduced.as_ref().map_or(0, |reduced| reduced.memory());
        let memory = (waiting + hashes + reduced + beside) as u64 + self.source.memory() + outbox.memory();
        if memory > self.memory { Err(LeafFailure::Memory) } else { Ok(()) }
    }
}

/// Waits for some work. When the leaf is cancelled, what is under way has a moment to come to its end.
pub(super) async fn unless_cancelled<T>(outbox: &Outbox, work: impl Future<Output = T>) -> Result<T, LeafFailure> {
    if outbox.is_cancelled() {
        return Err(LeafFailure::Cancelled);
    }
    let mut work = std::pin::pin!(work);
    tokio::select! {
        biased;
        done = &mut work => return Ok(done),
        () = outbox.cancelled() => {}
    }
    tokio::time::timeout(GRACE, work).await.map_err(|_| LeafFailure::Cancelled)
}
