//! Reading leaves no trace: no key counts as used, none that has expired is shown or brought back, and no value changes its
//! form.

use std::time::Duration;

use crate::common::{Cluster, Server, eventually};

/// A server in which keys that have expired stay in the table until somebody looks at them.
fn server() -> Server {
    let builder = Server::builder().config("enable-debug-command", "yes").config("hz", "1");
    let server = builder.start();
    assert_eq!(server.reply("DEBUG SET-ACTIVE-EXPIRE 0"), "+OK");
    server
}

/// Puts keys that have expired by now, and are still there.
fn put_expired(server: &Server, names: impl Iterator<Item = String>) {
    for name in names {
        server.run::<()>(&["SET", &name, "gone", "PX", "1"]);
    }
    // To look at the keys would remove them: the server's clock says that their time is up.
    let now = || {
        let [seconds, micros] = server.run::<[u64; 2]>(&["TIME"]);
        seconds * 1_000_000 + micros
    };
    let set = now();
    eventually(Duration::from_secs(5), "the keys have expired", || now() > set + 2000);
}

#[test]
fn keys_that_have_expired_are_none_and_stay_as_they_are() {
    let server = server();
    for number in 0..50 {
        server.run::<()>(&["SET", &format!("k:{number}"), "here"]);
        server.run::<()>(&["SET", &format!("ttl:{number}"), "here", "EX", "1000"]);
    }
    put_expired(&server, (0..70).map(|number| format!("k:gone:{number}")));
    assert_eq!(server.reply("DBSIZE"), "170");
    for (pattern, expected) in [("*", "100"), ("k:*", "50"), ("ttl:*", "50"), ("k:gone:*", "0"), ("k:gone:1", "0")] {
        assert_eq!(server.reply(&format!("RMR.MAP COUNT MATCH {pattern}")), expected, "{pattern}");
        assert_eq!(server.reply(&format!("RMR.MAP COUNT MATCH {pattern} TYPE string")), expected, "{pattern}");
    }
    // The cursor over the table reaps nothing: that is left to the server.
    assert_eq!(server.reply("DBSIZE"), "170");
    assert_eq!(server.figure("stats", "expired_keys"), 0);
    assert_eq!(server.reply("RMR.MAP LIST MATCH k:gone:*"), "[]");
}

#[test]
fn in_a_cluster_too_where_keys_are_listed_by_slot() {
    let cluster = Cluster::builder().shards(2).config("enable-debug-command", "yes").start();
    for node in cluster.primaries() {
        assert_eq!(node.reply("DEBUG SET-ACTIVE-EXPIRE 0"), "+OK");
    }
    // Enough of them that no table is read at once.
    cluster.fill(9000, |number| (format!("k:{number}"), "here"));
    for shard in 0..2 {
        let names: Vec<String> = cluster.keys_for(shard, "gone").take(300).collect();
        put_expired(cluster.node(shard), names.into_iter());
    }
    for node in cluster.primaries() {
        assert_eq!(node.reply("RMR.MAP COUNT MATCH *"), "9000");
        assert_eq!(node.reply("RMR.MAP COUNT MATCH gone*"), "0");
        assert_eq!(node.reply("RMR.MAP COUNT MATCH k:* TYPE string"), "9000");
        assert_eq!(node.reply("RMR.MAP COUNT MATCH k:* TYPE hash"), "0");
    }
}

#[test]
fn no_key_counts_as_used() {
    for (policy, question, given) in [("allkeys-lru", "IDLETIME", 5000), ("allkeys-lfu", "FREQ", 77)] {
        let server = Server::builder().config("maxmemory-policy", policy).start();
        let wide: String = "x".repeat(1000);
        for (name, fill) in [
            ("int", vec!["SET", "int", "12345"]),
            ("short", vec!["SET", "short", "a"]),
            ("long", vec!["SET", "long", &wide]),
            ("hash", vec!["HSET", "hash", "f", "v"]),
            ("list", vec!["RPUSH", "list", "a", "b"]),
            ("zset", vec!["ZADD", "zset", "1", "a"]),
        ] {
            server.run::<()>(&fill);
            let dump: Vec<u8> = server.run(&["DUMP", name]);
            let given = given.to_string();
            let restore: [&[u8]; 7] =
                [b"RESTORE", name.as_bytes(), b"0", &dump, b"REPLACE", question.as_bytes(), given.as_bytes()];
            assert_eq!(server.wire().call(&restore), b"+OK\r\n");
        }
        for command in ["RMR.MAP COUNT MATCH *", "RMR.MAP COUNT MATCH * TYPE string", "RMR.MAP LIST MATCH *"] {
            server.reply(command);
        }
        assert_eq!(server.reply("RMR.MAP COUNT MATCH *"), "6");
        for name in ["int", "short", "long", "hash", "list", "zset"] {
            let used: i64 = server.run(&["OBJECT", question, name]);
            assert!((given..given + 100).contains(&used), "OBJECT {question} {name}: {used}");
        }
        assert_eq!(server.run::<String>(&["OBJECT", "ENCODING", "int"]), "int");
        assert_eq!(server.run::<String>(&["OBJECT", "ENCODING", "short"]), "embstr");
    }
}

#[test]
fn the_database_of_the_caller_is_read_and_no_other() {
    let server = Server::start();
    let mut wire = server.wire();
    for database in ["0", "3"] {
        assert_eq!(wire.ask(&["SELECT", database]), "+OK");
        for number in 0..(10 + database.parse::<u32>().unwrap()) {
            wire.ask(&["SET", &format!("k:{number}"), "1"]);
        }
    }
    assert_eq!(wire.ask(&["RMR.MAP", "COUNT", "MATCH", "k:*"]), ":13");
    assert_eq!(wire.ask(&["RMR.MAP", "SUM", "MATCH", "k:*", "GET"]), ":13");
    assert_eq!(wire.ask(&["SELECT", "0"]), "+OK");
    assert_eq!(wire.ask(&["RMR.MAP", "COUNT", "MATCH", "k:*"]), ":10");
    assert_eq!(wire.ask(&["RMR.MAP", "SUM", "MATCH", "k:*", "UNLINK"]), ":10");
    assert_eq!(server.reply("RMR.MAP COUNT MATCH *"), "0");
    assert_eq!(wire.ask(&["SELECT", "3"]), "+OK");
    assert_eq!(wire.ask(&["RMR.MAP", "COUNT", "MATCH", "*"]), ":13");
}
