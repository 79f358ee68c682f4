//! Tests which node of a list holds a key.

use super::members::{coordinator, fill, list, plain};
use crate::common::Server;

/// From rb 1.10 itself: a key, and its node among 3, 5, 7 and 8. rb reads the CRC-32 as a signed number.
const GOLDEN: [(&str, [usize; 4]); 7] = [
    ("test", [0, 0, 2, 4]),
    ("foo", [1, 3, 5, 1]),
    ("bar", [2, 3, 0, 2]),
    ("baz", [0, 2, 3, 0]),
    ("mykey", [2, 0, 3, 4]),
    ("123456789", [1, 1, 1, 6]),
    ("", [0, 0, 0, 0]),
];

/// Returns the index of the only node that has a key.
fn holder(nodes: &[Server], key: &str) -> usize {
    let holders: Vec<usize> =
        (0..nodes.len()).filter(|&index| nodes[index].run::<usize>(&["EXISTS", key]) == 1).collect();
    assert_eq!(holders.len(), 1, "'{key}' is on {holders:?}");
    holders[0]
}

#[test]
fn crc32_places_as_rb_does() {
    let nodes: Vec<Server> = (0..8).map(|_| plain()).collect();
    let coordinator = Server::start();
    for (column, count) in [3, 5, 7, 8].into_iter().enumerate() {
        let nodes = &nodes[..count];
        // The first is what a list gets when nobody says anything.
        for func in ["auto", "crc32"] {
            coordinator.run::<()>(&["CONFIG", "SET", "rmr.nodes", &list(nodes), "rmr.shard-func", func]);
            for (key, places) in GOLDEN {
                assert_eq!(coordinator.wire().reply_to(&["RMR.MAP", "LIST", "1", key, "SET", "{}", "1"]), "[+OK]");
                assert_eq!(holder(nodes, key), places[column], "'{key}' of {count} by {func}");
            }
            assert_eq!(
                coordinator.wire().reply_to(&["RMR.SUM", "test", "foo", "bar", "baz", "mykey", "123456789", ""]),
                "7"
            );
            assert_eq!(coordinator.reply("RMR.FANOUT FLUSHALL").matches("+OK").count(), count);
        }
    }
}

#[test]
fn crc32_hashes_the_whole_key() {
    let nodes: Vec<Server> = (0..3).map(|_| plain()).collect();
    let coordinator = coordinator(&list(&nodes));
    let keys: Vec<String> = (0..20).map(|number| format!("{{tag}}:{number}")).collect();
    let line = format!("RMR.MAP COUNT 20 {} INCR", keys.join(" "));
    assert_eq!(coordinator.reply(&line), "20");
    assert!(nodes.iter().all(|node| node.run::<usize>(&["DBSIZE"]) > 0), "hash tags are for slots");
}

#[test]
fn rendezvous_moves_only_the_keys_of_a_node_that_goes() {
    let nodes: Vec<Server> = (0..4).map(|_| plain()).collect();
    let coordinator = Server::builder().module_args(["nodes", &list(&nodes), "shard-func", "rendezvous"]).start();
    let keys = fill(&coordinator, 80);
    let before: Vec<usize> = keys.iter().map(|key| holder(&nodes, key)).collect();
    for (index, node) in nodes.iter().enumerate() {
        let share = before.iter().filter(|&&holder| holder == index).count();
        assert!((5..40).contains(&share), "{share} of 80 keys at {}", node.address());
    }
    let left = list([&nodes[3], &nodes[0], &nodes[1]]);
    coordinator.run::<()>(&["CONFIG", "SET", "rmr.nodes", &left]);
    for (key, &holder) in keys.iter().zip(&before) {
        let found = coordinator.reply(&format!("RMR.MAP COUNT 1 {key} GET"));
        assert_eq!(found, if holder == 2 { "0" } else { "1" }, "{key} was on node {holder}");
    }
    let back = list([&nodes[2], &nodes[1], &nodes[3], &nodes[0]]);
    coordinator.run::<()>(&["CONFIG", "SET", "rmr.nodes", &back]);
    let found = coordinator.reply(&format!("RMR.MAP COUNT 80 {} GET", keys.join(" ")));
    assert_eq!(found, "80", "the order of the list does not matter");
}

#[test]
fn crc16_on_a_list_says_what_is_wrong() {
    let nodes: Vec<Server> = (0..2).map(|_| plain()).collect();
    let coordinator = Server::builder().module_args(["nodes", &list(&nodes), "shard-func", "crc16"]).start();
    let error = "-ERRCLUSTER the nodes of the provider 'static' own no slots; use crc32";
    for line in ["RMR.SUM a b", "RMR.MAP LIST 1 a SET {} v", "RMR.MAP PARTIAL LIST 1 a GET"] {
        assert_eq!(coordinator.reply(line), error, "{line}");
    }
    assert_eq!(coordinator.reply("RMR.FANOUT DBSIZE"), "[0, 0]", "a fan-out needs no placement");
    coordinator.run::<()>(&["CONFIG", "SET", "rmr.shard-func", "crc32"]);
    assert_eq!(coordinator.reply("RMR.SUM a b"), "0");
}

#[test]
fn on_a_server_alone_every_function_leads_to_it() {
    for func in ["auto", "crc16", "crc32", "rendezvous"] {
        let server = Server::builder().module_args(["shard-func", func]).start();
        assert_eq!(server.reply("RMR.MAP LIST 3 a b c INCR"), "[1, 1, 1]", "{func}");
        assert_eq!(server.reply("RMR.SUM a b c"), "3", "{func}");
    }
}
