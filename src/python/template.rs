//! The template process: from it workers are forked, which takes a millisecond, and it tells how each one ended.

use std::collections::{HashMap, VecDeque};
use std::io::{self, PipeReader};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::unix::pipe::Receiver;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::channel::{FrameChannel, WorkerAnswer, WorkerError};
use super::child::ended;
use super::exit::{WITH_TEMPLATE, described_end};
use super::frame::{Frame, FrameKind, encode};
use super::interpreter::{Interpreter, StartedTemplate};
use super::marshal::Value;
use super::output::{LineRate, read_lines};
use super::program::Program;
use crate::error::Error;

/// Importing everything takes 50 ms from a warm disk.
const TO_BE_READY: Duration = Duration::from_secs(20);

/// A fork takes a millisecond.
const TO_FORK: Duration = Duration::from_secs(10);

/// The largest frame that goes over a control socket.
const LARGEST_CONTROL: usize = 64 << 10;

/// Is a template that is ready.
pub(super) struct Template {
    control: Arc<FrameChannel>,
    exits: Arc<Exits>,
    /// The interpreter as it was to be run, to see whether that has changed.
    interpreter: Interpreter,
    /// The version, such as `3.11`.
    python: Arc<str>,
    is_gone: watch::Receiver<bool>,
}

/// Is the server's end of a new worker.
pub(super) struct Forked {
    pub(super) pid: u32,
    pub(super) flow: UnixStream,
    pub(super) call: OwnedFd,
    pub(super) output: PipeReader,
    /// Says how it has ended.
    pub(super) end: oneshot::Receiver<String>,
}

/// Knows who waits for the end of which worker, by the number of its FORK.
#[derive(Default)]
struct Exits {
    waiting: Mutex<HashMap<u64, oneshot::Sender<String>>>,
}

