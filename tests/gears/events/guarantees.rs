//! The table "What you can rely on" of `docs/explanation/functions.md`, row by row: the test of each promise, of `sync` on
//! keys, of `async` and `async_local` on keys, of streams, and of triggers and hooks. Those without a test elsewhere are below.
//!
//! | row | `sync` | `async` | streams | triggers, hooks |
//! |---|---|---|---|---|
//! | how often an event runs | `sync::effects_follow_their_cause_in_one_transaction_and_the_reply_comes_after_them` | `keys::each_change_of_each_key_is_one_event` | `streams_failures::nothing_is_lost_with_a_process_that_is_killed` | `triggers_modes` |
//! | in which order | the same | below | `streams::two_registrations_of_one_stream_both_see_all` | `triggers_order::calls_in_order_run_one_after_the_other` |
//! | what of the value | the same | `keys::functions_run_after_the_whole_of_a_transaction` | `streams::records_have_the_id_the_fields_and_the_stream` | `triggers_modes::arguments_and_results_are_safe_for_all_bytes` |
//! | writes of the function | the same | `complaints::entries_that_are_worked_on_go_on_replicas_too` | the same | `triggers_order::what_a_call_for_which_the_server_waits_writes_is_one_transaction` |
//! | after an error | `sync::a_function_that_takes_too_long_is_ended_and_the_command_goes_through` | `keys_ends::counts_are_exact_and_the_last_error_goes_with_the_next_success` | `streams_failures` | `triggers_modes::an_error_is_the_whole_reply_and_counted` |
//! | the Python process ends | below | `keys_ends::the_end_of_a_process_is_an_error_of_its_event_and_others_run` | `streams_failures::nothing_is_lost_with_a_process_that_is_killed` | `triggers_order::a_process_that_ends_is_begun_anew` |
//! | the server ends | below | below | below | below |
//! | a replica is promoted | below | below | below | below |
//! | too many wait | nobody waits | `keys_ends::events_beyond_the_limit_are_dropped_and_counted` | below, where entries wait | `triggers_order::calls_beyond_the_limit_are_refused` |

use super::{Counts, HELD, PATIENCE, Shown, await_reply, list, note, settled};
use crate::common::{Server, Wire, eventually, show, slot_of};
use crate::servers::{Servers, call, cluster, server};

/// A function of a stream that notes each id, and stays with an entry while there is a key `hold`.
const NOTES: &str = "
import time
def note(r):
    execute('RPUSH', 'begun', r['id'])
    while execute('EXISTS', 'hold'):
        time.sleep(0.01)
    execute('RPUSH', 'done', r['id'])
GB('StreamReader').foreach(note).register('s', mode='async_local')";

#[track_caller]
fn ok(node: &Server, script: &str) {
    assert_eq!(show(&call(node, &["RG.PYEXECUTE", script])), "+OK", "{script}");
}

/// Starts a server, with these settings, and a replica that has what it has.
fn pair() -> (Server, Server) {
    let node = server().config("repl-diskless-sync-delay", "0").start();
    let replica = server().config("replicaof", format!("127.0.0.1 {}", node.port())).start();
    eventually(PATIENCE, "the replica is there", || {
        replica.reply("INFO replication").contains("master_link_status:up")
    });
    (node, replica)
}

/// Waits until the replica has what its primary has now.
#[track_caller]
fn await_copy(node: &Server, replica: &Server) {
    let sent = node.figure("replication", "master_repl_offset");
    eventually(PATIENCE, "the replica has all", || replica.figure("replication", "slave_repl_offset") >= sent);
}

/// Lets the replica take the place of its primary, which is gone.
#[track_caller]
fn promote(node: &Server, replica: &Server) {
    await_copy(node, replica);
    node.kill();
    assert_eq!(replica.reply("REPLICAOF NO ONE"), "+OK");
}

#[track_caller]
fn add(node: &Server, ids: std::ops::RangeInclusive<u32>) {
    let mut wire = node.wire();
    for id in ids {
        assert_eq!(wire.reply(&format!("XADD s {id}-1 f v")), format!("\"{id}-1\""));
    }
}

/// Returns the numbers of ids that were noted.
fn noted(node: &Server, key: &str) -> Vec<u32> {
    list(node, key).iter().map(|id| id.trim_end_matches("-1").parse().expect("a number")).collect()
}

