//! Complete, or an error; partial only where that is asked for by name.

use std::time::{Duration, Instant};

use crate::common::{Cluster, Server, eventually};

/// Returns three shards of which the second is dead, and a key on each. Longer than the test nobody calls it failed, so that the
/// others go on serving keys.
fn one_dead() -> (Cluster, Vec<String>) {
    let cluster = Cluster::builder().node_timeout(Duration::from_secs(60)).start();
    let keys: Vec<String> = (0..3).map(|shard| cluster.key_for(shard, "n")).collect();
    for (key, value) in keys.iter().zip(["5", "7", "11"]) {
        cluster.set(key, value);
    }
    let dead = cluster.node(1).shown_name();
    for node in [cluster.node(0), cluster.node(2)] {
        assert_eq!(node.reply("RMR.PING"), "+OK", "with {dead} alive");
    }
    cluster.node(1).kill();
    (cluster, keys)
}

fn living(cluster: &Cluster) -> [&Server; 2] {
    [cluster.node(0), cluster.node(2)]
}

#[test]
fn a_fan_out_is_complete_or_an_error_that_names_the_node() {
    let (cluster, _) = one_dead();
    let dead = cluster.node(1).address();
    for node in living(&cluster) {
        for line in ["RMR.FANOUT DBSIZE", "RMR.FANOUT WITHNODES DBSIZE", "RMR.FANOUT REDUCE SUM DBSIZE", "RMR.PING"] {
            let error = node.reply(line);
            assert!(error.starts_with("-RMRNODE ") && error.contains(&format!("@{dead}: ")), "{line}: {error}");
        }
    }
}

#[test]
fn partial_keeps_the_place_of_a_dead_node_for_its_error() {
    let (cluster, _) = one_dead();
    let dead = cluster.node(1).address();
    for node in living(&cluster) {
        let reply = node.reply("RMR.FANOUT PARTIAL DBSIZE");
        assert!(reply.starts_with("[1, -RMRNODE ") && reply.ends_with(", 1]"), "{reply}");
        assert!(reply.contains(&format!("@{dead}: ")), "{reply}");
        let reply = node.reply3("RMR.FANOUT WITHNODES PARTIAL DBSIZE");
        assert!(reply.contains(&format!("\"{dead}\": -RMRNODE ")), "{reply}");
        assert_eq!(reply.matches("\": 1").count(), 2, "{reply}");
    }
}

#[test]
fn a_partial_value_stands_beside_the_errors() {
    let (cluster, _) = one_dead();
    let dead = cluster.node(1).address();
    for node in living(&cluster) {
        let reply = node.reply3("RMR.FANOUT REDUCE SUM PARTIAL DBSIZE");
        assert!(reply.starts_with(&format!("[2, {{\"{dead}\": -RMRNODE ")), "{reply}");
        let reply = node.reply("RMR.FANOUT REDUCE COUNT PARTIAL DBSIZE");
        assert!(reply.starts_with(&format!("[2, [\"{dead}\", -RMRNODE ")), "{reply}");
    }
}

#[test]
fn a_map_is_complete_or_partial_by_name_too() {
    let (cluster, keys) = one_dead();
    let dead = cluster.node(1).address();
    let keys = keys.join(" ");
    for node in living(&cluster) {
        for line in [format!("RMR.SUM {keys}"), format!("RMR.MAP LIST 3 {keys} GET")] {
            let error = node.reply(&line);
            assert!(error.starts_with("-RMRNODE ") && error.contains(&format!("@{dead}: ")), "{line}: {error}");
        }
        let reply = node.reply(&format!("RMR.MAP PARTIAL LIST 3 {keys} GET"));
        assert!(reply.starts_with("[\"5\", -RMRNODE ") && reply.ends_with(", \"11\"]"), "{reply}");
        let reply = node.reply3(&format!("RMR.MAP PARTIAL SUM 3 {keys} GET"));
        assert!(reply.starts_with(&format!("[16, {{\"{dead}\": -RMRNODE ")), "{reply}");
        assert!(reply.ends_with("}]"), "{reply}");
    }
}

#[test]
fn a_shards_own_error_has_its_place_in_a_partial_map() {
    let cluster = Cluster::start(3);
    let keys: Vec<String> = (0..3).map(|shard| cluster.key_for(shard, "n")).collect();
    cluster.set(&keys[0], "5");
    cluster.node(1).run::<()>(&["RPUSH", &keys[1], "x"]);
    cluster.set(&keys[2], "11");
    let wrong = format!(
        "-RMRSHARD {}: WRONGTYPE Operation against a key holding the wrong kind of value (key '{}')",
        cluster.node(1).shown_name(),
        keys[1]
    );
    for node in cluster.nodes() {
        let keys = keys.join(" ");
        let list = node.reply(&format!("RMR.MAP PARTIAL LIST 3 {keys} GET"));
        assert_eq!(list, format!("[\"5\", {wrong}, \"11\"]"));
        let sum = node.reply3(&format!("RMR.MAP PARTIAL SUM 3 {keys} GET"));
        assert_eq!(sum, format!("[16, {{\"{}\": {wrong}}}]", cluster.node(1).address()));
    }
}

