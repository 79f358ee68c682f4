//! [`SharedRun`]: the execution of a share, which its stages have in common.
//!
//! All stages of one share are one execution of the worker's. It is opened with the first of them and closed with the last;
//! where the flow ends early the worker is told to stop, and made to if it does not.

use std::any::Any;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use serde_bytes::ByteBuf;
use tokio::runtime::Handle;
use tokio::sync::OnceCell;

use super::plan::PythonStage;
use crate::error::Error;
use crate::flow::code::{AbortCode, CodeReads, CodeShare};
use crate::flow::keyspace::NamesWanted;
use crate::flow::plan::{KeyFilter, ValuesRead};
use crate::python::batch::BatchShape;
use crate::python::contexts::{Context, ContextGuard, Contexts};
use crate::python::events::{EventBatch, EventResults};
use crate::python::frame::FrameKind;
use crate::python::marshal::Value;
use crate::python::sessions::{SessionHandle, Sessions};
use crate::python::worker::Worker;
use crate::python::{WorkerAnswer, WorkerError};

/// The time that code has to leave when its flow has ended early; then its process is ended.
const TO_LEAVE: Duration = Duration::from_secs(1);

const DID_NOT_LEAVE: &str = "the Python process was ended since code of an aborted flow did not leave";

/// The execution of a share, which its stages have in common.
pub(super) struct SharedRun {
    leaf: u64,
    pub(super) opened: OnceCell<OpenRun>,
    /// The number of stages that have not ended.
    stages: AtomicUsize,
    is_closed: AtomicBool,
    runtime: Handle,
}

/// The executions of shares that are being worked on.
static RUNS: LazyLock<Mutex<HashMap<u64, Weak<SharedRun>>>> = LazyLock::new(Mutex::default);

impl SharedRun {
    /// Finds the execution of a share for one more of its stages. Within the runtime.
    pub(super) fn of(leaf: u64) -> Arc<Self> {
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
    pub(super) async fn ask(
        &self,
        kind: FrameKind,
        head: &Value,
        sections: &[Bytes],
    ) -> Result<WorkerAnswer, WorkerError> {
        match self.opened.get() {
            Some(run) => run.session.worker().ask(kind, head, sections).await,
            None => Err(WorkerError::Gone("the execution was not opened".into())),
        }
    }

    /// Closes the execution with its last stage. Returns what [`OpenRun::close`] does.
    pub(super) async fn stage_has_ended(&self) -> Result<(Vec<u64>, u64), WorkerError> {
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
pub(super) struct OpenRun {
    pub(super) session: SessionHandle,
    /// Its number, by which its calls are known.
    pub(super) context: ContextGuard,
    pub(super) key: String,
    is_one_off: bool,
    pub(super) reads: CodeReads,
    pub(super) shape: BatchShape,
    /// The events for its first stage.
    given: Mutex<Option<EventBatch>>,
    /// The form in which results are wanted, where that is the only stage: the worker then runs it in one request, and
    /// nothing is opened.
    pub(super) as_events: Option<EventResults>,
    /// The reason why the code did not want to be opened.
    pub(super) refused: Option<Bytes>,
}

impl OpenRun {
    pub(super) async fn open(
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

    pub(super) fn take_given(&self) -> Option<EventBatch> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn is_open(&self) -> bool {
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
        // Code of the script may wait for a lock, too.
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
pub(super) fn abort_of(run: &Arc<SharedRun>) -> AbortCode {
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

pub(super) fn bad_answer() -> Error {
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
