//! Calls of functions and what stands in their way: scripts, pauses, roles, other workers, ends of processes, unloading.

use std::time::{Duration, Instant};

use crate::common::{Server, eventually};
use crate::servers::{Servers, server};

const PATIENCE: Duration = Duration::from_secs(20);

/// A function that shows what comes of a command.
const TRIED: &str = "
def tried(*words):
    try:
        return execute(*words)
    except Exception as e:
        return str(e)
";

/// Runs a script that has no flow, and returns at once.
fn begin(server: &Server, script: &str) -> crate::common::Wire {
    let mut wire = server.wire();
    wire.send(&["RG.PYEXECUTE", script]);
    wire
}

#[test]
fn a_script_of_the_server_sees_no_key_change_while_it_runs() {
    let servers = Servers::of(server().config("busy-reply-threshold", "20").start());
    let node = servers.first();
    let mut caller = begin(
        node,
        "import time\nuntil = time.time() + 3\nn = 0\nwhile time.time() < until:\n    n += 1\n    execute('SET', 'seen', n)\nexecute('SET', 'calls', n)",
    );
    eventually(PATIENCE, "functions write", || node.reply("EXISTS seen") == "1");
    let script = "local before = redis.call('GET', 'seen') local n = 0 for i = 1, 3000000 do n = n + 1 end \
                  return before == redis.call('GET', 'seen')";
    let mut wire = node.wire();
    while node.reply("EXISTS calls") == "0" {
        assert_eq!(wire.reply_to(&["EVAL", script, "0"]), "1");
    }
    assert_eq!(crate::common::show(&caller.read_frame()), "+OK");
}

#[test]
fn writes_wait_while_clients_are_paused_and_reads_do_not() {
    let servers = Servers::single();
    let node = servers.first();
    servers.ok("execute('SET', 'k', 'v')");
    let paused = Instant::now();
    node.run::<()>(&["CLIENT", "PAUSE", "600", "WRITE"]);
    servers.ok("assert execute('GET', 'k') == 'v'");
    let read = paused.elapsed();
    servers.ok("execute('SET', 'k', 'w')");
    let wrote = paused.elapsed();
    assert!(read < Duration::from_millis(600) && wrote >= Duration::from_millis(590), "{read:?}, {wrote:?}");
    assert_eq!(node.reply("GET k"), "\"w\"");
}

#[test]
fn a_replica_takes_no_writes_of_functions() {
    let servers = Servers::single();
    servers.ok("execute('SET', 'k', 'v')");
    servers.first().run::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
    let refused = "\"READONLY You can't write against a read only replica.\"";
    assert_eq!(servers.value_after(TRIED, "tried('SET', 'k', 'w')"), refused);
    assert_eq!(servers.value_after(TRIED, "tried('GET', 'k')"), "'v'");
}

#[test]
fn commands_that_are_about_their_connection_are_refused_and_no_command_ends_the_server() {
    let servers = Servers::single();
    for words in ["'MULTI'", "'WAIT', 1, 100", "'SUBSCRIBE', 'c'", "'MONITOR'", "'SYNC'", "'CLIENT', 'REPLY', 'OFF'"] {
        let failed = "'Failed executing command'";
        assert_eq!(servers.value_after(TRIED, &format!("tried({words})")), failed, "{words}");
    }
    servers.ok(&format!(
        "{TRIED}
never = ('shutdown', 'debug', 'restart', 'cluster', 'failover', 'module')
names = [name for name in execute('COMMAND', 'LIST') if name not in never]
assert len(names) > 200
for name in names:
    for words in ([], ['k'], ['k', 'v'], ['k', 'VALUES', '1', '1'], ['k', '1', 'x', 'y', 'z']):
        tried(name, *words)"
    ));
    assert_eq!(servers.first().reply("PING"), "+PONG");
}

#[test]
fn many_commands_leave_room_for_clients() {
    let servers = Servers::single();
    let node = servers.first();
    let mut caller = begin(node, "assert len(execute_many([('INCR', 'n')] * 100000)) == 100000");
    eventually(PATIENCE, "commands have run", || node.reply("EXISTS n") == "1");
    let mut seen = 0;
    while node.reply("GET n") != "\"100000\"" {
        seen += 1;
    }
    assert!(seen > 1, "clients were served {seen} times meanwhile");
    assert_eq!(crate::common::show(&caller.read_frame()), "+OK");
    servers.ok("value = 'x' * 5000000\nexecute('SET', 'big', value)\nassert execute('GET', 'big') == value");
    servers.ok("import threading
session = getGearsSession()
def work():
    setGearsSession(session)
    for _ in range(200): execute('INCR', 'threads')
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert execute('GET', 'threads') == '1600'");
}

#[test]
fn a_process_that_ends_alone_gives_the_server_back_at_once() {
    let servers = Servers::single();
    servers.first().run::<()>(&["CONFIG", "SET", "rmr.atomic-timeout-ms", "20000"]);
    let began = Instant::now();
    let refusal = servers.refusal("import os\nwith atomic():\n    execute('SET', 'in', 1)\n    os._exit(7)");
    assert!(refusal.contains("7") && began.elapsed() < Duration::from_secs(15), "{refusal}, {:?}", began.elapsed());
    assert_eq!(servers.first().reply("GET in"), "\"1\"");
    servers.ok("with atomic():\n    execute('INCR', 'in')");
}

#[test]
fn an_atomic_block_begins_with_writes_of_its_own() {
    let servers = Servers::of(server().config("appendonly", "yes").start());
    let node = servers.first();
    servers.ok(
        "execute('SET', 'before', 1)\nwith atomic():\n    execute('SET', 'a', 1)\n    execute('GET', 'a')\n    execute('SET', 'b', 2)\nexecute('SET', 'after', 1)",
    );
    let folder = node.dir().join("appendonlydir");
    let file = std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path());
    let file = file.into_iter().find(|path| path.to_string_lossy().ends_with(".incr.aof")).expect("a log of commands");
    let words = |text: &str| {
        let kept = |line: &&str| !line.starts_with(['*', '$', '#']);
        text.lines().filter(kept).map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    let logged = words(&String::from_utf8_lossy(&std::fs::read(file).expect("a file")));
    let expected = "SET before 1 MULTI SET a 1 SET b 2 EXEC SET after 1";
    assert!(logged.ends_with(expected), "{logged}");
}

#[test]
fn a_warning_says_when_atomic_blocks_may_take_too_long_for_the_cluster() {
    let servers = Servers::cluster();
    let node = servers.first();
    node.run::<()>(&["CONFIG", "SET", "rmr.atomic-timeout-ms", "500"]);
    let before = node.log().matches("half of cluster-node-timeout").count();
    node.run::<()>(&["CONFIG", "SET", "rmr.atomic-timeout-ms", "1900"]);
    let log = node.log();
    assert_eq!(log.matches("half of cluster-node-timeout").count(), before + 1, "{log}");
}

#[test]
fn a_server_is_unloaded_at_once_and_saves_while_functions_are_called_again_and_again() {
    let servers = Servers::of(server().unloadable().start());
    let node = servers.first();
    servers.reply(&["RG.PYEXECUTE", "registerTE(1, lambda: execute('INCR', 'ticks'))"]);
    node.run::<String>(&["BGSAVE"]);
    eventually(PATIENCE, "it is called", || node.reply("GET ticks") == "\"2\"");
    assert_eq!(node.reply("MODULE UNLOAD rmr"), "+OK");
    assert_eq!(node.reply("PING"), "+PONG");
}
