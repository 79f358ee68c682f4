//! `RMR.TOPOLOGY`, `RMR.PING`, `RMR.REFRESH` and `INFO rmr`: what operators look at.

use crate::common::{Cluster, Server, elements, eventually, show};
use crate::deployments::Deployment;

use std::time::Duration;

/// Returns a reply that is a map, as pairs of text.
fn fields(frame: &[u8]) -> Vec<(String, String)> {
    let shown: Vec<String> = elements(frame).into_iter().map(show).collect();
    shown.chunks(2).map(|pair| (pair[0].trim_matches('"').to_owned(), pair[1].clone())).collect()
}

/// Returns one field of `RMR.TOPOLOGY`.
fn field(node: &Server, name: &str) -> String {
    let fields = fields(&node.wire3().call(&["RMR.TOPOLOGY"]));
    fields.into_iter().find(|(known, _)| known == name).expect(name).1
}

#[test]
fn topology_shows_epoch_source_age_and_nodes() {
    for deployment in Deployment::all() {
        let source = if matches!(deployment, Deployment::Standalone(_)) { "\"single\"" } else { "\"redis-cluster\"" };
        for node in deployment.nodes() {
            let fields = fields(&node.wire3().call(&["RMR.TOPOLOGY"]));
            let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["epoch", "source", "age-ms", "nodes"]);
            assert_eq!(fields[0].1, "1");
            assert_eq!(fields[1].1, source);
            assert!(fields[2].1.parse::<u64>().unwrap() < 60_000, "{fields:?}");
            assert_eq!(fields[3].1.matches("\"address\": ").count(), deployment.nodes().len());
        }
    }
}

#[test]
fn topology_shows_each_node_in_full() {
    let cluster = Cluster::builder().shards(2).replicas(1).start();
    let entry = |index: usize, role: &str, slots: &str, link: &str| {
        let node = cluster.node(index);
        let (id, address) = (node.run::<String>(&["CLUSTER", "MYID"]), node.address());
        format!(
            "{{\"id\": \"{id}\", \"address\": \"{address}\", \"role\": \"{role}\", \"slots\": {slots}, \
             \"link\": \"{link}\", \"in-flight\": 0}}"
        )
    };
    let shown = |link: &str| {
        let nodes = [
            entry(0, "primary", "[[0, 8191]]", "local"),
            entry(2, "replica", "[]", "idle"),
            entry(1, "primary", "[[8192, 16383]]", link),
            entry(3, "replica", "[]", "idle"),
        ];
        format!("[{}]", nodes.join(", "))
    };
    let (idle, connected) = (shown("idle"), shown("connected"));
    assert_eq!(field(cluster.node(0), "nodes"), idle);
    assert_eq!(cluster.node(0).reply("RMR.FANOUT DBSIZE"), "[0, 0]");
    assert_eq!(field(cluster.node(0), "nodes"), connected);

    cluster.node(1).stop_signal();
    let mut waiting = cluster.node(0).wire();
    waiting.send(&["RMR.FANOUT", "TIMEOUT", "30000", "DBSIZE"]);
    let waited_for = connected.replace("\"connected\", \"in-flight\": 0", "\"connected\", \"in-flight\": 1");
    eventually(Duration::from_secs(10), "a request is in flight", || field(cluster.node(0), "nodes") == waited_for);
    cluster.node(1).cont_signal();
    assert_eq!(show(&waiting.read_frame()), "[0, 0]");
    assert_eq!(field(cluster.node(0), "nodes"), connected);
}

#[test]
fn an_epoch_is_a_change_that_was_seen() {
    let cluster = Cluster::start(2);
    let node = cluster.node(0);
    assert_eq!(field(node, "epoch"), "1");
    node.reply("RMR.REFRESH");
    assert_eq!(field(node, "epoch"), "1", "nothing has changed");
    cluster.move_slot(100, 0, 1);
    eventually(Duration::from_secs(10), "the change is seen without a refresh by hand", || field(node, "epoch") == "2");
    assert!(field(node, "nodes").contains("[[0, 99], [101, 8191]]"), "{}", field(node, "nodes"));
    assert!(field(node, "nodes").contains("[[100, 100], [8192, 16383]]"), "{}", field(node, "nodes"));
}

#[test]
fn refresh_looks_now_and_shows_what_it_saw() {
    for deployment in Deployment::all() {
        for node in deployment.nodes() {
            node.reply("RMR.TOPOLOGY");
            let before = node.rmr_figure("refreshes");
            let seen = fields(&node.wire3().call(&["RMR.REFRESH"]));
            assert!(node.rmr_figure("refreshes") > before);
            assert_eq!(seen[3].1, field(node, "nodes"));
            assert!(seen[2].1.parse::<u64>().unwrap() < 1000, "{seen:?}");
        }
    }
}

