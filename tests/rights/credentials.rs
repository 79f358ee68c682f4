//! Tests how nodes authenticate to each other: whose password, where it comes from, what happens when it is wrong or changes.

use std::time::Duration;

use crate::common::{Cluster, Server, Wire, eventually};
use crate::users::{PASSWORD, login, make_user};

/// Returns the users that the links of rmr to this node have.
fn link_users(wire: &mut Wire) -> Vec<String> {
    let list = String::from_utf8(wire.call(&["CLIENT", "LIST"])).expect("text");
    let links = list.lines().filter(|line| line.split(' ').any(|word| word == "name=rmr"));
    let user = |line: &str| line.split(' ').find_map(|word| word.strip_prefix("user=").map(str::to_owned));
    links.filter_map(user).collect()
}

#[test]
fn a_cluster_with_a_password_needs_no_further_setting() {
    let cluster = Cluster::builder().config("requirepass", "one for all").start();
    let keys: Vec<String> = (0..3).map(|shard| cluster.key_for(shard, "n")).collect();
    cluster.fill(3, |shard| (keys[shard].clone(), "5"));
    for node in cluster.nodes() {
        assert_eq!(node.reply(&format!("RMR.SUM {}", keys.join(" "))), "15");
        assert_eq!(node.reply("RMR.PING"), "+OK");
    }
}

#[test]
fn links_log_in_as_the_user_that_is_set() {
    let cluster = Cluster::start(3);
    make_user(cluster.nodes(), "linker", "~* &* +@all");
    let node = cluster.node(0);
    node.run::<()>(&["CONFIG", "SET", "rmr.user", "linker", "rmr.password", PASSWORD]);
    assert_eq!(node.reply("RMR.PING"), "+OK");
    for other in [cluster.node(1), cluster.node(2)] {
        assert_eq!(link_users(&mut other.wire()), ["linker"]);
    }
}

#[test]
fn links_log_in_as_a_replica_would_where_nothing_is_set() {
    let cluster = Cluster::start(2);
    make_user(cluster.nodes(), "linker", "~* &* +@all");
    let node = cluster.node(0);
    node.run::<()>(&["CONFIG", "SET", "masteruser", "linker", "masterauth", PASSWORD]);
    assert_eq!(node.reply("RMR.PING"), "+OK");
    let users = link_users(&mut cluster.node(1).wire());
    assert_eq!(users.len(), 1);
    assert_eq!(users[0] == "linker", !node.has_internal_secret(), "{users:?}: the cluster's own secret comes first");
}

#[test]
fn what_the_links_user_may_not_do_is_the_shards_error() {
    let cluster = Cluster::start(2);
    make_user(cluster.nodes(), "linker", "~* &* +@all -dbsize");
    let node = cluster.node(0);
    node.run::<()>(&["CONFIG", "SET", "rmr.user", "linker", "rmr.password", PASSWORD]);
    let reply = node.reply("RMR.FANOUT PARTIAL DBSIZE");
    assert!(reply.starts_with(&format!("[0, -RMRSHARD {}: NOPERM ", cluster.node(1).shown_name())), "{reply}");
}

#[test]
fn a_wrong_password_is_an_error_that_names_node_and_reason_and_does_not_flood_the_log() {
    let cluster = Cluster::start(3);
    make_user(cluster.nodes(), "linker", "~* &* +@all");
    let [node, second, third] = cluster.nodes() else { panic!("three nodes") };
    node.run::<()>(&["CONFIG", "SET", "rmr.user", "linker", "rmr.password", "not the password"]);
    let mut wire = node.wire();
    for _ in 0..30 {
        let reply = wire.reply("RMR.FANOUT DBSIZE");
        let named =
            [second, third].iter().any(|other| reply.starts_with(&format!("-RMRNODE {}: ", other.shown_name())));
        assert!(named && reply.contains("WRONGPASS"), "{reply}");
    }
    let log = node.log();
    for other in [second, third] {
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(&other.address())).collect();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].contains("WRONGPASS") && lines[0].contains("<rmr>"), "{lines:?}");
    }
    assert!(!log.contains("not the password"), "no secrets in logs");

    node.run::<()>(&["CONFIG", "SET", "rmr.password", PASSWORD]);
    assert_eq!(wire.reply("RMR.FANOUT DBSIZE"), "[0, 0, 0]", "the right one is taken at once");
}

