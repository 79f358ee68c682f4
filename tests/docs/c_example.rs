//! `examples/c/longest.c`, a module in C, on nodes of a real cluster, beside `librmr.so`.

use std::time::Duration;

use crate::common::{Cluster, Server, ServerBuilder, c_module, eventually, module_path};

const SOON: Duration = Duration::from_secs(5);

fn path() -> String {
    c_module("examples/c/longest.c").to_str().expect("a path in UTF-8").to_owned()
}

fn load(node: &Server, path: &str) {
    node.run::<()>(&["MODULE", "LOAD", path]);
}

fn unload(node: &Server) {
    eventually(SOON, "the module is unloaded", || node.reply("MODULE UNLOAD longest") == "+OK");
}

/// Thirty keys with strings of one to thirty letters.
fn filled(cluster: &Cluster) -> String {
    let key = |number: usize| format!("text:{number}");
    cluster.fill(30, |number| (key(number), "x".repeat(number + 1)));
    (0..30).map(key).collect::<Vec<_>>().join(" ")
}

fn longest(key: &str, length: usize) -> String {
    format!("[\"{key}\", {length}, \"{}\"]", "x".repeat(length))
}

#[test]
fn shards_reduce_their_own_and_the_answer_is_the_same_where_they_do_not() {
    let cluster = Cluster::start(3);
    let (keys, path) = (filled(&cluster), path());
    let ask = |node: &Server| node.reply(&format!("LONGEST.OF {keys}"));
    load(cluster.node(0), &path);
    let at_the_coordinator = ask(cluster.node(0));
    assert_eq!(at_the_coordinator, longest("text:29", 30));
    for node in &cluster.nodes()[1..] {
        load(node, &path);
    }
    cluster.nodes().iter().for_each(|node| node.run::<()>(&["CONFIG", "SET", "rmr.pushdown", "on"]));
    for node in cluster.nodes() {
        assert_eq!(ask(node), at_the_coordinator);
        assert_eq!(node.reply("LONGEST.OF none text:3 text:7 none text:3"), longest("text:7", 8));
        assert_eq!(node.reply("LONGEST.OF none"), "nil");
    }
    // Those who had not asked in vain.
    for node in &cluster.nodes()[1..] {
        assert!(node.rmr_figure("inner_shares") > 0, "the others sent every value");
        assert_eq!(node.rmr_figure("inner_declined"), 0);
    }
    for node in cluster.nodes() {
        node.run::<()>(&["CONFIG", "SET", "rmr.pushdown", "off"]);
        let before = node.rmr_figure("inner_shares");
        assert_eq!(ask(node), at_the_coordinator);
        assert_eq!(node.rmr_figure("inner_shares"), before);
    }
}

#[test]
fn of_equal_strings_it_is_that_of_the_least_key_in_any_order() {
    let cluster = Cluster::start(3);
    let path = path();
    cluster.nodes().iter().for_each(|node| load(node, &path));
    cluster.fill(9, |number| (format!("k:{number}"), "equal"));
    for keys in ["k:8 k:3 k:5 k:1 k:7", "k:1 k:7 k:5 k:8 k:3", "k:5 k:8 k:7 k:3 k:1"] {
        assert_eq!(cluster.node(0).reply(&format!("LONGEST.OF {keys}")), "[\"k:1\", 5, \"equal\"]");
    }
}

#[test]
fn errors_are_those_of_rmrs_own_commands() {
    let cluster = Cluster::start(3);
    let path = path();
    cluster.nodes().iter().for_each(|node| load(node, &path));
    filled(&cluster);
    let list = cluster.key_for(1, "list");
    cluster.node(1).run::<()>(&["RPUSH", &list, "x"]);
    let node = cluster.node(0);
    for command in ["LONGEST.OF", "LONGEST.LATER"] {
        let reply = node.reply(&format!("{command} text:1 {list}"));
        assert!(reply.starts_with("-RMRSHARD") && reply.contains("WRONGTYPE"), "{reply}");
        assert!(node.reply(command).contains("wrong number of arguments"));
    }
    node.run::<()>(&["ACL", "SETUSER", "part", "on", ">p", "~text:1", "+@all"]);
    let mut wire = node.wire();
    wire.reply("AUTH part p");
    assert!(wire.reply("LONGEST.OF text:1").starts_with("[\"text:1\""));
    for command in ["LONGEST.OF", "LONGEST.LATER"] {
        let reply = wire.reply(&format!("{command} text:1 text:2"));
        assert!(reply.starts_with("-NOPERM"), "{reply}");
    }
    let mut wire = node.wire();
    assert_eq!((wire.reply("MULTI"), wire.reply("LONGEST.OF text:1 text:2 text:3")), ("+OK".into(), "+QUEUED".into()));
    let in_multi = wire.reply("EXEC");
    assert!(in_multi.contains("in MULTI"), "{in_multi}");
}