#[test]
fn streams_go_on_where_the_old_primary_stopped() {
    let (node, replica) = pair();
    ok(&node, NOTES);
    add(&node, 1..=10);
    eventually(PATIENCE, "ten are done", || noted(&node, "done").len() == 10);
    await_reply(&node, "XLEN s", "0");
    node.reply("SET hold 1");
    add(&node, 11..=20);
    eventually(PATIENCE, "one has begun", || noted(&node, "begun").len() == 11);
    await_copy(&node, &replica);
    assert_eq!(Shown::of(&replica, 0).counts(), Counts::of_successes(0), "a replica runs nothing");
    promote(&node, &replica);
    // The entry whose function was under way is worked on again.
    eventually(PATIENCE, "it has begun again", || noted(&replica, "begun").len() == 12);
    assert_eq!(replica.reply("DEL hold"), "1");
    eventually(PATIENCE, "all are done", || noted(&replica, "done").len() == 20);
    assert_eq!(noted(&replica, "done"), (1..=20).collect::<Vec<_>>());
    assert_eq!(noted(&replica, "begun"), (1..=11).chain(11..=20).collect::<Vec<_>>());
    await_reply(&replica, "XLEN s", "0");
    add(&replica, 21..=21);
    eventually(PATIENCE, "and the next one", || noted(&replica, "done").len() == 21);
}

