//! Commands without keys: to all nodes, to all shards, or to any, as the server's tips and the corrections say.

use crate::common::{Cluster, Server};

/// Returns the answer of each node by itself.
fn each(cluster: &Cluster, line: &str) -> Vec<String> {
    cluster.nodes().iter().map(|node| node.reply(line)).collect()
}

#[test]
fn sizes_are_added_up_and_lists_joined() {
    let cluster = Cluster::start(3);
    cluster.fill(100, |number| (format!("user:{number}"), number.to_string()));
    for node in cluster.nodes() {
        assert_eq!(node.reply("RMR.EXEC DBSIZE"), "100");
        let mut keys: Vec<String> = node.run(&["RMR.EXEC", "KEYS", "user:1*"]);
        keys.sort();
        let mut expected: Vec<String> = ["user:1".into()].into();
        expected.extend((10..20).map(|number| format!("user:{number}")));
        expected.sort();
        assert_eq!(keys, expected);
    }
    assert_eq!(cluster.node(1).reply("RMR.EXEC FLUSHALL"), "+OK");
    assert_eq!(each(&cluster, "DBSIZE"), ["0", "0", "0"]);
}

#[test]
fn what_is_for_all_nodes_reaches_replicas_too() {
    let cluster = Cluster::builder().shards(2).replicas(1).start();
    let node = cluster.node(0);
    assert_eq!(node.reply("RMR.EXEC CONFIG SET hz 17"), "+OK");
    assert_eq!(each(&cluster, "CONFIG GET hz"), vec!["[\"hz\", \"17\"]"; 4]);
    assert_eq!(node.reply("RMR.EXEC ACL SETUSER u on"), "+OK", "the tip is missing in 7.0");
    assert!(each(&cluster, "ACL USERS").iter().all(|users| users.contains("\"u\"")));
    let digest: String = node.run(&["RMR.EXEC", "SCRIPT", "LOAD", "return 1"]);
    assert_eq!(each(&cluster, &format!("SCRIPT EXISTS {digest}")), vec!["[1]"; 4]);
    assert_eq!(node.reply(&format!("RMR.EXEC SCRIPT EXISTS {digest} 0000")), "[1, 0]");
    let bad = node.reply("RMR.EXEC CONFIG SET hz many");
    assert_eq!(bad, cluster.node(1).reply("CONFIG SET hz many"), "all refuse it alike: no node's fault");
    assert_eq!(node.reply("RMR.EXEC LATENCY RESET"), "0");
}

#[test]
fn scripts_are_known_only_where_all_shards_know_them() {
    let cluster = Cluster::start(3);
    let digest: String = cluster.node(2).run(&["SCRIPT", "LOAD", "return 1"]);
    assert_eq!(cluster.node(0).reply(&format!("RMR.EXEC SCRIPT EXISTS {digest}")), "[0]");
}

#[test]
fn what_any_node_can_answer_is_answered_here() {
    let cluster = Cluster::start(3);
    let node = cluster.node(1);
    assert_eq!(node.reply("RMR.EXEC ECHO hello"), "\"hello\"");
    assert_eq!(node.reply("RMR.EXEC CONFIG GET port"), format!("[\"port\", \"{}\"]", node.port()));
    assert_eq!(node.reply("RMR.EXEC CLUSTER MYID"), node.reply("CLUSTER MYID"));
    let elsewhere = cluster.node(2);
    let named = node.reply(&format!("RMR.EXEC NODE {} CONFIG GET port", elsewhere.address()));
    assert_eq!(named, format!("[\"port\", \"{}\"]", elsewhere.port()));
    let all = node.reply3("RMR.EXEC ON ALL CONFIG GET port");
    assert!(cluster.nodes().iter().all(|node| all.contains(&format!("\"port\": \"{}\"", node.port()))), "{all}");
}

#[test]
fn a_report_of_each_node_stands_under_its_address() {
    let cluster = Cluster::start(3);
    for line in ["INFO server", "MEMORY DOCTOR", "SLOWLOG GET", "LATENCY LATEST", "DBSIZE"] {
        let reply = cluster.node(0).reply3(&format!("RMR.EXEC WITHNODES {line}"));
        let by_node = cluster.nodes().iter().all(|node| reply.contains(&format!("\"{}\": ", node.address())));
        assert!(reply.starts_with('{') && by_node, "{line}: {reply}");
    }
    assert!(cluster.node(0).reply3("RMR.EXEC SLOWLOG GET").starts_with('{'), "a joined log would not say which node");
}

