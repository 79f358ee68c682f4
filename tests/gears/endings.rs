//! Tests the harm that users' code may do to itself and to others: the execution fails, with an error that says what has
//! happened, and the server and everything else goes on.

use std::fs;
use std::time::{Duration, Instant};

use crate::common::{Server, eventually};
use crate::servers::{Answer, ENDLESS, Servers, one_record, server};
use crate::table::each;

const LONG: Duration = Duration::from_secs(60);

/// Runs a step for one record.
fn run(servers: &Servers, before: &str, step: &str) -> Answer {
    servers.run(&format!("{before}\n{}", one_record(&format!(".map(lambda x: {step})"))))
}

fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

/// Code that ends its worker, and words of the error.
const ENDS: &[(&str, &str, &str)] = &[
    ("import os", "os._exit(7)", "7"),
    ("import os", "os.kill(os.getpid(), 9)", "signal 9"),
    ("import ctypes", "ctypes.string_at(0)", "signal 11"),
    ("import os", "os.abort()", "signal 6"),
];

#[test]
fn processes_that_end_in_a_step() {
    for servers in Servers::both() {
        each(ENDS.iter().map(|row| (format!("{}, {}", servers.kind, row.1), row)), |(before, step, words)| {
            let answer = run(&servers, before, step);
            assert_eq!((answer.results.len(), answer.errors.len()), (0, 1), "{answer:?}");
            let error = &answer.errors[0];
            assert!(error.contains("process") && error.contains(words), "{error}");
            assert_eq!(servers.result(&one_record("")), "1", "the next one has another process");
        });
    }
}

#[test]
fn processes_that_end_at_the_top_level() {
    for servers in Servers::both() {
        for (before, step, words) in ENDS {
            let error = servers.refusal(&format!("{before}\n{step}"));
            assert!(error.contains("process") && error.contains(words), "{}: {error}", servers.kind);
        }
        assert_eq!(servers.result(&one_record("")), "1");
    }
}

#[test]
fn a_shard_whose_process_ends_is_named() {
    let servers = Servers::cluster();
    let other: String = servers.nodes()[1].run(&["CLUSTER", "MYID"]);
    let script =
        format!("import os\nGB('ShardsIDReader').map(lambda x: os._exit(3) if x == '{other}' else 'fine').run()");
    let answer = servers.run(&script);
    assert_eq!(answer.errors.len(), 1, "{answer:?}");
    assert!(answer.errors[0].contains("process"), "{answer:?}");
    let names = [servers.nodes()[1].address(), other[..8].to_owned()];
    assert!(names.iter().any(|name| answer.errors[0].contains(name)), "{answer:?}");
}

/// Other executions are not disturbed, nor their results.
#[test]
fn others_go_on() {
    let servers = Servers::single();
    let slow = servers.begin("import time\nGB('PythonReader').map(lambda x: time.sleep(0.01) or x).count().run(lambda: (i for i in range(100)))");
    for _ in 0..5 {
        run(&servers, "import os", "os._exit(1)");
    }
    assert_eq!(servers.reply(&["RG.GETRESULTSBLOCKING", &slow]), "[[\"100\"], []]");
}

#[test]
fn memory_has_a_limit() {
    let servers = Servers::of(server().module_args(["python-memory", "134217728"]).start());
    let answer = run(&servers, "", "len(bytearray(400 << 20))");
    assert!(answer.errors.len() == 1 && answer.errors[0].contains("MemoryError"), "{answer:?}");
    let answer = run(&servers, "def f():\n  x = []\n  while True: x.append('x' * 100000 + str(len(x)))", "f()");
    assert_eq!((answer.results.len(), answer.errors.len()), (0, 1), "{answer:?}");
    assert_eq!(servers.result(&one_record("")), "1");
}

#[test]
fn deep_recursion_is_an_error() {
    let servers = Servers::single();
    let answer = run(&servers, "def f(n): return f(n + 1)", "f(0)");
    assert!(answer.errors.len() == 1 && answer.errors[0].contains("RecursionError"), "{answer:?}");
}

/// Prints without end, in lines and without any.
#[test]
fn a_full_pipe() {
    let servers = Servers::single();
    let began = Instant::now();
    let answer = run(&servers, "import sys", "sys.stdout.write('x' * (20 << 20)) and 1");
    assert!(answer.errors.is_empty(), "{answer:?}");
    let answer = run(&servers, "", "[print('line', i) for i in range(200000)] and 1");
    assert!(answer.errors.is_empty(), "{answer:?}");
    assert_eq!(servers.first().reply("PING"), "+PONG");
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
    let size = servers.first().log().len();
    assert!(size < 4 << 20, "the log has {size} bytes");
}

#[test]
fn children_end_with_their_execution() {
    let servers = Servers::single();
    let script = "
import os, subprocess
def f(x):
    children = [subprocess.Popen(['sleep', '300']) for _ in range(20)]
    execute('SADD', 'children', *[c.pid for c in children])
    execute('SADD', 'children', os.getpid())
    os._exit(1)
";
    let answer = run(&servers, script, "f(x)");
    assert_eq!(answer.errors.len(), 1, "{answer:?}");
    let children: Vec<u32> = servers.first().run(&["SMEMBERS", "children"]);
    assert_eq!(children.len(), 21);
    eventually(LONG, "all have ended", || children.iter().all(|pid| !is_alive(*pid)));
}

