//! Events of keys: how they end, and that each is counted once.

use std::collections::BTreeSet;
use std::time::Instant;

use super::{Counts, HELD, PATIENCE, Shown, await_reply, list, note, settled};
use crate::common::{eventually, show};
use crate::servers::{Servers, call};

#[test]
fn counts_are_exact_and_the_last_error_goes_with_the_next_success() {
    let servers = Servers::single();
    let node = servers.first();
    servers.ok("def f(r):
    if r['value'] == 'bad':
        raise Exception('it is bad')
GB().foreach(f).register('k*', mode='async_local')");
    assert_eq!(Shown::of(node, 0).field("lastError"), "nil");
    let mut wire = node.wire();
    for number in 0..40 {
        wire.reply(&format!("SET k{number} {}", if number % 4 == 3 { "bad" } else { "good" }));
    }
    assert_eq!(settled(node, 0), Counts { triggered: 40, succeeded: 30, failed: 10, aborted: 0 });
    wire.reply("SET k bad");
    settled(node, 0);
    let shown = Shown::of(node, 0);
    assert!(shown.field("lastError").contains("it is bad"), "{shown:?}");
    wire.reply("SET k good");
    assert_eq!(settled(node, 0), Counts { triggered: 42, succeeded: 31, failed: 11, aborted: 0 });
    assert_eq!(Shown::of(node, 0).field("lastError"), "nil");
    assert_eq!(node.reply("RG.CLEARREGISTRATIONSSTATS"), "+OK");
    assert_eq!(Shown::of(node, 0).counts(), Counts::of_successes(0));
}

/// Three events run, and so do those that come later.
fn held() -> Servers {
    let servers = Servers::single();
    servers.ok(&format!("{HELD}GB().foreach(held).register('k*', mode='async_local')"));
    let mut wire = servers.first().wire();
    for running in 1..=3 {
        wire.reply(&format!("SET k{running} v"));
        await_reply(servers.first(), "GET begun", &format!("\"{running}\""));
    }
    for number in 4..=50 {
        wire.reply(&format!("SET k{number} v"));
    }
    servers
}

#[test]
fn events_that_came_before_the_end_of_a_registration_run_yet() {
    let servers = held();
    let node = servers.first();
    let id = Shown::of(node, 0).id;
    assert_eq!(Shown::of(node, 0).counts(), Counts { triggered: 50, succeeded: 0, failed: 0, aborted: 0 });
    assert_eq!(node.reply(&format!("RG.UNREGISTER {id}")), "+OK");
    assert_eq!(node.reply("RG.DUMPREGISTRATIONS"), "[]");
    node.reply("SET k51 v");
    node.reply("SET go 1");
    await_reply(node, "GET ended", "\"50\"");
    await_reply(node, "RG.PYDUMPSESSIONS", "[]");
    assert_eq!(node.reply("MGET begun ended"), r#"["50", "50"]"#);
}

#[test]
fn events_that_were_not_begun_can_be_aborted_with_the_registration() {
    let servers = held();
    let node = servers.first();
    let id = Shown::of(node, 0).id;
    assert_eq!(node.reply(&format!("RG.UNREGISTER {id} abortpending")), "+OK");
    node.reply("SET go 1");
    await_reply(node, "GET ended", "\"3\"");
    await_reply(node, "RG.PYDUMPSESSIONS", "[]");
    assert_eq!(node.reply("MGET begun ended"), r#"["3", "3"]"#);
}

#[test]
fn the_end_of_a_process_is_an_error_of_its_event_and_others_run() {
    let servers = Servers::single();
    let node = servers.first();
    servers.ok("import os
def f(r):
    if r['value'] == 'end':
        os._exit(9)
    execute('INCR', 'ran')
GB().foreach(f).register('k*', mode='async_local', onRegistered=lambda: execute('INCR', 'living'))");
    for round in 1..=3 {
        node.reply("SET k v");
        settled(node, 0);
        node.reply("SET k end");
        let counts = settled(node, 0);
        assert_eq!(counts, Counts { triggered: 2 * round, succeeded: round, failed: round, aborted: 0 });
        let shown = Shown::of(node, 0);
        assert!(shown.field("lastError").contains('9'), "{shown:?}");
    }
    node.reply("SET k v");
    assert_eq!(settled(node, 0).succeeded, 4);
    assert_eq!(Shown::of(node, 0).field("lastError"), "nil");
    // It has come to life in each of the processes.
    assert_eq!(node.reply("MGET ran living"), r#"["4", "4"]"#);
}

#[test]
fn a_function_that_causes_its_own_events_leaves_room_for_clients() {
    let servers = Servers::single();
    let node = servers.first();
    servers.ok("GB().filter(lambda r: int(r['value']) < 3000).foreach(lambda r: execute('INCR', 'k')).register('k', mode='async_local')");
    node.reply("SET k 0");
    // A loop that gave way to nobody would be over when the first answer comes.
    let (mut wire, mut seen) = (node.wire(), BTreeSet::new());
    let began = Instant::now();
    while !seen.contains("\"3000\"") {
        seen.insert(wire.reply("GET k"));
        assert!(began.elapsed() < PATIENCE, "the loop has stopped: {:?}", Shown::of(node, 0));
    }
    assert!(seen.len() > 20, "only {seen:?} were seen");
    assert_eq!(settled(node, 0), Counts::of_successes(3001));
}

#[test]
fn events_beyond_the_limit_are_dropped_and_counted() {
    let servers = held();
    let node = servers.first();
    // All that wait are in the hands of tasks, or wait themselves.
    assert_eq!(node.reply("CONFIG SET rmr.max-pending-events 20"), "+OK");
    let mut wire = node.wire();
    for number in 0..100 {
        wire.reply(&format!("SET k{number} v"));
    }
    let dropped = node.rmr_figure("registration_events_dropped");
    assert!(dropped >= 80, "{dropped}");
    assert_eq!(Shown::of(node, 0).counts().triggered, 150);
    node.reply("SET go 1");
    eventually(PATIENCE, "all have ended", || Shown::of(node, 0).counts().are_settled(dropped));
    let counts = Shown::of(node, 0).counts();
    assert_eq!(counts, Counts { triggered: 150, succeeded: 150 - dropped, failed: 0, aborted: 0 });
    assert_eq!(node.rmr_figure("registration_events_dropped"), dropped);
    assert_eq!(node.rmr_figure("registration_events_pending"), 0);
    node.reply("SET k v");
    eventually(PATIENCE, "there is room again", || Shown::of(node, 0).counts().succeeded == 151 - dropped);
}

#[test]
fn steps_may_be_coroutines_and_wait_for_what_others_continue() {
    let servers = Servers::single();
    let node = servers.first();
    servers.ok("waiting = []
async def slow(r):
    await asyncio.sleep(0)
    return r['key']
def wait(key):
    f = gearsFuture()
    waiting.append((f, key))
    return f
GB().map(slow).map(wait).foreach(lambda x: execute('RPUSH', 'log', x)).register('k*', mode='async_local')
def go_on(r):
    for f, key in waiting:
        f.continueRun(key + ' ' + r['value'])
    waiting.clear()
GB().foreach(go_on).register('go', mode='async_local')");
    let mut wire = node.wire();
    for number in 0..5 {
        wire.reply(&format!("SET k{number} v"));
    }
    eventually(PATIENCE, "all events wait or have ended", || {
        wire.reply("SET go now");
        settled(node, 1);
        Shown::of(node, 0).counts() == Counts::of_successes(5)
    });
    let mut log = list(node, "log");
    log.sort();
    assert_eq!(log, ["k0 now", "k1 now", "k2 now", "k3 now", "k4 now"]);
}

#[test]
fn an_event_that_runs_is_an_execution_that_can_be_aborted() {
    let servers = Servers::single();
    let node = servers.first();
    servers.ok("def f(r):
    if r['value'] == 'ends':
        return
    execute('SET', 'begun', 1)
    while True:
        pass
GB().foreach(f).register('k*', mode='async_local')");
    node.reply("SET k endless");
    await_reply(node, "GET begun", "\"1\"");
    let running = node.reply("RG.DUMPEXECUTIONS");
    assert!(running.contains(r#""status", "running", "registered", 1]"#), "{running}");
    let id = running.split('"').nth(3).expect("an id").to_owned();
    assert_eq!(node.reply(&format!("RG.ABORTEXECUTION {id}")), "+OK");
    assert_eq!(settled(node, 0), Counts { triggered: 1, succeeded: 0, failed: 1, aborted: 0 });
    node.reply("SET k ends");
    assert_eq!(settled(node, 0), Counts { triggered: 2, succeeded: 1, failed: 1, aborted: 0 });
}

#[test]
fn arguments_are_shown_as_they_were_given() {
    let servers = Servers::single();
    note(&servers, "1", "'k*', eventTypes=['SET'], keyTypes=['string', 'empty'], mode='async_local'");
    servers.ok("GB('KeysReader', desc='words').register()");
    let reply = call(servers.first(), &["RG.DUMPREGISTRATIONS"]);
    let (first, second) = (Shown::of(servers.first(), 0), Shown::of(servers.first(), 1));
    assert_eq!((&*first.reader, first.field("mode")), ("KeysReader", "\"async_local\""));
    let args = r#"["regex", "k*", "eventTypes", ["set"], "keyTypes", ["string", "empty"], "hookCommands", nil]"#;
    assert_eq!(first.field("args"), args);
    assert_eq!(second.field("mode"), "\"async\"");
    assert_eq!(second.field("args"), r#"["regex", "*", "eventTypes", nil, "keyTypes", nil, "hookCommands", nil]"#);
    assert!(show(&reply).contains(r#""desc", "words""#), "{}", show(&reply));
}