#[test]
fn keys_go_on_from_now() {
    let (node, replica) = pair();
    ok(&node, &format!("{HELD}GB().foreach(held).register('k*', mode='async_local')"));
    for number in 0..10 {
        node.reply(&format!("SET k{number} v"));
    }
    eventually(PATIENCE, "some have begun", || node.reply("EXISTS begun") == "1");
    promote(&node, &replica);
    // Events whose functions had not run are lost; no key that came by replication is an event.
    replica.reply("SET go 1");
    assert_eq!(replica.reply("MGET ended k9"), r#"[nil, "v"]"#);
    assert_eq!(Shown::of(&replica, 0).counts(), Counts::of_successes(0));
    replica.reply("SET k1 v");
    assert_eq!(settled(&replica, 0), Counts::of_successes(1));
    assert_eq!(replica.reply("GET ended"), r#""1""#);
}

#[test]
fn triggers_and_hooks_go_on() {
    let (node, replica) = pair();
    ok(&node, "GB('CommandReader').map(lambda x: execute('INCR', 'n')).register(trigger='t', mode='async_local')
GB('CommandReader').map(lambda x: 'hooked ' + str(call_next(*x[1:]))).register(hook='get', keyprefix='h', mode='sync', convertToStr=False)");
    node.reply("SET h1 v");
    assert_eq!([node.reply("RG.TRIGGER t"), node.reply("GET h1")], [r#"["1"]"#, r#""hooked v""#]);
    promote(&node, &replica);
    assert_eq!([replica.reply("RG.TRIGGER t"), replica.reply("GET h1")], [r#"["2"]"#, r#""hooked v""#]);
}

#[test]
fn functions_for_which_the_server_waits_go_on_with_the_next_command() {
    let (node, replica) = pair();
    if node.redis_version() < (7, 2) {
        return;
    }
    ok(&node, "GB().foreach(lambda r: execute('RPUSH', 'log', r['key'])).register('k*', mode='sync')");
    for number in 0..5 {
        node.reply(&format!("SET k{number} v"));
    }
    promote(&node, &replica);
    let before = ["k0", "k1", "k2", "k3", "k4"];
    assert_eq!(list(&replica, "log"), before, "once, by what the primary has sent");
    // Its process is begun with the promotion, or by the first call.
    eventually(PATIENCE, "it runs", || {
        replica.reply("SET k5 v");
        list(&replica, "log").last().is_some_and(|key| key == "k5")
    });
    let shown = Shown::of(&replica, 0);
    assert_eq!(list(&replica, "log").len() as u64, 5 + shown.counts().succeeded, "{shown:?}");
}

/// The rights are those of a user of that name, on whatever server and after whatever restart.
#[test]
fn rights_go_with_the_registration() {
    let (node, replica) = pair();
    assert_eq!(node.reply("ACL SETUSER maker on nopass ~* &* +@all"), "+OK");
    let mut wire = node.wire();
    assert_eq!(wire.reply("AUTH maker x"), "+OK");
    let script = "GB('CommandReader').map(lambda x: execute('INCR', 'n')).register(trigger='t', mode='async_local')
GB().foreach(lambda r: execute('INCR', 'n')).register('k*', mode='async_local')";
    assert_eq!(wire.reply_to(&["RG.PYEXECUTE", script]), "+OK");
    assert_eq!(node.reply("RG.TRIGGER t"), r#"["1"]"#);
    promote(&node, &replica);
    // Once as a new primary, once after a restart; users are not replicated, nor are they saved here.
    for round in 0..2 {
        let refused = replica.reply("RG.TRIGGER t");
        assert!(refused.starts_with('-') && refused.contains("maker"), "{refused}");
        replica.reply("SET k v");
        let counts = settled(&replica, 1);
        assert_eq!(counts, Counts { triggered: 1, succeeded: 0, failed: 1, aborted: 0 }, "{round}");
        assert!(Shown::of(&replica, 1).field("lastError").contains("maker"));
        assert_eq!(replica.reply("ACL SETUSER maker on nopass ~other &* +@all"), "+OK");
        let refused = replica.reply("RG.TRIGGER t");
        assert!(refused.contains("NOPERM"), "{refused}");
        assert_eq!(replica.reply("ACL SETUSER maker ~*"), "+OK");
        let before = replica.reply("GET n");
        let next = before.trim_matches('"').parse::<u32>().expect("a number") + 1;
        assert_eq!(replica.reply("RG.TRIGGER t"), format!("[\"{next}\"]"));
        replica.run::<()>(&["SAVE"]);
        replica.restart();
        // It was started as a replica.
        assert_eq!(replica.reply("REPLICAOF NO ONE"), "+OK");
    }
}

/// A manual failover, while entries come: none that was acknowledged is lost, and they are worked on in order.
#[test]
fn a_failover_under_traffic_loses_no_entry() {
    let cluster = cluster().shards(3).replicas(1).start();
    let stream = cluster.key_for(0, "s");
    let log = format!("log{{{stream}}}");
    assert_eq!(slot_of(&log), slot_of(&stream));
    ok(
        cluster.node(0),
        &format!(
            "GB('StreamReader').foreach(lambda r: execute('RPUSH', 'log{{%s}}' % r['key'], r['id'])).register('{stream}', batch=5, duration=20, mode='async_local')"
        ),
    );
    let replica = cluster.replicas_of(0).start;
    eventually(PATIENCE, "the replica has it", || cluster.node(replica).reply("RG.DUMPREGISTRATIONS") != "[]");
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let acknowledged = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut acknowledged = Vec::new();
            let mut wire = Wire::connect_with_timeout(cluster.node(1).port(), PATIENCE);
            for id in 1.. {
                let reply = wire.reply_to(&["RMR.EXEC", "XADD", &stream, &format!("{id}-1"), "f", "v"]);
                if !reply.starts_with('-') {
                    acknowledged.push(id);
                }
                if is_over.load(std::sync::atomic::Ordering::Acquire) {
                    break;
                }
            }
            acknowledged
        });
        eventually(PATIENCE, "entries come", || cluster.node(0).reply(&format!("LLEN {log}")).len() > 2);
        cluster.failover(replica);
        let new = cluster.node(replica);
        let before = new.reply(&format!("LLEN {log}"));
        eventually(PATIENCE, "the new primary works", || new.reply(&format!("LLEN {log}")) != before);
        is_over.store(true, std::sync::atomic::Ordering::Release);
        writer.join().expect("the writer ends")
    });
    let new = cluster.node(replica);
    await_reply(new, &format!("XLEN {stream}"), "0");
    let seen: Vec<u32> = noted(new, &log);
    let missing: Vec<&u32> = acknowledged.iter().filter(|id| !seen.contains(id)).collect();
    assert!(missing.is_empty(), "lost: {missing:?}");
    // A batch that was under way comes again, as a whole; else all is in order.
    let steps_back = seen.windows(2).filter(|pair| pair[1] <= pair[0]).count();
    assert!(steps_back <= 1, "{seen:?}");
}

/// The server is killed while functions run, and comes back with what it has saved.
#[test]
fn when_the_server_ends_entries_run_again_and_events_are_lost() {
    let node = server().config("appendonly", "yes").start();
    ok(&node, NOTES);
    ok(&node, &format!("{HELD}GB().foreach(held).register('k*', mode='async_local')\nGB('CommandReader').map(held).register(trigger='t', mode='async_local')")
        .replace("'begun'", "'events'").replace("'ended'", "'events:ended'"));
    node.reply("SET hold 1");
    add(&node, 1..=3);
    node.reply("SET k1 v");
    let mut waits = node.wire();
    waits.send(&["RG.TRIGGER", "t"]);
    eventually(PATIENCE, "all have begun", || noted(&node, "begun").len() == 1 && node.reply("GET events") == "\"2\"");
    node.kill();
    assert!(waits.try_read_frame().is_err(), "who has called sees the end of the connection");
    node.restart();
    eventually(PATIENCE, "the entry has begun again", || noted(&node, "begun").len() == 2);
    node.reply("DEL hold");
    node.reply("SET go 1");
    eventually(PATIENCE, "all entries are done", || noted(&node, "done").len() == 3);
    assert_eq!((noted(&node, "begun"), noted(&node, "done")), (vec![1, 1, 2, 3], vec![1, 2, 3]));
    for place in [1, 2] {
        assert_eq!(Shown::of(&node, place).counts(), Counts::of_successes(0));
    }
    assert_eq!(node.reply("MGET k1 events"), r#"["v", "2"]"#);
    assert_eq!(node.reply("EXISTS events:ended"), "0");
}

/// The server is killed while functions run with their commands: a command and its effect are both there, or neither is.
#[test]
fn when_the_server_ends_a_command_and_its_effect_are_both_there_or_none() {
    let node = server().config("appendonly", "yes").start();
    if node.redis_version() < (7, 2) {
        return;
    }
    ok(
        &node,
        "def f(r):
    execute('SET', 'e' + r['key'], r['value'])
GB().foreach(f).register('k*', mode='sync')",
    );
    for round in 0..3 {
        // Its process is begun after the start; until then the function fails, and the command goes through.
        eventually(PATIENCE, "there is a process", || {
            node.reply("SET k v");
            settled(&node, 0).succeeded > 0
        });
        let port = node.port();
        std::thread::scope(|scope| {
            for writer in 0..3 {
                scope.spawn(move || {
                    let mut wire = Wire::connect_with_timeout(port, PATIENCE);
                    (0..)
                        .map(|number| format!("k{round}:{writer}:{number}"))
                        .all(|key| wire.try_call(&["SET", &key, "v"]).is_ok())
                });
            }
            let goal = settled(&node, 0).succeeded + 100;
            eventually(PATIENCE, "they write", || Shown::of(&node, 0).counts().succeeded > goal);
            node.kill();
        });
        node.restart();
        let count = |pattern: &str| node.reply(&format!("RMR.MAP COUNT MATCH {pattern}"));
        assert_eq!(count("k*"), count("ek*"), "round {round}");
    }
}

#[test]
fn when_a_process_for_which_the_server_waits_ends_the_command_goes_through() {
    let servers = Servers::single();
    let node = servers.first();
    if node.redis_version() < (7, 2) {
        return;
    }
    servers.ok("import os
def f(r):
    execute('INCR', 'n')
    if r['value'] == 'end':
        os._exit(7)
GB().foreach(f).register('k', mode='sync')");
    assert_eq!(node.reply("SET k v"), "+OK");
    assert_eq!(node.reply("SET k end"), "+OK");
    let shown = Shown::of(node, 0);
    assert_eq!(shown.counts(), Counts { triggered: 2, succeeded: 1, failed: 1, aborted: 0 });
    assert_ne!(shown.field("lastError"), "nil");
    assert_eq!(node.reply("MGET k n"), r#"["end", "2"]"#, "what was written stays");
    eventually(PATIENCE, "there is a process again", || {
        assert_eq!(node.reply("SET k v"), "+OK");
        Shown::of(node, 0).field("lastError") == "nil"
    });
}

#[test]
fn entries_wait_in_their_stream() {
    let servers = Servers::single();
    let node = servers.first();
    node.reply("CONFIG SET rmr.max-pending-events 5");
    servers.ok(NOTES);
    node.reply("SET hold 1");
    add(node, 1..=50);
    eventually(PATIENCE, "one has begun", || noted(node, "begun").len() == 1);
    assert_eq!(node.reply("XLEN s"), "50");
    node.reply("DEL hold");
    eventually(PATIENCE, "all are done", || noted(node, "done").len() == 50);
    assert_eq!((noted(node, "done"), node.rmr_figure("registration_events_dropped")), ((1..=50).collect(), 0));
}

/// Several run at a time, and one may overtake another; what comes when all have ended comes after them.
#[test]
fn events_run_after_those_that_have_ended() {
    let servers = Servers::single();
    let node = servers.first();
    note(&servers, "r['key']", "'k*', readValue=False, mode='async_local'");
    let mut wire = node.wire();
    for group in 0..10 {
        (0..5).for_each(|number| assert_eq!(wire.reply(&format!("SET k{group}:{number} v")), "+OK"));
        settled(node, 0);
    }
    let groups: Vec<String> = list(node, "log").iter().map(|key| key[1..2].to_owned()).collect();
    assert_eq!(groups, (0..50).map(|number| (number / 5).to_string()).collect::<Vec<_>>());
}
