//! Events of keys: which ones a registration gets, and the records that its function is given.

use super::{Counts, Shown, await_reply, list, note, settled};
use crate::common::{Server, show, slot_of};
use crate::servers::{Servers, call, server};

/// Runs lines of commands at a server; none may fail.
#[track_caller]
fn run_all(node: &Server, lines: &[&str]) {
    let mut wire = node.wire();
    for line in lines {
        let reply = wire.reply(line);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
    }
}

/// Registers functions that do nothing, each with other arguments; returns how often each was triggered by commands.
#[track_caller]
fn triggered(arguments: &[&str], lines: &[&str]) -> Vec<u64> {
    let servers = Servers::single();
    for arguments in arguments {
        servers.ok(&format!("GB().register({arguments})"));
    }
    run_all(servers.first(), lines);
    (0..arguments.len())
        .map(|place| {
            let counts = settled(servers.first(), place);
            assert_eq!(counts, Counts::of_successes(counts.triggered), "{}", arguments[place]);
            counts.triggered
        })
        .collect()
}

#[test]
fn a_prefix_is_one_name_or_ends_with_a_star_and_is_no_pattern() {
    let arguments = ["'k'", "'k*'", "'*'", "'k?'", "'k*x'", "regex='k*'", "", "'['"];
    let lines = ["SET k 1", "SET k1 1", "SET k1x 1", "SET x 1"];
    assert_eq!(triggered(&arguments, &lines), [1, 3, 4, 0, 0, 3, 4, 0]);
}

#[test]
fn types_of_events_and_of_keys_are_chosen() {
    let arguments = [
        "'*', eventTypes=['set']",
        "'*', eventTypes=['HSET', 'Del']",
        "'*', eventTypes=['get']",
        "'*', eventTypes=[]",
        "'*', keyTypes=['string']",
        "'*', keyTypes=['hash']",
        "'*', keyTypes=['list']",
        "'*', keyTypes=['set']",
        "'*', keyTypes=['zset']",
        "'*', keyTypes=['stream']",
        "'*', keyTypes=['module']",
        "'*', keyTypes=['empty']",
        "'*', keyTypes=['hash', 'list'], eventTypes=['hset']",
        "'h*', keyTypes=['string']",
    ];
    let lines = ["SET s 1", "HSET h f 1", "RPUSH l 1", "SADD e 1", "ZADD z 1 1", "XADD x 1-1 f 1", "GET s", "DEL s"];
    assert_eq!(triggered(&arguments, &lines), [1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 0, 1, 1, 0]);
}

/// Commands, and the records that a function of the key `k` is given.
const RECORDS: &[(&str, &str)] = &[
    ("SET k text", "{'key': 'k', 'value': 'text', 'type': 'string', 'event': 'set'}"),
    ("DEL k", "{'key': 'k', 'value': None, 'type': 'empty', 'event': 'del'}"),
    ("HSET k f v", "{'key': 'k', 'value': {'f': 'v'}, 'type': 'hash', 'event': 'hset'}"),
    ("DEL k", "{'key': 'k', 'value': None, 'type': 'empty', 'event': 'del'}"),
    ("RPUSH k a b a", "{'key': 'k', 'value': ['a', 'b', 'a'], 'type': 'list', 'event': 'rpush'}"),
    ("UNLINK k", "{'key': 'k', 'value': None, 'type': 'empty', 'event': 'del'}"),
    ("SADD k a", "{'key': 'k', 'value': None, 'type': 'set', 'event': 'sadd'}"),
    ("DEL k", "{'key': 'k', 'value': None, 'type': 'empty', 'event': 'del'}"),
    ("ZADD k 1 a", "{'key': 'k', 'value': None, 'type': 'zset', 'event': 'zadd'}"),
    ("DEL k", "{'key': 'k', 'value': None, 'type': 'empty', 'event': 'del'}"),
    ("XADD k 1-1 f v", "{'key': 'k', 'value': None, 'type': 'unknown', 'event': 'xadd'}"),
];

