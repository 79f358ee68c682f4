//! Nodes that cannot, or will not, reduce: their share comes as plain commands.

use super::{pushing, pushing_of};
use crate::common::{Cluster, Server, eventually};
use std::time::Duration;

fn numbers(cluster: &Cluster) -> String {
    let keys: Vec<String> = (0..100).map(|index| format!("n:{index}")).collect();
    cluster.fill(100, |index| (keys[index].clone(), "1"));
    keys.join(" ")
}

#[test]
fn nodes_without_the_module_are_asked_for_replies() {
    let nodes: Vec<Server> = (0..3).map(|_| Server::builder().module(false).start()).collect();
    let list: Vec<String> = nodes.iter().map(Server::address).collect();
    let coordinator = Server::builder().module_args(["nodes", &list.join(" "), "pushdown", "on"]).start();
    let keys: Vec<String> = (0..50).map(|index| format!("n:{index}")).collect();
    let list = keys.join(" ");
    assert_eq!(coordinator.reply(&format!("RMR.MAP COUNT 50 {list} SET {{}} 2")), "50");
    for _ in 0..10 {
        assert_eq!(coordinator.reply(&format!("RMR.SUM {list}")), "100");
    }
    let asked = coordinator.rmr_figure("inner_shares");
    assert!(asked <= 6, "nodes that know nothing of shares were asked {asked} times");
}

#[test]
fn a_node_that_loses_the_module_and_gets_it_back() {
    let cluster = pushing_of(Cluster::builder().unloadable(), 3);
    let line = format!("RMR.SUM {}", numbers(&cluster));
    let node = cluster.node(0);
    assert_eq!(node.reply(&line), "100");
    let unload = || cluster.node(1).try_run::<()>(&["MODULE", "UNLOAD", "rmr"]).is_ok();
    eventually(Duration::from_secs(10), "the module is unloaded", unload);
    for _ in 0..5 {
        assert_eq!(node.reply(&line), "100");
    }
    assert_eq!(node.rmr_figure("inner_declined"), 1, "once asked in vain, a node is left in peace");

    cluster.node(1).load_unloadable(&[]);
    let before = cluster.node(1).calls_of("rmr.inner");
    eventually(Duration::from_secs(20), "the node is asked again", || {
        assert_eq!(node.reply(&line), "100");
        cluster.node(1).calls_of("rmr.inner") > before
    });
}

#[test]
fn turned_off_and_on_again() {
    let cluster = pushing(3);
    let line = format!("RMR.SUM {}", numbers(&cluster));
    let node = cluster.node(0);
    let shares_of = |word: &str| {
        node.run::<()>(&["CONFIG", "SET", "rmr.pushdown", word]);
        assert_eq!(node.reply(&line), "100");
        node.rmr_figure("inner_shares")
    };
    assert!(shares_of("on") > 0);
    assert_eq!(shares_of("off"), 0, "a new engine counts anew");
    assert!(shares_of("on") > 0);
}

#[test]
fn a_user_of_the_links_without_the_right_to_it() {
    let nodes: Vec<Server> = (0..3).map(|_| Server::start()).collect();
    let list: Vec<String> = nodes.iter().map(Server::address).collect();
    for node in &nodes {
        node.run::<()>(&["ACL", "SETUSER", "links", "on", ">secret", "~*", "&*", "+@all", "-rmr.inner", "-@dangerous"]);
    }
    let options = ["nodes", &list.join(" "), "user", "links", "password", "secret", "pushdown", "on"];
    let coordinator = Server::builder().module_args(options).start();
    let keys: Vec<String> = (0..50).map(|index| format!("n:{index}")).collect();
    let list = keys.join(" ");
    assert_eq!(coordinator.reply(&format!("RMR.MAP COUNT 50 {list} SET {{}} 2")), "50");
    assert_eq!(coordinator.reply(&format!("RMR.SUM {list}")), "100");
}

/// The links' user may do nothing by an inner command that it may not do by a plain one.
#[test]
fn an_inner_command_does_nothing_that_its_user_may_not() {
    let nodes: Vec<Server> = (0..3).map(|_| Server::start()).collect();
    let list: Vec<String> = nodes.iter().map(Server::address).collect();
    for node in &nodes {
        let rules = ["ACL", "SETUSER", "links", "on", ">secret", "~n:*", "&*", "+@all", "-set"];
        node.run::<()>(&rules);
    }
    let options = ["nodes", &list.join(" "), "user", "links", "password", "secret", "pushdown", "on"];
    let coordinator = Server::builder().module_args(options).start();
    let line = |command: &str, prefix: &str| {
        let keys: Vec<String> = (0..50).map(|index| format!("{prefix}:{index}")).collect();
        format!("RMR.MAP COUNT 50 {} {command}", keys.join(" "))
    };
    assert_eq!(coordinator.reply(&line("APPEND {} 1", "n")), "50");
    for (command, prefix) in [("SET {} 1", "n"), ("GET", "other")] {
        let reply = coordinator.reply(&line(command, prefix));
        assert!(reply.starts_with("-RMRSHARD ") && reply.contains("NOPERM"), "{reply}");
    }
    assert_eq!(nodes.iter().map(|node| node.run::<usize>(&["DBSIZE"])).sum::<usize>(), 50);
}
