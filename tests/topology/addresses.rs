//! Clusters whose nodes are called by other names than their addresses: redirects and descriptions that name a host, no
//! host at all, or one that nobody can look up.

use std::time::Duration;

use crate::common::{Cluster, ClusterBuilder, ConstantTotal, eventually, slot_of};

const SOON: Duration = Duration::from_secs(2);

/// Returns a cluster that calls its nodes in this way, and whose coordinators look at it only when they have a reason.
fn called_by(endpoint: &str) -> ClusterBuilder {
    Cluster::builder().config("cluster-preferred-endpoint-type", endpoint).module_args([
        "topology-refresh-ms",
        "3600000",
        "timeout-ms",
        "3000",
    ])
}

/// Waits until every node knows every other one's host name.
fn await_names(cluster: &Cluster, name: &str) {
    eventually(Duration::from_secs(10), "the nodes know each other's names", || {
        let know_all = |node: &crate::common::Server| {
            let nodes: String = node.run(&["CLUSTER", "NODES"]);
            nodes.matches(&format!(",{name}")).count() == cluster.nodes().len()
        };
        cluster.nodes().iter().all(know_all)
    });
}

/// Moves a slot with and without a coordinator's knowledge; every node must give the true sum all the while.
fn check(cluster: &Cluster) {
    let total = ConstantTotal::fill(cluster, 60);
    let right = || {
        for node in cluster.nodes() {
            assert!(total.is_right_on(node), "asked {}: {}", node.address(), total.ask(node));
        }
    };
    right();
    let slot = slot_of(&total.keys()[0]);
    let followed = |figure: &str| cluster.nodes().iter().map(|node| node.rmr_figure(figure)).sum::<u64>();
    let (mut moved, mut asked, mut from) = (0, 0, cluster.owner_of(slot));
    // A node may hear of a move before it is told by a redirect: then the slot moves once more.
    for _ in 0..20 {
        let to = (from + 1) % 3;
        cluster.begin_move(slot, from, to);
        cluster.migrate_keys(slot, from, to);
        right();
        cluster.finish_move(slot, from, to);
        right();
        from = to;
        (moved, asked) = (followed("retries_moved"), followed("retries_ask"));
        if moved > 0 && asked > 0 {
            break;
        }
    }
    for node in cluster.nodes() {
        assert!(node.wire().ask(&["RMR.FANOUT", "DBSIZE"]).starts_with("*3 :"));
    }
    assert!(moved > 0 && asked > 0, "{moved} times MOVED, {asked} times ASK");
}

#[test]
fn redirects_that_name_no_host_mean_the_one_that_sent_them() {
    check(&called_by("unknown-endpoint").start());
}

#[test]
fn redirects_may_name_a_host() {
    let cluster = called_by("hostname").config("cluster-announce-hostname", "localhost").start();
    await_names(&cluster, "localhost");
    check(&cluster);
}

#[test]
fn names_that_nobody_can_look_up_are_those_of_known_nodes() {
    let cluster = called_by("hostname").config("cluster-announce-hostname", "node.invalid").start();
    await_names(&cluster, "node.invalid");
    check(&cluster);
}

#[test]
fn a_new_node_of_a_name_that_nobody_can_look_up_is_found_all_the_same() {
    let mut cluster = called_by("hostname").config("cluster-announce-hostname", "node.invalid").start();
    let total = ConstantTotal::fill(&cluster, 60);
    assert!(cluster.nodes().iter().all(|node| total.is_right_on(node)));
    let added = cluster.add_node();
    await_names(&cluster, "node.invalid");
    let slot = slot_of(&total.keys()[0]);
    cluster.move_slot(slot, cluster.owner_of(slot), added);
    for node in cluster.nodes() {
        eventually(SOON, "the sum is right with the new node", || total.is_right_on(node));
    }
}
