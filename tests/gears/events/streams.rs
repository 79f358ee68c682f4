//! Entries of streams: batches, order, groups, and what becomes of entries that were worked on.

use super::{Counts, PATIENCE, Shown, await_reply, list, settled};
use crate::common::{Server, elements, eventually, show, slot_of};
use crate::servers::{Servers, call};

/// Registers at a single server a function that notes the ids of each batch in a list.
#[track_caller]
fn note(servers: &Servers, list: &str, arguments: &str) {
    servers.ok(&format!(
        "GB('StreamReader').map(lambda r: r['id']).accumulate(lambda a, i: (a or []) + [i])\
.foreach(lambda ids: execute('RPUSH', '{list}', ' '.join(ids))).register({arguments})"
    ));
}

#[track_caller]
fn add(node: &Server, stream: &str, ids: &[u32]) {
    let mut wire = node.wire();
    for id in ids {
        assert_eq!(wire.reply(&format!("XADD {stream} {id}-1 f {id}")), format!("\"{id}-1\""));
    }
}

/// Waits until a list has these elements.
#[track_caller]
fn await_list(node: &Server, key: &str, expected: &[&str]) {
    let mut found = Vec::new();
    eventually(PATIENCE, &format!("{key} is {expected:?}"), || {
        found = list(node, key);
        found.len() >= expected.len()
    });
    assert_eq!(found, expected, "{key}");
}

#[test]
fn records_have_the_id_the_fields_and_the_stream() {
    let servers = Servers::single();
    let node = servers.first();
    servers.ok(
        "GB('StreamReader').foreach(lambda r: execute('RPUSH', 'log', repr(r))).register('s*', mode='async_local')",
    );
    call(node, &[&b"XADD"[..], b"s1", b"1-1", b"name", b"v", b"\xff", b"a\0b"]);
    call(node, &[&b"XADD"[..], b"other", b"1-1", b"name", b"v"]);
    call(node, &[&b"XADD"[..], b"s2", b"7-1", b"name", b"\xff"]);
    eventually(PATIENCE, "both are noted", || node.reply("LLEN log") == "2");
    let mut log = list(node, "log");
    log.sort();
    // A bytearray cannot be a key of a dict: what bytes cannot be text are bytes there.
    let expected = [
        r"{'id': '1-1', 'value': {'name': 'v', b'\xff': 'a\x00b'}, 'key': 's1'}",
        r"{'id': '7-1', 'value': {'name': bytearray(b'\xff')}, 'key': 's2'}",
    ];
    assert_eq!(log, expected);
}

#[test]
fn a_first_entry_is_two_triggers_and_each_batch_one_more() {
    let servers = Servers::single();
    let node = servers.first();
    note(&servers, "log", "'s', mode='async_local'");
    add(node, "s", &[1]);
    eventually(PATIENCE, "two have ended", || Shown::of(node, 0).counts() == Counts::of_successes(2));
    add(node, "s", &[2]);
    eventually(PATIENCE, "three have ended", || Shown::of(node, 0).counts() == Counts::of_successes(3));
    assert_eq!(list(node, "log"), ["1-1", "2-1"]);
    let shown = Shown::of(node, 0);
    assert_eq!((&*shown.reader, shown.field("status")), ("StreamReader", "\"OK\""));
    let args = r#"["batchSize", 1, "durationMS", 0, "stream", "s", "trimStream", 1, "onFailedPolicy", "continue", "retryInterval", 1]"#;
    assert_eq!(shown.field("args"), args);
}

#[test]
fn batches_are_whole_and_the_rest_waits() {
    let servers = Servers::single();
    let node = servers.first();
    note(&servers, "log", "'s', batch=3, mode='async_local'");
    add(node, "s", &[1, 2]);
    add(node, "s", &[3, 4, 5, 6, 7, 8]);
    await_list(node, "log", &["1-1 2-1 3-1", "4-1 5-1 6-1"]);
    assert_eq!(settled(node, 0), Counts::of_successes(3));
    eventually(PATIENCE, "what was worked on is gone", || node.reply("XLEN s") == "2");
    add(node, "s", &[9]);
    await_list(node, "log", &["1-1 2-1 3-1", "4-1 5-1 6-1", "7-1 8-1 9-1"]);
}

