//! Real clients: redis-cli and redis-py, in both protocols, against a node of a cluster.
//!
//! They use the commands of the module as they use any other, and in proxy mode a program that was written for a single
//! server runs as it is. The programs are in `tests/python/`.

use std::process::Command;

use crate::common::{Cluster, Server, run_python};

const PROTOCOLS: [&str; 2] = ["2", "3"];

/// Returns the output of redis-cli for these words on its command line.
fn redis_cli(node: &Server, words: &[&str]) -> String {
    let port = node.port().to_string();
    let output = Command::new("redis-cli").args(["-p", &port]).args(words).output().expect("redis-cli");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Puts all nodes in proxy mode; `false` where the server refuses, with its reason.
fn set_proxy_mode(cluster: &Cluster, mode: &str) -> bool {
    let set = |node: &Server| redis_cli(node, &["CONFIG", "SET", "rmr.proxy-mode", mode]);
    let answers: Vec<String> = cluster.nodes().iter().map(set).collect();
    let is_possible = cluster.node(0).redis_version() >= (7, 2);
    let expected = if is_possible { "OK" } else { "rmr.proxy-mode takes Redis 7.2 or Valkey" };
    assert!(answers.iter().all(|answer| answer.contains(expected)), "{answers:?}");
    is_possible
}

#[test]
fn redis_py_drives_the_commands_as_any_others() {
    let cluster = Cluster::start(3);
    for (node, protocol) in cluster.nodes().iter().zip(PROTOCOLS) {
        assert_eq!(run_python("distributed", &[&node.port().to_string(), protocol]), "done\n");
    }
}

/// Each node shows the program what a single server shows it.
#[test]
fn a_program_for_a_single_server_runs_unchanged_in_proxy_mode() {
    let single = Server::builder().module(false).start();
    let cluster = Cluster::start(3);
    if !set_proxy_mode(&cluster, "on") {
        return;
    }
    for ((index, node), protocol) in cluster.nodes().iter().enumerate().zip(PROTOCOLS.into_iter().cycle()) {
        let home = format!("{{{}}}", cluster.key_for(index, "home"));
        let run = |server: &Server| run_python("single_server", &[&server.port().to_string(), protocol, &home]);
        let shown = run(node);
        assert!(shown.ends_with("done\n"), "{shown}");
        assert_eq!(shown, run(&single), "node {index}, RESP{protocol}");
    }
    let rewritten: Vec<u64> = cluster.nodes().iter().map(|node| node.rmr_figure("proxied_commands")).collect();
    assert!(rewritten.iter().all(|&count| count > 200), "{rewritten:?}");
}

#[test]
fn a_program_may_ask_for_it_where_others_do_not() {
    let cluster = Cluster::start(3);
    if !set_proxy_mode(&cluster, "opt-in") {
        return;
    }
    for (node, protocol) in cluster.nodes().iter().zip(PROTOCOLS) {
        assert_eq!(run_python("opt_in", &[&node.port().to_string(), protocol]), "done\n");
    }
}

#[test]
fn redis_cli_drives_the_commands_as_any_others() {
    let cluster = Cluster::start(3);
    for (node, protocol) in cluster.nodes().iter().zip(["-2", "-3"]) {
        let ask = |line: &str| {
            let words: Vec<&str> = [protocol].into_iter().chain(line.split(' ')).collect();
            redis_cli(node, &words)
        };
        for number in 0..20 {
            assert_eq!(ask(&format!("RMR.EXEC SET key:{number} {number}")), "OK\n");
        }
        assert_eq!(ask("RMR.EXEC MGET key:3 missing key:17 key:0"), "3\n\n17\n0\n");
        assert_eq!(ask("RMR.EXEC DBSIZE"), "20\n");
        assert!(ask("RMR.SCAN 0 COUNT 1").contains("key:"));
        assert!(ask("RMR.EXEC GET").starts_with("ERR wrong number of arguments for 'get' command"));
        assert_eq!(ask("RMR.EXEC DEL key:0 key:1 key:2 missing"), "3\n");
        assert_eq!(ask("RMR.EXEC FLUSHALL"), "OK\n");
    }
}

/// Tests lines that an operator types, lines from a pipe, and the ways of redis-cli to go through all keys.
#[test]
fn redis_cli_finds_all_keys_in_proxy_mode() {
    let cluster = Cluster::start(3);
    if !set_proxy_mode(&cluster, "on") {
        return;
    }
    cluster.fill(60, |number| (format!("key:{number}"), "x".repeat(number + 1)));
    let node = cluster.node(0);
    assert_eq!(redis_cli(node, &["DBSIZE"]), "60\n");
    assert_eq!(redis_cli(node, &["-r", "3", "INCR", "count"]), "1\n2\n3\n");
    assert_eq!(redis_cli(node, &["-3", "STRLEN", "key:41"]), "42\n");
    let mut keys: Vec<String> = redis_cli(node, &["--scan", "--pattern", "key:*"]).lines().map(str::to_owned).collect();
    keys.sort();
    let mut expected: Vec<String> = (0..60).map(|number| format!("key:{number}")).collect();
    expected.sort();
    assert_eq!(keys, expected);
    let biggest = redis_cli(node, &["--bigkeys"]);
    for part in ["Sampled 61 keys in the keyspace", "key:59", "has 60 bytes"] {
        assert!(biggest.contains(part), "{biggest}");
    }
}
