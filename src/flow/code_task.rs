//! [`CodeTask`]: one stage of a leaf that is code: opens it, gives it its records in order, and hands on what comes of them.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::join_all;

use super::code::{AbortCode, CodeReads, OpenedCode, OpeningCode, StageCode, StageOutput};
use super::inlet::{FromInlet, Inlet};
use super::keyspace::{KeySlice, KeySource, KeysWanted, Keyspace, NamesWanted};
use super::messages::{LeafEnd, LeafFailure, LeafProgress};
use super::outbox::Outbox;
use super::plan::KeyFilter;
use super::records::{BATCH_BYTES, BATCH_RECORDS, Records};
use super::router::Router;
use super::stage_task::{GRACE, unless_cancelled};
use super::work::WorkFailed;
use crate::engine::panicked;
use crate::error::Error;
use crate::topology::SlotRange;

/// How many records code is given at a time.
const SLICE: usize = 4096;

/// A stage of code.
pub(super) struct CodeTask {
    stage: usize,
    /// [`None`] once it has been opened.
    opening: Option<OpeningCode>,
    /// [`None`] unless the code is open and can be told to end.
    abort: Option<AbortCode>,
    input: StageInput,
    memory: u64,
    exit: CodeExit,
    progress: LeafProgress,
    /// How many stages of the flow this leaf has no more part in once this one has ended.
    ended_with: usize,
    unread: Vec<u16>,
    unsettled: Vec<(u16, Vec<u128>)>,
    elsewhere: Records,
}

/// Where the records come from.
pub(super) enum StageInput {
    /// What the code wants to be read.
    Keys(KeysOfCode),
    /// The stage before.
    Inlet(Arc<Inlet>),
}

/// The keys that the code of a first stage may read.
pub(super) struct KeysOfCode {
    pub(super) keyspace: Arc<dyn Keyspace>,
    pub(super) slots: Option<Vec<SlotRange>>,
    /// These alone are left to be read of those that it wants.
    pub(super) only: Option<Records>,
    /// The node whose keys these are, if it cannot make records of its own, since it does not run code.
    pub(super) of_other: Option<String>,
}

