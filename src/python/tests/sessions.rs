//! Sessions: scripts run, results come, workers are reused when they may be.

use bytes::Bytes;

use super::super::WorkerError;
use super::super::frame::FrameKind;
use super::super::marshal::Value;
use super::super::worker::{WorkerSettings, lock};
use super::host::{Toy, await_true, load, results, settings};

const NUMBERS: &str = "GB('PythonReader').map(lambda x: x * 2).run(lambda: (x for x in range(4)))";

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_runs() {
    let toy = Toy::new();
    let session = toy.open("a").await;
    assert_eq!(results(&session, NUMBERS, 7).await, Ok(vec!["0".into(), "2".into(), "4".into(), "6".into()]));
    toy.sessions.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_go_over_the_call_socket() {
    let toy = Toy::new();
    let session = toy.open("a").await;
    let script = "GB('PythonReader').map(lambda x: execute('ECHO', x)).run(lambda: (x for x in ['b']))";
    assert_eq!(results(&session, script, 7).await, Ok(vec!["ECHO b".into()]));
    toy.sessions.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_a_script_has_its_traceback() {
    let toy = Toy::new();
    let session = toy.open("a").await;
    let Err(WorkerError::Failed { code, text }) = load(&session, "1 / 0").await else { panic!("no failure") };
    assert_eq!(code, "error");
    assert!(text.contains("ZeroDivisionError") && text.contains("Traceback"), "{text}");
    toy.sessions.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_overlap() {
    let toy = Toy::new();
    let session = toy.open("a").await;
    let script = "import threading\nboth = threading.Barrier(2)\n";
    load(&session, script).await.expect("loaded");
    let (one, other) = tokio::join!(load(&session, "both.wait(10)"), load(&session, "both.wait(10)"));
    assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
    toy.sessions.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_frames_pass_both_ways() {
    let toy = Toy::new();
    let session = toy.open("a").await;
    let script = format!("text = '{}'\nraise Exception(text)", "x".repeat(3_000_000));
    let Err(WorkerError::Failed { text, .. }) = load(&session, &script).await else { panic!("no failure") };
    assert!(text.len() > 3_000_000);
    toy.sessions.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_session_is_one_worker_and_opened_once() {
    let toy = Toy::new();
    let (one, other) = tokio::join!(toy.open("a"), toy.open("a"));
    assert_eq!(one.worker().number(), other.worker().number());
    assert_ne!(toy.open("b").await.worker().number(), one.worker().number());
    assert_eq!(toy.sessions.list().iter().filter(|session| session.id == "a").count(), 1);
    toy.sessions.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_reused_with_fresh_globals_by_the_same_user_only() {
    let toy = Toy::new();
    let first = toy.open("a").await;
    load(&first, "x = 1").await.expect("loaded");
    let number = first.worker().number();
    drop(first);
    await_true(|| toy.sessions.list().is_empty() && toy.sessions.workers().len() == 1).await;
    let other = toy.sessions.open("b", "alice", &settings()).await.expect("a session");
    assert_ne!(other.worker().number(), number);
    let second = toy.open("c").await;
    assert_eq!(second.worker().number(), number);
    assert!(load(&second, "x").await.is_err(), "the globals are new");
    toy.sessions.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_not_as_good_as_new_ends() {
    let toy = Toy::new();
    let session = toy.open("a").await;
    load(&session, "import time\nThread(target=lambda: time.sleep(100), daemon=True).start()").await.expect("loaded");
    let number = session.worker().number();
    drop(session);
    await_true(|| lock(&toy.host.gone).contains(&number)).await;
    assert!(toy.sessions.workers().is_empty());
    toy.sessions.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_script_still_runs_is_not_reused() {
    let toy = Toy::new();
    let session = toy.open("a").await;
    let number = session.worker().number();
    let loading = tokio::time::timeout(std::time::Duration::from_millis(50), load(&session, "while True: pass")).await;
    assert!(loading.is_err(), "it does not end");
    drop(session);
    await_true(|| lock(&toy.host.gone).contains(&number)).await;
    toy.sessions.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_reach_a_session_that_is_open() {
    let toy = Toy::new();
    let session = toy.open("a").await;
    let plain = WorkerSettings { with_traceback: false, ..settings() };
    let again = toy.sessions.open("a", "default", &plain).await.expect("a session");
    assert_eq!(session.worker().number(), again.worker().number());
    let Err(WorkerError::Failed { text, .. }) = load(&session, "1 / 0").await else { panic!("no failure") };
    assert_eq!(text, "Error type: <class 'ZeroDivisionError'>, Value: division by zero");
    toy.sessions.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_is_installed_once() {
    let toy = Toy::new();
    let cluster = WorkerSettings { is_cluster: true, ..settings() };
    let made = toy.sessions.open("a", "default", &cluster).await.expect("a session");
    let loaded = load(&made, NUMBERS).await.expect("loaded").head;
    let flow = &loaded.get("flows").and_then(Value::items).expect("flows")[0];
    let key = flow.get("key").and_then(Value::as_text).expect("a key");
    let blob = Bytes::copy_from_slice(flow.get("blob").and_then(Value::as_bytes).expect("a blob"));
    let other = toy.sessions.open("b", "default", &cluster).await.expect("a session");
    for _ in 0..2 {
        other.install(1, key, &blob, None).await.expect("installed");
    }
    let head = [("execution", 9_u64.into()), ("session", "b".into()), ("key", key.into()), ("local", true.into())];
    assert!(other.worker().ask(FrameKind::Open, &Value::dict(head), &[]).await.is_ok());
    let bad = other.install(1, "other", &Bytes::from_static(b"no blob"), None).await;
    assert!(matches!(bad, Err(WorkerError::Failed { .. })), "{bad:?}");
    toy.sessions.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_that_a_script_awaits_is_started_by_the_server() {
    let toy = Toy::new();
    let session = toy.open("a").await;
    let script = "
async def wait(x):
    records, errors = await GB('PythonReader').run(lambda: (x for x in [1]))
    return [records, errors]
GB('PythonReader').map(wait).run(lambda: (x for x in [1]))";
    let answering = async {
        await_true(|| !lock(&toy.host.started).is_empty()).await;
        let started = lock(&toy.host.started).pop().expect("a flow");
        assert_eq!(started.context, 7);
        assert_eq!(started.flow.get("reader").and_then(Value::as_text), Some("PythonReader"));
        let records = [Value::Int(5).to_marshal(), Value::text("six").to_marshal()].concat();
        started.done(2, &[Bytes::from_static(b"an error")], records.into());
    };
    let (results, ()) = tokio::join!(results(&session, script, 7), answering);
    assert_eq!(results, Ok(vec!["[[5, 'six'], ['an error']]".into()]));
    toy.sessions.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_have_the_name_of_their_session() {
    let toy = Toy::new();
    let session = toy.open("a session").await;
    load(&session, "print('printed')\nlog('said', 'warning')").await.expect("loaded");
    let line = |level: &str, text: &str| (level.to_owned(), "a session".to_owned(), text.to_owned());
    assert!(toy.logged("printed").await.contains(&line("notice", "printed")));
    let lines = toy.logged("said").await;
    assert!(
        lines
            .iter()
            .any(|(level, session, text)| level == "warning" && session == "a session" && text.contains("said"))
    );
    toy.sessions.stop().await;
}
