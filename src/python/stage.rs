//! [`PythonStage`]: the stages of a flow run by workers. The flow engine gives each stage its records; here they become
//! requests to the worker of the flow's session on this shard.
//!
//! All stages of one share are one execution of the worker's. It is opened with the first of them and closed with the last;
//! where the flow ends early the worker is told to stop, and made to if it does not.

use std::any::Any;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use tokio::runtime::Handle;
use tokio::sync::OnceCell;

use super::batch::{BatchShape, RecordBatch, StageAnswer};
use super::contexts::{Context, ContextGuard, Contexts};
use super::events::{self, EventBatch, EventResults};
use super::frame::FrameKind;
use super::marshal::Value;
use super::sessions::{SessionHandle, Sessions};
use super::worker::{Worker, WorkerSettings};
use super::{WorkerAnswer, WorkerError};
use crate::error::Error;
use crate::flow::Records;
use crate::flow::code::{AbortCode, CodeReads, CodeShare, OpenedCode, OpeningCode, StageCode, StageOutput};
use crate::flow::keyspace::NamesWanted;
use crate::flow::messages;
use crate::flow::plan::{CodePlan, FlowEnd, FlowPlan, FlowReader, KeyFilter, Passage, Stage, StepPlan, ValuesRead};
use crate::topology::BoxFuture;

/// The name by which nodes know that the code of a flow is Python.
pub(crate) const NAME: &str = "python";

/// The time that code has to leave when its flow has ended early; then its process is ended.
const TO_LEAVE: Duration = Duration::from_secs(1);

const DID_NOT_LEAVE: &str = "the Python process was ended since code of an aborted flow did not leave";

/// The facts that all stages of a flow know, on all shards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PythonStage {
    /// The session's name between nodes.
    pub(crate) session: String,
    /// The ACL user whose session it is.
    pub(crate) user: String,
    /// The flow's name between workers.
    pub(crate) key: String,
    /// The flow, for workers that have not made it themselves.
    pub(crate) blob: ByteBuf,
    /// The steps are one stage, on this shard.
    pub(crate) is_local: bool,
    /// Records change shards in other flows.
    pub(crate) is_cluster: bool,
    pub(crate) results: StageResults,
    pub(crate) with_traceback: bool,
    pub(crate) is_profiling: bool,
    /// The flow runs this once.
    pub(crate) is_one_off: bool,
    /// The packages that the session requires.
    pub(crate) requirements: Vec<String>,
    /// The version of the interpreter that has made the flow, such as `3.11`.
    pub(crate) python: String,
    /// The events for the flow of a registration.
    pub(crate) given: Option<GivenEvents>,
}

/// Events that a flow runs for, in place of something that is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GivenEvents {
    /// The node that gets them; [`None`] for all.
    pub(crate) only_at: Option<String>,
    /// The flow has no stage but the one that gets them.
    pub(crate) is_only_stage: bool,
    pub(crate) events: EventBatch,
}

impl GivenEvents {
    /// Returns the events of a share.
    fn of(self, share: &CodeShare) -> Option<EventBatch> {
        self.only_at.is_none_or(|node| node == share.node).then_some(self.events)
    }
}

/// The form in which a flow has its results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum StageResults {
    /// Replies in RESP2, one each.
    Replies,
    /// Replies in RESP2, for a command that a script implements.
    Trigger,
    /// Values that a script gets.
    Records,
}

impl StageResults {
    /// Returns how the same is asked for of events; [`None`] for what events do not have.
    fn of_events(self) -> Option<EventResults> {
        match self {
            Self::Replies => Some(EventResults::Replies),
            Self::Trigger => Some(EventResults::Trigger),
            Self::Records => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Replies => "replies",
            Self::Trigger => "trigger",
            Self::Records => "records",
        }
    }
}

impl PythonStage {
    /// Makes the plan of a flow whose stages hand on so.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn plan(&self, passages: &[Passage]) -> Result<FlowPlan, Error> {
        let stage = |then: &Passage| Stage { steps: vec![StepPlan::Code], then: *then };
        Ok(FlowPlan {
            reader: FlowReader::OfCode,
            stages: passages.iter().map(stage).collect(),
            end: FlowEnd::Records,
            is_partial: false,
            is_resp3: true,
            code: Some(CodePlan { name: NAME.into(), arguments: messages::encode(self)? }),
        })
    }

    fn settings(&self, share: &CodeShare) -> WorkerSettings {
        WorkerSettings {
            shard: if self.is_cluster { share.runs_at.clone() } else { "1".into() },
            is_cluster: self.is_cluster,
            with_traceback: self.with_traceback,
            is_profiling: self.is_profiling,
        }
    }
}