/// As many as there may be, and more.
#[test]
fn many_children() {
    let servers = Servers::single();
    let script = "
import os, time
def f(x):
    n = 0
    try:
        while n < 3000:
            if os.fork() == 0:
                time.sleep(300)
                os._exit(0)
            n += 1
    finally:
        execute('SET', 'n', n)
        os._exit(2)
";
    let answer = run(&servers, script, "f(x)");
    assert_eq!((answer.results.len(), answer.errors.len()), (0, 1), "{answer:?}");
    assert_eq!(servers.first().reply("PING"), "+PONG");
    assert_eq!(servers.result(&one_record("")), "1");
}

/// A child has the server's sockets no more than the worker itself.
#[test]
fn descriptors_of_the_server_are_not_there() {
    let servers = Servers::single();
    let dir = servers.first().dir().to_str().expect("a path in UTF-8").to_owned();
    let links = servers.value_after(
        "import os",
        "[os.readlink('/proc/self/fd/%s' % n) for n in os.listdir('/proc/self/fd') if os.path.islink('/proc/self/fd/%s' % n)]",
    );
    assert!(!links.contains(&dir), "{links}");
    assert!(links.split(',').count() < 16, "{links}");
    let closed = servers.run(&format!("import os\n{}", one_record(".foreach(lambda x: os.closerange(0, 1000))")));
    assert_eq!(closed.results.len() + closed.errors.len(), 1, "{closed:?}");
    assert_eq!(servers.result(&one_record("")), "1");
}

#[test]
fn limits_of_a_worker() {
    let servers = Servers::single();
    assert_eq!(servers.value_after("import os", "os.getpgid(0) == os.getpid() == os.getsid(0)"), "True");
    assert_eq!(servers.value_after("import os", "os.getpriority(os.PRIO_PROCESS, 0) > 0"), "True");
    assert_eq!(servers.value("'NoNewPrivs:\\t1' in open('/proc/self/status').read()"), "True");
    let is_root = fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own)).expect("/proc") == 0;
    if is_root {
        assert_eq!(servers.value_after("import os, pwd", "pwd.getpwuid(os.getuid()).pw_name"), "'nobody'");
        let pid = servers.first().pid();
        let answer = run(&servers, "import os", &format!("os.kill({pid}, 9)"));
        assert!(answer.errors.len() == 1 && answer.errors[0].contains("PermissionError"), "{answer:?}");
    }
}

/// Returns the worker of a session, its template, and the server's process.
fn processes(servers: &Servers) -> [u32; 2] {
    let pids = servers.value_after("import os", "(os.getpid(), os.getppid())");
    let numbers: Vec<u32> = pids.trim_matches(['(', ')']).split(", ").map(|pid| pid.parse().expect("a pid")).collect();
    [numbers[0], numbers[1]]
}

#[test]
fn processes_end_with_the_server_even_while_its_child_saves() {
    let servers = Servers::single();
    let node = servers.first();
    node.run::<()>(&["CONFIG", "SET", "rdb-key-save-delay", "1000000"]);
    node.run::<()>(&["MSET", "a", "1", "b", "1", "c", "1", "d", "1", "e", "1"]);
    let endless = servers.begin("import os\ndef f(x):\n  execute('SET', 'pid', os.getpid())\n  while True: x += 1\nGB('PythonReader').map(f).run(lambda: (i for i in [1]))");
    assert!(!endless.is_empty());
    eventually(LONG, "it runs", || node.reply("EXISTS pid") == "1");
    let busy: u32 = node.run(&["GET", "pid"]);
    let [worker, template] = processes(&servers);
    assert!(node.reply("BGSAVE").contains("saving started"));
    eventually(LONG, "it saves", || node.figure("persistence", "rdb_bgsave_in_progress") == 1);
    node.kill();
    eventually(LONG, "all have ended", || [busy, worker, template].iter().all(|pid| !is_alive(*pid)));
}

#[test]
fn processes_end_when_the_module_is_unloaded() {
    let servers = Servers::of(server().unloadable().start());
    let [worker, template] = processes(&servers);
    assert!(is_alive(template));
    eventually(LONG, "it is unloaded", || servers.first().reply("MODULE UNLOAD rmr") == "+OK");
    eventually(LONG, "both have ended", || !is_alive(worker) && !is_alive(template));
    assert_eq!(servers.first().rmr_threads(), 0);
    assert_eq!(servers.first().reply("PING"), "+PONG");
}

#[test]
fn the_template_may_be_killed() {
    let servers = Servers::single();
    let [_, template] = processes(&servers);
    let killed = std::process::Command::new("kill").args(["-9", &template.to_string()]).status().expect("kill");
    assert!(killed.success());
    // Until the server has heard of it, an execution may be in a process that ends with the template.
    let script = "import os\nGB('ShardsIDReader').map(lambda x: os.getppid()).run()";
    let mut parent = String::new();
    eventually(LONG, "functions run again", || {
        parent = servers.reply(&["RG.PYEXECUTE", script]);
        parent.starts_with("[[\"") && parent != format!("[[\"{template}\"], []]")
    });
    assert!(parent.ends_with("\"], []]"), "{parent}");
}

/// The server answers others while functions run.
#[test]
fn the_server_answers_meanwhile() {
    let servers = Servers::single();
    let ids: Vec<String> = (0..4).map(|_| servers.begin(ENDLESS)).collect();
    servers.await_loops();
    let slowest = |node: &Server| {
        let mut wire = node.wire();
        let mut times: Vec<Duration> = (0..1000)
            .map(|_| {
                let began = Instant::now();
                assert_eq!(wire.reply("PING"), "+PONG");
                began.elapsed()
            })
            .collect();
        times.sort_unstable();
        times[500]
    };
    assert!(slowest(servers.first()) < Duration::from_millis(20));
    for id in ids {
        assert_eq!(servers.reply(&["RG.ABORTEXECUTION", &id]), "+OK");
    }
}
