//! Streams whose batches fail: what is tried again, given up, or kept for somebody to look at.

use super::{Counts, PATIENCE, Shown, await_reply, list, settled};
use crate::common::eventually;
use crate::servers::Servers;

/// A function that fails until the key `good` is there.
const FAILS: &str = "
def f(r):
    execute('INCR', 'tries')
    if not execute('EXISTS', 'good'):
        raise Exception('not yet')
    execute('RPUSH', 'log', r['id'])
";

#[test]
fn a_batch_that_fails_is_acknowledged_unless_something_else_is_said() {
    let servers = Servers::single();
    let node = servers.first();
    servers.ok(&format!("{FAILS}GB('StreamReader').foreach(f).register('s', mode='async_local')"));
    node.reply("XADD s 1-1 f v");
    eventually(PATIENCE, "it has failed", || Shown::of(node, 0).counts().failed == 1);
    await_reply(node, "XLEN s", "0");
    assert_eq!(settled(node, 0), Counts { triggered: 2, succeeded: 1, failed: 1, aborted: 0 });
    assert_eq!(node.reply("GET tries"), r#""1""#);
}

#[test]
fn a_batch_is_tried_again_until_it_succeeds_and_later_entries_wait() {
    let servers = Servers::single();
    let node = servers.first();
    servers.ok(&format!("{FAILS}GB('StreamReader').foreach(f).register('s', mode='async_local', onFailedPolicy='retry', onFailedRetryInterval=1)"));
    node.reply("XADD s 1-1 f v");
    node.reply("XADD s 2-1 f v");
    eventually(PATIENCE, "it waits for the next try", || {
        Shown::of(node, 0).field("status") == "\"WAITING_FOR_RETRY_ON_FAILURE\""
    });
    assert_eq!(node.reply("XLEN s"), "2");
    node.reply("SET good 1");
    await_reply(node, "LLEN log", "2");
    assert_eq!(list(node, "log"), ["1-1", "2-1"]);
    await_reply(node, "XLEN s", "0");
    assert_eq!(Shown::of(node, 0).field("status"), "\"OK\"");
}

#[test]
fn entries_that_fail_too_often_are_kept_as_dead_letters() {
    let servers = Servers::single();
    let node = servers.first();
    node.reply("CONFIG SET rmr.stream-max-retries 1");
    servers.ok(&format!("{FAILS}GB('StreamReader').foreach(f).register('s', mode='async_local', onFailedPolicy='retry', onFailedRetryInterval=1)"));
    let id = Shown::of(node, 0).id;
    node.reply("XADD s 1-1 name value");
    await_reply(node, &format!("XLEN rmr:dead:{id}"), "1");
    let letter = node.reply(&format!("XRANGE rmr:dead:{id} - +"));
    for part in [r#""stream", "s""#, r#""id", "1-1""#, r#""name", "value""#, "not yet"] {
        assert!(letter.contains(part), "{letter}");
    }
    await_reply(node, "XLEN s", "0");
    assert_eq!(node.reply("GET tries"), r#""2""#);
    // The next ones have their turn.
    node.reply("SET good 1");
    node.reply("XADD s 2-1 name value");
    await_reply(node, "LLEN log", "1");
}

#[test]
fn a_registration_that_stops_at_a_failure_goes_on_when_told_to() {
    let servers = Servers::single();
    let node = servers.first();
    servers
        .ok(&format!("{FAILS}GB('StreamReader').foreach(f).register('s', mode='async_local', onFailedPolicy='abort')"));
    node.reply("XADD s 1-1 f v");
    eventually(PATIENCE, "it has stopped", || Shown::of(node, 0).field("status") == "\"ABORTED\"");
    node.reply("XADD s 2-1 f v");
    assert_eq!(node.reply("XLEN s"), "2");
    node.reply("SET good 1");
    let id = Shown::of(node, 0).id;
    assert_eq!(node.reply(&format!("RG.UNPAUSEREGISTRATIONS {id}")), "+OK");
    await_reply(node, "LLEN log", "2");
    assert_eq!(list(node, "log"), ["1-1", "2-1"]);
}

#[test]
fn a_registration_pauses_and_goes_on() {
    let servers = Servers::single();
    let node = servers.first();
    node.reply("SET good 1");
    servers.ok(&format!("{FAILS}GB('StreamReader').foreach(f).register('s', mode='async_local')"));
    let id = Shown::of(node, 0).id;
    node.reply("XADD s 1-1 f v");
    await_reply(node, "LLEN log", "1");
    assert_eq!(node.reply(&format!("RG.PAUSEREGISTRATIONS {id}")), "+OK");
    assert_eq!(Shown::of(node, 0).field("status"), "\"PAUSED\"");
    node.reply("XADD s 2-1 f v");
    node.reply("XADD s 3-1 f v");
    assert_eq!(node.reply(&format!("RG.UNPAUSEREGISTRATIONS {id}")), "+OK");
    await_reply(node, "LLEN log", "3");
    assert_eq!(list(node, "log"), ["1-1", "2-1", "3-1"]);
    servers.ok("GB().register('k', mode='async_local')");
    let other = Shown::of(node, 1).id;
    let refused = node.reply(&format!("RG.PAUSEREGISTRATIONS {other}"));
    assert!(refused.contains("Reader KeysReader does not support pause"), "{refused}");
}

#[test]
fn entries_whose_process_is_killed_are_worked_on_again() {
    let servers = Servers::single();
    let node = servers.first();
    servers.ok("import os
def f(r):
    if execute('INCR', 'tries') in (2, 5):
        os.kill(os.getpid(), 9)
    execute('SADD', 'seen', r['id'])
GB('StreamReader').foreach(f).register('s', mode='async_local', batch=2, duration=10)");
    for id in 1..=8 {
        node.reply(&format!("XADD s {id}-1 f v"));
    }
    await_reply(node, "SCARD seen", "8");
    await_reply(node, "XLEN s", "0");
}
