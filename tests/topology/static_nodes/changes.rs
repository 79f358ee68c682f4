//! The list of nodes changes while requests run.

use std::time::Duration;

use super::members::{coordinator, fill, list, plain};
use crate::common::{Server, eventually, show, while_repeating};

#[test]
fn a_new_list_is_used_by_the_next_request() {
    let nodes: Vec<Server> = (0..3).map(|_| plain()).collect();
    let coordinator = Server::start();
    assert_eq!(coordinator.reply("RMR.FANOUT CONFIG GET port"), format!("[[\"port\", \"{}\"]]", coordinator.port()));
    for chosen in [&nodes[..1], &nodes[1..], &nodes[..], &nodes[..0]] {
        coordinator.run::<()>(&["CONFIG", "SET", "rmr.nodes", &list(chosen)]);
        let servers: Vec<&Server> = if chosen.is_empty() { vec![&coordinator] } else { chosen.iter().collect() };
        let ports: Vec<String> = servers.iter().map(|node| format!("[\"port\", \"{}\"]", node.port())).collect();
        assert_eq!(coordinator.reply("RMR.FANOUT CONFIG GET port"), format!("[{}]", ports.join(", ")));
        let source = if chosen.is_empty() { "single" } else { "static" };
        assert!(coordinator.reply3("RMR.TOPOLOGY").contains(&format!("\"source\": \"{source}\"")));
    }
}

#[test]
fn nodes_that_leave_the_list_lose_their_links() {
    let nodes: Vec<Server> = (0..2).map(|_| plain()).collect();
    let coordinator = coordinator(&list(&nodes));
    assert_eq!(coordinator.reply("RMR.PING"), "+OK");
    let links = |node: &Server| node.reply("CLIENT LIST").matches("name=rmr").count();
    assert_eq!([links(&nodes[0]), links(&nodes[1])], [1, 1]);
    // Code of others and what stops it have connections of their own.
    assert_eq!(coordinator.reply("RMR.FANOUT EVAL return(7) 0"), "[7, 7]");
    assert!(coordinator.reply("RMR.EXEC SCRIPT KILL").starts_with("-NOTBUSY"));
    assert_eq!([links(&nodes[0]), links(&nodes[1])], [3, 3]);
    coordinator.run::<()>(&["CONFIG", "SET", "rmr.nodes", &nodes[1].address()]);
    assert_eq!(coordinator.reply("RMR.PING"), "+OK");
    eventually(Duration::from_secs(10), "the old links are closed", || links(&nodes[0]) == 0 && links(&nodes[1]) == 1);
}

#[test]
fn a_request_in_flight_ends_with_the_nodes_that_it_began_with() {
    let nodes: Vec<Server> = (0..2).map(|_| plain()).collect();
    let coordinator = coordinator(&list(&nodes));
    assert_eq!(coordinator.reply("RMR.PING"), "+OK");
    nodes[0].stop_signal();
    let mut waiting = coordinator.wire();
    waiting.send(&["RMR.FANOUT", "TIMEOUT", "30000", "ECHO", "old"]);
    eventually(Duration::from_secs(10), "the request waits", || coordinator.figure("clients", "blocked_clients") == 1);
    coordinator.run::<()>(&["CONFIG", "SET", "rmr.nodes", &nodes[1].address()]);
    assert_eq!(coordinator.reply("RMR.FANOUT ECHO new"), "[\"new\"]");
    nodes[0].cont_signal();
    assert_eq!(show(&waiting.read_frame()), "[\"old\", \"old\"]");
}

#[test]
fn a_list_that_changes_all_the_time_gives_no_wrong_answer() {
    let nodes: Vec<Server> = (0..3).map(|_| plain()).collect();
    let (all, turned) = (list(&nodes), list(nodes.iter().rev()));
    let coordinator = Server::builder().module_args(["nodes", &all, "shard-func", "rendezvous"]).start();
    let keys = fill(&coordinator, 50);
    let line = format!("RMR.SUM {}", keys.join(" "));
    let begin = |_: &usize| {
        let mut wire = coordinator.wire();
        let line = &line;
        move || assert_eq!(wire.reply(line), "1225")
    };
    while_repeating(&[1, 2], begin, || {
        let mut wire = coordinator.wire();
        for round in 0..100 {
            let nodes = if round % 2 == 0 { &turned } else { &all };
            assert_eq!(wire.reply_to(&["CONFIG", "SET", "rmr.nodes", nodes]), "+OK");
        }
    });
    assert_eq!(coordinator.rmr_figure("inflight"), 0);
    eventually(Duration::from_secs(10), "old links are closed", || {
        nodes.iter().all(|node| node.reply("CLIENT LIST").matches("name=rmr").count() <= 1)
    });
}