/// Returns how the stages of a flow hand on, by what LOAD says of each: `repartition`, `collect` or `stay`.
pub(crate) fn passages<'a>(then: impl DoubleEndedIterator<Item = &'a str>) -> Option<Vec<Passage>> {
    let mut passages = Vec::new();
    for (from_end, then) in then.rev().enumerate() {
        passages.push(match (then, from_end) {
            ("collect", 0) => Passage::Collect,
            ("stay", 0) => Passage::Stay,
            ("collect", _) => Passage::Gather,
            ("repartition", 1..) => Passage::Repartition,
            _ => return None,
        });
    }
    passages.reverse();
    Some(passages).filter(|passages| !passages.is_empty())
}

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

/// The execution of a share, which its stages have in common.
struct SharedRun {
    leaf: u64,
    opened: OnceCell<OpenRun>,
    /// The number of stages that have not ended.
    stages: AtomicUsize,
    is_closed: AtomicBool,
    runtime: Handle,
}

/// The executions of shares that are being worked on.
static RUNS: LazyLock<Mutex<HashMap<u64, Weak<SharedRun>>>> = LazyLock::new(Mutex::default);

impl SharedRun {
    /// Finds the execution of a share for one more of its stages. Within the runtime.
    fn of(leaf: u64) -> Arc<Self> {
        let mut runs = RUNS.lock().unwrap_or_else(PoisonError::into_inner);
        let run = runs.get(&leaf).and_then(Weak::upgrade).unwrap_or_else(|| {
            let run = Arc::new(Self {
                leaf,
                opened: OnceCell::new(),
                stages: AtomicUsize::new(0),
                is_closed: AtomicBool::new(false),
                runtime: Handle::current(),
            });
            runs.insert(leaf, Arc::downgrade(&run));
            run
        });
        run.stages.fetch_add(1, Ordering::Relaxed);
        run
    }

    /// Asks the worker.
    async fn ask(&self, kind: FrameKind, head: &Value, sections: &[Bytes]) -> Result<WorkerAnswer, WorkerError> {
        match self.opened.get() {
            Some(run) => run.session.worker().ask(kind, head, sections).await,
            None => Err(WorkerError::Gone("the execution was not opened".into())),
        }
    }

    /// Closes the execution with its last stage. Returns what [`OpenRun::close`] does.
    async fn stage_has_ended(&self) -> Result<(Vec<u64>, u64), WorkerError> {
        if self.stages.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(run) = self.opened.get()
        {
            self.is_closed.store(true, Ordering::Release);
            return run.close().await;
        }
        Ok(Default::default())
    }
}

impl Drop for SharedRun {
    fn drop(&mut self) {
        RUNS.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.leaf);
        let is_closed = *self.is_closed.get_mut();
        if let Some(run) = self.opened.take().filter(|run| !is_closed && run.is_open()) {
            self.runtime.spawn(async move { run.end_early().await });
        }
    }
}

/// An execution that is open.
struct OpenRun {
    session: SessionHandle,
    /// Its number, by which its calls are known.
    context: ContextGuard,
    key: String,
    is_one_off: bool,
    reads: CodeReads,
    shape: BatchShape,
    /// The events for its first stage.
    given: Mutex<Option<EventBatch>>,
    /// The form in which results are wanted, where that is the only stage: the worker then runs it in one request, and
    /// nothing is opened.
    as_events: Option<EventResults>,
    /// The reason why the code did not want to be opened.
    refused: Option<Bytes>,
}

