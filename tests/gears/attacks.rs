//! Code that does its worst, and others who do theirs while it runs: the server goes on, and so do the functions of others.

use std::time::Duration;

use crate::common::{eventually, show};
use crate::servers::{Servers, WAITS, answer_of, call, one_record};
use crate::table::each;

const LONG: Duration = Duration::from_secs(60);

/// The code before the step, the step, and whether its record comes out of it.
const STEPS: &[(&str, &str, Outcome)] = &[
    // A child that goes on as if it were the worker.
    ("import os", "os.fork() and 1", Outcome::Either),
    ("import os", "os.killpg(os.getpgid(os.getppid()), 9) or 1", Outcome::Either),
    (
        "import os",
        "[os.write(n, b'\\xff' * 4096) for n in range(3, 64) if os.path.exists('/proc/self/fd/%d' % n)]",
        Outcome::Either,
    ),
    (
        "import os",
        "[os.write(n, b'\\0' * 4096) for n in range(3, 64) if os.path.exists('/proc/self/fd/%d' % n)]",
        Outcome::Either,
    ),
    ("import sys", "sys.exit(3)", Outcome::Error),
    ("def f():\n  raise KeyboardInterrupt()", "f()", Outcome::Error),
    ("def f():\n  raise BaseException('b')", "f()", Outcome::Error),
    ("def f():\n  raise Exception('x' * (20 << 20))", "f()", Outcome::Error),
    ("class C:\n  def __str__(self): raise Exception('no text')", "C()", Outcome::Either),
    ("class C:\n  def __repr__(self): return 'x' * (20 << 20)", "[C()]", Outcome::Either),
    ("x = []\nx.append(x)", "x", Outcome::Either),
    ("import signal, time", "signal.alarm(1) or time.sleep(30)", Outcome::Error),
    ("", "print('\\udcff\\0\\r\\n\\x1b[2J') or 1", Outcome::Record),
    ("", "len('x' * (1 << 30)) + len('y' * (1 << 30))", Outcome::Error),
    ("import sys", "sys.stdout.close() or sys.stderr.close() or 1", Outcome::Record),
    ("import os", "os.close(1) or os.close(2) or 1", Outcome::Record),
    ("import threading, time", "threading.Thread(target=lambda: time.sleep(300)).start() or 1", Outcome::Record),
    ("import resource", "resource.setrlimit(resource.RLIMIT_DATA, (1 << 40, 1 << 40))", Outcome::Error),
];

/// The fate of the one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Record,
    Error,
    Either,
}

#[test]
fn steps_that_do_their_worst() {
    for servers in Servers::both() {
        each(STEPS.iter().map(|row| (format!("{}, {}", servers.kind, row.1), row)), |(before, step, outcome)| {
            let answer = servers.run(&format!("{before}\n{}", one_record(&format!(".map(lambda x: {step})"))));
            let lengths = (answer.results.len(), answer.errors.len());
            let is_right = match outcome {
                Outcome::Record => lengths == (1, 0),
                Outcome::Error => lengths == (0, 1),
                Outcome::Either => lengths.0 + lengths.1 == 1,
            };
            assert!(is_right, "{lengths:?}, {:.500}", format!("{answer:?}"));
            eventually(LONG, "others run", || servers.reply(&["RG.PYEXECUTE", &one_record("")]) == "[[\"1\"], []]");
        });
    }
}

#[test]
fn scripts_of_any_bytes() {
    let servers = Servers::single();
    let scripts: &[&[u8]] = &[b"\xff\xfe\x00", b"x = '\0'", b"\0", b"x = 1\r\n\x1a", "# \u{feff}".as_bytes()];
    for script in scripts {
        let reply = show(&call(servers.first(), &[b"RG.PYEXECUTE", *script]));
        let is_told = reply.starts_with("-['") && reply.contains("Error: ");
        assert!(reply == "+OK" || is_told, "{script:?}: {reply}");
    }
    let long = format!("text = '{}'\n{}", "x".repeat(50 << 20), one_record(".map(lambda x: len(text))"));
    assert_eq!(servers.result(&long), (50 << 20).to_string());
    let deep = format!("x = {}{}", "(".repeat(100_000), ")".repeat(100_000));
    servers.refusal(&deep);
    assert_eq!(servers.result(&one_record("")), "1");
}

/// A process that stopped itself can be aborted.
#[test]
fn a_process_that_stops_itself_is_aborted() {
    let servers = Servers::single();
    let stops = "execute('SET', 'stops', 1) and os.kill(os.getpid(), signal.SIGSTOP)";
    let id = servers.begin(&format!("import os, signal\n{}", one_record(&format!(".map(lambda x: {stops})"))));
    eventually(LONG, "it runs", || servers.first().reply("EXISTS stops") == "1");
    assert_eq!(servers.reply(&["RG.ABORTEXECUTION", &id]), "+OK");
    let answer = answer_of(&call(servers.first(), &["RG.GETRESULTSBLOCKING", &id]), "what was stopped");
    assert!(answer.results.is_empty(), "{answer:?}");
    assert_eq!(servers.result(&one_record("")), "1");
}

/// Clients that wait are ended, the server saves, and the execution ends as if nothing had been.
#[test]
fn clients_are_killed_and_the_server_saves_meanwhile() {
    for servers in Servers::both() {
        let kind = servers.kind;
        let node = servers.first();
        let id = servers.begin(WAITS);
        let mut waiting = node.wire();
        let number = waiting.reply("CLIENT ID");
        waiting.send(&["RG.GETRESULTSBLOCKING", &id]);
        eventually(LONG, "it waits", || node.figure("clients", "blocked_clients") == 1);
        assert_eq!(node.reply(&format!("CLIENT KILL ID {}", number.trim_start_matches(':'))), "1", "{kind}");
        eventually(LONG, "nobody waits", || node.figure("clients", "blocked_clients") == 0);
        assert!(node.reply("BGSAVE").contains("saving started"), "{kind}");
        eventually(LONG, "it has saved", || node.figure("persistence", "rdb_bgsave_in_progress") == 0);
        assert_eq!(servers.reply(&["RG.GETRESULTS", &id]), "-execution is still running", "{kind}");
        servers.go();
        assert_eq!(servers.reply(&["RG.GETRESULTSBLOCKING", &id]), "[[\"1\"], []]", "{kind}");
    }
}