#[test]
fn ping_is_ok_only_if_every_shard_answers() {
    for deployment in Deployment::all() {
        for node in deployment.nodes() {
            assert_eq!(node.reply("RMR.PING"), "+OK");
            assert_eq!(node.reply3("RMR.PING"), "+OK");
        }
    }
    let cluster = Cluster::start(3);
    let dead = cluster.node(2).shown_name();
    cluster.node(2).kill();
    let error = cluster.node(0).reply("RMR.PING");
    assert!(error.starts_with(&format!("-RMRNODE {dead}: ")), "{error}");
    cluster.node(2).restart();
    cluster.settle();
    assert_eq!(cluster.node(0).reply("RMR.PING"), "+OK", "a node that is back is asked again");
}

#[test]
fn status_commands_take_no_arguments() {
    let server = Server::start();
    for name in ["rmr.topology", "rmr.ping", "rmr.refresh"] {
        let error = server.reply(&format!("{name} x")).to_lowercase();
        assert_eq!(error, format!("-err wrong number of arguments for '{name}' command"));
    }
}

#[test]
fn info_has_its_sections_and_only_when_asked() {
    for deployment in Deployment::all() {
        let node = &deployment.nodes()[0];
        node.reply("RMR.PING");
        let info: String = node.run(&["INFO", "rmr"]);
        for section in ["general", "topology", "links", "requests", "errors", "memory", "latency"] {
            assert!(info.contains(&format!("# rmr_{section}\r\n")), "no {section}: {info}");
            let one: String = node.run(&["INFO", &format!("rmr_{section}")]);
            assert_eq!(one.matches("# rmr_").count(), 1, "{one}");
        }
        assert!(info.contains("rmr_state:running\r\n"), "{info}");
        assert!(!node.run::<String>(&["INFO"]).contains("rmr_"), "not in a plain INFO");
        assert!(node.run::<String>(&["INFO", "everything"]).contains("# rmr_general"));
        assert_eq!(node.rmr_figure("shards"), deployment.nodes().len() as u64);
        assert_eq!(node.rmr_figure("slots_covered"), 16384);
        assert_eq!(node.rmr_figure("connected"), deployment.nodes().len() as u64 - 1);
    }
}

#[test]
fn info_is_there_before_the_first_request() {
    let server = Server::start();
    let info: String = server.run(&["INFO", "rmr"]);
    assert!(info.contains("# rmr_general\r\n") && info.contains("rmr_state:"), "{info}");
}

#[test]
fn info_counts_requests_and_errors_by_kind() {
    let cluster = Cluster::start(2);
    let node = cluster.node(0);
    let list = cluster.key_for(1, "list");
    cluster.node(1).run::<()>(&["RPUSH", &list, "x"]);
    let counts = || {
        let names = ["total", "shard", "timeout", "node", "partial", "other", "noperm"];
        names.map(|name| node.rmr_figure(name))
    };
    assert_eq!(counts(), [0; 7]);
    node.reply("RMR.FANOUT PING");
    assert_eq!(counts(), [1, 0, 0, 0, 0, 0, 0]);
    node.reply(&format!("RMR.SUM {list}"));
    assert_eq!(counts(), [2, 1, 0, 0, 0, 0, 0]);
    node.reply(&format!("RMR.MAP PARTIAL LIST 1 {list} GET"));
    assert_eq!(counts(), [3, 1, 0, 0, 1, 0, 0]);
    assert_eq!(node.rmr_figure("inflight"), 0);
    assert!(node.rmr_figure("largest_reply_bytes") > 0);
    assert!(node.rmr_figure("p99_usec") >= node.rmr_figure("p50_usec") && node.rmr_figure("p50_usec") > 0);
}

#[test]
fn a_crash_report_has_the_figures_and_comes_to_its_end() {
    let cluster = Cluster::start(2);
    let node = cluster.node(0);
    assert_eq!(node.reply("RMR.PING"), "+OK");
    node.run::<()>(&["CONFIG", "SET", "crash-memcheck-enabled", "no"]);
    let crash = node.wire().try_call(&["DEBUG", "SEGFAULT"]);
    assert!(crash.is_err(), "the server is gone");
    eventually(Duration::from_secs(20), "the process has ended", || !node.alive());
    let log = node.log();
    assert!(log.contains("# rmr_requests") && log.contains("rmr_total:1"), "{log}");
    assert!(log.contains("BUG REPORT END"), "{log}");
}
