//! Calls of functions that take a while: their order, futures, processes that end, and those for which the server waits.

use std::time::{Duration, Instant};

use super::{Counts, HELD, PATIENCE, Shown, await_reply, list, settled};
use crate::common::{Wire, eventually, show};
use crate::servers::{Servers, call};

/// Calls a function on a connection of its own, once all calls before have been counted.
fn begin(servers: &Servers, place: usize, words: &[&str]) -> Wire {
    let before = Shown::of(servers.first(), place).counts().triggered;
    let mut wire = Wire::connect_with_timeout(servers.first().port(), PATIENCE);
    wire.send(&[&["RG.TRIGGER"], words].concat());
    eventually(PATIENCE, "the call is counted", || Shown::of(servers.first(), place).counts().triggered == before + 1);
    wire
}

#[test]
fn calls_in_order_run_one_after_the_other() {
    for servers in Servers::both() {
        let mode = if servers.is_cluster() { "async" } else { "async_local" };
        servers.ok(&format!(
            "import asyncio
async def f(x):
    n = int(x[1])
    name = 'log{{%s}}' % hashtag()
    execute('RPUSH', name, 'begin %d' % n)
    await asyncio.sleep(0.01 * (5 - n))
    execute('RPUSH', name, 'end %d' % n)
    return n
GB('CommandReader').map(f).register(trigger='t', inorder=True, mode='{mode}')"
        ));
        let mut calls: Vec<Wire> = (0..5).map(|n| begin(&servers, 0, &["t", &n.to_string()])).collect();
        for (n, wire) in calls.iter_mut().enumerate() {
            let one = format!("\"{n}\"");
            let all = vec![one; if servers.is_cluster() { 3 } else { 1 }].join(", ");
            assert_eq!(show(&wire.read_frame()), format!("[{all}]"), "{}", servers.kind);
        }
        let expected: Vec<String> = (0..5).flat_map(|n| [format!("begin {n}"), format!("end {n}")]).collect();
        for node in servers.nodes() {
            let name = node.reply("KEYS log*");
            assert_eq!(list(node, name.trim_matches(|c| "[]\"".contains(c))), expected, "{}", servers.kind);
        }
        assert!(Shown::of(servers.first(), 0).field("args").ends_with("\"inorder\", 1]"));
        assert_eq!(settled(servers.first(), 0), Counts::of_successes(5), "{}", servers.kind);
    }
}

