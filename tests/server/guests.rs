//! Modules that use rmr, and what their authors get wrong: each is an error, and none the end of the server.

use std::time::Duration;

use crate::common::{Cluster, Server, c_module, eventually, show};

const SOON: Duration = Duration::from_secs(5);

fn path() -> String {
    c_module("tests/server/guest.c").to_str().expect("a path in UTF-8").to_owned()
}

fn assert_no_crash(node: &Server) {
    let log = node.log();
    assert!(!log.contains("BUG REPORT") && !log.contains("panicked"), "{log}");
}

#[test]
fn what_a_request_is_told_wrong_is_its_reply() {
    let server = Server::start();
    server.run::<()>(&["MODULE", "LOAD", &path()]);
    server.run::<()>(&["SET", "k", "7"]);
    for (what, reply) in [
        ("key", "-ERR the key of GET is said to be word 2; give 1 to 1"),
        ("words", "-ERR a command has no words"),
        ("timeout", "-ERR the timeout is 0 ms; give 1 or more"),
        ("reducer", "-ERR there is no reducer 'NO-SUCH' with these arguments"),
        ("arguments", "-ERR there is no reducer 'GUEST-COUNT' with these arguments"),
        ("number", "-ERR the argument of TOP is 'many'; give how many are wanted, from 1 to 1000000"),
        ("top", "[[\"k\", 7]]"),
        ("step", "-ERR there is no step 'NO-SUCH'"),
        ("failing", "-ERR the step GUEST-STEP has failed: ERR it will not"),
        ("flow", "[\"k\", nil]"),
        ("limit", "-ERR the limit is -1; give 1 or more"),
        ("limited", "-ERR RMR_SetLimit is for flows alone"),
        ("two", "-ERR a fan-out sends one command, and was given two"),
        ("none", "-ERR a fan-out has no command"),
        ("freed", "0"),
        ("nothing", "-ERR the module has given neither a reply nor a next request"),
        ("freed", "1"),
        ("twice", "7"),
        ("freed", "3"),
        ("unsent", "-ERR there is no request: the module has not called RMR_Init, or it has failed"),
    ] {
        assert_eq!(server.reply(&format!("GUEST.WRONG {what}")), reply, "{what}");
    }
    let partial = server.reply("GUEST.WRONG partial");
    assert!(partial.starts_with("[\"7\", -") && partial.contains("WRONGTYPE"), "{partial}");
    for complaint in [
        "guest: the reducer's name is ''",
        "guest: the reducer's name is 'a b'",
        "guest: 'sum' is a reducer of rmr",
        "guest: 'GUEST-COUNT' is a reducer of guest already",
        "guest: the reducer has version 0; give RMR_API_VERSION, 1",
        "guest: the reducer PART has no function decode",
        "guest: there is no reducer",
        "guest: the step's name is 'a b'",
        "guest: the step NO-RUN has no function run",
        "guest: 'GUEST-STEP' is a step of guest already",
        "guest: the step has version 0; give RMR_API_VERSION, 1",
        "guest: there is no step",
        "guest: it is built for version 2 of rmr.h; this rmr serves version 1",
        "nobody: it has not called RMR_Init, or that has failed",
    ] {
        assert!(server.log().contains(complaint), "{complaint}: {}", server.log());
    }
    assert_no_crash(&server);
}

#[test]
fn a_reducer_that_fails_is_an_error_of_its_request() {
    let cluster = Cluster::builder().module_args(["pushdown", "on"]).start();
    let path = path();
    let keys: Vec<String> = (0..12).map(|number| format!("k:{number}")).collect();
    let all = |count: usize| format!("GUEST.COUNT {}", keys[..count].join(" "));
    let node = cluster.node(0);
    node.run::<()>(&["MODULE", "LOAD", &path]);
    // The others have no such reducer, and are not asked again for a while.
    assert_eq!(node.reply(&all(12)), "12");
    let thirteen = node.reply(&format!("{} k:0", all(12)));
    assert_eq!(thirteen, "-ERR GUEST-COUNT has given no result");
    cluster.nodes()[1..].iter().for_each(|node| node.run::<()>(&["MODULE", "LOAD", &path]));
    // Another node sends this one what it has counted, which this module does not read.
    assert_eq!(cluster.node(1).reply(&all(12)), "-ERR GUEST-COUNT cannot read what a node has sent");
    let own = cluster.key_for(0, "own");
    assert_eq!(node.reply(&format!("GUEST.COUNT {own} {own}")), "2");
    cluster.nodes().iter().for_each(assert_no_crash);
}

/// A guest that has registered a reducer goes without saying so.
#[test]
fn a_guest_that_says_nothing_is_forgotten() {
    let server = Server::builder().unloadable().start();
    let path = path();
    for _ in 0..3 {
        // One that has failed to load has left its reducer.
        assert!(server.reply(&format!("MODULE LOAD {path} fail")).starts_with("-ERR"));
        server.run::<()>(&["MODULE", "LOAD", &path]);
        assert_eq!(server.wire().reply("GUEST.COUNT a b"), "2");
        eventually(SOON, "it is unloaded", || server.reply("MODULE UNLOAD guest") == "+OK");
    }
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", server.pid())).expect("the maps of a process");
    assert!(!maps.contains("/guest.so"), "its code is still there: {maps}");
    eventually(SOON, "rmr is unloaded", || server.reply("MODULE UNLOAD rmr") == "+OK");
    assert_no_crash(&server);
}

/// Its code is in use by a request that waits for another node.
#[test]
fn a_guest_stays_while_its_requests_wait() {
    let cluster = Cluster::start(3);
    let path = c_module("examples/c/longest.c");
    let node = cluster.node(0);
    node.run::<()>(&["MODULE", "LOAD", path.to_str().expect("a path in UTF-8")]);
    let key = cluster.key_for(1, "k");
    cluster.set(&key, "text");
    // Its links are there.
    assert_eq!(node.wire().reply(&format!("LONGEST.LATER {key}")), format!("\"{key}\""));
    cluster.node(1).stop_signal();
    let mut waits = node.wire();
    waits.send(&["LONGEST.LATER", &key]);
    eventually(SOON, "the client waits", || node.run::<String>(&["INFO", "clients"]).contains("blocked_clients:1"));
    let refused = node.reply("MODULE UNLOAD longest");
    assert!(refused.starts_with("-ERR Error unloading module: "), "{refused}");
    cluster.node(1).cont_signal();
    assert_eq!(show(&waits.read_frame()), format!("\"{key}\""));
    drop(waits);
    eventually(SOON, "it is unloaded", || node.reply("MODULE UNLOAD longest") == "+OK");
    assert_no_crash(node);
}
