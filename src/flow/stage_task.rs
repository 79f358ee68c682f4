//! [`StageTask`]: one stage of a leaf, or all of them where records do not move: reads, works, and hands on.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::join_all;
use serde_bytes::ByteBuf;

use super::exit::Exit;
use super::inlet::Inlet;
use super::keyspace::KeySource;
use super::left_open::LeftOpen;
use super::messages::{LeafEnd, LeafFailure, LeafProgress};
use super::outbox::Outbox;
use super::records::{BATCH_RECORDS, Records};
use super::work::{StageWork, WorkFailed};
use crate::engine::panicked;
use crate::error::Error;

/// The number of keys that are read at a time, if a command runs for each of them: this many run before a failure ends
/// the flow.
const SLICE: usize = 1000;

/// The number of keys that are read at a time otherwise, as far as a turn on the main thread suffices: each slice costs
/// a hop to it.
const NAMES: usize = BATCH_RECORDS;

/// The work of one stage, or of all.
pub(super) struct StageTask {
    /// [`None`] for all stages.
    stage: Option<usize>,
    first_step: usize,
    source: Box<dyn KeySource>,
    memory: u64,
    work: StageWork,
    exit: Exit,
    left: LeftOpen,
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
            outbox.put_open(std::mem::take(&mut task.left));
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
        Self { stage, first_step, source, memory, work, exit, left: LeftOpen::default() }
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
            let mut slice = outbox.unless_cancelled(self.source.next(most)).await??;
            let records = std::mem::take(&mut slice.records);
            let is_end = slice.is_end;
            self.left.note(slice, &mut self.work.progress);
            let stage = self.work.stage_of(self.first_step);
            self.work.progress.records_in[stage] += records.len() as u64;
            self.check_memory(outbox, records.byte_len())?;
            let passed = match self.stage {
                None => outbox.unless_cancelled(self.work.pass(self.first_step, records)).await??,
                Some(_) => outbox.unless_cancelled(self.work.pass_stage(self.first_step, records)).await??,
            };
            self.check_memory(outbox, passed.byte_len())?;
            let nobodys = self.exit.hand_on(outbox, &passed).await?;
            self.leave_to_coordinator(nobodys);
            outbox.put_work(&mut self.work, self.stage);
            if is_end {
                break;
            }
        }
        if matches!(&self.exit, Exit::Outbox(rest) if !rest.is_empty()) {
            self.check_memory(outbox, 0)?;
        }
        let nobodys = self.exit.hand_on_the_rest(outbox).await?;
        self.leave_to_coordinator(nobodys);
        Ok(())
    }

    /// Leaves records to the coordinator that no shard takes into the next stage.
    fn leave_to_coordinator(&mut self, records: Records) {
        if let Some(stage) = self.stage
            && !records.is_empty()
        {
            self.work.elsewhere.push((self.work.first_step_of(stage + 1) as u32, records));
        }
    }

    fn check_memory(&self, outbox: &Outbox, beside: usize) -> Result<(), LeafFailure> {
        let reduced = self.work.reduced.as_ref().map_or(0, |reduced| reduced.memory());
        let here = self.exit.memory() + self.left.memory() + reduced + beside;
        let memory = here as u64 + self.source.memory() + outbox.memory();
        if memory > self.memory { Err(LeafFailure::Memory) } else { Ok(()) }
    }
}
