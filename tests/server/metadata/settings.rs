//! `CONFIG GET` and `CONFIG SET`: what is there, what is taken, and what is refused as a whole.

use std::time::Duration;

use crate::common::{Cluster, Server, eventually};

/// Every setting with its default.
const DEFAULTS: [(&str, &str); 34] = [
    ("rmr.atomic-timeout-ms", "1000"),
    ("rmr.connect-timeout-ms", "1000"),
    ("rmr.consistent", "yes"),
    ("rmr.direct-reads", "off"),
    ("rmr.events-memory", "16777216"),
    ("rmr.flow-memory", "268435456"),
    ("rmr.flow-share", "50"),
    ("rmr.flow-timeout-ms", "60000"),
    ("rmr.gears", "auto"),
    ("rmr.gears-rights", "caller"),
    ("rmr.max-inflight", "10000"),
    ("rmr.max-pending-events", "100000"),
    ("rmr.max-reply-bytes", "1073741824"),
    ("rmr.max-trigger-depth", "16"),
    ("rmr.nodes", ""),
    ("rmr.password", ""),
    ("rmr.placement", ""),
    ("rmr.placement-name", ""),
    ("rmr.policy-overrides", ""),
    ("rmr.provider", "auto"),
    ("rmr.proxy-mode", "off"),
    ("rmr.pushdown", "off"),
    ("rmr.python", "python3"),
    ("rmr.python-memory", "1073741824"),
    ("rmr.python-processes", "4096"),
    ("rmr.python-user", "nobody"),
    ("rmr.python-wheels", ""),
    ("rmr.shard-func", "auto"),
    ("rmr.stream-max-retries", "0"),
    ("rmr.sync-timeout-ms", "1000"),
    ("rmr.threads", "1"),
    ("rmr.timeout-ms", "5000"),
    ("rmr.topology-refresh-ms", "1000"),
    ("rmr.user", ""),
];

/// Returns one setting as it is now.
fn get(server: &Server, name: &str) -> String {
    let pair: Vec<String> = server.run(&["CONFIG", "GET", name]);
    assert_eq!(pair[0], name);
    pair[1].clone()
}

/// Returns the answer of `CONFIG SET` to names and values in turn.
fn set(server: &Server, pairs: &[&str]) -> String {
    server.wire().reply_to(&[&["CONFIG", "SET"][..], pairs].concat())
}

