//! Events are executions: their results are kept, and what has not begun can be aborted.

use super::{Counts, HELD, PATIENCE, Shown, await_reply, note, settled};
use crate::common::{Server, Wire, elements, eventually, show};
use crate::servers::{Servers, call, server};

/// Returns id, state and whether it is an event's, of each execution.
fn executions(node: &Server) -> Vec<(String, String, String)> {
    let reply = call(node, &["RG.DUMPEXECUTIONS"]);
    let fields = |execution: &[u8]| {
        let all: Vec<String> = elements(execution).into_iter().map(super::unquoted).collect();
        assert_eq!((&*all[0], &*all[2], &*all[4]), ("executionId", "status", "registered"));
        (all[1].clone(), all[3].clone(), all[5].clone())
    };
    elements(&reply).into_iter().map(fields).collect()
}

/// Returns what an execution has come to.
fn results(node: &Server, id: &str) -> String {
    show(&call(node, &["RG.GETRESULTS", id]))
}

#[test]
fn results_of_events_are_kept_as_those_of_executions() {
    let servers = Servers::single();
    let node = servers.first();
    servers.ok("def f(r):
    if r['value'] == 'bad':
        raise Exception('as it is told')
    return r['key'] + '=' + r['value']
GB().map(f).register(prefix='k*', mode='async_local', eventTypes=['set'])");
    for (key, value) in [("k1", "a"), ("k2", "bad"), ("k3", "c")] {
        node.reply(&format!("SET {key} {value}"));
        settled(node, 0);
    }
    let kept = executions(node);
    assert_eq!(kept.len(), 3, "{kept:?}");
    assert!(kept.iter().all(|(_, status, registered)| status == "done" && registered == "1"), "{kept:?}");
    assert_eq!(results(node, &kept[0].0), r#"[["k1=a"], []]"#);
    let failed = results(node, &kept[1].0);
    assert!(failed.starts_with("[[], [\"") && failed.contains("as it is told"), "{failed}");
    assert_eq!(show(&call(node, &["RG.GETRESULTSBLOCKING", &kept[2].0])), r#"[["k3=c"], []]"#);
    let shown = show(&call(node, &["RG.GETEXECUTION", &kept[0].0]));
    assert!(shown.contains(r#""status", "done""#) && shown.contains(r#""results", 1"#), "{shown}");
    assert_eq!(show(&call(node, &["RG.ABORTEXECUTION", &kept[0].0])), "+OK");
    assert_eq!(show(&call(node, &["RG.DROPEXECUTION", &kept[0].0])), "+OK");
    assert_eq!(results(node, &kept[0].0), "-execution plan does not exist");
    assert_eq!(executions(node).len(), 2);
    // They go with their registration.
    node.reply(&format!("RG.UNREGISTER {}", Shown::of(node, 0).id));
    assert!(executions(node).is_empty());
    assert_eq!(results(node, &kept[1].0), "-execution plan does not exist");
}

#[test]
fn calls_leave_results_in_each_mode_whose_strings_are_strings() {
    for mode in ["async", "async_local", "sync"] {
        for servers in Servers::both() {
            let node = servers.first();
            servers.ok(&format!("GB('CommandReader').map(lambda x: '+' + x[1]).register(trigger='t', mode='{mode}')"));
            assert!(servers.reply(&["RG.TRIGGER", "t", "one"]).contains("+one"), "{mode}");
            let own: Vec<_> = executions(node).into_iter().filter(|(_, _, registered)| registered == "1").collect();
            assert_eq!(own.len(), 1, "{mode}, {}: {own:?}", servers.kind);
            let copies = if servers.is_cluster() && mode == "async" { 3 } else { 1 };
            let expected = format!("[[{}], []]", vec![r#""+one""#; copies].join(", "));
            assert_eq!(results(node, &own[0].0), expected, "{mode}, {}", servers.kind);
            for other in servers.nodes() {
                assert_eq!(results(other, &own[0].0), expected, "{mode}, asked at another node");
            }
        }
    }
}

#[test]
fn no_more_are_kept_than_the_setting_says() {
    let servers = Servers::of(server().config("rmr.gears-rights", "caller").start());
    let node = servers.first();
    assert_eq!(show(&call(node, &["RG.CONFIGSET", "MaxExecutionsPerRegistration", "3"])), "[+OK]");
    for trigger in ["a", "b"] {
        servers
            .ok(&format!("GB('CommandReader').map(lambda x: x[1]).register(trigger='{trigger}', mode='async_local')"));
    }
    for number in 0..5 {
        node.reply(&format!("RG.TRIGGER a {number}"));
    }
    node.reply("RG.TRIGGER b other");
    let found: Vec<String> = executions(node).into_iter().map(|(id, ..)| results(node, &id)).collect();
    assert_eq!(found, [r#"[["2"], []]"#, r#"[["3"], []]"#, r#"[["4"], []]"#, r#"[["other"], []]"#]);
}

#[test]
fn the_results_of_one_that_runs_can_be_waited_for() {
    let servers = Servers::single();
    let node = servers.first();
    servers.ok(&format!("{HELD}GB('CommandReader').map(held).register(trigger='t', mode='async_local')"));
    let mut caller = node.wire();
    caller.send(&["RG.TRIGGER", "t"]);
    await_reply(node, "GET begun", "\"1\"");
    let (id, status, _) = executions(node).remove(0);
    assert_eq!((&*status, &*results(node, &id)), ("running", "-execution is still running"));
    let mut waits = Wire::connect_with_timeout(node.port(), PATIENCE);
    waits.send(&["RG.GETRESULTSBLOCKING", &id]);
    assert!(!waits.answers_within(std::time::Duration::from_millis(1)));
    node.reply("SET go 1");
    assert_eq!(show(&waits.read_frame()), r#"[["None"], []]"#);
    assert_eq!(results(node, &id), r#"[["None"], []]"#);
}

#[test]
fn events_that_were_taken_and_not_begun_are_aborted_with_the_registration() {
    let servers = Servers::single();
    let node = servers.first();
    note(&servers, "r['key']", "prefix='other*', mode='async_local'");
    servers.ok(&format!("{HELD}GB().foreach(held).register(prefix='k*', mode='async_local', readValue=False)"));
    // All in one transaction: they are taken together.
    let mut wire = node.wire();
    wire.reply("MULTI");
    (0..50).for_each(|number| drop(wire.reply(&format!("SET k{number} v"))));
    wire.reply("EXEC");
    eventually(PATIENCE, "the first has begun", || node.reply("EXISTS begun") == "1");
    let id = Shown::of(node, 1).id;
    assert_eq!(node.reply(&format!("RG.UNREGISTER {id} ABORTPENDING")), "+OK");
    node.reply("SET go 1");
    // Events that were begun come to their end, and nothing else begins.
    eventually(PATIENCE, "what was begun has ended", || {
        let (begun, ended) = (node.reply("GET begun"), node.reply("GET ended"));
        begun == ended
    });
    node.reply("SET other v");
    settled(node, 0);
    let begun: u64 = node.reply("GET begun").trim_matches('"').parse().unwrap();
    // Three run side by side. On a busy machine some more begin before the process has read that it is over.
    assert!(begun < 25, "{begun} of 50 have begun");
    assert_eq!(node.reply("GET ended"), format!("\"{begun}\""));
}

#[test]
fn a_batch_that_was_not_begun_is_aborted_by_a_pause_that_says_so_and_read_again_after_it() {
    let servers = Servers::single();
    let node = servers.first();
    servers.ok("import time, os
def on_registered():
    again = execute('INCR', 'lives') > 1
    while again and not execute('EXISTS', 'live'):
        time.sleep(0.01)
GB('StreamReader').foreach(lambda r: execute('RPUSH', 'log', r['value']['f'])).register(prefix='s', mode='async_local', onRegistered=on_registered)
GB('CommandReader').map(lambda x: os._exit(3)).register(trigger='end', mode='async_local')");
    // The next process does not come to life for now.
    node.reply("RG.TRIGGER end");
    node.reply("XADD s * f 1");
    eventually(PATIENCE, "the entry is read", || Shown::of(node, 0).counts().triggered == 1);
    let id = Shown::of(node, 0).id;
    assert_eq!(node.reply(&format!("RG.PAUSEREGISTRATIONS ABORTPENDING {id}")), "+OK");
    eventually(PATIENCE, "it is aborted", || Shown::of(node, 0).counts().aborted == 1);
    assert_eq!(Shown::of(node, 0).field("status"), "\"PAUSED\"");
    assert_eq!(node.reply("EXISTS log"), "0");
    node.reply("SET live 1");
    assert_eq!(node.reply(&format!("RG.UNPAUSEREGISTRATIONS {id}")), "+OK");
    await_reply(node, "LRANGE log 0 -1", r#"["1"]"#);
    assert_eq!(settled(node, 0), Counts { triggered: 2, succeeded: 1, failed: 0, aborted: 1 });
}