/// Where the records of a stage of code go.
pub(super) enum CodeExit {
    /// To the coordinator as results; with those that are not yet a batch.
    Outbox(Records),
    /// To the next stage.
    Router(Router),
    Nowhere,
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
            let (unread, unsettled) = (std::mem::take(&mut task.unread), std::mem::take(&mut task.unsettled));
            outbox.put_open(unread, unsettled, std::mem::take(&mut task.elsewhere));
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
        exit: CodeExit,
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
            unread: Vec::new(),
            unsettled: Vec::new(),
            elsewhere: Records::new(),
        }
    }

    async fn work_to_the_end(&mut self, outbox: &Outbox) -> Result<(), WorkFailed> {
        let lost = || Error::Internal("a stage was begun twice".into());
        let opening = self.opening.take().ok_or_else(lost)?;
        let OpenedCode { mut code, reads, abort } = unless_cancelled(outbox, opening).await??;
        self.abort = abort;
        // Until all shares have begun nobody may hand on records.
        unless_cancelled(outbox, outbox.begun()).await?;
        if let Some(mut source) = self.source(reads)? {
            self.feed(outbox, &mut *source, &mut *code).await?;
        }
        let output = self.output(outbox, code.end()).await?;
        self.take_output(outbox, &mut *code, output, 0).await?;
        self.hand_on_the_rest(outbox).await
    }

    /// Opens what is to be read; [`None`] if that is nothing.
    fn source(&mut self, reads: CodeReads) -> Result<Option<Box<dyn KeySource>>, WorkFailed> {
        let keys = match &mut self.input {
            StageInput::Inlet(inlet) => {
                return Ok(Some(Box::new(FromInlet { inlet: inlet.clone(), rest: Records::new() })));
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
            let mut slice = unless_cancelled(outbox, source.next(SLICE)).await??;
            let records = std::mem::take(&mut slice.records);
            let is_end = slice.is_end;
            self.note(slice);
            self.progress.records_in[self.stage] += records.len() as u64;
            let beside = source.memory() + records.byte_len() as u64;
            self.check_memory(outbox, beside)?;
            if is_wanted && !records.is_empty() {
                let output = self.output(outbox, code.take(records)).await?;
                is_wanted = self.take_output(outbox, code, output, source.memory()).await?;
            }
            outbox.put_progress(&self.progress, Some(self.stage));
            // What others hand on has to be taken, wanted or not, or they would wait.
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
            let StageOutput { records, errors, more, enough } = output;
            outbox.put_errors(errors);
            self.progress.records_out[self.stage] += records.len() as u64;
            self.check_memory(outbox, beside + records.byte_len() as u64)?;
            self.hand_on(outbox, &records).await?;
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
        if let Ok(Ok(last)) = tokio::time::timeout(GRACE, output).await {
            outbox.put_errors(last.errors);
        }
        Err(LeafFailure::Cancelled.into())
    }

    /// Takes how far the source is.
    fn note(&mut self, slice: KeySlice) {
        let progress = &mut self.progress;
        progress.slots_read += slice.slots_read;
        progress.keys_read += slice.keys_read;
        if slice.keys_in_table > 0 {
            progress.keys_in_table = slice.keys_in_table;
        }
        self.unread.extend(slice.unread);
        self.unsettled.extend(slice.unsettled);
        self.elsewhere.append(&slice.elsewhere);
    }

    /// Hands on records, as far as they are batches.
    async fn hand_on(&mut self, outbox: &Outbox, records: &Records) -> Result<(), WorkFailed> {
        match &mut self.exit {
            CodeExit::Outbox(batch) => {
                batch.append(records);
                self.send(outbox, false).await
            }
            CodeExit::Router(router) => all_taken(&unless_cancelled(outbox, router.send(records)).await??),
            CodeExit::Nowhere => Ok(()),
        }
    }

    /// Hands on all that is left.
    async fn hand_on_the_rest(&mut self, outbox: &Outbox) -> Result<(), WorkFailed> {
        match &mut self.exit {
            CodeExit::Outbox(_) => self.send(outbox, true).await,
            CodeExit::Router(router) => all_taken(&unless_cancelled(outbox, router.flush()).await??),
            CodeExit::Nowhere => Ok(()),
        }
    }

    /// Sends the coordinator what is a batch; with `all` also what is less than one.
    async fn send(&mut self, outbox: &Outbox, all: bool) -> Result<(), WorkFailed> {
        while let CodeExit::Outbox(waiting) = &mut self.exit
            && (waiting.is_batch() || (all && !waiting.is_empty()))
        {
            let batch = waiting.take_batch(BATCH_RECORDS, BATCH_BYTES);
            let is_last = waiting.is_empty();
            unless_cancelled(outbox, outbox.put_batch(batch, all && is_last)).await?;
        }
        Ok(())
    }

    fn check_memory(&self, outbox: &Outbox, beside: u64) -> Result<(), LeafFailure> {
        let hashes: usize = self.unsettled.iter().map(|(_, hashes)| hashes.len() * size_of::<u128>()).sum();
        let waiting = match &self.exit {
            CodeExit::Outbox(batch) => batch.byte_len(),
            CodeExit::Router(router) => router.memory(),
            CodeExit::Nowhere => 0,
        };
        let memory = (waiting + hashes + self.elsewhere.byte_len()) as u64 + beside + outbox.memory();
        if memory > self.memory { Err(LeafFailure::Memory) } else { Ok(()) }
    }
}

/// Refuses to lose what another share has not taken.
fn all_taken(left: &Records) -> Result<(), WorkFailed> {
    if left.is_empty() { Ok(()) } else { Err(LeafFailure::NotTaken.into()) }
}
