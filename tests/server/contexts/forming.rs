//! Clusters that are none yet: every command answers or says what is missing, and works once nothing is.

use std::time::Duration;

use crate::common::{Server, eventually};

const LIMIT: Duration = Duration::from_secs(20);

/// Returns a node of a cluster that has not been formed.
fn lone_node() -> Server {
    Server::builder().config("cluster-enabled", "yes").config("cluster-node-timeout", "2000").start()
}

const NO_SLOTS: &str = "-ERRCLUSTER no slots are assigned yet: none of the 1 known nodes owns any (CLUSTER ADDSLOTS)";

/// The server's own error for every client that happens to wait while its cluster is not ok.
const DOWN: &str = "-CLUSTERDOWN The cluster is down";

/// Checks that an answer says what is missing: in our words, or in the server's, which may be quicker.
fn says(expected: &str, reply: &str) {
    assert!(reply == expected || reply == DOWN, "{reply}");
}

#[test]
fn without_slots_every_command_says_so() {
    let node = lone_node();
    for line in ["RMR.SUM a b", "RMR.FANOUT DBSIZE", "RMR.FANOUT PARTIAL DBSIZE", "RMR.MAP LIST 1 a GET", "RMR.PING"] {
        says(NO_SLOTS, &node.reply(line));
    }
    // Once that is known there is nothing to wait for, unless the machine is too busy for the runtime to say so at once.
    eventually(LIMIT, "this one has nothing to wait for", || node.reply("RMR.SUM a b") == NO_SLOTS);
    let shown = node.reply3("RMR.TOPOLOGY");
    assert!(shown.contains("\"source\": \"redis-cluster\"") && shown.contains("\"slots\": []"), "{shown}");
    let shown = node.reply3("RMR.REFRESH");
    assert!(shown.contains("\"slots\": []") || shown == DOWN, "{shown}");
    let own = format!("RMR.FANOUT NODE {} DBSIZE", node.address());
    eventually(LIMIT, "a node that is named needs no slots", || {
        let reply = node.reply(&own);
        says("[0]", &reply);
        reply == "[0]"
    });
    // A script waits for nothing, and so nothing is cut short.
    assert_eq!(node.wire().reply_to(&["EVAL", "return redis.pcall('RMR.SUM', 'a')", "0"]), NO_SLOTS);
    assert!(node.run::<String>(&["INFO", "rmr"]).contains("rmr_slots_covered:0"));
}

#[test]
fn slots_that_come_later_are_seen_without_help() {
    let node = lone_node();
    says(NO_SLOTS, &node.reply("RMR.SUM a"));
    node.run::<()>(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    eventually(LIMIT, "the cluster is ok", || node.reply("SET a 5") == "+OK");
    eventually(Duration::from_secs(2), "the slots are seen", || node.reply("RMR.SUM a") == "5");
    assert_eq!(node.reply("RMR.FANOUT DBSIZE"), "[1]");
    assert_eq!(node.reply("RMR.PING"), "+OK");
}

#[test]
fn slots_without_an_owner_are_an_error_that_counts_them() {
    let node = lone_node();
    node.run::<()>(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    node.run::<()>(&["CLUSTER", "ADDSLOTSRANGE", "0", "99", "200", "16383"]);
    let missing = "-RMRSLOTS 100 slots have no owner (100-199)";
    eventually(LIMIT, "the slots are seen", || node.reply("RMR.FANOUT DBSIZE") == missing);
    says(missing, &node.reply("RMR.PING"));
    says(missing, &node.reply("RMR.FANOUT REDUCE SUM DBSIZE"));
    assert_eq!(node.reply("RMR.FANOUT PARTIAL DBSIZE"), format!("[0, {missing}]"), "partial is asked for by name");
    let mut keys = (0..).map(|number| format!("k:{number}"));
    let orphan = keys.find(|key| (100..200).contains(&crate::common::slot_of(key))).expect("an endless row of keys");
    let reply = node.reply(&format!("RMR.SUM {orphan}"));
    assert_eq!(reply, format!("-RMRSLOTS slot {} has no owner", crate::common::slot_of(&orphan)));
    let mut keys = (0..).map(|number| format!("k:{number}"));
    let owned = keys.find(|key| crate::common::slot_of(key) > 200).expect("an endless row of keys");
    eventually(LIMIT, "other keys are served", || node.reply(&format!("RMR.SUM {owned}")) == "0");
}

#[test]
fn a_cluster_that_is_formed_after_the_module_was_loaded_works() {
    let nodes = [lone_node(), lone_node()];
    for node in &nodes {
        says(NO_SLOTS, &node.reply("RMR.FANOUT DBSIZE"));
    }
    nodes[0].run::<()>(&["CLUSTER", "ADDSLOTSRANGE", "0", "8191"]);
    nodes[1].run::<()>(&["CLUSTER", "ADDSLOTSRANGE", "8192", "16383"]);
    nodes[0].run::<()>(&["CLUSTER", "MEET", "127.0.0.1", &nodes[1].port().to_string()]);
    eventually(LIMIT, "the cluster is ok", || {
        nodes.iter().all(|node| node.run::<String>(&["CLUSTER", "INFO"]).contains("cluster_state:ok"))
    });
    for node in &nodes {
        eventually(Duration::from_secs(2), "every node answers for both", || {
            node.reply("RMR.FANOUT DBSIZE") == "[0, 0]"
        });
        assert_eq!(node.reply("RMR.PING"), "+OK");
    }
}

#[test]
fn a_module_that_is_loaded_into_a_running_cluster_works() {
    let cluster = crate::common::Cluster::builder().module(false).start();
    let keys: Vec<String> = (0..3).map(|shard| cluster.key_for(shard, "n")).collect();
    cluster.fill(3, |shard| (keys[shard].clone(), "2"));
    let path = crate::common::module_path();
    let node = cluster.node(1);
    node.run::<()>(&["MODULE", "LOAD", path.to_str().expect("a path of text")]);
    assert_eq!(node.reply(&format!("RMR.SUM {}", keys.join(" "))), "6", "the others need no module");
    assert_eq!(node.reply("RMR.FANOUT DBSIZE"), "[1, 1, 1]");
}
