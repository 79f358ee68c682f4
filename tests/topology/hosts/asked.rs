//! `RMR.EXEC` and `RMR.FANOUT` over hosts: what goes where, and what is refused as it can go nowhere.

use crate::common::{Cluster, Server};

/// Four hosts on two servers, and a server that asks them.
fn four_hosts(with: &[&str]) -> (Vec<Server>, Server) {
    let servers: Vec<Server> = (0..2).map(|_| Server::builder().module(false).start()).collect();
    let nodes: Vec<String> =
        servers.iter().map(|server| format!("redis://{0}/0 redis://{0}/1", server.address())).collect();
    let nodes = nodes.join(" ");
    let args = ["nodes", &nodes].into_iter().chain(with.iter().copied());
    let coordinator = Server::builder().module_args(args).start();
    (servers, coordinator)
}

/// Returns the name of the host that a key is on.
fn host_of(coordinator: &Server, key: &str) -> String {
    let explained = coordinator.reply(&format!("RMR.EXPLAIN GET {key}"));
    let at = explained.find("\"parts\", [[\"").expect("parts") + "\"parts\", [[\"".len();
    explained[at..].split('"').next().unwrap().to_owned()
}

/// Returns a key that is on another host than this one.
fn key_elsewhere(coordinator: &Server, key: &str) -> String {
    let mut others = (0..).map(|number| format!("other:{number}"));
    others.find(|other| host_of(coordinator, other) != host_of(coordinator, key)).unwrap()
}

#[test]
fn a_command_with_one_key_goes_to_its_host() {
    let (servers, coordinator) = four_hosts(&[]);
    let mut wire = coordinator.wire();
    for number in 0..40 {
        assert_eq!(wire.reply(&format!("RMR.EXEC INCRBY key:{number} {number}")), number.to_string());
        assert_eq!(wire.reply(&format!("RMR.EXEC GET key:{number}")), format!("\"{number}\""));
    }
    // As BLPOP, OBJECT and EVAL show, it is the server that knows where keys stand.
    assert_eq!(wire.reply("RMR.EXEC OBJECT ENCODING key:7"), "\"int\"");
    assert_eq!(wire.reply_to(&["RMR.EXEC", "EVAL", "return redis.call('GET', KEYS[1])", "1", "key:9"]), "\"9\"");
    assert_eq!(wire.reply("RMR.EXEC DEL key:9"), "1");
    assert_eq!(wire.reply("RMR.EXEC MSET key:9 9"), "+OK", "of one key, it is not split");
    assert_eq!(wire.reply("RMR.EXEC DEL key:9"), "1");
    assert_eq!(wire.reply("RMR.EXEC XADD stream 1-1 f v"), "\"1-1\"");
    assert_eq!(wire.reply("RMR.EXEC GEOADD places 1 1 here"), "1");
    assert_eq!(wire.reply("RMR.EXEC DBSIZE"), "41");
    let sizes: usize = servers.iter().map(|server| server.run::<usize>(&["DBSIZE"])).sum();
    assert!((5..36).contains(&sizes), "{sizes} of 41 in the databases 0");
}

