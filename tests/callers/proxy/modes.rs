//! Off, opt-in and on: who is served, and what a connection may say about itself.

use super::{is_possible, rewritten, set, set_all};
use crate::common::{Cluster, Server, Wire};

/// Returns whether this connection's commands are answered for the whole cluster.
fn is_served(wire: &mut Wire, key_of_another: &str) -> bool {
    let reply = wire.reply(&format!("GET {key_of_another}"));
    assert!(reply == "nil" || reply.starts_with("-MOVED "), "{reply}");
    reply == "nil"
}

#[test]
fn it_is_off_unless_asked_for() {
    let cluster = Cluster::start(2);
    let key = cluster.key_for(1, "k");
    assert_eq!(cluster.node(0).reply("CONFIG GET rmr.proxy-mode"), "[\"rmr.proxy-mode\", \"off\"]");
    let mut wire = cluster.node(0).wire();
    assert!(!is_served(&mut wire, &key));
    let refusal = wire.reply("RMR.PROXY ON");
    assert!(refusal.starts_with("-ERR rmr.proxy-mode is off on this node"), "{refusal}");
    assert_eq!(wire.reply("RMR.PROXY OFF"), "+OK");
    assert_eq!(wire.reply("RMR.PROXY perhaps"), "-ERR RMR.PROXY is 'perhaps'; give ON or OFF");
    assert!(!is_served(&mut wire, &key));
    assert_eq!(rewritten(cluster.node(0)), 0);
}

#[test]
fn a_server_that_cannot_says_so_at_every_way_in() {
    let server = Server::start();
    for mode in ["opt-in", "on"] {
        assert_eq!(set(&server, mode), is_possible(&server));
    }
    for mode in ["on", "opt-in"] {
        let started = Server::builder().module_args(["proxy-mode", mode]).try_start();
        match started {
            Ok(server) => {
                assert!(is_possible(&server));
                let shown = format!("[\"rmr.proxy-mode\", \"{mode}\"]");
                assert_eq!(server.reply("CONFIG GET rmr.proxy-mode"), shown);
            }
            Err(error) => {
                assert!(!is_possible(&server), "{error}");
                assert!(error.to_string().contains("not loaded: rmr.proxy-mode takes Redis 7.2 or Valkey"), "{error}");
            }
        }
    }
    let refusal = server.reply("CONFIG SET rmr.proxy-mode always");
    assert!(refusal.contains("off, opt-in, on"), "{refusal}");
}

#[test]
fn on_serves_all_who_do_not_opt_out() {
    let cluster = Cluster::start(2);
    let key = cluster.key_for(1, "k");
    // One that was there before is served as well.
    let mut before = cluster.node(0).wire();
    assert!(!is_served(&mut before, &key));
    if !set_all(&cluster, "on") {
        return;
    }
    let mut other = cluster.node(0).wire();
    assert!(is_served(&mut before, &key) && is_served(&mut other, &key));
    assert_eq!(other.reply("RMR.PROXY OFF"), "+OK");
    assert!(is_served(&mut before, &key) && !is_served(&mut other, &key));
    assert_eq!(other.reply("RMR.PROXY ON"), "+OK");
    assert!(is_served(&mut other, &key));
    assert_eq!(other.reply("RMR.PROXY OFF"), "+OK");
    assert_eq!(other.reply("RESET"), "+RESET");
    assert!(is_served(&mut other, &key), "as a new connection");
    assert!(set_all(&cluster, "off"));
    assert!(!is_served(&mut before, &key) && !is_served(&mut other, &key));
}

