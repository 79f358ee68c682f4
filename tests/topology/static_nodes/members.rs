//! The coordinator as one of the nodes, or as none; and nodes that fail.

use crate::common::{Server, ServerBuilder};

/// Returns a server without the module, as any node but the coordinator may be.
pub fn plain() -> Server {
    Server::builder().module(false).start()
}

/// `rmr.nodes` for these servers.
pub fn list<'a>(servers: impl IntoIterator<Item = &'a Server>) -> String {
    let addresses: Vec<String> = servers.into_iter().map(Server::address).collect();
    addresses.join(" ")
}

/// Returns a coordinator of these nodes.
pub fn coordinator(nodes: &str) -> Server {
    builder(nodes).start()
}

fn builder(nodes: &str) -> ServerBuilder {
    Server::builder().module_args(["nodes", nodes])
}

/// Sets `count` keys through the coordinator, each to its number.
pub fn fill(coordinator: &Server, count: usize) -> Vec<String> {
    let keys: Vec<String> = (0..count).map(|number| format!("key:{number}")).collect();
    let mut wire = coordinator.wire();
    for (number, key) in keys.iter().enumerate() {
        assert_eq!(wire.reply(&format!("RMR.MAP LIST 1 {key} SET {{}} {number}")), "[+OK]");
    }
    keys
}

fn sum_of(count: usize) -> String {
    (count * (count - 1) / 2).to_string()
}

#[test]
fn a_coordinator_that_is_no_node_holds_nothing() {
    let nodes: Vec<Server> = (0..3).map(|_| plain()).collect();
    let coordinator = coordinator(&list(&nodes));
    let keys = fill(&coordinator, 60);
    assert_eq!(coordinator.reply(&format!("RMR.SUM {}", keys.join(" "))), sum_of(60));
    assert_eq!(coordinator.run::<usize>(&["DBSIZE"]), 0);
    let sizes: Vec<usize> = nodes.iter().map(|node| node.run(&["DBSIZE"])).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 60);
    assert!(sizes.iter().all(|&size| size > 5), "{sizes:?}");
    assert_eq!(coordinator.reply("RMR.FANOUT DBSIZE"), format!("[{}, {}, {}]", sizes[0], sizes[1], sizes[2]));
    assert_eq!(coordinator.rmr_figure("connected"), 3);
    assert_eq!(coordinator.reply("RMR.PING"), "+OK");
}

#[test]
fn a_coordinator_that_is_a_node_serves_its_share_in_process() {
    let nodes: Vec<Server> = (0..2).map(|_| plain()).collect();
    let coordinator = Server::start();
    let all = format!("{} {} {}", nodes[0].address(), coordinator.address(), nodes[1].address());
    coordinator.run::<()>(&["CONFIG", "SET", "rmr.nodes", &all]);
    let keys = fill(&coordinator, 60);
    assert_eq!(coordinator.reply(&format!("RMR.SUM {}", keys.join(" "))), sum_of(60));
    assert!(coordinator.run::<usize>(&["DBSIZE"]) > 5);
    assert!(!coordinator.reply("CLIENT LIST").contains("name=rmr"), "a link to itself");
    assert_eq!(coordinator.rmr_figure("connected"), 2);
    assert_eq!(coordinator.rmr_figure("connects"), 4, "one for each protocol and other node");
    let shown = coordinator.reply3("RMR.TOPOLOGY");
    let own = format!(
        "\"address\": \"{}\", \"role\": \"primary\", \"slots\": [], \"link\": \"local\"",
        coordinator.address()
    );
    assert!(shown.contains(&own) && shown.matches("\"link\": \"local\"").count() == 1, "{shown}");
    assert!(shown.contains("\"source\": \"static\""), "{shown}");
}

#[test]
fn it_knows_itself_by_other_names_too() {
    let other = plain();
    let coordinator = Server::start();
    for own in [format!("localhost:{}", coordinator.port()), coordinator.address()] {
        coordinator.run::<()>(&["CONFIG", "SET", "rmr.nodes", &format!("{own} {}", other.address())]);
        assert_eq!(coordinator.reply("RMR.FANOUT PING"), "[+PONG, +PONG]");
        assert!(coordinator.reply3("RMR.TOPOLOGY").contains("\"link\": \"local\""), "{own}");
        assert!(!coordinator.reply("CLIENT LIST").contains("name=rmr"), "{own}");
        let named = coordinator.reply(&format!("RMR.FANOUT NODE {own} CONFIG GET port"));
        assert_eq!(named, format!("[[\"port\", \"{}\"]]", coordinator.port()));
    }
}

