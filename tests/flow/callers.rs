//! Tests that the caller's rights hold on each key and command, on every shard.

use crate::common::{Cluster, Wire};

/// Returns a cluster with keys `a:*` and `b:*`, 300 of each, whose nodes know the user `app` by these rules.
fn cluster(rules: &str) -> Cluster {
    let cluster = Cluster::start(3);
    cluster.fill(300, |number| (format!("a:{number}"), "1"));
    cluster.fill(300, |number| (format!("b:{number}"), "1"));
    for node in cluster.nodes() {
        assert_eq!(node.reply(&format!("ACL SETUSER app on >secret +@all {rules}")), "+OK");
    }
    cluster
}

/// Returns a connection of that user.
fn app(cluster: &Cluster, node: usize) -> Wire {
    let mut wire = cluster.node(node).wire();
    assert_eq!(wire.reply("AUTH app secret"), "+OK");
    wire
}

#[test]
fn a_caller_sees_the_keys_that_it_may_read_wherever_they_are() {
    let cluster = cluster("~a:*");
    for node in 0..3 {
        let mut app = app(&cluster, node);
        for (question, answer) in [
            ("COUNT MATCH *", "300"),
            ("COUNT MATCH a:*", "300"),
            ("COUNT MATCH b:*", "0"),
            ("LIST MATCH b:*", "[]"),
            ("COUNT MATCH * TYPE string", "300"),
            ("SUM MATCH * STRLEN", "300"),
        ] {
            assert_eq!(app.reply(&format!("RMR.MAP {question}")), answer, "{question}");
        }
    }
    assert_eq!(cluster.node(0).reply("RMR.MAP COUNT MATCH *"), "600");
}

#[test]
fn keys_that_may_be_read_and_not_written_fail_one_by_one() {
    let cluster = cluster("~a:* %R~b:*");
    let mut app = app(&cluster, 0);
    assert_eq!(app.reply("RMR.MAP COUNT MATCH *"), "600");
    assert_eq!(app.reply("RMR.MAP SUM MATCH * STRLEN"), "600");
    let stopped = app.reply("RMR.MAP SUM MATCH * APPEND {} x");
    assert!(stopped.contains("NOPERM") && stopped.contains("keys were done"), "{stopped}");
    let partial = app.reply("RMR.MAP PARTIAL COUNT MATCH * SETRANGE {} 0 y");
    assert!(partial.starts_with("[300, ") && partial.contains("NOPERM") && partial.contains("300"), "{partial}");
    assert_eq!(cluster.node(0).reply("RMR.MAP SUM MATCH b:* STRLEN"), "300", "no key that may not be written was");
}

#[test]
fn a_command_that_may_not_be_run_is_run_for_no_key() {
    let cluster = cluster("~* -unlink");
    let refused = app(&cluster, 1).reply("RMR.MAP SUM MATCH * UNLINK");
    assert!(refused.starts_with("-NOPERM"), "{refused}");
    assert_eq!(cluster.node(0).reply("RMR.MAP COUNT MATCH *"), "600");
}

#[test]
fn a_user_that_is_missing_or_another_on_a_shard_is_an_error() {
    let cluster = cluster("~a:*");
    let count = || app(&cluster, 0).reply("RMR.MAP COUNT MATCH *");
    assert_eq!(count(), "300");
    assert_eq!(cluster.node(2).reply("ACL SETUSER app >another"), "+OK");
    assert_eq!(count(), "300", "passwords may differ");
    assert_eq!(cluster.node(2).reply("ACL SETUSER app ~b:*"), "+OK");
    let other = count();
    assert!(other.starts_with('-') && other.contains("has other rules"), "{other}");
    assert_eq!(cluster.node(2).reply("ACL DELUSER app"), "1");
    let missing = count();
    assert!(missing.starts_with('-') && missing.contains("does not exist"), "{missing}");
}
