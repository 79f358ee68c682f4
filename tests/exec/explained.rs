//! `RMR.EXPLAIN`: what would be done, and that nothing is.

use crate::common::Cluster;

#[test]
fn a_plan_names_policy_parts_and_nodes() {
    let cluster = Cluster::builder().shards(3).replicas(1).start();
    let node = cluster.node(0);
    let [a, b] = [1, 2].map(|shard| cluster.key_for(shard, "key"));
    let [first, second] = [1, 2].map(|shard| cluster.node(shard).shown_name());
    assert_eq!(
        node.reply3(&format!("RMR.EXPLAIN DEL {a} {b}")),
        format!(
            "{{\"command\": \"del\", \"request-policy\": \"multi_shard\", \"response-policy\": \"agg_sum\", \
             \"policy-from\": \"tips\", \"keys\": 2, \
             \"plan\": \"split by slot into 2 parts; each part is atomic, the whole is not\", \"merge\": \"the sum\", \
             \"parts\": [[\"{first}\", \"DEL {a}\"], [\"{second}\", \"DEL {b}\"]]}}"
        )
    );
    for (line, words) in [
        (format!("GET {a}"), "unsplit, to the shard of its keys"),
        ("DBSIZE".into(), "to the primary of every shard that holds data"),
        ("CONFIG SET hz 20".into(), "to all nodes"),
        ("TIME".into(), "to one node; any can answer"),
        ("SCAN 0".into(), "by a cursor that any node can go on with"),
        ("RANDOMKEY".into(), "built-in correction"),
        (format!("MSETNX {a} 1 {b} 1"), "\"refused\": -CROSSSLOT Keys in request"),
        ("WAIT 1 0".into(), "\"refused\": -ERR 'wait' is not run cluster-wide"),
        (format!("NONATOMIC MSET {a} 1 {b} 1"), "any error, else one of the replies"),
        ("ON REPLICAS TIME".into(), "to the replicas of every shard"),
        ("ON REPLICAS TIME".into(), "a map of node to reply"),
        ("SCAN 0".into(), "\"merge\": \"as the plan says\""),
        (format!("NODE {} DBSIZE", node.address()), "\"merge\": \"the node's reply as it is\""),
        (format!("MGET {a}"), "\"merge\": \"the node's reply as it is\""),
        (format!("PARTIAL MGET {a}"), "\"merge\": \"each element in the place of its key\""),
        (format!("WITHNODES DEL {a} {b}"), "\"merge\": \"a map of node to reply\""),
    ] {
        let reply = node.reply3(&format!("RMR.EXPLAIN {line}"));
        assert!(reply.contains(words), "{line}: {reply}");
    }
    assert_eq!(node.reply("RMR.EXPLAIN NOSUCH"), node.reply("NOSUCH"));
}

#[test]
fn nothing_is_sent() {
    let cluster = Cluster::start(3);
    let key = cluster.key_for(1, "key");
    cluster.set(&key, "1");
    let calls = |line: &str| {
        let stats: String = cluster.node(1).run(&["INFO", "commandstats"]);
        stats.matches(&format!("cmdstat_{line}:")).count()
    };
    for line in [format!("DEL {key}"), "FLUSHALL".into(), "DBSIZE".into()] {
        assert!(cluster.node(0).reply3(&format!("RMR.EXPLAIN {line}")).starts_with('{'));
    }
    assert_eq!(["del", "flushall", "dbsize"].map(calls), [0, 0, 0]);
    assert_eq!(cluster.node(1).reply(&format!("GET {key}")), "\"1\"");
}

#[test]
fn an_override_is_named_as_the_source() {
    let cluster = Cluster::start(1);
    let node = cluster.node(0);
    node.run::<()>(&["CONFIG", "SET", "rmr.policy-overrides", "dbsize response_policy:agg_max"]);
    assert!(node.reply3("RMR.EXPLAIN DBSIZE").contains("\"policy-from\": \"override\""));
    assert!(node.reply3("RMR.EXPLAIN DBSIZE").contains("\"merge\": \"the largest\""));
}
