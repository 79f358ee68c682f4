//! Stages of flows, run by real workers over keys that are a list.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::host::{Toy, load};
use crate::combine::AnyCombine;
use crate::command::PerKey;
use crate::error::Error;
use crate::flow::carrier::Carrier;
use crate::flow::code::{CodeShare, OpeningCode};
use crate::flow::keyspace::{CommandsDone, KeySlice, KeySource, KeysWanted, Keyspace, Reducing};
use crate::flow::leaf::Leaf;
use crate::flow::messages::{LeafEnd, LeafFailure, NextReport, Report, RunShare, TakenRecords};
use crate::flow::plan::{Passage, ValuesRead};
use crate::flow::registry::StepsAndReducers;
use crate::flow::{BatchStep, Records};
use crate::python::marshal::Value;
use crate::python::stage::{NAME, PythonStage, StageResults, open};
use crate::python::{Contexts, SessionHandle, Sessions};
use crate::topology::BoxFuture;

/// Keys `0`, `1` and so on, all strings that hold their number.
struct Numbers(usize);

impl Keyspace for Numbers {
    fn read(&self, wanted: KeysWanted) -> Box<dyn KeySource> {
        assert_eq!(wanted.filter.pattern, b"*");
        Box::new(NumbersFrom { next: 0, end: self.0, values: wanted.filter.values })
    }

    fn run(&self, _commands: PerKey, _reducing: Option<Reducing>) -> BoxFuture<'_, Result<CommandsDone, Error>> {
        unreachable!("code runs no commands here")
    }
}

struct NumbersFrom {
    next: usize,
    end: usize,
    values: ValuesRead,
}

impl KeySource for NumbersFrom {
    fn next(&mut self, most: usize) -> BoxFuture<'_, Result<KeySlice, Error>> {
        let mut records = Records::new();
        for number in self.next..self.end.min(self.next + most) {
            let number = number.to_string();
            let value = format!("s${}\r\n{number}\r\n", number.len());
            let value = if self.values == ValuesRead::Typed { value.as_bytes() } else { b"" };
            records.push(number.as_bytes(), value);
        }
        self.next += records.len();
        let is_end = self.next == self.end;
        Box::pin(async move { Ok(KeySlice { records, is_end, ..KeySlice::default() }) })
    }

    fn memory(&self) -> u64 {
        0
    }
}

struct Nowhere;

impl Carrier for Nowhere {
    fn carry<'a>(&'a self, _records: &'a TakenRecords) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async { Ok(false) })
    }
}

struct Python {
    sessions: Arc<Sessions>,
    contexts: Contexts,
}

impl StepsAndReducers for Python {
    fn step(&self, _name: &str) -> Option<Arc<dyn BatchStep>> {
        None
    }

    fn reducer(&self, _name: &str, _arguments: &[u8]) -> Option<Arc<dyn AnyCombine>> {
        None
    }

    fn code(&self, name: &str, arguments: &[u8], share: CodeShare) -> Option<OpeningCode> {
        let rights: Arc<dyn Any + Send + Sync> = Arc::new(());
        (name == NAME).then(|| open(self.sessions.clone(), &self.contexts, rights, arguments, share))
    }
}

/// Begins a share of the flow that a script runs on one node.
async fn begin(python: &Python, session: &str, script: &str, results: StageResults, keys: usize) -> Begun {
    let handle = python.sessions.open(session, "default", &super::host::settings()).await.expect("a session");
    let loaded = load(&handle, script).await.expect("a script that runs");
    let stage = PythonStage {
        session: session.into(),
        user: "default".into(),
        key: loaded.head.get("run").and_then(Value::as_text).expect("a flow").into(),
        blob: Default::default(),
        is_local: true,
        is_cluster: false,
        results,
        with_traceback: false,
        is_profiling: false,
        is_one_off: true,
        given: None,
        requirements: Vec::new(),
        python: python.sessions.python_version().await.expect("a version").to_string(),
    };
    let share = RunShare {
        execution: "n-1 word".into(),
        node: "n".into(),
        plan: stage.plan(&[Passage::Collect]).expect("a plan"),
        slots: None,
        limit: None,
        caller: None,
        memory: 1 << 28,
        first_place: 0,
        owners: Vec::new(),
        coordinator: "n".into(),
        stages: vec![0],
    };
    let leaf = Leaf::begin_with(&share, Arc::new(Numbers(keys)), python, Arc::new(Nowhere)).expect("a share");
    Begun { leaf, _session: handle }
}

/// A share, and the session of its code, as whoever has run the script holds it.
struct Begun {
    leaf: Leaf,
    _session: SessionHandle,
}

/// Puts all reports of a share together until it ends.
async fn all(Begun { leaf, .. }: &Begun) -> Report {
    let mut so_far = Report::default();
    loop {
        let report = leaf.next(NextReport { wait_ms: 1000, cancels: false, closed: 0 }).await;
        so_far.records.append(&report.records);
        so_far.errors.extend(report.errors);
        (so_far.progress, so_far.end) = (report.progress, report.end);
        if so_far.end.is_some() {
            return so_far;
        }
    }
}

fn python() -> Python {
    Python { sessions: Arc::new(Toy::new().sessions), contexts: Contexts::default() }
}