#[test]
fn what_belongs_to_no_single_host_is_unroutable() {
    let (_servers, coordinator) = four_hosts(&[]);
    let other = key_elsewhere(&coordinator, "a");
    for (line, why) in [
        ("TIME".into(), "'TIME' has no key that says which node it is for; name nodes with ON, NODE or KEY"),
        ("ECHO x".into(), "'ECHO' has no key"),
        ("PUBLISH channel x".into(), "'PUBLISH' has no key"),
        ("EVAL return 0".into(), "'EVAL' has no key"),
        (
            format!("RENAME a {other}"),
            "the keys of 'RENAME' are on several hosts: RENAME works on all its keys at once",
        ),
        (format!("SINTER a {other}"), "the keys of 'SINTER' are on several hosts"),
        (format!("MSETNX a 1 {other} 2"), "the keys of 'MSETNX' are on several hosts"),
        (format!("SORT a STORE {other}"), "the keys of 'SORT' are on several hosts"),
        (format!("MSET a 1 {other} 2"), "MSET over several hosts is not atomic; RMR.EXEC NONATOMIC runs it in parts"),
        ("NOSUCH a b".into(), "'NOSUCH' is a command that this server does not know"),
    ] {
        let mut words: Vec<&str> = line.split(' ').collect();
        if line.starts_with("EVAL") {
            words = vec!["EVAL", "return 1", "0"];
        }
        let reply = coordinator.wire().reply_to(&[&["RMR.EXEC"], &words[..]].concat());
        assert!(reply.starts_with("-UNROUTABLE ") && reply.contains(why), "{line}: {reply}");
        let explained = coordinator.wire().reply_to(&[&["RMR.EXPLAIN"], &words[..]].concat());
        assert!(explained.contains("UNROUTABLE ") && explained.contains(why), "{line}: {explained}");
    }
    // Bad arguments are said in the words of the server, as everywhere.
    assert_eq!(coordinator.reply("RMR.EXEC GET"), "-ERR wrong number of arguments for 'get' command");
    assert_eq!(coordinator.reply("RMR.EXEC DBSIZE"), "0", "nothing was sent");
}

/// A server that is one of the hosts is no better place for what has no key than any other.
#[test]
fn a_coordinator_that_is_a_host_refuses_the_same() {
    let own = Server::start();
    own.run::<()>(&["CONFIG", "SET", "rmr.nodes", &format!("redis://{0}/0 redis://{0}/1", own.address())]);
    for line in ["TIME", "ECHO x", "PUBLISH channel x", "NOSUCH a"] {
        let reply = own.reply(&format!("RMR.EXEC {line}"));
        assert!(reply.starts_with("-UNROUTABLE '"), "{line}: {reply}");
    }
    assert_eq!(own.reply("RMR.EXEC NODE 1 ECHO x"), "\"x\"");
}

#[test]
fn what_can_be_split_is_split_by_host() {
    let (_servers, coordinator) = four_hosts(&["shard-func", "ketama"]);
    let mut wire = coordinator.wire();
    let keys: Vec<String> = (0..40).map(|number| format!("key:{number}")).collect();
    let pairs: Vec<String> = keys.iter().enumerate().map(|(number, key)| format!("{key} {number}")).collect();
    assert_eq!(wire.reply(&format!("RMR.EXEC NONATOMIC MSET {}", pairs.join(" "))), "+OK");
    let values: Vec<String> = (0..40).map(|number| format!("\"{number}\"")).collect();
    let get = format!("MGET {} missing", keys.join(" "));
    assert_eq!(wire.reply(&format!("RMR.EXEC {get}")), format!("[{}, nil]", values.join(", ")));
    let explained = wire.reply(&format!("RMR.EXPLAIN {get}"));
    assert!(explained.contains("split by host into 4 parts"), "{explained}");
    assert_eq!(wire.reply(&format!("RMR.EXEC EXISTS {} missing", keys.join(" "))), "40");
    assert_eq!(wire.reply(&format!("RMR.EXEC DEL {} missing", keys.join(" "))), "40");
    assert_eq!(wire.reply("RMR.EXEC DBSIZE"), "0");
}

