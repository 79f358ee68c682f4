//! Tests the lifetimes of executions and sessions, and what ends them: their limits, an abort, and what is kept of them
//! meanwhile.

use std::env;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{eventually, show};
use crate::servers::{Servers, call, run_at};

const LONG: Duration = Duration::from_secs(30);

/// The numbers of Python's memory are those of processes that run, or have one ready.
#[test]
fn memory_is_that_of_the_processes() {
    for servers in Servers::both() {
        servers.ok("x = 1");
        eventually(LONG, "the memory of a process", || {
            let reply = servers.reply(&["RG.PYSTATS"]);
            let numbers: Vec<u64> =
                reply.split(|letter: char| !letter.is_ascii_digit()).filter_map(|it| it.parse().ok()).collect();
            let names = ["\"TotalAllocated\"", "\"PeakAllocated\"", "\"CurrAllocated\""];
            assert!(names.iter().all(|name| reply.contains(name)), "{}: {reply}", servers.kind);
            numbers.len() == 3 && numbers.iter().all(|bytes| *bytes > 1 << 20)
        });
    }
}

/// The execution is kept, so its session is there, and with it the profile.
#[test]
fn profiles_are_there_as_long_as_the_execution_is() {
    let servers = Servers::single();
    assert_eq!(servers.reply(&["RG.CONFIGSET", "ProfileExecutions", "1"]), "[+OK]");
    let script =
        "def busy(x):\n  return sum(range(1000))\nGB('PythonReader').map(busy).run(lambda: (i for i in range(10)))";
    let id = servers.reply(&["RG.PYEXECUTE", script, "UNBLOCKING", "ID", "busy"]);
    let id = id.trim_matches('"');
    servers.reply(&["RG.GETRESULTSBLOCKING", id]);
    assert!(servers.reply(&["RG.PYDUMPSESSIONS"]).contains("\"busy\""));
    let stats = servers.reply(&["RG.PYPROFILE", "STATS", "busy"]);
    assert!(stats.contains("function calls") && stats.contains("(busy)"), "{stats}");
    let ordered = servers.reply(&["RG.PYPROFILE", "STATS", "busy", "cumtime"]);
    assert!(ordered.contains("Ordered by: cumulative time"), "{ordered}");
    assert_eq!(servers.reply(&["RG.PYPROFILE", "RESET", "busy"]), "+OK");
    let empty = servers.reply(&["RG.PYPROFILE", "STATS", "busy"]);
    assert!(empty.starts_with('-'), "an empty profile is an error: {empty}");
    assert_eq!(servers.reply(&["RG.DROPEXECUTION", id]), "+OK");
    eventually(LONG, "the session goes with its execution", || servers.reply(&["RG.PYDUMPSESSIONS"]) == "[]");
}

/// A shard that computes for long is not one that stalls, but the others wait for it no longer than they are told to.
#[test]
fn an_execution_waits_for_other_shards_for_its_idle_time() {
    let servers = Servers::patient_cluster();
    assert_eq!(servers.reply(&["RG.CONFIGSET", "ExecutionMaxIdleTime", "500"]), "[+OK]");
    let first: String = servers.first().run(&["CLUSTER", "MYID"]);
    let script = format!(
        "import time\n\
         GB('ShardsIDReader').foreach(lambda x: time.sleep(5) if x != '{first}' else 1).repartition(lambda x: x).count().run()"
    );
    let began = Instant::now();
    let answer = run_at(servers.first(), &script);
    assert_eq!(answer.errors[0], "Execution max idle reached");
    let others = servers.nodes()[1..].iter().map(|node| node.port().to_string());
    assert!(others.into_iter().any(|port| answer.errors[1].contains(&port)), "who is waited for: {answer:?}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());

    let id = show(&call(servers.first(), &["RG.PYEXECUTE", &script, "UNBLOCKING"]));
    let id = id.trim_matches('"');
    servers.reply(&["RG.GETRESULTSBLOCKING", id]);
    assert!(servers.reply(&["RG.DUMPEXECUTIONS"]).contains("\"aborted\""));

    // So do others for the one that is asked.
    let script = format!(
        "import time\n\
         GB('ShardsIDReader').foreach(lambda x: time.sleep(5) if x == '{first}' else 1).repartition(lambda x: x).count().run()"
    );
    assert_eq!(run_at(servers.first(), &script).errors[0], "Execution max idle reached");

    // Where nobody waits for it that may take as long as it likes.
    let script = format!(
        "import time\nGB('ShardsIDReader').foreach(lambda x: time.sleep(2) if x == '{first}' else 1).count().run()"
    );
    let answer = run_at(servers.first(), &script);
    assert_eq!((&*answer.results, answer.errors.len()), (&["3".to_owned()][..], 0), "{answer:?}");
    assert_eq!(servers.reply(&["RG.CONFIGSET", "ExecutionMaxIdleTime", "20000"]), "[+OK]");
    let script = format!(
        "import time\nGB('ShardsIDReader').foreach(lambda x: time.sleep(1) if x != '{first}' else 1).count().run()"
    );
    let answer = run_at(servers.first(), &script);
    assert_eq!((&*answer.results, answer.errors.len()), (&["3".to_owned()][..], 0), "{answer:?}");
}

/// A script is seen as `...-script-<n>` while its top level runs, and can be aborted like an execution.
#[test]
fn a_script_that_does_not_end_is_seen_and_aborted() {
    for servers in Servers::both() {
        let kind = servers.kind;
        thread::scope(|scope| {
            let waiting = scope.spawn(|| servers.reply(&["RG.PYEXECUTE", "while True: pass"]));
            let mut id = String::new();
            eventually(LONG, "the script is among the executions", || {
                let listed = servers.reply(&["RG.DUMPEXECUTIONS"]);
                id = listed.split('"').find(|word| word.contains("-script-")).unwrap_or_default().to_owned();
                !id.is_empty() && listed.contains("\"running\"")
            });
            assert!(servers.reply(&["RMR.JOB", "STATUS", &id]).contains("while True: pass"), "{kind}");
            // Asked at any shard.
            let other = servers.nodes().last().expect("a server");
            assert_eq!(show(&call(other, &["RG.ABORTEXECUTION", &id])), "+OK", "{kind}");
            let answer = waiting.join().expect("an answer");
            assert!(answer.starts_with('-'), "{kind}: {answer}");
            assert_eq!(servers.reply(&["RG.DUMPEXECUTIONS"]), "[]", "{kind}");
        });
        let id = servers.begin("GB('ShardsIDReader').count().run()");
        assert!(id.ends_with("-0"), "{kind}: scripts have numbers of their own: {id}");
    }
}

/// Code of users sees nothing of the server's environment but what finds the interpreter.
#[test]
fn the_environment_of_the_server_is_its_own() {
    // The server has that of the test.
    let hidden: Vec<String> = env::vars().map(|(name, _)| name).filter(|name| name.starts_with("CARGO")).collect();
    assert!(!hidden.is_empty());
    let script = "import os, subprocess\n\
                  shown = lambda x: ' '.join(sorted(os.environ)) + subprocess.check_output(['env'], text=True)\n\
                  GB('PythonReader').map(shown).run(lambda: (i for i in [1]))";
    let answer = Servers::single().run(script);
    assert!(answer.errors.is_empty() && answer.results[0].contains("PATH"), "{answer:?}");
    assert!(hidden.iter().all(|name| !answer.results[0].contains(name)), "{answer:?}");
}
