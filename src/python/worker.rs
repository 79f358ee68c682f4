//! One worker: a process in which the code of one session runs.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use super::channel::{FrameChannel, WorkerAnswer, WorkerError};
use super::event_ends::EventEnds;
use super::frame::FrameKind;
use super::marshal::Value;
use super::template::Template;

/// Tells a worker from all others that this server has had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WorkerNumber(pub(super) u64);

/// Says what a worker has to know of its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WorkerSettings {
    /// The node's id; `1` without a cluster.
    pub(crate) shard: String,
    /// Tells whether records change shards.
    pub(crate) is_cluster: bool,
    /// Tells whether errors have a traceback: `PythonAttemptTraceback`.
    pub(crate) with_traceback: bool,
    /// Tells whether functions are profiled: `ProfileExecutions`.
    pub(crate) is_profiling: bool,
}

impl WorkerSettings {
    pub(super) fn head(&self) -> Value {
        Value::dict([
            ("shard", self.shard.as_str().into()),
            ("cluster", self.is_cluster.into()),
            ("traceback", self.with_traceback.into()),
            ("profile", self.is_profiling.into()),
        ])
    }
}

/// Is a worker. It is asked to end when the last one who has this lets go of it, and made to when it does not.
pub(crate) struct Worker {
    pub(super) number: WorkerNumber,
    pub(super) pid: u32,
    pub(super) channel: Arc<FrameChannel>,
    pub(super) template: Arc<Template>,
    /// The session that it has, for its lines in the log.
    pub(super) session: Arc<Mutex<String>>,
    /// The reason why it was ended, if the server did it.
    pub(super) why: Arc<Mutex<Option<String>>>,
    pub(super) is_gone: watch::Receiver<bool>,
    /// The places that wait for the ends of events.
    pub(super) ends: Arc<EventEnds>,
    /// Executions that were opened and not closed.
    pub(super) executions: AtomicI64,
    /// The settings that it was told last.
    pub(super) settings: tokio::sync::Mutex<WorkerSettings>,
}

impl Worker {
    /// Sends a request and waits for its answer.
    ///
    /// Dropping the future does not take the request back: the answer comes, and is thrown away.
    pub(crate) async fn ask(
        &self,
        kind: FrameKind,
        head: &Value,
        sections: &[Bytes],
    ) -> Result<WorkerAnswer, WorkerError> {
        self.ask_raw(kind, &head.to_marshal(), sections).await
    }

    /// Sends a request whose head is marshalled already.
    pub(crate) async fn ask_raw(
        &self,
        kind: FrameKind,
        head: &[u8],
        sections: &[Bytes],
    ) -> Result<WorkerAnswer, WorkerError> {
        match kind {
            FrameKind::Open => self.executions.fetch_add(1, Ordering::Relaxed),
            FrameKind::Close => self.executions.fetch_sub(1, Ordering::Relaxed),
            _ => 0,
        };
        let answer = self.channel.ask(kind, head, sections)?.answer().await;
        if kind == FrameKind::Open && answer.is_err() {
            self.executions.fetch_sub(1, Ordering::Relaxed);
        }
        answer
    }

    /// Returns the number that no other worker has.
    pub(crate) fn number(&self) -> WorkerNumber {
        self.number
    }

    /// Returns the number of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Says whether the process has ended.
    pub(crate) fn is_gone(&self) -> bool {
        *self.is_gone.borrow() || self.is_gone.has_changed().is_err()
    }

    /// Tells whether the process has ended, or is about to: nothing may be begun there.
    pub(crate) fn is_ending(&self) -> bool {
        self.is_gone() || self.is_ended_for_something()
    }

    /// Tells whether the process has ended, or is to end, for something that it has done.
    pub(crate) fn is_ended_for_something(&self) -> bool {
        lock(&self.why).is_some()
    }

    /// Ends the process, and what it has started, at once. From any thread. Errors will say why.
    pub(crate) fn kill(&self, why: impl Into<String>) {
        lock(&self.why).get_or_insert_with(|| why.into());
        self.template.kill(self.pid);
    }

    /// Tells the process the settings, unless it has these.
    pub(super) async fn settle(&self, settings: &WorkerSettings) -> Result<(), WorkerError> {
        let mut known = self.settings.lock().await;
        if *known != *settings {
            self.ask(FrameKind::Settings, &settings.head(), &[]).await?;
            settings.clone_into(&mut known);
        }
        Ok(())
    }

    /// Tells the process that these settings have changed.
    pub(super) async fn change_settings(&self, with_traceback: bool, is_profiling: bool) -> Result<(), WorkerError> {
        let settings = WorkerSettings { with_traceback, is_profiling, ..self.settings.lock().await.clone() };
        self.settle(&settings).await
    }

    /// Says whether nothing of a session is under way: no request without its answer, no execution that is open.
    pub(super) fn is_idle(&self) -> bool {
        self.executions.load(Ordering::Relaxed) == 0 && !self.channel.is_waiting()
    }

    /// Says whether it was forked from this template.
    pub(super) fn comes_from(&self, template: &Arc<Template>) -> bool {
        Arc::ptr_eq(&self.template, template)
    }

    /// Notes which session the process has from here on.
    pub(super) fn belongs_to(&self, session: &str) {
        session.clone_into(&mut lock(&self.session));
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.channel.shut_down();
    }
}

/// Is a flow that a script has started and awaits: `await GB().run()`.
///
/// It must be answered; one that is dropped is answered as failed.
pub(crate) struct StartedFlow {
    /// The context or execution of the code.
    pub(crate) context: u64,
    /// The flow, as LOAD's answer describes flows.
    pub(crate) flow: Value,
    pub(super) reply: StartReply,
}

impl StartedFlow {
    /// Answers with the records, each as marshal has it, one after the other, and with the errors of the flow.
    pub(crate) fn done(mut self, count: u64, errors: &[Bytes], records: Bytes) {
        let errors = errors.iter().map(|error| Value::Text(String::from_utf8_lossy(error).into_owned())).collect();
        let head = Value::Tuple(vec![count.into(), Value::List(errors)]);
        self.reply.send(&Ok(head), &[records]);
    }

    /// Answers that the flow cannot be run.
    pub(crate) fn fail(mut self, text: &str) {
        self.reply.send(&Err(("error", text)), &[]);
    }
}

/// Answers one START.
pub(super) struct StartReply {
    pub(super) id: u64,
    pub(super) channel: Arc<FrameChannel>,
    /// The number of the worker's requests that are not answered.
    pub(super) unanswered: Arc<AtomicUsize>,
    pub(super) is_answered: bool,
}

impl StartReply {
    fn send(&mut self, answer: &Result<Value, (&str, &str)>, sections: &[Bytes]) {
        self.is_answered = true;
        self.channel.answer(self.id, answer, sections);
    }
}

impl Drop for StartReply {
    fn drop(&mut self) {
        if !self.is_answered {
            self.send(&Err(("error", "the flow was given up")), &[]);
        }
        self.unanswered.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