#[test]
fn records_have_the_values_of_every_type() {
    let servers = Servers::single();
    let node = servers.first();
    note(&servers, "repr(r)", "'k', mode='async_local'");
    note(&servers, "repr(r)", "'k\\xe9*', mode='async_local'");
    for (count, (line, record)) in RECORDS.iter().enumerate() {
        run_all(node, &[line]);
        // The value is read when the function runs: the next command waits for that.
        settled(node, 0);
        assert_eq!(list(node, "log").get(count).map(String::as_str), Some(*record), "{line}");
    }
    run_all(node, &["DEL k log"]);
    settled(node, 0);
    run_all(node, &["DEL log"]);
    call(node, &[&b"SET"[..], b"k", b"\x00\xff"]);
    settled(node, 0);
    call(node, &[&b"SET"[..], "k\u{e9}\0".as_bytes(), b"a\0b"]);
    settled(node, 1);
    let expected = [
        r"{'key': 'k', 'value': bytearray(b'\x00\xff'), 'type': 'string', 'event': 'set'}",
        r"{'key': 'k\xc3\xa9\x00', 'value': 'a\x00b', 'type': 'string', 'event': 'set'}",
    ];
    assert_eq!(list(node, "log"), expected);
}

#[test]
fn names_alone_are_given_where_no_values_are_wanted() {
    let servers = Servers::single();
    note(&servers, "repr(r)", "'k*', readValue=False, mode='async_local'");
    run_all(servers.first(), &["SET k1 1"]);
    settled(servers.first(), 0);
    run_all(servers.first(), &["DEL k1"]);
    settled(servers.first(), 0);
    assert_eq!(list(servers.first(), "log"), ["{'key': 'k1', 'event': 'set'}", "{'key': 'k1', 'event': 'del'}"]);
}

/// Commands, and the events of keys that begin with `k`, in any order.
const EVENTS: &[(&str, &[&str])] = &[
    ("MSET k1 a k2 b k3 c", &["k1 set", "k2 set", "k3 set"]),
    ("SET k1 v EX 100", &["k1 expire", "k1 set"]),
    ("RENAME k1 k4", &["k1 rename_from", "k4 rename_to"]),
    ("DEL k2 k3 none", &["k2 del", "k3 del"]),
    ("GET k4", &[]),
    ("GET k9", &["k9 keymiss"]),
    ("HGETALL k8", &["k8 keymiss"]),
    ("EXPIRE k4 100", &["k4 expire"]),
    ("PERSIST k4", &["k4 persist"]),
    ("SET other k4", &[]),
    ("FLUSHALL", &[]),
    ("SET k5 1", &["k5 set"]),
    ("FLUSHDB", &[]),
];

#[test]
fn each_change_of_each_key_is_one_event() {
    let servers = Servers::single();
    let node = servers.first();
    // None of those that come of the notes themselves.
    note(&servers, "'%s %s' % (r['key'], r['event'])", "'k*', readValue=False, mode='async_local'");
    for (line, events) in EVENTS {
        let before = Shown::of(node, 0).counts().triggered;
        run_all(node, &[line]);
        let after = settled(node, 0);
        assert_eq!(after, Counts::of_successes(before + events.len() as u64), "{line}");
        let mut log = list(node, "log");
        log.sort();
        assert_eq!(log, *events, "{line}");
        run_all(node, &["DEL log"]);
    }
    // Some servers tell of a new key by an event more.
    run_all(node, &["SELECT 0"]);
    let mut elsewhere = node.wire();
    for line in ["SELECT 1", "SET k1 1", "DEL k1", "GET k1"] {
        elsewhere.reply(line);
    }
    let before = settled(node, 0);
    run_all(node, &["SET k1 1"]);
    assert_eq!(settled(node, 0), Counts::of_successes(before.triggered + 1), "other databases cause no events");
    assert_eq!(list(node, "log"), ["k1 set"]);
}