fn texts(report: &Report) -> Vec<String> {
    report.records.values().map(|value| String::from_utf8_lossy(value).into_owned()).collect()
}

const DONE: Option<LeafEnd> = Some(LeafEnd::Done { reduced: None });

#[tokio::test(flavor = "multi_thread")]
async fn flows_read_keys_values_or_only_count() {
    let python = python();
    for (script, keys, expected) in [
        ("GB().count().run()", 100_000, &["$6\r\n100000\r\n"][..]),
        (
            "GB().map(lambda x: int(x['value'])).aggregate(0, lambda a, x: a + x, lambda a, x: a + x).run()",
            10_000,
            &["$8\r\n49995000\r\n"],
        ),
        ("GB('KeysOnlyReader').filter(lambda x: x == '77').run()", 1000, &["$2\r\n77\r\n"]),
        (
            "GB().filter(lambda x: x['key'] == '7').map(lambda x: [1, x['type']]).run(convertToStr=False)",
            10,
            &["*2\r\n:1\r\n$6\r\nstring\r\n"],
        ),
        ("GB('PythonReader').run(lambda: (x for x in range(2)))", 10, &["$1\r\n0\r\n", "$1\r\n1\r\n"]),
    ] {
        let report = all(&begin(&python, "s", script, StageResults::Replies, keys).await).await;
        assert_eq!((texts(&report), report.end), (expected.iter().map(|text| (*text).to_owned()).collect(), DONE));
    }
    let script = "GB().map(lambda x: x['key']).run()";
    let many = all(&begin(&python, "s", script, StageResults::Records, 50_000).await).await;
    assert_eq!((many.records.len(), many.end), (50_000, DONE));
    assert_eq!(many.records.values().nth(49_999), Some(&b"u\x05\0\0\x0049999"[..]));
    python.sessions.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exceptions_are_errors_and_a_process_that_ends_is_one() {
    let python = python();
    let script = "GB().foreach(lambda x: 1 / (int(x['value']) - 5)).run()";
    let report = all(&begin(&python, "s", script, StageResults::Replies, 9000).await).await;
    assert_eq!((report.records.len(), report.errors.len(), report.end), (5, 1, DONE));
    assert!(String::from_utf8_lossy(&report.errors[0]).contains("division by zero"));

    let script = "import os\nGB().foreach(lambda x: os._exit(3)).run()";
    let report = all(&begin(&python, "dies", script, StageResults::Replies, 9).await).await;
    let Some(LeafEnd::Failed(LeafFailure::Other(why))) = report.end else { panic!("{:?}", report.end) };
    assert!(why.contains("Python process") && why.contains('3'), "{why}");
    python.sessions.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn code_of_a_flow_that_is_cancelled_leaves_or_is_made_to() {
    let python = python();
    for script in [
        "import time\nGB('PythonReader').foreach(lambda x: time.sleep(0.01)).run(lambda: (x for x in range(10**9)))",
        "GB('PythonReader').run(lambda: [None for _ in iter(int, 1)])",
    ] {
        let begun = begin(&python, "s", script, StageResults::Replies, 0).await;
        let going_on = begun.leaf.next(NextReport { wait_ms: 300, cancels: false, closed: 0 }).await;
        assert!(going_on.end.is_none());
        let began = Instant::now();
        begun.leaf.cancel();
        let report = all(&begun).await;
        assert_eq!(report.end, Some(LeafEnd::Failed(LeafFailure::Cancelled)));
        assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
    }
    // A worker whose code has left serves on.
    let report = all(&begin(&python, "s", "GB().count().run()", StageResults::Replies, 7).await).await;
    assert_eq!(texts(&report), ["$1\r\n7\r\n"]);
    python.sessions.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_of_another_version_of_python_is_refused() {
    let python = python();
    let handle = python.sessions.open("s", "default", &super::host::settings()).await.expect("a session");
    let version = python.sessions.python_version().await.expect("a version");
    assert!(version.starts_with("3."), "{version}");
    let Some(opening) = python.code(NAME, &of_python("2.7"), share()) else { panic!("no code") };
    let refused = opening.await.map(drop).expect_err("another version").to_string();
    assert!(
        refused.contains("2.7") && refused.contains(&*version) && refused.contains("same minor version"),
        "{refused}"
    );
    drop(handle);
    python.sessions.stop().await;
}

/// Returns the arguments of a flow that was made on another version.
fn of_python(version: &str) -> Vec<u8> {
    let stage = PythonStage {
        session: "s".into(),
        user: "default".into(),
        key: "key".into(),
        blob: Default::default(),
        is_local: true,
        is_cluster: false,
        results: StageResults::Replies,
        with_traceback: false,
        is_profiling: false,
        is_one_off: true,
        given: None,
        requirements: Vec::new(),
        python: version.into(),
    };
    stage.plan(&[Passage::Collect]).expect("a plan").code.expect("code").arguments
}

fn share() -> CodeShare {
    CodeShare {
        execution: "n-1 word".into(),
        leaf: u64::MAX,
        stage: 0,
        node: "n".into(),
        runs_at: "n".into(),
        is_initiators: true,
        is_stand_in: false,
    }
}