#[test]
fn partial_names_slots_without_an_owner_by_fanout_lists_maps_and_reducers_and_by_exec() {
    let cluster = Cluster::builder().config("cluster-require-full-coverage", "no").start();
    [(6000, 7000), (9, 9)].into_iter().for_each(|(first, last)| cluster.disown(first, last));
    let errors =
        ["1 slots have no owner (9)", "1001 slots have no owner (6000-7000)"].map(|why| format!("-RMRSLOTS {why}"));
    let list = errors.join(", ");
    let map = format!("\"slots 9\": {}, \"slots 6000-7000\": {}", errors[0], errors[1]);
    for node in cluster.nodes() {
        eventually(Duration::from_secs(5), "the holes are seen", || {
            node.reply("RMR.FANOUT DBSIZE") == "-RMRSLOTS 1002 slots have no owner (9 6000-7000)"
        });
        assert_eq!(node.reply("RMR.FANOUT PARTIAL DBSIZE"), format!("[0, 0, 0, {list}]"));
        for line in [
            "RMR.FANOUT PARTIAL REDUCE SUM DBSIZE",
            "RMR.FANOUT ON ALL PARTIAL REDUCE MAX DBSIZE",
            "RMR.EXEC PARTIAL DBSIZE",
        ] {
            assert_eq!(node.reply3(line), format!("[0, {{{map}}}]"), "{line}");
        }
        assert_eq!(node.reply3("RMR.EXEC PARTIAL KEYS *"), format!("[[], {{{map}}}]"));
        for line in ["RMR.FANOUT PARTIAL WITHNODES DBSIZE", "RMR.EXEC PARTIAL WITHNODES DBSIZE"] {
            assert!(node.reply3(line).ends_with(&format!(", {map}}}")), "{line}: {}", node.reply3(line));
        }
        let named = format!("RMR.FANOUT NODE {} PARTIAL REDUCE SUM DBSIZE", node.address());
        assert_eq!(node.reply(&named), "[0, []]", "of nodes that are named nothing is missed");
    }
}

#[test]
fn partial_does_not_make_a_reducer_take_what_it_cannot() {
    let cluster = Cluster::start(3);
    let error = cluster.node(0).reply("RMR.FANOUT PARTIAL REDUCE SUM PING");
    assert!(error.starts_with("-RMRMIXED SUM cannot take a string ('PONG') from "), "{error}");
}

#[test]
fn a_node_that_is_silent_costs_the_timeout_and_is_named() {
    let cluster = Cluster::builder().node_timeout(Duration::from_secs(60)).start();
    let frozen = cluster.node(2).shown_name();
    let keys: Vec<String> = (0..3).map(|shard| cluster.key_for(shard, "n")).collect();
    cluster.node(2).stop_signal();
    let late = format!("-RMRTIMEOUT 150 ms: 2/3 nodes replied; waiting on {frozen}");
    for node in [cluster.node(0), cluster.node(1)] {
        let began = Instant::now();
        assert_eq!(node.reply("RMR.FANOUT TIMEOUT 150 DBSIZE"), late);
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(150) && took < Duration::from_secs(2), "{took:?}");
        assert_eq!(node.reply("RMR.FANOUT TIMEOUT 150 PARTIAL DBSIZE"), format!("[0, 0, {late}]"));
        let line = format!("RMR.MAP TIMEOUT 150 PARTIAL COUNT 3 {} EXISTS", keys.join(" "));
        assert_eq!(node.reply3(&line), format!("[2, {{\"{}\": {late}}}]", cluster.node(2).address()));
    }
    cluster.node(2).cont_signal();
    assert_eq!(cluster.node(0).reply("RMR.FANOUT DBSIZE"), "[0, 0, 0]");
}

#[test]
fn the_setting_is_the_timeout_where_none_is_given() {
    let cluster = Cluster::builder().node_timeout(Duration::from_secs(60)).module_args(["timeout-ms", "200"]).start();
    cluster.node(1).stop_signal();
    let error = cluster.node(0).reply("RMR.FANOUT DBSIZE");
    assert!(error.starts_with("-RMRTIMEOUT 200 ms: "), "{error}");
    cluster.node(0).run::<()>(&["CONFIG", "SET", "rmr.timeout-ms", "120"]);
    let error = cluster.node(0).reply("RMR.PING");
    assert!(error.starts_with("-RMRTIMEOUT 120 ms: "), "{error}");
}
