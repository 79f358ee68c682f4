//! Complaints of users of RedisGears, by the number of the thread (of RedisGears/RedisGears unless another one is named), each
//! with the test that shows that it is not so here. Those without a test elsewhere are below.
//!
//! | thread | complaint | test |
//! |---|---|---|
//! | 144, 173, 331, 542, 789 | code of users ends the server | `attacks`, `endings::processes_that_end_in_a_step`, `keys_ends::the_end_of_a_process_is_an_error_of_its_event_and_others_run` |
//! | 283 | a package that cannot be had ends the server | `requirements::what_cannot_be_had` |
//! | 817, 825 | a look at the cluster ends the server | `topology` |
//! | 474, 154 | events pile up in memory | `keys_ends::events_beyond_the_limit_are_dropped_and_counted`, `a_function_that_causes_its_own_events_leaves_room_for_clients` |
//! | 389 | memory grows with each script | `memory::memory_is_flat`, `soak` |
//! | 545 | a miss in a client that may not wait ends the server | below; `words::where_no_client_may_block` |
//! | 94 | what runs is forgotten | `executions::what_runs_is_forgotten_only_when_it_has_ended` |
//! | 494 | who runs long is not seen | `slow::whoever_waited_is_gone`, `keys_ends::an_event_that_runs_is_an_execution_that_can_be_aborted` |
//! | 795, 792, 787 | a stream that is not trimmed, or capped, fires without end | below; `streams::entries_go_when_they_were_worked_on_unless_they_are_to_stay` |
//! | 380 | two registrations share the entries of a stream | `streams::two_registrations_of_one_stream_both_see_all` |
//! | 221 | entries go that should stay | `streams::entries_go_when_they_were_worked_on_unless_they_are_to_stay` |
//! | 1000 | entries stay on the replica | below |
//! | 460 | `eventTypes=['get']` never fires | `keys::types_of_events_and_of_keys_are_chosen`; the page about events says which ones there are |
//! | 651 | a key that is missed fires on some servers only | `keys::each_change_of_each_key_is_one_event` |
//! | 103 | wanted: keys that expire | `keys::keys_that_expire_or_are_evicted_have_no_values` |
//! | 236, 290, 238 | no values of sets, sorted sets, streams | `keys::records_have_the_values_of_every_type`: as it was; read them by `execute()` |
//! | 499 | bytes come as `b'...'` | `conversions`, `triggers_modes::results_are_converted_as_replies_are` |
//! | 48 | values end at a byte 0 | `triggers_modes::arguments_and_results_are_safe_for_all_bytes`, `keys::records_have_the_values_of_every_type` |
//! | 405, 822 | others wait for too long or not long enough | `lifetimes::an_execution_waits_for_other_shards_for_its_idle_time` |
//! | 1082 | nodes do not know their cluster | `topology::no_shard_has_to_be_told` |
//! | 100, PR 434 | a shard dies | `shards::a_shard_that_dies_is_named` |
//! | 1094, redisgears-py 53 | `Operation not permitted` | `runtime::keys_of_other_shards`, `introduction::writing_data_of_another_shard_is_not_permitted` |
//! | 536 | calls are not redirected by a key | `triggers::a_call_with_a_key_goes_where_the_key_is` |
//! | 619 | hooked commands are not redirected | `hooks::hooked_commands_are_redirected_as_ever_and_replicas_get_what_was_written` |
//! | 764 | sessions slow each other down | `sessions::sessions_do_not_wait_for_each_other` |
//! | 396 | commands in threads | `runtime::threads_of_a_script`, `nobody_comes_between_the_commands_of_a_block` |
//! | 586 | not in the slow log | below; `slow::scripts_are_in_the_slow_log` |
//! | 537, 793, 782 | a package under two spellings | `requirements::what_is_there_already`, `from_a_folder_of_wheels` |
//! | redisgears-py 44, 45, 51 | clients need an old Python | `clients` |
//! | 644 | wanted: keys of modules | below |
//! | 646 | the commands are not there without a plugin | `configuration::plugins_are_accepted_and_ignored` |
//! | 42 | a command without arguments hangs | `others::numbers_of_arguments` |

use super::{Counts, PATIENCE, Shown, await_reply, list, note, settled};
use crate::common::{Server, eventually};
use crate::servers::{Servers, server};