#[test]
fn every_node_may_be_a_coordinator_and_all_agree() {
    let nodes: Vec<Server> = (0..3).map(|_| Server::start()).collect();
    let all = list(&nodes);
    for node in &nodes {
        node.run::<()>(&["CONFIG", "SET", "rmr.nodes", &all]);
    }
    let keys = fill(&nodes[0], 60);
    for node in &nodes {
        assert_eq!(node.reply(&format!("RMR.SUM {}", keys.join(" "))), sum_of(60));
        assert_eq!(node.reply("RMR.FANOUT REDUCE SUM DBSIZE"), "60");
    }
}

#[test]
fn replies_stand_in_the_order_of_the_list() {
    let nodes: Vec<Server> = (0..4).map(|_| plain()).collect();
    for order in [[3, 0, 2, 1], [1, 2, 0, 3]] {
        let coordinator = coordinator(&list(order.map(|index| &nodes[index])));
        let ports = order.map(|index| format!("[\"port\", \"{}\"]", nodes[index].port()));
        assert_eq!(coordinator.reply("RMR.FANOUT CONFIG GET port"), format!("[{}]", ports.join(", ")));
        let named = format!("RMR.FANOUT NODE {} CONFIG GET port", nodes[2].address());
        assert_eq!(coordinator.reply(&named), format!("[[\"port\", \"{}\"]]", nodes[2].port()));
    }
}

#[test]
fn a_dead_node_fails_what_needs_it_and_nothing_else() {
    let nodes: Vec<Server> = (0..3).map(|_| plain()).collect();
    let coordinator = coordinator(&list(&nodes));
    let keys = fill(&coordinator, 30);
    let on_first: Vec<String> = nodes[0].run(&["KEYS", "*"]);
    nodes[1].kill();
    let dead = format!("-RMRNODE {}: ", nodes[1].address());
    assert!(coordinator.reply(&format!("RMR.SUM {}", keys.join(" "))).starts_with(&dead));
    assert!(coordinator.reply("RMR.PING").starts_with(&dead));
    assert_ne!(coordinator.reply(&format!("RMR.SUM {}", on_first.join(" "))), "0");
    let partial = coordinator.reply("RMR.FANOUT PARTIAL PING");
    assert!(partial.starts_with(&format!("[+PONG, {dead}")) && partial.ends_with(", +PONG]"), "{partial}");
    nodes[1].restart();
    assert_eq!(coordinator.reply("RMR.PING"), "+OK", "a node that is back is asked again");
}

#[test]
fn a_node_that_is_part_of_a_cluster_is_not_followed_elsewhere() {
    let cluster = crate::common::Cluster::builder().shards(2).module(false).start();
    let coordinator = coordinator(&cluster.node(0).address());
    let key = cluster.key_for(1, "k");
    let error = coordinator.reply(&format!("RMR.MAP LIST 1 {key} GET"));
    let moved = format!("-RMRSHARD {}: MOVED ", cluster.node(0).address());
    assert!(error.starts_with(&moved), "{error}");
    assert_eq!(coordinator.rmr_figure("retries_moved"), 0);
}

#[test]
fn other_databases_are_refused_before_anything_is_sent() {
    let nodes: Vec<Server> = (0..2).map(|_| plain()).collect();
    let coordinator = coordinator(&list(&nodes));
    let mut wire = coordinator.wire();
    assert_eq!(wire.reply("SELECT 2"), "+OK");
    for line in ["RMR.MAP LIST 1 k SET {} v", "RMR.FANOUT SET k v", "RMR.SUM k"] {
        let error = wire.reply(line);
        assert!(error.starts_with("-ERR other nodes are reached in database 0 only; this needs 127.0.0.1:"), "{error}");
        assert!(error.ends_with("database 2 is selected"), "{error}");
    }
    for node in &nodes {
        assert_eq!(node.run::<usize>(&["DBSIZE"]), 0);
    }
    assert_eq!(wire.reply("SELECT 0"), "+OK");
    assert_eq!(wire.reply("RMR.SUM k"), "0");
}

#[test]
fn nodes_may_want_a_password() {
    let nodes: Vec<Server> =
        (0..2).map(|_| Server::builder().module(false).config("requirepass", "nodes").start()).collect();
    let coordinator = coordinator(&list(&nodes));
    let error = coordinator.reply("RMR.PING");
    assert!(error.starts_with("-RMRNODE 127.0.0.1:") && error.contains("NOAUTH"), "{error}");
    coordinator.run::<()>(&["CONFIG", "SET", "rmr.password", "nodes"]);
    assert_eq!(coordinator.reply("RMR.PING"), "+OK");
}
