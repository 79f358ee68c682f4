//! Processes: what is said where they cannot run, how they end, and that none of them is left.

use std::time::Duration;

use super::super::frame::FrameKind;
use super::super::marshal::Value;
use super::super::worker::lock;
use super::super::{Interpreter, WorkerError};
use super::host::{PATIENCE, Toy, await_true, interpreter, is_alive, load, settings};

async fn refusal(interpreter: Interpreter) -> String {
    let toy = Toy::new();
    *lock(&toy.host.interpreter) = Some(interpreter);
    let refused = toy.sessions.open("a", "default", &settings()).await.map(drop).expect_err("it cannot run");
    toy.sessions.stop().await;
    refused.to_string()
}

/// Makes a program of a few lines of shell that stands for an interpreter.
fn program(name: &str, lines: &str) -> (std::path::PathBuf, Interpreter) {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::temp_dir().join(format!("rmr-test-{name}-{}", std::process::id()));
    std::fs::write(&path, format!("#!/bin/sh\n{lines}\n")).expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a program");
    let program = path.to_str().expect("a name").to_owned();
    (path, Interpreter { program, ..interpreter() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_python_says_what_to_install() {
    let text = refusal(Interpreter { program: "python-of-nobody".into(), ..interpreter() }).await;
    assert!(text.contains("\"python-of-nobody\"") && text.contains("python3-cloudpickle"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_without_cloudpickle_says_what_to_install() {
    // -S: without the folder in which packages are.
    let (path, bare) = program("bare", &format!("shift 2; exec {} -I -B -S \"$@\"", interpreter().program));
    let text = refusal(bare).await;
    let _ = std::fs::remove_file(path);
    assert!(text.contains("install cloudpickle") && text.contains("python3-cloudpickle"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interpreter_that_ends_at_once_is_quoted() {
    let (path, broken) = program("broken", "echo 'no encodings here' >&2; exit 1");
    let text = refusal(broken).await;
    let _ = std::fs::remove_file(path);
    assert!(text.contains("no encodings here") && text.contains("rmr.python"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_interpreter_says_what_it_is() {
    let toy = Toy::new();
    let version = toy.sessions.python_version().await.expect("a version");
    let numbers: Vec<u32> = version.split('.').map(|number| number.parse().expect("a number")).collect();
    assert!(numbers.len() == 2 && numbers[0] == 3, "{version}");
    toy.sessions.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_are_told_to_all_who_wait() {
    let toy = Toy::new();
    for (script, text) in [
        ("import os\nos._exit(7)", "the Python process has ended itself with exit status 7"),
        ("import ctypes\nctypes.string_at(0)", "segmentation fault"),
        ("import os\nos.kill(os.getpid(), 9)", "signal 9"),
    ] {
        let session = toy.open("a").await;
        let Err(WorkerError::Gone(why)) = load(&session, script).await else { panic!("no end: {script}") };
        assert!(why.contains(text), "{why}");
        assert_eq!(load(&session, "x = 1").await, Err(WorkerError::Gone(why)));
        await_true(|| lock(&toy.host.gone).contains(&session.worker().number())).await;
        // The session that is opened again has a new worker.
        let again = toy.open("a").await;
        assert!(load(&again, "x = 1").await.is_ok());
    }
    assert!(toy.logged("Fatal Python error").await.iter().any(|line| line.1 == "a"));
    toy.sessions.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_hangs_is_ended_by_the_server() {
    let toy = Toy::new();
    let session = toy.open("a").await;
    let worker = session.worker().clone();
    let (answer, ()) = tokio::join!(load(&session, "while True: pass"), async { worker.kill("it took too long") });
    assert_eq!(answer, Err(WorkerError::Gone("it took too long".into())));
    assert!(!is_alive(worker.pid()));
    toy.sessions.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_ends_the_code_and_not_the_process() {
    let toy = Toy::new();
    let session = toy.open("a").await;
    let abort = async {
        let head = Value::Tuple(vec![1_u64.into(), 5000_u64.into()]);
        loop {
            match session.worker().ask(FrameKind::Abort, &head, &[]).await {
                Ok(answer) if answer.head.get("left") == Some(&Value::Bool(true)) => break,
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let script = "print('begun')\nwhile True: pass";
    let begun_and_aborted = async {
        toy.logged("begun").await;
        abort.await;
    };
    let (answer, ()) = tokio::join!(load(&session, script), begun_and_aborted);
    assert!(matches!(answer, Err(WorkerError::Failed { .. })), "{answer:?}");
    assert!(load(&session, "x = 1").await.is_ok());
    toy.sessions.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_writes_no_frames_is_ended() {
    let toy = Toy::new();
    let session = toy.open("a").await;
    let script = "
import os, socket
for number in os.listdir('/proc/self/fd'):
    try:
        mine = socket.socket(fileno=os.dup(int(number)))
        mine.getpeername()
        mine.send(b'x' * 17)
    except OSError:
        pass
while True: pass";
    let answer = tokio::time::timeout(PATIENCE, load(&session, script)).await.expect("an end");
    let Err(WorkerError::Gone(why)) = answer else { panic!("{answer:?}") };
    assert!(why.contains("the Python process was ended"), "{why}");
    toy.sessions.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn output_never_stops_a_script_and_does_not_flood_the_log() {
    let toy = Toy::new();
    let session = toy.open("a").await;
    load(&session, "for i in range(100_000): print('line', i)").await.expect("loaded");
    drop(session);
    await_true(|| !toy.sessions.workers().is_empty()).await;
    toy.sessions.stop().await;
    toy.logged("left out").await;
    assert!(lock(&toy.host.lines).len() < 2000);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_after_stop() {
    let toy = Toy::new();
    let (busy, idle) = (toy.open("a").await, toy.open("b").await);
    let pids = [busy.worker().pid(), idle.worker().pid()];
    let child = "import subprocess\nchild = subprocess.Popen(['sleep', '600'])\nprint('child', child.pid)";
    load(&idle, child).await.expect("loaded");
    let lines = toy.logged("child").await;
    let child: u32 = lines.iter().find_map(|line| line.2.strip_prefix("child ")?.parse().ok()).expect("a child");
    let (answer, ()) = tokio::join!(load(&busy, "while True: pass"), toy.sessions.stop());
    assert!(matches!(&answer, Err(WorkerError::Gone(why)) if why.contains("unloaded")), "{answer:?}");
    for pid in pids {
        assert!(!is_alive(pid));
    }
    await_true(|| !is_alive(child)).await;
    assert!(toy.sessions.list().iter().all(|session| session.worker.is_gone()));
    // And then again.
    assert!(load(&toy.open("a").await, "x = 1").await.is_ok());
    toy.sessions.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_interpreter_is_taken_for_new_sessions() {
    let toy = Toy::new();
    let before = toy.open("a").await;
    *lock(&toy.host.interpreter) = Some(Interpreter { memory: 512 << 20, ..interpreter() });
    let after = toy.open("b").await;
    assert!(load(&before, "x = 1").await.is_ok() && load(&after, "x = 1").await.is_ok());
    let limit = "import resource\nprint('limit', resource.getrlimit(resource.RLIMIT_DATA)[0] >> 20)";
    load(&after, limit).await.expect("loaded");
    toy.logged("limit 512").await;
    toy.sessions.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_is_ended_is_started_again() {
    let toy = Toy::new();
    let session = toy.open("a").await;
    let parent = std::fs::read_to_string(format!("/proc/{}/stat", session.worker().pid())).expect("a process");
    let parent = parent.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)).expect("its parent").parse();
    let template = rustix::process::Pid::from_raw(parent.expect("a number")).expect("a process");
    rustix::process::kill_process(template, rustix::process::Signal::KILL).expect("it is ours");
    await_true(|| session.worker().is_gone()).await;
    let Err(WorkerError::Gone(why)) = load(&session, "x = 1").await else { panic!("it is there") };
    assert!(why.contains("together with"), "{why}");
    assert!(load(&toy.open("a").await, "x = 1").await.is_ok());
    toy.sessions.stop().await;
}
