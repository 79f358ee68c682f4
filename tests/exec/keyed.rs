//! Commands with keys: routed, cut by slot, and put together again.

use std::time::Duration;

use crate::common::{Cluster, Server};

/// Returns three keys on three shards.
fn one_a_shard(cluster: &Cluster) -> [String; 3] {
    [0, 1, 2].map(|shard| cluster.key_for(shard, "key"))
}

#[test]
fn one_key_is_reached_through_any_node() {
    let cluster = Cluster::start(3);
    let keys = one_a_shard(&cluster);
    for (node, key) in cluster.nodes().iter().flat_map(|node| keys.iter().map(move |key| (node, key))) {
        assert_eq!(node.reply(&format!("RMR.EXEC SET {key} value")), "+OK");
        assert_eq!(node.reply(&format!("RMR.EXEC GET {key}")), "\"value\"");
        assert_eq!(node.reply(&format!("RMR.EXEC APPEND {key} s")), "6");
        let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value";
        assert_eq!(node.reply(&format!("RMR.EXEC LPUSH {key} x")), wrong);
    }
}

#[test]
fn replies_stand_in_the_order_of_the_keys() {
    let cluster = Cluster::start(3);
    let [a, b, c] = one_a_shard(&cluster);
    cluster.set(&a, "A");
    cluster.set(&c, "C");
    for node in cluster.nodes() {
        let reply = node.reply(&format!("RMR.EXEC MGET {c} {a} {b} {c} nothing {a}"));
        assert_eq!(reply, "[\"C\", \"A\", nil, \"C\", nil, \"A\"]");
        assert_eq!(node.reply(&format!("RMR.EXEC EXISTS {a} {a} {b} {c}")), "3");
        assert_eq!(node.reply(&format!("RMR.EXEC TOUCH {a} {b} {c}")), "2");
    }
    assert_eq!(cluster.node(0).reply(&format!("RMR.EXEC DEL {a} {b} {c}")), "2");
    assert_eq!(cluster.node(1).reply(&format!("RMR.EXEC UNLINK {a} {b} {c}")), "0");
}

#[test]
fn binary_keys_and_values_survive() {
    let cluster = Cluster::start(3);
    let keys: Vec<Vec<u8>> = (0..40u8).map(|number| vec![number, 0, b'\r', b'\n', 255]).collect();
    let mut wire = cluster.node(0).wire();
    let mut set: Vec<&[u8]> = vec![b"RMR.EXEC", b"NONATOMIC", b"MSET"];
    keys.iter().for_each(|key| set.extend([key.as_slice(), key.as_slice()]));
    assert_eq!(wire.call(&set), b"+OK\r\n");
    let mut get: Vec<&[u8]> = vec![b"RMR.EXEC", b"MGET"];
    get.extend(keys.iter().map(Vec::as_slice));
    let mut expected = b"*40\r\n".to_vec();
    for key in &keys {
        expected.extend_from_slice(b"$5\r\n");
        expected.extend_from_slice(key);
        expected.extend_from_slice(b"\r\n");
    }
    assert_eq!(cluster.node(2).wire().call(&get), expected);
}

#[test]
fn a_write_over_slots_wants_to_be_told_that_it_is_not_atomic() {
    let cluster = Cluster::start(3);
    let [a, b, _] = one_a_shard(&cluster);
    let node = cluster.node(0);
    let refusal = node.reply(&format!("RMR.EXEC MSET {a} 1 {b} 2"));
    assert!(refusal.starts_with("-CROSSSLOT ") && refusal.contains("RMR.EXEC NONATOMIC runs it"), "{refusal}");
    assert_eq!(node.reply(&format!("RMR.EXEC EXISTS {a} {b}")), "0", "nothing was sent");
    assert_eq!(node.reply(&format!("RMR.EXEC NONATOMIC MSET {a} 1 {b} 2 {a} 3")), "+OK");
    assert_eq!(node.reply(&format!("RMR.EXEC MGET {a} {b}")), "[\"3\", \"2\"]", "the last value of a key wins");
    assert_eq!(node.reply("RMR.EXEC MSET {t}a 1 {t}b 2"), "+OK", "one slot is atomic");
}

#[test]
fn what_cannot_be_cut_needs_a_common_slot() {
    let cluster = Cluster::start(3);
    let [a, b, _] = one_a_shard(&cluster);
    let node = cluster.node(1);
    for line in [
        format!("MSETNX {a} 1 {b} 2"),
        format!("SINTER {a} {b}"),
        format!("RENAME {a} {b}"),
        format!("SUNIONSTORE {a} {b} {a}"),
        format!("EVAL return 2 {a} {b}"),
        format!("ZUNION 2 {a} {b}"),
        format!("XREAD STREAMS {a} {b} 0 0"),
        format!("SORT {a} STORE {b}"),
    ] {
        for options in ["", "NONATOMIC "] {
            let reply = node.reply(&format!("RMR.EXEC {options}{line}"));
            let start = "-CROSSSLOT Keys in request don't hash to the same slot: ";
            assert!(reply.starts_with(start) && reply.contains("{hash tag}"), "{line}: {reply}");
        }
    }
    assert_eq!(node.reply("RMR.EXEC MSETNX {t}a 1 {t}b 2"), "1");
    assert_eq!(node.reply("RMR.EXEC SADD {t}s 1 2 3"), "3");
    assert_eq!(node.reply("RMR.EXEC SUNIONSTORE {t}u {t}s {t}nothing"), "3");
    assert_eq!(node.reply("RMR.EXEC SORT {t}u STORE {t}l"), "3");
    assert_eq!(node.reply("RMR.EXEC LRANGE {t}l 0 -1"), "[\"1\", \"2\", \"3\"]");
    assert_eq!(node.wire().ask(&["RMR.EXEC", "EVAL", "return {KEYS[1], ARGV[1]}", "1", "k", "v"]), "*2 $1 k $1 v");
}

