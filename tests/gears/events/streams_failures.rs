//! Entries of streams whose function fails, whose process ends, or that are not to be read for a while: none is lost.

use super::{Counts, PATIENCE, Shown, await_reply, list, settled};
use crate::common::{Server, eventually, slot_of};
use crate::servers::{Servers, cluster};

/// A function that notes the ids that it is given, and fails as long as there is a key `fails`.
const FAILS: &str = "
def f(r):
    execute('RPUSH', 'tried', r['id'])
    if execute('EXISTS', 'fails'):
        raise Exception('it fails')
    execute('RPUSH', 'done', r['id'])
GB('StreamReader').foreach(f).register('s', mode='async_local'";

fn failing(arguments: &str) -> Servers {
    let servers = Servers::single();
    servers.ok(&format!("{FAILS}{arguments})"));
    servers
}

fn await_status(node: &Server, expected: &str) {
    eventually(PATIENCE, &format!("the status is {expected}"), || {
        Shown::of(node, 0).field("status").trim_matches('"') == expected
    });
}

fn add(node: &Server, ids: &[u32]) {
    ids.iter().for_each(|id| assert_eq!(node.reply(&format!("XADD s {id}-1 f v")), format!("\"{id}-1\"")));
}

#[test]
fn failures_do_not_keep_the_next_entries_waiting() {
    let servers = failing("");
    let node = servers.first();
    node.reply("SET fails 1");
    add(node, &[1, 2]);
    await_reply(node, "LRANGE tried 0 -1", r#"["1-1", "2-1"]"#);
    assert_eq!(settled(node, 0), Counts { triggered: 3, succeeded: 1, failed: 2, aborted: 0 });
    assert!(Shown::of(node, 0).field("lastError").contains("it fails"));
    await_reply(node, "XLEN s", "0");
    node.reply("DEL fails");
    add(node, &[3]);
    await_reply(node, "LRANGE done 0 -1", r#"["3-1"]"#);
    settled(node, 0);
    assert_eq!(Shown::of(node, 0).field("lastError"), "nil");
}

#[test]
fn a_batch_that_has_failed_is_tried_again_with_growing_pauses() {
    let servers = failing(", onFailedPolicy='RETRY', onFailedRetryInterval=0, batch=2");
    let node = servers.first();
    node.reply("SET fails 1");
    servers.ok("import time
def clock(r):
    execute('RPUSH', 'times', int(time.time() * 1000))
GB().foreach(clock).register('tried', eventTypes=['rpush'], mode='async_local')");
    add(node, &[1, 2, 3, 4]);
    await_status(node, "WAITING_FOR_RETRY_ON_FAILURE");
    eventually(PATIENCE, "it was tried four times", || list(node, "times").len() >= 4);
    let times: Vec<u64> = list(node, "times").iter().map(|time| time.parse().expect("a number")).collect();
    let pauses: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // 100, 200 and 400 ms, as seen by a function that may be a little late.
    assert!(pauses.iter().sum::<u64>() >= 650 && pauses[2] > pauses[0], "{pauses:?}");
    assert_eq!(node.reply("EXISTS done"), "0");
    assert_eq!(node.reply("XLEN s"), "4");
    node.reply("DEL fails");
    await_reply(node, "LRANGE done 0 -1", r#"["1-1", "2-1", "3-1", "4-1"]"#);
    await_status(node, "OK");
    let tried = list(node, "tried");
    let first = tried.iter().filter(|id| *id == "1-1").count();
    assert_eq!(&tried[first..], ["2-1", "3-1", "4-1"], "the same batch first: {tried:?}");
    let counts = settled(node, 0);
    assert_eq!((counts.failed, counts.succeeded), (first as u64 - 1, 3));
    await_reply(node, "XLEN s", "0");
}

#[test]
fn what_fails_too_often_goes_to_the_dead_letters() {
    let servers = failing(", onFailedPolicy='retry', onFailedRetryInterval=0");
    let node = servers.first();
    assert_eq!(node.reply("CONFIG SET rmr.stream-max-retries 2"), "+OK");
    node.reply("SET fails 1");
    add(node, &[1]);
    let dead = format!("rmr:dead:{}", Shown::of(node, 0).id);
    await_reply(node, &format!("XLEN {dead}"), "1");
    await_status(node, "OK");
    assert_eq!(node.reply("LRANGE tried 0 -1"), r#"["1-1", "1-1", "1-1"]"#);
    let entry = node.reply(&format!("XRANGE {dead} - +"));
    assert!(entry.contains(r#"["stream", "s", "id", "1-1", "error", "#) && entry.contains("it fails"), "{entry}");
    assert!(entry.ends_with(r#""f", "v"]]]"#), "{entry}");
    await_reply(node, "XLEN s", "0");
    node.reply("DEL fails");
    add(node, &[2]);
    await_reply(node, "LRANGE done 0 -1", r#"["2-1"]"#);
    assert_eq!(settled(node, 0), Counts { triggered: 5, succeeded: 2, failed: 3, aborted: 0 });
    assert_eq!(node.reply(&format!("XLEN {dead}")), "1");
}

#[test]
fn a_registration_that_was_aborted_goes_on_when_it_is_told() {
    let servers = failing(", onFailedPolicy='abort'");
    let node = servers.first();
    let id = Shown::of(node, 0).id;
    node.reply("SET fails 1");
    add(node, &[1, 2]);
    await_status(node, "ABORTED");
    assert_eq!(node.reply("LRANGE tried 0 -1"), r#"["1-1"]"#);
    assert_eq!(settled(node, 0), Counts { triggered: 2, succeeded: 1, failed: 1, aborted: 0 });
    add(node, &[3]);
    node.reply("DEL fails");
    assert_eq!(node.reply(&format!("RG.UNPAUSEREGISTRATIONS {id}")), "+OK");
    await_reply(node, "LRANGE done 0 -1", r#"["1-1", "2-1", "3-1"]"#);
    await_status(node, "OK");
    await_reply(node, "XLEN s", "0");
}

#[test]
fn a_registration_pauses_and_goes_on() {
    let servers = failing("");
    let node = servers.first();
    let id = Shown::of(node, 0).id;
    add(node, &[1]);
    await_reply(node, "LRANGE done 0 -1", r#"["1-1"]"#);
    settled(node, 0);
    assert_eq!(node.reply(&format!("RG.PAUSEREGISTRATIONS {id}")), "+OK");
    await_status(node, "PAUSED");
    add(node, &[2, 3]);
    let before = settled(node, 0);
    // Another one is woken by the same entries, and works on them: this one could have.
    servers.ok(
        "GB('StreamReader').foreach(lambda r: execute('RPUSH', 'other', r['id'])).register('s', mode='async_local')",
    );
    await_reply(node, "LRANGE other 0 -1", r#"["2-1", "3-1"]"#);
    assert_eq!((settled(node, 0), node.reply("LRANGE done 0 -1")), (before, r#"["1-1"]"#.to_owned()));
    assert_eq!(node.reply("XLEN s"), "2");
    assert_eq!(node.reply(&format!("RG.UNPAUSEREGISTRATIONS {id}")), "+OK");
    await_reply(node, "LRANGE done 0 -1", r#"["1-1", "2-1", "3-1"]"#);
    await_status(node, "OK");
    await_reply(node, "XLEN s", "0");
}

#[test]
fn a_function_pauses_its_own_registration() {
    let servers = Servers::single();
    let node = servers.first();
    servers.ok("def f(r):
    if execute('EXISTS', 'fails'):
        flat_error('PAUSE I have had enough')
    execute('RPUSH', 'done', r['id'])
GB('StreamReader').foreach(f).register('s', mode='async_local')");
    node.reply("SET fails 1");
    add(node, &[1, 2]);
    await_status(node, "PAUSED");
    assert_eq!(settled(node, 0), Counts { triggered: 2, succeeded: 1, failed: 1, aborted: 0 });
    node.reply("DEL fails");
    assert_eq!(node.reply(&format!("RG.UNPAUSEREGISTRATIONS {}", Shown::of(node, 0).id)), "+OK");
    await_reply(node, "LRANGE done 0 -1", r#"["1-1", "2-1"]"#);
}

#[test]
fn only_registrations_of_streams_that_are_there_can_be_paused() {
    let servers = Servers::single();
    let node = servers.first();
    servers.ok("GB().register('k*', mode='async_local')\nGB('StreamReader').register('s', mode='async_local')");
    let (keys, stream) = (Shown::of(node, 0).id, Shown::of(node, 1).id);
    let refused = node.reply(&format!("RG.PAUSEREGISTRATIONS {keys}"));
    assert!(refused.contains("Reader KeysReader does not support pause"), "{refused}");
    let refused = node.reply(&format!("RG.UNPAUSEREGISTRATIONS {keys}"));
    assert!(refused.contains("Reader KeysReader does not support unpause"), "{refused}");
    let refused = node.reply(&format!("RG.PAUSEREGISTRATIONS {stream} 0-0"));
    assert!(refused.contains("0-0 does not exists on shard"), "{refused}");
    assert_eq!(Shown::of(node, 1).field("status"), "\"OK\"", "all or none");
    assert_eq!(node.reply("RG.PAUSEREGISTRATIONS ABORTPENDING"), "-ERR no registration to pause");
    assert_eq!(node.reply(&format!("RG.PAUSEREGISTRATIONS ABORTPENDING {stream}")), "+OK");
    assert_eq!(Shown::of(node, 1).field("status"), "\"PAUSED\"");
}

#[test]
fn nothing_is_lost_with_a_process_that_is_killed() {
    let servers = Servers::single();
    let node = servers.first();
    servers.ok("import os
def f(r):
    execute('RPUSH', 'tried', r['id'])
    while execute('EXISTS', 'hold'):
        execute('SET', 'pid', os.getpid())
    execute('RPUSH', 'done', r['id'])
GB('StreamReader').foreach(f).register('s', mode='async_local')");
    node.reply("SET hold 1");
    add(node, &[1, 2, 3]);
    eventually(PATIENCE, "it runs", || node.reply("EXISTS pid") == "1");
    let pid = node.reply("GET pid").trim_matches('"').to_owned();
    let killed = std::process::Command::new("kill").args(["-9", &pid]).status().expect("kill can be run");
    assert!(killed.success());
    eventually(PATIENCE, "it is tried again", || list(node, "tried").iter().filter(|id| *id == "1-1").count() >= 2);
    node.reply("DEL hold");
    eventually(PATIENCE, "all are done", || list(node, "done").last().is_some_and(|id| id == "3-1"));
    let mut done = list(node, "done");
    done.dedup();
    assert_eq!(done, ["1-1", "2-1", "3-1"], "in order, each at least once");
    await_reply(node, "XLEN s", "0");
    let counts = settled(node, 0);
    assert_eq!((counts.failed, counts.succeeded), (1, 4), "what comes to nothing is the first look");
}

/// A user who may not read a stream for a while finds the entries that came meanwhile, though nothing comes any more.
#[test]
fn a_stream_that_was_refused_is_read_again() {
    let servers = Servers::single();
    let node = servers.first();
    let mut modes = vec!["async_local"];
    if node.redis_version() >= (7, 2) {
        modes.push("sync");
    }
    assert_eq!(node.reply("ACL SETUSER maker on nopass ~* &* +@all"), "+OK");
    let mut wire = node.wire();
    assert_eq!(wire.reply("AUTH maker x"), "+OK");
    for (place, mode) in modes.iter().enumerate() {
        let script = format!(
            "GB('StreamReader').foreach(lambda r: execute('RPUSH', 'done:{mode}', r['id'])).register('{mode}', mode='{mode}')"
        );
        assert_eq!(wire.reply_to(&["RG.PYEXECUTE", &script]), "+OK");
        assert_eq!(node.reply("ACL SETUSER maker resetkeys"), "+OK");
        assert_eq!(node.reply(&format!("XADD {mode} 1-1 f v")), "\"1-1\"");
        eventually(PATIENCE, "it is refused", || Shown::of(node, place).field("lastError").contains("may not read"));
        assert_eq!(node.reply("ACL SETUSER maker ~*"), "+OK");
        await_reply(node, &format!("LRANGE done:{mode} 0 -1"), r#"["1-1"]"#);
        await_reply(node, &format!("XLEN {mode}"), "0");
    }
}

/// A node that has come back is not served by the cluster for a while, and nobody adds an entry after that.
#[test]
fn a_stream_is_read_again_when_the_cluster_is_up_again() {
    let servers = Servers::of_cluster(cluster().config("appendonly", "yes").start());
    servers.ok("import time
def f(r):
    execute('RPUSH', 'begun:{%s}' % hashtag(), r['id'])
    time.sleep(1)
    execute('RPUSH', 'done:{%s}' % hashtag(), r['id'])
GB('StreamReader').foreach(f).register('s:*', mode='async_local')");
    let cluster = servers.as_cluster();
    let stream = "s:1";
    let node = cluster.node(cluster.owner_of(slot_of(stream)));
    let count = |name: &str| servers.first().reply(&format!("RMR.MAP SUM MATCH {name}:* LLEN {{}}"));
    for round in 1..=3 {
        assert_eq!(node.reply(&format!("XADD {stream} {round}-1 f v")), format!("\"{round}-1\""));
        eventually(PATIENCE, "it has begun", || node.reply("KEYS begun:*") != "[]");
        node.restart();
        cluster.settle();
        eventually(PATIENCE, "the entry is done", || count("done") == round.to_string());
        await_reply(node, &format!("XLEN {stream}"), "0");
    }
}

/// Entries that come while there is no process wait for the next one, also those for which the server waits.
#[test]
fn entries_wait_for_a_process() {
    let servers = Servers::single();
    let node = servers.first();
    if node.redis_version() < (7, 2) {
        return;
    }
    servers.ok("import os
GB('StreamReader').foreach(lambda r: execute('RPUSH', 'done', r['id'])).register('s', mode='sync')
GB('CommandReader').foreach(lambda r: os.kill(os.getpid(), 9)).register(trigger='crash', mode='async_local')");
    for round in 1..=5 {
        let reply = node.reply("RG.TRIGGER crash");
        assert!(reply.starts_with('-'), "{reply}");
        add(node, &[round]);
        await_reply(node, "LLEN done", &round.to_string());
    }
    assert_eq!(list(node, "done"), ["1-1", "2-1", "3-1", "4-1", "5-1"]);
    let counts = settled(node, 0);
    assert_eq!((counts.failed, counts.triggered), (0, counts.succeeded), "{counts:?}");
}

/// An entry that ends its process is not given to the next one, where the server waits for the function.
#[test]
fn an_entry_that_ends_the_process_is_passed_over_where_the_server_waits() {
    let servers = Servers::single();
    let node = servers.first();
    if node.redis_version() < (7, 2) {
        return;
    }
    servers.ok("import os
def f(r):
    if r['id'] == '1-1':
        os._exit(7)
    execute('RPUSH', 'done', r['id'])
GB('StreamReader').foreach(f).register('s', mode='sync')");
    add(node, &[1, 2]);
    await_reply(node, "LRANGE done 0 -1", r#"["2-1"]"#);
    await_reply(node, "XLEN s", "0");
    assert_eq!(settled(node, 0), Counts { triggered: 2, succeeded: 1, failed: 1, aborted: 0 });
}
