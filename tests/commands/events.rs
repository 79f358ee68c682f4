//! `RMR.EVENTS`: the keyspace events of all nodes, by one subscription.

use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Cluster, Server, Wire, elements, eventually, read_events, show, shown_event};

const LONG: Duration = Duration::from_secs(30);

/// Somebody who reads events.
struct Reader {
    cursor: String,
    pattern: &'static str,
}

impl Reader {
    /// Begins to read.
    fn new(node: &Server, pattern: &'static str) -> Self {
        let mut reader = Self { cursor: "$".into(), pattern };
        assert!(reader.read(node, &[]).is_empty());
        reader
    }

    /// Reads once, at any node: `event key` of each.
    fn read(&mut self, node: &Server, options: &[&str]) -> Vec<String> {
        let options = [options, &["MATCH", self.pattern]].concat();
        read_events(node, &mut self.cursor, &options).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Reads until this many have come.
    fn read_many(&mut self, nodes: &[Server], count: usize) -> Vec<String> {
        let mut all = Vec::new();
        let until = Instant::now() + LONG;
        for node in nodes.iter().cycle() {
            all.extend(self.read(node, &["BLOCK", "200"]));
            if all.len() >= count {
                return all;
            }
            assert!(Instant::now() < until, "{} of {count} came: {all:?}", all.len());
        }
        unreachable!("there are nodes")
    }
}

/// Asks with as much patience as it takes.
fn call(node: &Server, words: &[&str]) -> Vec<u8> {
    Wire::connect_with_timeout(node.port(), LONG).call(words)
}

#[test]
fn events_of_all_shards_come_by_one_cursor_that_any_node_continues() {
    let cluster = Cluster::start(3);
    let mut reader = Reader::new(cluster.node(0), "user:*");
    let mut expected = Vec::new();
    for number in 0..60 {
        cluster.set(format!("user:{number}"), "x");
        cluster.set(format!("other:{number}"), "x");
        expected.push(format!("set user:{number}"));
    }
    let mut all = reader.read_many(cluster.nodes(), 60);
    all.sort_unstable();
    expected.sort_unstable();
    assert_eq!(all, expected);
    // None twice.
    for node in cluster.nodes() {
        assert!(reader.read(node, &[]).is_empty());
    }
    // Those of one key stay in their order, page by page and by type.
    let (mut small, by_type) = (Reader::new(cluster.node(1), "one"), Reader::new(cluster.node(2), "one"));
    for word in ["SET", "APPEND", "DEL", "SET"] {
        let words: &[&str] = if word == "DEL" { &["DEL", "one"] } else { &[word, "one", "1"] };
        let reply = call(cluster.node(0), &[&["RMR.EXEC"], words].concat());
        assert!(!show(&reply).starts_with('-'), "{}", show(&reply));
    }
    let mut pages = Vec::new();
    eventually(LONG, "all pages", || {
        let page = small.read(cluster.node(0), &["COUNT", "1"]);
        assert!(page.len() <= 1);
        pages.extend(page);
        pages.len() == 4
    });
    assert_eq!(pages, ["set one", "append one", "del one", "set one"]);
    let reply = call(cluster.node(2), &["RMR.EVENTS", &by_type.cursor, "MATCH", "one", "TYPES", "DEL", "expired"]);
    let events: Vec<String> = elements(elements(&reply)[1]).into_iter().map(shown_event).collect();
    assert_eq!(events, ["del one"]);
}

#[test]
fn who_waits_is_woken_by_an_event_on_any_shard() {
    let cluster = Cluster::start(3);
    for shard in 0..3 {
        let key = cluster.key_for(shard, "wake");
        let mut reader = Reader::new(cluster.node(0), "wake*");
        let began = Instant::now();
        thread::scope(|scope| {
            let reading = scope.spawn(|| reader.read(cluster.node(0), &["BLOCK", "20000"]));
            eventually(LONG, "somebody waits", || cluster.node(0).figure("clients", "blocked_clients") == 1);
            cluster.set(&key, "x");
            assert_eq!(reading.join().expect("events"), [format!("set {key}")]);
        });
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    }
    let mut reader = Reader::new(cluster.node(1), "nothing");
    let began = Instant::now();
    assert!(reader.read(cluster.node(1), &["BLOCK", "300"]).is_empty());
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[test]
fn what_is_not_kept_any_more_is_said_to_be_lost() {
    let cluster = Cluster::builder().module_args(["events-memory", "65536"]).start();
    let mut reader = Reader::new(cluster.node(0), "*");
    let key = cluster.key_for(1, "many");
    let owner = cluster.node(1);
    let count = 2000;
    (0..count).for_each(|_| owner.run::<()>(&["SET", &key, "x"]));
    let events = reader.read(cluster.node(0), &["COUNT", "100000"]);
    assert_eq!(events[0], format!("lost {}", owner.run::<String>(&["CLUSTER", "MYID"])));
    assert!(events.len() > 100 && events.len() < count && events[1] == format!("set {key}"), "{}", events.len());
    let info = owner.run::<String>(&["INFO", "rmr"]);
    assert!(info.contains("events_kept:") && !info.contains("events_evicted:0"), "{info}");
    assert!(reader.read(cluster.node(2), &[]).is_empty(), "said once");
}

#[test]
fn events_are_those_of_keys_that_the_user_may_read() {
    let cluster = Cluster::start(3);
    for node in cluster.nodes() {
        node.run::<()>(&["ACL", "SETUSER", "reader", "on", ">secret", "%R~open:*", "+@all"]);
    }
    let ask = |cursor: &str| {
        let mut wire = Wire::connect_with_timeout(cluster.node(0).port(), LONG);
        assert_eq!(wire.call(&["AUTH", "reader", "secret"]), b"+OK\r\n");
        wire.call(&["RMR.EVENTS", cursor, "MATCH", "*"])
    };
    let first = ask("$");
    let cursor = show(elements(&first)[0]).trim_matches('"').to_owned();
    for number in 0..10 {
        cluster.set(format!("open:{number}"), "x");
        cluster.set(format!("closed:{number}"), "x");
    }
    let reply = ask(&cursor);
    let mut events: Vec<String> = elements(elements(&reply)[1]).into_iter().map(shown_event).collect();
    events.sort_unstable();
    assert_eq!(events, (0..10).map(|number| format!("set open:{number}")).collect::<Vec<_>>());
}

#[test]
fn a_shard_without_the_module_is_an_error_that_names_it() {
    let cluster = Cluster::builder().unloadable().start();
    let bare = cluster.node(2);
    bare.unload();
    let reply = show(&call(cluster.node(0), &["RMR.EVENTS", "$", "MATCH", "*"]));
    assert!(reply.starts_with('-') && reply.contains(&bare.port().to_string()), "{reply}");
}

#[test]
fn a_single_server_and_whoever_cannot_wait() {
    let server = Server::start();
    let mut reader = Reader::new(&server, "*");
    server.run::<()>(&["SET", "a", "1", "EX", "100"]);
    assert_eq!(reader.read(&server, &["BLOCK", "1000"]), ["set a", "expire a"]);
    let mut wire = server.wire();
    wire.call(&["MULTI"]);
    wire.call(&["SET", "b", "1"]);
    wire.call(&["RMR.EVENTS", &reader.cursor, "BLOCK", "0", "MATCH", "*"]);
    let reply = show(&wire.call(&["EXEC"]));
    assert!(reply.contains("\"set\", \"b\""), "{reply}");
    // Another database is another matter.
    wire.call(&["SELECT", "1"]);
    wire.call(&["SET", "c", "1"]);
    assert_eq!(reader.read(&server, &[]), ["set b"]);
    let line = show(&wire.call(&["RMR.EVENTS", "7", "MATCH", "*"]));
    assert!(line.starts_with("-ERR the cursor is '7'; give $ for what happens from now on"), "{line}");
}