impl OpenRun {
    async fn open(
        sessions: &Sessions,
        contexts: &Contexts,
        rights: Arc<dyn Any + Send + Sync>,
        stage: &PythonStage,
        share: &CodeShare,
    ) -> Result<Self, Error> {
        let python = sessions.python_version().await?;
        if *python != *stage.python {
            return Err(Error::Refused(format!(
                "functions run on Python {python} here, and the flow was made on Python {}: all shards have to have the \
                 same minor version (rmr.python names the interpreter)",
                stage.python
            )));
        }
        let session = sessions.open(&stage.session, &stage.user, &stage.settings(share)).await?;
        let context = contexts.open(Context { session: stage.session.clone(), rights });
        if !stage.blob.is_empty() && !session.has(&stage.key).await {
            let folder = sessions.requirements().folder(&stage.requirements).await?;
            let blob = Bytes::copy_from_slice(&stage.blob);
            session.install(context.number(), &stage.key, &blob, folder.as_ref()).await?;
        }
        let is_only_stage = stage.given.as_ref().is_some_and(|given| given.is_only_stage);
        let given = stage.given.clone().and_then(|given| given.of(share));
        let runs_at_once = is_only_stage && given.is_some() && !stage.is_profiling;
        let as_events = stage.results.of_events().filter(|_| runs_at_once);
        let (key, is_one_off, given) = (stage.key.clone(), stage.is_one_off, Mutex::new(given));
        if as_events.is_some() {
            let (reads, shape) = (CodeReads::Nothing, BatchShape::Records);
            return Ok(Self { session, context, key, is_one_off, reads, shape, given, as_events, refused: None });
        }
        let head = Value::dict([
            ("execution", context.number().into()),
            ("session", stage.session.as_str().into()),
            ("key", stage.key.as_str().into()),
            ("local", stage.is_local.into()),
            ("results", stage.results.word().into()),
            ("timed", stage.is_profiling.into()),
        ]);
        let (reads, shape, refused) = match session.worker().ask(FrameKind::Open, &head, &[]).await {
            Ok(answer) => {
                let (reads, shape) = answer.head.get("reader").and_then(what_to_read).ok_or_else(bad_answer)?;
                (reads, shape, None)
            }
            // An exception of the script's, as of a function that says what is to be read.
            Err(WorkerError::Failed { code, text }) if code == "error" => {
                (CodeReads::Nothing, BatchShape::Records, Some(Bytes::from(text)))
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self { session, context, key, is_one_off, reads, shape, given, as_events, refused })
    }

    fn take_given(&self) -> Option<EventBatch> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn is_open(&self) -> bool {
        self.refused.is_none()
    }

    /// Closes it. Returns how long each step has taken, if that was asked for, and the worker's own reader.
    async fn close(&self) -> Result<(Vec<u64>, u64), WorkerError> {
        if !self.is_open() || self.as_events.is_some() {
            return Ok(Default::default());
        }
        let head = Value::Tuple(vec![self.context.number().into(), self.is_one_off.into()]);
        let answer = self.session.worker().ask(FrameKind::Close, &head, &[]).await?;
        if self.is_one_off {
            self.session.has_forgotten(&self.key).await;
        }
        let timing = answer.head.get("timing").and_then(Value::items).unwrap_or_default();
        let read = answer.head.get("read").and_then(Value::as_count).unwrap_or_default();
        Ok((timing.iter().filter_map(Value::as_count).collect(), read))
    }

    /// Sees to it that nothing runs of the execution any more.
    async fn end_early(self) {
        let worker = self.session.worker();
        end_code(worker, self.context.number()).await;
        // What waits for a lock may be code of the script, too.
        if !worker.is_gone() && tokio::time::timeout(TO_LEAVE, self.close()).await.is_err() {
            worker.kill(DID_NOT_LEAVE);
        }
    }
}

/// Ends the code of an execution or context: by an exception, and where that does not help by the end of its process.
pub(crate) async fn end_code(worker: &Worker, execution: u64) {
    match tokio::time::timeout(2 * TO_LEAVE, abort(worker, execution)).await {
        Ok(Ok(true) | Err(WorkerError::Gone(_))) => {}
        Ok(_) | Err(_) => worker.kill(DID_NOT_LEAVE),
    }
}

/// Tells the code of an execution to leave. Returns whether it has.
async fn abort(worker: &Worker, execution: u64) -> Result<bool, WorkerError> {
    let head = Value::Tuple(vec![execution.into(), (TO_LEAVE.as_millis() as u64).into()]);
    let answer = worker.ask(FrameKind::Abort, &head, &[]).await?;
    Ok(answer.head.get("left").and_then(Value::as_bool) == Some(true))
}

/// Returns what tells the code of a share to leave.
fn abort_of(run: &Arc<SharedRun>) -> AbortCode {
    let run = Arc::downgrade(run);
    Box::new(move || {
        let Some(run) = run.upgrade() else { return };
        run.runtime.clone().spawn(async move {
            if let Some(opened) = run.opened.get().filter(|opened| opened.is_open()) {
                // If it does not leave, that is seen when the run is dropped.
                let _ = abort(opened.session.worker(), opened.context.number()).await;
            }
        });
    })
}

fn bad_answer() -> Error {
    Error::Refused("the Python process has answered to something else".into())
}

/// Reads what an answer to OPEN says that is to be read, and in which shape batches of it are wanted.
fn what_to_read(reader: &Value) -> Option<(CodeReads, BatchShape)> {
    let kind = reader.get("kind")?.as_text()?;
    // Events are given.
    if kind == "own" || kind == "events" {
        return Some((CodeReads::Nothing, BatchShape::Records));
    }
    let pattern = reader.get("pattern")?.as_bytes()?.to_vec();
    let is_exact = reader.get("is_exact")?.as_bool()?;
    let with_values = reader.get("with_values")?.as_bool()?;
    let needs = reader.get("needs")?.as_text()?;
    let shape = match (kind, with_values) {
        ("keys" | "names", _) if needs == "count" => BatchShape::Count,
        ("keys", true) => BatchShape::Keys,
        ("keys" | "names", _) => BatchShape::Names,
        _ => return None,
    };
    let values = if shape == BatchShape::Keys { ValuesRead::Typed } else { ValuesRead::No };
    let reads = if is_exact {
        let wanted = NamesWanted { names: vec![ByteBuf::from(pattern)], with_missing: kind == "keys" };
        CodeReads::Names { wanted, values }
    } else {
        CodeReads::Keys(KeyFilter { pattern, type_name: None, values })
    };
    Some((reads, shape))
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
        let event = given.as_one_event();
        let answer = events::run(&opened.session, &opened.context, &opened.key, results, &event).await?;
        let outcome = match (answer.outcomes.into_iter().next(), answer.waiting) {
            (Some(Some(outcome)), _) => outcome,
            (Some(None), Some(mut waiting)) => {
                let ended = waiting.next().await;
                ended.ok_or_else(|| WorkerError::Gone("the Python process has ended".into()))?.1
            }
            _ => return Err(bad_answer()),
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_collect_is_the_end_and_others_gather() {
        use Passage::{Collect, Gather, Repartition, Stay};
        let of = |then: &[&str]| passages(then.iter().copied());
        assert_eq!(of(&["collect"]), Some(vec![Collect]));
        assert_eq!(of(&["repartition", "collect", "collect"]), Some(vec![Repartition, Gather, Collect]));
        assert_eq!(of(&["collect", "stay"]), Some(vec![Gather, Stay]));
        for bad in [&[][..], &["repartition"], &["stay", "collect"], &["elsewhere"]] {
            assert_eq!(of(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_is_read_is_what_the_worker_asks_for() {
        let reader = |kind: &str, is_exact: bool, with_values: bool, needs: &str| {
            what_to_read(&Value::dict([
                ("kind", kind.into()),
                ("pattern", "user:*".into()),
                ("is_exact", is_exact.into()),
                ("with_values", with_values.into()),
                ("needs", needs.into()),
            ]))
        };
        let keys = |values| CodeReads::Keys(KeyFilter { pattern: b"user:*".to_vec(), type_name: None, values });
        let name = |with_missing, values| {
            let wanted = NamesWanted { names: vec![ByteBuf::from("user:*")], with_missing };
            CodeReads::Names { wanted, values }
        };
        use BatchShape::{Count, Keys, Names};
        use ValuesRead::{No, Typed};
        assert_eq!(reader("keys", false, true, "all"), Some((keys(Typed), Keys)));
        assert_eq!(reader("keys", false, false, "all"), Some((keys(No), Names)));
        assert_eq!(reader("keys", false, true, "count"), Some((keys(No), Count)));
        assert_eq!(reader("names", false, false, "all"), Some((keys(No), Names)));
        assert_eq!(reader("keys", true, true, "all"), Some((name(true, Typed), Keys)));
        assert_eq!(reader("names", true, false, "all"), Some((name(false, No), Names)));
        assert_eq!(reader("values", true, false, "all"), None);
        let own = Value::dict([("kind", "own".into())]);
        assert_eq!(what_to_read(&own), Some((CodeReads::Nothing, BatchShape::Records)));
    }

    #[test]
    fn a_plan_carries_what_the_stages_know() {
        let stage = PythonStage {
            session: "s".into(),
            user: "default".into(),
            key: "1-1-1".into(),
            blob: ByteBuf::from("blob"),
            is_local: false,
            is_cluster: true,
            results: StageResults::Replies,
            with_traceback: true,
            is_profiling: false,
            is_one_off: true,
            requirements: vec!["redis>=2".into()],
            python: "3.11".into(),
            given: None,
        };
        let plan = stage.plan(&[Passage::Gather, Passage::Collect]).unwrap();
        assert!(plan.is_sound());
        assert_eq!(messages::decode::<PythonStage>(&plan.code.unwrap().arguments).unwrap(), stage);
    }
}