#[test]
fn every_setting_has_its_default() {
    let server = Server::start();
    let all: Vec<String> = server.run(&["CONFIG", "GET", "rmr.*"]);
    let mut pairs: Vec<(&str, &str)> = all.chunks(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
    pairs.sort();
    assert_eq!(pairs, DEFAULTS);
}

#[test]
fn numbers_are_taken_within_their_range_only() {
    let server = Server::start();
    for (name, low, high) in [
        ("rmr.timeout-ms", 1, 3_600_000),
        ("rmr.connect-timeout-ms", 1, 3_600_000),
        ("rmr.topology-refresh-ms", 50, 3_600_000),
        ("rmr.max-inflight", 1, 10_000_000),
        ("rmr.max-reply-bytes", 1024, i64::MAX),
        ("rmr.flow-timeout-ms", 1, 3_600_000),
        ("rmr.flow-memory", 1 << 20, i64::MAX),
        ("rmr.flow-share", 1, 100),
        ("rmr.atomic-timeout-ms", 1, 3_600_000),
        ("rmr.events-memory", 64 << 10, i64::MAX),
        ("rmr.max-pending-events", 1, i64::MAX),
        ("rmr.max-trigger-depth", 1, 128),
        ("rmr.stream-max-retries", 0, 1_000_000),
        ("rmr.sync-timeout-ms", 1, 3_600_000),
    ] {
        for value in [low, high] {
            assert_eq!(set(&server, &[name, &value.to_string()]), "+OK", "{name} {value}");
            assert_eq!(get(&server, name), value.to_string());
        }
        for value in [(low - 1).to_string(), "-1".into(), "many".into(), String::new(), "9223372036854775808".into()] {
            let error = set(&server, &[name, &value]);
            assert!(error.starts_with("-ERR CONFIG SET failed") && error.contains(name), "{name} '{value}': {error}");
            assert_eq!(get(&server, name), high.to_string(), "after '{value}'");
        }
        let error = set(&server, &[name, &(low - 1).to_string()]);
        assert!(error.contains("must be between") || error.contains("must be a memory value"), "{name}: {error}");
        if high < i64::MAX {
            let error = set(&server, &[name, &(high + 1).to_string()]);
            assert!(error.contains("must be between"), "{name}: {error}");
        }
    }
    assert_eq!(set(&server, &["rmr.max-reply-bytes", "2mb"]), "+OK");
    assert_eq!(get(&server, "rmr.max-reply-bytes"), "2097152");
}

#[test]
fn words_are_taken_from_their_list_only() {
    let server = Server::start();
    for (name, words) in [
        ("rmr.provider", &["single", "auto"][..]),
        ("rmr.shard-func", &["crc16", "crc32", "ketama", "ketama-rb", "rendezvous", "auto"]),
    ] {
        for word in words {
            assert_eq!(set(&server, &[name, word]), "+OK", "{name} {word}");
            assert_eq!(get(&server, name), *word);
        }
        let error = set(&server, &[name, "best"]);
        assert!(error.contains(name) && words.iter().all(|word| error.contains(word)), "{error}");
        assert_eq!(get(&server, name), "auto");
    }
}

#[test]
fn what_is_fixed_at_the_start_stays() {
    let server = Server::builder().module_args(["threads", "3"]).start();
    assert_eq!(get(&server, "rmr.threads"), "3");
    let error = set(&server, &["rmr.threads", "2"]);
    assert!(error.starts_with("-ERR CONFIG SET failed") && error.contains("immutable"), "{error}");
    assert_eq!(server.reply("RMR.PING"), "+OK");
    eventually(Duration::from_secs(5), "its threads have begun", || server.rmr_threads() >= 3);
}

#[test]
fn what_says_which_python_runs_is_fixed_at_the_start() {
    let args = ["python", "/opt/python", "python-user", "", "PYTHON-MEMORY", "128mb", "rmr.python-processes", "64"];
    let server = Server::builder().module_args(args).start();
    for (name, value) in [
        ("rmr.python", "/opt/python"),
        ("rmr.python-user", ""),
        ("rmr.python-memory", "134217728"),
        ("rmr.python-processes", "64"),
    ] {
        assert_eq!(get(&server, name), value);
        let error = set(&server, &[name, "1gb"]);
        assert!(error.starts_with("-ERR CONFIG SET failed") && error.contains("immutable"), "{name}: {error}");
    }
}

#[test]
fn an_unknown_setting_is_refused() {
    let server = Server::start();
    let error = set(&server, &["rmr.nosuch", "1"]);
    assert!(error.starts_with("-ERR ") && error.contains("rmr.nosuch"), "{error}");
}

#[test]
fn bad_nodes_are_refused_with_the_reason() {
    let server = Server::start();
    for (nodes, reason) in [
        ("host", "'host' is no address; give host:port"),
        ("a:1 b:x", "'b:x' is no address; give host:port"),
        ("a:1 :2", "':2' is no address; give host:port"),
        ("a:0", "'a:0' is no address; give host:port"),
        ("a:65536", "'a:65536' is no address; give host:port"),
        ("a:1 b:2 a:1", "the node a:1 stands twice in the list"),
        ("a:1,b:2", "'a:1,b:2' has a comma; hosts are parted by blanks"),
        ("redis://a:1,redis://b:2", "has a comma; hosts are parted by blanks"),
        (" ", "the list of hosts is blank; give host:port ..., or nothing at all"),
    ] {
        let error = set(&server, &["rmr.nodes", nodes]);
        assert!(error.contains("rmr.nodes") && error.contains(reason), "'{nodes}': {error}");
        assert_eq!(error.matches("ERR").count(), 1, "{error}");
        assert_eq!(get(&server, "rmr.nodes"), "");
        assert_eq!(server.reply("RMR.PING"), "+OK");
    }
    let binary: [&[u8]; 4] = [b"CONFIG", b"SET", b"rmr.nodes", b"a:1 \xff\r\n:2"];
    let error = server.wire().reply_to(&binary);
    assert!(error.starts_with("-ERR CONFIG SET failed"), "{error}");
}

#[test]
fn a_static_list_needs_nodes() {
    let server = Server::start();
    for warm in [false, true] {
        let error = set(&server, &["rmr.provider", "static"]);
        assert!(error.contains("rmr.provider static needs rmr.nodes"), "warm {warm}: {error}");
        assert_eq!(get(&server, "rmr.provider"), "auto");
        assert_eq!(server.reply("RMR.PING"), "+OK");
    }
    let nodes = server.address();
    assert_eq!(set(&server, &["rmr.provider", "static", "rmr.nodes", &nodes]), "+OK");
    assert!(server.reply3("RMR.TOPOLOGY").contains("\"source\": \"static\""));
    let error = set(&server, &["rmr.nodes", ""]);
    assert!(error.contains("rmr.provider static needs rmr.nodes"), "{error}");
    assert_eq!(get(&server, "rmr.nodes"), nodes);
    assert_eq!(set(&server, &["rmr.nodes", "", "rmr.provider", "auto"]), "+OK");
    assert!(server.reply3("RMR.TOPOLOGY").contains("\"source\": \"single\""));
}

#[test]
fn a_refused_set_changes_nothing_at_all() {
    let server = Server::start();
    assert_eq!(server.reply("RMR.PING"), "+OK");
    for refused in [
        &["rmr.timeout-ms", "77", "rmr.user", "u", "rmr.nodes", "nonsense"][..],
        &["rmr.timeout-ms", "77", "rmr.user", "u", "rmr.provider", "static"],
        &["rmr.timeout-ms", "77", "rmr.user", "u", "rmr.shard-func", "best"],
        &["rmr.timeout-ms", "77", "rmr.user", "u", "maxmemory-policy", "best"],
        &["rmr.timeout-ms", "77", "rmr.user", "u", "rmr.max-inflight", "0"],
    ] {
        let error = set(&server, refused);
        assert!(error.starts_with("-ERR CONFIG SET failed"), "{refused:?}: {error}");
        for (name, default) in DEFAULTS {
            assert_eq!(get(&server, name), default, "{name} after {refused:?}");
        }
        assert_eq!(server.reply("RMR.PING"), "+OK");
    }
}

#[test]
fn a_provider_that_cannot_work_here_is_refused() {
    let server = Server::start();
    for warm in [false, true] {
        let error = set(&server, &["rmr.provider", "cluster"]);
        assert!(error.contains("rmr.provider is cluster, but cluster-enabled is no"), "warm {warm}: {error}");
        assert_eq!(get(&server, "rmr.provider"), "auto");
        assert_eq!(server.reply("RMR.PING"), "+OK");
    }
    let cluster = Cluster::start(1);
    assert_eq!(set(cluster.node(0), &["rmr.provider", "cluster"]), "+OK");
    assert_eq!(cluster.node(0).reply("RMR.PING"), "+OK");
}

#[test]
fn a_member_of_a_cluster_may_be_told_to_stand_alone() {
    let cluster = Cluster::start(3);
    let node = cluster.node(0);
    assert_eq!(node.reply("RMR.FANOUT PING"), "[+PONG, +PONG, +PONG]");
    assert_eq!(set(node, &["rmr.provider", "single"]), "+OK");
    assert_eq!(node.reply("RMR.FANOUT PING"), "[+PONG]");
    assert_eq!(set(node, &["rmr.provider", "auto"]), "+OK");
    assert_eq!(node.reply("RMR.FANOUT PING"), "[+PONG, +PONG, +PONG]");
}

#[test]
fn limits_apply_from_the_next_request_on() {
    let cluster = Cluster::start(2);
    let node = cluster.node(0);
    let keys: Vec<String> = (0..2).map(|shard| cluster.key_for(shard, "big")).collect();
    cluster.fill(2, |shard| (keys[shard].clone(), vec![b'x'; 4000]));
    let line = format!("RMR.MAP LIST 2 {} GET", keys.join(" "));
    assert!(node.reply(&line).starts_with("[\"xxx"));
    assert_eq!(set(node, &["rmr.max-reply-bytes", "5000"]), "+OK");
    assert_eq!(node.reply(&line), "-RMRTOOBIG the replies grew past 5000 bytes; rmr.max-reply-bytes allows no more");
    assert_eq!(node.reply("RMR.PING"), "+OK");
    assert_eq!(set(node, &["rmr.max-reply-bytes", "100000"]), "+OK");
    assert!(node.reply(&line).starts_with("[\"xxx"));
}

#[test]
fn more_requests_than_may_be_in_flight_are_refused() {
    let cluster = Cluster::builder().shards(2).node_timeout(std::time::Duration::from_secs(60)).start();
    let [node, frozen] = cluster.nodes() else { panic!("two nodes") };
    assert_eq!(node.reply("RMR.PING"), "+OK");
    assert_eq!(set(node, &["rmr.max-inflight", "3"]), "+OK");
    frozen.stop_signal();
    let mut waiting: Vec<_> = (0..3).map(|_| node.wire()).collect();
    for (number, wire) in (1..).zip(&mut waiting) {
        wire.send(&["RMR.FANOUT", "TIMEOUT", "30000", "PING"]);
        crate::common::eventually(std::time::Duration::from_secs(10), "it is in flight", || {
            node.rmr_figure("inflight") == number
        });
    }
    let busy = "-RMRBUSY 3 requests are in flight; rmr.max-inflight allows no more";
    assert_eq!(node.reply("RMR.PING"), busy);
    assert_eq!(node.reply("RMR.SUM k"), busy);
    assert_eq!(node.rmr_figure("busy"), 2);
    frozen.cont_signal();
    for wire in &mut waiting {
        assert_eq!(crate::common::show(&wire.read_frame()), "[+PONG, +PONG]");
    }
    assert_eq!(node.reply("RMR.PING"), "+OK");
}

#[test]
fn secrets_do_not_show_where_the_server_hides_them() {
    let server = Server::start();
    assert_eq!(set(&server, &["rmr.password", "hush-hush", "rmr.user", "u"]), "+OK");
    assert!(!server.log().contains("hush-hush"));
    assert!(!server.run::<String>(&["INFO", "everything"]).contains("hush-hush"));
    assert!(!server.reply("SLOWLOG GET").contains("hush-hush"));
    assert!(!server.reply3("RMR.TOPOLOGY").contains("hush-hush"));
}