#[test]
fn callbacks_and_steps_come_to_their_end() {
    let cluster = Cluster::start(3);
    let path = path();
    let keys = filled(&cluster);
    let node = cluster.node(2);
    load(node, &path);
    assert_eq!(node.reply(&format!("LONGEST.LATER {keys}")), "\"text:29\"");
    assert_eq!(node.reply("LONGEST.LATER none"), "nil");
    let sizes: Vec<i64> = cluster.nodes().iter().map(|node| node.run(&["DBSIZE"])).collect();
    let fullest = sizes.iter().max().expect("three shards");
    assert_eq!(node.reply("LONGEST.SHARD"), format!("[{fullest}, 30]"));
}

/// Flows over all keys, whose steps and reducers are C, also for shards without the module.
#[test]
fn flows_have_its_step_and_its_reducer() {
    let cluster = Cluster::start(3);
    let path = path();
    filled(&cluster);
    cluster.fill(20, |number| (format!("word:{number}"), format!("a{}", "b".repeat(number))));
    let node = cluster.node(0);
    let ask = |node: &Server| {
        assert_eq!(node.reply("LONGEST.MATCHING text:*"), longest("text:29", 30));
        assert_eq!(node.reply("LONGEST.MATCHING none:*"), "nil");
        let long = format!("a{}", "b".repeat(19));
        assert_eq!(node.reply("LONGEST.MATCHING * ab"), format!("[\"word:19\", 20, \"{long}\"]"));
        assert_eq!(node.reply("LONGEST.MATCHING * c"), "nil");
    };
    load(node, &path);
    ask(node);
    cluster.nodes()[1..].iter().for_each(|node| load(node, &path));
    // A node is asked for its share once it is known that it takes some.
    let calls = |node: &Server| node.calls_of("rmr.inner");
    let before: Vec<u64> = cluster.nodes().iter().map(calls).collect();
    cluster.nodes().iter().for_each(ask);
    for (node, before) in cluster.nodes().iter().zip(before) {
        // The greetings of three questions, and their shares.
        assert!(calls(node) > before + 4, "a node was read by plain commands");
    }
    cluster.nodes().iter().for_each(unload);
}

#[test]
fn it_is_loaded_behind_rmr_and_keeps_it_loaded() {
    let path = path();
    let server = Server::builder().module(false).start();
    assert!(server.reply(&format!("MODULE LOAD {path}")).starts_with("-ERR"));
    assert!(server.log().contains("longest: rmr is not loaded; load librmr.so first (RMR_Enter)"), "{}", server.log());

    server.load_unloadable(&[]);
    load(&server, &path);
    server.run::<()>(&["SET", "k", "v"]);
    assert_eq!(server.reply("LONGEST.OF k"), "[\"k\", 1, \"v\"]");
    let refused = server.reply("MODULE UNLOAD rmr");
    assert!(
        refused.starts_with("-ERR Error unloading module: the module exports APIs used by other modules"),
        "{refused}"
    );
    assert_eq!(server.reply("LONGEST.OF k"), "[\"k\", 1, \"v\"]");
    unload(&server);
    eventually(SOON, "rmr is unloaded", || server.reply("MODULE UNLOAD rmr") == "+OK");
    assert!(server.reply(&format!("MODULE LOAD {path}")).starts_with("-ERR"));
    server.load_unloadable(&[]);
    load(&server, &path);
    assert_eq!(server.reply("LONGEST.OF k"), "[\"k\", 1, \"v\"]");
}

#[test]
fn a_server_may_name_both_on_its_command_line() {
    let path = path();
    let rmr = module_path().to_str().expect("a path in UTF-8").to_owned();
    let server = Server::builder().module(false);
    let server = ["--loadmodule", &rmr, "--loadmodule", &path].into_iter().fold(server, ServerBuilder::arg).start();
    server.run::<()>(&["SET", "k", "v"]);
    assert_eq!(server.reply("LONGEST.OF k"), "[\"k\", 1, \"v\"]");
}

/// Its reducer is known while it is there, and not when it is not.
#[test]
fn it_goes_and_comes_back_twenty_times() {
    let cluster = Cluster::start(3);
    let (keys, path) = (filled(&cluster), path());
    let node = cluster.node(0);
    for _ in 0..20 {
        cluster.nodes().iter().for_each(|node| load(node, &path));
        // A connection of its own: the server remembers its last command.
        assert_eq!(node.wire().reply(&format!("LONGEST.OF {keys}")), longest("text:29", 30));
        cluster.nodes().iter().for_each(unload);
        assert!(node.reply("LONGEST.OF text:1").contains("unknown command"));
        assert_eq!(node.reply("RMR.FANOUT REDUCE SUM DBSIZE"), "30");
    }
    for node in cluster.nodes() {
        let log = node.log();
        assert!(!log.contains("BUG REPORT") && !log.contains("panicked"), "{log}");
    }
}