#[test]
fn hosts_are_named_by_their_ids() {
    let (servers, coordinator) = four_hosts(&[]);
    for id in 0..4 {
        assert_eq!(coordinator.reply(&format!("RMR.EXEC NODE {id} SET foo {id}")), "+OK");
    }
    assert_eq!(coordinator.reply("RMR.FANOUT GET foo"), "[\"0\", \"1\", \"2\", \"3\"]");
    assert_eq!(coordinator.reply("RMR.FANOUT NODE 3 NODE 1 GET foo"), "[\"3\", \"1\"]");
    assert_eq!(coordinator.reply("RMR.FANOUT NODE 0 NODE 1 SET only two"), "[+OK, +OK]");
    assert_eq!(coordinator.reply("RMR.FANOUT GET only"), "[\"two\", \"two\", nil, nil]");
    let mut wire = servers[1].wire();
    assert_eq!(wire.reply("SELECT 1"), "+OK");
    assert_eq!(wire.reply("GET foo"), "\"3\"");
    let unknown = coordinator.reply("RMR.FANOUT NODE 4 PING");
    assert!(unknown.starts_with("-ERR no node has the id or address '4'; known are "), "{unknown}");
}

#[test]
fn the_host_of_a_key_can_be_asked_for_anything() {
    let (_servers, coordinator) = four_hosts(&["shard-func", "ketama-rb"]);
    let other = key_elsewhere(&coordinator, "a");
    assert_eq!(coordinator.reply("RMR.EXEC KEY a SADD members one"), "1");
    assert_eq!(coordinator.reply("RMR.EXEC KEY a SMEMBERS members"), "[\"one\"]", "one host's reply as it is");
    assert_eq!(coordinator.reply("RMR.FANOUT KEY a SMEMBERS members"), "[[\"one\"]]");
    assert_eq!(coordinator.reply(&format!("RMR.EXEC KEY {other} EXISTS members")), "0");
    assert_eq!(coordinator.reply(&format!("RMR.FANOUT KEY {other} KEY a KEY {other} EXISTS members")), "[0, 1]");
    let host = host_of(&coordinator, "a");
    assert_eq!(coordinator.reply3("RMR.FANOUT KEY a WITHNODES DBSIZE"), format!("{{\"{host}\": 1}}"));
    assert_eq!(coordinator.reply("RMR.EXEC KEY a SET a 1"), "+OK");
    assert_eq!(coordinator.reply("RMR.EXEC GET a"), "\"1\"");
    assert_eq!(coordinator.reply("RMR.EXEC KEY a ECHO x"), "\"x\"");
    let both = coordinator.reply("RMR.EXEC KEY a NODE 0 ECHO x");
    assert_eq!(both, "-ERR ON, NODE and KEY exclude each other; give one of them");
}

#[test]
fn so_can_the_shard_of_a_key_in_a_cluster() {
    let cluster = Cluster::start(3);
    for owner in 0..3 {
        let key = cluster.key_for(owner, "k");
        for node in cluster.nodes() {
            let port = cluster.node(owner).port();
            assert_eq!(
                node.reply(&format!("RMR.FANOUT KEY {key} CONFIG GET port")),
                format!("[[\"port\", \"{port}\"]]")
            );
            assert_eq!(node.reply(&format!("RMR.EXEC KEY {key} CONFIG GET port")), format!("[\"port\", \"{port}\"]"));
        }
    }
}

/// An error that keeps one request from being answered must not cost the next one its connection.
#[test]
fn errors_of_commands_cost_no_connection() {
    let (_servers, coordinator) = four_hosts(&[]);
    let mut wire = coordinator.wire();
    assert_eq!(wire.reply("RMR.EXEC SET key value"), "+OK");
    assert_eq!(wire.reply("RMR.FANOUT REDUCE COUNT PING"), "4");
    let connects = coordinator.rmr_figure("connects");
    for _ in 0..20 {
        assert!(wire.reply("RMR.EXEC SADD key member").starts_with("-WRONGTYPE "));
        assert!(wire.reply("RMR.FANOUT SADD key").contains("wrong number of arguments"));
        assert!(wire.reply("RMR.MAP LIST 1 key SADD").contains("wrong number of arguments"));
        assert_eq!(wire.reply("RMR.EXEC GET key"), "\"value\"");
    }
    assert_eq!(coordinator.rmr_figure("connects"), connects);
    assert_eq!(coordinator.rmr_figure("inflight"), 0);
}