#[test]
fn opt_in_serves_those_who_ask() {
    let cluster = Cluster::start(2);
    let key = cluster.key_for(1, "k");
    if !set_all(&cluster, "opt-in") {
        return;
    }
    let node = cluster.node(0);
    let (mut asking, mut other) = (node.wire(), node.wire());
    assert!(!is_served(&mut asking, &key) && !is_served(&mut other, &key));
    assert_eq!(asking.reply("RMR.PROXY ON"), "+OK");
    assert!(is_served(&mut asking, &key) && !is_served(&mut other, &key));
    assert!(asking.reply("HELLO 3").starts_with('{'));
    assert!(is_served(&mut asking, &key), "a wish outlives the change of the protocol");
    assert_eq!(asking.reply("RMR.PROXY OFF"), "+OK");
    assert!(!is_served(&mut asking, &key));
    assert_eq!(asking.reply("RMR.PROXY ON"), "+OK");
    assert_eq!(asking.reply("RESET"), "+RESET");
    assert!(!is_served(&mut asking, &key));
    // A request for the mode is forgotten when the mode is off.
    assert_eq!(asking.reply("RMR.PROXY ON"), "+OK");
    assert!(set_all(&cluster, "off") && set_all(&cluster, "opt-in"));
    assert!(!is_served(&mut asking, &key));
    // In the mode on, wishes stand.
    assert_eq!(other.reply("RMR.PROXY OFF"), "+OK");
    assert!(set_all(&cluster, "on"));
    assert!(is_served(&mut asking, &key) && !is_served(&mut other, &key));
}

#[test]
fn a_client_that_knows_of_clusters_gets_redirects() {
    let cluster = Cluster::start(2);
    let key = cluster.key_for(1, "k");
    if !set_all(&cluster, "on") {
        return;
    }
    for line in ["ASKING", "READONLY", "CLUSTER SLOTS", "CLUSTER SHARDS", "cluster nodes", "CLIENT TRACKING ON"] {
        let mut wire = cluster.node(0).wire();
        assert!(is_served(&mut wire, &key));
        if line.starts_with("CLIENT") {
            wire = cluster.node(0).wire3();
        }
        assert!(!wire.reply(line).starts_with('-'), "{line}");
        assert!(!is_served(&mut wire, &key), "{line}");
        assert!(!is_served(&mut wire, &key), "{line}, later");
    }
    let mut wire = cluster.node(0).wire3();
    assert_eq!(wire.reply("RMR.PROXY ON"), "+OK");
    assert!(!wire.reply("CLUSTER NODES").starts_with('-'));
    assert!(is_served(&mut wire, &key), "one that has said what it wants may look");
    assert_eq!(wire.reply("CLIENT TRACKING ON"), "+OK");
    assert!(!is_served(&mut wire, &key), "nobody would tell it of changes");
    let refusal = wire.reply("RMR.PROXY ON");
    assert!(refusal.starts_with("-ERR this connection uses CLIENT TRACKING"), "{refusal}");
    assert!(!is_served(&mut wire, &key));
}

/// A client whose cache was on before the mode was.
#[test]
fn a_client_that_tracked_before_is_left_alone() {
    let cluster = Cluster::start(2);
    let key = cluster.key_for(1, "k");
    let mut wire = cluster.node(0).wire3();
    assert_eq!(wire.reply("CLIENT TRACKING ON"), "+OK");
    if set_all(&cluster, "on") {
        assert!(!is_served(&mut wire, &key));
    }
}

#[test]
fn clients_that_leave_are_forgotten() {
    let cluster = Cluster::start(2);
    if !set_all(&cluster, "on") {
        return;
    }
    let node = cluster.node(0);
    let come_and_go = |count: usize| {
        for _ in 0..count {
            assert_eq!(node.wire().reply("GET x").chars().next(), Some('n'));
        }
    };
    come_and_go(500);
    let before = node.figure("memory", "used_memory");
    come_and_go(5000);
    let after = node.figure("memory", "used_memory");
    assert!(after < before + (100 << 10), "{before} to {after} bytes");
}

/// A link is known by the name that it gives itself with `HELLO`; without that, requests could go round in circles.
#[test]
fn a_server_on_which_links_could_not_be_told_apart_refuses() {
    let server = Server::builder().arg("--rename-command").arg("HELLO").arg("").start();
    if !is_possible(&server) {
        return assert!(!set(&server, "on"));
    }
    let refusal = server.reply("CONFIG SET rmr.proxy-mode on");
    assert!(refusal.contains("the command HELLO, which is renamed here"), "{refusal}");
    assert_eq!(server.reply("CONFIG GET rmr.proxy-mode"), "[\"rmr.proxy-mode\", \"off\"]");
}
