//! A server of a few lines, for workers under test.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bytes::Bytes;

use super::super::frame::{Frame, FrameKind, FrameReader, encode};
use super::super::marshal::Value;
use super::super::sessions::{SessionHandle, Sessions};
use super::super::worker::{StartedFlow, Worker, WorkerNumber, WorkerSettings, lock};
use super::super::{Interpreter, PythonHost, WorkerAnswer, WorkerError};

/// The time that a condition may take to become true.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Answers every command with the words of it, and writes down what it is told.
#[derive(Default)]
pub(super) struct ToyHost {
    pub(super) interpreter: Mutex<Option<Interpreter>>,
    pub(super) lines: Mutex<Vec<(String, String, String)>>,
    pub(super) gone: Mutex<Vec<WorkerNumber>>,
    pub(super) started: Mutex<Vec<StartedFlow>>,
}

pub(super) fn interpreter() -> Interpreter {
    let program = std::env::var("RMR_PYTHON").unwrap_or_else(|_| "/usr/bin/python3".into());
    // Where the tests are root: nobody may be unable to read the library of an interpreter in root's own folder.
    let user = if program.starts_with("/root") { "" } else { "nobody" };
    Interpreter { program, memory: 1 << 30, user: user.into(), processes: 4096, nice: 5 }
}

impl PythonHost for ToyHost {
    fn interpreter(&self) -> Interpreter {
        lock(&self.interpreter).clone().unwrap_or_else(interpreter)
    }

    fn serve_calls(&self, _worker: Weak<Worker>, socket: OwnedFd) {
        std::thread::spawn(move || serve_calls(UnixStream::from(socket)));
    }

    fn worker_gone(&self, worker: WorkerNumber) {
        lock(&self.gone).push(worker);
    }

    fn log(&self, level: &str, session: &str, text: &str) {
        lock(&self.lines).push((level.into(), session.into(), text.into()));
    }

    fn start_flow(&self, started: StartedFlow) {
        lock(&self.started).push(started);
    }
}

fn serve_calls(mut socket: UnixStream) {
    let mut reader = FrameReader::default();
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = socket.read(&mut bytes) {
        reader.room().extend_from_slice(&bytes[..count]);
        while let Some(Frame { id, head, .. }) = reader.next().expect("frames") {
            let words = head.items().and_then(|items| items.get(1)?.items()).unwrap_or_default();
            let words: Vec<_> = words
                .iter()
                .filter_map(Value::as_bytes)
                .map(|word| String::from_utf8_lossy(word).into_owned())
                .collect();
            let answer = Value::Tuple(vec![Value::text(words.join(" ")), false.into()]);
            if socket.write_all(&encode(FrameKind::Done, id, &answer.to_marshal())).is_err() {
                return;
            }
        }
    }
}

pub(super) fn settings() -> WorkerSettings {
    WorkerSettings { shard: "1".into(), is_cluster: false, with_traceback: true, is_profiling: false }
}

/// Is a server with its sessions.
pub(super) struct Toy {
    pub(super) host: Arc<ToyHost>,
    pub(super) sessions: Sessions,
}

impl Toy {
    pub(super) fn new() -> Self {
        let host = Arc::new(ToyHost::default());
        Self { sessions: Sessions::new(host.clone()), host }
    }

    pub(super) async fn open(&self, id: &str) -> SessionHandle {
        self.sessions.open(id, "default", &settings()).await.expect("a session")
    }

    /// Waits until a line is in the log; returns all lines of it.
    pub(super) async fn logged(&self, part: &str) -> Vec<(String, String, String)> {
        await_true(|| lock(&self.host.lines).iter().any(|line| line.2.contains(part))).await;
        lock(&self.host.lines).clone()
    }
}

pub(super) async fn await_true(mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "not true after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Runs a script in a session, as LOAD does.
pub(super) async fn load(session: &SessionHandle, script: &str) -> Result<WorkerAnswer, WorkerError> {
    let head = [("session", session.id().into()), ("context", 1_u64.into()), ("script", script.into())];
    session.worker().ask(FrameKind::Load, &Value::dict(head), &[]).await
}

/// Runs the flow of a script to its end; returns its results, each as text.
pub(super) async fn results(session: &SessionHandle, script: &str, execution: u64) -> Result<Vec<String>, WorkerError> {
    let loaded = load(session, script).await?;
    let key = loaded.head.get("run").and_then(Value::as_text).expect("a flow to run").to_owned();
    let head = [("execution", execution.into()), ("session", session.id().into()), ("key", key.as_str().into())];
    session.worker().ask(FrameKind::Open, &Value::dict(head), &[]).await?;
    let place = Value::Tuple(vec![execution.into(), 0_u64.into()]);
    let mut texts = Vec::new();
    let mut kind = FrameKind::End;
    loop {
        let answer = session.worker().ask(kind, &place, &[]).await?;
        let said = answer.head.items().expect("an answer").to_vec();
        let errors = said[6].items().expect("errors");
        assert_eq!(errors, [], "the flow has errors");
        texts.extend(entries(&said, &answer.sections));
        kind = FrameKind::Next;
        if said[2] == Value::Bool(false) {
            break;
        }
    }
    session.worker().ask(FrameKind::Close, &Value::Tuple(vec![execution.into(), true.into()]), &[]).await?;
    Ok(texts)
}

/// Returns the entries of an answer's column of values.
fn entries(said: &[Value], sections: &Bytes) -> Vec<String> {
    let count = said[1].as_count().expect("a count") as usize;
    let sizes = said[7].items().expect("two sizes");
    let key_bytes = sizes[0].as_count().expect("a size") as usize;
    let column = sections.slice(key_bytes..);
    let size_of =
        |place: usize| u32::from_le_bytes(column[4 * place..4 * place + 4].try_into().expect("a size")) as usize;
    let mut at = 4 * count;
    let entry = |place: usize| {
        let bytes = &column[at..at + size_of(place)];
        at += bytes.len();
        String::from_utf8_lossy(bytes).into_owned()
    };
    (0..count).map(entry).collect()
}

pub(super) fn is_alive(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")) else { return false };
    stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with('Z'))
}
