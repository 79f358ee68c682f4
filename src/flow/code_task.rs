//! [`CodeTask`]: one stage of a leaf that is code: opens it, gives it its records in order, and hands on what comes of them.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join_all;

use super::code::{AbortCode, CodeReads, OpenedCode, OpeningCode, StageCode, StageOutput};
use super::exit::Exit;
use super::inlet::{FromInlet, Inlet};
use super::keyspace::{KeySource, KeysWanted, Keyspace, NamesWanted};
use super::left_open::LeftOpen;
use super::messages::{LeafEnd, LeafFailure, LeafProgress};
use super::outbox::Outbox;
use super::plan::KeyFilter;
use super::records::Records;
use super::work::WorkFailed;
use crate::engine::panicked;
use crate::error::Error;
use crate::topology::SlotRange;

/// The number of records that code is given at a time.
const SLICE: usize = 4096;

/// The time that code has for its last words when it was told to end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A stage of code.
pub(super) struct CodeTask {
    stage: usize,
    /// [`None`] once it has been opened.
    opening: Option<OpeningCode>,
    /// [`None`] unless the code is open and can be told to end.
    abort: Option<AbortCode>,
    input: StageInput,
    memory: u64,
    exit: Exit,
    progress: LeafProgress,
    /// The number of stages of the flow that this leaf has no more part in once this one has ended.
    ended_with: usize,
    left: LeftOpen,
}

/// The source of the records.
pub(super) enum StageInput {
    /// The keys that the code wants to read.
    Keys(KeysOfCode),
    /// The stage before.
    Inlet(Arc<Inlet>),
}

/// The keys that the code of a first stage may read.
pub(super) struct KeysOfCode {
    pub(super) keyspace: Arc<dyn Keyspace>,
    pub(super) slots: Option<Vec<SlotRange>>,
    /// The keys that are left to be read of those that the code wants; `None` for all of them.
    pub(super) only: Option<Records>,
    /// The node whose keys these are, if it cannot make records of its own, since it does not run code.
    pub(super) of_other: Option<String>,
}

/// Runs the stages of a leaf until all have ended, and says so.
pub(super) async fn run_all(
    mut tasks: Vec<CodeTask>,
    inlets: Vec<Arc<Inlet>>,
    outbox: Arc<Outbox>,
    error: Arc<Mutex<Option<Error>>>,
) {
    let failed = Mutex::new(None);
    join_all(tasks.iter_mut().map(|task| run(task, &outbox, &failed))).await;
    inlets.iter().for_each(|inlet| inlet.close());
    let failed: Option<WorkFailed> = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    outbox.put_end(match failed {
        None => LeafEnd::Done { reduced: None },
        Some(failed) => {
            *error.lock().unwrap_or_else(PoisonError::into_inner) = failed.error.map(|error| *error);
            LeafEnd::Failed(failed.failure)
        }
    });
}

/// Runs a stage. When it fails, all stages of the leaf end; the first failure is the leaf's.
async fn run(task: &mut CodeTask, outbox: &Outbox, first: &Mutex<Option<WorkFailed>>) {
    let ended = AssertUnwindSafe(task.work_to_the_end(outbox)).catch_unwind().await;
    let ended = ended.unwrap_or_else(|panic| Err(panicked("stage", &*panic).into()));
    outbox.put_progress(&task.progress, Some(task.stage));
    match ended {
        Ok(()) => {
            outbox.put_open(std::mem::take(&mut task.left));
            outbox.put_stages_ended(task.ended_with);
        }
        Err(failed) => {
            first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failed);
            outbox.cancel();
        }
    }
}

impl CodeTask {
    /// Makes the task of a stage. `ended_with` is the first stage behind it that the leaf has a part in, or their number.
    pub(super) fn new(
        stage: usize,
        opening: OpeningCode,
        input: StageInput,
        exit: Exit,
        memory: u64,
        ended_with: usize,
        progress: LeafProgress,
    ) -> Self {
        Self {
            stage,
            opening: Some(opening),
            abort: None,
            input,
            memory,
            exit,
            progress,
            ended_with,
            left: LeftOpen::default(),
        }
    }

    async fn work_to_the_end(&mut self, outbox: &Outbox) -> Result<(), WorkFailed> {
        let lost = || Error::Internal("a stage was begun twice".into());
        let opening = self.opening.take().ok_or_else(lost)?;
        let OpenedCode { mut code, reads, abort } = outbox.unless_cancelled(opening).await??;
        self.abort = abort;
        // Until all shares have begun nobody may hand on records.
        outbox.unless_cancelled(outbox.begun()).await?;
        if let Some(mut source) = self.source(reads)? {
            self.feed(outbox, &mut *source, &mut *code).await?;
        }
        let output = self.output(outbox, code.end()).await?;
        self.take_output(outbox, &mut *code, output, 0).await?;
        all_taken(&self.exit.hand_on_the_rest(outbox).await?)
    }