impl Exits {
    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<String>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Template {
    /// Starts a template, and waits until it is ready. Its output goes to `log`.
    pub(super) async fn start(
        program: Arc<Program>,
        interpreter: Interpreter,
        log: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Arc<Self>, Error> {
        let StartedTemplate { process, control, output } = interpreter.start_template(&program)?;
        let last_lines = Arc::new(Mutex::new(VecDeque::new()));
        let printing = tokio::spawn(log_output(output, last_lines.clone(), log));
        let control = FrameChannel::new(control, LARGEST_CONTROL).map_err(|error| interpreter.not_started(&error))?;
        let exits = Arc::new(Exits::default());
        let (ready_sender, ready) = oneshot::channel();
        let (gone_sender, is_gone) = watch::channel(false);
        tokio::spawn(attend(process, control.clone(), exits.clone(), program, ready_sender, gone_sender));
        let python = Arc::from("");
        let mut template = Self { control, exits, interpreter, python, is_gone };
        match timeout(TO_BE_READY, ready).await {
            Ok(Ok(Frame { kind: FrameKind::Hello, head, .. })) => {
                template.python = minor_version(&head).into();
            }
            Ok(Ok(frame)) => {
                let text =
                    frame.head.items().and_then(|items| items.get(1)?.as_text()).unwrap_or("it does not say why");
                return Err(template.interpreter.lacks(text));
            }
            Ok(Err(_)) => {
                let _ = timeout(Duration::from_secs(1), printing).await;
                let lines = last_lines.lock().unwrap_or_else(PoisonError::into_inner);
                let lines = Vec::from_iter(lines.iter().cloned()).join(" / ");
                return Err(template
                    .interpreter
                    .not_ready(&format!("it has ended at once; its last words: {lines:?}")));
            }
            Err(_) => {
                let why = format!("it was not ready after {} s", TO_BE_READY.as_secs());
                return Err(template.interpreter.not_ready(&why));
            }
        }
        Ok(Arc::new(template))
    }

    /// Returns the version of the interpreter as far as functions that travel depend on it.
    pub(super) fn python(&self) -> Arc<str> {
        self.python.clone()
    }

    /// Says whether workers are to be forked from it still.
    pub(super) fn serves(&self, interpreter: &Interpreter) -> bool {
        self.interpreter == *interpreter && !*self.is_gone.borrow()
    }

    /// Returns how it was started.
    pub(super) fn interpreter(&self) -> &Interpreter {
        &self.interpreter
    }

    /// Forks a worker.
    pub(super) async fn fork(&self) -> Result<Forked, Error> {
        let fault = |error: io::Error| Error::Refused(format!("no Python process can be forked: {error}"));
        let (flow, their_flow) = UnixStream::pair().map_err(fault)?;
        let (call, their_call) = UnixStream::pair().map_err(fault)?;
        let (output, their_output) = io::pipe().map_err(fault)?;
        let asked = self.control.register()?;
        let (end_sender, end) = oneshot::channel();
        self.exits.waiting().insert(asked.id(), end_sender);
        let frame = encode(FrameKind::Fork, asked.id(), &Value::Tuple(vec![]).to_marshal());
        self.control
            .send_with_files(&frame, &[their_flow.as_fd(), their_call.as_fd(), their_output.as_fd()])
            .map_err(fault)?;
        drop((their_flow, their_call, their_output));
        let answer = timeout(TO_FORK, asked.answer()).await;
        let answer =
            answer.map_err(|_| Error::Refused("the Python process that forks others does not answer".into()))?;
        let WorkerAnswer { head, .. } = answer.map_err(|error| match error {
            WorkerError::Failed { text, .. } => Error::Refused(text),
            WorkerError::Gone(_) => Error::Refused(format!("no Python process can be forked: {WITH_TEMPLATE}")),
        })?;
        let pid = head.items().and_then(|items| items.first()?.as_count()?.try_into().ok());
        let pid = pid.ok_or_else(|| Error::Refused("the Python process that forks others makes no sense".into()))?;
        Ok(Forked { pid, flow, call: call.into(), output, end })
    }

    /// Ends a worker, and what it has started, at once.
    pub(super) fn kill(&self, pid: u32) {
        let head = Value::Tuple(vec![u64::from(pid).into()]).to_marshal();
        // Nobody waits for the answer: EXITED tells of the end.
        drop(self.control.ask(FrameKind::Kill, &head, &[]));
    }

    /// Ends the template with all workers, and waits until it has ended.
    pub(super) async fn stop(&self) {
        const PATIENCE: Duration = Duration::from_secs(3);
        self.control.shut_down();
        let mut is_gone = self.is_gone.clone();
        let _ = timeout(PATIENCE, is_gone.wait_for(|is_gone| *is_gone)).await;
    }
}

impl Drop for Template {
    fn drop(&mut self) {
        self.control.shut_down();
    }
}

/// Returns the first two numbers of the version that the interpreter says it has.
fn minor_version(versions: &Value) -> String {
    let parts = versions.get("python").and_then(Value::items).unwrap_or_default();
    let numbers: Vec<_> = parts.iter().take(2).filter_map(Value::as_int).map(|part| part.to_string()).collect();
    numbers.join(".")
}

/// Reads what a template says until it ends, and sees to it that it does.
async fn attend(
    mut process: Child,
    control: Arc<FrameChannel>,
    exits: Arc<Exits>,
    program: Arc<Program>,
    ready: oneshot::Sender<Frame>,
    is_gone: watch::Sender<bool>,
) {
    let mut ready = Some(ready);
    let reading = control.read(|frame| match frame.kind {
        FrameKind::Exited => {
            if let Some(sender) = exits.waiting().remove(&frame.id) {
                let _ = sender.send(described_end(&frame.head));
            }
        }
        FrameKind::Hello | FrameKind::Failed => {
            if let Some(sender) = ready.take() {
                let _ = sender.send(frame);
            }
        }
        _ => {}
    });
    let mut reading = std::pin::pin!(reading);
    tokio::select! {
        _ = &mut reading => {}
        () = control.write_left_over() => {}
        // A child of the server's may hold the template's end of the socket, which then does not close.
        () = ended(&mut process) => {
            control.shut_down();
            let _ = reading.await;
        }
    }
    control.shut_down();
    control.end(WITH_TEMPLATE);
    if timeout(TO_END, ended(&mut process)).await.is_err() {
        let _ = process.kill();
        ended(&mut process).await;
    }
    exits.waiting().clear();
    drop(program);
    let _ = is_gone.send(true);
}

/// The time that a template may take to end its workers and itself.
const TO_END: Duration = Duration::from_secs(1);

/// Logs what a template prints, and keeps the last lines for the error, should it not become ready.
async fn log_output(output: PipeReader, last: Arc<Mutex<VecDeque<String>>>, log: impl Fn(&str)) {
    const KEPT: usize = 3;
    let Ok(pipe) = Receiver::from_owned_fd(output.into()) else { return };
    let mut rate = LineRate::new();
    let keep = |line: &str| {
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() == KEPT {
            last.pop_front();
        }
        last.push_back(line.to_owned());
    };
    let _ = read_lines(pipe, |line| {
        keep(line);
        rate.log(line, &log);
    })
    .await;
    rate.finish(&log);
}
