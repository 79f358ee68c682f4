//! [`PythonCode`]: a stage of a share, as the flow engine drives it.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;

use super::plan::PythonStage;
use super::run::{OpenRun, SharedRun, abort_of, bad_answer};
use crate::error::Error;
use crate::flow::Records;
use crate::flow::code::{CodeReads, CodeShare, OpenedCode, OpeningCode, StageCode, StageOutput};
use crate::flow::messages;
use crate::python::batch::{BatchShape, RecordBatch, StageAnswer};
use crate::python::contexts::Contexts;
use crate::python::events::{self, EventBatch, EventResults};
use crate::python::frame::FrameKind;
use crate::python::marshal::Value;
use crate::python::sessions::Sessions;
use crate::python::{WorkerAnswer, WorkerError};
use crate::topology::BoxFuture;

/// Begins to open a stage for a share of a flow: finds its session, gives it the flow, and opens an execution.
pub(crate) fn open(
    sessions: Arc<Sessions>,
    contexts: &Contexts,
    rights: Arc<dyn Any + Send + Sync>,
    arguments: &[u8],
    share: CodeShare,
) -> OpeningCode {
    let run = SharedRun::of(share.leaf);
    // Whichever stage is the first to be opened opens the execution.
    let arguments = if run.opened.initialized() { Vec::new() } else { arguments.to_vec() };
    let contexts = contexts.clone();
    Box::pin(async move {
        let opening = || async {
            let stage: PythonStage = messages::decode(&arguments)?;
            OpenRun::open(&sessions, &contexts, rights, &stage, &share).await
        };
        let opened = run.opened.get_or_try_init(opening).await?;
        let reads = if share.stage == 0 { opened.reads.clone() } else { CodeReads::Nothing };
        let abort = abort_of(&run);
        let given = if share.stage == 0 { opened.take_given() } else { None };
        let shape = if share.stage == 0 { opened.shape } else { BatchShape::Records };
        let code = Box::new(PythonCode {
            run,
            stage: u64::from(share.stage),
            shape,
            given,
            has_failed: false,
            has_ended: false,
        });
        Ok(OpenedCode { code, reads, abort: Some(abort) })
    })
}

/// A stage that a worker runs.
struct PythonCode {
    run: Arc<SharedRun>,
    stage: u64,
    shape: BatchShape,
    /// The events, until they are taken.
    given: Option<EventBatch>,
    /// The stage can do no more.
    has_failed: bool,
    has_ended: bool,
}

impl PythonCode {
    /// Asks for what comes of a batch, of an end, or of what there is beyond the answer before.
    async fn ask(&mut self, kind: FrameKind, head: &Value, sections: &[Bytes]) -> Result<StageOutput, Error> {
        let mut output = match self.run.ask(kind, head, sections).await {
            Ok(WorkerAnswer { head, sections }) => {
                let answer = StageAnswer::read(&head, &sections).ok_or_else(bad_answer)?;
                if answer.aborted {
                    self.has_failed = true;
                }
                let StageAnswer { records, errors, more, enough, aborted } = answer;
                StageOutput {
                    records,
                    errors,
                    more: more && !aborted,
                    enough: enough || aborted,
                    ..StageOutput::default()
                }
            }
            Err(WorkerError::Failed { code, text }) if code == "error" => self.fail(text.into()),
            Err(WorkerError::Failed { code, .. }) if code == "aborted" => {
                return Err(Error::Cancelled { outcome_unknown: true });
            }
            Err(error) => return Err(error.into()),
        };
        if self.has_ended && !output.more {
            (output.took, output.read) = self.run.stage_has_ended().await?;
        }
        Ok(output)
    }

    /// Makes an exception of the script's what the stage has come to.
    fn fail(&mut self, text: Bytes) -> StageOutput {
        self.has_failed = true;
        StageOutput { errors: vec![text], enough: true, ..StageOutput::default() }
    }

    /// Gives the stage what has happened. Returns all that comes of it.
    async fn feed(&mut self, given: &EventBatch) -> Result<StageOutput, Error> {
        let number = self.run.opened.get().map_or(0, |run| run.context.number());
        let mut all = self.ask(FrameKind::Run, &given.head_of_run(number, self.stage), given.sections()).await?;
        while all.more {
            let head = self.place();
            let next = self.ask(FrameKind::Next, &head, &[]).await?;
            all.more = next.more;
            all.enough |= next.enough;
            all.records.append(&next.records);
            all.errors.extend(next.errors);
        }
        Ok(all)
    }

    /// Runs the whole flow for what has happened, in one request.
    async fn run_at_once(&mut self, given: &EventBatch, results: EventResults) -> Result<StageOutput, Error> {
        let run = self.run.clone();
        let opened = run.opened.get().ok_or_else(bad_answer)?;
        let outcome = events::run_once(&opened.session, &opened.context, &opened.key, results, given).await?;
        (self.has_failed, self.has_ended) = (true, true);
        run.stage_has_ended().await?;
        Ok(StageOutput { records: outcome.results, errors: outcome.errors, ..StageOutput::default() })
    }

    fn place(&self) -> Value {
        let number = self.run.opened.get().map_or(0, |run| run.context.number());
        Value::Tuple(vec![number.into(), self.stage.into()])
    }
}

impl StageCode for PythonCode {
    fn take(&mut self, records: Records) -> BoxFuture<'_, Result<StageOutput, Error>> {
        Box::pin(async move {
            let run = self.run.clone();
            let Some(opened) = run.opened.get().filter(|run| run.is_open() && !self.has_failed) else {
                return Ok(StageOutput { enough: true, ..StageOutput::default() });
            };
            let batch = RecordBatch::of(self.shape, records)?;
            let head = batch.head(opened.context.number(), self.stage);
            self.ask(FrameKind::Run, &head, &batch.sections).await
        })
    }

    fn more(&mut self) -> BoxFuture<'_, Result<StageOutput, Error>> {
        Box::pin(async move {
            let head = self.place();
            self.ask(FrameKind::Next, &head, &[]).await
        })
    }

    fn end(&mut self) -> BoxFuture<'_, Result<StageOutput, Error>> {
        Box::pin(async move {
            let run = self.run.clone();
            let as_events = run.opened.get().and_then(|run| run.as_events);
            if let Some((given, results)) = self.given.take_if(|_| as_events.is_some()).zip(as_events) {
                return self.run_at_once(&given, results).await;
            }
            let refused = run.opened.get().and_then(|run| run.refused.clone());
            let mut output = match self.given.take().filter(|_| refused.is_none() && !self.has_failed) {
                Some(given) => self.feed(&given).await?,
                None => StageOutput::default(),
            };
            self.has_ended = true;
            if refused.is_some() || self.has_failed {
                (output.took, output.read) = run.stage_has_ended().await?;
                output.errors.extend(refused.into_iter().filter(|_| self.stage == 0));
                return Ok(StageOutput { more: false, enough: false, ..output });
            }
            let head = self.place();
            let end = self.ask(FrameKind::End, &head, &[]).await?;
            output.records.append(&end.records);
            output.errors.extend(end.errors);
            Ok(StageOutput { records: output.records, errors: output.errors, ..end })
        })
    }
}