#[test]
fn a_random_key_is_any_of_all() {
    let cluster = Cluster::start(3);
    let node = cluster.node(0);
    assert_eq!(node.reply("RMR.EXEC RANDOMKEY"), "nil");
    let lonely = cluster.key_for(2, "lonely");
    cluster.set(&lonely, "1");
    assert_eq!(node.reply("RMR.EXEC RANDOMKEY"), format!("\"{lonely}\""), "empty shards do not count");
    for number in 0..9 {
        cluster.set(cluster.keys_for(0, "many").nth(number).expect("a key"), "1");
    }
    let draws = 300;
    let drawn = (0..draws).filter(|_| node.run::<String>(&["RMR.EXEC", "RANDOMKEY"]) == lonely).count();
    assert!((1..draws / 4).contains(&drawn), "one of ten keys was drawn {drawn} times in {draws}");
}

#[test]
fn a_write_without_keys_goes_from_a_replica_to_its_primary() {
    let cluster = Cluster::builder().shards(2).replicas(1).start();
    let replica = &cluster.replicas()[0];
    assert!(replica.reply3("RMR.EXEC FUNCTION STATS").starts_with("{\""));
    let library = "#!lua name=lib\nredis.register_function('f', function() return 1 end)";
    assert_eq!(replica.wire().ask(&["RMR.EXEC", "FUNCTION", "LOAD", library]), "$3 lib");
    for primary in cluster.primaries() {
        assert_eq!(primary.reply("FCALL f 0"), "1");
    }
    let refusal = replica.reply("RMR.EXEC FCALL_RO f 0");
    assert!(refusal.starts_with("-READONLY ") || refusal.starts_with("-ERR Can not execute"), "{refusal}");
    assert_eq!(replica.reply("RMR.EXEC FUNCTION DELETE lib"), "+OK");
}

#[test]
fn the_operator_may_correct_a_tip() {
    let cluster = Cluster::start(3);
    cluster.fill(30, |number| (format!("k{number}"), String::new()));
    let node = cluster.node(0);
    let set = |text: &str| node.wire().ask(&["CONFIG", "SET", "rmr.policy-overrides", text]);
    assert_eq!(
        set("dbsize response_policy:agg_max; LASTSAVE request_policy:all_shards response_policy:agg_max"),
        "+OK"
    );
    let largest = cluster.nodes().iter().map(|node| node.run::<i64>(&["DBSIZE"])).max().expect("a node");
    assert_eq!(node.reply("RMR.EXEC DBSIZE"), largest.to_string());
    assert!(node.run::<i64>(&["RMR.EXEC", "LASTSAVE"]) > 0);
    assert_eq!(cluster.node(1).reply("RMR.EXEC DBSIZE"), "30", "each node has settings of its own");
    let bad = set("dbsize response_policy:median");
    assert!(bad.contains("'response_policy:median' of 'dbsize'") && bad.contains("agg_sum"), "{bad}");
    assert_eq!(node.reply("RMR.EXEC DBSIZE"), largest.to_string(), "the old setting is in force");
    assert_eq!(set(""), "+OK");
    assert_eq!(node.reply("RMR.EXEC DBSIZE"), "30");
}

#[test]
fn a_server_without_a_cluster_answers_as_ever() {
    let server = Server::start();
    server.run::<()>(&["MSET", "a", "1", "b", "2"]);
    for line in
        ["DBSIZE", "MGET a b c", "MSET a 1 b 2", "MSETNX a 1 c 2", "SINTER x y", "EXISTS a b", "RANDOMKEY", "PING x"]
    {
        let expected = server.reply(line);
        let reply = server.reply(&format!("RMR.EXEC {line}"));
        assert!(reply == expected || line == "RANDOMKEY" && reply.len() == expected.len(), "{line}: {reply}");
    }
}

#[test]
fn plain_servers_are_one_data_set_too() {
    let shards: Vec<Server> = (0..3).map(|_| Server::builder().module(false).start()).collect();
    let nodes: Vec<String> = shards.iter().map(Server::address).collect();
    let coordinator = Server::builder().module_args(["nodes", &nodes.join(" ")]).start();
    let mut wire = coordinator.wire();
    let mut set = vec!["RMR.EXEC", "NONATOMIC", "MSET"];
    let keys: Vec<String> = (0..50).map(|number| format!("key:{number}")).collect();
    keys.iter().for_each(|key| set.extend([key.as_str(), "value"]));
    assert_eq!(wire.ask(&set), "+OK");
    assert!(shards.iter().all(|shard| shard.run::<i64>(&["DBSIZE"]) > 5));
    assert_eq!(coordinator.reply("RMR.EXEC DBSIZE"), "50");
    let mut count = vec!["RMR.EXEC", "EXISTS"];
    count.extend(keys.iter().map(String::as_str));
    assert_eq!(wire.ask(&count), ":50");
    let lost = coordinator.reply("RMR.EXEC TIME");
    assert!(lost.starts_with("-UNROUTABLE 'TIME' has no key") && lost.contains("ON, NODE or KEY"), "{lost}");
    assert!(coordinator.reply("RMR.EXEC ON ALL TIME").contains(&nodes[2]));
}