#[test]
fn after_a_while_a_batch_need_not_be_whole() {
    let servers = Servers::single();
    let node = servers.first();
    note(&servers, "log", "'s', batch=100, duration=300, mode='async_local'");
    add(node, "s", &[1, 2, 3]);
    await_list(node, "log", &["1-1 2-1 3-1"]);
    add(node, "s", &[4]);
    await_list(node, "log", &["1-1 2-1 3-1", "4-1"]);
}

#[test]
fn entries_go_when_they_were_worked_on_unless_they_are_to_stay() {
    let servers = Servers::single();
    let node = servers.first();
    note(&servers, "gone", "'gone', mode='async_local'");
    note(&servers, "stays", "'stays', trimStream=False, mode='async_local'");
    for stream in ["s:gone", "s:stays"] {
        assert_eq!(node.reply(&format!("EXISTS {stream}")), "0");
    }
    // The lists have other names than the streams.
    servers.ok("GB('StreamReader').foreach(lambda r: execute('INCR', 'n' + r['key'])).register('t*', mode='async_local')
GB('StreamReader').foreach(lambda r: execute('INCR', 'n' + r['key'])).register('u*', trimStream=False, mode='async_local')");
    add(node, "t", &[1, 2, 3, 4, 5]);
    add(node, "u", &[1, 2, 3, 4, 5]);
    await_reply(node, "MGET nt nu", r#"["5", "5"]"#);
    await_reply(node, "XLEN t", "0");
    await_reply(node, "XPENDING u __gears_consumer_group__", "[0, nil, nil, nil]");
    assert_eq!(node.reply("XLEN u"), "5");
    assert!(Shown::of(node, 3).field("args").contains("\"trimStream\", 0"));
    // Entries that stay are not worked on again.
    let before = settled(node, 3);
    add(node, "u", &[6]);
    await_reply(node, "GET nu", "\"6\"");
    assert_eq!(settled(node, 3), Counts::of_successes(before.succeeded + 1));
}

#[test]
fn two_registrations_of_one_stream_both_see_all() {
    let servers = Servers::single();
    let node = servers.first();
    note(&servers, "one", "'s', mode='async_local'");
    note(&servers, "two", "'s*', batch=2, mode='async_local'");
    add(node, "s", &[1, 2, 3, 4]);
    await_list(node, "one", &["1-1", "2-1", "3-1", "4-1"]);
    await_list(node, "two", &["1-1 2-1", "3-1 4-1"]);
    await_reply(node, "XLEN s", "0");
    let groups = node.reply("XINFO GROUPS s");
    assert_eq!(groups.matches(r#""name""#).count(), 2, "{groups}");
    assert!(groups.contains(r#""name", "__gears_consumer_group__""#), "{groups}");
    // One that is slow keeps what it has not seen.
    add(node, "s", &[5]);
    await_list(node, "one", &["1-1", "2-1", "3-1", "4-1", "5-1"]);
    await_reply(node, "XLEN s", "1");
    add(node, "s", &[6]);
    await_list(node, "two", &["1-1 2-1", "3-1 4-1", "5-1 6-1"]);
    await_reply(node, "XLEN s", "0");
    assert_eq!(settled(node, 0), Counts::of_successes(7), "no empty batches");
    assert_eq!(settled(node, 1), Counts::of_successes(4), "no empty batches");
}

#[test]
fn entries_from_before_the_registration_are_found() {
    for servers in Servers::both() {
        let node = servers.first();
        let streams: Vec<String> = match servers.is_cluster() {
            true => (0..3).map(|shard| servers.as_cluster().key_for(shard, "s")).collect(),
            false => vec!["s1".into(), "s2".into(), "s3".into()],
        };
        for stream in &streams {
            for id in [1, 2] {
                servers.at_owner(&format!("XADD {stream} {id}-1 f v"));
            }
        }
        servers.ok("GB('StreamReader').foreach(lambda r: execute('RPUSH', 'log{%s}' % r['key'], r['id'])).register('s*', mode='async_local')");
        for (shard, stream) in streams.iter().enumerate() {
            let node = if servers.is_cluster() { servers.as_cluster().node(shard) } else { node };
            await_list(node, &format!("log{{{stream}}}"), &["1-1", "2-1"]);
            await_reply(node, &format!("XLEN {stream}"), "0");
        }
        for (shard, stream) in streams.iter().enumerate() {
            servers.at_owner(&format!("XADD {stream} 3-1 f v"));
            let node = if servers.is_cluster() { servers.as_cluster().node(shard) } else { node };
            await_list(node, &format!("log{{{stream}}}"), &["1-1", "2-1", "3-1"]);
        }
    }
}

#[test]
fn batches_may_be_worked_on_by_all_shards() {
    let servers = Servers::cluster();
    let cluster = servers.as_cluster();
    servers.ok("GB('StreamReader').map(lambda r: r['value']['f']).repartition(lambda v: 'home')\
.foreach(lambda v: execute('RPUSH', 'home', v)).register('s*', batch=2)");
    let home = cluster.node(cluster.owner_of(slot_of("home")));
    let streams: Vec<String> = (0..3).map(|shard| cluster.key_for(shard, "s")).collect();
    for (shard, stream) in streams.iter().enumerate() {
        for id in 1..=4 {
            servers.at_owner(&format!("XADD {stream} {id}-1 f {shard}.{id}"));
        }
    }
    await_reply(home, "LLEN home", "12");
    let all = list(home, "home");
    for shard in 0..3 {
        let own: Vec<&String> = all.iter().filter(|value| value.starts_with(&shard.to_string())).collect();
        let mut pairs: Vec<Vec<&String>> = own.chunks(2).map(<[&String]>::to_vec).collect();
        pairs.iter_mut().for_each(|pair| pair.sort());
        let expected: Vec<String> = (1..=4).map(|id| format!("{shard}.{id}")).collect();
        assert_eq!(pairs.concat(), expected.iter().collect::<Vec<_>>(), "batches come in order");
    }
    for (shard, stream) in streams.iter().enumerate() {
        assert_eq!(settled(cluster.node(shard), 0), Counts::of_successes(3));
        await_reply(cluster.node(shard), &format!("XLEN {stream}"), "0");
    }
}

#[test]
fn a_stream_that_was_deleted_begins_anew() {
    let servers = Servers::single();
    let node = servers.first();
    note(&servers, "log", "'s', mode='async_local'");
    add(node, "s", &[5]);
    await_list(node, "log", &["5-1"]);
    node.reply("DEL s");
    add(node, "s", &[1]);
    await_list(node, "log", &["5-1", "1-1"]);
    node.reply("DEL s");
    node.reply("SET s text");
    node.reply("DEL s");
    add(node, "s", &[2]);
    await_list(node, "log", &["5-1", "1-1", "2-1"]);
    assert_eq!(Shown::of(node, 0).field("lastError"), "nil");
}

#[test]
fn a_registration_that_has_ended_reads_no_more() {
    let servers = Servers::single();
    let node = servers.first();
    note(&servers, "log", "'s', mode='async_local'");
    add(node, "s", &[1]);
    await_list(node, "log", &["1-1"]);
    let id = Shown::of(node, 0).id;
    assert_eq!(node.reply(&format!("RG.UNREGISTER {id}")), "+OK");
    await_reply(node, "RG.PYDUMPSESSIONS", "[]");
    await_reply(node, "XPENDING s __gears_consumer_group__", "[0, nil, nil, nil]");
    add(node, "s", &[2, 3]);
    // The next one goes on where this one stopped, and loses nothing.
    note(&servers, "log", "'s', mode='async_local'");
    await_list(node, "log", &["1-1", "2-1", "3-1"]);
}

#[test]
fn the_lag_is_estimated() {
    let servers = Servers::single();
    let node = servers.first();
    note(&servers, "log", "'s', mode='async_local'");
    let now = show(&call(node, &["TIME"]));
    let seconds: u64 = now.split('"').nth(1).and_then(|text| text.parse().ok()).expect("seconds");
    node.reply(&format!("XADD s {}-1 f v", (seconds - 100) * 1000));
    eventually(PATIENCE, "it is worked on", || Shown::of(node, 0).counts() == Counts::of_successes(2));
    let lag = Shown::of(node, 0).number("lastEstimatedLagMS");
    assert!((100_000..200_000).contains(&lag), "{lag}");
    let reply = call(node, &["RG.DUMPREGISTRATIONS"]);
    let data = elements(elements(elements(&reply)[0])[7]).len();
    assert_eq!(data, 26);
}
