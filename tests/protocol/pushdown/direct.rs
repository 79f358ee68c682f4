//! Strings read in place, without a command.

use super::pushing;
use crate::common::{Cluster, Server, error_text, slot_of};

/// Has all nodes read in place. `false` where the server of a cluster cannot, which it must then have said.
fn read_directly(cluster: &Cluster) -> bool {
    let set: Vec<bool> = cluster
        .nodes()
        .iter()
        .map(|node| {
            let moves_whole_slots = ["cluster|migrateslots", "cluster|migration"]
                .iter()
                .any(|name| !node.reply(&format!("COMMAND INFO {name}")).contains("nil"));
            let set = node.try_run::<String>(&["CONFIG", "SET", "rmr.direct-reads", "on"]);
            if !moves_whole_slots {
                assert_eq!(set.expect("a setting that this server can have"), "OK");
                return true;
            }
            let refusal = error_text(&set.expect_err("a setting that this server cannot have"));
            assert!(refusal.contains("in a cluster of this server, keys outlive the move of their slot"), "{refusal}");
            assert_eq!(node.reply("CONFIG GET rmr.direct-reads"), "[\"rmr.direct-reads\", \"off\"]");
            false
        })
        .collect();
    set.into_iter().all(|set| set)
}

#[test]
fn the_answers_are_those_of_get() {
    let cluster = pushing(3);
    let values = ["12", "1.5", "text", "9007199254740993", "", "a text that is longer than forty-four bytes, so raw"];
    let mut keys: Vec<String> = (0..200).map(|index| format!("n:{index}")).collect();
    cluster.fill(200, |index| (keys[index].clone(), values[index % values.len()]));
    keys.extend((0..20).map(|index| format!("missing:{index}")));
    let (count, list) = (keys.len(), keys.join(" "));
    let lines: Vec<String> =
        ["SUM", "COUNT", "MIN", "LIST", "AVG", "CONCAT", "TOP 3", "TOPGROUPS 2", "DISTINCT", "PREFIX : GROUP"]
            .into_iter()
            .map(|reducer| format!("RMR.MAP {reducer} {count} {list} GET"))
            .chain([format!("RMR.SUM {list}")])
            .collect();
    let replies = || -> Vec<String> {
        lines.iter().flat_map(|line| [cluster.node(0).reply(line), cluster.node(0).reply3(line)]).collect()
    };
    let by_command = replies();
    if !read_directly(&cluster) {
        assert_eq!(replies(), by_command);
        return;
    }
    let calls: u64 = cluster.nodes().iter().map(|node| node.calls_of("get")).sum();
    assert_eq!(replies(), by_command);
    let calls = cluster.nodes().iter().map(|node| node.calls_of("get")).sum::<u64>() - calls;
    assert!(calls < 22 * 220 / 4, "{calls} of {} were commands", 22 * 220);
}

#[test]
fn other_types_expired_keys_and_slots_on_the_move() {
    let cluster = pushing(3);
    read_directly(&cluster);
    let keys = cluster.crowded_slots(1, 1).remove(0);
    let others: Vec<String> = (0..60).map(|index| format!("n:{index}")).collect();
    cluster.fill(60, |index| (others[index].clone(), "1"));
    cluster.fill(keys.len(), |index| (keys[index].clone(), "1"));
    let line = format!("RMR.SUM {} {}", others.join(" "), keys.join(" "));
    let total = (60 + keys.len()).to_string();
    cluster.begin_move(slot_of(&keys[0]), 1, 2);
    for key in &keys {
        assert_eq!(cluster.node(0).reply(&line), total);
        cluster.migrate_key(key, 1, 2);
    }
    assert_eq!(cluster.node(0).reply(&line), total);
    cluster.finish_move(slot_of(&keys[0]), 1, 2);
    assert_eq!(cluster.node(0).reply(&line), total);

    let server = Server::start();
    server.run::<()>(&["CONFIG", "SET", "rmr.direct-reads", "on"]);
    server.run::<()>(&["MSET", "a", "1", "b", "2"]);
    server.run::<()>(&["SET", "gone", "4", "PX", "1"]);
    crate::common::eventually(std::time::Duration::from_secs(5), "the key has expired", || {
        server.reply("RMR.SUM a b gone") == "3"
    });
    server.run::<()>(&["RPUSH", "list", "1"]);
    let reply = server.reply("RMR.SUM a list b");
    assert!(reply.contains("WRONGTYPE") && reply.contains("(key 'list')"), "{reply}");
}

#[test]
fn values_stay_what_they_are_unless_it_is_on() {
    let server = Server::start();
    server.run::<()>(&["SET", "n", "123456"]);
    server.reply("RMR.SUM n n n");
    assert_eq!(server.run::<String>(&["OBJECT", "ENCODING", "n"]), "int");
}
