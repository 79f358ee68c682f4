//! Functions that the server waits for: with an event of a key in the same unit, at a call, and not for longer than allowed.

use super::{Counts, Shown, await_reply, list, settled};
use crate::common::{eventually, show};
use crate::servers::{Servers, call, server};

/// Tells whether the server can run functions with the events of keys.
fn has_jobs(servers: &Servers) -> bool {
    servers.first().redis_version() >= (7, 2)
}

#[test]
fn with_events_of_keys_where_the_server_can_and_else_refused_with_the_reason() {
    let servers = Servers::single();
    let reply = show(&call(servers.first(), &["RG.PYEXECUTE", "GB().register(mode='sync')"]));
    if has_jobs(&servers) {
        assert_eq!(reply, "+OK");
    } else {
        assert!(reply.contains("cannot run functions with the events of keys") && reply.contains("7.2"), "{reply}");
        assert_eq!(servers.first().reply("RG.DUMPREGISTRATIONS"), "[]");
    }
}

#[test]
fn effects_follow_their_cause_in_one_transaction_and_the_reply_comes_after_them() {
    let servers = Servers::of(server().config("appendonly", "yes").start());
    if !has_jobs(&servers) {
        return;
    }
    let node = servers.first();
    servers.ok("def f(r):
    execute('RPUSH', 'log', '%s %s' % (r['key'], r['value']))
GB().foreach(f).register(prefix='k*', mode='sync')");
    let mut wire = node.wire();
    assert_eq!(wire.reply("SET k1 a"), "+OK");
    assert_eq!(list(node, "log"), ["k1 a"], "before the reply");
    for line in ["MULTI", "SET k1 b", "SET k2 c", "LLEN log", "EXEC"] {
        wire.reply(line);
    }
    // After the whole, with the values of the events.
    assert_eq!(list(node, "log"), ["k1 a", "k1 b", "k2 c"]);
    assert_eq!(wire.reply_to(&["EVAL", "redis.call('SET', 'k3', 'd') return redis.call('LLEN', 'log')", "0"]), "3");
    assert_eq!(list(node, "log").last().map(String::as_str), Some("k3 d"));
    assert_eq!(settled(node, 0), Counts::of_successes(4));
    // The same comes out when the file is read.
    let digest = node.reply("DEBUG DIGEST");
    let before = list(node, "log");
    node.reply("DEBUG LOADAOF");
    assert_eq!(list(node, "log"), before);
    assert_eq!(node.reply("DEBUG DIGEST"), digest);
}

#[test]
fn a_function_that_takes_too_long_is_ended_and_the_command_goes_through() {
    let servers = Servers::of(server().config("rmr.sync-timeout-ms", "200").start());
    let node = servers.first();
    servers.ok("import time
def f(x):
    execute('INCR', 'begun')
    time.sleep(60)
GB('CommandReader').map(f).register(trigger='slow', mode='sync')
GB('CommandReader').map(lambda x: 'fast').register(trigger='fast', mode='sync')");
    let reply = node.reply("RG.TRIGGER slow");
    assert!(reply.contains("200 ms of rmr.sync-timeout-ms"), "{reply}");
    assert!(Shown::of(node, 0).field("lastError").contains("rmr.sync-timeout-ms"));
    assert_eq!(node.reply("GET begun"), r#""1""#, "what was written stays");
    // The process is begun anew by itself, or by the next call.
    await_reply(node, "RG.TRIGGER fast", r#"["fast"]"#);
    if has_jobs(&servers) {
        servers.ok("import time
GB().foreach(lambda r: time.sleep(60)).register(prefix='k', mode='sync')");
        assert_eq!(node.reply("SET k v"), "+OK");
        assert!(Shown::of(node, 2).field("lastError").contains("rmr.sync-timeout-ms"));
    }
}

#[test]
fn a_chain_of_events_has_an_end() {
    let servers = Servers::of(server().config("rmr.max-trigger-depth", "5").start());
    if !has_jobs(&servers) {
        return;
    }
    let node = servers.first();
    servers.ok("GB().foreach(lambda r: execute('INCR', 'k')).register(prefix='k', mode='sync')");
    assert_eq!(node.reply("INCR k"), "1");
    let shown = Shown::of(node, 0);
    assert_eq!(shown.counts(), Counts { triggered: 6, succeeded: 5, failed: 1, aborted: 0 });
    assert_eq!(node.reply("GET k"), r#""6""#);
    // It is the last one that has failed, and those around it have succeeded since.
    assert_eq!(node.reply("PING"), "+PONG");
}

#[test]
fn other_calls_of_the_process_wait_for_the_end_of_the_event() {
    let servers = Servers::single();
    let node = servers.first();
    servers.ok("import threading, time
def busy():
    registerGearsThread()
    while not execute('EXISTS', 'stop'):
        execute('INCR', 'by_thread')
threading.Thread(target=busy, daemon=True).start()
def f(x):
    before = execute('GET', 'by_thread')
    time.sleep(0.05)
    return before == execute('GET', 'by_thread')
GB('CommandReader').map(f).register(trigger='t', mode='sync')");
    eventually(super::PATIENCE, "the thread runs", || node.reply("EXISTS by_thread") == "1");
    for _ in 0..5 {
        assert_eq!(node.reply("RG.TRIGGER t"), r#"["True"]"#);
    }
    node.reply("SET stop 1");
}

#[test]
fn streams_are_worked_on_with_the_command_that_adds_to_them() {
    let servers = Servers::single();
    if !has_jobs(&servers) {
        return;
    }
    let node = servers.first();
    servers.ok("GB('StreamReader').foreach(lambda r: execute('RPUSH', 'log', r['value']['f'])).register(prefix='s*', mode='sync')");
    for number in 0..3 {
        node.reply(&format!("XADD s1 * f {number}"));
        assert_eq!(list(node, "log").len(), number + 1);
    }
    assert_eq!(list(node, "log"), ["0", "1", "2"]);
}