#[test]
fn a_future_is_continued_by_another_registration() {
    // A pop that waits, made of two registrations of one session.
    let script = "
waiting = []
def pop(x):
    f = gearsFuture()
    waiting.append(f)
    return f
GB('CommandReader').map(pop).register(trigger='pop', mode='MODE')
def push(x):
    if x[1] == 'fail':
        waiting.pop(0).continueFailed('nothing comes')
    else:
        waiting.pop(0).continueRun(x[1])
    return len(waiting)
GB('CommandReader').map(push).register(trigger='push', mode='MODE')
GB('CommandReader').map(lambda x: len(waiting)).register(trigger='waiting', mode='MODE')";
    for mode in ["async", "async_local", "sync"] {
        let servers = Servers::single();
        servers.ok(&script.replace("MODE", mode));
        let mut calls: Vec<Wire> = (1..=3)
            .map(|count: usize| {
                let call = begin(&servers, 0, &["pop"]);
                await_reply(servers.first(), "RG.TRIGGER waiting", &format!("[\"{count}\"]"));
                call
            })
            .collect();
        assert!(!calls[0].answers_within(Duration::from_millis(1)), "{mode}");
        assert_eq!(servers.reply(&["RG.TRIGGER", "push", "one"]), r#"["2"]"#, "{mode}");
        assert_eq!(show(&calls[0].read_frame()), r#"["one"]"#, "{mode}");
        assert_eq!(servers.reply(&["RG.TRIGGER", "push", "fail"]), r#"["1"]"#, "{mode}");
        let failed = show(&calls[1].read_frame());
        assert!(failed.starts_with('-') && failed.contains("nothing comes"), "{mode}: {failed}");
        assert_eq!(servers.reply(&["RG.TRIGGER", "push", "three"]), r#"["0"]"#, "{mode}");
        assert_eq!(show(&calls[2].read_frame()), r#"["three"]"#, "{mode}");
        assert_eq!(settled(servers.first(), 0), Counts { triggered: 3, succeeded: 2, failed: 1, aborted: 0 }, "{mode}");
    }
}

#[test]
fn a_call_that_waits_can_be_aborted_and_its_client_may_go() {
    let servers = Servers::single();
    let node = servers.first();
    servers.ok("waiting = []
def wait(x):
    waiting.append(gearsFuture())
    return waiting[-1]
GB('CommandReader').map(wait).register(trigger='wait', mode='async_local')
def go_on(x):
    waiting.pop().continueRun(1)
GB('CommandReader').map(go_on).register(trigger='go', mode='async_local')");
    let mut waits = begin(&servers, 0, &["wait"]);
    eventually(PATIENCE, "it is an execution", || node.reply("RG.DUMPEXECUTIONS").contains("\"registered\", 1"));
    let id = node.reply("RG.DUMPEXECUTIONS").split('"').nth(3).expect("an id").to_owned();
    assert_eq!(node.reply(&format!("RG.ABORTEXECUTION {id}")), "+OK");
    let reply = show(&waits.read_frame());
    assert!(reply.starts_with('-') && reply.contains("abort"), "{reply}");
    assert_eq!(settled(node, 0).succeeded, 0);
    let ended = settled(node, 0);
    let gone = begin(&servers, 0, &["wait"]);
    drop(gone);
    eventually(PATIENCE, "it waits", || {
        node.reply("RG.TRIGGER go");
        settled_is(node, ended.succeeded + 1)
    });
}

fn settled_is(node: &crate::common::Server, succeeded: u64) -> bool {
    Shown::of(node, 0).counts().succeeded == succeeded
}

#[test]
fn calls_whose_registration_ends_are_answered() {
    let servers = Servers::single();
    let node = servers.first();
    servers.ok(&format!("{HELD}GB('CommandReader').map(held).register(trigger='t', inorder=True, mode='async_local')"));
    let mut calls: Vec<Wire> = (0..3).map(|_| begin(&servers, 0, &["t"])).collect();
    await_reply(node, "GET begun", "\"1\"");
    let id = Shown::of(node, 0).id;
    assert_eq!(node.reply(&format!("RG.UNREGISTER {id} ABORTPENDING")), "+OK");
    for call in &mut calls[1..] {
        let reply = show(&call.read_frame());
        assert!(reply.starts_with("-ERR") && reply.contains("abort"), "{reply}");
    }
    node.reply("SET go 1");
    assert_eq!(show(&calls[0].read_frame()), r#"["None"]"#);
    assert_eq!(node.reply("GET begun"), "\"1\"");
}

#[test]
fn calls_beyond_the_limit_are_refused() {
    let servers = Servers::single();
    let node = servers.first();
    servers.ok(&format!("{HELD}GB('CommandReader').map(held).register(trigger='t', inorder=True, mode='async_local')"));
    node.reply("CONFIG SET rmr.max-pending-events 2");
    let mut first = begin(&servers, 0, &["t"]);
    await_reply(node, "GET begun", "\"1\"");
    let mut others = [begin(&servers, 0, &["t"]), begin(&servers, 0, &["t"]), begin(&servers, 0, &["t"])];
    let last = show(&others[2].read_frame());
    // One may be in the hands of who takes the next, when this one is done.
    assert!(
        last.starts_with("-ERR Could not trigger execution, ") && last.contains("rmr.max-pending-events"),
        "{last}"
    );
    node.reply("SET go 1");
    for call in [&mut first].into_iter().chain(&mut others[..2]) {
        assert_eq!(show(&call.read_frame()), r#"["None"]"#);
    }
    assert_eq!(node.rmr_figure("registration_events_dropped"), 1);
    assert_eq!(Shown::of(node, 0).counts(), Counts { triggered: 4, succeeded: 3, failed: 0, aborted: 0 });
}

#[test]
fn a_process_that_ends_is_begun_anew() {
    for mode in ["async", "async_local", "sync"] {
        let servers = Servers::single();
        let node = servers.first();
        servers.ok(&format!(
            "import os
def f(x):
    if x[1] == 'end':
        os._exit(3)
    return os.getpid()
GB('CommandReader').map(f).register(trigger='t', mode='{mode}')"
        ));
        let first = servers.reply(&["RG.TRIGGER", "t", "pid"]);
        let ended = servers.reply(&["RG.TRIGGER", "t", "end"]);
        assert!(ended.starts_with('-'), "{mode}: {ended}");
        assert_eq!(settled(node, 0), Counts { triggered: 2, succeeded: 1, failed: 1, aborted: 0 }, "{mode}");
        assert_ne!(Shown::of(node, 0).field("lastError"), "nil", "{mode}");
        // One for which the server waits does not wait for a process: calls fail until there is one.
        let mut second = String::new();
        eventually(PATIENCE, "there is a process again", || {
            second = servers.reply(&["RG.TRIGGER", "t", "pid"]);
            second.starts_with('[')
        });
        assert_ne!(first, second, "{mode}");
        assert_eq!(Shown::of(node, 0).field("lastError"), "nil", "{mode}");
    }
}

#[test]
fn what_keeps_the_server_too_long_is_ended() {
    let servers = Servers::single();
    let node = servers.first();
    node.reply("CONFIG SET rmr.sync-timeout-ms 200");
    servers.ok("def f(x):
    execute('SET', 'written', x[1])
    while x[1] == 'endless':
        pass
    return x[1]
GB('CommandReader').map(f).register(trigger='t', mode='sync')");
    assert_eq!(servers.reply(&["RG.TRIGGER", "t", "short"]), r#"["short"]"#);
    let began = Instant::now();
    let late = servers.reply(&["RG.TRIGGER", "t", "endless"]);
    let took = began.elapsed();
    assert!(late.starts_with('-') && late.contains("rmr.sync-timeout-ms"), "{late}");
    assert!(took >= Duration::from_millis(200) && took < Duration::from_secs(10), "{took:?}");
    assert!(Shown::of(node, 0).field("lastError").contains("rmr.sync-timeout-ms"));
    assert_eq!(node.reply("GET written"), "\"endless\"");
    eventually(PATIENCE, "there is a process again", || servers.reply(&["RG.TRIGGER", "t", "again"]) == r#"["again"]"#);
    let mut wire = node.wire();
    wire.reply("MULTI");
    wire.send(&["RG.TRIGGER", "t", "endless"]);
    wire.read_frame();
    wire.reply("SET after 1");
    let whole = wire.reply("EXEC");
    assert!(whole.starts_with("[-") && whole.ends_with("+OK]"), "{whole}");
}

#[test]
fn functions_of_other_sessions_and_of_the_same_may_be_called_by_functions() {
    let servers = Servers::single();
    servers.ok("GB('CommandReader').map(lambda x: 'inner ' + x[1]).register(trigger='inner', mode='sync')");
    let outer =
        "GB('CommandReader').map(lambda x: execute('RG.TRIGGER', x[1], 'x')[0]).register(trigger='outer', mode='sync')";
    servers.ok(outer);
    assert_eq!(servers.reply(&["RG.TRIGGER", "outer", "inner"]), r#"["inner x"]"#);
    // The second call is of a function that there is not.
    let within = servers.reply(&["RG.TRIGGER", "outer", "outer"]);
    assert!(within.starts_with('-') && within.contains("subcommand not found"), "{within}");
    assert_eq!(servers.reply(&["RG.TRIGGER", "outer", "inner"]), r#"["inner x"]"#);
}

#[test]
fn what_a_call_for_which_the_server_waits_writes_is_one_transaction() {
    let servers = Servers::of(crate::servers::server().config("appendonly", "yes").start());
    let node = servers.first();
    servers.ok("def f(x):
    with atomic():
        execute('SET', 'a', x[1])
        execute('SET', 'b', x[1])
    execute('SET', 'c', x[1])
    return execute('GET', 'a')
GB('CommandReader').map(f).register(trigger='t', mode='sync')");
    assert_eq!(show(&call(node, &["RG.TRIGGER", "t", "v"])), r#"["v"]"#);
    node.restart();
    assert_eq!(node.reply("MGET a b c"), r#"["v", "v", "v"]"#);
}
