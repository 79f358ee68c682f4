//! Functions that the server waits for, called by functions of the same session: its process runs them within each other.

use std::time::{Duration, Instant};

use super::{Counts, Shown, await_reply, list, settled};
use crate::servers::{Servers, server};

#[test]
fn functions_of_one_session_call_each_other() {
    let servers = Servers::single();
    servers.ok("def fact(x):
    n = int(x[1])
    before = execute('GET', 'calls')
    inner = int(execute('RG.TRIGGER', 'fact', n - 1)[0]) if n > 1 else 1
    execute('RPUSH', 'log', n)
    return n * inner
GB('CommandReader').map(fact).register(trigger='fact', mode='sync')");
    for _ in 0..20 {
        assert_eq!(servers.reply(&["RG.TRIGGER", "fact", "6"]), r#"["720"]"#);
    }
    assert_eq!(list(servers.first(), "log")[..6], ["1", "2", "3", "4", "5", "6"]);
    assert_eq!(settled(servers.first(), 0), Counts::of_successes(120));
}

#[test]
fn functions_that_the_server_does_not_wait_for_call_those_for_which_it_does() {
    let servers = Servers::single();
    servers.ok("GB('CommandReader').map(lambda x: execute('INCRBY', 'n', x[1])).register(trigger='add', mode='sync')
def plain(x):
    return [str(execute('RG.TRIGGER', 'add', 1)[0]) for _ in range(5)]
def many(x):
    return [str(r if isinstance(r, str) else r[0]) for r in execute_many([['RG.TRIGGER', 'add', '1'], ['GET', 'n'], ['RG.TRIGGER', 'add', '1']])]
def alone(x):
    with atomic():
        return [str(execute('RG.TRIGGER', 'add', 1)[0]) for _ in range(5)]
for f in plain, many, alone:
    GB('CommandReader').map(f).map(lambda all: ' '.join(all)).register(trigger=f.__name__, mode='async_local')");
    assert_eq!(servers.reply(&["RG.TRIGGER", "plain"]), r#"["1 2 3 4 5"]"#);
    assert_eq!(servers.reply(&["RG.TRIGGER", "many"]), r#"["6 6 7"]"#);
    assert_eq!(servers.reply(&["RG.TRIGGER", "alone"]), r#"["8 9 10 11 12"]"#);
    assert_eq!(settled(servers.first(), 0), Counts::of_successes(12));
}

#[test]
fn calls_of_other_threads_wait_until_all_are_done() {
    let servers = Servers::single();
    let node = servers.first();
    servers.ok(
        "import threading
def busy():
    registerGearsThread()
    while not execute('EXISTS', 'stop'):
        execute('INCR', 'by_thread')
for _ in range(3):
    threading.Thread(target=busy, daemon=True).start()
def inner(x):
    return execute('GET', 'by_thread')
GB('CommandReader').map(inner).register(trigger='inner', mode='sync')
def outer(x):
    return len({execute('GET', 'by_thread'), *execute('RG.TRIGGER', 'inner'), execute('GET', 'by_thread')})
GB('CommandReader').map(outer).register(trigger='outer', mode='sync')
GB('CommandReader').map(lambda x: execute('RG.TRIGGER', 'outer')[0]).register(trigger='unawaited', mode='async_local')",
    );
    crate::common::eventually(super::PATIENCE, "the threads run", || node.reply("EXISTS by_thread") == "1");
    for _ in 0..20 {
        assert_eq!(node.reply("RG.TRIGGER outer"), r#"["1"]"#);
        assert_eq!(node.reply("RG.TRIGGER unawaited"), r#"["1"]"#);
    }
    let before = node.reply("GET by_thread");
    crate::common::eventually(super::PATIENCE, "the threads go on", || node.reply("GET by_thread") != before);
    node.reply("SET stop 1");
}

#[test]
fn hooks_of_one_session_stand_behind_each_other() {
    let servers = Servers::single();
    let node = servers.first();
    servers.ok("GB('CommandReader').map(lambda x: 'inner ' + call_next(*x[1:])).register(hook='get', mode='sync')
GB('CommandReader').map(lambda x: 'outer ' + call_next(*x[1:])).register(hook='get', mode='sync')
GB('CommandReader').map(lambda x: execute('GET', x[1])).register(trigger='get', mode='sync')");
    node.reply("SET k v");
    for _ in 0..5 {
        assert_eq!(node.reply("GET k"), r#""outer inner v""#);
    }
    assert_eq!(settled(node, 0), Counts::of_successes(5));
    assert_eq!(settled(node, 1), Counts::of_successes(5));
}

#[test]
fn events_of_keys_that_a_call_causes_run_in_the_same_process() {
    let servers = Servers::single();
    let node = servers.first();
    if node.redis_version() < (7, 2) {
        return;
    }
    servers.ok(
        "GB().foreach(lambda r: execute('RPUSH', 'log', 'event of ' + r['key'])).register(prefix='k*', mode='sync')
def write(x):
    execute('SET', x[1], 'v')
    execute('RPUSH', 'log', 'written')
    return execute('LLEN', 'log')
GB('CommandReader').map(write).register(trigger='write', mode='sync')
GB('CommandReader').map(lambda x: execute('RG.TRIGGER', 'write', x[1])[0]).register(trigger='outer', mode='sync')",
    );
    node.reply("RG.TRIGGER write k1");
    node.reply("RG.TRIGGER outer k2");
    let noted = list(node, "log");
    assert_eq!(noted.len(), 4, "{noted:?}");
    for key in ["k1", "k2"] {
        assert!(noted.contains(&format!("event of {key}")), "{noted:?}");
    }
    assert_eq!(settled(node, 0), Counts::of_successes(2));
}

#[test]
fn a_chain_of_calls_has_an_end_and_its_error_goes_through_all() {
    let servers = Servers::of(server().config("rmr.max-trigger-depth", "5").start());
    let node = servers.first();
    servers.ok("def f(x):
    execute('INCR', 'calls')
    return execute('RG.TRIGGER', 'f')
GB('CommandReader').map(f).register(trigger='f', mode='sync')
def fails(x):
    if x[1] == 'inner':
        raise Exception('what the inner one raises')
    try:
        execute('RG.TRIGGER', 'fails', 'inner')
    except Exception as error:
        return 'caught ' + str(error)
GB('CommandReader').map(fails).register(trigger='fails', mode='sync')");
    let reply = node.reply("RG.TRIGGER f");
    assert!(reply.starts_with('-') && reply.contains("rmr.max-trigger-depth"), "{reply}");
    assert_eq!(node.reply("GET calls"), r#""5""#);
    assert_eq!(settled(node, 0), Counts { triggered: 6, succeeded: 0, failed: 6, aborted: 0 });
    let caught = node.reply("RG.TRIGGER fails outer");
    assert!(caught.contains("caught ") && caught.contains("what the inner one raises"), "{caught}");
    assert_eq!(settled(node, 1), Counts { triggered: 2, succeeded: 1, failed: 1, aborted: 0 });
}

#[test]
fn the_deadline_of_an_inner_call_ends_the_process_of_both_and_of_no_other() {
    let servers = Servers::of(server().config("rmr.sync-timeout-ms", "300").start());
    let node = servers.first();
    servers.ok("def inner(x):
    execute('INCR', 'begun')
    while True:
        pass
GB('CommandReader').map(inner).register(trigger='inner', mode='sync')
GB('CommandReader').map(lambda x: execute('RG.TRIGGER', 'inner')).register(trigger='outer', mode='sync')
GB('CommandReader').map(lambda x: 'here').register(trigger='here', mode='sync')");
    servers.ok("import os
def other(x):
    try:
        return execute('RG.TRIGGER', x[1])[0]
    except Exception as error:
        return '%d %s' % (os.getpid(), error)
GB('CommandReader').map(other).register(trigger='other', mode='sync')
GB('CommandReader').map(lambda x: os.getpid()).register(trigger='pid', mode='sync')");
    let began = Instant::now();
    let late = node.reply("RG.TRIGGER outer");
    let took = began.elapsed();
    assert!(late.starts_with('-') && late.contains("300 ms of rmr.sync-timeout-ms"), "{late}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    for place in [0, 1] {
        assert_eq!(settled(node, place), Counts { triggered: 1, succeeded: 0, failed: 1, aborted: 0 });
        assert!(Shown::of(node, place).field("lastError").contains("rmr.sync-timeout-ms"));
    }
    assert_eq!(node.reply("GET begun"), r#""1""#);
    await_reply(node, "RG.TRIGGER here", r#"["here"]"#);
    // A caller in another process is told, and goes on.
    let pid = node.reply("RG.TRIGGER pid").replace(['[', ']', '"'], "");
    let told = node.reply("RG.TRIGGER other inner");
    assert!(told.starts_with(&format!("[\"{pid} ")) && told.contains("rmr.sync-timeout-ms"), "{told}");
    assert_eq!(node.reply("RG.TRIGGER pid"), format!("[\"{pid}\"]"));
    await_reply(node, "RG.TRIGGER here", r#"["here"]"#);
    assert_eq!(node.reply("RG.TRIGGER other here"), r#"["here"]"#);
}

#[test]
fn a_process_that_ends_in_an_inner_call_fails_both() {
    let servers = Servers::single();
    let node = servers.first();
    servers.ok("import os
GB('CommandReader').map(lambda x: os._exit(3)).register(trigger='inner', mode='sync')
GB('CommandReader').map(lambda x: execute('RG.TRIGGER', 'inner')).register(trigger='outer', mode='sync')
GB('CommandReader').map(lambda x: 'here').register(trigger='here', mode='sync')");
    let ended = node.reply("RG.TRIGGER outer");
    assert!(ended.starts_with('-'), "{ended}");
    for place in [0, 1] {
        assert_eq!(settled(node, place), Counts { triggered: 1, succeeded: 0, failed: 1, aborted: 0 });
    }
    await_reply(node, "RG.TRIGGER here", r#"["here"]"#);
}
