//! The mode while the module comes and goes, and while the server restarts.

use std::time::Duration;

use super::{is_possible, proxied, proxied_of, rewritten, set, set_all};
use crate::common::{Cluster, Server, eventually, module_path, while_repeating};

#[test]
fn no_filter_outlives_its_module() {
    const TIMES: usize = 20;
    let Some(cluster) = proxied_of(Cluster::builder().unloadable()) else { return };
    let node = cluster.node(0);
    let key = cluster.key_for(1, "k");
    let line = format!("GET {key}");
    for _ in 0..TIMES {
        assert_eq!(node.reply(&line), "nil");
        // A connection each time: Redis 8 compares a client's next command with the description of its last one, which
        // goes with the module.
        eventually(Duration::from_secs(5), "nobody waits any more", || {
            node.wire().ask(&["MODULE", "UNLOAD", "rmr"]) == "+OK"
        });
        assert!(node.reply(&line).starts_with("-MOVED "));
        node.load_unloadable(&["proxy-mode", "on"]);
    }
    assert_eq!(node.reply(&line), "nil");
    assert!(!node.log().contains("BUG REPORT"), "{}", node.log());
}

#[test]
fn the_mode_changes_under_traffic() {
    let Some(cluster) = proxied() else { return };
    let node = cluster.node(0);
    let key = cluster.key_for(1, "k");
    cluster.set(&key, "1");
    let line = format!("GET {key}");
    let traffic = |_: &usize| {
        let (mut wire, line) = (node.wire(), &line);
        move || {
            let reply = wire.reply(line);
            assert!(reply == "\"1\"" || reply.starts_with("-MOVED "), "{reply}");
        }
    };
    while_repeating(&[0, 1], traffic, || {
        for mode in ["off", "on", "opt-in"].into_iter().cycle().take(150) {
            assert!(set(node, mode));
        }
        assert!(set(node, "on"));
    });
    assert_eq!(node.reply(&line), "\"1\"");
}

#[test]
fn the_mode_stands_in_the_configuration() {
    let server = Server::builder().module(false).config_file(config("opt-in")).try_start();
    match server {
        Ok(server) => {
            assert!(is_possible(&server));
            assert_eq!(server.reply("CONFIG GET rmr.proxy-mode"), "[\"rmr.proxy-mode\", \"opt-in\"]");
            assert_eq!(server.reply("RMR.PROXY ON"), "+OK");
            server.run::<()>(&["CONFIG", "SET", "rmr.proxy-mode", "on"]);
            server.run::<()>(&["CONFIG", "REWRITE"]);
            server.restart();
            assert_eq!(server.reply("CONFIG GET rmr.proxy-mode"), "[\"rmr.proxy-mode\", \"on\"]");
        }
        Err(error) => {
            let other = Server::start();
            assert!(!is_possible(&other), "{error}");
            assert!(error.to_string().contains("does not tell modules whose command they see"), "{error}");
        }
    }
}

fn config(mode: &str) -> String {
    format!("loadmodule {}\nrmr.proxy-mode {mode}\n", module_path().display())
}

/// Clients of a coordinator that has just started, before it has asked anybody who is there.
#[test]
fn the_first_command_of_all_is_served() {
    let cluster = Cluster::start(2);
    if !set_all(&cluster, "on") {
        return;
    }
    let key = cluster.key_for(1, "k");
    assert_eq!(cluster.node(0).reply(&format!("SET {key} 1")), "+OK");
    assert_eq!(rewritten(cluster.node(0)), 1);
}

/// The operator's word about a policy is the mode's, too.
#[test]
fn an_override_changes_what_is_rewritten() {
    let Some(cluster) = proxied() else { return };
    let node = cluster.node(0);
    cluster.fill(30, |number| (format!("k:{number}"), "x"));
    assert_eq!(node.reply("DBSIZE"), "30");
    let here: u64 = node.reply("RMR.FANOUT DBSIZE").trim_start_matches('[').split(',').next().unwrap().parse().unwrap();
    node.run::<()>(&["CONFIG", "SET", "rmr.policy-overrides", "dbsize request_policy:default response_policy:default"]);
    assert_eq!(node.reply("DBSIZE"), here.to_string());
    node.run::<()>(&["CONFIG", "SET", "rmr.policy-overrides", ""]);
    assert_eq!(node.reply("DBSIZE"), "30");
}