#[test]
fn keys_that_expire_or_are_evicted_have_no_values() {
    let servers = Servers::of(server().config("maxmemory-policy", "allkeys-random").start());
    let node = servers.first();
    note(&servers, "repr(r)", "'k*', eventTypes=['expired'], mode='async_local'");
    servers.ok("def check(r):
    assert (r['value'], r['type'], r['event']) == (None, 'empty', 'evicted'), r
GB().foreach(check).register('e*', eventTypes=['evicted'], mode='async_local')");
    run_all(node, &["SET k1 v PX 1"]);
    await_reply(node, "LRANGE log 0 -1", r#"["{'key': 'k1', 'value': None, 'type': 'empty', 'event': 'expired'}"]"#);
    assert_eq!(settled(node, 0), Counts::of_successes(1));
    for number in 0..50 {
        run_all(node, &[&format!("SET e{number} v")]);
    }
    run_all(node, &["CONFIG SET maxmemory 1"]);
    // It makes room first, and is then refused.
    node.reply("SET x 1");
    run_all(node, &["CONFIG SET maxmemory 0"]);
    let counts = settled(node, 1);
    let left = node.reply("KEYS e*").matches('e').count() as u64;
    assert_eq!(counts, Counts::of_successes(50 - left));
    assert!(left < 50, "none was evicted");
}

#[test]
fn functions_run_after_the_whole_of_a_transaction() {
    let servers = Servers::single();
    let node = servers.first();
    note(&servers, "'%s %s' % (r['value'], execute('GET', 'last'))", "'k*', mode='async_local'");
    let mut wire = node.wire();
    for line in ["MULTI", "SET k1 a", "SET k1 b", "SET last x"] {
        wire.reply(line);
    }
    assert_eq!(Shown::of(node, 0).counts().triggered, 0);
    assert_eq!(wire.reply("EXEC"), "[+OK, +OK, +OK]");
    assert_eq!(settled(node, 0), Counts::of_successes(2));
    assert_eq!(list(node, "log"), ["b x", "b x"]);
    let mut wire = node.wire();
    for line in ["MULTI", "SET k1 a"] {
        wire.reply(line);
    }
    assert_eq!(wire.reply("DISCARD"), "+OK");
    assert_eq!(wire.reply_to(&["EVAL", "redis.call('SET', 'k1', 'c') redis.call('SET', 'last', 'y')", "0"]), "nil");
    assert_eq!(settled(node, 0), Counts::of_successes(3));
    assert_eq!(list(node, "log").last().map(String::as_str), Some("c y"));
}

#[test]
fn on_shards_each_event_is_one_of_the_shard_that_has_the_key() {
    let servers = Servers::cluster();
    let cluster = servers.as_cluster();
    servers.ok("GB().foreach(lambda r: execute('RPUSH', 'log{%s}' % hashtag(), r['key'])).register('k*')
GB().map(lambda r: r['key']).repartition(lambda k: 'home').foreach(lambda k: execute('RPUSH', 'home', k)).register('k*')
GB().foreach(lambda r: execute('INCR', 'n{%s}' % hashtag())).count().foreach(lambda n: execute('INCRBY', 'c{%s}' % hashtag(), n))\
.register('k*', mode='async_local')");
    let mut keys: Vec<String> = (0..3).flat_map(|shard| cluster.keys_for(shard, "k").take(3)).collect();
    for key in &keys {
        servers.at_owner(&format!("SET {key} v"));
    }
    for shard in 0..3 {
        for place in 0..3 {
            assert_eq!(settled(cluster.node(shard), place), Counts::of_successes(3), "shard {shard}, place {place}");
        }
        let own: Vec<&String> = keys.iter().filter(|key| cluster.owner_of(slot_of(key)) == shard).collect();
        let logs = show(&call(cluster.node(shard), &["KEYS", "log*"]));
        let mut log = list(cluster.node(shard), logs.trim_matches(|c| "[]\"".contains(c)));
        log.sort();
        let mut own: Vec<String> = own.into_iter().cloned().collect();
        own.sort();
        assert_eq!(log, own, "shard {shard}");
        for counted in ["n*", "c*"] {
            let name = show(&call(cluster.node(shard), &["KEYS", counted]));
            let name = name.trim_matches(|c| "[]\"".contains(c)).to_owned();
            assert_eq!(show(&call(cluster.node(shard), &["GET", &name])), "\"3\"", "shard {shard}, {counted}");
        }
    }
    let mut home = list(cluster.node(cluster.owner_of(slot_of("home"))), "home");
    home.sort();
    keys.sort();
    assert_eq!(home, keys);
}
