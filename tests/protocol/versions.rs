//! Nodes with the inner protocol of the version before, and of one to come, beside nodes with ours: answers are the same, and
//! what those nodes decline goes to them by plain commands.

use std::time::Duration;

use crate::common::{Cluster, Server, c_module, eventually, module_path};

/// The version that the module under test speaks.
const OURS: u8 = 4;

fn load_other(node: &Server, version: u8) {
    let path = c_module("tests/protocol/other_version.c");
    node.run::<()>(&["MODULE", "LOAD", path.to_str().expect("a path in UTF-8"), &version.to_string()]);
}

/// Returns three shards: one of ours, one of the version before, one of the version after; with as many keys on each.
fn mixed() -> (Cluster, Vec<String>) {
    let cluster = Cluster::builder().module(false).start();
    load_other(cluster.node(1), OURS - 1);
    load_other(cluster.node(2), OURS + 1);
    let path = module_path();
    cluster.node(0).run::<()>(&["MODULE", "LOAD", path.to_str().expect("a path in UTF-8"), "pushdown", "on"]);
    let keys: Vec<String> = (0..3).flat_map(|shard| cluster.keys_for(shard, "n").take(40)).collect();
    cluster.fill(keys.len(), |index| (&keys[index], (index + 1).to_string()));
    (cluster, keys)
}

/// Returns questions, and the answer that each has to have: of the numbers 1 to 120, one a key.
fn questions(keys: &[String]) -> Vec<(String, &'static str)> {
    let all = keys.join(" ");
    vec![
        (format!("RMR.SUM {all}"), "7260"),
        (format!("RMR.MAP SUM 120 {all} GET"), "7260"),
        (format!("RMR.MAP MAX 120 {all} GET"), "120"),
        (format!("RMR.MAP COUNT 120 {all} EXISTS"), "120"),
        ("RMR.FANOUT REDUCE SUM DBSIZE".into(), "120"),
        ("RMR.FANOUT REDUCE COUNT PING".into(), "3"),
    ]
}

/// The same over all keys that match.
const OVER_A_PATTERN: [(&str, &str); 3] = [
    ("RMR.MAP COUNT MATCH n:*", "120"),
    ("RMR.MAP SUM MATCH n:* GET", "7260"),
    ("RMR.MAP SUM MATCH n:* LIMIT 120 EXISTS", "120"),
];

#[test]
fn nodes_of_other_versions_are_asked_by_plain_commands() {
    let (cluster, keys) = mixed();
    let asked = cluster.node(0);
    for _ in 0..3 {
        for (line, answer) in questions(&keys) {
            assert_eq!(asked.reply(&line), answer, "{}", &line[..line.len().min(60)]);
        }
    }
    for (line, answer) in OVER_A_PATTERN {
        assert_eq!(asked.reply(line), answer, "{line}");
    }
    // Before it has said its version, a node may be asked once.
    assert_eq!(asked.rmr_figure("inner_declined"), asked.rmr_figure("inner_shares"));
    for node in [cluster.node(1), cluster.node(2)] {
        assert!(node.calls_of("rmr.inner") > 0, "it was asked for its version");
        assert!(node.calls_of("get") > 0);
    }
}

#[test]
fn nodes_of_our_version_run_their_shares_of_a_flow_themselves() {
    let cluster = Cluster::start(3);
    let keys: Vec<String> = (0..3).flat_map(|shard| cluster.keys_for(shard, "n").take(40)).collect();
    cluster.fill(keys.len(), |index| (&keys[index], (index + 1).to_string()));
    for node in cluster.nodes() {
        for (line, answer) in OVER_A_PATTERN {
            assert_eq!(node.reply(line), answer, "{line}");
        }
    }
    for node in cluster.nodes() {
        // To be asked for the version, to begin, and for a report; by two others, thrice each.
        assert!(node.calls_of("rmr.inner") >= 18, "{}", node.calls_of("rmr.inner"));
        assert_eq!(node.calls_of("scan"), 0);
    }
}

#[test]
fn a_node_whose_version_changes_while_links_are_open_declines() {
    let cluster = Cluster::builder().unloadable().shards(2).module_args(["pushdown", "on"]).start();
    let keys: Vec<String> = (0..2).flat_map(|shard| cluster.keys_for(shard, "n").take(60)).collect();
    cluster.fill(keys.len(), |index| (&keys[index], (index + 1).to_string()));
    let (asked, other) = (cluster.node(0), cluster.node(1));
    let line = format!("RMR.SUM {}", keys.join(" "));
    assert_eq!(asked.reply(&line), "7260");
    assert!(asked.rmr_figure("inner_shares") > 0);
    let unload = |name: &str| other.try_run::<()>(&["MODULE", "UNLOAD", name]).is_ok();
    eventually(Duration::from_secs(10), "rmr is unloaded", || unload("rmr"));
    load_other(other, OURS + 1);
    for _ in 0..5 {
        assert_eq!(asked.reply(&line), "7260");
    }
    assert_eq!(asked.rmr_figure("inner_declined"), 1, "once asked in vain, a node is left in peace");
    assert!(unload("otherversion"));
    other.load_unloadable(&[]);
    let before = other.calls_of("rmr.inner");
    eventually(Duration::from_secs(20), "the node is asked again", || {
        assert_eq!(asked.reply(&line), "7260");
        other.calls_of("rmr.inner") > before
    });
}