#[test]
fn types_are_those_of_the_callers_protocol() {
    let cluster = Cluster::start(3);
    let node = cluster.node(0);
    let alone = Server::start();
    for line in ["HSET h f v", "SADD s m", "ZADD z 1.5 m"] {
        assert_eq!(node.reply(&format!("RMR.EXEC {line}")), "1");
        assert_eq!(alone.reply(line), "1");
    }
    for node in cluster.nodes() {
        for line in
            ["HGETALL h", "SMEMBERS s", "ZSCORE z m", "ZRANGE z 0 -1 WITHSCORES", "GET nothing", "MGET h nothing"]
        {
            assert_eq!(node.reply(&format!("RMR.EXEC {line}")), alone.reply(line), "{line}");
            assert_eq!(node.reply3(&format!("RMR.EXEC {line}")), alone.reply3(line), "{line} in RESP3");
        }
    }
}

#[test]
fn replies_by_node_merge_what_a_node_had_in_parts() {
    let cluster = Cluster::start(3);
    let [a, b, c] = one_a_shard(&cluster);
    let mut more = cluster.keys_for(0, "more");
    let (d, e) = (more.next().expect("a key"), more.next().expect("a key"));
    assert_eq!(cluster.node(0).reply(&format!("RMR.EXEC NONATOMIC MSET {a} A {b} B {d} D {e} E")), "+OK");
    let [first, second, third] = [0, 1, 2].map(|shard| cluster.node(shard).address());
    let reply = cluster.node(1).reply3(&format!("RMR.EXEC WITHNODES EXISTS {a} {d} {e} {b} {c}"));
    assert_eq!(reply, format!("{{\"{first}\": 3, \"{second}\": 1, \"{third}\": 0}}"));
    let reply = cluster.node(1).reply3(&format!("RMR.EXEC WITHNODES GET {b}"));
    assert_eq!(reply, format!("{{\"{second}\": \"B\"}}"));
}

#[test]
fn with_partial_and_by_node_a_node_that_fails_shows_its_error() {
    let cluster = Cluster::builder().node_timeout(Duration::from_secs(60)).start();
    let [a, b, c] = one_a_shard(&cluster);
    let d = cluster.keys_for(0, "more").next().expect("a key");
    let node = cluster.node(0);
    assert_eq!(node.reply(&format!("RMR.EXEC NONATOMIC MSET {a} A {b} B {d} D")), "+OK");
    let [first, second, third] = [0, 1, 2].map(|shard| cluster.node(shard).address());
    let by_node = |line: &str| node.reply3(&format!("RMR.EXEC TIMEOUT 250 PARTIAL WITHNODES {line}"));

    let values = by_node(&format!("MGET {b} {a} {c} {d}"));
    assert_eq!(values, format!("{{\"{second}\": [\"B\"], \"{first}\": [\"A\", \"D\"], \"{third}\": [nil]}}"));
    assert_eq!(by_node(&format!("GET {b}")), format!("{{\"{second}\": \"B\"}}"), "one part looks the same");

    let name = cluster.node(1).shown_name();
    cluster.node(1).stop_signal();
    let error = |unknown: &str, answered: usize| {
        format!("-RMRTIMEOUT 250 ms: {answered}/{} nodes replied; waiting on {name}{unknown}", answered + 1)
    };
    let unknown = "; the command may have been sent, its outcome is unknown";
    for (line, here, late) in [
        (format!("MGET {a} {b} {d}"), "[\"A\", \"D\"]", error("", 1)),
        (format!("EXISTS {a} {b} {d}"), "2", error("", 1)),
        (format!("NONATOMIC MSET {a} 1 {b} 2 {d} 3"), "+OK", error(unknown, 1)),
        (format!("UNLINK {a} {b} {d}"), "2", error(unknown, 1)),
    ] {
        let reply = by_node(&line);
        assert_eq!(reply, format!("{{\"{first}\": {here}, \"{second}\": {late}}}"), "{line}");
    }
    assert_eq!(by_node(&format!("EXISTS {b}")), format!("{{\"{second}\": {}}}", error("", 0)));
    let whole = node.reply3(&format!("RMR.EXEC TIMEOUT 250 WITHNODES EXISTS {a} {b}"));
    assert_eq!(whole, error("", 1), "without PARTIAL it is the answer");
    cluster.node(1).cont_signal();
}

#[test]
fn a_shard_channel_belongs_to_its_slot() {
    let cluster = Cluster::start(3);
    for node in cluster.nodes() {
        for channel in one_a_shard(&cluster) {
            assert_eq!(node.reply(&format!("RMR.EXEC SPUBLISH {channel} message")), "0");
        }
    }
}