    /// Opens what is to be read; [`None`] if that is nothing.
    fn source(&mut self, reads: CodeReads) -> Result<Option<Box<dyn KeySource>>, WorkFailed> {
        let keys = match &mut self.input {
            StageInput::Inlet(inlet) => {
                return Ok(Some(Box::new(FromInlet::new(inlet.clone()))));
            }
            StageInput::Keys(keys) => keys,
        };
        let (filter, names) = match (reads, keys.only.take()) {
            (CodeReads::Nothing, _) => {
                return match keys.of_other.as_deref() {
                    None | Some("") => Ok(None),
                    Some(node) => Err(Error::Refused(format!(
                        "{node} does not run this flow's reader: it has no rmr, or another version, or cannot be asked"
                    ))
                    .into()),
                };
            }
            (CodeReads::Keys(filter), None) => (filter, None),
            (CodeReads::Keys(KeyFilter { values, .. }), Some(left)) => {
                let names = left.keys().map(|key| key.to_vec().into()).collect();
                (KeyFilter::any(values), Some(NamesWanted { names, with_missing: false }))
            }
            (CodeReads::Names { wanted, values }, _) => (KeyFilter::any(values), Some(wanted)),
        };
        let wanted = KeysWanted { slots: keys.slots.clone(), filter, names, memory: self.memory };
        Ok(Some(keys.keyspace.read(wanted)))
    }

    /// Gives the code all that is to be had, as long as it wants it.
    async fn feed(
        &mut self,
        outbox: &Outbox,
        source: &mut dyn KeySource,
        code: &mut dyn StageCode,
    ) -> Result<(), WorkFailed> {
        let mut is_wanted = true;
        loop {
            let began = Instant::now();
            let mut slice = outbox.unless_cancelled(source.next(SLICE)).await??;
            // Records from the stage before were read there.
            if matches!(self.input, StageInput::Keys(_)) {
                outbox.put_read(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
            }
            let records = std::mem::take(&mut slice.records);
            let is_end = slice.is_end;
            self.left.note(slice, &mut self.progress);
            self.progress.records_in[self.stage] += records.len() as u64;
            let beside = source.memory() + records.byte_len() as u64;
            self.check_memory(outbox, beside)?;
            if is_wanted && !records.is_empty() {
                let output = self.output(outbox, code.take(records)).await?;
                is_wanted = self.take_output(outbox, code, output, source.memory()).await?;
            }
            outbox.put_progress(&self.progress, Some(self.stage));
            // Records that others hand on have to be taken, wanted or not, or the others would wait.
            if is_end || (!is_wanted && matches!(self.input, StageInput::Keys(_))) {
                return Ok(());
            }
        }
    }

    /// Takes an output, and all that there is beyond it. Returns whether the code wants more input.
    async fn take_output(
        &mut self,
        outbox: &Outbox,
        code: &mut dyn StageCode,
        mut output: StageOutput,
        beside: u64,
    ) -> Result<bool, WorkFailed> {
        loop {
            let StageOutput { records, errors, took, read, more, enough } = output;
            outbox.put_errors(errors);
            outbox.put_took(took);
            outbox.put_read(read);
            self.progress.records_out[self.stage] += records.len() as u64;
            self.check_memory(outbox, beside + records.byte_len() as u64)?;
            all_taken(&self.exit.hand_on(outbox, &records).await?)?;
            if !more {
                return Ok(!enough);
            }
            output = self.output(outbox, code.more()).await?;
        }
    }

    /// Waits for an output. When the leaf is cancelled the code is told so, and of what it says then the errors count.
    async fn output(
        &mut self,
        outbox: &Outbox,
        output: impl Future<Output = Result<StageOutput, Error>>,
    ) -> Result<StageOutput, WorkFailed> {
        let mut output = std::pin::pin!(output);
        tokio::select! {
            biased;
            done = &mut output => return Ok(done?),
            () = outbox.cancelled() => {}
        }
        if let Some(abort) = self.abort.take() {
            abort();
        }
        if let Ok(Ok(last)) = tokio::time::timeout(LAST_WORDS, output).await {
            outbox.put_errors(last.errors);
        }
        Err(LeafFailure::Cancelled.into())
    }

    fn check_memory(&self, outbox: &Outbox, beside: u64) -> Result<(), LeafFailure> {
        let memory = (self.exit.memory() + self.left.memory()) as u64 + beside + outbox.memory();
        if memory > self.memory { Err(LeafFailure::Memory) } else { Ok(()) }
    }
}

/// Refuses to lose what another share has not taken.
fn all_taken(left: &Records) -> Result<(), WorkFailed> {
    if left.is_empty() { Ok(()) } else { Err(LeafFailure::NotTaken.into()) }
}