/// 545: the client goes on with what the command itself has replied.
#[test]
fn a_miss_of_a_client_that_may_not_wait() {
    for mode in ["async_local", "async"] {
        let servers = Servers::single();
        let node = servers.first();
        servers.ok(&format!(
            "def load(r):
    execute('SET', r['key'], 'loaded')
    override_reply('loaded now')
GB().foreach(load).register(prefix='c:*', eventTypes=['keymiss'], commands=['get'], mode='{mode}')"
        ));
        let mut wire = node.wire();
        for line in ["MULTI", "GET c:1", "PING"] {
            wire.reply(line);
        }
        assert_eq!(wire.reply("EXEC"), "[nil, +PONG]", "{mode}");
        assert_eq!(settled(node, 0), Counts { triggered: 1, succeeded: 0, failed: 1, aborted: 0 }, "{mode}");
        assert_eq!(node.reply("GET c:1"), r#""loaded""#, "{mode}");
        assert_eq!(wire.reply_to(&["EVAL", "return redis.call('GET', 'c:2')", "0"]), "nil", "{mode}");
        settled(node, 0);
        assert_eq!(node.reply("GET c:2"), r#""loaded""#, "{mode}");
        assert_eq!(node.reply("GET c:3"), r#""loaded now""#, "{mode}");
        // The answers of the first two to their clients come too late.
        assert_eq!(settled(node, 0), Counts { triggered: 3, succeeded: 1, failed: 2, aborted: 0 }, "{mode}");
    }
}

/// 795, 792, 787: looked at each entry once, whether the stream is capped, trimmed by hand, or kept.
#[test]
fn a_stream_that_is_capped_does_not_fire_without_end() {
    let servers = Servers::single();
    let node = servers.first();
    for trims in ["True", "False"] {
        servers.ok(&format!(
            "GB('StreamReader').foreach(lambda r: execute('RPUSH', 'seen{trims}', r['id'])).register('s', batch=2, duration=10, trimStream={trims}, mode='async_local')"
        ));
    }
    let mut wire = node.wire();
    for id in 1..=60 {
        wire.reply(&format!("XADD s MAXLEN 3 {id}-1 f v"));
    }
    wire.reply("XTRIM s MAXLEN 1");
    wire.reply("XADD s 61-1 f v");
    for key in ["seenTrue", "seenFalse"] {
        eventually(PATIENCE, "the last one is seen", || list(node, key).last().is_some_and(|id| id == "61-1"));
        let seen = list(node, key);
        let numbers: Vec<u32> = seen.iter().filter_map(|id| id.strip_suffix("-1")?.parse().ok()).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "each at most once, in order: {seen:?}");
    }
    let counts = [0, 1].map(|place| settled(node, place));
    for counts in counts {
        assert!(counts.triggered <= 62, "{counts:?}");
    }
    // Nobody looks again: others are served, and no batch is counted.
    let reads = |node: &Server| node.calls_of("xreadgroup");
    let before = reads(node);
    servers.ok("GB().register('other', mode='async_local')");
    for round in 0..100 {
        node.reply(&format!("SET other {round}"));
    }
    assert_eq!(settled(node, 2), Counts::of_successes(100));
    assert_eq!((reads(node), [0, 1].map(|place| settled(node, place))), (before, counts));
}

/// 1000: entries go on the replica as they do on the primary, whatever the mode is.
#[test]
fn entries_that_are_worked_on_go_on_replicas_too() {
    let node = server().start();
    let replica = server().config("replicaof", format!("127.0.0.1 {}", node.port())).start();
    let servers = Servers::of(node);
    let node = servers.first();
    let mut modes = vec!["async", "async_local"];
    if node.redis_version() >= (7, 2) {
        modes.push("sync");
    }
    for mode in &modes {
        servers.ok(&format!(
            "GB('StreamReader').foreach(lambda r: execute('INCR', 'n{mode}')).register('s:{mode}', mode='{mode}')"
        ));
    }
    eventually(PATIENCE, "the replica is there", || replica.reply("RG.DUMPREGISTRATIONS").contains("s:async"));
    let mut wire = node.wire();
    for id in 1..=40 {
        for mode in &modes {
            wire.reply(&format!("XADD s:{mode} {id}-1 f v"));
        }
    }
    for mode in &modes {
        for server in [node, &replica] {
            await_reply(server, &format!("GET n{mode}"), "\"40\"");
            await_reply(server, &format!("XLEN s:{mode}"), "0");
            let pending = format!("XPENDING s:{mode} __gears_consumer_group__");
            await_reply(server, &pending, "[0, nil, nil, nil]");
        }
    }
}

/// 644: the key of a timer is one.
#[test]
fn keys_of_modules_have_events() {
    let servers = Servers::single();
    let node = servers.first();
    note(&servers, "repr(r)", "'t*', keyTypes=['module'], mode='async_local'");
    servers.ok("registerTE(3600, lambda: 1, 'x')");
    assert_eq!(node.reply("RENAME x t1"), "+OK");
    assert_eq!(node.reply("EXPIRE t1 1000"), "1");
    assert_eq!(settled(node, 0), Counts::of_successes(2));
    let record = |event| format!("{{'key': 't1', 'value': None, 'type': 'module', 'event': '{event}'}}");
    let mut logged = list(node, "log");
    logged.sort_unstable();
    assert_eq!(logged, [record("expire"), record("rename_to")], "in any order: each event is an execution of its own");
}

/// 586: a call that takes its time is in the slow log, whoever has worked on it.
#[test]
fn slow_calls_are_in_the_slow_log() {
    let servers = Servers::single();
    let node = servers.first();
    for mode in ["async", "async_local", "sync"] {
        servers.ok(&format!(
            "import time\nGB('CommandReader').map(lambda x: time.sleep(0.05)).register(trigger='{mode}', mode='{mode}')"
        ));
        node.run::<()>(&["SLOWLOG", "RESET"]);
        assert_eq!(node.reply(&format!("RG.TRIGGER {mode}")), r#"["None"]"#);
        let slow = node.reply("SLOWLOG GET -1");
        assert!(slow.contains(&format!("[\"RG.TRIGGER\", \"{mode}\"]")), "{mode}: {slow}");
        assert_eq!(Shown::of(node, 0).field("lastError"), "nil");
    }
}