#[test]
fn the_clusters_password_may_change_while_it_runs() {
    let cluster = Cluster::builder().config("requirepass", "before").start();
    let mut wires: Vec<Wire> = cluster.nodes().iter().map(Server::wire).collect();
    for wire in &mut wires {
        assert_eq!(wire.reply("RMR.FANOUT DBSIZE"), "[0, 0, 0]");
    }
    for wire in &mut wires {
        assert_eq!(wire.reply("CONFIG SET requirepass after masterauth after"), "+OK");
    }
    for wire in &mut wires {
        assert_eq!(wire.reply("RMR.FANOUT DBSIZE"), "[0, 0, 0]", "links that are open stay so");
    }
    for node in cluster.nodes() {
        let mut wire = Wire::connect(node.port());
        assert_eq!(wire.reply("AUTH after"), "+OK");
        wire.reply("CLIENT KILL TYPE normal");
    }
    for node in cluster.nodes() {
        let mut wire = Wire::connect(node.port());
        assert_eq!(wire.reply("AUTH after"), "+OK");
        assert_eq!(wire.reply("RMR.FANOUT DBSIZE"), "[0, 0, 0]", "new links have the new password");
    }
}

#[test]
fn the_password_of_the_links_user_may_change_while_it_runs() {
    let cluster = Cluster::start(2);
    make_user(cluster.nodes(), "linker", "~* &* +@all");
    let [node, other] = cluster.nodes() else { panic!("two nodes") };
    node.run::<()>(&["CONFIG", "SET", "rmr.user", "linker", "rmr.password", PASSWORD]);
    assert_eq!(node.reply("RMR.PING"), "+OK");
    for any in cluster.nodes() {
        any.run::<()>(&["ACL", "SETUSER", "linker", "resetpass", ">fresh"]);
    }
    other.run::<()>(&["CLIENT", "KILL", "TYPE", "normal"]);
    eventually(Duration::from_secs(10), "the link is gone and cannot come back", || {
        node.reply("RMR.PING").contains("WRONGPASS")
    });
    node.run::<()>(&["CONFIG", "SET", "rmr.password", "fresh"]);
    assert_eq!(node.reply("RMR.PING"), "+OK");
}

#[test]
fn the_default_user_may_be_off() {
    let cluster = Cluster::start(3);
    make_user(cluster.nodes(), "root", "~* &* +@all");
    make_user(cluster.nodes(), "linker", "~* &* +@all");
    let mut wires: Vec<Wire> = cluster.nodes().iter().map(|node| login(node, "root")).collect();
    let has_secret = cluster.node(0).has_internal_secret();
    for wire in &mut wires {
        assert_eq!(wire.reply("ACL SETUSER default off"), "+OK");
    }
    for wire in &mut wires {
        let reply = wire.reply("RMR.FANOUT DBSIZE");
        if has_secret {
            assert_eq!(reply, "[0, 0, 0]");
        } else {
            assert!(reply.starts_with("-RMRNODE ") && reply.contains(": NOAUTH "), "{reply}");
            assert!(reply.contains("rmr.password"), "it says what to do: {reply}");
        }
        let set = format!("CONFIG SET rmr.user linker rmr.password {PASSWORD}");
        assert_eq!(wire.reply(&set), "+OK");
        assert_eq!(wire.reply("RMR.FANOUT DBSIZE"), "[0, 0, 0]");
    }
    assert!(link_users(&mut wires[0]).iter().any(|user| user == "linker"));
}

#[test]
fn a_password_may_be_any_bytes() {
    let cluster = Cluster::start(2);
    let [node, other] = cluster.nodes() else { panic!("two nodes") };
    let password: &[u8] = b"\xff\xfe \"\x80";
    let rules: [&[u8]; 8] = [b"ACL", b"SETUSER", b"linker", b"on", b"~*", b"&*", b"+@all", &[b">", password].concat()];
    assert_eq!(other.wire().reply_to(&rules), "+OK");
    let set: [&[u8]; 6] = [b"CONFIG", b"SET", b"rmr.user", b"linker", b"rmr.password", password];
    assert_eq!(node.wire().reply_to(&set), "+OK");
    assert_eq!(node.reply("RMR.PING"), "+OK");

    let set: [&[u8]; 6] = [b"CONFIG", b"SET", b"rmr.user", b"", b"rmr.password", b""];
    assert_eq!(node.wire().reply_to(&set), "+OK");
    let set: [&[u8]; 6] = [b"CONFIG", b"SET", b"masteruser", b"linker", b"masterauth", password];
    assert_eq!(node.wire().reply_to(&set), "+OK");
    assert_eq!(node.reply("RMR.PING"), "+OK");
}
